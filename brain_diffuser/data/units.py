"""The unit that betas are stored in, which their type and size tell, and whether sessions agree in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from brain_diffuser.artifacts import messages

AUTO = "auto"
PERCENT = "percent signal change"
Z_SCORES = "standard deviations of a session"


class Stored(NamedTuple):
    """A unit of stored betas: in words, what divides them, and the unit they then have."""

    words: str
    per_unit: int
    unit: str


STORED = {
    "percent": Stored(PERCENT, 1, PERCENT),
    "percent_x300": Stored(f"300 times {PERCENT}", 300, PERCENT),
    "zscored": Stored(Z_SCORES, 1, Z_SCORES),
}
"""Units of betas by their words in `nsd.unit`. Published betas are int16, 300 times percent signal change."""

SIZES = {"percent": (0.05, 20.0), "percent_x300": (45.0, 32768.0)}
"""The root mean square of single-trial betas is about 1 to 4 percent; here is ten times less and more."""

ALIKE = 20
"""Sessions of one unit differ by less than this factor; percent and 300 times percent differ by 300."""

ROWS = 64


class Moments:
    """Sums over the trials of a session, from which the size of its betas follows."""

    def __init__(self, n_voxels: int) -> None:
        self.n = np.zeros(n_voxels, np.int64)
        self.sums = np.zeros(n_voxels)
        self.squares = np.zeros(n_voxels)

    def add(self, betas: Shaped[np.ndarray, "trials voxels"]) -> None:
        """Add trials; values that are not finite do not count."""
        for first in range(0, len(betas), ROWS):
            block = betas[first : first + ROWS].astype(np.float64)
            finite = np.isfinite(block)
            if not finite.all():
                block = np.where(finite, block, 0)
            self.n += finite.sum(0)
            self.sums += block.sum(0)
            self.squares += np.einsum("tv,tv->v", block, block)

    @property
    def size(self) -> float:
        """The root mean square of the median voxel; 0 if nothing was measured."""
        known = self.n > 0
        return float(np.sqrt(np.median(self.squares[known] / self.n[known]))) if known.any() else 0.0

    @property
    def is_zscored(self) -> bool:
        """Whether every voxel that varies has mean 0 and standard deviation 1."""
        known = (self.n > 1) & (self.squares > 0)
        n = self.n[known]
        mean = self.sums[known] / n
        variance: Float64[np.ndarray, " voxels"] = self.squares[known] / n - mean**2
        slack = 1e-3 + 1 / n  # a standard deviation is taken over n or n - 1
        return bool(known.any() and (abs(mean) < 1e-3).all() and (abs(np.sqrt(abs(variance)) - 1) < slack).all())


class Scale(NamedTuple):
    """The unit of a session, what says so, and the size of the betas in that unit."""

    path: Path
    stored: Stored
    evidence: str
    size: float


def scale_of(path: str | Path, betas: Shaped[np.ndarray, "trials voxels"], unit: str) -> Scale:
    """The unit of a session of NSD: `unit` if that is no "auto", else what its type and size tell.

    Raises ValueError: they tell none.
    """
    moments = Moments(betas.shape[1])
    moments.add(betas)
    size = moments.size
    about: messages.Sentence = f"{Path(path).name} stores {betas.dtype.name} with a root mean square of {size:.3g}"
    stated: messages.Sentence = f"nsd.unit is {unit}"
    if unit == AUTO:
        fitting = [name for name, (least, most) in SIZES.items() if least <= size < most]
        if betas.dtype.kind == "i":
            fitting = ["percent_x300"]
        elif moments.is_zscored:
            fitting = ["zscored"]
        if not fitting:
            raise ValueError(
                f"{path} stores {betas.dtype.name} with a root mean square of {size:.3g}, which is neither percent "
                f"signal change (about 2) nor 300 times that (about 600); set nsd.unit to one of {', '.join(STORED)}"
            )
        unit = fitting[0]
    stored = STORED[unit]
    evidence: messages.Sentence = f"{about}, and {stated}" if stated.endswith(AUTO) else stated
    return Scale(Path(path), stored, evidence, size / stored.per_unit)


def check_alike(first: Scale, other: Scale) -> None:
    """Raise if two sessions are of different units, so that their betas must not be averaged.

    Raises ValueError: they are.
    """
    if first.stored != other.stored:
        raise ValueError(
            f"{other.path} is in {other.stored.words} ({other.evidence}), {first.path.name} in {first.stored.words}; "
            "expected one unit in all sessions. Write it again as published (int16, 300 times percent signal change), "
            "or leave it out (nsd.sessions)."
        )
    different = different_size([("", first.size), ("", other.size)])
    if different is not None:
        raise ValueError(
            f"the betas of {other.path} are {other.size / max(first.size, 1e-300):.3g} times as large as those of "
            f"{first.path.name}; expected one unit in all sessions. Write it again in the unit of the others, or leave "
            "it out (nsd.sessions)."
        )


def different_size(sizes: Iterable[tuple[str, float]]) -> tuple[str, str] | None:
    """The names of the smallest and the largest session if their betas differ in size as units do; None if not."""
    known = [(size, name) for name, size in sizes if size > 0]
    if not known or max(known)[0] < ALIKE * min(known)[0]:
        return None
    return min(known)[1], max(known)[1]
