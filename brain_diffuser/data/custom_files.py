"""Files in the plain layout of docs/your_data.md: trials, betas, images and captions.

Rows of betas are trials, in the order of the trials table. A stimulus is named by the path of its image below the
folder of images (BIDS: stim_file); its nsd_id is the rank of that name among all images there.
"""

import os
import struct
import unicodedata
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image, UnidentifiedImageError

from brain_diffuser.artifacts import captions as caption_files
from brain_diffuser.artifacts import hdf5, messages, system_faults, tables, text_files
from brain_diffuser.data import hdf5_storage, nifti, placeholders, stimulus_table
from brain_diffuser.data.adapter import NONE

TRIALS = ("stim_file", "session", "run", "repeat", "split")
CAPTIONS = ("stim_file", "caption")
SPLITS = ("train", "test")
UNUSED = "n/a"  # BIDS for a missing value: a trial of neither split, such as a blank
NO_CAPTION = "no caption"  # of all stimuli, so it says nothing about any

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""What PIL may take an image for, whatever its name; it runs programs of others for some of its formats."""
ADDED_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "#recycle", "lost+found", "system volume information")
"""Folders that file systems and archives add, in small letters; what they hold may look like an image."""
UNREADABLE_IMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(MemoryError, RuntimeError, struct.error, zlib.error),
)
"""What PIL raises for images that are damaged; each of its formats has its own."""
VOLUMES = (".nii", ".nii.gz")
TABLES = (".npy", ".h5", ".hdf5")
VOLUMES_AT_A_TIME = 32
BLOCK_BYTES = 2**26
FIX: messages.Sentence = "Write it again."
OF_GLMSINGLE: messages.Sentence = "; files of GLMsingle's own are read with adapter: bids (docs/your_data.md)"


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
    """An open file of betas: volumes (x, y, z, trials), of which the header is known, or a table (trials, voxels)."""

    path: Path
    values: Any
    series: nifti.Series | None

    @property
    def n_trials(self) -> int:
        return self.series.n_trials if self.series else self.values.shape[0]

    def blocks(self, selected: Bool[np.ndarray, "x y z"]) -> Iterator[Float32[np.ndarray, "trials voxels"]]:
        """The selected voxels of all trials in order, some trials at a time, from one pass over the file.

        Raises ValueError: the file is damaged.
        """
        with np.errstate(over="ignore"):  # too large for float32: infinite, which is no measured value either
            if self.series:
                trials = nifti.masked_trials(self.series, selected, FIX)
                while block := list(islice(trials, VOLUMES_AT_A_TIME)):
                    yield self.series.scaled(np.stack(block)).astype(np.float32, copy=False)
                return
            step = _rows_at_a_time(self.values)
            for first in range(0, self.n_trials, step):
                try:
                    block = np.asarray(self.values[first : first + step], np.float32)
                except (OSError, RuntimeError) as error:
                    raise ValueError(f"{self.path} cannot be read ({nifti.reason(error)}). {FIX}") from error
                yield block


def _rows_at_a_time(values: Any) -> int:
    """The rows of a table that are read at once: about BLOCK_BYTES in whole chunks, or all if rows are scattered."""
    n_rows, n_columns = values.shape
    by_rows = values.flags.c_contiguous if isinstance(values, np.ndarray) else True
    if not by_rows:
        return max(1, n_rows)
    depth = (getattr(values, "chunks", None) or (1,))[0]
    return depth * max(1, BLOCK_BYTES // max(1, depth * n_columns * values.dtype.itemsize))


def read_trials(path: str | Path) -> list[Trial]:
    """The rows of the trials table. Raises FileNotFoundError, ValueError: see `tables.read_rows`."""
    rows = ({**row, "stim_file": composed(row["stim_file"])} for row in tables.read_rows(path, TRIALS))
    return [Trial(*(row[name] for name in TRIALS)) for row in rows]


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
    """The nsd_id of every image below a folder, by its path there as the disk has it.

    The id is the rank of the name in composed letters, so that it does not depend on the file system. Names alone
    decide: an image that cannot be read has an id too, and what systems and programs add (see `is_stimulus`) has none.

    Raises OSError: a folder cannot be listed.
    """
    names = sorted(filter(is_stimulus, _file_names(folder)), key=lambda name: (composed(name), name))
    return {name: number for number, name in enumerate(names)}


def other_files(folder: str | Path) -> list[str]:
    """The paths of all files below a folder that are no stimuli. Raises OSError: a folder cannot be listed."""
    return sorted(name for name in _file_names(folder) if not is_stimulus(name))


def _file_names(folder: str | Path) -> Iterator[str]:
    """The paths of all files below a folder; links to folders are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=fail if os.path.isdir(folder) else None):
        below = Path(place).relative_to(folder)
        yield from ((below / name).as_posix() for name in names)


def is_stimulus(name: str) -> bool:
    """Whether a path below the folder of images is that of a stimulus: it ends like an image, and nobody has added it.

    macOS adds ._1001.png, archives __MACOSX, editors and notebooks .#1001.png and .ipynb_checkpoints: nothing is a
    stimulus that is hidden, in a hidden folder, or in one of `ADDED_FOLDERS`, or that Office has locked (~$1001.png).
    """
    parts = name.split("/")
    added = any(part.startswith((".", "~$")) or part.lower() in ADDED_FOLDERS for part in parts)
    return not added and os.path.splitext(name)[1].lower() in IMAGES


def composed(name: str) -> str:
    """A name with each letter and its accents as one character (NFC), as tables have it; macOS stores them apart."""
    return unicodedata.normalize("NFC", name)


def split_stimuli(trials: Sequence[Trial], ids: Mapping[str, int]) -> dict[str, stimulus_table.Stimuli]:
    """The train and test stimuli in the order of first presentation, with their trials."""
    by_name = {composed(name): number for name, number in ids.items()}
    nsd_id = np.array([by_name.get(trial.stim_file, -1) for trial in trials], np.int32)
    split = np.array([trial.split for trial in trials])
    return {name: stimulus_table.group_trials(nsd_id, np.flatnonzero(split == name)) for name in SPLITS}


def read_mask(path: Path | None, n_voxels: int) -> nifti.Mask:
    """The voxels of a mask, or `n_voxels` in a line where there is no mask."""
    if path is None:
        return nifti.mask_of_table(n_voxels)
    volume, affine = nifti.read_volume(path, FIX)
    return nifti.Mask(path, volume > 0, affine)


@contextmanager
def opening(path: Path) -> Iterator[Betas]:
    """Open a file of betas: a four-dimensional NIfTI file, a .npy file, or an HDF5 file with a dataset `betas`.

    Raises FileNotFoundError: no such file. ValueError: the file has another ending, is unreadable, has no numbers, has
    the wrong dimensions, or a part of it was never written.
    """
    ending = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    if ending not in (*VOLUMES, *TABLES):
        raise ValueError(
            f"{path} ends in {ending or 'nothing'}; expected one of {', '.join((*VOLUMES, *TABLES))}"
            f"{OF_GLMSINGLE if ending == '.mat' else ''}"
        )
    if ending in VOLUMES:
        series = nifti.open_series(path, FIX)
        _check_kind(path, series.dtype)
        yield Betas(path, None, series)
        return
    placeholders.refuse(path, "betas", FIX)
    file = None
    try:
        if ending == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(values, np.ndarray):
                raise ValueError("it is an archive of arrays, .npz")
        else:
            file = h5py.File(path)
            values = hdf5_storage.find(file, "betas")
            if values is None:
                raise ValueError(
                    f"{path} lacks a dataset betas; it has {', '.join(file) or 'nothing'}; rename it"
                    f"{OF_GLMSINGLE if 'betasmd' in file else ''}"
                )
            hdf5_storage.check_sources(values)
    except nifti.UNREADABLE as error:
        if file is not None:
            file.close()
        if str(error).startswith(str(path)) or isinstance(error, hdf5_storage.IncompleteError):
            raise
        system_faults.raise_if_any(error, path)
        raise ValueError(
            f"{path} cannot be read as betas ({nifti.reason(error)}); write it again"
            f"{OF_GLMSINGLE if 'Python objects' in str(error) else ''}"
        ) from error
    try:
        _check_table(path, values)
        yield Betas(path, values, None)
    finally:
        if file is not None:
            file.close()


def _check_table(path: Path, values: Any) -> None:
    """Raise if a table is not (trials, voxels) of numbers, or a part of it was never written."""
    if len(values.shape) != 2:
        raise ValueError(f"{path} has shape {tuple(values.shape)}; expected (trials, voxels)")
    if not 1 <= values.shape[1] <= nifti.MAX_VOXELS:
        raise ValueError(f"{path} has shape {tuple(values.shape)}; expected 1 to {nifti.MAX_VOXELS} voxels")
    _check_kind(path, values.dtype)
    hole = hdf5_storage.Written(values).first_hole() if isinstance(values, h5py.Dataset) else None
    if hole is not None:
        raise ValueError(
            f"{path}: betas was never written from trial {hole[0]} (from 0), voxel {hole[1]} on, and reads as "
            f"{values.fillvalue} there; write it again"
        )


def _check_kind(path: Path, dtype: np.dtype) -> None:
    if dtype.kind not in "iuf":
        raise ValueError(f"{path} stores {dtype}; expected whole or real numbers")


def ranges_by_file(paths: Sequence[Path], trials: Sequence[Trial]) -> list[tuple[Path, list[tuple[str, range]]]]:
    """(file, [(session, its rows in the file)]) of every file; a file has one session or all."""
    ranges = sessions(trials)
    if len(paths) == 1:
        return [(paths[0], ranges)]
    return [(path, [(session, range(len(rows)))]) for path, (session, rows) in zip(paths, ranges, strict=True)]


def cut(blocks: Iterable[np.ndarray], ranges: Sequence[range]) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the range, block) of rows in order, cut where a range ends; rows after the last are left out."""
    done, number = 0, 0
    for block in blocks:
        while len(block) and number < len(ranges):
            piece = block[: ranges[number].stop - done]
            yield number, piece
            done, block = done + len(piece), block[len(piece) :]
            number += done == ranges[number].stop


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
        "none", or "session" to z-score each voxel within each session; 0 where it is constant, NaN where it is NaN.

    Raises
    ------
    ValueError
        A file is damaged, or has not as many trials as its table.

    Memory
    ------
    A few volumes, or the selected voxels of a session.
    """
    for path, sessions_of_file in ranges_by_file(paths, trials):
        with opening(path) as betas:
            n_rows = sessions_of_file[-1][1].stop
            if betas.n_trials != n_rows:
                raise ValueError(
                    f"{path} has {betas.n_trials} trials, its trials table {n_rows} rows; expected as many"
                )
            blocks = betas.blocks(selected)
            if zscore == NONE:
                yield from blocks
                continue
            pieces = cut(blocks, [rows for _, rows in sessions_of_file])
            for _, of_session in groupby(pieces, lambda piece: piece[0]):
                yield _zscored(np.concatenate([block for _, block in of_session]))


def _zscored(session: Float32[np.ndarray, "rows voxels"]) -> Float32[np.ndarray, "rows voxels"]:
    """Betas of a session, z-scored in place; trials that are constant were not measured and do not count."""
    measured = is_measured(session)
    all_count = measured.all() or not measured.any()
    session -= (session if all_count else session[measured]).mean(0, dtype=np.float64).astype(np.float32)
    std = (session if all_count else session[measured]).std(0, dtype=np.float64).astype(np.float32)
    zscored = np.divide(session, std, out=np.zeros_like(session), where=std > 0)
    zscored[:, np.isnan(std)] = np.nan
    return zscored


zscored_session = _zscored  # for other readers: a function's own name is part of the keys of jobs, so it keeps its own


def is_measured(betas: Float32[np.ndarray, "trials voxels"]) -> Bool[np.ndarray, " trials"]:
    """Whether each trial has two voxels with different values: of one value are trials that were never written.

    A trial of a single voxel is measured unless it is NaN.
    """
    lowest, highest = np.fmin.reduce(betas, axis=1), np.fmax.reduce(betas, axis=1)
    return lowest < highest if betas.shape[1] > 1 else ~np.isnan(lowest)


def n_voxels(path: Path) -> int:
    """The number of columns of a table of betas; 0 for volumes, whose mask says it."""
    with opening(path) as betas:
        return 0 if betas.series else betas.values.shape[1]


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
    with open_image(Path(folder, names[int(nsd_id[0])])) as image:
        width, height = image.size
    axes = ("height", "width", "rgb")
    with hdf5.create(path, (len(nsd_id), height, width, 3), np.uint8, nsd_id, axes=axes, flatten=False) as images:
        for row, number in enumerate(nsd_id.tolist()):
            with open_image(Path(folder, names[number])) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape != images.shape[1:]:
                raise ValueError(
                    f"{Path(folder, names[number])} has {pixels.shape[1]} x {pixels.shape[0]} pixels, images before it "
                    f"{width} x {height}; expected one size, so crop or pad to what was on the screen"
                )
            images[row] = pixels


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; what PIL raises in the block, where its pixels are decoded, becomes one sentence.

    Raises FileNotFoundError, ValueError: the path leads to no file, or to no image that can be decoded to its end.
    """
    text_files.check_is_file(path, "an image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which the pixels do not depend on
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=FORMATS) as image:
                image.verify()  # compares the checksums of PNG, which decoding does not
            with Image.open(path, formats=FORMATS) as image:
                yield image
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError(
                f"{path} has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels; expected what was on the screen, so "
                "save it smaller"
            ) from None
        except UnidentifiedImageError:
            raise ValueError(f"{path} {_what_is_no_image(path)}") from None
        except UNREADABLE_IMAGE as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"{path} cannot be read to its end ({reason}); copy or save it again") from None


def _what_is_no_image(path: Path) -> str:
    """What a file is that PIL cannot open, as the end of a sentence."""
    with open(path, "rb") as stream:
        head = stream.read(text_files.HEAD_BYTES)
    if not head:
        return "is empty; copy or save it again"
    return text_files.placeholder(head) or "is no image that can be read; expected 8-bit RGB or grey, so save it again"


def read_captions(path: str | Path) -> dict[str, list[str]]:
    """The captions of each stim_file that are not empty, in the file's order; BIDS' n/a counts as empty.

    Raises FileNotFoundError, ValueError: see `tables.read_rows`; a caption is no text but what a program made of a
    missing value, an object or a list.
    """
    captions: dict[str, list[str]] = {}
    for line, row in enumerate(tables.read_rows(path, CAPTIONS), 2):
        text = row["caption"].strip()
        wrong = caption_files.problem(text)
        if wrong:
            raise ValueError(f"{path} line {line}: the caption of {row['stim_file']} is {wrong}")
        texts = captions.setdefault(composed(row["stim_file"]), [])
        texts.extend([text] if text not in ("", UNUSED) else [])
    return captions
