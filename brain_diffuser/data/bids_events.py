"""BIDS' tables of events: which stimulus each trial showed, over the runs and sessions of a subject.

A subject has a file sub-01_ses-02_task-images_run-03_events.tsv for each run, with a line for each event: its `onset`
in seconds, and `stim_file`, the path of its image below the folder `stimuli` of the dataset. A session or a run that
the name does not have is the only one, and called 1. Events without a stimulus (n/a), such as rest, are no trials.

Source: Brain Imaging Data Structure, task events.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.artifacts import tables
from brain_diffuser.data.custom_files import UNUSED, Trial, composed

ENDING = "_events.tsv"
ONLY = "1"
"""The label of a session or a run that a file's name does not have."""


class Run(NamedTuple):
    """The trials of a run in order of onset, with the lines of the table that they stand in.

    `trials` have no repeats yet, and `split` as the column says, or nothing without a column.
    """

    path: Path
    session: str
    run: str
    trials: list[tuple[int, Trial]]
    n_others: int


def is_table_of_events(path: str | Path) -> bool:
    """Whether a path, or a template of paths, is that of events."""
    return str(path).endswith(ENDING)


def natural(label: str) -> list[tuple[int, int, str]]:
    """A key that sorts labels by the numbers in them: run 2 before run 10."""
    parts = re.split(r"([0-9]+)", label)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part]


def read(paths: Sequence[str | Path], split: str | int) -> list[Run]:
    """The trials of all runs, in the order of sessions and runs.

    Parameters
    ----------
    paths
        The tables of events of a subject, in any order.
    split
        The column that has the split of each trial; or a number: stimuli shown that often or more are the test.

    Raises
    ------
    FileNotFoundError, ValueError
        See `tables.read_rows`; a file's name has no BIDS labels, two files are of one run, or a line has no onset.
    """
    runs = [_read_run(Path(path), split if isinstance(split, str) else None) for path in paths]
    runs.sort(key=lambda run: (natural(run.session), natural(run.run)))
    for first, second in pairwise(runs):
        if (first.session, first.run) == (second.session, second.run):
            raise ValueError(
                f"{first.path} and {second.path} are both of session {first.session}, run {first.run}; expected one "
                "table for each run, so write the task or the label of one of them into the path trials"
            )
    shown = Counter(trial.stim_file for run in runs for _, trial in run.trials)
    seen: Counter[str] = Counter()
    counted = []
    for run in runs:
        trials = []
        for line, trial in run.trials:
            seen[trial.stim_file] += 1
            if not isinstance(split, str):
                trial = trial._replace(split="test" if shown[trial.stim_file] >= split else "train")
            trials.append((line, trial._replace(repeat=str(seen[trial.stim_file]))))
        counted.append(run._replace(trials=trials))
    return counted


def read_trials(paths: Sequence[str | Path], split: str | int) -> list[Trial]:
    """The trials of all runs as rows of a trials table, in the order of betas; see `read`."""
    return [trial for run in read(paths, split) for _, trial in run.trials]


def missing_runs(runs: Sequence[Run]) -> list[str]:
    """Runs whose numbers are left out between those of others of their session, in words."""
    numbers: dict[str, list[int]] = {}
    for run in runs:
        if run.run.isdigit():
            numbers.setdefault(run.session, []).append(int(run.run))
    return [
        f"run {number} of session {session}"
        for session, there in numbers.items()
        for number in range(min(there), max(there))
        if number not in there
    ]


def _read_run(path: Path, column: str | None) -> Run:
    """The trials of a run; `column` has their splits."""
    session, run = _labels(path)
    rows = tables.read_rows(path, ("onset", "stim_file"))
    if column is not None and rows and column not in rows[0]:
        raise ValueError(
            f"{path} lacks column {column}; its first line has {', '.join(rows[0])}, tab-separated; add it with train, "
            "test or n/a in each line, or set settings.split to a number: stimuli shown so often are the test"
        )
    shown = [(line, row) for line, row in enumerate(rows, 2) if row["stim_file"] != UNUSED]
    timed = sorted(_timed(path, shown), key=lambda each: each[0])
    for (onset, line, _), (next_onset, next_line, _) in pairwise(timed):
        if onset == next_onset:
            raise ValueError(
                f"{path} line {line} and {next_line}: two stimuli begin at {onset:g} s; expected one at a time, for "
                "each has a beta; correct an onset, or set the stim_file of one to n/a"
            )
    trials = [
        (line, Trial(composed(row["stim_file"]), session, run, "", row[column] if column else ""))
        for _, line, row in timed
    ]
    return Run(path, session, run, trials, len(rows) - len(trials))


def _timed(path: Path, rows: Sequence[tuple[int, dict[str, str]]]) -> Iterator[tuple[float, int, dict[str, str]]]:
    """(onset, line, row) of every row."""
    for line, row in rows:
        try:
            onset = float(row["onset"])
        except ValueError:
            onset = math.nan
        if not math.isfinite(onset):
            raise ValueError(
                f"{path} line {line}: onset is {row['onset']!r}; expected seconds since the first volume of the run, "
                "which say in which order trials were shown"
            )
        yield onset, line, row


def _labels(path: Path) -> tuple[str, str]:
    """The session and the run in a file's name."""
    name = path.name
    if not re.fullmatch(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*_events\.tsv", name):
        raise ValueError(
            f"{path} is no name of BIDS' events; expected one such as sub-01_ses-02_task-images_run-03_events.tsv"
        )
    found = dict(part.split("-", 1) for part in name.removesuffix(ENDING).split("_"))
    return found.get("ses", ONLY), found.get("run", ONLY)
