"""Every problem of a built site is found: links, anchors, files from elsewhere, structure."""

from pathlib import Path

import pytest

from docs_tools import check_site

PAGE = "<!doctype html><title>t</title><article>{}</article>"
ROOT = Path(__file__).parents[2]


def site(tmp_path, **pages):
    """A site with pages of the given articles, and the problems of its links and of what it loads."""
    for name, article in pages.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(article), encoding="utf-8")
    parsed = check_site.parsed(tmp_path)
    links = check_site.problems_of_links(tmp_path, parsed)
    return [*links, *check_site.problems_of_loading(tmp_path, parsed)]


def test_a_site_without_problems(tmp_path):
    (tmp_path / "plot.svg").touch()
    article = '<h2 id="here">h</h2><a href="b.html#there">b</a> <a href="#here">up</a> <img src="plot.svg">'
    outside = (
        '<a id="there" href="https://example.org/x">other sites may be linked</a><img src="data:image/png;base64,AA">'
    )
    assert site(tmp_path, a=article, b=outside) == []


@pytest.mark.parametrize(
    ("article", "problem"),
    [
        ('<a href="c.html">x</a>', "a.html: the link c.html leads to no file of the site"),
        ('<a href="b.html#nowhere">x</a>', "a.html: the link b.html#nowhere leads to no place of its page"),
        ('<a href="#nowhere">x</a>', "a.html: the link #nowhere leads to no place of its page"),
        ('<a href="https://">x</a>', "a.html: the link https:// names no server"),
        (
            '<a href="ftp://example.org">x</a>',
            "a.html: the link ftp://example.org is neither of the site nor of the web",
        ),
        ('<script src="https://cdn.example.org/x.js"></script>', "a.html: loads https://cdn.example.org/x.js from"),
        ('<img src="//cdn.example.org/x.png">', "a.html: loads //cdn.example.org/x.png from elsewhere"),
        ('<link rel="preconnect" href="https://fonts.example.org">', "a.html: loads https://fonts.example.org from"),
        ('<p style="background: url(https://example.org/x.png)">', "a.html: loads https://example.org/x.png from"),
        ("<style>@import 'https://example.org/x.css';</style>", "a.html: loads https://example.org/x.css from"),
        ('<pre class="mermaid">graph</pre>', "a.html: has a Mermaid diagram"),
    ],
)
def test_a_problem_is_named(tmp_path, article, problem):
    (found,) = site(tmp_path, a=article, b="")
    assert found.startswith(problem)


def test_a_style_sheet_loads_nothing_from_elsewhere(tmp_path):
    (tmp_path / "site.css").write_text(
        "@font-face {src: url(https://fonts.example.org/a.woff2)} a {background: url(b.png)}"
    )
    (found,) = site(tmp_path, a="")
    assert found.startswith("site.css: loads https://fonts.example.org/a.woff2 from elsewhere")


def test_a_list_that_the_site_does_not_show_as_a_list(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text("Text:\n- one\n- two\n", encoding="utf-8")
    (tmp_path / "page.html").write_text(PAGE.format("<p>Text:\n- one\n- two</p>"), encoding="utf-8")
    found = list(check_site.problems_of_structure(tmp_path, check_site.parsed(tmp_path), tmp_path))
    assert [each.partition(";")[0] for each in found] == [
        "docs/page.md: has 2 <li> in CommonMark and 0 in the site",
        "docs/page.md: has 1 <ul> in CommonMark and 0 in the site",
    ]


def test_external_links_that_are_not_answered(tmp_path):
    links = '<a href="https://example.org/gone">x</a><a href="https://example.org/here">y</a><a href="https://nowhere.example">z</a>'
    (tmp_path / "a.html").write_text(PAGE.format(links), encoding="utf-8")

    def get(link):
        if "nowhere" in link:
            raise ConnectionError
        return 404 if link.endswith("gone") else 200

    assert list(check_site.problems_of_external(check_site.parsed(tmp_path), get)) == [
        "https://example.org/gone: HTTP 404",
        "https://nowhere.example: ConnectionError",
    ]
