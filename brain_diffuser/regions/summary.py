"""The tables of the section on regions, and the folder that holds all of it."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from brain_diffuser.artifacts import tables
from brain_diffuser.regions import figures, lesions
from brain_diffuser.regions.figures import Folder, Row

BASELINE = "vdvae"
"""The feature whose weights those of the others are compared with."""
KEYS = {"decoding": ("feature", "region"), "lesions": ("feature", "category", "region"), "weights": ("region",)}
"""What tells the rows of a table apart."""


def write_tables(
    folder: Path,
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    lesions_of_features: Mapping[str, str | Path],
    category_probe: str | Path,
) -> None:
    """Write decoding, lesions and weights as tables and plots, and the tables of the category probe.

    Parameters
    ----------
    folder : path
    masks : {region: boolean array (voxels,)}
    lesions_of_features : {feature: folder}
        The folders that `lesions.write` filled.
    category_probe : path
        The folder that `category_probe.write` filled.
    """
    folders = {feature: Path(path) for feature, path in lesions_of_features.items()}
    by_name = {name: _of_features(folders, name) for name in ("decoding", "lesions")}
    norms = {feature: lesions.read_norms(path / "weight_norms.npy") for feature, path in folders.items()}
    percentiles = {feature: lesions.percentiles(values) for feature, values in norms.items()}
    by_name["weights"] = weight_rows(masks, percentiles)
    by_name["category_probe"] = mean_probabilities(tables.read_csv(Path(category_probe) / "category_probe.csv"))
    for name, rows in by_name.items():
        header = tuple(rows[0]) if rows else ("feature", *lesions.COLUMNS[name])
        tables.write_csv(folder / f"{name}.csv", header, (row.values() for row in rows))
    (folder / "decoding.svg").write_text(figures.plot_decoding(by_name["decoding"]), encoding="utf-8")
    (folder / "lesions.svg").write_text(figures.plot_lesions(by_name["lesions"]), encoding="utf-8")
    (folder / "weights.svg").write_text(figures.plot_weights(by_name["weights"]), encoding="utf-8")
    shutil.copy(Path(category_probe) / "category_probe_accuracy.csv", folder)


def write_sheets(
    folder: Path,
    optimal: Folder,
    stage1: Folder,
    perturbed: Folder,
    stimuli: str | Path,
    equalize_histogram: bool,
) -> None:
    """Write the sheets of optimal and of perturbed images, optimal.png and perturbed.png.

    Parameters
    ----------
    folder : path
    optimal, stage1, perturbed : (folder, manifest)
        Optimal images, their stage-1 images, and images of perturbed responses.
    stimuli : path
        The array of test stimuli.
    equalize_histogram : bool
        Whether the optimal images are shown with equalized histograms.
    """
    figures.optimal_sheet(optimal, stage1, equalize_histogram).save(folder / "optimal.png")
    figures.perturbed_sheet(perturbed, stimuli).save(folder / "perturbed.png")


def write_average(
    folder: Path, subjects: Sequence[str | Path], optimal: Folder, stage1: Folder, equalize_histogram: bool
) -> None:
    """Write the tables of all subjects as one, the plot of weights, and the sheet of the average's optimal images.

    Parameters
    ----------
    folder : path
    subjects : paths
        The folders of the section on regions of each subject.
    optimal, stage1, equalize_histogram
        As of `write_sheets`.
    """
    by_name = {
        name: average_rows([tables.read_csv(Path(path) / f"{name}.csv") for path in subjects], keys)
        for name, keys in KEYS.items()
    }
    for name, rows in by_name.items():
        header = tuple(rows[0]) if rows else KEYS[name]
        tables.write_csv(folder / f"{name}.csv", header, (row.values() for row in rows))
    (folder / "weights.svg").write_text(figures.plot_weights(by_name["weights"]), encoding="utf-8")
    figures.optimal_sheet(optimal, stage1, equalize_histogram).save(folder / "optimal.png")


def copy(folder: Path, *sources: tuple[str | Path, str]) -> None:
    """Copy the files of other folders; `sources` are (folder, pattern of names)."""
    for source, pattern in sources:
        for path in Path(source).glob(pattern):
            shutil.copy(path, folder)


def mean_probabilities(rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Region by region, the mean probability that its optimal images show each category."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    means: list[Row] = []
    for row in rows:
        groups.setdefault(row["image"].rpartition("_")[0], []).append(row)
    for name, group in groups.items():
        categories = [key for key in group[0] if key != "image"]
        sums = {category: sum(float(row[category]) for row in group) for category in categories}
        mean: Row = {category: round(total / len(group), 3) for category, total in sums.items()}
        means.append({"region": name, "images": len(group)} | mean)
    return means


def average_rows(of_subjects: Sequence[Sequence[Mapping[str, Any]]], keys: Sequence[str]) -> list[Row]:
    """One row for each value of the `keys`: the mean of every number over subjects, and its standard error.

    The standard error (ddof 1) is over subjects, empty where fewer than two have a number; `subjects` says how many.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for table in of_subjects:
        for row in table:
            groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    averages = []
    for group in groups.values():
        merged: dict[str, Any] = {key: group[0][key] for key in keys} | {"subjects": len(group)}
        for key in group[0]:
            if key not in keys:
                numbers = [float(str(row[key])) for row in group if row[key] != ""]
                merged[key] = round(float(np.mean(numbers)), 4) if numbers else ""
                merged[f"{key}_sem"] = (
                    round(float(np.std(numbers, ddof=1) / np.sqrt(len(numbers))), 4) if len(numbers) > 1 else ""
                )
        averages.append(merged)
    return averages


def weight_rows(
    masks: Mapping[str, np.ndarray], percentiles: Mapping[str, np.ndarray], baseline: str = BASELINE
) -> list[Row]:
    """A row per region: mean percentile of its voxels' weights for each feature, and its distance from VDVAE's."""
    rows = []
    for name, voxels in masks.items():
        means = {feature: float(ranks[voxels].mean()) for feature, ranks in percentiles.items()}
        row: Row = {"region": name, "voxels": int(voxels.sum())}
        row |= {feature: round(mean, 2) for feature, mean in means.items()}
        row |= {
            f"{feature}_minus_{baseline}": round(mean - means[baseline], 2)
            for feature, mean in means.items()
            if feature != baseline
        }
        rows.append(row)
    return rows


def _of_features(folders: Mapping[str, Path], name: str) -> list[Any]:
    """The rows of a table of all features."""
    return [
        {"feature": feature} | row
        for feature, folder in folders.items()
        for row in tables.read_csv(folder / f"{name}.csv")
    ]
