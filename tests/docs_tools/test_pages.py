"""Links of pages hold in the repository and in the site, and what they lead to becomes a page."""

from types import SimpleNamespace

import pytest
from mkdocs.config import load_config
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs_tools import pages


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("your_data.md", "extend.md#a-dataset", "extend.md#a-dataset"),
        ("your_data.md", "../config.yaml", "repository/config.yaml.md"),
        ("your_data.md", "../results/README.md", "repository/results/README.md"),
        ("tutorials/1_the_demo.md", "../evaluation.md", "../evaluation.md"),
        ("tutorials/1_the_demo.md", "../../config.yaml", "../repository/config.yaml.md"),
        ("repository/README.md", "docs/your_data.md#an-hour", "../your_data.md#an-hour"),
        ("repository/README.md", "docs/contact_sheet.jpg", "../contact_sheet.jpg"),
        ("repository/README.md", "CITATION.cff", "CITATION.cff.md"),
        ("repository/benchmarks/README.md", "../docs/paper.md", "../../paper.md"),
    ],
)
def test_a_link_of_the_repository_holds_in_the_site(source, link, expected):
    assert pages.relinked(f"See [it]({link}).", source) == f"See [it]({expected})."


def test_a_link_that_is_named_by_its_file_gets_the_title_of_the_page():
    text = "([demo.md](demo.md), [docs/haxby.md](haxby.md#what-is-done), [its `README.md`](../README.md))"
    assert pages.relinked(text, "your_data.md") == (
        "([The demo dataset](demo.md), [A real brain in the box](haxby.md#what-is-done), "
        "[its `README.md`](repository/README.md))"
    )


def test_code_and_other_sites_are_left_alone():
    text = "[a](https://example.org/x.md) [b](#here)\n\n```text\n[c](../config.yaml)\n```\n"
    assert pages.relinked(text, "your_data.md") == text


def test_linked_files_become_pages_with_what_they_link_to():
    config = load_config(str(pages.ROOT / "mkdocs.yml"))
    config.plugins._current_plugin = "docs_tools/pages.py"  # as where MkDocs calls the hook
    config.nav = ["page.md", "repository/CONTRIBUTING.md"]
    files = Files([File.generated(config, "page.md", content="[here](../config.haxby.yaml)")])
    found = pages.on_files(files, config)
    assert "dataset: haxby" in found.src_uris["repository/config.haxby.yaml.md"].content_string
    assert "make test" in found.src_uris["repository/CONTRIBUTING.md"].content_string
    assert "::: brain_diffuser.decoding.ridge\n" in found.src_uris["api/decoding.md"].content_string
    wrong = Files([File.generated(config, "page.md", content="[here](../no_such_file.yaml)")])
    with pytest.raises(PluginError, match=r"docs/page.md links to no_such_file.yaml, which is no file"):
        pages.on_files(wrong, config)


def test_the_page_of_the_configuration_has_its_sections_and_the_width():
    page = SimpleNamespace(meta={}, file=SimpleNamespace(src_uri="configuration.md"))
    text = pages.on_page_markdown("# C\n\n<!-- sections of config.yaml -->\n", page, None, None)
    assert "## ridge\n\n```yaml\nridge:\n" in text
    assert page.meta == {"hide": ["navigation"]}
