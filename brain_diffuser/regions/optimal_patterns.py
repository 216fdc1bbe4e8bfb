"""Synthetic responses: the features that a region codes for, and how decoded features change with its response.

A region's pattern is a response of 1 (a standard deviation of each voxel) inside of it and 0 elsewhere. The features
that ridge decodes from it follow from the kernel's rows, pattern @ X^T, so weights are never formed.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from brain_diffuser.artifacts import finite, hdf5
from brain_diffuser.data.rois import RANDOM, REST
from brain_diffuser.decoding import ridge

logger = logging.getLogger(__name__)

BLOCK_COLUMNS = 4096
RELEASED_LABELS = {"V1": (1, 2), "V2": (3, 4), "V3": (5, 6), "V4": (7,)}
"""Labels of floc-faces, which the published program reads where prf-visualrois was meant."""
RELEASED_NORMS = {"clip_text": 9.0, "clip_vision": 15.0}
RELEASED_EPSILON = 1e-8
"""What the published program adds to a length that it divides by."""


def binary_patterns(
    masks: Mapping[str, Bool[np.ndarray, " voxels"]], names: Sequence[str], seed: int, controls: bool = True
) -> tuple[list[str], Float32[np.ndarray, "patterns voxels"]]:
    """Names and z-scored responses: rest, the regions, and for each as many voxels drawn at random outside of it.

    Parameters
    ----------
    masks : {region: boolean array (voxels,)}
    names : regions
    seed : int
        Of the draws, which depend on it and on the region alone.
    controls : bool
        Whether there are random voxels; a region with more than half of the voxels has none.
    """
    n_voxels = len(next(iter(masks.values())))
    patterns = {REST: np.zeros(n_voxels, bool)} | {name: masks[name] for name in names}
    for name in names if controls else ():
        control = random_voxels(masks[name], seed, name)
        if control is not None:
            patterns[f"{RANDOM}{name}"] = control
    return list(patterns), np.stack(list(patterns.values())).astype(np.float32)


def random_voxels(
    mask: Bool[np.ndarray, " voxels"], seed: int, name: str, draw: int = 0
) -> Bool[np.ndarray, " voxels"] | None:
    """As many voxels as a mask has, drawn outside of it; None if there are too few.

    Parameters
    ----------
    mask : boolean array (voxels,)
    seed, draw : int
        Of the random numbers.
    name : str
        The region's name, which is part of the seed.
    """
    outside, n_voxels = np.flatnonzero(~mask), int(mask.sum())
    if len(outside) < n_voxels:
        return None
    random = np.random.default_rng([seed, draw, *name.encode()])
    control = np.zeros(len(mask), bool)
    control[random.choice(outside, n_voxels, replace=False)] = True
    return control


def released_masks(labels: str | Path, masks: Mapping[str, Bool[np.ndarray, " voxels"]]) -> dict[str, np.ndarray]:
    """The masks with V1 to V4 as the published program builds them, from floc-faces in the file of ROI labels.

    Its V4 has no voxel. Such a mask stays: its row counts in the z-scores over regions (`as_released`).

    Raises ValueError: the file lacks floc-faces.
    """
    with hdf5.opening(labels) as file:
        stored = hdf5.dataset(file, "floc-faces/labels")
        if stored is None:
            raise ValueError(f"{labels} lacks floc-faces, which roi.released_protocol: true needs; add it to nsd.rois.")
        faces = np.asarray(stored)
    released = {name: np.isin(faces, numbers) for name, numbers in RELEASED_LABELS.items() if name in masks}
    for name, mask in released.items():
        if not mask.any():
            logger.warning("%s has no voxel in the published program; its image is that of no response", name)
    return dict(masks) | released


def column_statistics(
    features: str | Path,
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Mean and standard deviation (ddof 0) of every feature over its stimuli; columns pass in blocks."""
    with hdf5.reading(features, by_columns=True) as (values, nsd_id):
        mean, std = np.empty(values.shape[1]), np.empty(values.shape[1])
        for start in range(0, len(mean), BLOCK_COLUMNS):
            columns = slice(start, start + BLOCK_COLUMNS)
            block = values[:, columns].astype(np.float64)
            hdf5.check_finite(features, block, nsd_id)
            mean[columns], std[columns] = block.mean(0), block.std(0)
    return mean, std


def training_like(
    predicted: Float[np.ndarray, "patterns features"],
    mean: Float[np.ndarray, " features"],
    std: Float[np.ndarray, " features"],
    scale: float,
) -> Float[np.ndarray, "patterns features"]:
    """Features in the direction in which each pattern changes those of rest, as far from the mean as stimuli are.

    That distance is the root mean square of the training stimuli's, times `scale`; rest becomes the mean. A row depends
    on itself and rest alone, and so on its own region alone.

    Parameters
    ----------
    predicted : array (patterns, features)
        Decoded features; row 0 is rest.
    mean, std : arrays (features,)
        Of the training stimuli.
    scale : float, above 0

    Raises
    ------
    ValueError
        A pattern does not change features that vary.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334 (norms like those of training latents).
    """
    change = predicted - predicted[0]
    length, distance = np.linalg.norm(change, axis=1), scale * np.sqrt((std**2).sum())
    finite.check(length, "the length of a pattern's features", "Check the betas and the feature.")
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
    """The features that the published program makes of the same predictions, which are not rescaled (rescale "none").

    Norms are fixed numbers; VDVAE's latents are z-scored across the regions, so every image depends on all of them,
    also on those without a voxel, which predict what rest does: the mean of the training stimuli.

    Parameters
    ----------
    predicted : array (patterns, features)
        Decoded features; row 0 is rest.
    mean, std : arrays (features,)
        Of the training stimuli.
    feature : str
        "vdvae", "clip_text" or "clip_vision".

    Differs from the reference: a latent that no region changes becomes its mean; the reference has NaN.
    """
    change = predicted[1:] - predicted[0]
    change = change / (np.linalg.norm(change, axis=1, keepdims=True) + RELEASED_EPSILON)
    if feature in RELEASED_NORMS:
        return np.concatenate([mean[None], mean + RELEASED_NORMS[feature] * change])
    latents = mean + 50 * change
    centred, spread = latents - latents.mean(0), latents.std(0)
    latents = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0) * std + mean
    latents *= 80 / np.linalg.norm(latents, axis=1, keepdims=True)
    return np.concatenate([mean[None], latents])


def average(features: Sequence[Float[np.ndarray, "patterns ..."]]) -> Float[np.ndarray, "patterns ..."]:
    """The mean over subjects, each row as far from rest (row 0) as it is in the subjects on average."""
    change = np.mean([subject - subject[0] for subject in features], axis=0)
    axes = tuple(range(1, change.ndim))

    def length(rows: np.ndarray) -> np.ndarray:
        return np.sqrt((rows**2).sum(axes, keepdims=True))

    mean_length = np.mean([length(subject - subject[0]) for subject in features], axis=0)
    length_of_mean = length(change)
    factor = np.divide(mean_length, length_of_mean, out=np.zeros_like(length_of_mean), where=length_of_mean > 0)
    return np.mean([subject[0] for subject in features], axis=0) + change * factor


def average_files(paths: Sequence[str | Path], out_path: str | Path) -> None:
    """Write the average of several subjects' features of the same patterns.

    Raises ValueError: a file has other patterns than the first.
    """
    loaded = [load(path) for path in paths]
    names, first = loaded[0]
    for path, (others, _) in zip(paths, loaded, strict=True):
        if others != names:
            raise ValueError(f"{path} has other patterns than {paths[0]}; expected the same. Rerun both.")
    save(out_path, average([features.values for _, features in loaded]), names, first.nsd_id)


def perturbed(
    kernel: ridge.Kernel,
    names: Sequence[str],
    changes: Float[np.ndarray, "regions train"],
    n_stimuli: int,
    amounts: Sequence[float],
) -> tuple[list[str], Float[np.ndarray, "patterns train"], Int32[np.ndarray, " patterns"]]:
    """Names, kernel rows and nsd_id of the first test stimuli's responses with `amounts` of each region's pattern.

    Parameters
    ----------
    kernel : ridge.Kernel
        With the test stimuli's rows.
    names : regions
    changes : array (regions, train)
        The kernel rows of the regions' patterns.
    n_stimuli : int
    amounts : sequence of float
        In standard deviations of each voxel; 0 is the response that was measured.

    Raises
    ------
    ValueError
        There are fewer test stimuli.
    """
    if n_stimuli > len(kernel.test_id):
        raise ValueError(
            f"roi.perturb.stimuli is {n_stimuli}, there are {len(kernel.test_id)} test stimuli; ask for fewer."
        )
    labels, rows, nsd_id = [], [], []
    for name, change in zip(names, changes, strict=True):
        for row, stimulus in zip(kernel.test[:n_stimuli], kernel.test_id[:n_stimuli].tolist(), strict=True):
            for amount in amounts:
                labels.append(f"{name}_nsd{stimulus:05d}_{amount:+g}")
                rows.append(row + amount * change)
                nsd_id.append(stimulus)
    return labels, np.stack(rows), np.array(nsd_id, np.int32)


def optimal_features(
    out_path: str | Path,
    kernel: ridge.Kernel,
    betas: str | Path,
    features: str | Path,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    *,
    names: Sequence[str],
    labels: str | Path,
    feature: str,
    is_released: bool,
    scale: float,
    seed: int,
    alpha: float,
    memory_gib: float,
) -> None:
    """Write the features of the image that each region responds to most; rest and random voxels are the controls.

    Parameters
    ----------
    out_path : path
    kernel : ridge.Kernel
        Of the training stimuli; it is overwritten.
    betas, features : paths
        Of the training stimuli.
    masks : {region: boolean array (voxels,)}
    names : regions
    labels : path
        ROI labels, of which the published program's masks are made.
    feature : str
        Which feature it is.
    is_released : bool
        Whether masks, norms and z-scores are those of the published program.
    scale : float, above 0
        Distance from the mean, in that of the training stimuli.
    seed : int
        Of the random voxels.
    alpha : float
        The feature's ridge penalty.
    memory_gib : float
        Of the prediction.
    """
    if is_released:
        masks = released_masks(labels, {name: masks[name] for name in names})
    names, patterns = binary_patterns(masks, names, seed, controls=not is_released)
    if is_released and len(np.unique(patterns[1:], axis=0)) < 2:
        raise ValueError(
            f"roi.released_protocol: true z-scores latents across the regions of roi.optimal, and no two of them "
            f"({', '.join(names[1:])}) have different voxels; name two that differ, or set it to false."
        )
    rows = pattern_rows(kernel, betas, patterns)
    nsd_id = np.zeros(len(names), np.int32)
    with hdf5.atomic(out_path) as partial:
        options = {"alpha": alpha, "memory_gib": memory_gib, "rescale": "none" if is_released else "train_oof"}
        predicted = decode(kernel, rows, nsd_id, features, partial, **options)
        flat = predicted.reshape(len(predicted), -1).astype(np.float64)
        flat[~patterns.any(1)] = flat[0]  # a product may differ in the last bit, and differences are made long
        mean, std = column_statistics(features)
        if is_released:
            flat = as_released(flat, mean, std, feature)
        else:
            flat = training_like(flat, mean, std, scale)
        save(partial, flat.reshape(predicted.shape), names, nsd_id)


def perturbed_features(
    out_path: str | Path,
    kernel: ridge.Kernel,
    betas: str | Path,
    features: str | Path,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    *,
    names: Sequence[str],
    n_stimuli: int,
    amounts: Sequence[float],
    alpha: float,
    memory_gib: float,
    rescale: str,
) -> None:
    """Write the features decoded from test stimuli's responses with a region's response raised and lowered.

    Parameters
    ----------
    out_path : path
    kernel : ridge.Kernel
        Of the training and test stimuli; it is overwritten.
    betas, features : paths
        Of the training stimuli.
    masks : {region: boolean array (voxels,)}
    names : regions
    n_stimuli, amounts
        As of `perturbed`.
    alpha : float
        The feature's ridge penalty.
    memory_gib : float
        Of the prediction.
    rescale : "train_oof" or "none"
        How predictions are rescaled.
    """
    changes = pattern_rows(kernel, betas, np.stack([masks[name] for name in names]).astype(np.float32))
    labels, rows, nsd_id = perturbed(kernel, names, changes, n_stimuli, amounts)
    with hdf5.atomic(out_path) as partial:
        options = {"alpha": alpha, "memory_gib": memory_gib, "rescale": rescale}
        save(partial, decode(kernel, rows, nsd_id, features, partial, **options), labels, nsd_id)


def pattern_rows(
    kernel: ridge.Kernel, betas: str | Path, patterns: Float32[np.ndarray, "patterns voxels"]
) -> Float[np.ndarray, "patterns train"]:
    """The kernel rows of z-scored responses; `betas` is the file of the training stimuli."""
    with hdf5.reading(betas, by_columns=True) as (values, nsd_id):
        train: Any = values  # columns of the stored dataset pass in blocks
        return ridge.cross_kernel(kernel, hdf5.StimulusArray(train, nsd_id), patterns, standardised=True)


def decode(
    kernel: ridge.Kernel,
    rows: Float[np.ndarray, "patterns train"],
    nsd_id: Int32[np.ndarray, " patterns"],
    features_train: str | Path,
    path: str | Path,
    **options: Any,
) -> Float[np.ndarray, "patterns ..."]:
    """The features that ridge decodes from patterns.

    Parameters
    ----------
    kernel : ridge.Kernel
        Of the training stimuli; it is overwritten.
    rows : array (patterns, train)
        The kernel rows of the patterns.
    nsd_id : array (patterns,)
    features_train : path
        Features of the training stimuli.
    path : path
        A file for the prediction; it is overwritten.
    options
        Those of `ridge.predict`.
    """
    kernel = kernel._replace(test=rows, test_id=nsd_id)
    ridge.predict(kernel, features_train, path, overwrite_kernel=True, **options)
    return hdf5.load(path).values


def save(
    path: str | Path, features: Float[np.ndarray, "patterns ..."], names: Sequence[str], nsd_id: np.ndarray
) -> None:
    """Write features of patterns, the name of each, and the nsd_id whose random numbers its images use.

    Raises ValueError, which names the pattern: features are not finite in float32.
    """
    with np.errstate(over="ignore"):
        stored = features.astype(np.float32)
    wrong = finite.rows_not_finite(stored)
    if wrong:
        others = f" and of {len(wrong) - 1} others" if len(wrong) > 1 else ""
        raise ValueError(
            f"{path}: the features of pattern {names[wrong[0]]}{others} are not finite; "
            "expected a region whose voxels have weights, and other patterns that differ from it"
        )
    hdf5.save(path, stored, nsd_id, attrs={"names": list(names)})


def load(path: str | Path) -> tuple[list[str], hdf5.StimulusArray]:
    """The names, and the features with nsd_id, that `save` wrote."""
    with hdf5.reading(path) as (values, _):
        names = hdf5.about(values)["made_by"]["names"]
    return names, hdf5.load(path)
