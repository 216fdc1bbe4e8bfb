"""Betas of NSD's scan sessions, of which only masked voxels are kept in memory (24 MB of a session of 1 GB)."""

import gzip
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float32, Shaped
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import SpatialImage

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.data import averages, nifti, stimulus_table

N_TRIALS = 750  # per session
SUFFIXES = {"hdf5": (".hdf5",), "nifti": (".nii.gz",), "auto": (".hdf5", ".nii.gz")}
PUBLISHED = (40, 40, 32, 30, 40, 32, 40, 30)  # sessions of subjects 1 to 8
PUBLISHED_STIMULI = {  # in all of these sessions
    "train": (9000, 9000, 8481, 8302, 9000, 8481, 9000, 8302),
    "test": (1000, 1000, 930, 907, 1000, 930, 1000, 907),
}
DTYPES = ("int16", "float32", "float64")
BLOCK_BYTES = 2**25
STORED_PER_PERCENT = 300  # betas are stored as int16, 300 times percent signal change

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


def average_betas(
    paths: Sequence[str | Path], mask: nifti.Mask, splits: Mapping[str, stimulus_table.Stimuli]
) -> tuple[dict[str, hdf5.StimulusArray], Float32[np.ndarray, " voxels"]]:
    """Betas of each split, averaged over repeats (float32, percent signal change), and ncsnr of each voxel.

    Raises ValueError: see `read`.
    Differs from the reference: divided by 300; float32, never all voxels of a session.
    """

    def blocks() -> Iterator[np.ndarray]:
        for number, path in enumerate(paths, 1):
            yield read(path, mask.selected, mask.path)
            logger.info("session %d of %d: %s", number, len(paths), Path(path).name)

    n_voxels = int(mask.selected.sum())
    return averages.average_trials(blocks(), len(paths) * N_TRIALS, n_voxels, splits, STORED_PER_PERCENT)


def read(
    path: str | Path, selected: Bool[np.ndarray, "x y z"], mask_path: str | Path = "the mask"
) -> Shaped[np.ndarray, "trials voxels"]:
    """The stored numbers of a session for each trial and masked voxel, in their stored type.

    Voxels are in C order of (x, y, z), whatever the order in the file. The scaling of a NIfTI header is applied and
    gives float64. Both formats of a session give the same bits.

    Raises ValueError: unreadable, cut short, not 750 trials, another grid than the mask's, another type, values not
    finite.
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
    return betas


def _read_nifti(path: Path, selected: np.ndarray, mask_path: Path) -> np.ndarray:
    """Read NIfTI in one pass over the gzip stream; a trial is one block of it, in which x runs fastest."""
    try:
        image = nib.load(path)
    except nifti.UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as NIfTI ({error}). Download it again.") from error
    assert isinstance(image, SpatialImage)
    stored = image.dataobj
    assert isinstance(stored, ArrayProxy)
    if len(stored.shape) != 4:
        raise ValueError(f"{path} has shape {stored.shape}; expected (x, y, z, trials). Download it again.")
    *shape, n_trials = stored.shape
    _check(path, stored.dtype, n_trials, tuple(shape), selected, mask_path)
    voxels = np.ravel_multi_index(np.nonzero(selected), selected.shape, order="F")
    scaled = (stored.slope, stored.inter) != (1, 0)
    betas = np.empty((n_trials, len(voxels)), np.float64 if scaled else stored.dtype.newbyteorder("="))
    buffer = bytearray(selected.size * stored.dtype.itemsize)
    volume = np.frombuffer(buffer, stored.dtype)
    try:
        with gzip.open(path) as stream:
            stream.read(stored.offset)
            for trial in range(n_trials):
                if stream.readinto(buffer) < len(buffer):
                    raise EOFError(f"it ends within trial {trial} of {n_trials}")
                betas[trial] = volume[voxels]
            if stream.read(1):  # at the end gzip compares its checksum
                raise ValueError(f"it goes on after {n_trials} trials")
    except nifti.UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read ({error}). Download it again.") from error
    return betas * stored.slope + stored.inter if scaled else betas


def _read_hdf5(path: Path, selected: np.ndarray, mask_path: Path) -> np.ndarray:
    """Read HDF5 chunk by chunk, only chunks with masked voxels; a published chunk is one voxel of all trials."""
    fix = "Download it again."
    with hdf5.opening(path, fix) as file:
        stored = hdf5.dataset(file, "betas")
        if stored is None or stored.ndim != 4:
            raise ValueError(f"{path} lacks a dataset betas of (trials, z, y, x). {fix}")
        n_trials, *shape = stored.shape
        _check(path, stored.dtype, n_trials, tuple(shape[::-1]), selected, mask_path)
        betas = np.empty((n_trials, np.count_nonzero(selected)), stored.dtype.newbyteorder("="))
        depth, *cell = stored.chunks or (1, *shape)
        step = depth * max(1, BLOCK_BYTES // (depth * math.prod(cell) * stored.dtype.itemsize))  # trials per read
        try:
            for columns, z_y_x, inside in _cells(selected, cell):
                for first in range(0, n_trials, step):
                    trials = slice(first, first + step)
                    betas[trials, columns] = stored[(trials, *z_y_x)][(slice(None), *inside)]
        except OSError as error:
            system_faults.raise_if_any(error, path)
            raise ValueError(f"{path} cannot be read ({error}). {fix}") from error
    return betas


def _cells(selected: np.ndarray, cell: list[int]) -> Iterator[tuple[np.ndarray, tuple[slice, ...], np.ndarray]]:
    """The cells of a (z, y, x) grid that have masked voxels: their columns, the cell's place, their places in it."""
    z_y_x = np.stack(np.nonzero(selected)[::-1])
    cells, member = np.unique(z_y_x // np.reshape(cell, (3, 1)), axis=1, return_inverse=True)
    by_cell = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    for corner, columns in zip(cells.T * cell, by_cell, strict=True):
        place = tuple(slice(start, start + length) for start, length in zip(corner.tolist(), cell, strict=True))
        yield columns, place, z_y_x[:, columns] - corner[:, None]


def _check(
    path: Path, dtype: np.dtype, n_trials: int, shape: tuple[int, ...], selected: np.ndarray, mask_path: Path
) -> None:
    """Raise if a session is not what its mask and the design expect."""
    if n_trials != N_TRIALS:
        raise ValueError(f"{path} has {n_trials} trials; expected {N_TRIALS} per session. Download it again.")
    problem = nifti.grid_problem(path, shape, nifti.Mask(mask_path, selected, np.eye(4)))
    if problem:
        raise ValueError(f"{problem}. Is the mask another subject's or resolution's?")
    if dtype.name not in DTYPES:
        raise ValueError(f"{path} stores {dtype.name}; expected one of {', '.join(DTYPES)}.")


def _name(number: int, suffix: str) -> str:
    """A session's file name, as published."""
    return f"betas_session{number:02d}{suffix}"
