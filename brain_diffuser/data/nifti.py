"""NIfTI volumes: masks, labels of atlases, and the test that volumes share a grid."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Float32, Int16
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from scipy.io.matlab import MatReadError

from brain_diffuser.artifacts import hdf5, system_faults

UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, NotImplementedError),
    *(zlib.error, ImageFileError, HeaderDataError, MatReadError),
)
"""What readers of NIfTI, MAT and NumPy files raise for files that are damaged or of another kind."""

TOLERANCE = 1e-3
"""Millimetres by which affines of one grid may differ."""


class Mask(NamedTuple):
    """The voxels of a subject: columns of betas are the True voxels in C order of (x, y, z)."""

    path: Path
    selected: Bool[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]


def read_volume(path: str | Path, fix: str = "Write it again.") -> tuple[np.ndarray, np.ndarray]:
    """A three-dimensional volume and its affine, which takes (x, y, z) to millimetres.

    Raises FileNotFoundError: no such file. ValueError: not NIfTI, or not three-dimensional; `fix` says what to do.
    """
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected a NIfTI volume. {fix}")
    try:
        image = nib.load(path)
        assert isinstance(image, SpatialImage)
        volume = np.asarray(image.dataobj)
    except UNREADABLE as error:
        system_faults.raise_if_any(error, path)
        raise ValueError(f"{path} cannot be read as NIfTI ({error}). {fix}") from error
    if volume.ndim != 3:
        raise ValueError(f"{path} has shape {volume.shape}; expected a volume of (x, y, z). {fix}")
    return volume, np.asarray(image.affine, np.float64)


def grid_problem(
    path: str | Path, shape: Sequence[int], mask: Mask, affine: Float[np.ndarray, "4 4"] | None = None
) -> str | None:
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


def read_mask(path: str | Path) -> Mask:
    """The voxels of a published mask: those where the volume is above 0 (-1 and 0 are both outside).

    Raises FileNotFoundError, ValueError: not a volume, or no voxel.
    """
    volume, affine = read_volume(path, "Download it again.")
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
        volume, _ = read_volume(path, "Download it again.")
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
    path: Path, shape: np.ndarray, affine: Float[np.ndarray, "4 4"], betas: str | Path
) -> Bool[np.ndarray, "x y z"]:
    """A region's mask, on the grid of the betas.

    Parameters
    ----------
    path
        The mask, a volume that is above 0 in the region.
    shape : (3,)
        The shape of the volumes of betas.
    affine : (4, 4)
        Their affine.
    betas
        The file that says so.

    Raises
    ------
    ValueError
        The mask has no voxel, or lies on another grid.
    """
    mask = read_mask(path)
    problem = grid_problem(betas, shape.tolist(), mask, affine)
    if problem:
        raise ValueError(f"{problem}. Resample the mask to the grid of the betas, or correct its header.")
    return mask.selected
