"""The table of stimuli: which stimuli train and test, in which order all arrays have them, and their trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from brain_diffuser.artifacts import messages, tables

LEAST = {"train": 2, "test": 2}
"""Stimuli that a split needs: a z-score needs two, and so has every score of a stimulus by comparison with others."""
HEADER = ("nsd_id", "split", "n_repeats", "trials")
SOURCES = "stimulus_sources.tsv"
"""A table beside it that an adapter may write: the nsd_id and the source of stimuli that come from several sources."""


class Stimuli(NamedTuple):
    """The stimuli of a split in the order of first presentation, with all their trials, counted from 0."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    trials: tuple[Int[np.ndarray, " repeats"], ...]


def group_trials(nsd_id: Int32[np.ndarray, " trials"], chosen: Int[np.ndarray, " chosen"]) -> Stimuli:
    """The stimuli of the chosen trials in the order of first presentation, each with all of these trials."""
    ids, first, stimulus = np.unique(nsd_id[chosen], return_index=True, return_inverse=True)
    by_stimulus = np.split(chosen[np.argsort(stimulus, kind="stable")], np.cumsum(np.bincount(stimulus))[:-1])
    order = np.argsort(first)
    return Stimuli(ids[order], tuple(by_stimulus[row] for row in order))


def all_ids(splits: Mapping[str, Stimuli]) -> Int32[np.ndarray, " stimuli"]:
    """The ids of all stimuli, split by split."""
    return np.concatenate([stimuli.nsd_id for stimuli in splits.values()])


def write(path: str | Path, splits: Mapping[str, Stimuli]) -> None:
    """Write a TSV table of nsd_id, split, n_repeats and trials: the row order of every array, split by split.

    Trials are numbered from 0 through all sessions that are read.

    Raises ValueError: there are too few test stimuli.
    """
    if "test" in splits and len(splits["test"].nsd_id) < LEAST["test"]:  # whatever the dataset; all write this table
        raise ValueError(f"{path}: the dataset has {too_few('test', len(splits['test'].nsd_id))}; add some")
    tables.write_tsv(
        path,
        HEADER,
        (
            (nsd_id, split, len(trials), ",".join(map(str, trials)))
            for split, stimuli in splits.items()
            for nsd_id, trials in zip(stimuli.nsd_id, stimuli.trials, strict=True)
        ),
    )


def write_chosen(path: str | Path, chosen: Stimuli) -> None:
    """Write the table of some test stimuli, of which one is enough: they are looked at and not scored."""
    rows = zip(chosen.nsd_id, chosen.trials, strict=True)
    tables.write_tsv(
        path, HEADER, ((nsd_id, "test", len(trials), ",".join(map(str, trials))) for nsd_id, trials in rows)
    )


def too_few(split: str, n_stimuli: int) -> messages.Sentence:
    """What is wrong with a split of too few stimuli."""
    why = "every score compares a stimulus with others" if split == "test" else "betas are z-scored over them"
    noun = "stimulus" if n_stimuli == 1 else "stimuli"
    return f"{n_stimuli} {split} {noun}; expected at least {LEAST[split]}, for {why}"


def write_sources(path: str | Path, sources: Mapping[int, str]) -> None:
    """Write the table of the source of every stimulus."""
    tables.write_tsv(path, ("nsd_id", "source"), sources.items())


def read_sources(path: str | Path) -> dict[int, str]:
    """The source of every stimulus, from a table of nsd_id and source; nothing without a path."""
    rows = tables.read_rows(path, ("nsd_id", "source")) if path else []
    ids = tables.numbers(path, rows, "nsd_id", np.int32).tolist() if path else []
    return {number: row["source"] for number, row in zip(ids, rows, strict=True)}


def read(path: str | Path) -> dict[str, Stimuli]:
    """The table that `write` wrote.

    Raises FileNotFoundError, ValueError: see `tables.read_rows`; an id or a trial is no whole number.
    """
    rows = tables.read_rows(path, HEADER)
    ids = tables.numbers(path, rows, "nsd_id", np.int32)
    split = np.array([row["split"] for row in rows])
    trials = [_trials(path, line, row["trials"]) for line, row in enumerate(rows, 2)]
    return {
        name: Stimuli(ids[split == name], tuple(trials[row] for row in np.flatnonzero(split == name)))
        for name in dict.fromkeys(row["split"] for row in rows)
    }


def _trials(path: str | Path, line: int, cell: str) -> Int[np.ndarray, " repeats"]:
    """The trials in a cell such as 0,17,203."""
    try:
        return np.array(cell.split(","), np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"{path} line {line}: trials is {cell!r}; expected whole numbers such as 0,17,203") from None
