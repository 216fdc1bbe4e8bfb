"""NIfTI volumes: masks, labels of atlases, series of volumes, and the test that volumes share a grid."""

import bz2
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple
from zipfile import BadZipFile

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, Shaped
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.volumeutils import apply_read_scaling

from brain_diffuser.artifacts import hdf5, messages, system_faults
from brain_diffuser.data import placeholders

try:  # inflates at more than twice the speed, and refuses the same streams
    from isal.igzip import open as open_gzip
    from isal.igzip_lib import IsalError as GzipError
except ImportError:
    from gzip import open as open_gzip
    from zlib import error as GzipError

UNREADABLE: Any = (  # a tuple of exceptions; isal's types call its error an instance
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, MemoryError),
    *(struct.error, zlib.error, GzipError, ImageFileError, HeaderDataError, SyntaxError, TokenError, BadZipFile),
)
"""What readers of NIfTI, HDF5 and NumPy files raise for files that are damaged or of another kind."""

WRITE_AGAIN: messages.Sentence = "Write it again."
DOWNLOAD_AGAIN: messages.Sentence = "Download it again."

TOLERANCE = 1e-3
"""Millimetres by which affines of one grid may differ."""

MAX_VOXELS = 2**28
"""A grid of more voxels is no brain's: a damaged header asks for memory that no machine has."""

MOST_INFLATED = 1032
"""A gzip stream gives at most this many bytes for each of its own."""

AFTER_VOLUME = 2**20
"""Bytes that may follow a volume in a compressed file, such as the tags of MGZ."""

MAX_INFLATED = 2**35
"""Bytes of the longest session by far; a compressed file that gives more is not read on."""

COMPRESSED = (".gz", ".mgz", ".bz2", ".zst")


class Mask(NamedTuple):
    """The voxels of a subject: columns of betas are the True voxels in C order of (x, y, z)."""

    path: Path
    selected: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


class Series(NamedTuple):
    """A NIfTI file of volumes (x, y, z, trials), of which only the header was read.

    Parameters
    ----------
    path
        The file, .nii or .nii.gz.
    shape : (x, y, z)
        The shape of a volume.
    n_trials
        The number of volumes.
    dtype
        The stored type.
    slope, inter
        What scales the stored numbers; 1 and 0 if they stay as they are.
    offset
        The bytes before the first volume.
    affine : (4, 4)
        It takes (x, y, z) to millimetres.
    """

    path: Path
    shape: tuple[int, int, int]
    n_trials: int
    dtype: np.dtype
    slope: float
    inter: float
    offset: int
    affine: Float[np.ndarray, "4 4"]

    @property
    def is_scaled(self) -> bool:
        return (self.slope, self.inter) != (1, 0)

    @property
    def n_bytes(self) -> int:
        """The bytes of the whole file, inflated."""
        return self.offset + math.prod(self.shape) * self.n_trials * self.dtype.itemsize

    def scaled(self, stored: Shaped[np.ndarray, "trials voxels"]) -> Shaped[np.ndarray, "trials voxels"]:
        """Stored numbers with the scaling of the header, as nibabel gives them."""
        slope, inter = np.float64(self.slope), np.float64(self.inter)
        return apply_read_scaling(stored, slope, inter)


def open_series(path: str | Path, fix: messages.Sentence) -> Series:
    """The header of a file of volumes. `fix` says what to do about a file that cannot be read.

    Raises FileNotFoundError, ValueError: not NIfTI, not (x, y, z, trials), or shorter than its header says.
    """
    path = Path(path)
    placeholders.refuse(path, "a NIfTI file of volumes", fix)
    try:
        image, stored = _load(path)
        shape: Any = tuple(map(int, stored.shape))
        affine = np.asarray(image.affine, np.float64)
        series = Series(path, shape[:3], shape[-1], stored.dtype, stored.slope, stored.inter, stored.offset, affine)
    except UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as NIfTI ({reason(error)}). {fix}") from error
    problem = _size_problem(path, shape, series.n_bytes, n_axes=4)
    if problem:
        damaged = damage(path, fix)
        raise ValueError(damaged or f"{problem}. {fix}")
    return series


def masked_trials(
    series: Series, selected: Bool[np.ndarray, "x y z"], fix: str
) -> Iterator[Shaped[np.ndarray, " voxels"]]:
    """The stored numbers of the selected voxels in C order, trial by trial, from one pass to the end of the file.

    At its end gzip compares the checksum. A trial is one block of the stream, in which x runs fastest.

    Raises ValueError: the file is damaged, ends early or goes on after its last trial.
    """
    voxels = np.ravel_multi_index(np.nonzero(selected), selected.shape, order="F")
    buffer = bytearray(selected.size * series.dtype.itemsize)
    volume = np.frombuffer(buffer, series.dtype)
    try:
        with _inflated(series.path) as stream:
            stream.seek(series.offset)
            for trial in range(series.n_trials):
                if stream.readinto(buffer) < len(buffer):
                    raise EOFError(f"it ends within trial {trial} of {series.n_trials}")
                yield volume[voxels]
            if stream.read(1):
                raise ValueError(f"it goes on after {series.n_trials} trials")
    except UNREADABLE as error:
        system_faults.raise_if_any(error, series.path)
        raise ValueError(f"{series.path} cannot be read ({reason(error)}). {fix}") from error


def damage(path: str | Path, fix: messages.Sentence) -> messages.Sentence | None:
    """Why the content of a compressed file is not what was written, as a sentence; None if its checksum agrees.

    What a damaged header says leads astray, so this is asked before any sentence about it.
    """
    try:
        _read_to_end(path, MAX_INFLATED)
    except UNREADABLE as error:
        return system_faults.sentence(error, path) or f"{path} cannot be read ({reason(error)}). {fix}"
    return None


def reason(error: BaseException) -> str:
    """The words of an error, or its kind if it has none."""
    return str(error) or type(error).__name__


def read_volume(path: str | Path, fix: messages.Sentence = WRITE_AGAIN) -> tuple[np.ndarray, np.ndarray]:
    """A three-dimensional volume and its affine, which takes (x, y, z) to millimetres; (x, y, z, 1) is one, too.

    A compressed file is read to its end, where its checksum is. `fix` says what to do about a file that is unfit.

    Raises FileNotFoundError: no such file. ValueError: not NIfTI, damaged, or not three-dimensional.
    """
    placeholders.refuse(path, "a NIfTI volume", fix)
    try:
        image, stored = _load(path)
        shape = tuple(map(int, stored.shape))
        n_bytes = stored.offset + math.prod(shape) * stored.dtype.itemsize
        files = {key: Path(holder.filename) for key, holder in image.file_map.items() if holder.filename}
        problem = _size_problem(files["image"], shape, n_bytes)
        if problem is None:
            volume = np.asarray(stored)
            for file in files.values():
                if file.is_file():
                    _read_to_end(file, n_bytes + AFTER_VOLUME)
        affine = np.asarray(image.affine, np.float64)
    except UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as NIfTI ({reason(error)}). {fix}") from error
    if problem:
        damaged = damage(path, fix)
        raise ValueError(damaged or f"{problem}. {fix}")
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        raise ValueError(f"{path} has shape {volume.shape}; expected a volume of (x, y, z). {fix}")
    if volume.dtype.kind not in "biuf":
        raise ValueError(f"{path} stores {volume.dtype}; expected a number for each voxel. {fix}")
    if not (np.isfinite(affine).all() and np.linalg.det(affine[:3, :3])):
        raise ValueError(f"{path} has the affine {affine.tolist()}, which gives voxels no place. {fix}")
    return volume, affine


def _load(path: str | Path) -> tuple[SpatialImage, ArrayProxy]:
    """An image of volumes and its numbers, unread. Raises ValueError: the file has none."""
    image = nib.load(path)
    if not isinstance(image, SpatialImage) or not isinstance(image.dataobj, ArrayProxy):
        raise ValueError(f"it is {type(image).__name__}, which has no volumes")
    return image, image.dataobj


def _size_problem(
    path: Path, shape: Sequence[int], n_bytes: int, n_axes: int | None = None
) -> messages.Sentence | None:
    """Why a file cannot have what its header says, as the beginning of a sentence; None if it can.

    With `n_axes` it is a series of volumes, of which one has to be of a possible size.
    """
    if n_axes and len(shape) != n_axes:
        return f"{path} has shape {tuple(shape)}; expected (x, y, z, trials)"
    shape = shape[:3] if n_axes else shape
    if min(shape, default=0) < 1 or math.prod(shape) > MAX_VOXELS:
        return f"{path} has shape {tuple(shape)} in its header; expected 1 to {MAX_VOXELS} voxels"
    size = path.stat().st_size
    suffix = path.suffix.lower()
    if suffix in (".nii", ".mgh") and size < n_bytes:
        return f"{path} is cut short: it has {size} bytes, and its header says {n_bytes}"
    if suffix in (".gz", ".mgz") and n_bytes > MOST_INFLATED * size + AFTER_VOLUME:
        return f"{path} is damaged: its header says {n_bytes} bytes, which no file of {size} bytes can hold"
    return None


def _inflated(path: str | Path) -> Any:
    """The bytes of a file, inflated if it is compressed. Each of these programs compares checksums at the end."""
    name = Path(path).name.lower()
    if name.endswith((".gz", ".mgz")):
        return open_gzip(path)
    if name.endswith(".bz2"):
        return bz2.open(path)
    return ImageOpener(str(path)) if name.endswith(".zst") else open(path, "rb")


def _read_to_end(path: str | Path, most: int) -> None:
    """Read a compressed file to its end. Raises if it is damaged or has more bytes than `most`, inflated."""
    if not Path(path).name.lower().endswith(COMPRESSED):
        return
    with _inflated(path) as stream:
        n_read = 0
        while block := stream.read(2**20):
            n_read += len(block)
            if n_read > most:
                raise ValueError(f"it has more than {most} bytes, inflated")


def grid_problem(
    path: str | Path, shape: Sequence[int], mask: Mask, affine: Float[np.ndarray, "4 4"] | None = None
) -> messages.Sentence | None:
    """How the grid of a volume differs from that of a mask, as the beginning of a sentence; None if it does not.

    Parameters
    ----------
    path
        The file with the volume.
    shape : (x, y, z)
        The shape of the volume.
    mask
        The mask.
    affine
        The affine of the volume; without it, only shapes are compared.
    """
    shape = tuple(map(int, shape))
    if shape != mask.selected.shape:
        return f"{path} has volumes of {shape}, {mask.path} {mask.selected.shape}; expected one grid"
    if affine is not None and not np.allclose(affine, mask.affine, atol=TOLERANCE):
        return (
            f"{path} and {mask.path} have different affines (voxel 0 0 0 lies at {affine[:3, 3].round(2).tolist()} and "
            f"{mask.affine[:3, 3].round(2).tolist()} mm); expected one grid"
        )
    return None


def is_turned(affine: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"], shape: Sequence[int]) -> bool:
    """Whether two affines of volumes of one shape describe one grid whose axes run in other directions."""
    canonical = []
    for each in (affine, other):
        if not np.isfinite(each).all() or not np.linalg.det(each):
            return False
        turned = nib.orientations.io_orientation(each)
        if np.isnan(turned).any():
            return False
        canonical.append(each @ nib.orientations.inv_ornt_aff(turned, tuple(shape)))
    return bool(np.allclose(*canonical, atol=TOLERANCE))


def read_mask(path: str | Path) -> Mask:
    """The voxels of a published mask: those where the volume is above 0 (-1 and 0 are both outside).

    Raises FileNotFoundError, ValueError: not a volume, or no voxel.
    """
    volume, affine = read_volume(path, DOWNLOAD_AGAIN)
    mask = Mask(Path(path), volume > 0, affine)
    if not mask.selected.any():
        raise ValueError(
            f"{path} selects 0 voxels; expected about 15,000 above 0 for nsdgeneral. Is this the func1pt8mm mask?"
        )
    return mask


def mask_of_table(n_voxels: int) -> Mask:
    """The voxels of betas that are a table of trials by voxels, in a line: nothing says where they lie."""
    return Mask(Path("the table of betas"), np.ones((n_voxels, 1, 1), bool), np.eye(4))


def read_labels(paths: Sequence[str | Path], mask: Mask) -> dict[str, Int16[np.ndarray, " voxels"]]:
    """The label of every voxel in each atlas: -1 is no cortex, 0 unlabelled cortex, from 1 on a region.

    An atlas has the name of its file, without ending.

    Raises FileNotFoundError, ValueError: not a volume, another grid than the mask's, or labels that are not whole.
    """
    labels = {}
    for path in map(Path, paths):
        volume, _ = read_volume(path, DOWNLOAD_AGAIN)
        problem = grid_problem(path, volume.shape, mask)
        if problem:
            raise ValueError(f"{problem}. Is one of them another subject's?")
        values = volume[mask.selected]
        atlas = path.name.removesuffix(".nii.gz")
        labels[atlas] = values.astype(np.int16)
        if not np.array_equal(labels[atlas], values):
            raise ValueError(f"{path} has labels that are not whole, such as {values[labels[atlas] != values][0]}.")
    return labels


def write_rois(
    path: str | Path,
    labels: Mapping[str, Int16[np.ndarray, " voxels"]],
    mask: Mask,
    ncsnr: Float32[np.ndarray, " voxels"],
) -> None:
    """Write an HDF5 file that says where the voxels lie, with their labels and signal-to-noise ratio.

    Parameters
    ----------
    path
        The file. `voxel` in it is the flat index in C order of the volume `shape`; `affine` takes (x, y, z) to
        millimetres; `labels` lie in a group for each atlas.
    labels : {atlas: (voxels,)}
        The labels of atlases.
    mask
        The voxels.
    ncsnr : (voxels,)
        The signal-to-noise ratio.
    """
    with hdf5.writing(path) as file:
        hdf5.store(file, "voxel", np.flatnonzero(mask.selected).astype(np.int32))
        hdf5.store(file, "ncsnr", ncsnr)
        hdf5.store(file, "shape", mask.selected.shape)
        hdf5.store(file, "affine", mask.affine)
        for atlas, values in labels.items():
            hdf5.store(file, f"{atlas}/labels", values)


def read_region(
    path: Path, shape: np.ndarray, affine: Float[np.ndarray, "4 4"] | None, betas: str | Path
) -> Bool[np.ndarray, "x y z"]:
    """A region's mask, on the grid of the betas.

    Parameters
    ----------
    path
        The mask, a volume that is above 0 in the region.
    shape : (3,)
        The shape of the volumes of betas.
    affine : (4, 4)
        Their affine; None if shapes alone are compared.
    betas
        The file that says so.

    Raises
    ------
    ValueError
        The mask has no voxel, or lies on another grid.
    """
    volume, of_mask = read_volume(path)
    mask = Mask(path, volume > 0, of_mask)
    if not mask.selected.any():
        raise ValueError(f"{path} selects 0 voxels; expected at least 1 above 0. Correct it, or leave the region out.")
    problem = grid_problem(betas, shape.tolist(), mask, affine)
    if problem:
        raise ValueError(f"{problem}. Resample the mask to the grid of the betas, or correct its header.")
    return mask.selected
