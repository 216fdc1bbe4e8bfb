"""Validation of the betas of a dataset in the plain layout: measured, finite, of one unit, on the grid of the masks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brain_diffuser.artifacts import messages, system_faults
from brain_diffuser.data import custom_files, hdf5_storage, nifti, units
from brain_diffuser.data.adapter import NONE
from brain_diffuser.data.wording import attempt, listed


class Checks(NamedTuple):
    """What is asked of betas.

    Parameters
    ----------
    constant_voxels
        "error" makes a voxel a problem that is constant, or NaN in a trial; "drop" does not.
    zscore
        "session" if betas are z-scored within sessions, whose units may then differ, or "none".
    check_affine
        Whether the headers of betas and masks have to agree on where voxels lie.
    """

    constant_voxels: str = "error"
    zscore: str = NONE
    check_affine: bool = True


DEFAULT = Checks()


def read_mask(files: custom_files.SubjectFiles) -> nifti.Mask:
    """The voxels of a subject, or why there are none."""
    first = files.betas[0]
    in_volumes = first.name.endswith(custom_files.VOLUMES)
    if files.mask is None and in_volumes:
        raise ValueError(f"{first} has volumes, and mask is none; expected a mask on the same grid")
    mask = custom_files.read_mask(files.mask, custom_files.n_voxels(first))
    if not mask.selected.any():
        raise ValueError(f"{files.mask} selects 0 voxels; expected at least 1 above 0")
    return mask


class _Session:
    """What was found in the betas of a session, block by block."""

    def __init__(self, name: str, n_voxels: int) -> None:
        self.name = name
        self.moments = units.Moments(n_voxels)
        self.lowest, self.highest = np.full(n_voxels, np.inf), np.full(n_voxels, -np.inf)
        self.n_measured = 0
        self.unmeasured: list[tuple[int, float]] = []  # trials that a split uses, and the one value of each
        self.infinite = np.zeros(n_voxels, bool)
        self.unfit_trial = np.full(n_voxels, -1)  # the first trial that is no number
        self.unfit_value = np.zeros(n_voxels)

    def add(self, block: np.ndarray, used: np.ndarray, first: int) -> None:
        """Add trials, the first of which has the number `first` in its file; `used` says which a split uses."""
        measured = custom_files.is_measured(block)
        trials = first + np.flatnonzero(measured)
        self.unmeasured += [(first + row, float(block[row, 0])) for row in np.flatnonzero(used & ~measured).tolist()]
        block = block if measured.all() else block[measured]
        self.n_measured += len(block)
        self.moments.add(block)
        self.lowest = np.fmin(self.lowest, np.fmin.reduce(block, axis=0, initial=np.inf))
        self.highest = np.fmax(self.highest, np.fmax.reduce(block, axis=0, initial=-np.inf))
        if self.moments.n.min() == self.n_measured:
            return
        self.infinite |= np.isinf(block).any(0)
        for row, trial in zip(block, trials.tolist(), strict=True):
            new = ~np.isfinite(row) & (self.unfit_trial < 0)
            self.unfit_trial[new], self.unfit_value[new] = trial, row[new]

    @property
    def absent(self) -> np.ndarray:
        """Which voxels are NaN in all trials that were measured."""
        return (self.moments.n == 0) & ~self.infinite & (self.n_measured > 0)

    @property
    def lacking(self) -> np.ndarray:
        """Which voxels are NaN in some trials that were measured, or in all."""
        return (self.unfit_trial >= 0) & ~self.infinite

    def unfit(self, mask: nifti.Mask, are_nan_dropped: bool) -> tuple[int, str]:
        """How many values are infinite, or NaN in a voxel that other trials have; and the first of them, in words.

        Where voxels with a NaN are dropped, values of voxels with an infinite one alone.
        """
        wrong = self.infinite if are_nan_dropped else self.unfit_trial >= 0
        columns = np.flatnonzero(~self.absent & wrong)
        if not len(columns):
            return 0, ""
        column = int(columns[np.argmin(self.unfit_trial[columns])])
        place = f"{self.unfit_value[column]:g} in trial {self.unfit_trial[column]} (from 0), {_voxel(mask, column)}"
        return int((self.n_measured - self.moments.n[columns]).sum()), place


def of_betas(
    files: custom_files.SubjectFiles,
    trials: Sequence[custom_files.Trial] | None,
    mask: nifti.Mask,
    checks: Checks,
) -> Iterator[messages.Sentence]:
    """Problems of a subject's betas: trials, grid and values."""
    first = files.betas[0]
    found = custom_files.sessions(trials) if trials else []
    by_file = [(path, None) for path in files.betas]
    if len(files.betas) > 1 and trials and len(found) != len(files.betas):
        yield (
            f"{files.trials} has sessions {listed([name for name, _ in found])}, and there are {len(files.betas)} "
            f"files of betas, such as {first}; expected one for each session"
        )
    elif trials:
        by_file = custom_files.ranges_by_file(files.betas, trials)
    used = np.array([trial.split in custom_files.SPLITS for trial in trials or ()], bool)
    sessions: list[_Session] = []
    whole = True
    for path, ranges in by_file:
        n_rows = ranges[-1][1].stop if ranges else 0
        here, used = (used[:n_rows], used[n_rows:]) if ranges else (None, used)
        sentences, of_file = _of_file(path, files.trials, ranges, here, mask, checks)
        yield from sentences
        whole = whole and bool(of_file)
        sessions += of_file
    if whole:
        yield from _of_sessions(first, sessions, mask, checks)


def _of_sessions(
    first: Path, sessions: Sequence[_Session], mask: nifti.Mask, checks: Checks
) -> Iterator[messages.Sentence]:
    """Problems that show in all sessions of a subject together: voxels that are absent or constant, units."""
    absent = np.any([session.absent for session in sessions], axis=0)
    lowest = np.min([session.lowest for session in sessions], axis=0)
    highest = np.max([session.highest for session in sessions], axis=0)
    constant = ~absent & (lowest >= highest)
    fix = "correct the mask, or set nsd.constant_voxels: drop"
    if checks.constant_voxels == "error" and absent.any():
        column = int(np.flatnonzero(absent)[0])
        names = [session.name for session in sessions if session.absent[column]]
        yield (
            f"{first}: {np.count_nonzero(absent)} of {len(absent)} voxels are NaN in every trial of a session, as "
            f"GLMsingle leaves voxels that it cannot fit, the first is {_voxel(mask, column)} in session "
            f"{listed(names)}; {fix}"
        )
    if checks.constant_voxels == "error" and constant.any():
        yield (
            f"{first}: {np.count_nonzero(constant)} of {len(constant)} voxels never change, the first is "
            f"{_voxel(mask, int(np.flatnonzero(constant)[0]))}; {fix}"
        )
    lacking = np.any([session.lacking for session in sessions], axis=0)
    if checks.constant_voxels == "drop" and (absent | lacking | constant).all():
        yield f"{first}: every voxel of the mask is constant, or NaN in a trial; expected betas inside the mask"
    if checks.zscore == NONE:
        yield from _of_units(first, sessions)


def _of_units(first: Path, sessions: Sequence[_Session]) -> Iterator[messages.Sentence]:
    """Sessions of different units, whose betas would be averaged."""
    fix = "write all in one unit, or set custom.zscore: session"
    sizes = {session.name: session.moments.size for session in sessions}
    different = units.different_size(sizes.items())
    zscored = [session.name for session in sessions if session.moments.is_zscored]
    if different:
        small, large = different
        yield (
            f"{first}: betas of session {large} are {sizes[large] / sizes[small]:.3g} times as large as those of "
            f"session {small}, as if in another unit; {fix}"
        )
    elif zscored and len(zscored) < len(sessions):
        others = [session.name for session in sessions if session.name not in zscored]
        yield f"{first}: betas of session {listed(zscored)} are z-scored, those of {listed(others)} are not; {fix}"


def _of_file(
    path: Path,
    trials: Path,
    ranges: Sequence[tuple[str, range]] | None,
    used: np.ndarray | None,
    mask: nifti.Mask,
    checks: Checks,
) -> tuple[list[messages.Sentence], list[_Session]]:
    """The problems of one file of betas, and what was found in its sessions.

    Parameters
    ----------
    path
        The file.
    trials
        The trials table, for messages.
    ranges
        (session, its rows) of all rows of the trials table for this file; None if there is no table.
    used : (rows,)
        Which of these rows a split uses.
    mask
        The voxels.
    checks
        What is asked for.
    """
    sentences = []
    try:
        with custom_files.opening(path) as betas:
            n_rows = ranges[-1][1].stop if ranges else betas.n_trials
            if betas.n_trials != n_rows:
                sentences.append(f"{path} has {betas.n_trials} trials, {trials} {n_rows} rows for it; expected as many")
            n_selected = int(mask.selected.sum())
            if betas.series is None and betas.values.shape[1] != n_selected:
                sentences.append(
                    f"{path} has {betas.values.shape[1]} voxels, {mask.path} selects {n_selected}; expected as many, "
                    "in C order of the mask"
                )
                return sentences, []
            if betas.series is not None:
                grid = _grid_problem(path, betas.series.shape, betas.series.affine, mask, checks)
                if grid:
                    damaged = nifti.damage(path, custom_files.FIX)
                    return [damaged] if damaged else [*sentences, grid], []
            ranges = ranges or [("", range(n_rows))]
            used = np.ones(n_rows, bool) if used is None else used
            sessions = [_Session(name, n_selected) for name, _ in ranges]
            first = 0
            for number, block in custom_files.cut(betas.blocks(mask.selected), [rows for _, rows in ranges]):
                sessions[number].add(block, used[first : first + len(block)], first)
                first += len(block)
    except nifti.UNREADABLE as error:
        fault = system_faults.sentence(error, path)
        if fault:
            return [fault], []
        known = str(error).startswith(str(path)) or isinstance(error, hdf5_storage.IncompleteError)
        return [str(error) if known else f"{path} cannot be read ({nifti.reason(error)}); write it again"], []
    of_values = list(_of_values(path, sessions, mask, checks.constant_voxels == "drop"))
    return [*sentences, *of_values], [] if of_values else sessions


def _of_values(
    path: Path, sessions: Sequence[_Session], mask: nifti.Mask, drops_nan: bool
) -> Iterator[messages.Sentence]:
    """Trials that were never measured, and values that are no number, NaN unless their voxels are dropped."""
    unmeasured = [trial for session in sessions for trial in session.unmeasured]
    if unmeasured:
        trial, value = unmeasured[0]
        yield (
            f"{path} has {len(unmeasured)} trials that are one number in all {mask.selected.sum()} voxels of the mask, "
            f"the first {value:g} in trial {trial} (from 0), as where nothing was measured or written; write them "
            "again, or set their split to n/a"
        )
    unfit = [found for session in sessions if (found := session.unfit(mask, drops_nan))[0]]
    if unfit:
        drop = "" if drops_nan or any("inf" in first for _, first in unfit) else ", as nsd.constant_voxels: drop does"
        yield (
            f"{path} has {sum(n for n, _ in unfit)} values inside the mask that are no number, the first "
            f"{unfit[0][1]}; correct the betas, or take these voxels out of the mask{drop}"
        )


def _grid_problem(
    path: Path, shape: Sequence[int], affine: np.ndarray, mask: nifti.Mask, checks: Checks
) -> messages.Sentence | None:
    """The sentence about a volume that lies on another grid than the mask; None if it does not."""
    problem = nifti.grid_problem(path, shape, mask, affine if checks.check_affine else None)
    if problem is None:
        return None
    if tuple(shape) != mask.selected.shape:
        return f"{problem}, so resample one or correct its header"
    if nifti.is_turned(affine, mask.affine, shape):
        return f"{problem}: their axes run in other directions, so turn both with nibabel.as_closest_canonical"
    return (
        f"{problem}, so resample the mask to the grid of the betas, or, if one header is wrong and both are on one "
        "grid, set custom.check_affine: false"
    )


def _voxel(mask: nifti.Mask, column: int) -> messages.Sentence:
    return f"voxel {tuple(np.argwhere(mask.selected)[column].tolist())}"


def of_roi(name: str, path: Path, mask: nifti.Mask, subject: str, checks: Checks) -> Iterator[messages.Sentence]:
    """Problems of a region: its grid, and whether it has voxels inside the mask."""
    read, found = attempt(lambda: nifti.read_volume(path))
    yield from found
    if read is None:
        return
    volume, affine = read
    grid = _grid_problem(path, volume.shape, affine, mask, checks)
    if grid:
        yield grid
    elif not (mask.selected & (volume > 0)).any():
        yield f"{path}: region {name} has no voxel inside the mask of {subject}; correct it, or leave it out of rois"


# What other readers share. A function's own name is part of the keys of jobs, so these keep theirs.
Session = _Session
of_values = _of_values
of_sessions = _of_sessions
