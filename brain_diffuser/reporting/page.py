"""The report: one HTML file, complete in itself, with all subjects' images, scores and how they were made."""

import base64
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from brain_diffuser import __version__
from brain_diffuser.artifacts import hdf5
from brain_diffuser.reporting import (
    charts,
    figures,
    gallery,
    labels,
    methods,
    methods_section,
    published_scores,
    score_tables,
    stage_graph,
    stage_tables,
)
from brain_diffuser.reporting.gallery import Subject
from brain_diffuser.reporting.score_tables import Column, DatasetLabel, Metrics, Score
from brain_diffuser.workflow import resource_usage

HERE = Path(__file__).parent
PROJECT = "brain-diffuser-dag"
PACKAGES = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-image", "h5py", "pillow", "snakemake")
"""Packages that computed the results; the version of this project comes first."""


SUBJECT_INPUTS = ("stimuli", "captions", "retrieved", "retrieval", "accuracy", "tables")


def subject(
    name: str,
    *,
    stimuli: Path,
    captions: Path,
    retrieved: Path,
    retrieval: Path,
    accuracy: Path,
    tables: Path,
    images: dict[str, tuple[Path, Path]],
    names: Mapping[int, str],
    id_name: str = "NSD",
    penalties: Sequence[Path] = (),
) -> Subject:
    """A subject as the workflow leaves its results.

    Parameters
    ----------
    name : str
    stimuli, captions, retrieved, retrieval : paths
        data/stimuli_test.h5, data/captions.json, retrieval/captions.json and retrieval/retrieval.csv.
    accuracy, tables : paths
        The folders accuracy, and metrics or ablations.
    images : {set of images: (folder, manifest)}
    names : {nsd_id: text}
        What stimuli are called instead of `id_name` and their id, if anything.
    id_name : str
        What ids are called, such as NSD.
    penalties : paths
        Plots of the penalties of ridges that leave-one-out has chosen, ridge/alpha_{feature}.svg.
    """
    return Subject(
        name=name,
        stimuli=stimuli,
        captions=captions,
        images=images,
        per_image={key: tables / f"per_image_{key}.csv" for key in images},
        scores=tables / "scores.csv",
        retrieved=retrieved,
        figures=[
            (path.name, caption, path.read_text(encoding="utf-8"))
            for caption, path in [
                *((caption, accuracy / file) for file, caption in figures.ACCURACY.items()),
                *((figures.PENALTY, path) for path in penalties),
            ]
        ],
        tables=[
            (figures.RETRIEVAL, retrieval),
            (figures.DECODING, accuracy / "decoding.csv"),
            (figures.ENCODING, accuracy / "encoding.csv"),
        ],
        id_name=id_name,
        names=names,
    )


def write(
    path: str | Path,
    figure_folder: str | Path,
    *,
    dataset_label: DatasetLabel,
    subjects: Sequence[Subject],
    facts: methods.Facts,
    metrics: Metrics,
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    edges: Sequence[stage_graph.Edge],
    costs: Sequence[resource_usage.Cost],
    regions: Mapping[str, figures.Figures],
    guidance: Mapping[str, figures.Figures],
    generalisation: Mapping[str, figures.Figures],
    significance: Mapping[str, figures.Figures],
    bottleneck: Mapping[str, figures.Figures],
    scaling: Mapping[str, figures.Figures],
    spurious: Mapping[str, figures.Figures],
    identification: Mapping[str, figures.Figures],
    baselines: Mapping[str, figures.Figures],
    experiments: Mapping[str, figures.Figures],
    published: Path = published_scores.PUBLISHED,
    thumbnail: int = 160,
    large: int = 425,
    budget_mb: float = 52.0,
) -> None:
    """Write the page, which opens offline and alone and whose policy forbids other scripts, and its figures as files.

    Images are WebP of at most `large` pixels. Where all together would exceed the budget, quality falls, then size,
    towards `thumbnail` and below, and the enlarged view shows the same pixels larger: photographs of 982 stimuli in 8
    sets are stored at 222 pixels, of two subjects at 160. A stimulus that subjects share is stored once.

    Parameters
    ----------
    path : path
        Of the page.
    figure_folder : path
        Of the figures' files, beside the page, which links to them.
    dataset_label : DatasetLabel
        What the numbers are about.
    subjects : sequence of Subject
        Where their results are.
    facts : methods.Facts
        What the methods are written from.
    metrics : {metric: (label, kind)}
        As the registry of metrics describes those of this run and those that others have published.
    settings : dict
        The configuration of the run.
    versions : {package: version}
    edges : sequence of (rule, rule that reads its output)
    costs : sequence of resource_usage.Cost
        What the stages took.
    regions, guidance, generalisation, significance, bottleneck, scaling, experiments : {name: figures}
        The sections on regions, guidance, further splits, permutation tests, dimensions of the brain, amounts of data
        and test sets, by subject, "average" or test set; one that is empty is left out.
    spurious, identification, baselines : {subject: figures}
        The parts of the section that asks whether reconstructions are spurious; as above.
    published : path
        The table of published scores.
    thumbnail, large : int
        Pixels of an image.
    budget_mb : float
        Megabytes of all images together.

    Raises
    ------
    FileNotFoundError
        An input is missing.
    ValueError
        No subject, or inputs that disagree.

    Memory: the images of one set at full size, and the page, twice.
    """
    if not subjects:
        raise ValueError("report: got 0 subjects; expected at least one.")
    store = gallery.ImageStore(subjects, thumbnail, large, budget_mb * 1e6)
    galleries = [gallery.of_subject(subject, store) for subject in subjects]
    scores = {subject.name: score_tables.read_scores(subject.scores) for subject in subjects}
    columns = score_tables.columns_of([score for rows in scores.values() for score in rows], metrics)
    image_sets = list(dict.fromkeys(name for subject in subjects for name in subject.images))
    captions = {item["id"]: item["captions"] for each in galleries for item in each["items"]}
    counts = {each["name"]: len(each["items"]) for each in galleries}
    data = gallery.page_data(galleries, columns, image_sets, metrics)
    exhibits = _exhibits(
        subjects,
        metrics,
        {
            "significance": significance,
            "bottleneck": bottleneck,
            "scaling": scaling,
            "generalisation": generalisation,
            "experiments": experiments,
            "regions": regions,
            "guidance": guidance,
            "spurious": spurious,
            "identification": identification,
            "baselines": baselines,
        },
    )
    parts = {
        "dataset_label": dataset_label,
        "subjects": subjects,
        "metrics": metrics,
        "facts": facts,
        "n_train": labels.counted(each.n_train for each in facts.subjects),
        "n_voxels": labels.counted(each.n_voxels for each in facts.subjects),
        "lead": methods_section.lead(facts, dataset_label),
        "examples": [gallery.examples(each, store.encoded, columns, metrics) for each in galleries],
        "main": gallery.main_set(image_sets),
        "words": gallery.common_words(captions.values()),
        "distributions": [gallery.distributions(each, scores[each["name"]], columns, metrics) for each in galleries],
        "gallery": gallery.as_json(data),
        "blocks": store.blocks(),
        "stored": store.description,
        "figure_folder": Path(figure_folder).name,
        **_scores(scores, columns, image_sets, counts),
        **_published(scores, columns, image_sets, set(counts.values()), metrics, dataset_label, published),
        **exhibits,
        **_methods(facts),
        **_origin(settings, versions, edges, costs),
    }
    stream = _template(metrics).stream(**parts, **_style_and_script())
    _write_figures(figure_folder, parts)
    with hdf5.atomic(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(stream)


def _write_figures(folder: str | Path, parts: Mapping[str, Any]) -> None:
    """Write every figure of the page as a file."""
    exhibits = [*parts["figures"], *(each for _, listed in _by_name(parts) for each in listed)]
    files = {each.file: each.content for each in exhibits if each.file}
    for subject in parts["distributions"]:
        legend = charts.legend(labels.images(subject["main"]), labels.images(subject["first"]))
        for metric, _, svg in subject["plots"]:
            files[f"{subject['name']}_scores_{metric}.svg"] = charts.standalone(svg, legend).encode()
    if parts["graph"]:
        files["rules.svg"] = charts.standalone(parts["graph"]).encode()
    with hdf5.atomic(folder) as partial:
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)


def _by_name(parts: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[figures.Exhibit]]]:
    """(name, exhibits) of all sections of figures and tables."""
    for section in figures.SECTIONS:
        yield from parts[section]


def installed_versions() -> dict[str, str]:
    """Versions of what computed the results; an environment of its own need not hold every package."""
    versions = {PROJECT: __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _template(metrics: Metrics) -> jinja2.Template:
    """The page's template, with filters for names, times and sizes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "images": labels.images,
        "about_images": lambda name: labels.WHAT_IMAGES_ARE.get(name, ""),
        "about_metric": lambda name: labels.about_metric(name, metrics),
        "capitalize_first": lambda text: f"{text[:1].upper()}{text[1:]}." if text else "",
        "time": resource_usage.as_time,
        "size": resource_usage.as_size,
    }
    return environment.get_template("page.html.j2")


def _style_and_script() -> dict[str, Any]:
    """The page's style and script, and the digest by which the page's policy knows the script."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return {
        "style": Markup((HERE / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _scores(
    scores: Mapping[str, Sequence[Score]],
    columns: Sequence[Column],
    image_sets: Sequence[str],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """The section on scores, and the facts at the top of the page."""
    arranged = score_tables.tables(scores, columns, image_sets)
    main = gallery.main_set(image_sets)
    rows = [row for table in arranged[:1] for group in table["groups"] for row in group["rows"]]
    return {
        "n_images": score_tables.format_counts(counts),
        "n_sets": len(image_sets),
        "protocols": sorted({column.protocol for column in columns}),
        "columns": columns,
        "tables": arranged,
        "headline": [cell for row in rows if row["name"] == main for cell in row["cells"] if cell["score"]],
    }


def _published(
    scores: Mapping[str, Sequence[Score]],
    columns: Sequence[Column],
    image_sets: Sequence[str],
    counts: set[int],
    metrics: Metrics,
    dataset_label: DatasetLabel,
    path: Path,
) -> dict[str, Any]:
    """The section on published scores. Other brains and images than NSD's never stand in one table with them."""
    is_nsd = dataset_label == score_tables.NSD
    return {
        "comparability_notes": published_scores.comparability_notes(dataset_label, columns, counts),
        "our_rows": published_scores.our_rows(scores, image_sets, dataset_label, path),
        "published": published_scores.read_published(path),
        "published_columns": published_scores.published_columns(metrics, path),
        "test_sets": {published_scores.TEST_SETS.get(n) for n in counts} if is_nsd else set(),
    }


def _exhibits(
    subjects: Sequence[Subject], metrics: Metrics, sections: Mapping[str, Mapping[str, figures.Figures]]
) -> dict[str, Any]:
    """Figures and tables of other stages, some of them in sections of their own."""
    return {
        "measures": [
            figures.Exhibit(each.name, text, stage_tables.arranged(score_tables.rows_of(table, ()), metrics))
            for each in subjects
            for text, table in each.tables
        ],
        "figures": [
            figures.drawing(each.name, text, f"{each.name}_{file}", svg)
            for each in subjects
            for file, text, svg in each.figures
        ],
        **{
            section: [
                (name, [figures.exhibit(name, section, *figure, metrics) for figure in listed])
                for name, listed in by_name.items()
            ]
            for section, by_name in sections.items()
        },
    }


def _methods(facts: methods.Facts) -> dict[str, Any]:
    """The section on methods."""
    text = methods.text(facts)
    return {"methods_text": text, "methods_html": methods_section.as_html(text)}


def _origin(
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    edges: Sequence[stage_graph.Edge],
    costs: Sequence[resource_usage.Cost],
) -> dict[str, Any]:
    """The section on how the results were made."""
    stages = stage_graph.simplified(edges)
    return {
        "settings": "\n".join(_as_yaml(settings)),
        "versions": versions,
        "graph": Markup(stage_graph.draw(stages)) if stages else "",
        "costs": list(resource_usage.by_subject(costs)),
        "total_cost": resource_usage.total(costs),
    }


def _as_yaml(settings: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Lines of nested settings, in the layout of config.yaml."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _as_yaml(value, indent + "  ")
        else:
            yield f"{indent}{key}: {value if isinstance(value, str) else json.dumps(value, default=str)}"
