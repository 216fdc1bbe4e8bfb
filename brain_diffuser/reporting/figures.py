"""Figures and tables of other stages that the report shows: which files, with which captions, embedded in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.reporting import score_tables

Figures = Sequence[tuple[str, Path]]
"""(caption, file): a PNG or an SVG, or a CSV, which is folded away."""

ACCURACY = {
    "decoding.svg": "Decoding: features of the test stimuli, predicted from betas.",
    "encoding.svg": "Encoding: betas of the test stimuli, predicted from their CLIP-vision embeddings, by region.",
    "noise_ceiling.svg": "Noise ceilings: the share of the betas' variance that noise leaves.",
}
"""Plots in results/{subject}/accuracy."""
PENALTY = "Penalty of a feature's ridge, chosen by leave-one-out on the training stimuli (ridge.alpha: auto)."
"""Of results/{subject}/ridge/alpha_{feature}.svg."""
REGIONS = {
    "optimal.png": "optimal images of each region (rest: no response), and of as many voxels drawn at random",
    "category_probe.csv": "probability, for the evaluation network, that the optimal images show each category",
    "category_probe_accuracy.csv": "share of test stimuli, and of reconstructions, that are given the right category",
    "perturbed.png": "a stimulus' response with a region's raised or lowered, in standard deviations; same noise",
    "decoding.svg": "accuracy from one region alone, and with it set to its mean; grey: range of as many random voxels",
    "decoding.csv": "accuracy of one region alone, and without it",
    "lesions.svg": "how much nearer decoded stimuli with and without a category lie with a region at its mean (d')",
    "lesions.csv": "lesions",
    "weights.svg": "how much higher a region's weights rank for CLIP than for VDVAE, percentiles among all voxels",
    "weights.csv": "weights",
    "brain_correlation.svg": "brain correlation: betas predicted from images against measured betas",
    "brain_correlation.csv": "brain correlation",
    "mosaic_encoding_accuracy.png": "encoding accuracy",
    "glass_encoding_accuracy.png": "encoding accuracy, through the brain",
    "mosaic_noise_ceiling.png": "noise ceiling",
    "rois.png": "regions",
}
"""Files in results/{subject}/roi, in the order of the page; the folder of the average has some of them."""
SIGNIFICANCE = {
    "tests.csv": "permutation tests of mean scores, images assigned to other stimuli",
    "differences.csv": "permutation tests of differences between sets of images, image by image",
}
"""Files in results/{subject}/significance."""
BOTTLENECK = {
    "curve.svg": "scores of decoded features by dimensions of the betas; 0: ridge on noise betas, 1: true features",
    "scores.csv": "scores by dimensions of the betas",
    "dimensions.csv": "participation ratios: how many dimensions of betas, predictions and true features vary alike",
}
"""Files in results/{subject}/bottleneck."""
SCALING = {
    "curves.svg": "scores of decoded features by amount of training data, with fits to its logarithm",
    "slopes.csv": "gain for twice as much data",
    "scores.csv": "scores by amount of training data",
}
"""Files in results/{subject}/scaling."""
GENERALISATION = {
    "by_split.svg": "identification of decoded features under each split, and of a decoder that only classifies",
    "by_distance.svg": "identification of decoded features by distance to the nearest training stimulus",
    "scores.csv": "identification by split, by distance to the nearest training stimulus, and by source",
    "same_stimuli.csv": "the same stimuli under two splits",
}
"""Files in results/{subject}/generalisation."""
SPURIOUS = {
    "alarms.csv": "alarms, each with its rule",
    "against_training.svg": "reconstructions against the training images chosen by the decoded feature: the difference "
    "with its 95 % interval, each metric on a scale of its own",
    "against_training.csv": "reconstructions against the training images chosen by the decoded feature, and by "
    "the true feature (oracle)",
    "by_distance.svg": "scores by distance to the nearest training stimulus, with 95 % intervals; dotted: chance",
    "by_distance.csv": "scores by distance to the nearest training stimulus",
    "by_source.csv": "what the second stage adds to stage 1, by the source of the stimuli",
    "output_dimensions.svg": "share of features' variance in the first principal components of the training targets",
    "overlap.svg": "how near the nearest training stimulus of each test stimulus is",
}
"""Files in results/{subject}/spurious."""
IDENTIFICATION = {
    "identification.svg": "how often the own stimulus is among the nearest candidates of a decoded feature",
    "identification.csv": "identification of decoded features, in both directions",
}
"""Files in results/{subject}/feature_identification."""
BASELINES = {"scores.csv": "scores of reconstructions and of baselines"}
"""Files in results/{subject}/baselines."""
EXPERIMENTS = {
    "scores.csv": "scores of the trained decoder on another experiment, among all targets and within sets of them",
}
"""Files in results/{subject}_{test set}/test_set."""
GUIDANCE = {
    "images.png": "the first test stimuli, guided and unguided",
    "comparison.csv": "guided sets: mean score, in brackets the 95 % interval of its difference from the unguided set",
    "grid.csv": "difference from the reconstruction by guidance's strength, kappa, and share of guided steps, eta",
    "consistency.csv": "repeats with other seeds: how much they resemble each other and their stimulus",
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


def embed(caption: str, path: Path) -> dict[str, Any]:
    """A figure as a data URI, or the rows of a table."""
    score_tables.existing(path)
    if path.suffix == ".csv":
        return {"caption": caption, "rows": tables.read_csv(path), "uri": None}
    if path.suffix == ".svg":
        return {"caption": caption, "rows": None, "uri": svg_uri(path.read_text(encoding="utf-8"))}
    file = io.BytesIO()
    _drawn(path).save(file, format="WEBP", quality=85)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"caption": caption, "rows": None, "uri": uri}


def _drawn(path: Path) -> Image.Image:
    """An image that the workflow has drawn. Raises ValueError: its checksums do not fit."""
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}). {hdf5.rerun(path)}") from error


def svg_uri(svg: str) -> str:
    """A drawing as an image of its own: no script in it runs, and its names cannot clash with another drawing's."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
