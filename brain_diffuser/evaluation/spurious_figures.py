"""Figures of the tables of `spurious`, as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures
from brain_diffuser.evaluation import output_dimensions
from brain_diffuser.evaluation.overlap import NEAR_DUPLICATE, Overlap
from brain_diffuser.evaluation.spurious import Findings

SETS = {
    "recon": ("reconstruction", "0.1", "o-"),
    "stage1": ("stage-1 reconstruction", "0.55", "s--"),
    "nearest_training": ("best training image", "tab:orange", "^-."),
}
"""{set of images: (label, colour, line)}."""
OF_FEATURES = {
    output_dimensions.TRUE: ("true features of test stimuli", "0.1", "-"),
    output_dimensions.DECODED: ("decoded features", "tab:blue", "-"),
    output_dimensions.RANDOM: ("decoded from random betas", "tab:orange", "--"),
    output_dimensions.TRAINING: ("training targets", "0.6", ":"),
}
"""{what: (label, colour, line)}."""
N_COLUMNS = 3


def plot_distances(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]]) -> str:
    """Scores of images by distance to the nearest training stimulus, a panel for each metric, with 95 % intervals.

    Parameters
    ----------
    rows
        Those of `spurious.by_distance`.
    labels : {metric: (label, kind)}
        What tables call metrics.
    """
    shown = [row for row in rows if row["scores_of"] in SETS]
    names = list(dict.fromkeys(row["metric"] for row in shown))
    n_rows = -(-len(names) // N_COLUMNS)
    figure = Figure(figsize=(9.5, 0.6 + 2.5 * n_rows), layout="constrained")
    for place, metric in enumerate(names):
        axes = figure.add_subplot(n_rows, N_COLUMNS, place + 1)
        label, kind = labels.get(metric, (metric, ""))
        factor = 100 if kind == "two_way" else 1
        for shift, (name, (text, colour, line)) in enumerate(SETS.items()):
            of = [row for row in shown if (row["metric"], row["scores_of"]) == (metric, name)]
            middle, low, high = (factor * np.array([row[key] for row in of]) for key in ("mean", "low", "high"))
            width = (of[-1]["to_distance"] - of[0]["from_distance"]) / 60 if of else 0
            places = [(row["from_distance"] + row["to_distance"]) / 2 + (shift - 1) * width for row in of]
            axes.errorbar(
                places, middle, [middle - low, high - middle], fmt=line, color=colour, label=text,
                markersize=4, linewidth=1,
            )  # fmt: skip
        if factor == 100:
            axes.axhline(50, color="0.5", linestyle=":", linewidth=1)
        better = " (lower is better)" if kind == "distance" else ", %" if factor == 100 else ""
        axes.set_title(f"{label}{better}", fontsize="medium")
        if place >= len(names) - N_COLUMNS:
            axes.set_xlabel("distance to the nearest\ntraining stimulus")
    if figure.axes:  # there is none where no image was measured
        figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3)
    return figures.svg(figure)


def plot_dimensions(dimensions: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """The share of variance inside the first principal components of the training targets, a panel for each feature."""
    figure = Figure(figsize=(3.4 * len(dimensions), 3.7), layout="constrained")
    for place, (feature, rows) in enumerate(dimensions.items()):
        axes = figure.add_subplot(1, len(dimensions), place + 1)
        ratios = {row["of"]: row["value"] for row in rows if row["measure"] == "participation_ratio"}
        for what, (text, colour, line) in OF_FEATURES.items():
            of = [row for row in rows if (row["of"], row["measure"]) == (what, "share_inside") and row["value"]]
            if of:
                k, share = ([float(row[key]) for row in of] for key in ("components", "value"))
                axes.plot(k, 100 * np.array(share), line, color=colour, label=text)
        both = [ratios.get(what) or "" for what in (output_dimensions.DECODED, output_dimensions.TRUE)]
        if all(both):
            text = f"participation ratio:\ndecoded {float(both[0]):.1f}, true {float(both[1]):.1f}"
            axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", va="bottom", fontsize="small")
        axes.set(xscale="log", ylim=(0, 102), title=feature, xlabel="principal components of the training targets")
        axes.xaxis.label.set_fontsize("small")
        if not place:
            axes.set_ylabel("variance inside them, %")
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), frameon=False, loc="outside upper center", ncols=2)
    return figures.svg(figure)


def plot_overlap(of: Overlap) -> str:
    """How far test stimuli are from their nearest training stimulus, and how alike their pixels are to one."""
    figure = Figure(figsize=(8.4, 3), layout="constrained")
    has, labels = of.near_duplicates > 0, ["other test stimuli", "with near-duplicates"]
    drawn = (
        (of.distance, "distance to the nearest training stimulus\n(1 - correlation of CLIP-vision)", None),
        (of.pixel_correlation, "highest correlation of pixels\nwith a training stimulus", NEAR_DUPLICATE),
    )
    for place, (values, label, mark) in enumerate(drawn):
        axes = figure.add_subplot(1, 2, place + 1)
        is_measured = ~np.isnan(values)
        edges = np.histogram_bin_edges(values[is_measured], 30).tolist()
        parts = [values[is_measured & each] for each in (~has, has)]
        axes.hist(parts, edges, stacked=True, color=["0.6", "tab:red"], label=labels)
        if mark is not None:
            axes.axvline(mark, color="tab:red", linestyle=":", linewidth=1)
        axes.set(xlabel=label, ylabel="" if place else "test stimuli")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2)
    return figures.svg(figure)


def plot_against_training(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]]) -> str:
    """How much better reconstructions are than the best training images, in units of the largest end of each interval.

    A line for each metric; above 0 reconstructions are better. The scores themselves stand beside it.
    """
    figure = Figure(figsize=(7.6, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = -np.arange(len(rows))
    scale = np.array([max(abs(row["low"]), abs(row["high"])) or 1.0 for row in rows])
    middle, low, high = (np.array([row[key] for row in rows]) / scale for key in ("difference", "low", "high"))
    for place, *ends, row in zip(places, middle, low, high, rows, strict=True):
        is_better, is_worse = row["low"] > 0, row["high"] < 0
        colour = "0.1" if is_better else "tab:orange" if is_worse else "0.6"
        axes.plot(ends[1:], [place] * 2, color=colour, linewidth=2)
        axes.plot(ends[0], place, "o", color=colour)
    texts = [
        f"{labels.get(row['metric'], [row['metric']])[0]}: {row['recon']:.3f} | {row['nearest_training']:.3f}"
        for row in rows
    ]
    axes.axvline(0, color="0.5", linestyle=":", linewidth=1)
    axes.set_yticks(places, texts)
    axes.set(xlim=(-1.1, 1.1), xticks=[-0.55, 0.55])
    axes.set_title("mean score: reconstruction | best training image", fontsize="small", loc="left")
    axes.set_xticklabels(["best training image better", "reconstruction better"])
    axes.tick_params(axis="x", length=0)
    return figures.svg(figure)


def write(
    folder: Path,
    overlap: Overlap,
    dimensions: Mapping[str, Sequence[Mapping[str, str]]],
    found: Findings,
    labels: Mapping[str, Sequence[str]],
) -> None:
    """Write against_training.svg, by_distance.svg, output_dimensions.svg and overlap.svg.

    Parameters
    ----------
    folder
        It is there.
    overlap
        Of test and training stimuli.
    dimensions : {feature: rows}
        Those of `output_dimensions`.
    found
        What `spurious` found.
    labels : {metric: (label, kind)}
        What tables call metrics.
    """
    drawings = {
        "against_training": plot_against_training(found.against_training, labels),
        "by_distance": plot_distances(found.by_distance, labels),
        "output_dimensions": plot_dimensions(dimensions),
        "overlap": plot_overlap(overlap),
    }
    for name, drawing in drawings.items():
        (folder / f"{name}.svg").write_text(drawing, encoding="utf-8")
