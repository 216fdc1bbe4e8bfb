"""Tutorials are run as notebooks, and their outputs become part of the page."""

import jupytext
import nbformat
import pytest

from docs_tools import notebooks

PAGE = "# Title\n\nText.\n\n```python\nprint('hello')\n```\n\nMore.\n\n```python\nimage\n```\n"


@pytest.fixture
def tutorial(tmp_path, monkeypatch):
    """A page and its executed notebook."""
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "build")
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    notebook = jupytext.read(path)
    first, second = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first.outputs = [nbformat.v4.new_output("stream", name="stdout", text="hello\n")]
    second.outputs = [nbformat.v4.new_output("display_data", {"image/png": "AAAA", "text/plain": "<image>"})]
    second.execution_count = 2
    (tmp_path / "build").mkdir()
    nbformat.write(notebook, tmp_path / "build/page.ipynb")
    return path


def test_outputs_stand_below_their_cells(tutorial):
    assert notebooks.with_outputs(tutorial) == (
        "# Title\n\n*[This page as a notebook with its outputs](page.ipynb).*\n\n"
        "Text.\n\n```python\nprint('hello')\n```\n\n``` {.text .output}\nhello\n```\n\nMore.\n\n"
        "```python\nimage\n```\n\n![output of the cell above](page/2_0.png)\n"
    )
    assert set(notebooks.files(tutorial)) == {"tutorials/page.ipynb", "tutorials/page/2_0.png"}


def test_code_that_has_changed_since_is_not_shown_with_old_outputs(tutorial):
    tutorial.write_text(PAGE.replace("hello", "good morning"), encoding="utf-8")
    assert notebooks.executed(tutorial) is None
    assert notebooks.with_outputs(tutorial) is None
    assert notebooks.files(tutorial) == {}


def test_text_may_change_without_another_run(tutorial):
    tutorial.write_text(PAGE.replace("More.", "Less."), encoding="utf-8")
    shown = notebooks.with_outputs(tutorial)
    assert "Less." in shown
    assert "``` {.text .output}\nhello\n```" in shown


def test_a_page_that_was_never_run(tutorial, tmp_path):
    (tmp_path / "build/page.ipynb").unlink()
    assert notebooks.with_outputs(tutorial) is None


def test_what_a_program_wrote_is_plain(tmp_path):
    text = f"\x1b[32mgreen\x1b[0m\r\n10 %\r100 %\r\n[== ] 2 of 3\x1b[Kdone\nin {tmp_path}/results  \n"
    assert notebooks.plain(text, tmp_path) == "green\n100 %\ndone\nin ./results\n"


def test_what_a_cell_wrote_piece_by_piece_is_one_text(tmp_path):
    pieces = ["one\n[==  ] 1 of 2", "\r\x1b[Ktwo\n", "three\n"]
    streams = [nbformat.v4.new_output("stream", name="stdout", text=piece) for piece in pieces]
    image = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    first, second, third = notebooks.joined([*streams, image, streams[0].copy()], tmp_path)
    assert (first.text, second, third.output_type) == ("one\ntwo\nthree\n", image, "stream")


def test_every_tutorial_has_code_and_no_outputs_in_the_repository():
    pages = {path.stem: jupytext.read(path) for path in notebooks.sources()}
    assert len(pages) == 4
    for name, notebook in pages.items():
        assert notebook.cells[0].source.startswith("# "), name
        assert sum(cell.cell_type == "code" for cell in notebook.cells) >= 3, name
