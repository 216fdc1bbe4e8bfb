"""Files in the plain layout of docs/your_data.md: trials, betas, images and captions.

Rows of betas are trials, in the order of the trials table. A stimulus is named by the path of its image below the
folder of images (BIDS: stim_file); its nsd_id is the rank of that name among all images there.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float32
from nibabel.spatialimages import SpatialImage
from PIL import Image

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.data import nifti, stimulus_table
from brain_diffuser.data.adapter import NONE

TRIALS = ("stim_file", "session", "run", "repeat", "split")
CAPTIONS = ("stim_file", "caption")
SPLITS = ("train", "test")
UNUSED = "n/a"  # BIDS for a missing value: a trial of neither split, such as a blank
NO_CAPTION = "no caption"  # of all stimuli, so it says nothing about any

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VOLUMES = (".nii", ".nii.gz")
TABLES = (".npy", ".h5", ".hdf5")
VOLUMES_AT_A_TIME = 32


class SubjectFiles(NamedTuple):
    """The files that the betas of a subject come from. Without a mask, nothing says where voxels lie."""

    subject: str
    trials: Path
    betas: tuple[Path, ...]
    mask: Path | None
    rois: dict[str, Path]

    @classmethod
    def from_names(
        cls, subject: str, trials: str, betas: Sequence[str], mask: Sequence[str], rois: Mapping[str, str]
    ) -> "SubjectFiles":
        """From paths as texts.

        Parameters
        ----------
        subject
            The name of the subject.
        trials
            The trials table.
        betas
            One file, or one for each session.
        mask
            One file or none.
        rois : {name: path}
            The masks of regions.
        """
        voxels = Path(mask[0]) if mask else None
        return cls(
            subject, Path(trials), tuple(map(Path, betas)), voxels, {name: Path(path) for name, path in rois.items()}
        )


class Trial(NamedTuple):
    """A row of the trials table."""

    stim_file: str
    session: str
    run: str
    repeat: str
    split: str


class Betas(NamedTuple):
    """An open file of betas: volumes (x, y, z, trials) with an affine, or a table (trials, voxels) without."""

    values: Any
    affine: np.ndarray | None

    @property
    def n_trials(self) -> int:
        return self.values.shape[0 if self.affine is None else -1]

    def blocks(self, rows: range, selected: Bool[np.ndarray, "x y z"]) -> Iterator[np.ndarray]:
        """The selected voxels of some trials, float32, a few volumes at a time."""
        step = len(rows) if self.affine is None else VOLUMES_AT_A_TIME
        for first in range(rows.start, rows.stop, step):
            here = slice(first, min(first + step, rows.stop))
            if self.affine is None:
                yield np.asarray(self.values[here], np.float32)
            else:
                yield np.asarray(self.values[..., here], np.float32)[selected].T


def read_table(path: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a tab-separated table in UTF-8 that has at least these columns.

    Raises ValueError: the table is not UTF-8, a column is missing or doubled, or a row has more or fewer cells.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} line {line} has byte 0x{error.object[error.start]:02x}, which is not UTF-8; save it as UTF-8"
        ) from None
    header, *rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE) if text else [[]]
    lacking = [name for name in columns if name not in header]
    if lacking:
        names = ", ".join(header) if any(header) else "nothing"
        raise ValueError(f"{path} lacks column {', '.join(lacking)}; its first line has {names}, tab-separated; add it")
    doubled = [name for name in columns if header.count(name) > 1]
    if doubled:
        raise ValueError(f"{path} has column {doubled[0]} {header.count(doubled[0])} times; expected once, delete one")
    uneven = [number for number, row in enumerate(rows, 2) if row and len(row) != len(header)]
    if uneven:
        raise ValueError(
            f"{path} line {uneven[0]} has {len(rows[uneven[0] - 2])} cells, its first line {len(header)}; expected as "
            "many, tab-separated"
        )
    return [dict(zip(header, row, strict=True)) for row in rows if row]


def read_trials(path: str | Path) -> list[Trial]:
    """The rows of the trials table. Raises ValueError: see `read_table`."""
    return [Trial(*(row[name] for name in TRIALS)) for row in read_table(path, TRIALS)]


def count_stimuli(path: str | Path) -> dict[str, int]:
    """The number of stimuli of each split in a trials table."""
    trials = read_trials(path)
    return {split: len({trial.stim_file for trial in trials if trial.split == split}) for split in SPLITS}


def sessions(trials: Sequence[Trial]) -> list[tuple[str, range]]:
    """Every session and its rows, which are contiguous."""
    ranges = []
    for session, rows in groupby(range(len(trials)), lambda row: trials[row].session):
        numbers = list(rows)
        ranges.append((session, range(numbers[0], numbers[-1] + 1)))
    return ranges


def stimulus_ids(folder: str | Path) -> dict[str, int]:
    """The nsd_id of every image below a folder, by its stim_file."""
    paths = (path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
    return {name: number for number, name in enumerate(sorted(path.relative_to(folder).as_posix() for path in paths))}


def split_stimuli(trials: Sequence[Trial], ids: Mapping[str, int]) -> dict[str, stimulus_table.Stimuli]:
    """The train and test stimuli in the order of first presentation, with their trials."""
    nsd_id = np.array([ids.get(trial.stim_file, -1) for trial in trials], np.int32)
    split = np.array([trial.split for trial in trials])
    return {name: stimulus_table.group_trials(nsd_id, np.flatnonzero(split == name)) for name in SPLITS}


def read_mask(path: Path | None, n_voxels: int) -> nifti.Mask:
    """The voxels of a mask, or `n_voxels` in a line where there is no mask."""
    if path is None:
        return nifti.mask_of_table(n_voxels)
    volume, affine = nifti.read_volume(path)
    return nifti.Mask(path, volume > 0, affine)


@contextmanager
def opening(path: Path) -> Iterator[Betas]:
    """Open a file of betas: a four-dimensional NIfTI file, a .npy file, or an HDF5 file with a dataset `betas`.

    Raises ValueError: the file has another ending, is unreadable, has no numbers, or has the wrong dimensions.
    """
    ending = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    if ending not in (*VOLUMES, *TABLES):
        raise ValueError(f"{path} ends in {ending or 'nothing'}; expected one of {', '.join((*VOLUMES, *TABLES))}")
    file = None
    try:
        if ending in VOLUMES:
            image = nib.load(path, keep_file_open=True)  # volumes in turn then inflate a .gz once
            assert isinstance(image, SpatialImage)
            betas = Betas(image.dataobj, np.asarray(image.affine, np.float64))
            dtype = image.get_data_dtype()
        elif ending == ".npy":
            betas = Betas(np.load(path, mmap_mode="r", allow_pickle=False), None)
            dtype = betas.values.dtype
        else:
            file = h5py.File(path)
            stored = hdf5.dataset(file, "betas")
            if stored is None:
                raise ValueError(f"{path} lacks a dataset betas; it has {', '.join(file) or 'nothing'}; rename it")
            betas, dtype = Betas(stored, None), stored.dtype
    except (*nifti.UNREADABLE, EOFError) as error:
        if str(error).startswith(str(path)):
            raise
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as betas ({error}); write it again") from error
    try:
        expected = "(trials, voxels)" if betas.affine is None else "(x, y, z, trials)"
        if len(betas.values.shape) != (2 if betas.affine is None else 4):
            raise ValueError(f"{path} has shape {tuple(betas.values.shape)}; expected {expected}")
        if dtype.kind not in "iuf":
            raise ValueError(f"{path} stores {dtype}; expected whole or real numbers")
        yield betas
    finally:
        if file is not None:
            file.close()


def sessions_of_betas(paths: Sequence[Path], trials: Sequence[Trial]) -> list[tuple[Path, str, range, int]]:
    """(file, session, its rows in the trials table, first row of the file) of every session; a file has one or all."""
    ranges = sessions(trials)
    if len(paths) == 1:
        return [(paths[0], session, rows, 0) for session, rows in ranges]
    return [(path, session, rows, rows.start) for path, (session, rows) in zip(paths, ranges, strict=True)]


def read_betas(
    paths: Sequence[Path], trials: Sequence[Trial], selected: Bool[np.ndarray, "x y z"], zscore: str
) -> Iterator[Float32[np.ndarray, "rows voxels"]]:
    """Betas of all trials in order, in blocks.

    Parameters
    ----------
    paths
        One file, or one for each session.
    trials
        The trials table.
    selected : (x, y, z)
        The voxels.
    zscore
        "none", or "session" to z-score each voxel within each session; 0 where it is constant.

    Memory
    ------
    A few volumes, or the selected voxels of a session.
    """
    for path, _, rows, first in sessions_of_betas(paths, trials):
        with opening(path) as betas:
            blocks = betas.blocks(range(rows.start - first, rows.stop - first), selected)
            if zscore == NONE:
                yield from blocks
                continue
            session = np.concatenate(list(blocks))
            session -= session.mean(0, dtype=np.float64).astype(np.float32)
            std = session.std(0, dtype=np.float64).astype(np.float32)
            yield np.divide(session, std, out=np.zeros_like(session), where=std > 0)


def n_voxels(path: Path) -> int:
    """The number of columns of a table of betas; 0 for volumes, whose mask says it."""
    with opening(path) as betas:
        return 0 if betas.affine is not None else betas.values.shape[1]


def copy_images(folder: str | Path, path: str | Path, nsd_id: np.ndarray, names: Mapping[int, str]) -> None:
    """Copy images to an artifact, one at a time; grey images become RGB with three equal channels.

    Parameters
    ----------
    folder
        The folder of images.
    path
        The artifact.
    nsd_id : (stimuli,)
        The stimuli, in the order of rows.
    names : {nsd_id: stim_file}
        The names of images.
    """
    with Image.open(Path(folder, names[int(nsd_id[0])])) as image:
        width, height = image.size
    axes = ("height", "width", "rgb")
    with hdf5.create(path, (len(nsd_id), height, width, 3), np.uint8, nsd_id, axes=axes, flatten=False) as images:
        for row, number in enumerate(nsd_id.tolist()):
            with Image.open(Path(folder, names[number])) as image:
                images[row] = np.asarray(image.convert("RGB"))


def read_captions(path: str | Path) -> dict[str, list[str]]:
    """The captions of each stim_file that are not empty, in the file's order. Raises ValueError: see `read_table`."""
    captions: dict[str, list[str]] = {}
    for row in read_table(path, CAPTIONS):
        texts = captions.setdefault(row["stim_file"], [])
        texts.extend([row["caption"].strip()] if row["caption"].strip() else [])
    return captions
