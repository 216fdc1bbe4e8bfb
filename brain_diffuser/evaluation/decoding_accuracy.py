"""How well features follow from betas and betas from features, and how much noise leaves of the betas to predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5, tables
from brain_diffuser.evaluation import statistics

BLOCK_COLUMNS = 8192
QUARTILES = ("quartile_1", "median", "quartile_3")
DECODING_COLUMNS = ("feature", "columns", *QUARTILES)
ENCODING_COLUMNS = ("region", "voxels", *QUARTILES, "ceiling")


def column_correlations(predicted: str | Path, true: str | Path) -> Float[np.ndarray, " features"]:
    """Pearson correlation of every feature (or voxel) across the test stimuli; NaN where one of both is constant.

    Columns pass in blocks, in float64.

    Raises ValueError: files of other stimuli, or numbers that are not finite.
    """
    with (
        hdf5.reading(predicted, by_columns=True) as (predicted_values, predicted_id),
        hdf5.reading(true, by_columns=True) as (true_values, true_id),
    ):
        hdf5.check_aligned(predicted, predicted_id, true, true_id)
        correlations = np.empty(predicted_values.shape[1])
        for start in range(0, len(correlations), BLOCK_COLUMNS):
            columns = slice(start, start + BLOCK_COLUMNS)
            x, y = (values[:, columns].astype(np.float64) for values in (predicted_values, true_values))
            for path, block in ((predicted, x), (true, y)):
                hdf5.check_finite(path, block, true_id)
            correlations[columns] = statistics.pearson(x, y)
    return correlations


def quartiles(correlations: Float[np.ndarray, " features"]) -> tuple[float, float, float]:
    """First quartile, median and third quartile of those that are not NaN; NaN if all are."""
    finite = correlations[np.isfinite(correlations)]
    first, middle, third = np.percentile(finite, (25, 50, 75)).round(4) if len(finite) else (np.nan,) * 3
    return float(first), float(middle), float(third)


def _median(values: Float[np.ndarray, " voxels"]) -> float:
    """The median of those that are not NaN; NaN if all are."""
    measured = values[np.isfinite(values)]
    return float(np.median(measured)) if len(measured) else np.nan


def write(
    folder: Path,
    decoding: Mapping[str, Float[np.ndarray, " features"]],
    encoding: Float[np.ndarray, " voxels"],
    ceiling: Float[np.ndarray, " voxels"],
    regions: Mapping[str, Bool[np.ndarray, " voxels"]],
    repeats: float,
) -> None:
    """Write decoding.csv, encoding.csv, and the plots decoding.svg, encoding.svg and noise_ceiling.svg.

    Parameters
    ----------
    folder : path
    decoding : {feature: array (features,)}
        Correlations of predicted and true features over the test stimuli.
    encoding : array (voxels,)
        Correlations of predicted and measured betas over the test stimuli.
    ceiling : array (voxels,), 0 to 1
        Share of the betas' variance that noise leaves.
    regions : {name: boolean array (voxels,)}
    repeats : float
        Mean number of trials of a test stimulus.
    """
    of_features = [(name, len(values), *quartiles(values)) for name, values in decoding.items()]
    of_regions = [
        (name, int(mask.sum()), *quartiles(encoding[mask]), round(_median(np.sqrt(ceiling[mask])), 4))
        for name, mask in regions.items()
    ]
    plots = {
        "decoding": plot_decoding(decoding),
        "encoding": plot_regions([dict(zip(ENCODING_COLUMNS, row, strict=True)) for row in of_regions]),
        "noise_ceiling": plot_ceiling(ceiling, repeats),
    }
    tables.write_csv(folder / "decoding.csv", DECODING_COLUMNS, of_features)
    tables.write_csv(folder / "encoding.csv", ENCODING_COLUMNS, of_regions)
    for name, plot in plots.items():
        (folder / f"{name}.svg").write_text(plot, encoding="utf-8")


def plot_decoding(correlations: Mapping[str, np.ndarray]) -> str:
    """SVG: the distribution of the correlations of predicted and true features, for each kind of feature."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, values in correlations.items():
        finite = values[np.isfinite(values)]
        middle = f"median {np.median(finite):.2f}" if len(finite) else "none varies"
        axes.hist(
            finite,
            np.linspace(-0.4, 1, 71).tolist(),
            weights=np.full(len(finite), 100 / max(1, len(finite))),
            histtype="step",
            label=f"{name}: {middle}",
        )
    axes.set(xlabel="correlation of predicted and true feature over test stimuli", ylabel="features, %")
    axes.legend(frameon=False)
    return figures.svg(figure)


def plot_regions(rows: Sequence[Mapping[str, float | str]]) -> str:
    """SVG: encoding accuracy of each region's voxels (median, quartiles) and the limit that their noise sets."""
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
    """SVG: the distribution of the voxels' noise ceilings."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    measured = ceiling[np.isfinite(ceiling)]  # none without repeats
    axes.hist(100 * measured, np.linspace(0, 100, 51).tolist(), color="0.6")
    if len(measured):
        axes.axvline(100 * float(np.median(measured)), color="k", linestyle=":")
    axes.set(
        xlabel=f"noise ceiling, % of variance, mean of {repeats:.3g} repeats (dotted: median)",
        ylabel="voxels",
    )
    return figures.svg(figure)
