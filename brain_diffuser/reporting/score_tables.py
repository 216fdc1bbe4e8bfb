"""Tables of scores: read, averaged over subjects, and arranged for the report and for Markdown."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts import tables as table_files
from brain_diffuser.reporting import charts

LABELS = {
    "stimulus": "stimulus", "stage1": "stage 1", "recon": "reconstruction", "mean_image": "mean training image",
    "without_vdvae": "without VDVAE", "without_text": "without CLIP-text", "without_vision": "without CLIP-vision",
    "vdvae": "VDVAE of the stimulus", "autoencoder": "autoencoder of the stimulus", "true_features": "true features",
    "brain_diffuser": "Brain-Diffuser", "mindeye": "MindEye",
}  # fmt: skip
"""Of sets of images and of protocols."""
OPTIONAL = ("low", "high", "shuffled", "shuffled_low", "shuffled_high", "chance")  # cells that may be empty
BASELINES = ("mean_image", "vdvae", "autoencoder", "true_features")  # sets that need no brain
NONE = "\N{EN DASH}"  # printed where there is no number

Metrics = Mapping[str, Sequence[str]]
"""{metric: (label, kind)}, as the registry of metrics describes them."""


class DatasetLabel(NamedTuple):
    """The dataset that numbers are about; with `disclaimer` its name stands at each: they are no scientific result."""

    name: str
    about: str
    disclaimer: bool = False


NSD = DatasetLabel("NSD", "Natural Scenes Dataset")
DEMO = DatasetLabel("DEMO", "simulated brain, small models; not a scientific result", True)


@dataclass(frozen=True)
class Score:
    """A row of a CSV of scores; low and high enclose 95 % of the bootstrap over images, None is an empty cell."""

    images: str
    metric: str
    protocol: str
    n: int
    mean: float
    low: float | None
    high: float | None
    shuffled: float | None
    shuffled_low: float | None
    shuffled_high: float | None
    chance: float | None
    better: str


@dataclass(frozen=True)
class Column:
    """A metric under a protocol, as the head of a table names it; in percent where there is a level of chance."""

    metric: str
    name: str
    protocol: str
    percent: bool
    better: str

    @property
    def label(self) -> str:
        """The metric's name, and an arrow towards better scores."""
        return self.name + (" \N{DOWNWARDS ARROW}" if self.better == "lower" else " \N{UPWARDS ARROW}")

    def format(self, value: float | None) -> str:
        """The number as it is printed: 94.2 for a percentage, else three decimals."""
        if value is None:
            return NONE
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


def label(name: str, metrics: Metrics | None = None) -> str:
    """A set of images, a protocol or a metric in words."""
    if metrics and name in metrics:
        return metrics[name][0]
    return LABELS.get(name, name.replace("_", " "))


def columns_of(scores: Iterable[Score], metrics: Metrics) -> list[Column]:
    """A column for every metric and protocol, in the order of the scores; in percent if there is a level of chance."""
    scores = list(scores)
    with_chance = {score.metric for score in scores if score.chance is not None}
    return [
        Column(metric, label(metric, metrics), protocol, metric in with_chance, better)
        for (metric, protocol), better in {(score.metric, score.protocol): score.better for score in scores}.items()
    ]


def read_scores(path: str | Path) -> list[Score]:
    """The rows of a CSV of scores, without those of which no image was measured.

    Raises FileNotFoundError. ValueError: other columns, a cell that is no number, or a row twice.
    """
    scores: list[Score] = []
    for row in rows_of(path, tuple(Score.__dataclass_fields__)):
        where = f"{path}: {row['images']}, {row['metric']}"
        try:
            numbers = {name: number(row[name]) for name in OPTIONAL}
            count, mean = int(row["n"]), number(row["mean"])
        except ValueError as error:
            raise ValueError(f"{where}: {error}. {hdf5.rerun(path)}") from None
        if count == 0 and mean is None:
            continue  # no image was measured; tables print that there is no number
        if mean is None or row["better"] not in ("higher", "lower"):
            raise ValueError(
                f"{where} has mean {row['mean']!r} and better {row['better']!r}; expected a number, and higher or "
                f"lower. {hdf5.rerun(path)}"
            )
        scores.append(
            Score(row["images"], row["metric"], row["protocol"], count, mean, **numbers, better=row["better"])
        )
    keys = Counter((score.images, score.metric, score.protocol) for score in scores)
    if repeated := [key for key, count in keys.items() if count > 1]:
        raise ValueError(f"{path} has {', '.join(repeated[0])} twice; expected one row for each. {hdf5.rerun(path)}")
    return scores


def tables(
    subjects: Mapping[str, Sequence[Score]], columns: Sequence[Column], image_sets: Sequence[str]
) -> list[dict[str, Any]]:
    """Tables of scores, one per subject, after that of their mean if there are several.

    Parameters
    ----------
    subjects : {subject: scores}
    columns : sequence of Column
    image_sets : names of sets of images
        Those that come first; the others count as baselines and ceilings.

    Returns
    -------
    list of dicts
        name, note, chance {column: level}, groups of rows [{title, rows: [{name, cells}]}].
    """
    everything = [score for scores in subjects.values() for score in scores]
    scales = {column: _scale([score for score in everything if _is_of(score, column)]) for column in columns}
    parts = [
        (name, scores, f"{n_images(scores)} images; interval: 95 % bootstrap over images{_not_measured(scores)}")
        for name, scores in subjects.items()
        if scores
    ]
    if len(subjects) > 1:
        note = f"{len(subjects)} subjects; interval: from the lowest to the highest subject"
        parts.insert(0, ("mean of the subjects", mean_of_subjects(subjects), note))
    return [
        {
            "name": name,
            "note": note,
            "chance": {
                column: score.chance
                for score in scores
                for column in columns
                if _is_of(score, column) and score.chance is not None
            },
            "groups": _groups(scores, columns, image_sets, scales),
        }
        for name, scores, note in parts
    ]


def n_images(scores: Sequence[Score]) -> int:
    """The number of images, which is that of the scores that were measured of all."""
    return max(score.n for score in scores)


def _not_measured(scores: Sequence[Score]) -> str:
    """Which scores are means over fewer images, because what does not vary has no correlation."""
    fewer = [f"{score.images} {score.metric} of {score.n}" for score in scores if score.n < n_images(scores)]
    return f"; measured of fewer images, as others do not vary: {', '.join(fewer)}" if fewer else ""


def mean_of_subjects(subjects: Mapping[str, Sequence[Score]]) -> list[Score]:
    """Means over the subjects that have a score; low and high are the lowest and highest subject."""
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for scores in subjects.values():
        for score in scores:
            groups.setdefault((score.images, score.metric, score.protocol), []).append(score)
    means = []
    for key, group in groups.items():
        values = [score.mean for score in group]
        shuffled = [score.shuffled for score in group if score.shuffled is not None]
        ends = (min(shuffled), max(shuffled)) if shuffled else (None, None)
        level = float(np.mean(shuffled)) if shuffled else None
        mean, first = float(np.mean(values)), group[0]
        means.append(Score(*key, first.n, mean, min(values), max(values), level, *ends, first.chance, first.better))
    return means


def _groups(
    scores: Sequence[Score],
    columns: Sequence[Column],
    image_sets: Sequence[str],
    scales: Mapping[Column, tuple[float, float]],
) -> list[dict[str, Any]]:
    """The rows of a table: decoded sets, of which the best of each column is marked, then all others."""
    order = list(dict.fromkeys([*image_sets, *(score.images for score in scores)]))
    cells = {name: [_cell(name, column, scores, scales[column]) for column in columns] for name in order}
    decoded = [name for name in order if name in image_sets and name not in BASELINES]
    for place, column in enumerate(columns):
        filled = [cells[name][place] for name in decoded if cells[name][place]["score"]]
        if len(filled) > 1:
            pick = min if column.better == "lower" else max
            pick(filled, key=lambda cell: cell["score"].mean)["best"] = True
    groups = {
        "Decoded from the brain": decoded,
        "Baselines and ceilings, for orientation": [name for name in order if name not in decoded],
    }
    return [
        {"title": title, "rows": [{"name": name, "cells": cells[name]} for name in names]}
        for title, names in groups.items()
        if names
    ]


def _cell(images: str, column: Column, scores: Sequence[Score], scale: tuple[float, float]) -> dict[str, Any]:
    """A cell of a table: its score, if there is one, and the drawing of it."""
    score = next((score for score in scores if score.images == images and _is_of(score, column)), None)
    cell: dict[str, Any] = {"column": column, "score": score, "best": False, "line": ""}
    if score:
        band = _pair(score.shuffled_low, score.shuffled_high) or _pair(score.shuffled, score.shuffled)
        line = charts.score_line(scale, score.mean, _pair(score.low, score.high), band, score.chance)
        cell["line"] = Markup(line)
    return cell


def _pair(low: float | None, high: float | None) -> tuple[float, float] | None:
    """Both ends, or nothing."""
    return None if low is None or high is None else (low, high)


def _scale(scores: Sequence[Score]) -> tuple[float, float]:
    """The range of a column's lines: every number in it."""
    numbers = [value for score in scores for name in ("mean", *OPTIONAL) if (value := getattr(score, name)) is not None]
    return min(numbers), max(numbers)


def _is_of(score: Score, column: Column) -> bool:
    return (score.metric, score.protocol) == (column.metric, column.protocol)


def format_counts(counts: Mapping[str, int]) -> str:
    """Counts of subjects as text: 120, or, where they differ, 982 (sub01), 930 (sub03)."""
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{count} ({name})" for name, count in counts.items())


def rows_of(path: str | Path, needed: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table that has at least these columns and one row.

    Raises FileNotFoundError: no such file. ValueError: see `artifacts.tables.read_rows`, or there is no row.
    """
    try:
        rows = table_files.read_rows(existing(path), needed, delimiter)
    except ValueError as error:
        raise ValueError(f"{error}. {hdf5.rerun(path)}") from None
    if not rows:
        raise ValueError(f"{path} has no row; expected at least one. {hdf5.rerun(path)}")
    return rows


def existing(path: str | Path) -> Path:
    """The path of a file that the report needs.

    Raises FileNotFoundError: it is missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; the report needs it. {hdf5.rerun(path)}")
    return Path(path)


def number(text: str) -> float | None:
    """The number in a cell; None if the cell is empty or says nan or inf."""
    value = float(text) if text.strip() else math.nan
    return round(value, 6) if math.isfinite(value) else None
