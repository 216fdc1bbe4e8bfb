"""Brain correlation: the betas that a set of images predicts, compared with those measured for their stimuli."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5, tables
from brain_diffuser.evaluation import decoding_accuracy, metrics, statistics

CEILING = "stimulus"
"""The set of images that are the stimuli themselves."""
COLUMNS = ("images", "region", "voxels", "correlation", "low", "high", "shuffled", "voxelwise_median")
NUMBERS = COLUMNS[3:]
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
    """A row of COLUMNS, all but the first, for each region.

    `correlation` is Pearson's across a region's voxels, the mean over stimuli, with its 95 % interval `low` to `high`.
    Betas are z-scored by the train stimuli's `mean` and `std`, so that a pattern that all stimuli share counts for
    nothing. `shuffled` is the same with the prediction of another stimulus (chance control). `voxelwise_median` is
    Pearson's across stimuli, the median over voxels. What does not vary has no correlation and is left out of a mean or
    median; a number is NaN where nothing is left, such as across a single voxel.

    Parameters
    ----------
    predicted, measured : paths
        Arrays of betas of the test stimuli.
    regions : {name: boolean array (voxels,)}
    mean, std : arrays (voxels,)
        Of the train stimuli's betas.
    n_resamples : int, at least 1
        Bootstrap resamples of the stimuli.
    seed : int
        Of the resamples and of the shuffled pairing.

    Raises
    ------
    ValueError
        Files of other stimuli; files or regions of other voxels; a single stimulus.

    Memory: both betas, three times.
    Source: Scotti et al. 2024, arXiv 2403.11207. Differs from the reference: z-score, interval, control.
    """
    z_predicted, z_measured = _z_scored(predicted, measured, regions, mean, std)
    voxelwise = decoding_accuracy.column_correlations(predicted, measured)
    assigned = statistics.cyclic_derangement(len(z_predicted), seed)
    rows = []
    for name, mask in regions.items():
        row = {"region": name, "voxels": int(mask.sum())} | dict.fromkeys(NUMBERS, np.nan)
        if row["voxels"] > 1:
            distances = metrics.compare(z_measured[:, mask], z_predicted[:, mask], metrics.LOWER_IS_BETTER, assigned)
            correlation, shuffled = (1 - each for each in distances)
            average, (low, high), _ = statistics.mean_and_ci(correlation, n_resamples, seed)
            control, *_ = statistics.mean_and_ci(shuffled, 1, seed)
            row |= {"correlation": average, "low": low, "high": high, "shuffled": control}
        row["voxelwise_median"] = decoding_accuracy.quartiles(voxelwise[mask])[1]
        rows.append(row | {key: round(float(row[key]), 4) for key in NUMBERS})
    return rows


def _z_scored(
    predicted: str | Path,
    measured: str | Path,
    regions: Mapping[str, np.ndarray],
    mean: Float[np.ndarray, " voxels"],
    std: Float[np.ndarray, " voxels"],
) -> list[Float[np.ndarray, "stimuli voxels"]]:
    """Both betas, z-scored in float32, once all that is given has the same voxels."""
    betas = dict(zip((predicted, measured), hdf5.load_aligned(predicted, measured), strict=True))
    n_voxels = {Path(path).name: array.values.shape[1] for path, array in betas.items()}
    n_voxels |= {f"region {name}": len(mask) for name, mask in regions.items()}
    for name, n in n_voxels.items():
        if n != len(mean):
            raise ValueError(
                f"{name} has {n} voxels, the train betas {len(mean)}; expected the same. {hdf5.rerun(predicted)}"
            )
    return [(array.values - np.float32(mean)) / np.float32(std) for array in betas.values()]


def write(folder: Path, rows_of_sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write brain_correlation.csv, a row for each set of images and region, and its plot; NaN is an empty cell."""
    rows = ([images, *(row[key] for key in COLUMNS[1:])] for images, rows in rows_of_sets.items() for row in rows)
    tables.write_csv(folder / "brain_correlation.csv", COLUMNS, rows)
    (folder / "brain_correlation.svg").write_text(plot(rows_of_sets), encoding="utf-8")


def plot(rows_of_sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """SVG: brain correlation of each region, sets of images side by side with intervals, the control in grey."""
    regions = next(iter(rows_of_sets.values()))
    width = max(6, len(regions) * max(0.4, SET_WIDTH * (len(rows_of_sets) + 1)))
    figure = Figure(figsize=(width, 5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.8", linewidth=0.8)
    for place in range(1, len(regions), 2):
        axes.axvspan(place - 0.5, place + 0.5, color="0.96", linewidth=0)
    for number, (images, rows) in enumerate(rows_of_sets.items()):
        place = np.arange(len(rows)) + (number + 1) / (len(rows_of_sets) + 1) - 0.5
        correlation, low, high, shuffled = (
            np.array([float(row[key]) for row in rows]) for key in ("correlation", "low", "high", "shuffled")
        )
        colour, marker, size = ("k", "_", 9) if images == CEILING else (f"C{number}", "o", 4.5)
        axes.vlines(place, low, high, color=colour, linewidth=1.2)
        axes.plot(place, correlation, marker, color=colour, markersize=size, label=images)
        last = number == len(rows_of_sets) - 1
        axes.plot(place, shuffled, "_", color="0.6", markersize=6, label="shuffled" if last else None)
    figures.name_regions(axes, regions)
    axes.set(xlim=(-0.5, len(regions) - 0.5), ylabel="correlation of predicted and\nmeasured betas across voxels")
    figure.legend(frameon=False, loc="outside upper center", ncols=min(8, len(rows_of_sets) + 1))
    return figures.svg(figure)
