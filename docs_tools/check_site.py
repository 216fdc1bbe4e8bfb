"""Checks of the built site: links and anchors, nothing from elsewhere, the structure of pages, and the search.

    python -m docs_tools.check_site site
    python -m docs_tools.check_site --external site

The first prints one line for each problem and ends with 1 if there is any. Pages may link to other sites but load
nothing from them. The second asks for every external link, which needs the internet.
"""

import argparse
import functools
import http.server
import re
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
LOADED = {"src", "srcset", "poster", "data"}
LOADED_RELATIONS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
STYLE_LINK = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")
BLOCKS = {"bullet_list_open": "ul", "ordered_list_open": "ol", "list_item_open": "li", "table_open": "table"}
BLOCKS |= {"tr_open": "tr", "fence": "pre", "code_block": "pre"}
QUERY = "noise ceiling"


class PageParser(HTMLParser):
    """What a page links to, loads and defines, and how many elements of each kind its article has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.article: Counter[str] = Counter()
        self.diagrams = 0
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADED_RELATIONS & set(values.get("rel", "").split()):
            self.loaded.append(values["href"])
        self.loaded += [values[name] for name in LOADED if name in values and tag != "meta"]
        self.loaded += STYLE_LINK.findall(values.get("style", ""))
        self.diagrams += "mermaid" in values.get("class", "").split()
        self._inside += tag == "article"
        if self._inside:
            self.article[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self._inside -= tag == "article"


def parsed(site: Path) -> dict[Path, PageParser]:
    """Every page of a site."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = PageParser()
        pages[path].feed(path.read_text(encoding="utf-8"))
    return pages


def problems_of_links(site: Path, pages: dict[Path, PageParser]) -> Iterator[str]:
    """Links to pages, files and anchors that the site lacks, and external links that are no addresses."""
    for path, page in pages.items():
        where = path.relative_to(site)
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or ""):
                    yield f"{where}: the link {link} names no server"
                continue
            if parts.scheme:
                if parts.scheme != "mailto":
                    yield f"{where}: the link {link} is neither of the site nor of the web"
                continue
            target = path
            if parts.path:
                start = site if parts.path.startswith("/") else path.parent
                target = (start / unquote(parts.path).lstrip("/")).resolve()
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                yield f"{where}: the link {link} leads to no file of the site"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{where}: the link {link} leads to no place of its page"


def problems_of_loading(site: Path, pages: dict[Path, PageParser]) -> Iterator[str]:
    """What a page or a style sheet would load from elsewhere."""
    for path, page in pages.items():
        loaded = page.loaded + STYLE_LINK.findall(
            "".join(re.findall(r"<style>.*?</style>", path.read_text(encoding="utf-8")))
        )
        for address in dict.fromkeys(loaded):
            if _is_elsewhere(address):
                yield f"{path.relative_to(site)}: loads {address} from elsewhere; keep the file in docs/assets"
        if page.diagrams:
            yield f"{path.relative_to(site)}: has a Mermaid diagram, whose program comes from elsewhere; use an SVG"
    for path in sorted(site.rglob("*.css")):
        for address in STYLE_LINK.findall(path.read_text(encoding="utf-8")):
            if _is_elsewhere(address):
                yield f"{path.relative_to(site)}: loads {address} from elsewhere; keep the file in docs/assets"


def _is_elsewhere(address: str) -> bool:
    """Whether an address leads out of the site; data: is inside of the page."""
    return address.startswith("//") or urlsplit(address).scheme not in ("", "data")


def problems_of_structure(site: Path, pages: dict[Path, PageParser], root: Path = ROOT) -> Iterator[str]:
    """Pages whose lists, tables or code blocks differ in number from those that repository viewers show.

    These follow CommonMark, MkDocs does not: a list needs an empty line before it, and code in a list four spaces.
    """
    parser = MarkdownIt("commonmark").enable("table")
    for source in sorted((root / "docs").glob("*.md")):
        page = pages.get(site / source.relative_to(root / "docs").with_suffix(".html"))
        text = source.read_text(encoding="utf-8")
        if page is None or "<!-- sections of" in text:
            continue
        wanted = Counter(BLOCKS[token.type] for token in parser.parse(text) if token.type in BLOCKS)
        for tag in sorted(set(BLOCKS.values())):
            if wanted[tag] != page.article[tag]:
                yield (
                    f"docs/{source.name}: has {wanted[tag]} <{tag}> in CommonMark and {page.article[tag]} in the site; "
                    "put an empty line before each list, and start code at the beginning of the line"
                )


def problems_in_browser(address: str, chromium: str) -> Iterator[str]:
    """What a browser requests from elsewhere and complains of, and whether the search of a page finds nothing."""
    from playwright.sync_api import Error, sync_playwright

    requests: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            page.goto(address)
            page.click("input[name=query]")
            page.keyboard.type(QUERY)
            page.wait_for_selector(".md-search-result__article", state="attached", timeout=60_000)
        except Error as error:
            yield f"{address}: the search finds nothing for {QUERY!r}: {error.message.partition(chr(10))[0]}"
        browser.close()
    start = address.rpartition("/")[0]
    inside = (start, "data:", "blob:", "about:")
    yield from (f"{address}: requests {url}" for url in dict.fromkeys(requests) if not url.startswith(inside))
    yield from (f"{address}: {text}" for text in dict.fromkeys(complaints))


def browsed(site: Path, chromium: str) -> Iterator[str]:
    """The problems of a site in a browser, from the disk and from a server on this machine."""
    yield from problems_in_browser((site / "index.html").as_uri(), chromium)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Requests of a check are no news."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield from problems_in_browser(f"http://127.0.0.1:{server.server_port}/index.html", chromium)
        server.shutdown()


def problems_of_external(pages: dict[Path, PageParser], get: Callable[[str], int]) -> Iterator[str]:
    """External links that are not answered, by a function that asks for an address and returns the status."""
    for link in sorted(
        {link for page in pages.values() for link in page.links if urlsplit(link).scheme in ("http", "https")}
    ):
        try:
            status = get(link)
        except OSError as error:
            yield f"{link}: {type(error).__name__}"
        else:
            if status >= 400:
                yield f"{link}: HTTP {status}"


def _status(link: str) -> int:
    """The status of an address."""
    import requests

    with requests.get(link, timeout=30, stream=True) as answer:
        return answer.status_code


def main() -> int:
    """Check a built site; 1 if it has a problem."""
    parser = argparse.ArgumentParser(
        prog="python -m docs_tools.check_site", description="Check the built documentation."
    )
    parser.add_argument("site", type=Path, help="folder that mkdocs has written")
    parser.add_argument(
        "--external", action="store_true", help="ask for every external link instead; needs the internet"
    )
    arguments = parser.parse_args()
    site = arguments.site.resolve()
    pages = parsed(site)
    if not pages:
        parser.error(f"{arguments.site} has no page; build it first with make docs")
    if arguments.external:
        found = list(problems_of_external(pages, _status))
    else:
        found = [
            *problems_of_links(site, pages),
            *problems_of_loading(site, pages),
            *problems_of_structure(site, pages),
        ]
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        try:
            import playwright as _  # noqa: F401
        except ImportError:
            chromium = None
        if chromium:
            found += browsed(site, chromium)
        else:
            sys.stdout.write(
                "The search was not tried in a browser: that takes chromium, and playwright of requirements-dev.txt.\n"
            )
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(
        f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links, {len(found)} problems\n"
    )
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
