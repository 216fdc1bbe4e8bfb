"""CSV and TSV tables: a header, then rows; a number that was not measured (NaN) is an empty cell."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain_diffuser.artifacts import hdf5


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a comma-separated table; the file appears whole or not at all.

    Raises ValueError: a number is infinite.
    """
    with hdf5.atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(_cells(path, header, list(row)) for row in rows)


def formatted(value: float, form: str) -> str:
    """A number in a format such as ".4f", or nothing if it was not measured (NaN)."""
    return "" if math.isnan(value) else format(value, form)


def _cells(path: str | Path, header: Sequence[str], row: list[Any]) -> list[Any]:
    """The cells of a row as they are written: empty ones for NaN."""
    is_nan = [isinstance(cell, float | np.floating) and math.isnan(cell) for cell in row]
    for name, cell in zip(header, row, strict=False):
        if isinstance(cell, float | np.floating) and math.isinf(cell):
            raise ValueError(
                f"{path}: {name} is {cell} in the row of {row[0]}; expected a finite number, so check what it was "
                "computed from"
            )
    return ["" if nothing else cell for cell, nothing in zip(row, is_nan, strict=True)]


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
