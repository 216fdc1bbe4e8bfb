"""CSV and TSV tables in UTF-8: a header, then rows with as many cells; a number not measured (NaN) is an empty cell."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from brain_diffuser.artifacts import hdf5, messages, text_files

BREAKS = set("\t\n\r")
"""What no cell of a tab-separated table can have."""


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


def read_csv(path: str | Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a comma-separated table by the names of its header, which has at least these columns.

    Raises FileNotFoundError, ValueError: see `read_rows`.
    """
    return read_rows(path, columns, ",")


def write_tsv(path: str | Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a tab-separated table as BIDS has it, without quotes; the file appears whole or not at all.

    Raises ValueError: a cell has a tab or a line break.
    """
    with hdf5.atomic(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        for row in (header, *rows):
            cells = list(row)
            unfit = next((str(cell) for cell in cells if BREAKS & set(str(cell))), None)
            if unfit is not None:
                raise ValueError(f"{path}: cell {unfit!r} has a tab or a line break; expected neither, so rename it")
            writer.writerow(cells)


def read_tsv(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a tab-separated table without quotes.

    Raises FileNotFoundError, ValueError: see `read_rows`.
    """
    header, numbered = parse(path, "\t")
    return header, [row for _, row in numbered]


def read_rows(path: str | Path, columns: Sequence[str], delimiter: str = "\t") -> list[dict[str, str]]:
    """The rows of a table that has at least these columns; cells stand in quotes between commas, never between tabs.

    Raises FileNotFoundError: no such file. ValueError: not UTF-8, a quote that is not closed, a column that is missing
    or doubled, or a row that is empty or has more or fewer cells than the header.
    """
    header, numbered = parse(path, delimiter)
    lacking = [name for name in columns if name not in header]
    if lacking:
        names = ", ".join(header) if any(header) else "nothing"
        raise ValueError(
            f"{path} lacks column {', '.join(lacking)}; its first line has {names}, {_separated(delimiter)}; add it"
        )
    doubled = [name for name in columns if header.count(name) > 1]
    if doubled:
        raise ValueError(f"{path} has column {doubled[0]} {header.count(doubled[0])} times; expected once, delete one")
    return [dict(zip(header, row, strict=True)) for _, row in numbered]


def parse(path: str | Path, delimiter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a table, and its rows with the numbers of their last lines; empty lines may stand at its end.

    Raises FileNotFoundError, ValueError: as `read_rows`, which also looks at the names of columns.
    """
    text = text_files.read(path)
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    numbered: list[tuple[int, list[str]]] = []
    try:
        numbered.extend((reader.line_num, row) for row in reader)
    except csv.Error as error:
        hint: messages.Sentence = f"is it {_separated(delimiter)}{', and is every quote closed' * (delimiter == ',')}?"
        raise ValueError(f"{path} line {reader.line_num} cannot be read as a table ({error}); {hint}") from None
    while numbered and not numbered[-1][1]:
        numbered.pop()
    header, rows = (numbered[0][1], numbered[1:]) if numbered else ([], [])
    for line, row in rows:
        if not row:
            raise ValueError(f"{path} line {line} is empty; delete it")
        if len(row) != len(header):
            raise ValueError(
                f"{path} line {line} has {len(row)} cells, its first line {len(header)}; expected as many, "
                f"{_separated(delimiter)}"
            )
    return header, rows


def numbers(
    path: str | Path, rows: Sequence[Mapping[str, str]], column: str, dtype: type[np.generic]
) -> Shaped[np.ndarray, " rows"]:
    """The numbers in a column of a table; an empty cell is a real number that was not measured (NaN).

    Parameters
    ----------
    path
        The table.
    rows
        Its rows.
    column
        The column.
    dtype
        The type of the numbers.

    Raises
    ------
    ValueError
        A cell has no number of this type.
    """
    texts, is_real = [row[column] for row in rows], np.issubdtype(dtype, np.floating)
    values = np.full(len(rows), np.nan if is_real else 0, dtype)
    for place, text in enumerate(texts):
        if is_real and not text:
            continue
        try:
            values[place] = text
        except (ValueError, OverflowError):
            is_number = False
        else:
            is_number = bool(np.isfinite(values[place]))
        if not is_number:
            kind = "a number" if is_real else "a whole number"
            raise ValueError(f"{path} line {place + 2}: {column} is {text!r}; expected {kind}")
    return values


def _separated(delimiter: str) -> str:
    return {"\t": "tab-separated", ",": "comma-separated"}[delimiter]
