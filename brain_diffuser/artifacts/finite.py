"""Numbers that are not finite are refused where they arise: no image or feature is made of them.

NaN passes where it means "not measured": a voxel in betas, which `nsd.constant_voxels` refuses or drops, the
correlation of something constant, a noise ceiling without repeats. Only a signal-to-noise ratio without any noise is
infinite.

Networks name the row of their batch; the stage that knows the stimuli of the batch names these (`naming`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from brain_diffuser.artifacts import messages

BLOCK_ITEMS = 2**24  # numbers that are looked at at a time
WIDER: dict[str, messages.Sentence] = {"float16": "bfloat16 or float32", "bfloat16": "float32"}


class NotFinite(ValueError):
    """A sentence about numbers that are not finite, which names rows of a batch until it is `of` their stimuli.

    Parameters
    ----------
    what : str
        What the numbers are.
    rows : sequence of int
        The rows of the batch that have them.
    value : float
        The first of the numbers.
    fix : str
        What to do.
    where : str
        The stage and the stimuli, once they are known.
    """

    def __init__(
        self,
        what: messages.Sentence,
        rows: Sequence[int],
        value: float,
        fix: messages.Sentence,
        where: messages.Sentence = "",
    ):
        self.what, self.rows, self.value, self.fix, self.where = what, list(rows), value, fix, where
        super().__init__(self.sentence())

    def sentence(self) -> messages.Sentence:
        """Where which number was, of what, and what to do."""
        where = self.where or f"row {_listed(self.rows)} of the batch"
        return f"{where}: {self.value:g} in {self.what}; expected finite numbers. {self.fix}"

    def of(self, stage: messages.Sentence, nsd_id: Sequence[int] | np.ndarray) -> "NotFinite":
        """The same error with its stage and the stimuli of its rows; one that has them already stays as it is."""
        if self.where:
            return self
        stimuli = _listed([int(nsd_id[row % len(nsd_id)]) for row in self.rows])
        where: messages.Sentence = f"{stage}, nsd_id {stimuli}"
        return NotFinite(self.what, self.rows, self.value, self.fix, where)


def check(values: Any, what: messages.Sentence, fix: messages.Sentence) -> None:
    """Refuse an array or a tensor with numbers that are not finite.

    Parameters
    ----------
    values : array or tensor (rows, ...)
        Whole numbers pass.
    what : str
        What they are, such as "the output of VDVAE's decoder".
    fix : str
        What to do.

    Raises
    ------
    NotFinite
        It names the rows.
    """
    rows = rows_not_finite(values)
    if rows:
        raise NotFinite(what, rows, first_not_finite(values[rows[0]]), fix)


def rows_not_finite(values: Any) -> list[int]:
    """The rows of an array or a tensor that have a number which is not finite."""
    if not isinstance(values, np.ndarray):  # a tensor
        if values.is_meta:
            return []
        finite = values.isfinite()
        return [] if bool(finite.all()) else (~finite.reshape(len(finite), -1).all(1)).nonzero().flatten().tolist()
    if values.dtype.kind not in "fc":
        return []
    rows: list[int] = []
    step = max(1, BLOCK_ITEMS // max(1, values[:1].size))
    for start in range(0, len(values), step):
        finite = np.isfinite(values[start : start + step])
        if not finite.all():
            rows += (start + np.flatnonzero(~finite.reshape(len(finite), -1).all(1))).tolist()
    return rows


def first_not_finite(row: Any) -> float:
    """The first number of an array or a tensor that is not finite."""
    if isinstance(row, np.ndarray | np.generic):
        values = np.asarray(row)
        return float(values[~np.isfinite(values)].flatten()[0])
    return row.detach()[~row.isfinite()].flatten()[0].item()


def check_network(values: Any, what: messages.Sentence, dtype: Any) -> None:
    """Refuse what a network computed in `dtype`, if a number is not finite; the sentence says which precision to try.

    Raises NotFinite.
    """
    rows = rows_not_finite(values)
    if rows:
        name = str(dtype).removeprefix("torch.")
        fix = "Check the model's weights, and what it was given."
        if name in WIDER:
            ends = "float16 ends at 65504: " if name == "float16" else "Numbers were too large, or are none: "
            fix = f"{ends}set compute.dtype to {WIDER[name]}; if that does not help, check the model's weights."
        raise NotFinite(f"{what} ({name})", rows, first_not_finite(values[rows[0]]), fix)


@contextmanager
def naming(stage: messages.Sentence, nsd_id: Sequence[int] | np.ndarray) -> Iterator[None]:
    """Have an error about rows of a batch say the stage, and which stimuli they are."""
    try:
        yield
    except NotFinite as error:
        raise error.of(stage, nsd_id) from error


@contextmanager
def from_row(first: int) -> Iterator[None]:
    """Have an error about a batch be about the rows, from `first` on, of what the batch is a part of."""
    try:
        yield
    except NotFinite as error:
        rows = [first + row for row in error.rows]
        raise NotFinite(error.what, rows, error.value, error.fix, error.where) from error


def _listed(numbers: Sequence[int], shown: int = 5) -> messages.Sentence:
    """The first numbers as a text: 3, 7, 9 (and 12 more)."""
    numbers = list(dict.fromkeys(numbers))
    more = f" (and {len(numbers) - shown} more)" if len(numbers) > shown else ""
    return ", ".join(map(str, numbers[:shown])) + more
