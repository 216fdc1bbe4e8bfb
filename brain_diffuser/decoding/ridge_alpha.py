"""The penalty of a feature's ridge, chosen among a grid by leave-one-out predictions of the train stimuli.

A ridge without stimulus i predicts it with the error (residual i) / (1 - h_i), h the diagonal of the hat matrix, so
nothing is fitted again; one eigendecomposition of the kernel serves all penalties (Spectrum). The z-score of the betas
is held fixed. A penalty is scored by the correlation, over train stimuli, of targets and leave-one-out predictions
relative to the mean of the other stimuli, averaged over columns of the feature. Rescaling (ridge.rescale) gives
predictions their spread back, so that how much a penalty shrinks them does not matter, and what it does to their order
does; R^2, which counts the shrinking, stands beside it in the table. The mean of the other stimuli is taken out because
it is the lower, the higher the left-out target is: with predictions that are nearly constant it would decide alone.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5, tables
from brain_diffuser.decoding import alpha_table, kernel_spectrum, ridge_stream

logger = logging.getLogger(__name__)

BLOCK_COLUMNS = 512
MOST_READ = 8192  # columns of a file that are read at a time


class Curve(NamedTuple):
    """Leave-one-out scores of every penalty: mean over the sampled columns of a feature that vary, NaN if none does."""

    alpha: Float[np.ndarray, " alphas"]
    correlation: Float[np.ndarray, " alphas"]
    r2: Float[np.ndarray, " alphas"]
    """1 - squared error / variance, of the predictions as they are."""

    @property
    def best(self) -> int:
        """The place of the highest correlation; the first of all if nothing varies, where all predict the same."""
        return int(np.argmax(np.nan_to_num(self.correlation, nan=-2)))

    @property
    def is_at_edge(self) -> bool:
        """Whether the best penalty is the lowest or the highest of the grid, so that a better one may lie beyond."""
        return self.best in (0, len(self.alpha) - 1) and not np.isnan(self.correlation).all()


def grid(lowest: float, highest: float, per_decade: int) -> Float[np.ndarray, " alphas"]:
    """Penalties from the lowest to the highest at equal ratios, about `per_decade` of them for a factor of ten.

    Raises ValueError: the highest is not above the lowest.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"ridge.auto: lowest is {lowest} and highest is {highest}; expected 0 < lowest < highest")
    n_steps = max(1, round(np.log10(highest / lowest) * per_decade))
    return np.array([float(f"{each:.4g}") for each in np.geomspace(lowest, highest, n_steps + 1)])


def sampled(n_columns: int, n_wanted: int, seed: int) -> Int[np.ndarray, " sampled"]:
    """Which columns of a feature are looked at, in order: all, or as many as wanted, drawn at random."""
    if n_columns <= n_wanted:
        return np.arange(n_columns)
    return np.sort(np.random.default_rng(seed).choice(n_columns, n_wanted, replace=False))


def left_out_scores(
    spectrum: kernel_spectrum.Spectrum,
    targets: Float[np.ndarray, "train columns"],
    alphas: Float[np.ndarray, " alphas"],
) -> tuple[Float[np.ndarray, "alphas columns"], Float[np.ndarray, "alphas columns"]]:
    """Correlation of leave-one-out predictions with targets, and R^2, of each penalty and column; NaN of constants.

    Parameters
    ----------
    spectrum
        Of the kernel of the train stimuli.
    targets : (train, columns)
        Any offset.
    alphas : (alphas,)
        Penalties, above 0.

    Memory: a few arrays of the shape of the targets.
    """
    e, values, n = spectrum.train, spectrum.values, len(targets)
    y, std = targets.astype(e.dtype), np.zeros(targets.shape[1])
    _, std = ridge_stream.centre_in_place(y)
    coordinates = e.T @ y
    beyond = y - e @ coordinates  # what no betas can say; nothing where there are fewer stimuli than voxels
    squares = e**2
    free = np.maximum(1 - 1 / n - squares.sum(1), 0)
    if len(values) == n - 1:
        beyond[:], free[:] = 0, 0
    found = np.full((2, len(alphas), targets.shape[1]), np.nan)
    varies = std > 0
    for place, alpha in enumerate(alphas):
        kept = alpha / (values + alpha)
        error = (e @ (kept[:, None] * coordinates) + beyond) / (squares @ kept + free)[:, None]
        predicted = y - error + y / (n - 1)  # less the mean of the others, -y / (n - 1)
        predicted -= predicted.mean(0)
        lengths = np.sqrt((predicted**2).sum(0)) * std * np.sqrt(n)
        correlation, of_variance = (predicted * y).sum(0), (error**2).sum(0)
        np.divide(correlation, lengths, out=found[0, place], where=varies & (lengths > 0))
        np.divide(of_variance, n * std**2, out=found[1, place], where=varies)
    return found[0], 1 - found[1]


def curve(
    spectrum: kernel_spectrum.Spectrum,
    features_train: str | Path,
    alphas: Float[np.ndarray, " alphas"],
    *,
    columns: int,
    seed: int,
) -> Curve:
    """Score every penalty on columns of a feature.

    Parameters
    ----------
    spectrum
        Of the kernel of the train stimuli.
    features_train
        HDF5 of the feature of the same stimuli.
    alphas : (alphas,)
        Penalties, above 0.
    columns : int
        How many columns are looked at; all if there are fewer.
    seed : int
        Of the draw of columns.

    Raises
    ------
    ValueError
        Other stimuli, or a target that is not finite.

    Memory: the sampled columns, and 8,192 columns of the file at a time.
    """
    with hdf5.reading(features_train, by_columns=True) as (values, nsd_id):
        hdf5.check_aligned("the ridge kernel", spectrum.train_id, features_train, nsd_id)
        chosen, parts = sampled(values.shape[1], columns, seed), []
        for start in range(0, values.shape[1], MOST_READ):
            inside = chosen[(chosen >= start) & (chosen < start + MOST_READ)]
            if len(inside):
                part = values[:, start : start + MOST_READ][:, inside - start]
                hdf5.check_finite(features_train, part, nsd_id)
                parts.append(part)
    targets = np.concatenate(parts, axis=1)
    blocks = [
        left_out_scores(spectrum, targets[:, start : start + BLOCK_COLUMNS].astype(np.float64), alphas)
        for start in range(0, targets.shape[1], BLOCK_COLUMNS)
    ]
    scores = np.concatenate(blocks, axis=2)
    scores = scores[:, :, ~np.isnan(scores).any((0, 1))]
    if not scores.shape[2]:
        logger.info("%s does not vary, so that all penalties predict the same", features_train)
        return Curve(alphas, *np.full((2, len(alphas)), np.nan))
    return Curve(alphas, *scores.mean(2))


def write(found: Curve, table: str | Path, plot: str | Path, feature: str) -> None:
    """Write the curve as CSV, whose column `chosen` marks the best penalty, and as SVG; warn where it is at an edge."""
    rows = (
        (
            f"{alpha:g}",
            tables.formatted(correlation, ".6f"),
            tables.formatted(r2, ".6f"),
            alpha_table.MARK if place == found.best else "",
        )
        for place, (alpha, correlation, r2) in enumerate(zip(*found, strict=True))
    )
    tables.write_csv(table, alpha_table.COLUMNS, rows)
    with hdf5.atomic(plot) as partial:
        partial.write_text(plot_svg(found, feature), encoding="utf-8")
    if found.is_at_edge:
        key, end = ("lowest", "lower") if found.best == 0 else ("highest", "higher")
        logger.warning(
            "ridge.alpha of %s: the best of the grid is its %s, %g, so a better one may lie beyond; set "
            "ridge.auto.%s %s, or look at %s",
            *(feature, key, found.alpha[found.best], key, end, table),
        )
    else:
        logger.info("ridge.alpha of %s: %g", feature, found.alpha[found.best])


def plot_svg(found: Curve, feature: str) -> str:
    """The curve as SVG: leave-one-out correlation and R^2 by penalty, the chosen one marked."""
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes: Sequence = figure.subplots(1, 2)
    chosen = found.alpha[found.best]
    for one, scores, label in zip(axes, (found.correlation, found.r2), ("correlation (decides)", "$R^2$"), strict=True):
        one.semilogx(found.alpha, scores, marker="o", markersize=4, color="0.15", linewidth=1)
        one.axvline(chosen, color="0.5", linestyle=":")
        one.set(xlabel="ridge penalty", ylabel=label)
    edge = ", at the edge of the grid: a better one may lie beyond" if found.is_at_edge else ""
    figure.suptitle(f"{feature}, leave-one-out: chosen penalty {chosen:g}{edge}", fontsize="medium")
    return figures.svg(figure)
