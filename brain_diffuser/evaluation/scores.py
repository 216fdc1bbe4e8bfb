"""Scores as files: one row per image and metric, and the tables made of them."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32, Shaped

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import metrics, registry, statistics

logger = logging.getLogger(__name__)

COLUMNS = ("nsd_id", "metric", "kind", "score", "shuffled")
CHANCE = {"two_way": 0.5}


class PerImage(NamedTuple):
    """A metric of every image, and its control by a shuffled pairing; `kind` says how to read it (see the registry)."""

    metric: str
    kind: str
    scores: Float[np.ndarray, " stimuli"]
    shuffled: Float[np.ndarray, " stimuli"]


class ImageScores(NamedTuple):
    """All metrics of a set of images."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    metrics: list[PerImage]


def of_pixels(
    scorer: str,
    stimuli: Shaped[np.ndarray, "stimuli height width 3"],
    images: Shaped[np.ndarray, "stimuli _ _ 3"],
    *,
    protocol: str,
    seed: int,
) -> list[PerImage]:
    """A pixel scorer's metrics of every image, and the same once images and stimuli are paired by a shuffle.

    Parameters
    ----------
    scorer : str
        Its name in the registry.
    stimuli, images : uint8 arrays (stimuli, height, width, 3)
        The images may have a size of their own.
    protocol : "brain_diffuser" or "mindeye"
        How the images are resized.
    seed : int
        Of the shuffled pairing.

    Raises ValueError: a metric has not one number for each image.
    """
    assigned = statistics.cyclic_derangement(len(stimuli), seed)
    scores = registry.score_pixels(scorer, stimuli, images, protocol)
    registry.check_scores(scores, images)
    shuffled = registry.score_pixels(scorer, stimuli, images[assigned], protocol)
    kinds = {metric: record.kind for metric, record in registry.SCORERS[scorer].metrics.items()}
    return [PerImage(metric, kinds[metric], scores[metric], shuffled[metric]) for metric in scores]


def of_features(
    scorer: str,
    true: Mapping[str, Float[np.ndarray, "stimuli _"]],
    predicted: Mapping[str, Float[np.ndarray, "stimuli _"]],
    seed: int,
) -> list[PerImage]:
    """An evaluation network's metrics of every image, and the same once images and stimuli are paired by a shuffle.

    Parameters
    ----------
    scorer : str
        Its name in the registry.
    true, predicted : {metric: array (stimuli, features)}
        Its features of the stimuli and of the images.
    seed : int
        Of the shuffled pairing.

    Raises ValueError: a metric has not one number for each image.
    """
    assigned = statistics.cyclic_derangement(len(next(iter(true.values()))), seed)
    return [
        PerImage(metric, record.kind, *metrics.compare(true[metric], predicted[metric], record.kind, assigned))
        for metric, record in registry.SCORERS[scorer].metrics.items()
    ]


def write_per_image(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"], scores: Sequence[PerImage]) -> None:
    """Write a tidy CSV: a row per metric and image; a score that was not measured (NaN) is empty.

    Raises ValueError: a score is infinite.
    """
    for metric, _, *both in scores:
        infinite = np.isinf(both).any(0)
        if infinite.any():
            raise ValueError(
                f"{path}: {metric} of nsd_id {nsd_id[np.argmax(infinite)]} is infinite; expected a finite score, so "
                "check the images and the weights of what scores them"
            )
    rows = (
        (stimulus, metric, kind, tables.formatted(score, ".8g"), tables.formatted(control, ".8g"))
        for metric, kind, values, shuffled in scores
        for stimulus, score, control in zip(nsd_id.tolist(), values, shuffled, strict=True)
    )
    tables.write_csv(path, COLUMNS, rows)


def read_per_image(paths: Sequence[str | Path]) -> ImageScores:
    """The scores that `write_per_image` wrote about one set of images, scorer by scorer.

    Raises ValueError: a file of another kind; scorers that saw other images.
    """
    nsd_id, scores = None, []
    for path in paths:
        rows = tables.read_csv(path)
        if rows and tuple(rows[0]) != COLUMNS:
            raise ValueError(f"{path} has columns {list(rows[0])}; expected {list(COLUMNS)}. {hdf5.rerun(path)}")
        all_ids = tables.numbers(path, rows, "nsd_id", np.int32)
        values, shuffled = (tables.numbers(path, rows, column, np.float64) for column in ("score", "shuffled"))
        for metric in dict.fromkeys(row["metric"] for row in rows):
            of_metric = np.flatnonzero([row["metric"] == metric for row in rows])
            nsd_id = all_ids[of_metric] if nsd_id is None else nsd_id
            hdf5.check_aligned(paths[0], nsd_id, path, all_ids[of_metric])
            kind = rows[of_metric[0]]["kind"]
            scores.append(PerImage(metric, kind, values[of_metric], shuffled[of_metric]))
    if nsd_id is None:
        raise ValueError(
            f"{', '.join(map(str, paths))}: no score at all; expected one for each image. {hdf5.rerun(paths[0])}"
        )
    return ImageScores(nsd_id, scores)


def summarise(
    scores_of_sets: Mapping[str, ImageScores], *, protocol: str, n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each set of images and metric: the mean, its 95 % interval over images, and the same of the control.

    Images whose score was not measured (NaN) are left out; `n` counts the others, and numbers of none are empty.

    Parameters
    ----------
    scores_of_sets : {set of images: ImageScores}
    protocol : str
        By which the scores were computed.
    n_resamples : int, at least 1
        Bootstrap resamples of the images.
    seed : int
        Of the resamples.
    """
    rows = []
    for images, image_scores in scores_of_sets.items():
        for metric, kind, scores, shuffled in image_scores.metrics:
            mean, (low, high), n = statistics.mean_and_ci(scores, n_resamples, seed)
            shuffled_mean, (shuffled_low, shuffled_high), _ = statistics.mean_and_ci(shuffled, n_resamples, seed)
            if n < len(scores):
                logger.warning(
                    "%s, %s: %d of %d images were not measured", images, metric, len(scores) - n, len(scores)
                )
            rows.append(
                {
                    "images": images,
                    "metric": metric,
                    "protocol": protocol,
                    "n": n,
                    "mean": _rounded(mean),
                    "low": _rounded(low),
                    "high": _rounded(high),
                    "shuffled": _rounded(shuffled_mean),
                    "shuffled_low": _rounded(shuffled_low),
                    "shuffled_high": _rounded(shuffled_high),
                    "chance": CHANCE.get(kind, ""),
                    "better": "lower" if kind == metrics.LOWER_IS_BETTER else "higher",
                }
            )
    return rows


def _rounded(number: float) -> float | str:
    """Six decimals, or nothing for what was not measured, in JSON as in CSV."""
    return "" if np.isnan(number) else round(number, 6)


def write_tables(folder: Path, rows: Sequence[Mapping[str, Any]], scores_of_sets: Mapping[str, ImageScores]) -> None:
    """Write scores.csv and scores.json, tidy, and per_image_{images}.csv, which have a column per metric."""
    tables.write_csv(folder / "scores.csv", tuple(rows[0]), (row.values() for row in rows))
    (folder / "scores.json").write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    for images, image_scores in scores_of_sets.items():
        columns = [image_scores.nsd_id.tolist(), *(each.scores.round(6).tolist() for each in image_scores.metrics)]
        header = ("nsd_id", *(each.metric for each in image_scores.metrics))
        tables.write_csv(folder / f"per_image_{images}.csv", header, zip(*columns, strict=True))
