"""Stage 7: one HTML file, complete in itself, in which reconstructions can be perceptual_scores."""

import base64
import hashlib
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.artifacts.tables import read_csv
from brain_diffuser.reporting import charts, score_tables
from brain_diffuser.reporting.score_tables import PUBLISHED, label, markdown
from brain_diffuser.workflow import resource_usage

__all__ = ["PUBLISHED", "Subject", "markdown", "write"]

HERE = Path(__file__).parent
SORT_FIRST = (
    "inception",
    "efficientnet_lite0",
    "clip",
    "alexnet_5",
)  # an evaluation network that did not guide, if there is one
BLOCK = 1000  # images of one JSON block of the page
STOP_WORDS = frozenset(
    "the and with for from that this there has have are was its his her their who while into onto over under near "
    "next front back top bottom side left right middle other another each some two three several many few very one "
    "image photo image view down high low around between behind below above being out off all sitting standing "
    "holding looking showing something".split()
)

log = logging.getLogger(__name__)


Figures = Sequence[tuple[str, Path]]
"""(caption, file): a PNG or an SVG to look at, or a CSV, which is folded away."""


@dataclass(frozen=True)
class Subject:
    """Where one subject's results are.

    `images`: image set -> its folder and manifest, in the order of the gallery's columns. `per_image`: image set
    -> CSV of nsd_id and one column per metric. `scores`: CSV with a row per image set and metric, sets without
    images among them. `retrieved`: JSON {nsd_id: [{caption, nsd_id, similarity}]}, training captions nearest to the
    predicted text. `figures`: (caption, SVG text). `tables`: (caption, CSV), shown as they are.
    """

    name: str
    stimuli: Path
    captions: Path
    images: dict[str, tuple[Path, Path]]
    per_image: dict[str, Path]
    scores: Path
    retrieved: Path | None
    figures: list[tuple[str, str]]
    tables: list[tuple[str, Path]] = field(default_factory=list)


def write(
    path: str | Path,
    *,
    dataset_label: score_tables.DatasetLabel,
    subjects: list[Subject],
    settings: dict,
    versions: dict[str, str],
    edges: list[tuple[str, str]],
    spent: Sequence[resource_usage.Cost],
    regions: Sequence[tuple[str, Figures]] = (),
    guidance: Sequence[tuple[str, Figures]] = (),
    published: Path = PUBLISHED,
    thumbnail: int = 160,
    large: int = 425,
    budget_mb: float = 52.0,
) -> None:
    """Write the page. It asks nothing of any network, and its policy forbids all scripts but its own.

    edges: rule -> rule that needs it. spent: what the stages took. regions: what
    the section on regions shows of each subject, or of their average; guidance: the same of guided images.
    Images are WebP of at most `large` pixels; where all together would exceed `budget_mb`, quality falls, then size,
    towards `thumbnail` and below, and the enlarged view shows the same pixels larger: photographs of 982 stimuli in 8
    sets are stored at 222 pixels, of two subjects at 160. A stimulus that subjects share is stored once. Memory: the
    images of one set at full size, and the page, twice.

    Raises FileNotFoundError: an input is missing. ValueError: no subject, or inputs that disagree.
    """
    if not subjects:
        raise ValueError("report: got 0 subjects; expected at least one.")
    scores = [(each.name, score_tables.read_scores(each.scores)) for each in subjects]
    columns = score_tables.columns_of([score for _, rows in scores for score in rows])
    shown = list(dict.fromkeys(name for each in subjects for name in each.images))
    shrink = _Shrink(subjects, thumbnail, large, budget_mb * 1e6)
    galleries = [_gallery(each, shrink) for each in subjects]
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    counts = {each["name"]: len(each["items"]) for each in galleries}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"label": label, "time": resource_usage.as_time, "size": resource_usage.as_size}
    stream = environment.get_template("page.html.j2").stream(
        dataset_label=dataset_label,
        subjects=subjects,
        n_images=score_tables.format_counts(counts),
        n_sets=len(shown),
        protocols=sorted({each.protocol for each in columns}),
        columns=columns,
        tables=score_tables.tables(scores, columns, shown),
        comparability_notes=score_tables.comparability_notes(dataset_label, columns, set(counts.values())),
        our_rows=score_tables.our_rows(scores, shown, dataset_label),
        published=score_tables.read_published(published),
        published_columns=score_tables.published_columns(),
        test_sets={score_tables.TEST_SETS.get(n) for n in counts.values()} if dataset_label == score_tables.NSD else set(),
        distributions=[_distributions(each, rows, columns) for each, (_, rows) in zip(galleries, scores, strict=True)],
        measures=[
            (each.name, text, score_tables.rows_of(table, ())) for each in subjects for text, table in each.tables
        ],
        figures=[(each.name, text, _svg_uri(svg)) for each in subjects for text, svg in each.figures],
        regions=[(name, [_exhibit(*each) for each in exhibits]) for name, exhibits in regions],
        guidance=[(name, [_exhibit(*each) for each in exhibits]) for name, exhibits in guidance],
        words=_common_words({item["id"]: item["captions"] for each in galleries for item in each["items"]}.values()),
        settings="\n".join(_as_yaml(settings)),
        versions=versions,
        graph=Markup(charts.layered(edges)) if edges else "",
        spent=list(resource_usage.by_subject(spent)),
        spent_in_all=resource_usage.total(spent),
        stored=shrink.words,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=digest,
        gallery=_json(_client(galleries, columns, shown)),
        blocks=[_json(shrink.encoded[start : start + BLOCK]) for start in range(0, len(shrink.encoded), BLOCK)],
    )  # fmt: skip
    with hdf5.atomic(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(stream)


def _gallery(subject: Subject, shrink: "_Shrink") -> dict[str, Any]:
    """What the page knows of a subject's images, in the stimuli's order; images are numbers into `shrink.encoded`."""
    captions = _read_json(subject.captions)
    retrieved = _read_json(subject.retrieved) if subject.retrieved else None
    with hdf5.reading(subject.stimuli) as (stimuli, nsd_id):
        shown = [[shrink(stimulus)] for stimulus in stimuli]
    for words, path in ((captions, subject.captions), (retrieved, subject.retrieved)):
        lacking = [each for each in nsd_id.tolist() if words is not None and str(each) not in words]
        if lacking:
            raise ValueError(
                f"{path} lacks nsd_id {lacking[0]} and {len(lacking) - 1} others of {subject.stimuli}. "
                f"{hdf5.rerun(str(path))}"
            )
    metrics: dict[str, dict[str, list[float | None]]] = {}
    for name, (folder, manifest) in subject.images.items():
        if name not in subject.per_image:
            raise ValueError(f"report: {subject.name} has images {name} but no scores per image of them.")
        ids, images = image_files.read_folder(folder, manifest)
        hdf5.check_aligned(subject.stimuli, nsd_id, manifest, ids)
        rows = score_tables.rows_of(subject.per_image[name], ("nsd_id",))
        hdf5.check_aligned(manifest, ids, subject.per_image[name], np.array([int(row["nsd_id"]) for row in rows]))
        for row, image in zip(shown, images, strict=True):
            row.append(shrink(image))
        metrics[name] = {key: [score_tables.number(row[key]) for row in rows] for key in rows[0] if key != "nsd_id"}
    keys = list(dict.fromkeys(key for columns in metrics.values() for key in columns))
    return {
        "name": subject.name,
        "sets": list(subject.images),
        "metrics": keys,
        "items": [
            {
                "id": each,
                "captions": captions[str(each)],
                "retrieved": retrieved[str(each)] if retrieved is not None else None,
                "images": shown[row],
                "scores": {
                    name: {key: values[row] for key, values in columns.items()} for name, columns in metrics.items()
                },
            }
            for row, each in enumerate(nsd_id.tolist())
        ],
    }


def _client(
    galleries: Sequence[dict[str, Any]], columns: Sequence[score_tables.Column], shown: Sequence[str]
) -> dict[str, Any]:
    """All that the page's script needs, but for the images."""
    known = {each.metric: each for each in columns}
    keys = list(dict.fromkeys(key for gallery in galleries for key in gallery["metrics"]))
    about = [known.get(key, score_tables.Column(key, "", False, "higher")) for key in keys]
    return {
        "labels": {name: label(name) for name in ("stimulus", *shown)},
        "metrics": [
            {"key": each.metric, "label": label(each.metric), "lower": each.better == "lower", "percent": each.percent}
            for each in about
        ],
        "first": next((key for key in (*SORT_FIRST, *keys) if key in keys), "nsd_id"),
        "main": _main(shown),
        "block": BLOCK,
        "subjects": galleries,
    }


class _Shrink:
    """Encodes images, at a size and quality at which all of them fit the budget; gives the number of each."""

    def __init__(self, subjects: Sequence[Subject], thumbnail: int, large: int, budget: float):
        steps = [round(large * (thumbnail / large) ** (step / 3)) for step in range(4)]
        sizes, sample, n_images, stimuli = (*steps, thumbnail * 3 // 4, thumbnail // 2), [], 0, set()
        for subject in subjects:
            with hdf5.reading(subject.stimuli) as (values, nsd_id):
                some = range(0, len(nsd_id), max(1, len(nsd_id) // 8))
                sample += [Image.fromarray(values[row]) for row in some]
                stimuli |= set(nsd_id.tolist())
                n_images += len(nsd_id) * len(subject.images)
            for folder, manifest in subject.images.values():
                files = [
                    Path(folder) / name for name, _, _ in image_files.read_manifest(score_tables.existing(manifest))
                ]
                found = [file for file in files[:: max(1, len(files) // 8)] if file.is_file()]
                sample += [Image.open(io.BytesIO(file.read_bytes())).convert("RGB") for file in found]
        n_images += len(stimuli)
        for size, quality in ((size, quality) for size in sizes for quality in (85, 70, 55)):
            self.size, self.quality = size, quality
            each = sum(len(self._encode(image)) for image in sample) / len(sample)
            if each * n_images <= budget:
                break
        else:
            log.warning("%d images take %.0f MB; the budget is %.0f", n_images, each * n_images / 1e6, budget / 1e6)
        self.words = f"at most {size} pixels, WebP of quality {quality}"
        self.encoded: list[str] = []
        self._number: dict[str, int] = {}

    def __call__(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> int:
        text = self._encode(Image.fromarray(pixels))
        if text not in self._number:
            self._number[text] = len(self.encoded)
            self.encoded.append(text)
        return self._number[text]

    def _encode(self, image: Image.Image) -> str:
        smaller, file = image.copy(), io.BytesIO()
        smaller.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        smaller.save(file, format="WEBP", quality=self.quality)
        return base64.b64encode(file.getvalue()).decode()


def _exhibit(caption: str, path: Path) -> dict[str, Any]:
    """A figure as a data URI, or the rows of a table."""
    existing = score_tables.existing(path)
    if existing.suffix == ".csv":
        return {"caption": caption, "rows": read_csv(existing), "uri": None}
    if existing.suffix == ".svg":
        return {"caption": caption, "rows": None, "uri": _svg_uri(existing.read_text(encoding="utf-8"))}
    file = io.BytesIO()
    Image.open(existing).convert("RGB").save(file, format="WEBP", quality=85)
    return {
        "caption": caption,
        "rows": None,
        "uri": f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}",
    }


def _distributions(
    gallery: dict[str, Any], scores: Sequence[score_tables.Score], columns: Sequence[score_tables.Column]
) -> dict[str, Any]:
    """Histograms of the main set's per-image scores, each before the shuffled level and the first set."""
    main, plots = _main(gallery["sets"]), []
    first = next((name for name in gallery["sets"] if name != main), "")
    for metric in gallery["metrics"]:
        column = next(
            (each for each in columns if each.metric == metric), score_tables.Column(metric, "", False, "higher")
        )
        factor = 100 if column.percent else 1

        def values(name: str, metric: str = metric, factor: int = factor) -> list[float]:
            found = (item["scores"].get(name, {}).get(metric) for item in gallery["items"])
            return [factor * value for value in found if value is not None]

        if not values(main):
            continue
        marks = []
        score = next((each for each in scores if each.images == main and each.metric == metric), None)
        if score:
            if score.shuffled_low is not None and score.shuffled_high is not None:
                marks.append(("band", factor * score.shuffled_low, factor * score.shuffled_high))
            levels = (("chance", score.chance), ("shuffled", score.shuffled), ("mean", score.mean))
            marks += [(name, factor * level, factor * level) for name, level in levels if level is not None]
        words = f"{label(metric)} of {len(values(main))} images, {gallery['name']}: mean {np.mean(values(main)):.3g}"
        axis = f"{column.label}, {'%' if column.percent else 'no unit'}"
        svg = charts.histogram(values(main), values(first), marks, label=axis, description=words)
        plots.append((label(metric), Markup(svg)))
    return {"name": gallery["name"], "main": main, "first": first, "plots": plots}


def _main(names: Sequence[str]) -> str:
    """The image set that is the result: recon, or else the last one."""
    return "recon" if "recon" in names else next(iter(reversed(names)), "")


def _common_words(captions: Iterable[Sequence[str]], n_words: int = 24) -> list[tuple[str, int]]:
    """The words that most images have in a caption, and how many have; plurals are counted with their singular.

    Words of more than six tenths of the images tell nothing apart and are left out.
    """
    sets = [set(re.findall(r"[^\W\d_]{3,}", " ".join(each).lower())) - STOP_WORDS for each in captions]
    known = set().union(*sets)
    singular = {
        word: next(
            (stem for stem in (word[:-1], word[:-2]) if word in (f"{stem}s", f"{stem}es") and stem in known), word
        )
        for word in known
    }
    counts = Counter(word for words in sets for word in {singular[each] for each in words})
    telling = [(word, count) for word, count in counts.items() if 1 < count <= 0.6 * len(sets)]
    return sorted(telling, key=lambda pair: (-pair[1], pair[0]))[:n_words]


def _as_yaml(settings: Any, indent: str = "") -> Iterator[str]:
    """Lines of nested settings, in the layout of config.yaml."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _as_yaml(value, indent + "  ")
        else:
            yield f"{indent}{key}: {value if isinstance(value, str) else json.dumps(value, default=str)}"


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        return json.loads(score_tables.existing(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); it may be cut short. {hdf5.rerun(path)}") from None


def _svg_uri(svg: str) -> str:
    """A drawing as an image of its own: no script in it runs, no name in it meets another drawing's."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _json(value: Any) -> Markup:
    """JSON that stays data inside a script element, whatever words it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
