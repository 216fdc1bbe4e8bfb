"""All scores of images that any program made: the workflow's metrics, controls and tests, for images of any sizes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from brain_diffuser.artifacts import image_files, tables
from brain_diffuser.evaluation import (
    matching,
    metrics,
    pair_scores,
    permutations,
    pixels,
    registry,
    scores,
    statistics,
)

TOP = (1, 10, 50)
"""How many of the candidates that resemble most may come before the own one is missed."""
AMONG_STIMULI, AMONG_IMAGES = "stimulus among stimuli", "image among images"
IDENTIFICATION = ("images", "metric", "protocol", "searched", "measure", "pool", "n", "share", "low", "high", "chance")
TESTS = ("protocol", *pair_scores.COLUMNS)

Images = Sequence[matching.Image]
Features = Mapping[str, Float[np.ndarray, "_ _"]]


class Settings(NamedTuple):
    """Numbers of resamples and permutations, and their seeds, as the workflow has them.

    Parameters
    ----------
    n_resamples : int
        Of the bootstrap over images.
    control_seed : int
        Of the bootstrap and of the shuffled pairing.
    n_permutations : int
        Of each permutation test.
    pairings : int
        Pairings that are drawn for SSIM in place of permutations.
    seed : int
        Of permutations and pairings.
    """

    n_resamples: int
    control_seed: int
    n_permutations: int
    pairings: int
    seed: int


class Scored(NamedTuple):
    """What was computed under one protocol.

    Parameters
    ----------
    per_image
        Every metric of every image, and its control.
    pairs : {metric: PairScores}
        What permutation tests need.
    identification
        Rows of IDENTIFICATION.
    """

    per_image: list[scores.PerImage]
    pairs: dict[str, pair_scores.PairScores]
    identification: list[dict[str, Any]]


def score(
    name: str,
    stimuli: Images,
    matched: matching.Matched,
    scorers: Sequence[str],
    protocol: str,
    features_of: Callable[[str, Images], Features],
    settings: Settings,
) -> Scored:
    """All scores of a set of images under a protocol.

    Parameters
    ----------
    name : str
        Of the set of images.
    stimuli : images
        All test stimuli, in the order that `matched` counts them.
    matched : Matched
        The images.
    scorers : names of the registry
        Pixel metrics and evaluation networks.
    protocol : "brain_diffuser" or "mindeye"
    features_of : (network, images) -> {metric: features}
        Computes an evaluation network's features.
    settings : Settings

    Returns
    -------
    Scored

    Memory: of 982 images under "mindeye" 4.3 GB for the correlations of pixels, and below 4 GB for those of AlexNet,
    beside all stimuli and images.
    """
    own = [stimuli[row] for row in matched.rows]
    done = Scored([], {}, [])
    for scorer in scorers:
        if registry.is_network(scorer):
            true, predicted = (features_of(scorer, images) for images in (stimuli, matched.images))
            _of_network(done, name, scorer, protocol, matched.rows, true, predicted, settings)
        else:
            done.per_image.extend(of_pixels(scorer, own, matched.images, protocol, settings.control_seed))
            done.pairs.update(pairs_of_pixels(scorer, own, matched.images, protocol, settings))
    return done


def _of_network(
    done: Scored,
    name: str,
    scorer: str,
    protocol: str,
    rows: np.ndarray,
    true: Features,
    predicted: Features,
    settings: Settings,
) -> None:
    """Add the scores of an evaluation network to those that are done."""
    are_all = np.array_equal(rows, np.arange(len(next(iter(true.values())))))
    own = true if are_all else {metric: features[rows] for metric, features in true.items()}
    done.per_image.extend(scores.of_features(scorer, own, predicted, settings.control_seed))
    layers: set[str] = set()
    for metric, record in registry.SCORERS[scorer].metrics.items():
        table = statistics.correlation_matrix(true[metric], predicted[metric])
        done.pairs[metric] = pair_scores.PairScores(table[rows], True, record.kind)
        if record.layer not in layers:
            layers.add(record.layer)
            of_metric = {"images": name, "metric": metric, "protocol": protocol}
            done.identification.extend(of_metric | row for row in identify(table, rows, settings))


def network_features(network: Any, images: Images) -> Features:
    """An evaluation network's features of images of any sizes, in their order."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        sizes.setdefault(image.shape, []).append(place)
    features: dict[str, np.ndarray] = {}
    for places in sizes.values():
        for metric, values in network.features(np.stack([images[place] for place in places])).items():
            if metric not in features:
                features[metric] = np.empty((len(images), values.shape[1]), np.float32)
            features[metric][places] = values
    return features


def of_pixels(scorer: str, stimuli: Images, images: Images, protocol: str, seed: int) -> list[scores.PerImage]:
    """A pixel scorer's metrics of every image and their control, as `scores.of_pixels` has them.

    Parameters
    ----------
    scorer : str
        Its name in the registry.
    stimuli, images
        A stimulus and an image after the other, each of a size of its own.
    protocol : "brain_diffuser" or "mindeye"
    seed : int
        Of the shuffled pairing.
    """
    assigned = statistics.cyclic_derangement(len(stimuli), seed)
    return [
        scores.PerImage(
            metric,
            record.kind,
            _one_by_one(record.score, stimuli, images, protocol),
            _one_by_one(record.score, stimuli, [images[place] for place in assigned], protocol),
        )
        for metric, record in registry.SCORERS[scorer].metrics.items()
        if record.score
    ]


def _one_by_one(function: Callable[..., np.ndarray], stimuli: Images, images: Images, protocol: str) -> np.ndarray:
    """A pixel metric of pairs of images, of which each pair has sizes of its own."""
    pairs = zip(stimuli, images, strict=True)
    return np.array([function(stimulus[None], image[None], protocol)[0] for stimulus, image in pairs], np.float64)


def pairs_of_pixels(
    scorer: str, stimuli: Images, images: Images, protocol: str, settings: Settings
) -> dict[str, pair_scores.PairScores]:
    """A pixel scorer's scores of all pairs, or of drawn pairings, as `pair_scores.of_pixels` has them.

    Parameters
    ----------
    scorer : str
        Its name in the registry.
    stimuli, images
        A stimulus and an image after the other, each of a size of its own.
    protocol : "brain_diffuser" or "mindeye"
    settings : Settings
    """
    drawn = permutations.derangements(len(stimuli), settings.pairings, settings.seed)
    found = {}
    for metric, record in registry.SCORERS[scorer].metrics.items():
        if metric in pair_scores.ALL_PAIRS:
            values = _correlations(stimuli, images, protocol)
        else:
            assert record.score
            pairings = [np.arange(len(stimuli)), *drawn]
            columns = [[stimuli[place] for place in order] for order in pairings]
            values = np.stack([_one_by_one(record.score, column, images, protocol) for column in columns], axis=1)
        found[metric] = pair_scores.PairScores(values, metric in pair_scores.ALL_PAIRS, record.kind)
    return found


def _correlations(stimuli: Images, images: Images, protocol: str) -> Float[np.ndarray, "images images"]:
    """Pearson correlation of the pixels of every stimulus (row) with those of every image (column).

    Stimuli of several sizes are all compared at the size of the first, where the protocol keeps their size.

    Memory: all stimuli and images in float32, as the protocol prepares them; 4.3 GB for 982 under "mindeye".
    """
    like = stimuli[0].shape[:2]
    rows: list[np.ndarray] = []
    for place, (stimulus, image) in enumerate(zip(stimuli, images, strict=True)):
        if protocol != "mindeye" and stimulus.shape[:2] != like:
            stimulus = image_files.resize(stimulus[None], like, "bicubic")[0]
        prepared = next(pixels.comparable(stimulus[None], image[None], protocol))
        rows = rows or [np.empty((len(stimuli), prepared[0].size), np.float32) for _ in prepared]
        for values, each in zip(rows, prepared, strict=True):
            values[place] = each.ravel()
    return statistics.correlation_matrix(*rows)


def identify(table: Float[np.ndarray, "stimuli images"], rows: np.ndarray, settings: Settings) -> list[dict[str, Any]]:
    """Identification by the correlations of features, in both directions: two-way, and within the first k.

    A stimulus is searched among all test stimuli (two-way: among those that have an image) by its image, and an image
    among all images by its stimulus. A tie counts against. What does not vary is no candidate.

    Parameters
    ----------
    table : array (stimuli, images)
        The correlation of each stimulus with each image, NaN where one does not vary.
    rows : array (images,)
        The stimulus of each image.
    settings : Settings

    Returns
    -------
    list of dicts
        Rows of IDENTIFICATION without its first three columns; shares and chances from 0 to 1.
    """
    n = len(rows)
    square, in_order = table[rows], np.arange(n)
    found = []
    for searched, own_pairs, candidates in (
        (AMONG_STIMULI, square, table),
        (AMONG_IMAGES, square.T, square.T),
    ):
        own = own_pairs[in_order, in_order]
        before = (candidates >= own).sum(0) - 1  # the own one is among them
        pool = int((~np.isnan(candidates)).any(1).sum())
        hits = {f"top {k}": (np.where(np.isnan(own), np.nan, before < k), pool, k / pool) for k in TOP if k < pool}
        pairs = int((~np.isnan(own_pairs)).any(1).sum())
        hits = {"two-way": (metrics.two_way(own_pairs, in_order), pairs, 0.5)} | hits
        for measure, (values, among, chance) in hits.items():
            mean, (low, high), n_measured = statistics.mean_and_ci(values, settings.n_resamples, settings.control_seed)
            numbers = {"share": mean, "low": low, "high": high, "chance": chance}
            found.append(
                {"searched": searched, "measure": measure, "pool": among, "n": n_measured}
                | {key: "" if np.isnan(value) else round(float(value), 6) for key, value in numbers.items()}
            )
    return found


def tests(name: str, scored: Mapping[str, Scored], settings: Settings, correction: str) -> list[dict[str, Any]]:
    """Rows of TESTS: a permutation test of each metric; p is corrected for the metrics of a protocol.

    Parameters
    ----------
    name : str
        Of the set of images.
    scored : {protocol: Scored}
    settings : Settings
    correction : str
        A name in `permutations.CORRECTIONS`.
    """
    rows = []
    for protocol, of_protocol in scored.items():
        found = {
            metric: pair_scores.test(pairs, settings.n_permutations, settings.seed)
            for metric, pairs in of_protocol.pairs.items()
        }
        corrected = permutations.CORRECTIONS[correction]([each.p for each in found.values()]).tolist()
        for (metric, each), p in zip(found.items(), corrected, strict=True):
            numbers = (each.observed, each.expected, each.p, p, each.least)
            shown = [tables.formatted(value, ".6g") for value in numbers]
            cells = (protocol, name, metric, each.n, *shown, each.method)
            rows.append(dict(zip(TESTS, cells, strict=True)))
    return rows


def write(
    folder: Path,
    labels: Sequence[str],
    files: Sequence[str],
    scored: Mapping[str, Scored],
    rows: Sequence[Mapping[str, Any]],
    tested: Sequence[Mapping[str, Any]],
) -> None:
    """Write scores.csv, identification.csv, significance.csv and per_image.csv.

    Parameters
    ----------
    folder : path
    labels : names of the stimuli of the images
    files : names of the images
    scored : {protocol: Scored}
    rows, tested
        Those of `scores.summarise`, and of `tests`.
    """
    tables.write_csv(folder / "scores.csv", tuple(rows[0]), (row.values() for row in rows))
    identified = [row for of_protocol in scored.values() for row in of_protocol.identification]
    tables.write_csv(
        folder / "identification.csv", IDENTIFICATION, ([row[key] for key in IDENTIFICATION] for row in identified)
    )
    tables.write_csv(folder / "significance.csv", TESTS, (row.values() for row in tested))
    names = [each.metric for each in next(iter(scored.values())).per_image]
    columns = ("protocol", "stimulus", "file", *names)
    per_image = (
        (protocol, label, file, *(round(float(value), 6) for value in values))
        for protocol, of_protocol in scored.items()
        for label, file, *values in zip(labels, files, *(each.scores for each in of_protocol.per_image), strict=True)
    )
    tables.write_csv(folder / "per_image.csv", columns, per_image)
