"""Stage 6: what regions code and contribute, to be looked at: sheets of images, tables, plots."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from brain_diffuser.artifacts import figures, hdf5, image_files
from brain_diffuser.artifacts.figures import name_regions, svg
from brain_diffuser.data.rois import RANDOM

Row = dict[str, object]
Folder = tuple[Path, Path]
"""A folder of images and its manifest."""
PERTURBED = re.compile(r"(?P<region>.+)_nsd(?P<nsd_id>\d{5})_(?P<amount>[+-][\d.e+-]+)\.png")


def optimal_sheet(optimal: Folder, stage1: Folder, equalize_histogram: bool) -> Image.Image:
    """A row per region: first guess, each image, and the first one of as many random voxels."""
    made = _by_name(optimal)
    guesses = {file.removesuffix(".png"): image for file, image in _by_name(stage1).items()}
    n_images = len(made) // len(guesses)
    white = np.full_like(next(iter(made.values())), 255)

    def image(name: str, number: int) -> np.ndarray:
        found = made.get(f"{name}_{number}.png")
        return white if found is None else _with_equalized_histogram(found) if equalize_histogram else found

    names = [name for name in guesses if not name.startswith(RANDOM)]
    rows = [
        [guesses[name], *(image(name, each) for each in range(n_images)), image(f"{RANDOM}{name}", 0)] for name in names
    ]
    titles = ["first guess", *(f"image {each + 1}" for each in range(n_images)), "random voxels"]
    return figures.contact_sheet(rows, titles, names, groups=2)


def perturbed_sheet(perturbed: Folder, stimuli: str | Path) -> Image.Image:
    """A row per region and stimulus: the stimulus, then its image with each amount of the region's pattern added."""
    strips: dict[tuple[str, int], list[tuple[float, np.ndarray]]] = {}
    for file, image in _by_name(perturbed).items():
        found = PERTURBED.fullmatch(file)
        assert found
        strips.setdefault((found["region"], int(found["nsd_id"])), []).append((float(found["amount"]), image))
    with hdf5.reading(stimuli) as (images, nsd_id):
        shown = {int(each): images[row] for row, each in enumerate(nsd_id) if int(each) in {key[1] for key in strips}}
    rows = [[shown[each], *(image for _, image in strip)] for (_, each), strip in strips.items()]
    titles = [
        "stimulus",
        *(f"{amount:+g} SD" if amount else "as measured" for amount, _ in next(iter(strips.values()))),
    ]
    return figures.contact_sheet(rows, titles, [f"{region}, nsd_id {each}" for region, each in strips], groups=2)


def mean_probabilities(rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Region by region, how probable it is to the evaluation network that its optimal images show each category."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    found: list[Row] = []
    for each in rows:
        groups.setdefault(each["image"].rpartition("_")[0], []).append(each)
    for name, group in groups.items():
        categories = [key for key in group[0] if key != "image"]
        row: Row = {"region": name, "images": len(group)}
        sums = {category: sum(float(each[category]) for each in group) for category in categories}
        found.append(row | {category: round(total / len(group), 3) for category, total in sums.items()})
    return found


def _by_name(folder: Folder) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """File name -> image, in the manifest's order."""
    _, images = image_files.read_folder(*folder)
    return {name: image for (name, _, _), image in zip(image_files.read_manifest(folder[1]), images, strict=True)}


def _with_equalized_histogram(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Histogram stretched, then made flat, in each colour, as the paper shows its optimal images."""
    return np.asarray(ImageOps.equalize(ImageOps.autocontrast(Image.fromarray(image))))


def average_rows(tables: Sequence[Sequence[Row]], keys: Sequence[str]) -> list[Row]:
    """One row for each value of the `keys`: the mean of every number over subjects, and its standard error.

    The standard error (ddof 1) is over subjects, empty where fewer than two have a number; `subjects` says how many.
    """
    groups: dict[tuple, list[Row]] = {}
    for table in tables:
        for row in table:
            groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    found = []
    for group in groups.values():
        merged: Row = {key: group[0][key] for key in keys} | {"subjects": len(group)}
        for key in group[0]:
            if key not in keys:
                numbers = [float(str(row[key])) for row in group if row[key] != ""]
                merged[key] = round(float(np.mean(numbers)), 4) if numbers else ""
                merged[f"{key}_sem"] = (
                    round(float(np.std(numbers, ddof=1) / np.sqrt(len(numbers))), 4) if len(numbers) > 1 else ""
                )
        found.append(merged)
    return found


def weight_rows(
    masks: Mapping[str, np.ndarray], percentiles: Mapping[str, np.ndarray], baseline: str = "vdvae"
) -> list[Row]:
    """A row per region: mean percentile of its voxels' weights for each feature, and how far above VDVAE's it is."""
    rows = []
    for name, voxels in masks.items():
        means = {feature: float(each[voxels].mean()) for feature, each in percentiles.items()}
        row: Row = {"region": name, "voxels": int(voxels.sum())}
        row |= {feature: round(mean, 2) for feature, mean in means.items()}
        row |= {
            f"{feature}_minus_{baseline}": round(mean - means[baseline], 2)
            for feature, mean in means.items()
            if feature != baseline
        }
        rows.append(row)
    return rows


def plot_decoding(rows: Sequence[Row]) -> str:
    """SVG: accuracy from each region alone, and without it, beside the range of as many random voxels."""
    features = list(dict.fromkeys(str(row["feature"]) for row in rows))
    regions = list(dict.fromkeys(str(row["region"]) for row in rows))
    figure = Figure(figsize=(max(7, 0.55 * len(regions)), 2.4 * len(features) + 1), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(features), 1, sharex=True))
    for axes, feature in zip(panels, features, strict=True):
        own = [next(row for row in rows if (row["feature"], row["region"]) == (feature, name)) for name in regions]
        for key, colour, shift, words in (
            ("alone", "C0", -0.15, "region alone"),
            ("without", "C3", 0.15, "without it"),
        ):
            place = np.arange(len(own)) + shift
            low, high, value = (_numbers(own, f"{key}{word}") for word in ("_random_low", "_random_high", ""))
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
    """SVG: how much nearer stimuli with and without a category lie once a region is at its mean, less random voxels."""
    if not rows:
        return svg(_empty("no category was shown often enough"))
    features, categories, regions = (
        list(dict.fromkeys(str(row[key]) for row in rows)) for key in ("feature", "category", "region")
    )
    values = np.full((len(features), len(categories), len(regions)), np.nan)
    for row in rows:
        at = (features.index(str(row["feature"])), categories.index(str(row["category"])))
        control = float(str(row["drop_random"])) if row["drop_random"] != "" else 0.0
        values[*at, regions.index(str(row["region"]))] = float(str(row["drop"])) - control
    size = (max(7, 0.6 * len(regions) + 1.5), (0.4 * len(categories) + 0.6) * len(features) + 1.6)
    figure, limit = Figure(figsize=size, layout="constrained"), float(np.nanmax(np.abs(values))) or 1
    panels = np.atleast_1d(figure.subplots(len(features), 1, sharex=True))
    for axes, feature, drops in zip(panels, features, values, strict=True):
        shown = axes.imshow(drops, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (row, column), drop in np.ndenumerate(drops):
            colour = "w" if abs(drop) > 0.6 * limit else "k"
            axes.text(
                column, row, f"{drop:.1f}".replace("-0.0", "0.0"), ha="center", va="center", fontsize=7, color=colour
            )
        axes.set_yticks(range(len(categories)), categories)
        axes.set_title(feature)
    panels[-1].set_xticks(range(len(regions)), regions, rotation=60, ha="right", rotation_mode="anchor")
    panels[-1].set_xlabel("region set to its mean")
    figure.colorbar(shown, ax=panels.tolist(), label="d' lost, less random voxels", shrink=0.8)
    return svg(figure)


def plot_weights(rows: Sequence[Row]) -> str:
    """SVG: how much higher a region's weights rank for each CLIP space than for VDVAE; standard errors if there are."""
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
