"""Figures and tables of other stages that the report shows: which files, with which captions, embedded in the page."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.reporting import score_tables, stage_tables

Figures = Sequence[tuple[str, Path]]
"""(caption, file): a PNG or an SVG, or a CSV, which is folded away."""

ACCURACY = {
    "decoding.svg": "Decoding: correlation of decoded and true features over the test stimuli; chance is 0.",
    "encoding.svg": "Encoding: correlation of measured betas (responses) and those predicted from the stimuli's "
    "CLIP-vision embeddings, by region; chance is 0.",
    "noise_ceiling.svg": "Noise ceilings: the share of the variance of voxels' betas that is no noise.",
}
"""Plots in results/{subject}/accuracy."""
PENALTY = "Penalty of a feature's ridge, chosen by leave-one-out on the training stimuli (ridge.alpha: auto)."
"""Of results/{subject}/ridge/alpha_{feature}.svg."""
RETRIEVAL = (
    "Retrieval: how often the nearest of the candidates, by CLIP-vision embeddings, is the right one. Chance is one in "
    "as many as there are candidates."
)
DECODING = (
    "Decoding accuracy: correlation of decoded and true features over the test stimuli, for each of a feature's "
    "numbers; the median and quartiles over these. Chance is 0."
)
ENCODING = (
    "Encoding accuracy: correlation of measured responses and those predicted from the stimuli's CLIP-vision "
    "embeddings, over the test stimuli; the median and quartiles over the voxels of a region, and the limit that noise "
    "sets. Chance is 0."
)
REGIONS = {
    "optimal.png": "Optimal images of each region (the rest of the brain does not respond), and of as many voxels "
    "drawn at random.",
    "category_probe.csv": "Probability, for the evaluation network, that optimal images show each category (0 to 1).",
    "category_probe_accuracy.csv": "Share of test stimuli, and of reconstructions, that are given the right category.",
    "perturbed.png": "Images from a stimulus' response with that of a region raised or lowered, in standard "
    "deviations; the noise is the same.",
    "decoding.svg": "Accuracy from one region alone, and with it at its mean; grey: range of as many random voxels.",
    "decoding.csv": "Accuracy of one region alone, and without it.",
    "lesions.svg": "How much nearer decoded stimuli with and without a category lie with a region at its mean (d').",
    "lesions.csv": "Lesions: how well decoded stimuli with and without a category are told apart (d'), intact and with "
    "a region at its mean.",
    "weights.svg": "How much higher a region's weights rank for CLIP than for the VDVAE, percentiles among all voxels.",
    "weights.csv": "Weights: mean percentile of a region's voxels among all voxels, by feature.",
    "brain_correlation.svg": "Brain correlation: betas predicted from images against measured betas.",
    "brain_correlation.csv": "Brain correlation: betas predicted from images against measured betas; 0 is chance.",
    "mosaic_encoding_accuracy.png": "Encoding accuracy of each voxel, slice by slice.",
    "glass_encoding_accuracy.png": "Encoding accuracy, the highest along each line of sight through the brain.",
    "mosaic_noise_ceiling.png": "Noise ceiling of each voxel, slice by slice.",
    "rois.png": "Regions, slice by slice.",
}
"""Files in results/{subject}/roi, in the order of the page; the folder of the average has some of them."""
SIGNIFICANCE = {
    "tests.csv": "Permutation tests of mean scores: images assigned to other stimuli.",
    "differences.csv": "Permutation tests of differences between sets of images, image by image.",
}
"""Files in results/{subject}/significance."""
BOTTLENECK = {
    "curve.svg": "Scores of decoded features by dimensions of the betas; 0: ridge on noise betas, 1: true features.",
    "scores.csv": "Scores by dimensions of the betas.",
    "dimensions.csv": "Participation ratios: how many dimensions of betas, predictions and true features vary alike.",
}
"""Files in results/{subject}/bottleneck."""
SCALING = {
    "curves.svg": "Scores of decoded features by amount of training data, with fits to its logarithm.",
    "slopes.csv": "Gain for twice as much data.",
    "scores.csv": "Scores by amount of training data.",
}
"""Files in results/{subject}/scaling."""
GENERALISATION = {
    "by_split.svg": "Identification of decoded features under each split, and of a decoder that only classifies.",
    "by_distance.svg": "Identification of decoded features by distance to the nearest training stimulus.",
    "scores.csv": "Identification by split, by distance to the nearest training stimulus, and by source.",
    "same_stimuli.csv": "The same stimuli under two splits.",
}
"""Files in results/{subject}/generalisation."""
SPURIOUS = {
    "alarms.csv": "Alarms, each with its rule.",
    "against_training.svg": "Reconstructions against the training images chosen by the decoded feature: the difference "
    "with its 95 % interval, each metric on a scale of its own.",
    "against_training.csv": "Reconstructions against the training images chosen by the decoded feature, and by the "
    "true feature (oracle).",
    "by_distance.svg": "Scores by distance to the nearest training stimulus, with 95 % intervals; dotted: chance.",
    "by_distance.csv": "Scores by distance to the nearest training stimulus.",
    "by_source.csv": "What the second stage adds to stage 1, by the source of the stimuli.",
    "output_dimensions.svg": "Share of features' variance in the first principal components of the training targets.",
    "overlap.svg": "How near the nearest training stimulus of each test stimulus is.",
}
"""Files in results/{subject}/spurious."""
IDENTIFICATION = {
    "identification.svg": "How often the own stimulus is among the nearest candidates of a decoded feature.",
    "identification.csv": "Identification of decoded features, in both directions.",
}
"""Files in results/{subject}/feature_identification."""
BASELINES = {"scores.csv": "Scores of reconstructions and of baselines."}
"""Files in results/{subject}/baselines."""
EXPERIMENTS = {
    "scores.csv": "Scores of the trained decoder on another experiment, among all targets and within sets of them.",
}
"""Files in results/{subject}_{test set}/test_set."""
GUIDANCE = {
    "images.png": "The first test stimuli, guided and unguided.",
    "comparison.csv": "Guided sets: mean score, in brackets the 95 % interval of its difference from the unguided set.",
    "grid.csv": "Difference from the reconstruction by guidance's strength, kappa, and share of guided steps, eta.",
    "consistency.csv": "Repeats with other seeds: how much they resemble each other and their stimulus (correlation).",
}
"""Files in results/{subject}/guidance."""


SECTIONS = {
    "regions": REGIONS,
    "guidance": GUIDANCE,
    "generalisation": GENERALISATION,
    "significance": SIGNIFICANCE,
    "bottleneck": BOTTLENECK,
    "scaling": SCALING,
    "spurious": SPURIOUS,
    "identification": IDENTIFICATION,
    "baselines": BASELINES,
    "experiments": EXPERIMENTS,
}
"""Sections of the page, and the files that each shows."""


def of_folder(folder: str | Path, captions: Mapping[str, str]) -> list[tuple[str, Path]]:
    """(caption, file) of the files that a folder has."""
    paths = ((caption, Path(folder) / name) for name, caption in captions.items())
    return [(caption, path) for caption, path in paths if path.exists()]


class Exhibit(NamedTuple):
    """A figure, a table or alarms of the page.

    Parameters
    ----------
    name : str
        Whose it is, such as a subject.
    caption : str
    table : dict, optional
        A table, as `stage_tables.arranged` returns it.
    alarms : rows
        Of a table of alarms.
    uri : str
        A figure as a data URI.
    file : str
        The figure's file.
    content : bytes
        What that file has.
    width : int
        Pixels at which the figure's letters are as large as they were drawn.
    """

    name: str
    caption: str
    table: dict[str, Any] | None = None
    alarms: Sequence[Mapping[str, str]] = ()
    uri: str = ""
    file: str = ""
    content: bytes = b""
    width: int = 0


def exhibit(name: str, section: str, caption: str, path: Path, metrics: score_tables.Metrics) -> Exhibit:
    """A figure or table of a section.

    Raises FileNotFoundError, ValueError: the file is missing or damaged.
    """
    score_tables.existing(path)
    if path.suffix == ".csv":
        rows = tables.read_csv(path)
        if rows and "rule" in rows[0]:
            return Exhibit(name, caption, alarms=rows)
        return Exhibit(name, caption, stage_tables.arranged(rows, metrics) if rows else None)
    file = f"{name}_{section}_{path.name}"
    if path.suffix == ".svg":
        return drawing(name, caption, file, path.read_text(encoding="utf-8"))
    image, encoded = _drawn(path), io.BytesIO()
    image.save(encoded, format="WEBP", quality=85)
    uri = f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return Exhibit(name, caption, uri=uri, file=file, content=path.read_bytes(), width=image.width)


def drawing(name: str, caption: str, file: str, svg: str) -> Exhibit:
    """A drawing: no script in it runs, and its names cannot clash with another drawing's."""
    content = svg.encode()
    uri = f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
    found = re.match(r'<svg[^>]*? width="([\d.]+)(pt|px|)"', svg)
    width = float(found[1]) * (4 / 3 if found[2] == "pt" else 1) if found else 0
    return Exhibit(name, caption, uri=uri, file=file, content=content, width=round(width))


def _drawn(path: Path) -> Image.Image:
    """An image that the workflow has drawn. Raises ValueError: its checksums do not fit."""
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}). {hdf5.rerun(path)}") from error
