"""Figures of what regions code and contribute: sheets of images, and plots."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from brain_diffuser.artifacts import figures, hdf5, image_files, tables
from brain_diffuser.artifacts.figures import name_regions, svg
from brain_diffuser.data.rois import RANDOM

Row = dict[str, object]
Folder = tuple[str | Path, str | Path]
"""A folder of images and its manifest."""
PERTURBED = re.compile(r"(?P<region>.+)_nsd(?P<nsd_id>\d{5})_(?P<amount>[+-][\d.e+-]+)\.png")


def optimal_sheet(optimal: Folder, stage1: Folder, equalize_histogram: bool) -> Image.Image:
    """A row per region: its stage-1 image, each optimal image, and the first one of as many random voxels."""
    images = _by_name(optimal)
    init_images = {file.removesuffix(".png"): image for file, image in _by_name(stage1).items()}
    n_images = len(images) // len(init_images)
    white = np.full_like(next(iter(images.values())), 255)

    def image(name: str, number: int) -> np.ndarray:
        stored = images.get(f"{name}_{number}.png")
        return white if stored is None else _with_equalized_histogram(stored) if equalize_histogram else stored

    names = [name for name in init_images if not name.startswith(RANDOM)]
    rows = [
        [init_images[name], *(image(name, number) for number in range(n_images)), image(f"{RANDOM}{name}", 0)]
        for name in names
    ]
    titles = ["stage 1", *(f"image {number + 1}" for number in range(n_images)), "random voxels"]
    return figures.contact_sheet(rows, titles, names, groups=2)


def perturbed_sheet(perturbed: Folder, stimuli: str | Path) -> Image.Image:
    """A row per region and stimulus: the stimulus, then its image with each amount of the region's pattern added."""
    strips: dict[tuple[str, int], list[tuple[float, np.ndarray]]] = {}
    for file, image in _by_name(perturbed).items():
        parts = PERTURBED.fullmatch(file)
        assert parts
        strips.setdefault((parts["region"], int(parts["nsd_id"])), []).append((float(parts["amount"]), image))
    of_strips = {stimulus for _, stimulus in strips}
    with hdf5.reading(stimuli) as (values, nsd_id):
        images = {stimulus: values[row] for row, stimulus in enumerate(nsd_id.tolist()) if stimulus in of_strips}
    rows = [[images[stimulus], *(image for _, image in strip)] for (_, stimulus), strip in strips.items()]
    titles = [
        "stimulus",
        *(f"{amount:+g} SD" if amount else "as measured" for amount, _ in next(iter(strips.values()))),
    ]
    return figures.contact_sheet(
        rows, titles, [f"{region}, nsd_id {stimulus}" for region, stimulus in strips], groups=2
    )


def _by_name(folder: Folder) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """File name -> image, in the manifest's order."""
    _, images = image_files.read_folder(*folder)
    return {name: image for (name, _, _), image in zip(image_files.read_manifest(folder[1]), images, strict=True)}


def _with_equalized_histogram(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """The image with each colour's histogram stretched, then equalized, as the paper shows its optimal images."""
    return np.asarray(ImageOps.equalize(ImageOps.autocontrast(Image.fromarray(image))))


def plot_decoding(rows: Sequence[Row]) -> str:
    """SVG: accuracy of each region alone, and without it, with the range of as many random voxels."""
    features = list(dict.fromkeys(str(row["feature"]) for row in rows))
    regions = list(dict.fromkeys(str(row["region"]) for row in rows))
    figure = Figure(figsize=(max(7, 0.55 * len(regions)), 2.4 * len(features) + 1), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(features), 1, sharex=True))
    for axes, feature in zip(panels, features, strict=True):
        of_regions = [
            next(row for row in rows if (row["feature"], row["region"]) == (feature, name)) for name in regions
        ]
        for key, colour, shift, words in (
            ("alone", "C0", -0.15, "region alone"),
            ("without", "C3", 0.15, "without it"),
        ):
            place = np.arange(len(of_regions)) + shift
            low, high, value = (_numbers(of_regions, f"{key}{word}") for word in ("_random_low", "_random_high", ""))
            axes.vlines(
                place, low, high, color="0.75", linewidth=6, label="as many random voxels" if shift > 0 else None
            )
            axes.plot(place, value, "o", color=colour, markersize=4.5, label=words)
        axes.set(title=feature, ylabel="correlation", ylim=(min(0, axes.get_ylim()[0]), 1))
    name_regions(panels[-1], rows[: len(regions)])
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper center", ncols=3)
    return svg(figure)


def plot_lesions(rows: Sequence[Row]) -> str:
    """SVG: the d' between stimuli with and without a category that each region's lesion costs, less random voxels."""
    if not rows:
        return svg(_empty("no category was shown often enough"))
    features, categories, regions = (
        list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("feature", "category", "region")
    )
    values = np.full((len(features), len(categories), len(regions)), np.nan)
    for row in rows:
        at = (features.index(str(row["feature"])), categories.index(str(row["category"])))
        control = float(str(row["drop_random"])) if row["drop_random"] != "" else 0.0
        drop = float(str(row["drop"])) if row["drop"] != "" else np.nan
        values[*at, regions.index(str(row["region"]))] = drop - control
    size = (max(7, 0.6 * len(regions) + 1.5), (0.4 * len(categories) + 0.6) * len(features) + 1.6)
    figure, limit = Figure(figsize=size, layout="constrained"), float(np.nanmax(np.abs(values), initial=0)) or 1
    panels = np.atleast_1d(figure.subplots(len(features), 1, sharex=True))
    for axes, feature, drops in zip(panels, features, values, strict=True):
        image = axes.imshow(drops, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), drop in np.ndenumerate(drops):
            colour = "w" if abs(drop) > 0.6 * limit else "k"
            text = tables.formatted(drop, ".1f").replace("-0.0", "0.0")
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        axes.set_yticks(range(len(categories)), categories)
        axes.set_title(feature)
    panels[-1].set_xticks(range(len(regions)), regions, rotation=60, ha="right", rotation_mode="anchor")
    panels[-1].set_xlabel("region set to its mean")
    figure.colorbar(image, ax=panels.tolist(), label="d' lost, less random voxels", shrink=0.8)
    return svg(figure)


def plot_weights(rows: Sequence[Row]) -> str:
    """SVG: how much higher a region's weights rank for each CLIP feature than for VDVAE, with any standard errors."""
    keys = [key for key in rows[0] if "_minus_" in key and not key.endswith("_sem")]
    figure = Figure(figsize=(max(7, 0.45 * len(rows)), 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.5", linewidth=0.8)
    for number, key in enumerate(keys):
        place = np.arange(len(rows)) + 0.8 * (number + 0.5) / len(keys) - 0.4
        errors = _numbers(rows, f"{key}_sem") if f"{key}_sem" in rows[0] else None
        axes.bar(place, _numbers(rows, key), 0.8 / len(keys), label=key.replace("_minus_", " minus "), yerr=errors)
    name_regions(axes, rows)
    axes.set_ylabel("difference of mean percentiles\nof the voxels' weights (L1)")
    axes.legend(frameon=False)
    return svg(figure)


def _numbers(rows: Sequence[Row], key: str) -> np.ndarray:
    return np.array([float(str(row[key])) if row[key] != "" else np.nan for row in rows])


def _empty(words: str) -> Figure:
    figure = Figure(figsize=(6, 1))
    figure.text(0.5, 0.5, words, ha="center", va="center")
    return figure
