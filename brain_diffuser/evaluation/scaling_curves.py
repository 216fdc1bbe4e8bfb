"""Tables and curves of scores by amount of training data, with fits to the logarithm of the amount."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, tables
from brain_diffuser.evaluation import linear_maps, statistics
from brain_diffuser.evaluation.scaling import Scored

AXES = {
    "stimuli": "training stimuli",
    "repeats": "repeats of a training stimulus (mean)",
    "sessions": "training trials, from the first on",
    "voxels": "voxels",
}
COLUMNS = (
    *("axis", "amount", "draw", "stimuli", "repeats", "voxels", "feature", "alpha", "measure"),
    *("n", "mean", "low", "high"),
)
SLOPES = ("axis", "feature", "measure", "per_doubling", "low", "high", "r2", "amounts")
TITLES = {"correlation": "correlation", "two_way": "two-way identification"}


def summarise(
    scored: Sequence[Scored], n_resamples: int, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of scores.csv, and of slopes.csv: the gain for twice as much data, by a fit of scores to log2(amount).

    The interval of a slope is that of the mean over test stimuli of each one's own slope (bootstrap); several draws of
    an amount are averaged before.

    Parameters
    ----------
    scored
        All conditions.
    n_resamples, seed
        Of the bootstrap over test stimuli.
    """
    rows = []
    for condition, alphas, found in scored:
        for feature, measures in found.items():
            for measure, values in measures.items():
                mean, (low, high), n = statistics.mean_and_ci(values, n_resamples, seed)
                row = (
                    *(condition.axis, round(condition.amount, 3), condition.draw, condition.stimuli),
                    *(round(condition.repeats, 3), condition.voxels, feature, alphas[feature], measure, n),
                    *(round(value, 5) for value in (mean, low, high)),
                )
                rows.append(dict(zip(COLUMNS, row, strict=True)))
    slopes = []
    for axis, feature, measure in itertools.product(axes_of(scored), scored[0].scores, linear_maps.MEASURES):
        amounts, values = curve(scored, axis, feature, measure)
        if len(amounts) > 1:
            numbers = [round(number, 5) for number in fit(amounts, values, n_resamples, seed)]
            slopes.append(dict(zip(SLOPES, (axis, feature, measure, *numbers, len(amounts)), strict=True)))
    return rows, slopes


def axes_of(scored: Sequence[Scored]) -> list[str]:
    """The axes that conditions lie on, in order."""
    return [axis for axis in AXES if any(each.condition.axis == axis for each in scored)]


def curve(
    scored: Sequence[Scored], axis: str, feature: str, measure: str
) -> tuple[Float[np.ndarray, " amounts"], Float[np.ndarray, "amounts test"]]:
    """The amounts of an axis in order, that of all data the last, and the scores of each, the mean over draws."""
    by_amount: dict[float, list[np.ndarray]] = {}
    for condition, _, found in scored:
        if condition.axis == axis:
            by_amount.setdefault(condition.amount, []).append(found[feature][measure])
    whole, _, found = next(each for each in scored if each.condition.axis == "all")
    n_trials = whole.stimuli * whole.repeats
    amount = {"stimuli": whole.stimuli, "repeats": whole.repeats, "sessions": n_trials, "voxels": whole.voxels}[axis]
    by_amount.setdefault(amount, []).append(found[feature][measure])
    amounts = sorted(by_amount)
    values = [np.mean(by_amount[amount], axis=0) for amount in amounts]
    return np.array(amounts, float), np.array(values)


def fit(
    amounts: Float[np.ndarray, " amounts"], values: Float[np.ndarray, "amounts test"], n_resamples: int, seed: int
) -> tuple[float, float, float, float]:
    """The slope of mean scores by log2(amount), its 95 % interval, and the share of their variance that it explains."""
    x = np.log2(amounts)
    x = x - x.mean()
    own = x @ values / (x @ x)  # the slope of a mean is the mean of slopes
    slope, (low, high), _ = statistics.mean_and_ci(own, n_resamples, seed)
    mean = np.array([_mean(each) for each in values])
    less = mean - mean.mean()
    r2 = float((x @ less) ** 2 / ((x @ x) * (less @ less))) if less @ less > 0 else np.nan
    return slope, low, high, r2


def _mean(scores: np.ndarray) -> float:
    """The mean of what was measured; NaN if nothing was."""
    values = statistics.measured(scores)
    return float(values.mean()) if len(values) else np.nan


def write(
    folder: Path,
    scored: Sequence[Scored],
    n_resamples: int,
    seed: int,
    title: str,
) -> None:
    """Write scores.csv, slopes.csv, scores.md and curves.svg.

    Parameters
    ----------
    folder
        It is there.
    scored
        All conditions.
    n_resamples, seed
        Of the bootstrap over test stimuli.
    title
        Of the tables.
    """
    rows, slopes = summarise(scored, n_resamples, seed)
    tables.write_csv(folder / "scores.csv", COLUMNS, (row.values() for row in rows))
    tables.write_csv(folder / "slopes.csv", SLOPES, (row.values() for row in slopes))
    (folder / "scores.md").write_text(markdown(scored, slopes, title), encoding="utf-8")
    (folder / "curves.svg").write_text(plot_svg(scored, n_resamples, seed), encoding="utf-8")


def markdown(scored: Sequence[Scored], slopes: Sequence[Mapping[str, Any]], title: str) -> str:
    """A table of mean scores for each axis, and of slopes."""
    features = list(scored[0].scores)
    lines = [
        f"**{title}**: scores of decoded features of the test stimuli by amount of training data, mean over test "
        "stimuli (and over draws), each with a penalty of its own; *per doubling*: the slope of a fit to log2(amount) "
        "with its 95 % interval over test stimuli.",
        "",
    ]
    for axis in axes_of(scored):
        heads = [f"{feature}: {name}" for feature in features for name in TITLES.values()]
        lines += [f"| {AXES[axis]} | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
        curves = [curve(scored, axis, feature, measure) for feature in features for measure in TITLES]
        for place, amount in enumerate(curves[0][0]):
            cells = [tables.formatted(_mean(values[place]), ".3f") for _, values in curves]
            lines.append(f"| {amount:,.4g} | ".replace(",", " ") + " | ".join(cells) + " |")
        own = {(row["feature"], row["measure"]): row for row in slopes if row["axis"] == axis}
        cells = [_slope(own.get((feature, measure))) for feature in features for measure in TITLES]
        lines += [f"| per doubling | {' | '.join(cells)} |", ""]
    return "\n".join(lines)


def _slope(row: Mapping[str, Any] | None) -> str:
    if not row or np.isnan(row["per_doubling"]):
        return ""
    return f"{row['per_doubling']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def plot_svg(scored: Sequence[Scored], n_resamples: int, seed: int) -> str:
    """Curves as SVG: a row for each measure, a column for each axis, a line for each feature, with fits dotted."""
    axes = axes_of(scored)
    figure = Figure(figsize=(1 + 2.7 * max(2, len(axes)), 5.4), layout="constrained")
    panels = figure.subplots(len(TITLES), max(1, len(axes)), squeeze=False)
    for line, (measure, title) in enumerate(TITLES.items()):
        for column, axis in enumerate(axes):
            panel = panels[line][column]
            for number, feature in enumerate(scored[0].scores):
                amounts, values = curve(scored, axis, feature, measure)
                colour = f"C{number}"
                means = [statistics.mean_and_ci(each, n_resamples, seed) for each in values]
                middle = np.array([mean for mean, _, _ in means])
                low, high = np.array([interval for _, interval, _ in means]).T
                panel.errorbar(
                    amounts, middle, [middle - low, high - middle], fmt="o", markersize=4, color=colour, label=feature
                )
                if len(amounts) > 1:
                    slope, *_ = fit(amounts, values, 1, seed)
                    x = np.log2(amounts)
                    panel.plot(amounts, middle.mean() + slope * (x - x.mean()), color=colour, linestyle=":")
            panel.set_xscale("log", base=2)
            panel.minorticks_off()
            ticks = curve(scored, axis, next(iter(scored[0].scores)), measure)[0]
            panel.set_xticks(ticks, [f"{tick:.4g}" for tick in ticks], rotation=30)
            if line == len(TITLES) - 1:
                panel.set_xlabel(AXES[axis])
            if not column:
                panel.set_ylabel(title)
    figure.legend(*panels[0][0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)
    return figures.svg(figure)
