"""CSV and TSV tables: a header, then rows."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a comma-separated table; the file appears whole or not at all."""
    with hdf5.atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows((header, *rows))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a comma-separated table, by the names of its header."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_tsv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a tab-separated table as BIDS has it, without quotes; the file appears whole or not at all.

    Raises csv.Error: a cell has a tab or a line break.
    """
    with hdf5.atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerows((header, *rows))


def read_tsv(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a tab-separated table."""
    with open(path, newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    return header, rows
