"""Volumes of LAION-fMRI: regions of interest in either spelling, masks of voxels, and noise ceilings in percent."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16

from brain_diffuser.artifacts import messages
from brain_diffuser.data import nifti
from brain_diffuser.data.adapter import only_file
from brain_diffuser.data.laion_fmri import region_of, spelling
from brain_diffuser.data.wording import listed

logger = logging.getLogger(__name__)


def by_label(paths: Sequence[str]) -> dict[str, list[str]]:
    """The masks of each label: the same label may lie in several folders of categories, and in two spellings."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(region_of(path), []).append(path)
    return found


def missing(label: str, known: Mapping[str, Sequence[str]], folder: str) -> messages.Sentence:
    """The sentence about a label that has no mask, which names those that there are."""
    there = listed(sorted(known)) if known else "none"
    return (
        f"{folder} has no mask of {label} on the grid of the betas (res-1pt8); its labels, without hyphens, are {there}"
    )


def united(label: str, paths: Sequence[str], mask: nifti.Mask | None = None) -> nifti.Mask:
    """The voxels of a label: the union of its masks.

    Parameters
    ----------
    label
        The label, for messages.
    paths
        Its masks, at least one.
    mask
        A mask on whose grid they have to be; that of the first one otherwise.

    Raises
    ------
    FileNotFoundError, ValueError
        A file is no volume, lies on another grid, or there is no voxel.
    """
    selected, grid = None, mask
    for path in paths:
        volume, affine = nifti.read_volume(path, nifti.DOWNLOAD_AGAIN)
        grid = grid or nifti.Mask(Path(path), volume > 0, affine)
        problem = nifti.grid_problem(path, volume.shape, grid, affine)
        if problem:
            raise ValueError(f"{problem}. Are both res-1pt8, and of one subject?")
        selected = (volume > 0) if selected is None else selected | (volume > 0)
    assert grid is not None
    assert selected is not None
    if not selected.any():
        raise ValueError(f"{paths[0]} selects 0 voxels; expected at least 1 above 0 in {label}. Download it again.")
    return nifti.Mask(Path(paths[0]), selected, grid.affine)


def mask_of_labels(labels: Sequence[str], paths: Sequence[str], folder: str) -> nifti.Mask:
    """The voxels of some labels, united.

    Raises FileNotFoundError, ValueError: a label has no mask, or as `united` has it.
    """
    known = by_label(paths)
    unknown = [label for label in labels if spelling(label) not in known]
    if unknown:
        raise ValueError(f"{missing(unknown[0], known, folder)}; correct settings.mask")
    return united(" and ".join(labels), [path for label in labels for path in known[spelling(label)]])


def mask_of(chosen: Any, files: Sequence[str], rois: Sequence[str], folder: str) -> nifti.Mask:
    """The voxels of labels, of a map above a number, or of a mask of one's own.

    Parameters
    ----------
    chosen
        A list of labels, or {"r2mean_above": number}, or {"file": path}.
    files
        The map or mask; none for labels.
    rois
        All masks of the subject.
    folder
        Where these lie, for messages.

    Raises FileNotFoundError, ValueError: see `mask_of_labels` and `mask_above`.
    """
    if not isinstance(chosen, Mapping):
        return mask_of_labels(chosen, rois, folder)
    return mask_above(only_file(files), chosen.get("r2mean_above", 0.0))


def mask_above(path: str | Path, least: float) -> nifti.Mask:
    """The voxels where a volume is above a number; NaN is not.

    Raises FileNotFoundError, ValueError: not a volume, or no voxel.
    """
    volume, affine = nifti.read_volume(path, nifti.DOWNLOAD_AGAIN)
    selected = volume > least
    if not selected.any():
        raise ValueError(
            f"{path} is above {least:g} in 0 voxels, its largest value is {np.nanmax(volume):g}; expected at least 1, "
            "so is the number meant in percent or as a share?"
        )
    return nifti.Mask(Path(path), selected, affine)


def region_labels(
    regions: Mapping[str, Sequence[str]], paths: Sequence[str], mask: nifti.Mask, folder: str
) -> dict[str, Int16[np.ndarray, " voxels"]]:
    """1 for the voxels of each region, a union of labels, and 0 elsewhere.

    A label that a subject lacks is logged and left out; a region of which nothing is there is an error.

    Parameters
    ----------
    regions : {name: labels}
        The regions.
    paths
        All masks of the subject.
    mask
        The voxels.
    folder
        Where the masks lie, for messages.

    Raises
    ------
    FileNotFoundError, ValueError
        A region has no mask at all or no voxel inside the mask, or as `united` has it.
    """
    known, found = by_label(paths), {}
    for name, labels in regions.items():
        there = [label for label in labels if spelling(label) in known]
        for label in labels:
            if label not in there:
                logger.warning("region %s: %s", name, missing(label, known, folder))
        if not there:
            raise ValueError(f"region {name}: {missing(labels[0], known, folder)}; correct settings.regions")
        selected = united(name, [path for label in there for path in known[spelling(label)]], mask).selected
        found[name] = selected[mask.selected].astype(np.int16)
        if not found[name].any():
            raise ValueError(
                f"region {name} ({', '.join(there)}) has 0 of {len(found[name])} voxels of {mask.path}; expected at "
                "least 1, so correct settings.regions or settings.mask, or leave the region out"
            )
    return found


def ceiling_as_ncsnr(
    path: str | Path, mask: nifti.Mask, n_repeats: int, *, check_affine: bool
) -> Float32[np.ndarray, " voxels"]:
    """The signal-to-noise ratio of each voxel from a published noise ceiling; NaN where there is none.

    The ceiling is 100 * ncsnr^2 / (ncsnr^2 + 1 / n) percent of the variance of means over n repeats, so the ratio is
    sqrt(f / (n * (1 - f))) for f = ceiling / 100.

    Parameters
    ----------
    path
        The volume, 0 to 100.
    mask
        The voxels.
    n_repeats
        The n of the ceiling.
    check_affine
        Whether headers have to agree on where voxels lie.

    Raises
    ------
    FileNotFoundError, ValueError
        Not a volume, another grid, or values that are no percent.
    """
    volume, affine = nifti.read_volume(path, nifti.DOWNLOAD_AGAIN)
    problem = nifti.grid_problem(path, volume.shape, mask, affine if check_affine else None)
    if problem:
        raise ValueError(f"{problem}. Is one of them another subject's?")
    percent = volume[mask.selected].astype(np.float64)
    known = np.isfinite(percent)
    largest, smallest = (float(edge(percent[known], initial=0.0)) for edge in (np.max, np.min))
    if not (1 < largest <= 100 and smallest >= 0):
        raise ValueError(
            f"{path} has values from {smallest:g} to {largest:g} in the mask; expected noise ceilings in percent, 0 to "
            "100, so download it again, or set noise_ceiling to computed"
        )
    share = np.where(known, percent, np.nan) / 100
    with np.errstate(divide="ignore"):
        return np.sqrt(share / (n_repeats * (1 - share))).astype(np.float32)
