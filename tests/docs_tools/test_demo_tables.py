"""Tables with numbers of the demo are filled in between their marks, from results."""

import re
from pathlib import Path

import pytest

from brain_diffuser.artifacts import tables
from docs_tools import demo_tables

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!-- measured (.+): (begin|end) -->")


def test_every_marked_table_is_filled_in_by_the_command_and_no_other():
    marked = {}
    for page in sorted((ROOT / "docs").glob("*.md")):
        for name, which in MARK.findall(page.read_text(encoding="utf-8")):
            marked.setdefault((page.name, name), []).append(which)
    assert set(marked) == {(table.page, table.name) for table in demo_tables.TABLES}
    assert all(which == ["begin", "end"] for which in marked.values())


@pytest.mark.parametrize("table", demo_tables.TABLES, ids=lambda table: table.name)
def test_every_table_of_a_page_has_numbers(table):
    page = (ROOT / "docs" / table.page).read_text(encoding="utf-8")
    between = page.split(f"<!-- measured {table.name}: begin -->")[1].split("<!-- measured")[0]
    lines = [line for line in between.split("\n") if line]
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1
    assert all(re.search(r"\d", line) for line in lines[2:])


def test_a_table_is_put_between_its_marks_and_nothing_else_changes():
    page = "Before.\n\n<!-- measured a b: begin -->\n\nold\n\n<!-- measured a b: end -->\n\nAfter.\n"
    table = demo_tables.written([["x", "y"], ["1", r"\2"]])
    filled = demo_tables.fill_in(page, "a b", table)
    assert filled == page.replace("old\n", "| x | y |\n| --- | --- |\n| 1 | \\2 |\n")
    assert demo_tables.fill_in(filled, "a b", table) == filled
    for wrong in ("no marks", filled.replace("a b", "a")):
        with pytest.raises(ValueError, match=r"0 places are marked with 'measured a b'; expected 1"):
            demo_tables.fill_in(wrong, "a b", table)


def test_cells_are_rounded_with_their_intervals():
    row = {"mean": "0.93912", "low": "0.9", "high": "0.9567", "n": "120"}
    assert demo_tables.interval(row, factor=100) == "93.9 [90.0, 95.7]"
    assert demo_tables.interval(row, digits=3, sign=True) == "+0.939 [+0.900, +0.957]"
    with pytest.raises(ValueError, match=r"2 rows have \{'n': '120'\}; expected 1"):
        demo_tables.the_row([row, row], n="120")


def test_a_table_is_computed_from_the_results(tmp_path):
    folder = tmp_path / "sub01/bottleneck"
    folder.mkdir(parents=True)
    columns = ("feature", "curve", "rank", "measure", "mean", "normalised")
    curves = [(curve, k) for curve in ("bottleneck", "voxel_pca") for k in ("1", "5", "20", "50", "200")]
    rows = [
        ("clip_vision", curve, k, "correlation", f"0.{place}123", "0.5")
        for place, (curve, k) in enumerate([*curves, ("ridge", ""), ("random", "")])
    ]
    tables.write_csv(folder / "scores.csv", columns, rows)
    cells = demo_tables.bottleneck(tmp_path)
    assert cells[1] == ["1", "0.012 (50)", "0.512 (50)"]
    assert [line[0] for line in cells[-2:]] == ["ridge without a bottleneck", "ridge on noise betas"]
