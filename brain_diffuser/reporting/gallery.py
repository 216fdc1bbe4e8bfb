"""The gallery of the report: every stimulus with its images, captions and scores, and the images stored once each."""

import base64
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from brain_diffuser.artifacts import hdf5, image_files, tables, text_files
from brain_diffuser.data import stimulus_names
from brain_diffuser.reporting import charts, labels, score_tables
from brain_diffuser.reporting.score_tables import Column, Metrics, Score

SORT_FIRST = ("inception", "efficientnet_lite0", "clip", "alexnet_5")
"""The metric that sorts the gallery at first: of a network that did not guide, if there is one."""
BLOCK = 1000  # images of one JSON block of the page
STOP_WORDS = frozenset(
    "the and with for from that this there has have are was its his her their who while into onto over under near "
    "next front back top bottom side left right middle other another each some two three several many few very one "
    "image photo image view down high low around between behind below above being out off all sitting standing "
    "holding looking showing something".split()
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """Where one subject's results are.

    Parameters
    ----------
    name : str
    stimuli, captions : paths
        The test stimuli and, as JSON, the captions of all stimuli.
    images : {set of images: (folder, manifest)}
        In the order of the gallery's columns.
    per_image : {set of images: path}
        CSV of nsd_id and one column per metric.
    scores : path
        CSV with a row per set of images and metric, sets without images among them.
    retrieved : path, optional
        JSON {nsd_id: [{caption, nsd_id, similarity}]}, the training captions nearest to the predicted text.
    figures : list of (file name, caption, SVG text)
    tables : list of (caption, CSV)
    names : {nsd_id: text}
        What stimuli are called instead of `id_name` and their id, if anything.
    id_name : str
        What ids are called.
    """

    name: str
    stimuli: Path
    captions: Path
    images: dict[str, tuple[Path, Path]]
    per_image: dict[str, Path]
    scores: Path
    retrieved: Path | None
    figures: list[tuple[str, str, str]]
    tables: list[tuple[str, Path]] = field(default_factory=list)
    names: Mapping[int, str] = field(default_factory=dict)
    id_name: str = "NSD"

    def called(self, nsd_id: int) -> str:
        """What a stimulus is called."""
        return self.names.get(nsd_id, f"{self.id_name} {nsd_id}")


class ImageStore:
    """The page's images, each encoded once as WebP, at a size and quality at which all of them fit a budget.

    Parameters
    ----------
    subjects : sequence of Subject
        Whose images will be stored.
    thumbnail, large : int
        The smallest side that is good to look at, and the largest, in pixels.
    budget : float
        Bytes of all images together, in base64.
    """

    def __init__(self, subjects: Sequence[Subject], thumbnail: int, large: int, budget: float):
        steps = [round(large * (thumbnail / large) ** (step / 3)) for step in range(4)]
        sizes = (*steps, thumbnail * 3 // 4, thumbnail // 2)
        sample, n_images = _sample(subjects)
        for size, quality in ((size, quality) for size in sizes for quality in (85, 70, 55)):
            self.size, self.quality = size, quality
            mean = sum(len(self._encode(image)) for image in sample) / len(sample)
            if mean * n_images <= budget:
                break
        else:
            logger.warning("%d images take %.0f MB; the budget is %.0f", n_images, mean * n_images / 1e6, budget / 1e6)
        self.description = f"at most {size} pixels, WebP of quality {quality}"
        self.encoded: list[str] = []
        self._number: dict[str, int] = {}

    def add(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> int:
        """The number of an image in `encoded`, which gets it if it is new."""
        text = self._encode(Image.fromarray(pixels))
        if text not in self._number:
            self._number[text] = len(self.encoded)
            self.encoded.append(text)
        return self._number[text]

    def blocks(self) -> list[Markup]:
        """The encoded images as JSON, a thousand at a time."""
        return [as_json(self.encoded[start : start + BLOCK]) for start in range(0, len(self.encoded), BLOCK)]

    def _encode(self, image: Image.Image) -> str:
        smaller, file = image.copy(), io.BytesIO()
        smaller.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        smaller.save(file, format="WEBP", quality=self.quality)
        return base64.b64encode(file.getvalue()).decode()


def _sample(subjects: Sequence[Subject]) -> tuple[list[Image.Image], int]:
    """Some images of every set, and how many there will be; a stimulus that subjects share counts once."""
    sample, n_images, stimuli = [], 0, set()
    for subject in subjects:
        with hdf5.reading(subject.stimuli) as (values, nsd_id):
            sample += [Image.fromarray(values[row]) for row in range(0, len(nsd_id), max(1, len(nsd_id) // 8))]
            stimuli |= set(nsd_id.tolist())
            n_images += len(nsd_id) * len(subject.images)
        for folder, manifest in subject.images.values():
            rows = image_files.read_manifest(score_tables.existing(manifest))
            files = [Path(folder) / name for name, _, _ in rows[:: max(1, len(rows) // 8)]]
            existing = [file for file in files if file.is_file()]
            sample += [Image.open(io.BytesIO(file.read_bytes())).convert("RGB") for file in existing]
    return sample, n_images + len(stimuli)


def of_subject(subject: Subject, store: ImageStore) -> dict[str, Any]:
    """The part of the page's data about a subject, in the stimuli's order; images are numbers of the store.

    Raises ValueError: files that disagree about the stimuli.
    """
    captions = _read_json(subject.captions)
    retrieved = _read_json(subject.retrieved) if subject.retrieved else None
    with hdf5.reading(subject.stimuli) as (stimuli, nsd_id):
        numbers = [[store.add(stimulus)] for stimulus in stimuli]
    _check_captions(subject, nsd_id, captions, retrieved)
    scores: dict[str, dict[str, list[float | None]]] = {}
    for name, (folder, manifest) in subject.images.items():
        if name not in subject.per_image:
            raise ValueError(f"report: {subject.name} has images {name} but no scores per image of them.")
        ids, images = image_files.read_folder(folder, manifest)
        hdf5.check_aligned(subject.stimuli, nsd_id, manifest, ids)
        rows = score_tables.rows_of(subject.per_image[name], ("nsd_id",))
        hdf5.check_aligned(
            manifest, ids, subject.per_image[name], tables.numbers(subject.per_image[name], rows, "nsd_id", np.int32)
        )
        for row, image in zip(numbers, images, strict=True):
            row.append(store.add(image))
        try:
            scores[name] = {key: [score_tables.number(row[key]) for row in rows] for key in rows[0] if key != "nsd_id"}
        except ValueError as error:
            raise ValueError(f"{subject.per_image[name]}: {error}. {hdf5.rerun(subject.per_image[name])}") from None
    items = [
        {
            "id": stimulus,
            "name": subject.called(stimulus),
            "captions": stimulus_names.captions(captions[str(stimulus)], stimulus, subject.names),
            "retrieved": None
            if retrieved is None
            else [_retrieved(subject, each) for each in retrieved[str(stimulus)]],
            "images": numbers[row],
            "scores": {name: {key: values[row] for key, values in columns.items()} for name, columns in scores.items()},
        }
        for row, stimulus in enumerate(nsd_id.tolist())
    ]
    metrics = list(dict.fromkeys(key for columns in scores.values() for key in columns))
    return {"name": subject.name, "sets": list(subject.images), "metrics": metrics, "items": items}


def _retrieved(subject: Subject, found: Mapping[str, Any]) -> dict[str, Any]:
    """A caption that was retrieved, and what its stimulus is called."""
    nsd_id = found["nsd_id"]
    caption = stimulus_names.captions([found["caption"]], nsd_id, subject.names)[0]
    return {**found, "caption": caption, "name": subject.called(nsd_id)}


def _check_captions(subject: Subject, nsd_id: np.ndarray, captions: Mapping, retrieved: Mapping | None) -> None:
    """Raises ValueError: a stimulus has no captions, or none were retrieved for it."""
    for texts, path in ((captions, subject.captions), (retrieved, subject.retrieved)):
        lacking = [stimulus for stimulus in nsd_id.tolist() if texts is not None and str(stimulus) not in texts]
        if lacking:
            raise ValueError(
                f"{path} lacks nsd_id {lacking[0]} and {len(lacking) - 1} others of {subject.stimuli}. "
                f"{hdf5.rerun(str(path))}"
            )


def page_data(
    galleries: Sequence[dict[str, Any]], columns: Sequence[Column], image_sets: Sequence[str], metrics: Metrics
) -> dict[str, Any]:
    """All that the page's script needs, but for the images.

    Parameters
    ----------
    galleries : sequence
        What `of_subject` returned of each subject.
    columns : sequence of Column
        Of the tables of scores.
    image_sets : names of sets of images
    metrics : {metric: (label, kind)}
    """
    keys = list(dict.fromkeys(key for gallery in galleries for key in gallery["metrics"]))
    of_metrics = [_column(key, columns, metrics) for key in keys]
    return {
        "labels": {name: labels.images(name) for name in ("stimulus", *image_sets)},
        "metrics": [
            {"key": column.metric, "label": column.name, "lower": column.better == "lower", "percent": column.percent}
            for column in of_metrics
        ],
        "first": sort_first(keys),
        "main": main_set(image_sets),
        "block": BLOCK,
        "subjects": galleries,
    }


def distributions(
    gallery: dict[str, Any], scores: Sequence[Score], columns: Sequence[Column], metrics: Metrics
) -> dict[str, Any]:
    """Histograms of the main set's scores of single images, with the first set's and the levels of control and chance.

    Parameters
    ----------
    gallery : dict
        What `of_subject` returned.
    scores : sequence of Score
        The subject's means.
    columns : sequence of Column
        Of the tables of scores.
    metrics : {metric: (label, kind)}
    """
    main, plots = main_set(gallery["sets"]), []
    first = next((name for name in gallery["sets"] if name != main), "")
    for metric in gallery["metrics"]:
        column = _column(metric, columns, metrics)
        factor = 100 if column.percent else 1
        filled, outlined = (_scores_of(gallery, name, metric, factor) for name in (main, first))
        if not filled:
            continue
        score = next((score for score in scores if score.images == main and score.metric == metric), None)
        mean = column.format(float(np.mean(filled)) / factor)
        text = f"{column.name} of {len(filled)} images, {gallery['name']}: mean {mean}{' %' * column.percent}"
        unit = "" if "," in column.label else f", {'%' if column.percent else 'no unit'}"
        axis = f"{column.label}{unit}"
        svg = charts.histogram(filled, outlined, _marks(score, factor), label=axis, description=text)
        plots.append((metric, column.name, Markup(svg)))
    return {"name": gallery["name"], "main": main, "first": first, "plots": plots}


def sort_first(metrics: Sequence[str]) -> str:
    """The metric that sorts the gallery at first and chooses the examples; nsd_id if there is none."""
    return next((key for key in (*SORT_FIRST, *metrics) if key in metrics), "nsd_id")


def examples(
    gallery: dict[str, Any], encoded: Sequence[str], columns: Sequence[Column], metrics: Metrics
) -> dict[str, Any]:
    """The best, median and worst stimulus of a subject, and three at fixed places of the list, whatever their scores.

    Parameters
    ----------
    gallery : dict
        What `of_subject` returned.
    encoded : sequence of base64 texts
        The images of the store.
    columns : sequence of Column
        Of the tables of scores.
    metrics : {metric: (label, kind)}

    Returns
    -------
    dict
        name; metric, its label, about and percent; images, the main set; has_stimuli, whether stimuli are shown; and
        shown: title, name, caption, score and the sources of stimulus and image.
    """
    main, items = main_set(gallery["sets"]), gallery["items"]
    column = _column(sort_first(gallery["metrics"]), columns, metrics)

    def score(item: dict[str, Any]) -> float | None:
        return item["scores"].get(main, {}).get(column.metric)

    scored = [(value, item) for item in items if (value := score(item)) is not None]
    in_order = sorted(scored, key=lambda pair: pair[0], reverse=column.better == "higher")
    ranked = [item for _, item in in_order]
    chosen = [("Best", ranked[0]), ("Median", ranked[(len(ranked) - 1) // 2]), ("Worst", ranked[-1])] if ranked else []
    places = sorted({len(items) * quarter // 4 for quarter in (1, 2, 3)})
    chosen += [(f"No. {place + 1}", items[place]) for place in places]
    image = gallery["sets"].index(main) + 1
    return {
        "name": gallery["name"],
        "metric": column.name,
        "images": main,
        "about": labels.about_metric(column.metric, metrics),
        "percent": column.percent,
        "has_stimuli": len(items) < 2 or len({item["images"][0] for item in items}) > 1,
        "shown": [
            {
                "title": title,
                "name": item["name"],
                "caption": item["captions"][0],
                "score": column.format(score(item)) + " %" * (column.percent and score(item) is not None),
                "sources": [f"data:image/webp;base64,{encoded[item['images'][place]]}" for place in (0, image)],
            }
            for title, item in chosen
        ],
    }


def _scores_of(gallery: dict[str, Any], images: str, metric: str, factor: int) -> list[float]:
    """A metric of all images of a set that have it."""
    values = (item["scores"].get(images, {}).get(metric) for item in gallery["items"])
    return [factor * value for value in values if value is not None]


def _marks(score: Score | None, factor: int) -> list[charts.Mark]:
    """The levels that a histogram shows: of the control, with its interval, of chance, and the mean."""
    if score is None:
        return []
    marks = []
    if score.shuffled_low is not None and score.shuffled_high is not None:
        marks.append(("band", factor * score.shuffled_low, factor * score.shuffled_high))
    levels = {"chance": score.chance, "shuffled": score.shuffled, "mean": score.mean}
    return marks + [(name, factor * level, factor * level) for name, level in levels.items() if level is not None]


def _column(metric: str, columns: Sequence[Column], metrics: Metrics) -> Column:
    """A metric's column of the tables; of one that they lack a plain one."""
    known = (column for column in reversed(columns) if column.metric == metric)
    return next(known, Column(metric, labels.metric(metric, metrics), "", False, "higher"))


def main_set(names: Sequence[str]) -> str:
    """The set of images that is the result: recon, or else the last one."""
    return "recon" if "recon" in names else next(iter(reversed(names)), "")


def common_words(captions: Iterable[Sequence[str]], n_words: int = 24) -> list[tuple[str, int]]:
    """The words that most images have in a caption, and how many have; plurals are counted with their singular.

    Words of more than six tenths of the images tell nothing apart and are left out.
    """
    sets = [set(re.findall(r"[^\W\d_]{3,}", " ".join(texts).lower())) - STOP_WORDS for texts in captions]
    known = set().union(*sets)
    singular = {
        word: next(
            (stem for stem in (word[:-1], word[:-2]) if word in (f"{stem}s", f"{stem}es") and stem in known), word
        )
        for word in known
    }
    counts = Counter(word for words in sets for word in {singular[word] for word in words})
    telling = [(word, count) for word, count in counts.items() if 1 < count <= 0.6 * len(sets)]
    return sorted(telling, key=lambda pair: (-pair[1], pair[0]))[:n_words]


def as_json(value: Any) -> Markup:
    """JSON that stays data inside a script element, whatever words it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _read_json(path: str | Path) -> dict[str, Any]:
    """The content of a JSON file.

    Raises FileNotFoundError. ValueError: the file is cut short, or has no object.
    """
    try:
        content = text_files.read_json(score_tables.existing(path))
    except ValueError as error:
        raise ValueError(f"{error}. {hdf5.rerun(path)}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no object at its top; expected one entry for each nsd_id. {hdf5.rerun(path)}")
    return content
