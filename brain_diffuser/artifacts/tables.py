"""CSV tables."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5


def write_csv(path: str | Path, header: Sequence[str], rows: Any) -> None:
    """A table under its header; the file appears whole or not at all."""
    with hdf5.atomic(path) as part, open(part, "w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows((header, *rows))


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a table, by the names of its header."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
