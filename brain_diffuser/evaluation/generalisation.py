"""How well decoded features identify their stimuli under several splits, and by distance to the training stimuli.

A split is scored by the features that ridge decodes of its test stimuli, and all splits of a subject with the same
candidates: all stimuli of the subject. So the scores of two splits differ by what the decoder was trained on, not by
how alike the test stimuli are. The control is a decoder that only classifies: in place of a decoded feature stands the
mean of the cluster of training stimuli that it resembles most. It cannot tell the stimuli of a cluster apart, and of
those of a cluster that is held out it can only say which other cluster they resemble.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, hdf5, tables
from brain_diffuser.data import splits, stimulus_table
from brain_diffuser.evaluation import statistics

BLOCK_COLUMNS = 4096
N_BINS = 5
LEAST_IN_BIN = 5  # stimuli, for a point in the plot
DECODERS = ("ridge", "classifier")
"""What is scored: decoded features, and in their place the mean of the training cluster that they resemble most."""
CHANCE = 0.5
ROUNDING = 1e-7
"""A row whose length without its mean is a smaller share of its length does not vary."""

CANDIDATES = ("all stimuli", "own cluster")
"""Among which stimuli of the subject a decoded feature has to find its own."""

COLUMNS = ("split", "of", "feature", "decoder", "candidates", "n", "mean", "low", "high", "chance", "first")
PER_STIMULUS = ("split", "nsd_id", "cluster", "nearest", "distance", "source")
Shares = Mapping[tuple[str, str, str], Float[np.ndarray, " test"]]
"""The share of other candidates that a decoder beats, by (feature, decoder, candidates)."""


class Split(NamedTuple):
    """A split of a subject, as its artifacts say it.

    Parameters
    ----------
    name
        What tables call it.
    stimuli
        Its table of stimuli.
    predicted : {feature: HDF5}
        Decoded features of its test stimuli.
    """

    name: str
    stimuli: Path
    predicted: Mapping[str, str | Path]


class Scored(NamedTuple):
    """The test stimuli of a split: their clusters, distances to the nearest training stimulus, and scores."""

    name: str
    nsd_id: Int32[np.ndarray, " test"]
    cluster: Int[np.ndarray, " test"]
    nearest: Int32[np.ndarray, " test"]
    distance: Float[np.ndarray, " test"]
    two_way: Shares


def score(
    of: Split,
    true: Mapping[str, Sequence[str | Path]],
    pooled: Float[np.ndarray, "stimuli columns"],
    cluster: Int[np.ndarray, " stimuli"],
) -> Scored:
    """Score the test stimuli of a split.

    Parameters
    ----------
    of
        The split.
    true : {feature: HDF5s}
        True features of all stimuli, the same stimuli in the same order for every feature.
    pooled : (stimuli, columns)
        A feature of these stimuli, averaged over tokens: the space of the distances.
    cluster : (stimuli,)
        The number of the cluster that each of them belongs to.

    Raises ValueError: a stimulus of the split has no features.

    Memory: float64 (test stimuli, all stimuli), twice.
    """
    table = stimulus_table.read(of.stimuli)
    all_id, two_way = ids_of(next(iter(true.values()))), {}
    own, training = (places(table[each].nsd_id, all_id, of.stimuli) for each in ("test", "train"))
    members = np.zeros((cluster.max() + 1, len(all_id)))
    members[cluster[training], training] = 1
    members = members[members.any(1)] / members[members.any(1)].sum(1, keepdims=True)
    for feature, paths in true.items():
        correlation, of_means = correlations(of.predicted[feature], paths, table["test"].nsd_id, members)
        likest = np.nan_to_num(correlation @ members.T).argmax(1)
        for decoder, found in zip(DECODERS, (correlation, of_means[likest]), strict=True):
            for candidates, group in zip(CANDIDATES, (np.zeros_like(cluster), cluster), strict=True):
                two_way[feature, decoder, candidates] = identified(found, own, group)
    rows, distance = splits.nearest(pooled[own], pooled[training])
    return Scored(of.name, table["test"].nsd_id, cluster[own], all_id[training[rows]], distance, two_way)


def ids_of(paths: Sequence[str | Path]) -> Int32[np.ndarray, " stimuli"]:
    """The ids of the rows of several arrays, one array after the other."""
    found = []
    for path in paths:
        with hdf5.reading(path) as (_, nsd_id):
            found.append(nsd_id)
    return np.concatenate(found)


def places(nsd_id: np.ndarray, all_id: np.ndarray, path: str | Path) -> np.ndarray:
    """The rows of some stimuli. Raises ValueError: there is none of a stimulus."""
    rows = {number: row for row, number in enumerate(all_id.tolist())}
    lacking = [number for number in nsd_id.tolist() if number not in rows]
    if lacking:
        raise ValueError(f"{path} lacks nsd_id {lacking[0]} ({len(lacking)} of {len(nsd_id)}). {hdf5.rerun(path)}")
    return np.array([rows[number] for number in nsd_id.tolist()], np.int64)


def correlations(
    predicted: str | Path,
    true: Sequence[str | Path],
    nsd_id: Int32[np.ndarray, " test"],
    members: Float[np.ndarray, "clusters stimuli"],
) -> tuple[Float[np.ndarray, "test stimuli"], Float[np.ndarray, "clusters stimuli"]]:
    """Pearson correlation, over features, of decoded features and of means of stimuli with those of all stimuli.

    NaN where one does not vary. Columns are streamed.

    Parameters
    ----------
    predicted
        HDF5 of the decoded features.
    true
        HDF5s of the stimuli, one after the other.
    nsd_id : (test,)
        The stimuli whose decoded features these have to be.
    members : (clusters, stimuli)
        The share of each stimulus in each mean.

    Raises ValueError: other stimuli, or another feature.
    """
    with ExitStack() as stack:
        (some, some_id), *parts = (
            stack.enter_context(hdf5.reading(path, by_columns=True)) for path in (predicted, *true)
        )
        hdf5.check_aligned(true[0], nsd_id, predicted, some_id)
        n_columns = some.shape[1]
        for path, (values, _) in zip(true, parts, strict=True):
            if values.shape[1] != n_columns:
                raise ValueError(
                    f"{path} has {values.shape[1]} columns and {predicted} {n_columns}; expected one feature. "
                    f"{hdf5.rerun(path)}"
                )
        n_stimuli = sum(len(ids) for _, ids in parts)
        product = np.zeros((len(some_id) + len(members), n_stimuli))
        moments = [np.zeros((2, rows)) for rows in product.shape]  # sums, and sums of squares
        for start in range(0, n_columns, BLOCK_COLUMNS):
            columns = slice(start, start + BLOCK_COLUMNS)
            blocks = []
            for path, (values, ids) in zip((predicted, *true), ((some, some_id), *parts), strict=True):
                blocks.append(values[:, columns].astype(np.float64))
                hdf5.check_finite(path, blocks[-1], ids)
            of_all = np.concatenate(blocks[1:])
            rows = np.concatenate([blocks[0], members @ of_all])
            for moment, block in zip(moments, (rows, of_all), strict=True):
                moment += block.sum(1), np.einsum("ij,ij->i", block, block)
            product += rows @ of_all.T
    (total, length), (of_stimuli, length_of_stimuli) = (_centred(moment, n_columns) for moment in moments)
    found = (product - np.outer(total, of_stimuli)) / np.outer(length, length_of_stimuli)
    return found[: len(some_id)], found[len(some_id) :]


def _centred(moments: np.ndarray, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of rows times the root of their number of columns, and the lengths of rows less their means."""
    total, square = moments
    length = np.sqrt(np.maximum(square - total**2 / n_columns, 0))
    return total / np.sqrt(n_columns), np.where(length > ROUNDING * np.sqrt(square), length, np.nan)


def identified(
    correlation: Float[np.ndarray, "test stimuli"],
    own: Int[np.ndarray, " test"],
    group: Int[np.ndarray, " stimuli"],
) -> Float[np.ndarray, " test"]:
    """The share of other candidates that correlate less with each decoded feature than its own stimulus does.

    A tie counts against; without another candidate a share is NaN.

    Parameters
    ----------
    correlation : (test, stimuli)
        Of decoded features with those of all stimuli.
    own : (test,)
        The row of each one's own stimulus.
    group : (stimuli,)
        Candidates are the stimuli with the number of its own one.
    """
    rows = np.arange(len(correlation))
    of_own = correlation[rows, own]
    is_candidate = ~np.isnan(correlation) & (group[own][:, None] == group)
    is_candidate[rows, own] = False
    n_others = is_candidate.sum(1)
    less = ((correlation < of_own[:, None]) & is_candidate).sum(1)
    shares = np.divide(less, n_others, out=np.full(len(rows), np.nan), where=n_others > 0)
    return np.where(np.isnan(of_own), np.nan, shares)


def edges(distances: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " edges"]:
    """The edges of bins of distance that hold about equally many of all test stimuli."""
    found = np.quantile(np.concatenate(distances), np.linspace(0, 1, N_BINS + 1))
    return np.unique(found)


def by_distance(of: Scored, bins: np.ndarray) -> Iterator[tuple[float, float, Bool[np.ndarray, " test"]]]:
    """The edges of each bin, and which test stimuli of a split lie in it."""
    for low, high in itertools.pairwise(bins.tolist()):
        yield low, high, (of.distance >= low) & ((of.distance < high) | (high == bins[-1]))


def summarise(
    scored: Sequence[Scored], sources: Mapping[int, str], n_resamples: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each split, and for the parts of all test stimuli by distance and by source: mean and its interval.

    `first` is the share of test stimuli that no other candidate beats.

    Parameters
    ----------
    scored
        The splits.
    sources : {nsd_id: source}
        Where stimuli come from, if that is known.
    n_resamples, seed
        Of the bootstrap over stimuli.
    """
    bins = edges([each.distance for each in scored])
    rows = []
    for each in scored:
        parts: dict[str, Bool[np.ndarray, " test"]] = {"all": np.ones(len(each.nsd_id), bool)}
        for low, high, inside in by_distance(each, bins):
            parts[f"distance {low:.3f} to {high:.3f}"] = inside
        of_stimuli = np.array([sources.get(number, "") for number in each.nsd_id.tolist()])
        for source in sorted(set(filter(None, sources.values()))):
            parts[f"source {source}"] = of_stimuli == source
        for part, inside in parts.items():
            for measure, shares in each.two_way.items():
                mean, (low, high), n = statistics.mean_and_ci(shares[inside], n_resamples, seed)
                if n:
                    numbers = (round(value, 4) for value in (mean, low, high))
                    first = round(float((statistics.measured(shares[inside]) == 1).mean()), 4)
                    row = (each.name, part, *measure, n, *numbers, CHANCE, first)
                    rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def write(
    folder: Path, scored: Sequence[Scored], rows: Sequence[Mapping[str, Any]], sources: Mapping[int, str], title: str
) -> None:
    """Write scores.csv, per_stimulus.csv, scores.md, by_split.svg and by_distance.svg.

    Parameters
    ----------
    folder
        It is there.
    scored
        The splits.
    rows
        Those of `summarise`.
    sources : {nsd_id: source}
        Where stimuli come from, if that is known.
    title
        Of the tables.
    """
    tables.write_csv(folder / "scores.csv", COLUMNS, (row.values() for row in rows))
    names = list(scored[0].two_way)
    lines = (
        (
            each.name,
            *(int(column[row]) for column in (each.nsd_id, each.cluster, each.nearest)),
            round(float(each.distance[row]), 6),
            sources.get(int(each.nsd_id[row]), ""),
            *(tables.formatted(each.two_way[name][row], ".6f") for name in names),
        )
        for each in scored
        for row in range(len(each.nsd_id))
    )
    tables.write_csv(folder / "per_stimulus.csv", (*PER_STIMULUS, *map(", ".join, names)), lines)
    (folder / "scores.md").write_text(markdown(rows, title), encoding="utf-8")
    (folder / "by_split.svg").write_text(plot_splits(rows), encoding="utf-8")
    (folder / "by_distance.svg").write_text(plot_distances(scored), encoding="utf-8")


def markdown(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A table for each feature: identification under each split."""
    whole = {tuple(row[key] for key in COLUMNS[:5]): row for row in rows if row["of"] == "all"}
    lines = [
        f"**{title}**: two-way identification of decoded features of the test stimuli, mean and 95 % interval over "
        "stimuli; chance is 50 %. *Classifier*: in place of a decoded feature stands the mean of the cluster of "
        "training stimuli that it resembles most. Candidates are all other stimuli of the subject, or those of the "
        "stimulus' own cluster.",
        "",
    ]
    kinds = list(itertools.product(CANDIDATES, DECODERS))
    for feature in dict.fromkeys(row["feature"] for row in rows):
        heads = (f"{'decoded' if decoder == DECODERS[0] else decoder}, {candidates}" for candidates, decoder in kinds)
        head = f"| {feature} | test stimuli | " + " | ".join(heads) + " | decoded, first of all stimuli |"
        lines += [head, "| --- | --- |" + " --- |" * (len(kinds) + 1)]
        for name in dict.fromkeys(row["split"] for row in rows):
            cells = [whole.get((name, "all", feature, decoder, candidates)) for candidates, decoder in kinds]
            n = max(cell["n"] for cell in cells if cell)
            first = f"{100 * cells[0]['first']:.1f} %" if cells[0] else ""
            lines.append(f"| {name} | {n} | " + " | ".join(map(_cell, cells)) + f" | {first} |")
        lines.append("")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    return f"{100 * row['mean']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" if row else ""


def plot_splits(rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG: identification under each split, of decoded features and of the classifier, by feature and candidates."""
    features, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("feature", "split"))
    whole = {tuple(row[key] for key in COLUMNS[:5]): row for row in rows if row["of"] == "all"}
    figure = Figure(figsize=(max(9.0, 2.5 + 1.1 * len(names)), 2.4 * len(features)), layout="constrained")
    places = np.arange(len(names))
    for row, column in itertools.product(range(len(features)), range(len(CANDIDATES))):
        axes = figure.add_subplot(len(features), len(CANDIDATES), row * len(CANDIDATES) + column + 1)
        for shift, (decoder, colour) in enumerate(zip(DECODERS, ("0.15", "0.6"), strict=True)):
            found = [whole.get((name, "all", features[row], decoder, CANDIDATES[column])) for name in names]
            middle, low, high = (
                100 * np.array([each[key] if each else np.nan for each in found]) for key in ("mean", "low", "high")
            )
            axes.errorbar(
                places + 0.2 * shift - 0.1, middle, [middle - low, high - middle], fmt="o", color=colour,
                label="decoded feature" if decoder == DECODERS[0] else "classifier",
            )  # fmt: skip
        axes.axhline(100 * CHANCE, color="0.5", linestyle=":", linewidth=1)
        is_last = row == len(features) - 1
        axes.set_xticks(places, names if is_last else [""] * len(names), rotation=30, ha="right")
        axes.set(title=f"{features[row]}, among {CANDIDATES[column]}", ylim=(30, 102), xlim=(-0.5, len(names) - 0.5))
        if not column:
            axes.set_ylabel("two-way, %")
        if not row and not column:
            axes.legend(frameon=False, fontsize="small", loc="lower left")
    return figures.svg(figure)


def plot_distances(scored: Sequence[Scored]) -> str:
    """SVG: identification of decoded features by distance to the nearest training stimulus, a line for each split."""
    features = list(dict.fromkeys(feature for feature, _, _ in scored[0].two_way))
    bins = edges([each.distance for each in scored])
    measures = {"two-way, %": lambda shares: shares, "first of all stimuli, %": lambda shares: shares == 1}
    figure = Figure(figsize=(9, 2.6 * len(features)), layout="constrained")
    for row, (column, label) in itertools.product(range(len(features)), enumerate(measures)):
        axes = figure.add_subplot(len(features), len(measures), row * len(measures) + column + 1)
        for each in scored:
            shares, found = each.two_way[features[row], DECODERS[0], CANDIDATES[0]], []
            for _, _, inside in by_distance(each, bins):
                values = statistics.measured(shares[inside])
                if len(values) >= LEAST_IN_BIN:
                    found.append((float(np.median(each.distance[inside])), 100 * float(measures[label](values).mean())))
            if found:
                axes.plot(*zip(*found, strict=True), marker="o", markersize=4, linewidth=1, label=each.name)
        axes.set(title=features[row], ylabel=label)
        if row == len(features) - 1:
            axes.set_xlabel("distance to the nearest training stimulus")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)
    return figures.svg(figure)
