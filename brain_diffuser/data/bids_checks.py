"""Validation of a dataset with BIDS' events or GLMsingle's betas: one sentence for every problem, before any job."""

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brain_diffuser.artifacts import messages, system_faults
from brain_diffuser.data import (
    betas_checks,
    bids_events,
    bids_files,
    custom_checks,
    custom_files,
    glmsingle,
    image_checks,
    nifti,
)
from brain_diffuser.data.betas_checks import Checks
from brain_diffuser.data.wording import attempt, listed

logger = logging.getLogger(__name__)


class Subject(NamedTuple):
    """The files of a subject: `files.trials` names its trials in messages, `trials` are the tables of its runs."""

    files: custom_files.SubjectFiles
    trials: tuple[Path, ...]


def problems(
    subjects: Sequence[Subject],
    stimuli: str | Path,
    captions: str | Path | None,
    checks: Checks,
    split: str | int,
) -> Iterator[messages.Sentence]:
    """A sentence for every problem of a dataset; betas and images are read from end to end.

    Parameters
    ----------
    subjects
        The files of every subject.
    stimuli
        The folder of images.
    captions
        The table of captions; None if there is none.
    checks
        What is asked of betas.
    split
        The column of events with the split of each trial, or how often test stimuli are shown at least.
    """
    ids = custom_files.stimulus_ids(stimuli)
    images = {custom_files.composed(name): name for name in ids}
    yield from _of_folder(Path(stimuli), ids)
    used: dict[str, None] = {}
    splits: dict[tuple[str, str], set[str]] = {}
    for files, paths in subjects:
        trials = yield from _of_trials(files, paths, Path(stimuli), images, split)
        used |= dict.fromkeys(trial.stim_file for trial in trials if trial.split in custom_files.SPLITS)
        for trial in trials:
            splits.setdefault((files.subject, trial.split), set()).add(trial.stim_file)
        yield from _of_volumes(files, paths, trials, checks, split)
    content, found = image_checks.pixels(Path(stimuli), {name: images[name] for name in used if name in images})
    yield from found
    yield from image_checks.of_copies(Path(stimuli), content, splits)
    if captions is not None:
        yield from custom_checks.of_captions(captions, list(used))


def validate(
    record: Path,
    subjects: Sequence[Subject],
    stimuli: str | Path,
    captions: str | Path | None,
    checks: Checks,
    split: str | int,
) -> None:
    """Raise one error with all problems of a dataset, if it has any.

    Parameters
    ----------
    record
        A file that remembers a sound dataset by the names, sizes and dates of its files; it is not read again then.
    subjects, stimuli, captions, checks, split
        As in `problems`.

    Raises
    ------
    ValueError
        There are problems.
    """
    of_subjects = [(*paths, *files.betas, files.mask, *files.rois.values()) for files, paths in subjects]
    files = [path for paths in of_subjects for path in paths if path]
    everything = [*files, *custom_checks.shared_files(stimuli, captions)]
    facts = (custom_checks.VERSION, checks, split)
    custom_checks.validate_once(record, facts, everything, lambda: problems(subjects, stimuli, captions, checks, split))


def _of_folder(folder: Path, ids: Mapping[str, int]) -> Iterator[messages.Sentence]:
    """Problems of the names in the folder of images."""
    if not ids:
        yield f"{folder} has no image; expected files that end in {', '.join(custom_files.IMAGES)}"
    others = custom_files.other_files(folder)
    if others:
        logger.warning("%s: %d files are no stimuli and get no id: %s", folder, len(others), listed(others))
    if len({custom_files.composed(name) for name in ids}) < len(ids):
        alike = custom_checks.alike(ids)
        yield f"{folder} has {listed(alike)}, whose names are the same text in two forms; rename one of them"


def _of_trials(
    files: custom_files.SubjectFiles,
    paths: Sequence[Path],
    folder: Path,
    images: Mapping[str, str],
    split: str | int,
) -> Generator[messages.Sentence, None, Sequence[custom_files.Trial]]:
    """Yield problems of a subject's trials, and return the trials; none if they cannot be read.

    Parameters
    ----------
    files
        The files of the subject.
    paths
        Its tables of events, or its one plain table of trials.
    folder
        The folder of images.
    images : {stim_file: path below the folder}
        All images there.
    split
        As in `problems`.
    """
    if not bids_events.is_table_of_events(files.trials):
        trials, found = attempt(lambda: custom_files.read_trials(files.trials))
        yield from found
        if trials is not None:
            yield from custom_checks.of_table(files.trials, trials, folder, images)
        return trials or []
    runs, found = attempt(lambda: bids_events.read(paths, split))
    yield from found
    if runs is None:
        return []
    shown = [(line, trial) for run in runs for line, trial in run.trials if trial.split != custom_files.UNUSED]
    if not shown:
        yield f"{files.trials} names no stimulus of a split; expected the path of an image in stim_file for each trial"
        return []
    for run in runs:
        of_run = [(line, trial) for line, trial in run.trials if trial.split != custom_files.UNUSED]
        yield from custom_checks.of_cells(run.path, of_run)
        yield from custom_checks.of_stimuli(run.path, of_run, folder, images)
    yield from custom_checks.of_splits(files.trials, shown)
    return [trial for run in runs for _, trial in run.trials]


def _of_volumes(
    files: custom_files.SubjectFiles,
    paths: Sequence[Path],
    trials: Sequence[custom_files.Trial],
    checks: Checks,
    split: str | int,
) -> Iterator[messages.Sentence]:
    """Problems of a subject's betas and masks.

    Parameters
    ----------
    files
        The files of the subject.
    paths
        Its tables of events, or its one plain table of trials.
    trials
        Its trials; none if they cannot be read.
    checks, split
        As in `problems`.
    """
    is_of_glmsingle = glmsingle.wrote(files.betas[0])
    if is_of_glmsingle:
        mask, found = attempt(lambda: bids_files.read_mask(files.mask, files.betas[0]))
    else:
        mask, found = attempt(lambda: betas_checks.read_mask(files))
    yield from found
    if mask is None:
        return
    files = files._replace(betas=tuple(bids_files.in_order(files.betas)))
    if not mask.selected.any():
        yield f"{files.mask} selects 0 voxels; expected at least 1 above 0"
    elif is_of_glmsingle:
        yield from _of_results(files, trials, _about(files, paths, split), mask, checks)
    else:
        yield from betas_checks.of_betas(files, trials or None, mask, checks)
    for name, path in files.rois.items():
        yield from betas_checks.of_roi(name, path, mask, files.subject, checks)


def _about(files: custom_files.SubjectFiles, paths: Sequence[Path], split: str | int) -> str:
    """What may explain that events have not as many trials as betas, as the end of a sentence."""
    if not bids_events.is_table_of_events(files.trials):
        return ""
    runs, _ = attempt(lambda: bids_events.read(paths, split))
    if runs is None:
        return ""
    missing, n_others = bids_events.missing_runs(runs), sum(run.n_others for run in runs)
    where = f" in {len(runs)} runs"
    if missing:
        where += f"; there are no events of {listed(missing)}"
    if n_others:
        where += (
            f"; {n_others} more events have no stim_file: if GLMsingle's design had them, write a trials table in the "
            "plain layout, with split n/a for them"
        )
    return where


def _of_results(
    files: custom_files.SubjectFiles,
    trials: Sequence[custom_files.Trial],
    about: str,
    mask: nifti.Mask,
    checks: Checks,
) -> Iterator[messages.Sentence]:
    """Problems of GLMsingle's files of a subject: trials, grid and values.

    Parameters
    ----------
    files
        The files of the subject.
    trials
        Its trials; none if they cannot be read.
    about
        What follows the number of trials where it is wrong.
    mask
        The voxels.
    checks
        What is asked of betas.
    """
    found, first = custom_files.sessions(trials), files.betas[0]
    by_file: Sequence[tuple[Path, Sequence[tuple[str, range]] | None]] = [(path, None) for path in files.betas]
    if len(files.betas) > 1 and trials and len(found) != len(files.betas):
        yield (
            f"{files.trials} has sessions {listed([name for name, _ in found])}, and there are {len(files.betas)} "
            f"files of betas, such as {first}; expected one for each session"
        )
    elif trials:
        by_file = custom_files.ranges_by_file(files.betas, trials)
    used = np.array([trial.split in custom_files.SPLITS for trial in trials], bool)
    sessions: list[betas_checks.Session] = []
    whole = True
    for path, ranges in by_file:
        n_rows = ranges[-1][1].stop if ranges else 0
        here, used = (used[:n_rows], used[n_rows:]) if ranges else (None, used)
        sentences, of_file = _of_file(path, ranges, here, about, mask, checks)
        yield from sentences
        whole = whole and bool(of_file)
        sessions += of_file
    if whole:
        yield from betas_checks.of_sessions(first, sessions, mask, checks)


def _of_file(
    path: Path,
    ranges: Sequence[tuple[str, range]] | None,
    used: np.ndarray | None,
    about: str,
    mask: nifti.Mask,
    checks: Checks,
) -> tuple[list[messages.Sentence], list[betas_checks.Session]]:
    """The problems of one of GLMsingle's files, and what was found in its sessions.

    Parameters
    ----------
    path
        The file.
    ranges
        (session, its trials) of all trials of this file; None if they are not known.
    used : (trials,)
        Which of these trials a split uses.
    about
        What follows the number of trials where it is wrong.
    mask
        The voxels.
    checks
        What is asked of betas.
    """
    n_selected = int(mask.selected.sum())
    try:
        with glmsingle.opening(path) as volumes:
            if volumes.is_table and volumes.shape[0] != n_selected:
                return [
                    f"{path} has {volumes.shape[0]} units, {mask.path} selects {n_selected} voxels; expected as many, "
                    "in C order of the mask"
                ], []
            if not volumes.is_table and volumes.shape != mask.selected.shape:
                wrong = nifti.grid_problem(path, volumes.shape, mask)
                return [f"{wrong}; give the mask on the grid of the data that GLMsingle read, x, y, z as there"], []
            n_trials = ranges[-1][1].stop if ranges else volumes.n_trials
            if volumes.n_trials != n_trials:
                return [
                    f"{path} has betas of {volumes.n_trials} trials, expected {n_trials}, as many as the subject has "
                    f"trials{about}"
                ], []
            ranges = ranges or [("", range(n_trials))]
            used = np.ones(n_trials, bool) if used is None else used
            sessions = [betas_checks.Session(name, n_selected) for name, _ in ranges]
            first = 0
            for number, block in custom_files.cut(volumes.blocks(mask.selected), [rows for _, rows in ranges]):
                sessions[number].add(block, used[first : first + len(block)], first)
                first += len(block)
    except nifti.UNREADABLE as error:
        fault = system_faults.sentence(error, path)
        known = str(error).startswith(str(path))
        return [fault or (str(error) if known else f"{path} cannot be read ({nifti.reason(error)})")], []
    of_values = list(betas_checks.of_values(path, sessions, mask, checks.constant_voxels == "drop"))
    return of_values, [] if of_values else sessions
