"""Tables of scores: read, averaged over subjects, set beside published numbers; as Markdown or for the report."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from brain_diffuser.artifacts import hdf5
from brain_diffuser.reporting import charts

PUBLISHED = Path(__file__).with_name("published_scores.tsv")
LABELS = {
    "stimulus": "stimulus", "stage1": "stage 1", "recon": "reconstruction", "mean_image": "mean training image",
    "without_vdvae": "without VDVAE", "without_text": "without CLIP-text", "without_vision": "without CLIP-vision",
    "vdvae": "VDVAE of the stimulus", "autoencoder": "autoencoder of the stimulus",
    "brain_diffuser": "Brain-Diffuser", "mindeye": "MindEye",
    "pix_corr": "PixCorr", "ssim": "SSIM", "alexnet_2": "AlexNet(2)",
    "alexnet_5": "AlexNet(5)", "inception": "Inception", "clip": "CLIP", "efficientnet_b1": "EffNet-B", "swav": "SwAV",
    "efficientnet_lite0": "EffNet-Lite0", "efficientnet_lite0_distance": "EffNet-Lite0, distance",
    "true_features": "true features",
}  # fmt: skip
TWO_WAY = ("alexnet_2", "alexnet_5", "inception", "clip")
LOWER_IS_BETTER = ("efficientnet_b1", "swav")
PUBLISHED_METRICS = ("pix_corr", "ssim", *TWO_WAY, *LOWER_IS_BETTER)
TEST_SETS = {982: "old", 1000: "new"}  # NSD's shared images after 37 and after 40 sessions
OPTIONAL = ("low", "high", "shuffled", "shuffled_low", "shuffled_high", "chance")  # cells that may be empty
BASELINES = ("mean_image", "vdvae", "autoencoder", "true_features")  # sets that need no brain
NONE = "\N{EN DASH}"  # printed where there is no number


class DatasetLabel(NamedTuple):
    """What the numbers are about; `disclaimer`: its name stands wherever they do, for they are no scientific result."""

    name: str
    about: str
    disclaimer: bool = False


NSD = DatasetLabel("NSD", "Natural Scenes Dataset")
DEMO = DatasetLabel("DEMO", "simulated brain, small models; not a scientific result", True)


@dataclass(frozen=True)
class Score:
    """A row of `scores`; low and high enclose 95 % of the bootstrap over images, None is an empty cell."""

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
    """A metric under a protocol, as the tables head it; percentages where there is a level of chance."""

    metric: str
    protocol: str
    percent: bool
    better: str

    @property
    def label(self) -> str:
        return label(self.metric) + (" ↓" if self.better == "lower" else " ↑")

    def show(self, value: float | None) -> str:
        """The number as it is printed: 94.2 for a percentage, else three decimals."""
        if value is None:
            return NONE
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


def label(name: str) -> str:
    """An image set or a metric in words."""
    return LABELS.get(name, name.replace("_", " "))


def markdown(scores: list[tuple[str, Path]], published: Path | None = None, dataset_label: DatasetLabel = NSD) -> str:
    """The tables of scores as Markdown: each subject, their mean, and, on request, beside published numbers."""
    prefix = f"{dataset_label.name}: " if dataset_label.disclaimer else ""
    read = [(name, read_scores(path)) for name, path in scores]
    columns = columns_of([score for _, rows in read for score in rows])
    lines = []
    for table in tables(read, columns, []):
        lines += [f"**{prefix or f'{dataset_label.name}, '}{table['name']}**: {table['note']}", ""]
        rows = [["images", *(f"{each.label}{' %' * each.percent}" for each in columns)]]
        for row in (row for group in table["groups"] for row in group["rows"]):
            for words, pick in (
                ("", _with_interval),
                (", shuffled", lambda column, score: column.show(score.shuffled)),
            ):
                cells = [pick(cell["column"], cell["score"]) if cell["score"] else NONE for cell in row["cells"]]
                rows.append([prefix + label(row["name"]) + words, *cells])
        rows.append(["chance", *(column.show(table["chance"].get(column)) for column in columns)])
        lines += [*_pipes(rows), ""]
    if published:
        heads = published_columns()
        table = [
            ["system", "subjects", "test set", *(f"{each.label}{' %' * each.percent}" for each in heads), "verified"]
        ]
        for row in [*our_rows(read, [], dataset_label), *read_published(published)]:
            values = (column.show(row["scores"].get(column.metric)) for column in heads)
            table.append([row["system"], row["subjects"], row["test_set"], *values, row["verified"]])
        counts = {score.n for _, rows in read for score in rows}
        lines += [
            "**Beside published numbers**: " + " ".join(comparability_notes(dataset_label, columns, counts)),
            "",
            *_pipes(table),
            "",
        ]
    return "\n".join(lines)


def read_scores(path: str | Path) -> list[Score]:
    """The rows of a CSV of scores.

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
        if mean is None or row["better"] not in ("higher", "lower"):
            raise ValueError(
                f"{where} has mean {row['mean']!r} and better {row['better']!r}; expected a number, and higher or "
                f"lower. {hdf5.rerun(path)}"
            )
        scores.append(
            Score(row["images"], row["metric"], row["protocol"], count, mean, **numbers, better=row["better"])
        )
    keys = Counter((each.images, each.metric, each.protocol) for each in scores)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise ValueError(f"{path} has {', '.join(twice[0])} twice; expected one row each. {hdf5.rerun(path)}")
    return scores


def read_published(path: str | Path = PUBLISHED) -> list[dict[str, Any]]:
    """Published rows: system, subjects, test_set, protocol, scores {metric: fraction}, source, verified."""
    about = ("system", "subjects", "test_set", "protocol", "source", "verified")
    return [
        {name: row[name] for name in about}
        | {"is_ours": False, "scores": {name: float(row[name]) for name in PUBLISHED_METRICS if row[name]}}
        for row in rows_of(path, (*about[:4], *PUBLISHED_METRICS, *about[4:]), "\t")
    ]


def columns_of(scores: Iterable[Score]) -> list[Column]:
    """Every metric and protocol, in the order of the files."""
    with_chance = {each.metric for each in scores if each.chance is not None}
    found = {(each.metric, each.protocol): each.better for each in scores}
    return [
        Column(metric, protocol, metric in with_chance or metric in TWO_WAY, better)
        for (metric, protocol), better in found.items()
    ]


def published_columns() -> list[Column]:
    return [
        Column(name, "", name in TWO_WAY, "lower" if name in LOWER_IS_BETTER else "higher")
        for name in PUBLISHED_METRICS
    ]


def tables(
    subjects: Sequence[tuple[str, Sequence[Score]]], columns: Sequence[Column], shown: Sequence[str]
) -> list[dict[str, Any]]:
    """One table of the mean if there are several subjects, and one per subject; decoded sets before the others."""
    tables, everything = [], [score for _, rows in subjects for score in rows]
    scales = {column: _scale([each for each in everything if _is_of(each, column)]) for column in columns}
    named = [
        (name, rows, format_counts({name: rows[0].n}) + " images; interval: 95 % bootstrap over images")
        for name, rows in subjects
        if rows
    ]
    if len(subjects) > 1:
        note = f"{len(subjects)} subjects; interval: from the lowest to the highest subject"
        named.insert(0, ("mean of the subjects", _mean_of(subjects), note))
    for name, rows, note in named:
        order = list(dict.fromkeys([*shown, *(each.images for each in rows)]))
        cells = {key: [_cell(key, column, rows, scales[column]) for column in columns] for key in order}
        decoded = [key for key in order if key in shown and key not in BASELINES]
        for place, column in enumerate(columns):
            there = [cells[key][place] for key in decoded if cells[key][place]["score"]]
            if len(there) > 1:
                pick = min if column.better == "lower" else max
                pick(there, key=lambda cell: cell["score"].mean)["best"] = True
        groups = [
            ("Decoded from the brain", decoded),
            ("Baselines and ceilings, for orientation", [key for key in order if key not in decoded]),
        ]
        chance = {
            column: each.chance
            for each in rows
            for column in columns
            if _is_of(each, column) and each.chance is not None
        }
        tables.append(
            {
                "name": name,
                "note": note,
                "chance": chance,
                "groups": [
                    {"title": title, "rows": [{"name": key, "cells": cells[key]} for key in keys]}
                    for title, keys in groups
                    if keys
                ],
            }
        )
    return tables


def _mean_of(subjects: Sequence[tuple[str, Sequence[Score]]]) -> list[Score]:
    """Means over the subjects that have a score; low and high are the lowest and highest subject."""
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for _, rows in subjects:
        for each in rows:
            groups.setdefault((each.images, each.metric, each.protocol), []).append(each)
    means = []
    for key, group in groups.items():
        values = [each.mean for each in group]
        shuffled = [each.shuffled for each in group if each.shuffled is not None]
        ends = (min(shuffled), max(shuffled)) if shuffled else (None, None)
        level = float(np.mean(shuffled)) if shuffled else None
        mean, first = float(np.mean(values)), group[0]
        means.append(Score(*key, first.n, mean, min(values), max(values), level, *ends, first.chance, first.better))
    return means


def _cell(name: str, column: Column, rows: Sequence[Score], scale: tuple[float, float]) -> dict[str, Any]:
    score = next((each for each in rows if each.images == name and _is_of(each, column)), None)
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
    """What a column's lines span: every number in it."""
    numbers = [value for each in scores for name in ("mean", *OPTIONAL) if (value := getattr(each, name)) is not None]
    return min(numbers), max(numbers)


def our_rows(
    subjects: Sequence[tuple[str, Sequence[Score]]], shown: Sequence[str], dataset_label: DatasetLabel
) -> list[dict[str, Any]]:
    """Our decoded sets (all but baselines if none is `shown`) as rows of the published table.

    With several subjects: their mean, subject 1, whose ablations are published, and the reconstructions of the others.
    """
    people = [(f"mean of {len(subjects)}", _mean_of(subjects))] if len(subjects) > 1 else []
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for who, scores in [*people, *subjects]:
        brief = len(subjects) > 1 and who in dict(subjects) and who != "sub01"
        for each in (each for each in scores if each.images in shown or not shown):
            if (brief and each.images != "recon") or each.images in BASELINES:
                continue
            rows.setdefault((who, each.images, each.protocol), {
                "system": f"{dataset_label.name}: {label(each.images)}", "subjects": who,
                "test_set": f"{each.n} images" if dataset_label == NSD else f"{dataset_label.name}, {each.n} images",
                "protocol": each.protocol, "source": "this run", "verified": "", "is_ours": True, "scores": {},
            })["scores"][each.metric] = each.mean  # fmt: skip
    return [row for row in rows.values() if row["scores"].keys() & set(PUBLISHED_METRICS)]


def comparability_notes(dataset_label: DatasetLabel, columns: Sequence[Column], counts: set[int]) -> list[str]:
    """Why our numbers and the published ones may not be compared, one sentence each."""
    sentences, protocols = [], {each.protocol for each in columns}
    if dataset_label != NSD:
        sentences.append(
            f"Rows marked {dataset_label.name} ({dataset_label.about}) are about another brain and other images than the published "
            "rows, and may not be compared with them."
        )
    elif counts - set(TEST_SETS):
        sentences.append(
            f"This run has {', '.join(map(str, sorted(counts)))} test images, the published rows 982 (old) or 1000 "
            "(new): another test."
        )
    sentences.append(
        f"This run is scored by the protocol of {' and '.join(map(label, sorted(protocols)))}; protocols differ in the "
        "evaluation networks' weights and in how images are resized, so compare within a protocol only."
    )
    sentences.append(
        "Test sets differ: old is 982 images of 37 sessions, new 1000 images of 40 sessions, with more training data."
    )
    sentences.append(
        "SSIM under the protocol of Brain-Diffuser is the mean over columns of one-dimensional SSIMs, which the "
        "paper's program probably computed (scikit-image up to 0.19); SSIM proper, MindEye's, is some hundredths lower."
    )
    return sentences


def _is_of(score: Score, column: Column) -> bool:
    return (score.metric, score.protocol) == (column.metric, column.protocol)


def _with_interval(column: Column, score: Score) -> str:
    ends = _pair(score.low, score.high)
    return column.show(score.mean) + (f" ({column.show(ends[0])} to {column.show(ends[1])})" if ends else "")


def _pipes(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]


def format_counts(counts: dict[str, int]) -> str:
    """120, or, where subjects differ, 982 (sub01), 930 (sub03)."""
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{count} ({name})" for name, count in counts.items())


def rows_of(path: str | Path, needed: Sequence[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table that has at least these columns and one row."""
    with open(existing(path), newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        rows, lacking = list(reader), [name for name in needed if name not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(f"{path} lacks column {lacking[0]}; expected {', '.join(needed)}. {hdf5.rerun(path)}")
    if not rows:
        raise ValueError(f"{path} has no row; expected at least one. {hdf5.rerun(path)}")
    return rows


def existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing; the report needs it. {hdf5.rerun(path)}")
    return Path(path)


def number(text: str) -> float | None:
    """A cell's number; None if it is empty or not a number by its own account."""
    value = float(text) if text.strip() else math.nan
    return round(value, 6) if math.isfinite(value) else None
