"""The table of a feature's penalties, in which one is marked as chosen; rules read it while a run is planned."""

import errno
import os
from pathlib import Path

from brain_diffuser.artifacts import hdf5, tables

COLUMNS = ("alpha", "correlation", "r2", "chosen")
MARK = "yes"
AUTO = "auto"
"""What stands for a penalty that is chosen."""


def chosen(path: str | Path) -> float:
    """The chosen penalty.

    Raises FileNotFoundError: there is no table yet. ValueError: it does not mark one penalty above 0.
    """
    if not Path(path).exists():  # Snakemake looks at the name in the error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    rows = [row for row in tables.read_csv(path, COLUMNS) if row["chosen"] == MARK]
    try:
        (alpha,) = (float(row["alpha"]) for row in rows)
    except ValueError:
        alpha = 0.0
    if not alpha > 0:
        raise ValueError(f"{path} marks {len(rows)} penalties as chosen; expected one above 0. {hdf5.rerun(path)}")
    return alpha
