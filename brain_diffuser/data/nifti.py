"""NIfTI volumes: masks, and the labels of atlases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32, Int16
from nibabel.spatialimages import SpatialImage
from scipy.io.matlab import MatReadError

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import nsd_sessions

UNREADABLE = (*nsd_sessions.UNREADABLE, MatReadError, TypeError, NotImplementedError)


class Mask(NamedTuple):
    """The voxels of a subject: columns of betas are the True voxels in C order of (x, y, z)."""

    path: Path
    selected: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


def read_mask(path: str | Path) -> Mask:
    """The voxels where a volume is above 0 (-1 and 0 are both outside).

    Raises FileNotFoundError, ValueError: not a volume, no voxel.
    """
    volume, affine = _read_volume(path)
    mask = Mask(Path(path), volume > 0, affine)
    if not mask.selected.any():
        raise ValueError(
            f"{path} selects 0 voxels; expected about 15,000 above 0 for nsdgeneral. Is this the func1pt8mm mask?"
        )
    return mask


def read_rois(folder: str | Path, atlases: Sequence[str], mask: Mask) -> dict[str, Int16[np.ndarray, " voxels"]]:
    """Each atlas' label of every voxel: -1 no cortex, 0 unlabelled cortex, from 1 on a region.

    Raises FileNotFoundError, ValueError: not a volume, another grid than the mask's, labels that are not whole.
    """
    labels = {}
    for atlas in atlases:
        path = Path(folder) / f"{atlas}.nii.gz"
        volume, _ = _read_volume(path)
        if volume.shape != mask.selected.shape:
            raise ValueError(
                f"{path} has shape {volume.shape}, {mask.path} {mask.selected.shape}; expected one grid. "
                f"Is one of them another subject's?"
            )
        found = volume[mask.selected]
        labels[atlas] = found.astype(np.int16)
        if not np.array_equal(labels[atlas], found):
            raise ValueError(f"{path} has labels that are not whole, such as {found[labels[atlas] != found][0]}.")
    return labels


def write_rois(
    path: str | Path,
    labels: Mapping[str, Int16[np.ndarray, " voxels"]],
    mask: Mask,
    ncsnr: Float32[np.ndarray, " voxels"],
) -> None:
    """An HDF5 file with `labels` in a group per atlas, where the voxels lie, and their signal-to-noise ratio.

    `voxel` is the flat index in C order of the volume `shape`; `affine` takes (x, y, z) to millimetres.
    """
    with hdf5.writing(path) as file:
        hdf5.store(file, "voxel", np.flatnonzero(mask.selected).astype(np.int32))
        hdf5.store(file, "ncsnr", ncsnr)
        hdf5.store(file, "shape", mask.selected.shape)
        hdf5.store(file, "affine", mask.affine)
        for atlas, each in labels.items():
            hdf5.store(file, f"{atlas}/labels", each)


def _read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A three-dimensional NIfTI volume and its affine."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; expected a volume of NSD's roi folder. Download it.")
    try:
        image = nib.load(path)
        assert isinstance(image, SpatialImage)
        volume = np.asarray(image.dataobj)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}). Download it again.") from error
    if volume.ndim != 3:
        raise ValueError(f"{path} has shape {volume.shape}; expected a volume of (x, y, z).")
    return volume, np.asarray(image.affine, np.float64)


def is_stored(dataset: h5py.Dataset, row: int) -> bool:
    """Whether a row was ever written; HDF5 reads zeros where a chunk was not."""
    if dataset.chunks is None:
        return True
    corner = (row // dataset.chunks[0] * dataset.chunks[0], *(0 for _ in dataset.shape[1:]))
    return dataset.id.get_chunk_info_by_coord(corner).byte_offset is not None


def read_volume(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume (x, y, z) and its affine.

    Raises ValueError: not NIfTI, not three-dimensional.
    """
    try:
        image = nib.load(path)
        assert isinstance(image, SpatialImage)
        volume = np.asarray(image.dataobj)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); write it again") from error
    if volume.ndim != 3:
        raise ValueError(f"{path} has shape {volume.shape}; expected a volume of (x, y, z)")
    return volume, np.asarray(image.affine, np.float64)


def of_mask(path: Path, shape: np.ndarray, affine: np.ndarray, rois: str | Path) -> Bool[np.ndarray, "x y z"]:
    """A mask of one's own, on the grid of the betas."""
    mask = read_mask(path)
    if mask.selected.shape != tuple(shape):
        raise ValueError(
            f"{path} has shape {mask.selected.shape}, the betas {tuple(shape.tolist())}; expected one grid. "
            "Resample it to the subject's func1pt8mm volumes."
        )
    if not np.allclose(mask.affine, affine, atol=1e-3):
        raise ValueError(
            f"{path} has another affine than the betas (its voxel 0 0 0 lies at {mask.affine[:3, 3].round(2).tolist()} "
            f"mm, theirs at {affine[:3, 3].round(2).tolist()}); expected one grid. Resample it, or correct its header."
        )
    return mask.selected
