"""Trials of a rating by people: which of two stimuli is a reconstruction of? Drawn, written and read.

Every trial shows an image and two candidates, its stimulus and another test stimulus. Each rated stimulus is the other
candidate of exactly one trial, so that an image that people like in general gains as much as it loses. In a catch trial
the image is the stimulus itself. Which candidate is right is in the table alone, not on the page.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import statistics

COLUMNS = ("kit", "images", "trial", "kind", "nsd_id", "other_id", "right")
RATED, CATCH = "rated", "catch"
CANDIDATES = ("a", "b")


class Trial(NamedTuple):
    """A trial.

    Parameters
    ----------
    name
        Its name on the page and in answers, which says nothing of its kind.
    kind
        "rated" or "catch".
    nsd_id, other_id
        The stimulus, and the other candidate.
    right
        Which candidate is the stimulus, "a" or "b".
    """

    name: str
    kind: str
    nsd_id: int
    other_id: int
    right: str


class Kit(NamedTuple):
    """The trials of a page, the name of the set of images that are rated, and a key of both."""

    key: str
    images: str
    trials: Sequence[Trial]


def draw(
    nsd_id: Int32[np.ndarray, " stimuli"], images: str, *, stimuli: int | str, catch_trials: int, seed: int
) -> Kit:
    """Draw the trials of a page.

    Parameters
    ----------
    nsd_id : array (stimuli,)
        The test stimuli that have an image.
    images : str
        The name of the set of images.
    stimuli : int or "all"
        How many of them are rated; drawn if that is not all.
    catch_trials : int
        Trials in which the right answer is plain, each of another stimulus; at most as many as there are stimuli.
    seed : int

    Raises
    ------
    ValueError
        Fewer than 2 stimuli.
    """
    rng = np.random.default_rng(seed)
    n = len(nsd_id) if stimuli == "all" else min(int(stimuli), len(nsd_id))
    if n < 2:
        raise ValueError(f"a rating compares stimuli with each other; got {n}, expected at least 2")
    catch_trials = min(catch_trials, len(nsd_id))
    rated = nsd_id[np.sort(rng.permutation(len(nsd_id))[:n])]
    others = rated[statistics.cyclic_derangement(n, seed)]
    caught = rng.permutation(len(nsd_id))[:catch_trials]
    steps = rng.integers(1, len(nsd_id), catch_trials)
    pairs = [(RATED, *pair) for pair in zip(rated.tolist(), others.tolist(), strict=True)]
    pairs += [
        (CATCH, int(nsd_id[place]), int(nsd_id[(place + step) % len(nsd_id)]))
        for place, step in zip(caught.tolist(), steps.tolist(), strict=True)
    ]
    names = rng.permutation(len(pairs))
    right = [CANDIDATES[each] for each in rng.integers(0, 2, len(pairs))]
    trials = [
        Trial(f"t{name:04d}", kind, own, other, side)
        for name, (kind, own, other), side in zip(names.tolist(), pairs, right, strict=True)
    ]
    trials.sort()
    key = hashlib.sha256(repr((images, trials)).encode()).hexdigest()[:12]
    return Kit(key, images, trials)


def write(path: str | Path, kit: Kit) -> None:
    """Write the table of trials, which says what is right."""
    tables.write_csv(path, COLUMNS, ((kit.key, kit.images, *trial) for trial in kit.trials))


def read(path: str | Path) -> Kit:
    """The trials that `write` wrote.

    Raises FileNotFoundError, ValueError: there is no such file, or it is no table of trials.
    """
    rows = tables.read_csv(path, COLUMNS)
    ids = {name: tables.numbers(path, rows, name, np.int32).tolist() for name in ("nsd_id", "other_id")}
    if not rows:
        raise ValueError(f"{path} has no trial; make it again with its page")
    trials = [
        Trial(row["trial"], row["kind"], own, other, row["right"])
        for row, own, other in zip(rows, ids["nsd_id"], ids["other_id"], strict=True)
    ]
    return Kit(rows[0]["kit"], rows[0]["images"], trials)
