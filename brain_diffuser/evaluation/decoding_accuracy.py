"""Stage 6: how well features follow from betas and betas from features, beside what noise leaves of the betas."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5

BLOCK_COLUMNS = 8192


def column_correlations(predicted: str | Path, true: str | Path) -> Float[np.ndarray, " features"]:
    """Pearson correlation of every feature (or voxel) across the test stimuli; NaN where one of both is constant."""
    with hdf5.reading(predicted, by_columns=True) as (ours, our_id):
        with hdf5.reading(true, by_columns=True) as (theirs, their_id):
            hdf5.check_aligned(predicted, our_id, true, their_id)
            found = np.empty(ours.shape[1])
            for start in range(0, len(found), BLOCK_COLUMNS):
                columns = slice(start, start + BLOCK_COLUMNS)
                x, y = (each[:, columns].astype(np.float64) for each in (ours, theirs))
                x, y = x - x.mean(0), y - y.mean(0)
                with np.errstate(invalid="ignore", divide="ignore"):
                    found[columns] = (x * y).sum(0) / np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return found


def quartiles(correlations: Float[np.ndarray, " features"]) -> tuple[float, float, float]:
    """First quartile, median and third quartile of those that are not NaN; NaN if all are."""
    found = correlations[np.isfinite(correlations)]
    first, middle, third = np.percentile(found, (25, 50, 75)).round(4) if len(found) else (np.nan,) * 3
    return float(first), float(middle), float(third)


def plot_decoding(correlations: Mapping[str, np.ndarray]) -> str:
    """SVG: how correlations of predicted and true features are spread, for each kind of feature."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, each in correlations.items():
        found = each[np.isfinite(each)]
        middle = f"median {np.median(found):.2f}" if len(found) else "none varies"
        axes.hist(
            found,
            np.linspace(-0.4, 1, 71).tolist(),
            weights=np.full(len(found), 100 / max(1, len(found))),
            histtype="step",
            label=f"{name}: {middle}",
        )
    axes.set(xlabel="correlation of predicted and true feature over test stimuli", ylabel="features, %")
    axes.legend(frameon=False)
    return figures.svg(figure)


def plot_regions(rows: Sequence[Mapping[str, float | str]]) -> str:
    """SVG: encoding accuracy of each region's voxels (median, quartiles), beside what the noise ceiling allows."""
    figure = Figure(figsize=(max(6, 0.45 * len(rows)), 4), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(rows))
    middle, low, high, ceiling = (
        np.array([float(row[key]) for row in rows]) for key in ("median", "quartile_1", "quartile_3", "ceiling")
    )
    axes.bar(place, middle, color="0.7", label="predicted from CLIP-vision (median, quartiles)")
    axes.errorbar(place, middle, [middle - low, high - middle], fmt="none", ecolor="0.3")
    axes.plot(place, ceiling, "k_", markersize=14, label="ceiling by noise (median)")
    figures.name_regions(axes, rows)
    axes.set(ylabel="correlation with measured betas", ylim=(0, 1))
    axes.legend(frameon=False, loc="upper right")
    return figures.svg(figure)


def plot_ceiling(ceiling: Float[np.ndarray, " voxels"], repeats: float) -> str:
    """SVG: how the voxels' noise ceilings are spread."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.hist(100 * ceiling, np.linspace(0, 100, 51).tolist(), color="0.6")
    axes.axvline(100 * float(np.median(ceiling)), color="k", linestyle=":")
    axes.set(
        xlabel=f"noise ceiling, % of variance, mean of {repeats:.3g} repeats (dotted: median)",
        ylabel="voxels",
    )
    return figures.svg(figure)
