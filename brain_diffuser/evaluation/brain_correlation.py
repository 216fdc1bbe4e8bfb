"""Stage 6: the betas that images predict, beside those that were measured while their stimuli were seen."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5
from brain_diffuser.evaluation import decoding_accuracy, metrics, statistics

CEILING = "stimulus"
"""The set of images that are the stimuli themselves."""
COLUMNS = ("images", "region", "voxels", "correlation", "low", "high", "shuffled", "voxelwise_median")
SET_WIDTH = 0.13  # inches of a region, for each set


def compare(
    predicted: str | Path,
    measured: str | Path,
    regions: Mapping[str, Bool[np.ndarray, " voxels"]],
    mean: Float[np.ndarray, " voxels"],
    std: Float[np.ndarray, " voxels"],
    *,
    n_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """For each region, `correlation` with its 95 % interval, `shuffled` and `voxelwise_median`, and how many voxels.

    `correlation` is Pearson's across a region's voxels, the mean over stimuli. Betas are z-scored by the train
    stimuli's `mean` and `std`, so that a pattern that all stimuli share counts for nothing. `shuffled` is the same with
    another stimulus' prediction. `voxelwise_median` is Pearson's across stimuli, the median over voxels.
    NaN where there is none: across a single voxel, or over stimuli where no voxel varies.
    Memory: both betas, three times.

    Raises ValueError: files of other stimuli; files or regions of other voxels; a single stimulus.
    Source: Scotti et al. 2024, arXiv 2403.11207. Differs from the reference: z-score, interval, control.
    """
    ours, theirs = hdf5.load_aligned(predicted, measured)
    n_voxels = {Path(path).name: found.values.shape[1] for path, found in ((predicted, ours), (measured, theirs))}
    n_voxels |= {f"region {name}": len(mask) for name, mask in regions.items()}
    for name, found in n_voxels.items():
        if found != len(mean):
            raise ValueError(f"{name} has {found} voxels, the train betas {len(mean)}; expected the same. Rerun nsd.")
    voxelwise = decoding_accuracy.column_correlations(predicted, measured)
    assigned = statistics.cyclic_derangement(len(ours.nsd_id), seed)
    z_ours, z_theirs = ((each.values - np.float32(mean)) / np.float32(std) for each in (ours, theirs))
    rows = []
    for name, mask in regions.items():
        found = {"region": name, "voxels": int(mask.sum())} | dict.fromkeys(COLUMNS[3:], np.nan)
        if found["voxels"] > 1:
            distances = metrics.compare(z_theirs[:, mask], z_ours[:, mask], metrics.LOWER_IS_BETTER, assigned)
            own, shuffled = (1 - each for each in distances)
            low, high = statistics.bootstrap_ci(own, n_resamples, seed)
            found |= {"correlation": own.mean(), "low": low, "high": high, "shuffled": shuffled.mean()}
        found["voxelwise_median"] = decoding_accuracy.quartiles(voxelwise[mask])[1]
        rows.append({key: round(float(value), 4) if key in COLUMNS[3:] else value for key, value in found.items()})
    return rows


def write(folder: Path, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """brain_correlation.csv, a row for each set of images and region, empty where there is no number; its plot."""
    with open(folder / "brain_correlation.csv", "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for images, rows in found.items():
            values = ([row[key] for key in COLUMNS[1:]] for row in rows)
            writer.writerows([images, *("" if value != value else value for value in row)] for row in values)
    (folder / "brain_correlation.svg").write_text(plot(found), encoding="utf-8")


def plot(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """SVG: brain correlation of each region, sets of images side by side with intervals, the control in grey."""
    regions = next(iter(found.values()))
    width = max(6, len(regions) * max(0.4, SET_WIDTH * (len(found) + 1)))
    figure = Figure(figsize=(width, 5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.8", linewidth=0.8)
    for place in range(1, len(regions), 2):
        axes.axvspan(place - 0.5, place + 0.5, color="0.96", linewidth=0)
    for number, (images, rows) in enumerate(found.items()):
        place = np.arange(len(rows)) + (number + 1) / (len(found) + 1) - 0.5
        own, low, high, shuffled = (
            np.array([float(row[key]) for row in rows]) for key in ("correlation", "low", "high", "shuffled")
        )
        colour, marker, size = ("k", "_", 9) if images == CEILING else (f"C{number}", "o", 4.5)
        axes.vlines(place, low, high, color=colour, linewidth=1.2)
        axes.plot(place, own, marker, color=colour, markersize=size, label=images)
        last = number == len(found) - 1
        axes.plot(place, shuffled, "_", color="0.6", markersize=6, label="shuffled" if last else None)
    figures.name_regions(axes, regions)
    axes.set(xlim=(-0.5, len(regions) - 0.5), ylabel="correlation of predicted and\nmeasured betas across voxels")
    figure.legend(frameon=False, loc="outside upper center", ncols=min(8, len(found) + 1))
    return figures.svg(figure)
