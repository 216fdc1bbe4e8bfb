"""Learning curves of learned decoders: which epoch was best, a table, a plot."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5, tables

COLUMNS = ("epoch", "rate", "loss", "regression", "contrast", "held_out_regression", "held_out_correlation")


def best_epoch(curve: Sequence[Mapping[str, float]]) -> int:
    """Number, from 0, of the epoch with the highest held-out correlation, the first if several; -1 without epochs.

    An epoch without a correlation (NaN: no held-out feature varies) is lower than any other.
    """
    correlations = [-2.0 if math.isnan(row["held_out_correlation"]) else row["held_out_correlation"] for row in curve]
    return correlations.index(max(correlations)) if correlations else -1


def write(curve: Sequence[Mapping[str, float]], table: str | Path, plot: str | Path) -> None:
    """Write the losses of all epochs as CSV and as SVG."""
    tables.write_csv(table, COLUMNS, ([tables.formatted(row[name], ".6g") for name in COLUMNS] for row in curve))
    with hdf5.atomic(plot) as partial:
        partial.write_text(plot_svg(curve), encoding="utf-8")


def plot_svg(curve: Sequence[Mapping[str, float]]) -> str:
    """The learning curve as SVG: regression losses of training and held-out stimuli, and the held-out correlation."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs, best = [row["epoch"] for row in curve], best_epoch(curve)
    highest = tables.formatted(curve[best]["held_out_correlation"], ".3f") or "not measured"
    for axes, name, label in (
        (left, "regression", "learned from, with dropout"),
        (left, "held_out_regression", "held out"),
        (right, "held_out_correlation", f"held out, best {highest}"),
    ):
        axes.plot(epochs, [row[name] for row in curve], label=label)
    for axes, label in ((left, "regression loss"), (right, "correlation of predicted and true feature")):
        axes.axvline(best + 1, color="k", linestyle=":")
        axes.set(xlabel="epoch (dotted: the best)", ylabel=label)
        axes.legend(frameon=False)
    return figures.svg(figure)
