"""How many dimensions of a brain carry the scores of decoded features: the curve over ranks, and its two ends."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, tables
from brain_diffuser.decoding import bottleneck, kernel_spectrum
from brain_diffuser.evaluation import linear_maps, statistics

CURVES = {"bottleneck": "bottleneck, shared by all features", "voxel_pca": "principal components of betas"}
LEVELS = {"ridge": "ridge without a bottleneck", "random": "ridge on noise betas", "ceiling": "true features"}
COLUMNS = ("feature", "curve", "rank", "measure", "n", "mean", "low", "high", "normalised")
DIMENSIONS = ("of", "feature", "stimuli", "participation_ratio")
MOST_OF = 0.95  # of the normalised score of the ridge, which the summary names the rank of
TITLES = {"correlation": "correlation", "two_way": "two-way identification"}


def maps_of(basis: bottleneck.Basis) -> dict[str, linear_maps.Map]:
    """The maps of a basis by the curve or level that they give."""
    return {
        "bottleneck": linear_maps.Map(basis.bottleneck_right, basis.bottleneck_left),
        "voxel_pca": linear_maps.Map(basis.pca_right, basis.pca_left),
        "ridge": linear_maps.Map(basis.ridge),
        "random": linear_maps.Map(basis.noise),
    }


def score(
    basis: bottleneck.Basis,
    features: Mapping[str, tuple[str | Path, str | Path]],
    ranks: Sequence[int],
    n_resamples: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of scores.csv and of dimensions.csv.

    Parameters
    ----------
    basis
        The maps of all ranks.
    features : {name: (HDF5 of train stimuli, HDF5 of test stimuli)}
    ranks
        Those of the curves; ranks that the betas do not have are left out.
    n_resamples, seed
        Of the bootstrap over test stimuli.

    Memory: see `linear_maps.sums`.
    """
    maps, n_train, n_test = maps_of(basis), len(basis.train_id), len(basis.test_id)
    rows: list[dict[str, Any]] = []
    dimensions = [
        (f"betas of {name} stimuli", "", n, float(ratio))
        for name, n, ratio in zip(("train", "test"), (n_train, n_test), basis.participation, strict=True)
    ]
    for feature, paths in features.items():
        sums = linear_maps.sums(maps, *paths, basis.train_id, basis.test_id)
        found = dict(_of_feature(sums, maps, ranks))
        rows += _rows(feature, found, n_resamples, seed)
        for of, products in (("predictions", sums["ridge"].products), ("true", sums["ridge"].products_of_true)):
            dimensions.append((f"{of}, test stimuli", feature, n_test, _participation(products)))
    named: list[dict[str, Any]] = []
    for *first, ratio in dimensions:
        named.append(dict(zip(DIMENSIONS, (*first, round(ratio, 2)), strict=True)))
    return rows, named


def _of_feature(
    sums: Mapping[str, linear_maps.Sums], maps: Mapping[str, linear_maps.Map], ranks: Sequence[int]
) -> Iterator[tuple[tuple[str, int | None], dict[str, Float[np.ndarray, " test"]]]]:
    """((curve, rank), {measure: scores of the test stimuli}) of curves and levels."""
    for curve in CURVES:
        for rank in ranks:
            if rank <= len(maps[curve].right):
                yield (curve, rank), linear_maps.scores(sums[curve], maps[curve].left, rank)
    for level in ("ridge", "random"):
        yield (level, None), linear_maps.scores(sums[level])
    yield ("ceiling", None), linear_maps.scores(linear_maps.of_true(sums["ridge"]))


def _rows(
    feature: str, found: Mapping[tuple[str, int | None], Mapping[str, np.ndarray]], n_resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    for measure in linear_maps.MEASURES:
        floor, ceiling = (
            statistics.mean_and_ci(found[level, None][measure], 1, seed)[0] for level in ("random", "ceiling")
        )
        for (curve, rank), scores in found.items():
            mean, (low, high), n = statistics.mean_and_ci(scores[measure], n_resamples, seed)
            share = (mean - floor) / (ceiling - floor) if ceiling > floor else np.nan
            numbers = (round(each, 5) for each in (mean, low, high, share))
            row = (feature, curve, rank or "", measure, n, *numbers)
            yield dict(zip(COLUMNS, row, strict=True))


def _participation(products: Float[np.ndarray, "test test"]) -> float:
    """Participation ratio of rows whose products these are, less their mean; NaN if they do not vary."""
    less = kernel_spectrum.centred_products(products)
    return kernel_spectrum.participation_ratio(less) if np.trace(less) > 0 else np.nan


def write(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    dimensions: Sequence[Mapping[str, Any]],
    title: str,
    alpha: float,
) -> None:
    """Write scores.csv, dimensions.csv, scores.md and curve.svg.

    Parameters
    ----------
    folder
        It is there.
    rows, dimensions
        Those of `score`.
    title
        Of the tables.
    alpha
        The penalty, which they name.
    """
    tables.write_csv(folder / "scores.csv", COLUMNS, (row.values() for row in rows))
    tables.write_csv(folder / "dimensions.csv", DIMENSIONS, (row.values() for row in dimensions))
    (folder / "scores.md").write_text(markdown(rows, dimensions, title, alpha), encoding="utf-8")
    (folder / "curve.svg").write_text(plot_svg(rows), encoding="utf-8")


def markdown(
    rows: Sequence[Mapping[str, Any]], dimensions: Sequence[Mapping[str, Any]], title: str, alpha: float
) -> str:
    """A table for each feature: scores by rank, and the rank that most of the ridge's score needs."""
    lines = [
        f"**{title}**: decoded features of the test stimuli through a bottleneck of k dimensions of the betas (ridge "
        f"penalty {alpha:g}); mean and 95 % interval over stimuli. In brackets 100 (score - noise betas) / (true "
        "features - noise betas). All features share the bottleneck; components are those of the train betas.",
        "",
    ]
    for feature in dict.fromkeys(row["feature"] for row in rows):
        own = {(row["curve"], row["rank"], row["measure"]): row for row in rows if row["feature"] == feature}
        ranks = list(dict.fromkeys(rank for _, rank, _ in own if rank != ""))
        heads = (f"{measure}: {curve}" for measure in TITLES.values() for curve in ("bottleneck", "components"))
        lines += [f"| {feature}, k | {' | '.join(heads)} |", "| --- |" + " --- |" * 4]
        for rank in ranks:
            cells = [_cell(own.get((curve, rank, measure))) for measure in TITLES for curve in CURVES]
            lines.append(f"| {rank} | " + " | ".join(cells) + " |")
        for level, label in LEVELS.items():
            cells = [_cell(own[level, "", measure]) for measure in TITLES for _ in CURVES]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines += ["", *_summary(own, ranks, feature), ""]
    lines += ["| participation ratio | feature | stimuli | dimensions |", "| --- | --- | --- | --- |"]
    known = (row for row in dimensions if not np.isnan(row["participation_ratio"]))
    lines += [f"| {' | '.join(str(value) for value in row.values())} |" for row in known]
    return "\n".join([*lines, ""])


def _summary(own: Mapping[tuple[str, Any, str], Mapping[str, Any]], ranks: Sequence[int], feature: str) -> list[str]:
    """The ranks from which on curves have most of what the ridge gains over noise."""
    said = []
    for measure, name in TITLES.items():
        wanted = MOST_OF * own["ridge", "", measure]["normalised"]
        for curve, label in (("bottleneck", "the bottleneck"), ("voxel_pca", "principal components")):
            reached = {rank: own[curve, rank, measure]["normalised"] for rank in ranks if (curve, rank, measure) in own}
            enough = [rank for rank, share in reached.items() if share >= wanted]
            if np.isfinite(wanted) and wanted > 0:
                rank = f"{enough[0]} dimensions of {label}" if enough else f"no listed rank of {label}"
                said.append(f"{rank} ({name})")
    if not said:
        return []
    share = f"{100 * MOST_OF:.0f} % of what the ridge gains over noise betas"
    return [f"{feature}: {share} is reached by {', '.join(said)}."]


def _cell(row: Mapping[str, Any] | None) -> str:
    if not row or np.isnan(row["mean"]):
        return ""
    share = "" if np.isnan(row["normalised"]) else f" ({100 * row['normalised']:.0f})"
    scale, form = (100, ".1f") if row["measure"] == "two_way" else (1, ".3f")
    mean, low, high = (format(scale * row[key], form) for key in ("mean", "low", "high"))
    return f"{mean}{' %' if scale == 100 else ''} [{low}, {high}]{share}"


def plot_svg(rows: Sequence[Mapping[str, Any]]) -> str:
    """Normalised scores by rank as SVG: a row for each feature, a column for each measure."""
    features = list(dict.fromkeys(row["feature"] for row in rows))
    figure = Figure(figsize=(9, 0.7 + 2.4 * len(features)), layout="constrained")
    panels = figure.subplots(len(features), len(TITLES), squeeze=False)
    for line, feature in enumerate(features):
        for column, (measure, title) in enumerate(TITLES.items()):
            axes = panels[line][column]
            own = [row for row in rows if (row["feature"], row["measure"]) == (feature, measure)]
            scale = {row["curve"]: row["mean"] for row in own if row["curve"] in LEVELS}
            span = scale["ceiling"] - scale["random"] if scale["ceiling"] > scale["random"] else np.nan
            for curve, style in (("bottleneck", ("0.1", "o")), ("voxel_pca", ("#c0504d", "s"))):
                points = [row for row in own if row["curve"] == curve]
                low, high = ([(row[key] - scale["random"]) / span for row in points] for key in ("low", "high"))
                ranks = [row["rank"] for row in points]
                colour, marker = style
                axes.plot(
                    ranks, [row["normalised"] for row in points], label=CURVES[curve],
                    color=colour, marker=marker, markersize=4, linewidth=1,
                )  # fmt: skip
                axes.fill_between(ranks, low, high, color=colour, alpha=0.15, linewidth=0)
            ridge = next(row["normalised"] for row in own if row["curve"] == "ridge")
            axes.axhline(ridge, color="0.1", linestyle="--", linewidth=1, label=LEVELS["ridge"])
            axes.axhline(1, color="0.5", linestyle=":", linewidth=1, label="1: true features; 0: ridge on noise betas")
            axes.axhline(0, color="0.5", linestyle=":", linewidth=1)
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(ranks, list(map(str, ranks)))
            axes.set(title=f"{feature}: {title}", ylim=(min(-0.08, *low), 1.08))
            if not column:
                axes.set_ylabel("normalised score")
            if line == len(features) - 1:
                axes.set_xlabel("dimensions of the brain (k)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=2)
    return figures.svg(figure)
