"""Stage 6: scores as files: one row per image and metric, and the tables made of them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import statistics
from brain_diffuser.evaluation.metrics import LOWER_IS_BETTER

COLUMNS = ("nsd_id", "metric", "kind", "score", "shuffled")


CHANCE = {"two_way": 0.5}


class PerImage(NamedTuple):
    """A metric of every image, and of every image with another stimulus' image; `kind` says how to read it."""

    metric: str
    kind: str
    scores: Float[np.ndarray, " stimuli"]
    shuffled: Float[np.ndarray, " stimuli"]


class ImageScores(NamedTuple):
    """All metrics of a set of images."""

    nsd_id: Int32[np.ndarray, " stimuli"]
    metrics: list[PerImage]


def write_per_image(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"], found: Sequence[PerImage]) -> None:
    """A tidy CSV: a row per metric and image."""
    rows = (
        (each, metric, kind, f"{score:.8g}", f"{control:.8g}")
        for metric, kind, scores, shuffled in found
        for each, score, control in zip(nsd_id.tolist(), scores, shuffled, strict=True)
    )
    tables.write_csv(path, COLUMNS, rows)


def read_per_image(paths: Sequence[str | Path]) -> ImageScores:
    """What `write_per_image` wrote about one set of images, evaluation network by evaluation network.

    Raises ValueError: another file; evaluation networks that saw other images.
    """
    nsd_id, found = None, []
    for path in paths:
        with open(path, newline="") as stream:
            header, *rows = csv.reader(stream)
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path} has columns {header}; expected {list(COLUMNS)}. {hdf5.rerun(path)}")
        for metric in dict.fromkeys(row[1] for row in rows):
            own = [row for row in rows if row[1] == metric]
            ids = np.array([row[0] for row in own], np.int32)
            nsd_id = ids if nsd_id is None else nsd_id
            hdf5.check_aligned(paths[0], nsd_id, path, ids)
            score, shuffled = (np.array([row[column] for row in own], np.float64) for column in (3, 4))
            found.append(PerImage(metric, own[0][2], score, shuffled))
    if nsd_id is None:
        raise ValueError(
            f"{', '.join(map(str, paths))}: no score at all; expected one for each image. Rerun perceptual_scores."
        )
    return ImageScores(nsd_id, found)


def summarise(found: Mapping[str, ImageScores], *, protocol: str, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """A row for each set of images and metric: mean, 95 % interval over images, the same of the shuffled control."""
    rows = []
    for images, perceptual_scores in found.items():
        for metric, kind, scores, shuffled in perceptual_scores.metrics:
            low, high = statistics.bootstrap_ci(scores, n_resamples, seed)
            shuffled_low, shuffled_high = statistics.bootstrap_ci(shuffled, n_resamples, seed)
            rows.append(
                {
                    "images": images,
                    "metric": metric,
                    "protocol": protocol,
                    "n": len(scores),
                    "mean": round(float(scores.mean()), 6),
                    "low": round(low, 6),
                    "high": round(high, 6),
                    "shuffled": round(float(shuffled.mean()), 6),
                    "shuffled_low": round(shuffled_low, 6),
                    "shuffled_high": round(shuffled_high, 6),
                    "chance": CHANCE.get(kind, ""),
                    "better": "lower" if kind == LOWER_IS_BETTER else "higher",
                }
            )
    return rows


def write_tables(folder: Path, rows: Sequence[Mapping[str, Any]], found: Mapping[str, ImageScores]) -> None:
    """scores.csv and scores.json, tidy; per_image_{images}.csv, a column per metric."""
    tables.write_csv(folder / "scores.csv", tuple(rows[0]), (row.values() for row in rows))
    (folder / "scores.json").write_text(json.dumps(list(rows), indent=1))
    for images, perceptual_scores in found.items():
        columns = [
            perceptual_scores.nsd_id.tolist(),
            *(each.scores.round(6).tolist() for each in perceptual_scores.metrics),
        ]
        header = ("nsd_id", *(each.metric for each in perceptual_scores.metrics))
        tables.write_csv(folder / f"per_image_{images}.csv", header, zip(*columns, strict=True))
