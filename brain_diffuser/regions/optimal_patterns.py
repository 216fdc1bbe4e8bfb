"""Synthetic responses: the image a region answers to most, and what an image becomes as its answer changes.

A region's pattern is a response of 1 (a standard deviation of each voxel) inside of it and 0 elsewhere. What ridge
makes of it follows from the kernel's rows, pattern @ X^T, so weights are never formed.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data.rois import RANDOM, REST
from brain_diffuser.decoding import ridge

logger = logging.getLogger(__name__)

BLOCK_COLUMNS = 4096
RELEASED_LABELS = {"V1": (1, 2), "V2": (3, 4), "V3": (5, 6), "V4": (7,)}
"""Of floc-faces, which the published program reads where prf-visualrois was meant."""
RELEASED_NORMS = {"clip_text": 9.0, "clip_vision": 15.0}


def binary_patterns(
    masks: Mapping[str, Bool[np.ndarray, " voxels"]], names: Sequence[str], seed: int, controls: bool = True
) -> tuple[list[str], Float32[np.ndarray, "patterns voxels"]]:
    """Names and z-scored responses: rest, the regions, and for each as many voxels drawn at random outside of it.

    A region with more than half of the voxels has no such control. Draws depend on the seed and the region alone.
    """
    n_voxels = len(next(iter(masks.values())))
    found = {REST: np.zeros(n_voxels, bool)} | {name: masks[name] for name in names}
    for name in names if controls else ():
        control = random_voxels(masks[name], seed, name)
        if control is not None:
            found[f"{RANDOM}{name}"] = control
    return list(found), np.stack(list(found.values())).astype(np.float32)


def random_voxels(
    mask: Bool[np.ndarray, " voxels"], seed: int, name: str, draw: int = 0
) -> Bool[np.ndarray, " voxels"] | None:
    """As many voxels as a mask has, drawn outside of it; None if there are too few."""
    outside, n_voxels = np.flatnonzero(~mask), int(mask.sum())
    if len(outside) < n_voxels:
        return None
    random = np.random.default_rng([seed, draw, *name.encode()])
    control = np.zeros(len(mask), bool)
    control[random.choice(outside, n_voxels, replace=False)] = True
    return control


def released_masks(rois: str | Path, masks: Mapping[str, Bool[np.ndarray, " voxels"]]) -> dict[str, np.ndarray]:
    """The masks with V1 to V4 as the published program builds them, from floc-faces.

    Its V4 has no voxel, which would leave every image without a number: such regions are left out.
    """
    with hdf5.opening(rois) as file:
        labels = hdf5.dataset(file, "floc-faces/labels")
        if labels is None:
            raise ValueError(f"{rois} lacks floc-faces, which roi.released_protocol: true needs; add it to nsd.rois.")
        faces = np.asarray(labels)
    wrong = {name: np.isin(faces, ones) for name, ones in RELEASED_LABELS.items() if name in masks}
    for name, mask in wrong.items():
        if not mask.any():
            logger.warning("%s has no voxel in the published program; left out", name)
    return {name: mask for name, mask in (dict(masks) | wrong).items() if mask.any()}


def column_statistics(
    features: str | Path,
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Mean and standard deviation (ddof 0) of every feature over its stimuli; columns pass in blocks."""
    with hdf5.reading(features, by_columns=True) as (values, _):
        mean, std = np.empty(values.shape[1]), np.empty(values.shape[1])
        for start in range(0, len(mean), BLOCK_COLUMNS):
            columns = slice(start, start + BLOCK_COLUMNS)
            block = values[:, columns].astype(np.float64)
            mean[columns], std[columns] = block.mean(0), block.std(0)
    return mean, std


def training_like(
    predicted: Float[np.ndarray, "patterns features"],
    mean: Float[np.ndarray, " features"],
    std: Float[np.ndarray, " features"],
    scale: float = 1.0,
) -> Float[np.ndarray, "patterns features"]:
    """Features in the direction that each pattern changes those of rest (row 0), as far from the mean as stimuli are.

    That distance is the root mean square of the training stimuli's, times `gain`; rest becomes the mean. A row depends
    on no other but rest, so on its own region alone.

    Raises ValueError: a pattern that changes nothing of features that vary.
    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334 (norms like those of training latents).
    """
    change = predicted - predicted[0]
    length, distance = np.linalg.norm(change, axis=1), scale * np.sqrt((std**2).sum())
    if distance > 0 and not (length[1:] > 0).all():
        raise ValueError(
            f"pattern {1 + int(np.argmin(length[1:]))} changes no feature; expected a region whose voxels have weights."
        )
    return mean + distance * np.divide(change, length[:, None], out=np.zeros_like(change), where=length[:, None] > 0)


def as_released(
    predicted: Float[np.ndarray, "patterns features"],
    mean: Float[np.ndarray, " features"],
    std: Float[np.ndarray, " features"],
    feature: str,
) -> Float[np.ndarray, "patterns features"]:
    """What the published program makes of the same predictions, which are not rescaled (rescale "none").

    Norms are fixed numbers; VDVAE's latents are z-scored across the regions, so every image depends on all of them.
    """
    change = predicted[1:] - predicted[0]
    length = np.linalg.norm(change, axis=1, keepdims=True)
    change = np.divide(change, length, out=np.zeros_like(change), where=length > 0)
    if feature in RELEASED_NORMS:
        return np.concatenate([mean[None], mean + RELEASED_NORMS[feature] * change])
    latents = mean + 50 * change
    latents = (latents - latents.mean(0)) / latents.std(0) * std + mean
    latents *= 80 / np.linalg.norm(latents, axis=1, keepdims=True)
    return np.concatenate([mean[None], latents])


def average(features: Sequence[Float[np.ndarray, "patterns ..."]]) -> Float[np.ndarray, "patterns ..."]:
    """The mean over subjects, each row as far from rest (row 0) as it is in the subjects on average."""
    change = np.mean([each - each[0] for each in features], axis=0)
    axes = tuple(range(1, change.ndim))

    def length(each: np.ndarray) -> np.ndarray:
        return np.sqrt((each**2).sum(axes, keepdims=True))

    wanted = np.mean([length(each - each[0]) for each in features], axis=0)
    found = length(change)
    return np.mean([each[0] for each in features], axis=0) + change * np.divide(
        wanted, found, out=np.zeros_like(found), where=found > 0
    )


def perturbed(
    kernel: ridge.Kernel,
    names: Sequence[str],
    changes: Float[np.ndarray, "regions train"],
    n_stimuli: int,
    amounts: Sequence[float],
) -> tuple[list[str], Float[np.ndarray, "patterns train"], Int32[np.ndarray, " patterns"]]:
    """Names, kernel rows and nsd_id of the first test stimuli's responses with `amounts` of each region's pattern.

    `changes` are the kernel rows of the regions' patterns; an amount is in standard deviations of each voxel, and 0 is
    the response that was measured.

    Raises ValueError: fewer test stimuli than asked for.
    """
    if n_stimuli > len(kernel.test_id):
        raise ValueError(
            f"roi.perturb.stimuli is {n_stimuli}, there are {len(kernel.test_id)} test stimuli; ask for fewer."
        )
    found, rows, nsd_id = [], [], []
    for name, change in zip(names, changes, strict=True):
        for row, stimulus in zip(kernel.test[:n_stimuli], kernel.test_id[:n_stimuli].tolist(), strict=True):
            for amount in amounts:
                found.append(f"{name}_nsd{stimulus:05d}_{amount:+g}")
                rows.append(row + amount * change)
                nsd_id.append(stimulus)
    return found, np.stack(rows), np.array(nsd_id, np.int32)


def decode(
    kernel: ridge.Kernel,
    rows: Float[np.ndarray, "patterns train"],
    nsd_id: Int32[np.ndarray, " patterns"],
    features_train: str | Path,
    path: str | Path,
    **options: Any,
) -> Float[np.ndarray, "patterns ..."]:
    """What ridge makes of patterns, by their kernel rows; `path` is overwritten on the way, the kernel is spent."""
    kernel = kernel._replace(test=rows, test_id=nsd_id)
    ridge.predict(kernel, features_train, path, overwrite_kernel=True, **options)
    return hdf5.load(path).values


def save(
    path: str | Path, features: Float[np.ndarray, "patterns ..."], names: Sequence[str], nsd_id: np.ndarray
) -> None:
    """Features of patterns, the name of each, and the nsd_id whose random numbers its images take."""
    hdf5.save(path, features.astype(np.float32), nsd_id, attrs={"names": list(names)})


def load(path: str | Path) -> tuple[list[str], hdf5.StimulusArray]:
    """What `save` wrote: names, and features with nsd_id."""
    with hdf5.reading(path) as (values, _):
        names = hdf5.about(values)["made_by"]["names"]
    return names, hdf5.load(path)
