"""Every image that a page shows is made by the command for figures, which writes and compares them."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs_tools import figures

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
LISTED = {figure.image for figure in figures.FIGURES}
FIGURE = figures.Figure("sheet.jpg", "results/sub01/sheet.png", "results/sub01/sheet.png")


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_image_of_a_page_is_made_by_the_command(page):
    shown = {(page.parent / target).resolve() for target in SHOWN.findall(page.read_text(encoding="utf-8"))}
    assert shown <= {(ROOT / "docs" / image).resolve() for image in LISTED}


def test_every_figure_is_there_and_in_the_gallery_with_the_command_that_makes_it():
    gallery = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert set(SHOWN.findall(gallery)) == LISTED
    made_by = {
        name: command
        for names, command in re.findall(r"^\| (`.+`) \| `(snakemake .+)` \|$", gallery, re.M)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert {name: command.split()[-1] for name, command in made_by.items()} == {
        figure.image: figure.target for figure in figures.FIGURES
    }
    images = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in {".svg", ".jpg", ".png"}}
    assert images == LISTED


def sheet(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60, 3), level, np.uint8)).save(path)


def test_an_image_is_written_once_and_is_stale_when_the_run_shows_another(tmp_path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"results/sub01/sheet.png is missing, from which docs/sheet.jpg is made"
    ):
        figures.write(FIGURE, tmp_path)
    sheet(tmp_path / FIGURE.result, 100)
    assert figures.write(FIGURE, tmp_path)
    assert not figures.write(FIGURE, tmp_path)
    assert figures.stale((FIGURE,), tmp_path) == []
    sheet(tmp_path / FIGURE.result, 110)
    (problem,) = figures.stale((FIGURE,), tmp_path)
    assert problem.startswith("docs/sheet.jpg differs from results/sub01/sheet.png by 10.0 grey levels on average")
    assert figures.write(FIGURE, tmp_path)
    assert figures.stale((FIGURE,), tmp_path) == []
    Image.new("RGB", (30, 20)).save(tmp_path / FIGURE.result)
    (problem,) = figures.stale((FIGURE,), tmp_path)
    assert problem.startswith("docs/sheet.jpg is 60 x 40, results/sub01/sheet.png 30 x 20 pixels")
