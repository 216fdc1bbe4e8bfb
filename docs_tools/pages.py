"""Hooks of MkDocs: pages from outside docs/, the configuration, the API reference and executed tutorials in one site.

Pages in docs/ link to files of the repository as the repository shows them, such as ../config.yaml. A linked file
becomes a page below repository/: Markdown is rendered, and anything else is shown as it is. A link to what does not
exist stops the build.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

from docs_tools import configuration, notebooks

logger = get_plugin_logger(__name__)

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
NAMED = re.compile(r"\[`?[\w./-]+\.md`?\]\(([^)\s#:]+\.md)(?=[#)])")
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[ \t]*$", re.M | re.S)
MARKER = re.compile(r"^<!-- sections of (\S+) -->$", re.M)
LANGUAGES = {".py": "python", ".smk": "python", ".yaml": "yaml", ".cff": "yaml", ".toml": "toml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors are made as repository viewers make them, so that one link holds in both."""
    config.mdx_configs["toc"] |= {"slugify": slugify(case="lower")}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages need from outside docs/: linked files, the API reference, images of tutorials."""
    for path, text in api_pages().items():
        files.append(File.generated(config, path, content=text))
    for path in notebooks.sources():
        for name, content in notebooks.files(path).items():
            files.append(File.generated(config, name, content=content))
    wanted = [
        ("mkdocs.yml", repository_path(source)) for source in in_nav(config.nav) if source.startswith("repository/")
    ]
    for page in files.documentation_pages():
        wanted += linked_files(page.src_uri, page.content_string)
    while wanted:
        by, path = wanted.pop()
        source = site_source(path)
        if source.startswith("repository/") and files.get_file_from_path(source) is None:
            if not (ROOT / path).is_file():
                raise PluginError(f"{by} links to {path}, which is no file; correct the link")
            text = listing(path)
            files.append(File.generated(config, source, content=text))
            wanted += linked_files(source, text)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The text of a page with its configuration sections, its outputs if it is a tutorial, and links of the site."""
    source = page.file.src_uri
    if ROOT / "docs" / source in notebooks.sources():
        shown = notebooks.with_outputs(ROOT / "docs" / source)
        if shown is None:
            logger.warning(
                f"docs/{source} was not run since it was written; run python -m docs_tools.notebooks (make docs)"
            )
        markdown = shown or markdown
    if MARKER.search(markdown):
        page.meta["hide"] = ["navigation"]  # lines of 120 letters need the width
    markdown = MARKER.sub(lambda match: configuration.sections(ROOT / match[1]), markdown)
    return relinked(markdown, source)


def repository_path(source: str) -> str:
    """The path in the repository of a page of the site."""
    folder, _, rest = source.partition("/")
    if folder != "repository":
        return f"docs/{source}"
    return rest if (ROOT / rest).is_file() else rest.removesuffix(".md")


def site_source(path: str) -> str:
    """Where the site has a file of the repository, by its path there."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"repository/{path}" if path.endswith(".md") else f"repository/{path}.md"


def in_nav(entries: Any) -> Iterator[str]:
    """The pages of the navigation."""
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from in_nav(entry)


def linked_files(source: str, text: str) -> list[tuple[str, str]]:
    """Where a page of the site leads in the repository: its own path there, and that of each file that it links to."""
    page = repository_path(source)
    folder = posixpath.dirname(page)
    return [(page, posixpath.normpath(posixpath.join(folder, target))) for target in links(text)]


def links(text: str) -> list[str]:
    """The relative links of a page outside of code blocks, without their anchors."""
    return [match[1] for match in LINK.finditer(FENCE.sub("", text))]


def relinked(text: str, source: str) -> str:
    """The text of a page with links that hold in the site; a link whose text is a file name gets the page's title."""
    folder = posixpath.dirname(repository_path(source))

    def titled(match: re.Match[str]) -> str:
        return f"[{title(posixpath.normpath(posixpath.join(folder, match[1])))}]({match[1]}"

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        return posixpath.relpath(site_source(path), posixpath.dirname(source) or ".") + (match[2] or "")

    def outside_of_code(part: str) -> str:
        return LINK.sub(link, NAMED.sub(titled, part))

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [outside_of_code(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, outside_of_code(text[end:])])


def title(path: str) -> str:
    """The first heading of a page of the repository, or its path if it has none."""
    found = re.search(r"^# (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.M) if (ROOT / path).is_file() else None
    return found[1] if found else path


def listing(path: str) -> str:
    """The page of a file of the repository."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"# {path}\n\n``````{language}\n{text.rstrip()}\n``````\n"


def api_pages() -> dict[str, str]:
    """A page for each folder of the library, with every module that has a public name."""
    pages = {}
    for folder in sorted(path.parent for path in (ROOT / "brain_diffuser").glob("*/__init__.py")):
        modules = sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")
        names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
        body = "\n".join(f"::: {name}\n" for name in names)
        pages[f"api/{folder.name}.md"] = f"# brain_diffuser.{folder.name}\n\n{body}"
    return pages
