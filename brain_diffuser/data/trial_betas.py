"""Betas of any number of trials a session, as a table of trials has them, averaged over the repeats of each stimulus.

A dataset states how its numbers are scaled, what becomes of voxels that were not measured (NaN), and within which
trials voxels are z-scored. A file passes once, volume by volume; of a session the selected voxels alone are in memory.
NSD's own sessions of 750 trials are read by `nsd_sessions`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from brain_diffuser.artifacts import hdf5, messages
from brain_diffuser.data import averages, nifti, stimulus_table, units

logger = logging.getLogger(__name__)

NAN_VOXELS = ("drop", "zero", "error")
ZSCORES = {
    "none": "as given",
    "session": units.Z_SCORES,
    "run": "standard deviations of a run",
    "train": "standard deviations of a session's training trials",
}
"""What a z-score is taken within, and the unit that betas then have."""

ROWS = 64  # trials at a time, for which float64 copies are made


class Session(NamedTuple):
    """The betas of a session and what the table of trials says of them.

    Parameters
    ----------
    path
        A NIfTI file (x, y, z, trials).
    runs : (trials,)
        The run of each trial, in the order of the volumes.
    """

    path: Path
    runs: Sequence[str]


class Rules(NamedTuple):
    """How the betas of a dataset are read.

    Parameters
    ----------
    stored_per_unit
        The stored numbers are divided by this: 300 for NSD's int16, 1 for betas that are stored as they are. A scaling
        in the header of a file comes before it.
    nan_voxels
        What becomes of a voxel that is NaN in a trial of any session: "drop" leaves it out everywhere, "zero" takes the
        mean of the trials that z-score it (0 without a z-score) for each NaN, "error" stops.
    zscore
        One of ZSCORES. "session" and "run" take mean and standard deviation of all trials of the session or run, those
        of test stimuli among them; "train" takes those of the session's training trials, for all of its trials.
    check_affine
        Whether headers of betas and mask have to agree on where voxels lie.
    fix
        What to do about a file that cannot be read.
    """

    stored_per_unit: int = 1
    nan_voxels: str = "drop"
    zscore: str = "session"
    check_affine: bool = True
    fix: messages.Sentence = nifti.DOWNLOAD_AGAIN


class Averages(NamedTuple):
    """Averaged betas, the signal-to-noise ratio of each voxel, the voxels that were kept, and the unit."""

    betas: dict[str, hdf5.StimulusArray]
    ncsnr: Float32[np.ndarray, " voxels"]
    mask: nifti.Mask
    unit: str


def average_betas(
    sessions: Sequence[Session], mask: nifti.Mask, splits: Mapping[str, stimulus_table.Stimuli], rules: Rules
) -> Averages:
    """Betas of each split, averaged over the repeats of a stimulus, from one pass over the files.

    Parameters
    ----------
    sessions
        The sessions in order; their trials are numbered from 0 through all of them.
    mask
        The voxels.
    splits
        The stimuli of each split and their trials.
    rules
        How the betas are read.

    Returns
    -------
    Averages
        Those of the voxels that `rules.nan_voxels` keeps.

    Raises
    ------
    ValueError
        A file is unfit (see `read`), a session or run has too few trials for its z-score, or no voxel is left.

    Memory
    ------
    The selected voxels of the longest session in float32, and what `averages.average_trials` needs.
    """
    n_trials, n_voxels = sum(len(session.runs) for session in sessions), int(mask.selected.sum())
    is_train = np.zeros(n_trials, bool)
    is_train[np.concatenate([np.zeros(0, np.int64), *splits["train"].trials])] = True
    lacking = np.zeros(n_voxels, bool)
    buffer = np.empty((max(len(session.runs) for session in sessions), n_voxels), np.float32)

    def blocks() -> Iterator[Float32[np.ndarray, "trials voxels"]]:
        done = 0
        for number, session in enumerate(sessions, 1):
            betas = buffer[: len(session.runs)]
            is_nan = read(session, mask, rules, betas)
            lacking[is_nan] = True
            zscore_in_place(betas, session, is_train[done : done + len(betas)], rules.zscore)
            if rules.nan_voxels == "zero":
                np.nan_to_num(betas, copy=False, nan=0.0, posinf=np.inf, neginf=-np.inf)
            logger.info("session %d of %d: %s", number, len(sessions), session.path.name)
            yield betas
            done += len(betas)

    per_unit = rules.stored_per_unit if rules.zscore == "none" else 1
    betas, ncsnr = averages.average_trials(blocks(), n_trials, n_voxels, splits, per_unit)
    unit = units.PERCENT if per_unit > 1 else ZSCORES[rules.zscore]
    return _without(lacking, Averages(betas, ncsnr, mask, unit), rules.nan_voxels)


def read(
    session: Session, mask: nifti.Mask, rules: Rules, betas: Float32[np.ndarray, "trials voxels"]
) -> Bool[np.ndarray, " voxels"]:
    """Fill `betas` with the selected voxels of a session, in C order, and return which are NaN in any of its trials.

    Parameters
    ----------
    session
        The session.
    mask
        The voxels.
    rules
        How the betas are read.
    betas : (trials, voxels)
        What is filled; all of its numbers are overwritten.

    Raises
    ------
    ValueError
        The file is damaged or has another number of trials than its table, lies on another grid than the mask, stores
        whole numbers that nothing scales, has infinite values, trials that are one number everywhere, or NaN where
        `rules.nan_voxels` is "error".
    """
    series = nifti.open_series(session.path, rules.fix)
    problem = series_problem(series, len(session.runs), mask, rules)
    if problem:
        raise ValueError(nifti.damage(session.path, rules.fix) or problem)
    is_nan = np.zeros(betas.shape[1], bool)
    for trial, stored in enumerate(nifti.masked_trials(series, mask.selected, rules.fix)):
        betas[trial] = series.scaled(stored[None])[0]
        here = np.isnan(betas[trial])
        if here.any():
            if rules.nan_voxels == "error":
                raise ValueError(
                    f"{session.path} has {np.count_nonzero(here)} values that are NaN in trial {trial} (from 0), the "
                    f"first in {_voxel(mask, here)}; set nan_voxels to drop or zero, or take such voxels out of the "
                    "mask"
                )
            is_nan |= here
        _check_trial(session.path, trial, betas[trial], mask)
    if is_nan.any():
        logger.info(
            "%s: %d of %d voxels of the mask are NaN in some of its trials, the first is %s",
            *(session.path.name, np.count_nonzero(is_nan), len(is_nan), _voxel(mask, is_nan)),
        )
    return is_nan


def series_problem(series: nifti.Series, n_rows: int, mask: nifti.Mask, rules: Rules) -> messages.Sentence | None:
    """Why a file of betas is not what its table of trials, its mask and its rules say; None if it is.

    Parameters
    ----------
    series
        The file, of which the header was read.
    n_rows
        The trials in its table.
    mask
        The voxels.
    rules
        How the betas are read.
    """
    path = series.path
    if series.n_trials != n_rows:
        return f"{path} has {series.n_trials} volumes, its table of trials {n_rows} rows; expected as many. {rules.fix}"
    problem = nifti.grid_problem(path, series.shape, mask, series.affine if rules.check_affine else None)
    if problem:
        return f"{problem}. Is the mask another subject's or resolution's?"
    if series.dtype.kind not in "iuf":
        return f"{path} stores {series.dtype}; expected numbers. {rules.fix}"
    if series.dtype.kind in "iu" and not series.is_scaled and rules.stored_per_unit == 1:
        return (
            f"{path} stores {series.dtype.name} without a scaling in its header; expected real numbers, for whole ones "
            f"would be rounded betas. {rules.fix}"
        )
    return None


def zscore_in_place(
    betas: Float32[np.ndarray, "trials voxels"], session: Session, is_train: Bool[np.ndarray, " trials"], zscore: str
) -> None:
    """Z-score each voxel of a session, in place; a voxel that is constant becomes 0, NaN stays NaN.

    Parameters
    ----------
    betas : (trials, voxels)
        The session.
    session
        What it is, for runs and messages.
    is_train : (trials,)
        Which trials show training stimuli.
    zscore
        One of ZSCORES; "none" changes nothing.

    Raises
    ------
    ValueError
        There are less than two trials to take a mean and a standard deviation of.
    """
    if zscore == "none":
        return
    everything = np.arange(len(betas))
    groups = {"the session": (everything, everything)}
    if zscore == "train":
        groups = {"the training trials": (np.flatnonzero(is_train), everything)}
    elif zscore == "run":
        runs = np.asarray(session.runs)
        groups = {f"run {run}": (np.flatnonzero(runs == run),) * 2 for run in dict.fromkeys(session.runs)}
    for name, (known, changed) in groups.items():
        if len(known) < 2:
            raise ValueError(
                f"{session.path}: there are {len(known)} trials in {name}; expected at least 2 for a z-score, so "
                "choose another zscore, or leave the session out"
            )
        mean, std = _moments(betas, known)
        for rows in np.split(changed, range(ROWS, len(changed), ROWS)):
            betas[rows] = (betas[rows] - mean) / std


def _moments(
    betas: Float32[np.ndarray, "trials voxels"], chosen: Int[np.ndarray, " chosen"]
) -> tuple[Float64[np.ndarray, " voxels"], Float64[np.ndarray, " voxels"]]:
    """Mean and standard deviation of each voxel over the chosen trials that are not NaN; 1 where that would be 0."""
    n, total, squares = (np.zeros(betas.shape[1]) for _ in range(3))
    lowest, highest = np.full(betas.shape[1], np.inf), np.full(betas.shape[1], -np.inf)
    parts = np.split(chosen, range(ROWS, len(chosen), ROWS))
    for rows in parts:
        block = betas[rows]
        n += np.count_nonzero(~np.isnan(block), axis=0)
        total += np.nansum(block, axis=0, dtype=np.float64)
        lowest, highest = np.fmin(lowest, np.fmin.reduce(block)), np.fmax(highest, np.fmax.reduce(block))
    mean = total / np.maximum(n, 1)
    is_constant = lowest >= highest
    mean[is_constant & (n > 0)] = lowest[is_constant & (n > 0)]  # exactly, so that nothing is left of it
    for rows in parts:
        squares += np.nansum(np.square(betas[rows] - mean), axis=0)
    return mean, np.where(is_constant, 1.0, np.sqrt(squares / np.maximum(n, 1)))


def _check_trial(path: Path, trial: int, betas: Float32[np.ndarray, " voxels"], mask: nifti.Mask) -> None:
    """Raises ValueError: a trial has infinite values, or is one number everywhere, as where nothing was written."""
    infinite = np.isinf(betas)
    if infinite.any():
        raise ValueError(
            f"{path} has {np.count_nonzero(infinite)} values that are infinite in trial {trial} (from 0), the first in "
            f"{_voxel(mask, infinite)}; write the file again, or take such voxels out of the mask"
        )
    lowest, highest = np.fmin.reduce(betas), np.fmax.reduce(betas)
    if not lowest < highest and len(betas) > 1:
        raise ValueError(
            f"{path}: trial {trial} (from 0) is {lowest} in all {len(betas)} voxels of the mask, as where nothing was "
            "measured or written; download the file again, or leave the session out"
        )


def _without(lacking: Bool[np.ndarray, " voxels"], found: Averages, nan_voxels: str) -> Averages:
    """The same without voxels that were NaN in a trial, if they are to be dropped; how many is logged."""
    if not lacking.any():
        return found
    words = {"drop": "left out of everything", "zero": "counted as 0 in these trials"}[nan_voxels]
    logger.warning(
        "%d of %d voxels of %s are NaN in some trials, and are %s",
        *(np.count_nonzero(lacking), len(lacking), found.mask.path, words),
    )
    if nan_voxels == "zero":
        return found
    if lacking.all():
        raise ValueError(
            f"{found.mask.path}: all {len(lacking)} voxels are NaN in some trials; expected betas inside the mask, so "
            "correct it, or set nan_voxels to zero"
        )
    selected = found.mask.selected.copy()
    selected[found.mask.selected] = ~lacking
    betas = {split: rows._replace(values=rows.values[:, ~lacking]) for split, rows in found.betas.items()}
    return found._replace(betas=betas, ncsnr=found.ncsnr[~lacking], mask=found.mask._replace(selected=selected))


def _voxel(mask: nifti.Mask, columns: Bool[np.ndarray, " voxels"]) -> messages.Sentence:
    return f"voxel {tuple(np.argwhere(mask.selected)[np.argmax(columns)].tolist())}"


check_trial = _check_trial
