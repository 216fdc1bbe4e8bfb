"""Scores of images in arrays, by the workflow's metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from brain_diffuser.evaluation import registry, scores


class Scores(NamedTuple):
    """Scores of a set of images.

    Parameters
    ----------
    table
        A row for each metric: mean, 95 % interval over images, the same of the shuffled pairing, chance, better.
    of_images : {metric: (images,)}
        NaN where a score was not measured.
    """

    table: list[dict[str, Any]]
    of_images: dict[str, Float[np.ndarray, " images"]]


def score(
    images: Shaped[np.ndarray, "..."],
    stimuli: Shaped[np.ndarray, "..."],
    *,
    networks: Sequence[str] = ("efficientnet_lite0",),
    protocol: str = "brain_diffuser",
    folder: str | Path = "",
    clip: str | Path = "",
    n_resamples: int = 2000,
    seed: int = 0,
    device: str = "auto",
) -> Scores:
    """Score images against their stimuli by the metrics of the workflow: pixel metrics and evaluation networks.

    For a folder of images, for permutation tests and for identification in both directions there is
    `python -m brain_diffuser.score_images`.

    Parameters
    ----------
    images : uint8 (images, height, width, 3)
        Such as reconstructions, from 0 to 255.
    stimuli : uint8 (images, height, width, 3)
        The stimulus of each image, in the same order, of any size. Two-way identification is among these stimuli.
    networks : names
        Evaluation networks and further scorers of `brain_diffuser.evaluation.registry`. "efficientnet_lite0" needs no
        file.
    protocol : "brain_diffuser" or "mindeye"
        How images are prepared; numbers of two protocols are not comparable.
    folder : path
        The published files of evaluation networks (`datasets.*.evaluation_networks` in config.yaml).
    clip : path
        The folder of CLIP, which the network "clip" is (`datasets.*.clip` in config.yaml).
    n_resamples : int, at least 1
        Of the images, for the intervals.
    seed : int
        Of the resamples and of the shuffled pairing.
    device : "auto", "cpu", "cuda" or "mps"
        Where the networks run.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        Arrays that are not images, other numbers of images and stimuli, fewer than two, or an unknown name.
    FileNotFoundError
        A file of a network, or a package, is missing.
    """
    _check_images(images, stimuli)
    names = [registry.ALWAYS, *networks]
    _check_names(networks, protocol, folder, clip)
    found: list[scores.PerImage] = []
    for name in dict.fromkeys(names):
        if not registry.is_network(name):
            found += scores.of_pixels(name, stimuli, images, protocol=protocol, seed=seed)
            continue
        from brain_diffuser.models import devices

        network = registry.load(name, protocol, folder, clip or None, devices.choose(device, "float32")[0])
        found += scores.of_features(name, network.features(stimuli), network.features(images), seed)
    ids = np.arange(len(images), dtype=np.int32)
    table = scores.summarise(
        {"images": scores.ImageScores(ids, found)}, protocol=protocol, n_resamples=n_resamples, seed=seed
    )
    return Scores(table, {each.metric: each.scores for each in found})


def _check_images(images: np.ndarray, stimuli: np.ndarray) -> None:
    """Raises ValueError: these are not as many images as stimuli, uint8 (images, height, width, 3)."""
    for name, values in (("images", images), ("stimuli", stimuli)):
        if values.ndim != 4 or values.shape[-1] != 3 or values.dtype != np.uint8:
            raise ValueError(
                f"{name} is {values.dtype} {values.shape}; expected uint8 (images, height, width, 3), levels from 0 "
                "to 255"
            )
    if len(images) != len(stimuli):
        raise ValueError(
            f"there are {len(images)} images and {len(stimuli)} stimuli; expected the stimulus of each image"
        )
    if len(images) < 2:
        raise ValueError(f"scores compare images with each other; got {len(images)}, expected at least 2")


def _check_names(networks: Sequence[str], protocol: str, folder: str | Path, clip: str | Path) -> None:
    """Raises ValueError: a name is unknown. FileNotFoundError: a file or a package is missing."""
    if protocol not in registry.PROTOCOLS:
        raise ValueError(f"protocol is {protocol}; expected one of {', '.join(registry.PROTOCOLS)}")
    for name in networks:
        if name not in registry.selectable():
            raise ValueError(f"networks has {name}; expected some of {', '.join(registry.selectable())}")
        if name == "clip" and not clip:
            raise ValueError("networks has clip, which reads CLIP's folder; name it with clip=")
        wrong = registry.package_problem(name) or registry.file_problem(
            name, registry.network_files(name, protocol, folder, clip or None)
        )
        if wrong:
            raise FileNotFoundError(wrong)
