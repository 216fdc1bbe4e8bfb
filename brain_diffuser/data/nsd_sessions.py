"""Betas of NSD's scan sessions, of which only masked voxels are kept in memory (24 MB of a session of 1 GB)."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.data import averages, hdf5_storage, nifti, placeholders, stimulus_table, units

N_TRIALS = 750  # per session
SUFFIXES = {"hdf5": (".hdf5",), "nifti": (".nii.gz",), "auto": (".hdf5", ".nii.gz")}
PUBLISHED = (40, 40, 32, 30, 40, 32, 40, 30)  # sessions of subjects 1 to 8
PUBLISHED_STIMULI = {  # in all of these sessions
    "train": (9000, 9000, 8481, 8302, 9000, 8481, 9000, 8302),
    "test": (1000, 1000, 930, 907, 1000, 930, 1000, 907),
}
DTYPES = ("int16", "float32", "float64")
BLOCK_BYTES = 2**25
FIX: messages.Sentence = "Download it again."

logger = logging.getLogger(__name__)


def find(
    folder: str | Path,
    sessions: int | str | Sequence[int] = "all",
    file_format: str = "auto",
    published: int = 0,
) -> list[Path]:
    """The files of the sessions that are asked for.

    Parameters
    ----------
    folder
        The folder of betas of a subject.
    sessions
        A number n for sessions 1 to n, a list of numbers, or "all" for all sessions in the folder.
    file_format
        "hdf5" (faster, because it is stored by voxel), "nifti", or "auto" for the first of these that a session has.
    published
        The number of sessions that can be fetched, 0 if nothing is fetched. "all" is then this number, and missing
        files are named as they will be, as HDF5 if the format is "auto".

    Raises
    ------
    FileNotFoundError
        A session is missing; the first one is named.
    ValueError
        `sessions` or `file_format` is another word.
    """
    if file_format not in SUFFIXES:
        raise ValueError(f"nsd.format must be one of {', '.join(SUFFIXES)}, got {file_format!r}")
    if isinstance(sessions, int):
        listed = [sessions]
    else:
        listed = [] if sessions == "all" or isinstance(sessions, str) else list(sessions)
    if sessions != "all" and (not listed or min(listed) < 1):
        raise ValueError(f'nsd.sessions must be "all", a number from 1 or a list of them, got {sessions!r}')
    folder, suffixes = Path(folder), SUFFIXES[file_format]
    existing = {path.name for path in folder.glob("betas_session*")}
    numbers = [number for number in range(1, 100) for suffix in suffixes if _name(number, suffix) in existing]
    up_to = max(published, 1, *numbers) if sessions == "all" else sessions
    asked = range(1, up_to + 1) if isinstance(up_to, int) else sorted(set(listed))
    paths = []
    for number in asked:
        files = [folder / _name(number, suffix) for suffix in suffixes if _name(number, suffix) in existing]
        if not files and number <= published:
            files = [folder / _name(number, suffixes[0])]
        if not files:
            names = " or ".join(_name(number, suffix) for suffix in suffixes)
            fix = f"NSD publishes {published}: set nsd.sessions" if published else "Download it, or set nsd.sessions"
            expected = f"every session from 1 to {asked[-1]}" if isinstance(asked, range) else "all that are listed"
            raise FileNotFoundError(f"{folder} lacks {names}; expected {expected}. {fix}.")
        paths.append(files[0])
    return paths


def number(path: str | Path) -> int:
    """The number of the session of a file of betas, from 1."""
    return int(Path(path).name.removeprefix("betas_session")[:2])


class Averages(NamedTuple):
    """What `average_betas` gives."""

    betas: dict[str, hdf5.StimulusArray]
    ncsnr: Float32[np.ndarray, " voxels"]
    unit: str


def average_betas(
    paths: Sequence[str | Path],
    mask: nifti.Mask,
    splits: Mapping[str, stimulus_table.Stimuli],
    unit: str = units.AUTO,
) -> Averages:
    """Betas of each split, averaged over repeats (float32), ncsnr of each voxel, and the unit of the betas.

    Parameters
    ----------
    paths
        The files of the sessions.
    mask
        The voxels.
    splits
        The stimuli of each split and their trials.
    unit
        The unit of the stored numbers, one of `units.STORED`; "auto" infers it from their type and size.

    Raises
    ------
    ValueError
        A session is unfit (see `read`), its unit is not known, or is not that of the sessions before.

    Differs from the reference: divided by 300 if they are 300 times percent signal change; float32, never all voxels of
    a session.
    """
    for path in paths:
        placeholders.refuse(path, "a session of betas", FIX)
    sessions = (Path(path) for path in paths)
    first = next(sessions)
    betas = read(first, mask.selected, mask.path)
    scale = units.scale_of(first, betas, unit)
    logger.info("betas are in %s: %s", scale.stored.words, scale.evidence)

    def blocks() -> Iterator[np.ndarray]:
        yield betas
        logger.info("session 1 of %d: %s", len(paths), first.name)
        for number, path in enumerate(sessions, 2):
            block = read(path, mask.selected, mask.path)
            units.check_alike(scale, units.scale_of(path, block, unit))
            yield block
            logger.info("session %d of %d: %s", number, len(paths), path.name)

    n_voxels = int(mask.selected.sum())
    means, ncsnr = averages.average_trials(blocks(), len(paths) * N_TRIALS, n_voxels, splits, scale.stored.per_unit)
    return Averages(means, ncsnr, scale.stored.unit)


def read(
    path: str | Path, selected: Bool[np.ndarray, "x y z"], mask_path: str | Path = "the mask"
) -> Shaped[np.ndarray, "trials voxels"]:
    """The stored numbers of a session for each trial and masked voxel, in their stored type.

    Voxels are in C order of (x, y, z), whatever the order in the file. The scaling of a NIfTI header is applied and
    gives float64. Both formats of a session give the same bits.

    Raises ValueError: unreadable, cut short, not 750 trials, another grid than the mask's, another type, values not
    finite, a trial or a part of the file that was never written.
    """
    path = Path(path)
    reader = _read_hdf5 if path.suffix == ".hdf5" else _read_nifti
    betas = reader(path, selected, Path(mask_path))
    unfit = np.argwhere(~np.isfinite(betas))
    if len(unfit):
        trial, column = unfit[0]
        voxel = tuple(int(index) for index in np.argwhere(selected)[column])
        raise ValueError(
            f"{path} has {len(unfit)} masked values that are not finite; the first is {betas[trial, column]} in trial "
            f"{trial}, voxel {voxel}. Download it again, or check the mask."
        )
    constant = np.flatnonzero(betas.min(1) == betas.max(1))
    if len(constant) and betas.shape[1] > 1:
        raise ValueError(
            f"{path} has {len(constant)} trials that are {betas[constant[0], 0]} in all {betas.shape[1]} masked "
            f"voxels, the first trial {constant[0]} (from 0), as where nothing was written. Download it again, or "
            "leave the session out (nsd.sessions)."
        )
    still = np.count_nonzero(betas.min(0) == betas.max(0))
    if still:
        logger.warning("%s has %d masked voxels that are constant in all of its trials", path, still)
    return betas


def _read_nifti(path: Path, selected: np.ndarray, mask_path: Path) -> np.ndarray:
    """Read NIfTI in one pass over the gzip stream."""
    series = nifti.open_series(path, FIX)
    problem = _problem(path, series.dtype, series.n_trials, series.shape, selected, mask_path)
    if problem:
        raise ValueError(nifti.damage(path, FIX) or problem)
    dtype = np.float64 if series.is_scaled else series.dtype.newbyteorder("=")
    betas = np.empty((series.n_trials, np.count_nonzero(selected)), dtype)
    for trial, stored in enumerate(nifti.masked_trials(series, selected, FIX)):
        betas[trial] = stored
    return betas * series.slope + series.inter if series.is_scaled else betas


def _read_hdf5(path: Path, selected: np.ndarray, mask_path: Path) -> np.ndarray:
    """Read HDF5 chunk by chunk, only chunks with masked voxels; a published chunk is one voxel of all trials."""
    placeholders.refuse(path, "a session of betas", FIX)
    with hdf5.opening(path, FIX) as file:
        stored = hdf5_storage.find(file, "betas")
        if stored is None or stored.ndim != 4:
            raise ValueError(f"{path} lacks a dataset betas of (trials, z, y, x). {FIX}")
        n_trials, *shape = stored.shape
        problem = _problem(path, stored.dtype, n_trials, tuple(shape[::-1]), selected, mask_path)
        if problem:
            raise ValueError(problem)
        hdf5_storage.check_sources(stored)
        betas = np.empty((n_trials, np.count_nonzero(selected)), stored.dtype.newbyteorder("="))
        depth, *cell = stored.chunks or (1, *shape)
        step = depth * max(1, BLOCK_BYTES // (depth * math.prod(cell) * stored.dtype.itemsize))  # trials per read
        written = hdf5_storage.Written(stored)
        try:
            for columns, z_y_x, inside in _cells(selected, cell):
                hole = written.first_hole((slice(None), *z_y_x))
                if hole is not None:
                    raise ValueError(
                        f"{path}: the chunk of betas at trial {hole[0]} (from 0), voxel {hole[:0:-1]} has masked "
                        f"voxels and was never written. {FIX}"
                    )
                for first in range(0, n_trials, step):
                    trials = slice(first, first + step)
                    betas[trials, columns] = stored[(trials, *z_y_x)][(slice(None), *inside)]
        except (OSError, RuntimeError) as error:
            system_faults.raise_if_any(error, path)
            raise ValueError(f"{path} cannot be read ({error}). {FIX}") from error
    return betas


def _cells(selected: np.ndarray, cell: list[int]) -> Iterator[tuple[np.ndarray, tuple[slice, ...], np.ndarray]]:
    """The cells of a (z, y, x) grid that have masked voxels: their columns, the cell's place, their places in it."""
    z_y_x = np.stack(np.nonzero(selected)[::-1])
    cells, member = np.unique(z_y_x // np.reshape(cell, (3, 1)), axis=1, return_inverse=True)
    by_cell = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    for corner, columns in zip(cells.T * cell, by_cell, strict=True):
        place = tuple(slice(start, start + length) for start, length in zip(corner.tolist(), cell, strict=True))
        yield columns, place, z_y_x[:, columns] - corner[:, None]


def _problem(
    path: Path, dtype: np.dtype, n_trials: int, shape: tuple[int, ...], selected: np.ndarray, mask_path: Path
) -> messages.Sentence | None:
    """Why a session is not what its mask and the design expect; None if it is."""
    if n_trials != N_TRIALS:
        return f"{path} has {n_trials} trials; expected {N_TRIALS} per session. {FIX}"
    problem = nifti.grid_problem(path, shape, nifti.Mask(mask_path, selected, np.eye(4)))
    if problem:
        return f"{problem}. Is the mask another subject's or resolution's?"
    if dtype.name not in DTYPES:
        return f"{path} stores {dtype.name}; expected one of {', '.join(DTYPES)}."
    return None


def _name(number: int, suffix: str) -> str:
    """A session's file name, as published."""
    return f"betas_session{number:02d}{suffix}"


cells = _cells
