"""Identification of decoded features: does a decoded feature resemble its own stimulus more than all others?

Two directions, which are not the same number. A decoded feature looks for its stimulus among true features of stimuli
(`decoded to stimuli`); or a stimulus' true feature looks for its decoded feature among those decoded of other stimuli
(`stimulus to decoded`). Similarity is Pearson's correlation over all numbers of a feature; a tie counts against.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Int32
from matplotlib.figure import Figure

from brain_diffuser.artifacts import figures, tables
from brain_diffuser.data import splits
from brain_diffuser.evaluation import generalisation, statistics
from brain_diffuser.evaluation.similarity import Similarity

TOP = (1, 5, 10, 50)
"""How many nearest candidates may hold the own one."""
FORWARD, BACKWARD = "decoded to stimuli", "stimulus to decoded"
TEST, ALL, OWN_CLUSTER = "test", "test and training", "test, own cluster"
SEARCHES = ((FORWARD, TEST), (FORWARD, ALL), (FORWARD, OWN_CLUSTER), (BACKWARD, TEST), (BACKWARD, OWN_CLUSTER))
"""Who looks for whom, and among which stimuli's features."""

COLUMNS = ("feature", "direction", "candidates", "measure", "n", "pool", "mean", "low", "high", "chance")


class Ranks(NamedTuple):
    """Of each search: how many other candidates are at least as near as the own one, and of how many.

    Parameters
    ----------
    nearer : (test,)
        From 0; NaN where the own one has no correlation.
    others : (test,)
        Candidates with a correlation, without the own one.
    """

    nearer: Float[np.ndarray, " test"]
    others: Int[np.ndarray, " test"]

    @property
    def two_way(self) -> Float[np.ndarray, " test"]:
        """The share of other candidates that are less near; NaN without another one."""
        shares = np.full(len(self.nearer), np.nan)
        return np.divide(self.others - self.nearer, self.others, out=shares, where=self.others > 0)

    def top(self, k: int) -> Float[np.ndarray, " test"]:
        """1 where the own one is among the `k` nearest, 0 where it is not, NaN where that was not measured."""
        return np.where(np.isnan(self.nearer), np.nan, (self.nearer < k).astype(float))


Found = Mapping[tuple[str, str], Ranks]
"""Ranks by (direction, candidates)."""


def search(
    correlation: Float32[np.ndarray, "searches candidates"],
    own: Int[np.ndarray, " searches"],
    group: Int[np.ndarray, " candidates"] | None = None,
) -> Ranks:
    """Rank the own candidate of each search.

    Parameters
    ----------
    correlation : (searches, candidates)
        Of what looks with each candidate; NaN is no candidate.
    own : (searches,)
        The column of each one's own candidate.
    group : (candidates,), optional
        Candidates are those with the number of the own one alone.
    """
    rows = np.arange(len(correlation))
    of_own = correlation[rows, own][:, None]
    is_other = ~np.isnan(correlation)
    if group is not None:
        is_other &= group[own][:, None] == group
    is_other[rows, own] = False
    nearer = (is_other & (correlation >= of_own)).sum(1).astype(float)
    return Ranks(np.where(np.isnan(of_own[:, 0]), np.nan, nearer), is_other.sum(1))


def identify(of: Similarity, cluster: Int[np.ndarray, " test"]) -> dict[tuple[str, str], Ranks]:
    """All searches of `SEARCHES` of a feature.

    Parameters
    ----------
    of
        Its correlations.
    cluster : (test,)
        The number of the cluster that each test stimulus belongs to.

    Source: top-k among test and training features, Shirakawa et al. 2024, arXiv 2405.10078.
    """
    own = np.arange(len(of.test_id))
    among_test = of.decoded[:, : len(own)]
    by_direction = {FORWARD: among_test, BACKWARD: among_test.T}
    return {
        (direction, candidates): search(of.decoded, own)
        if candidates == ALL
        else search(by_direction[direction], own, cluster if candidates == OWN_CLUSTER else None)
        for direction, candidates in SEARCHES
    }


def summarise(found: Mapping[str, Found], n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """A row for each feature, search and measure: mean over test stimuli, its 95 % interval, the pool and chance.

    `pool` counts candidates, the own one among them; of clusters it is their mean. A `top` of as many as the pool says
    nothing and is left out.

    Parameters
    ----------
    found : {feature: {(direction, candidates): Ranks}}
    n_resamples, seed
        Of the bootstrap over stimuli.
    """
    rows = []
    for feature, searches in found.items():
        for (direction, candidates), ranks in searches.items():
            pool = float(ranks.others.mean()) + 1
            for name, values, chance in measures(ranks, candidates == OWN_CLUSTER):
                mean, (low, high), n = statistics.mean_and_ci(values, n_resamples, seed)
                if n:
                    numbers = (round(value, 4) for value in (mean, low, high))
                    row = (feature, direction, candidates, name, n, f"{pool:.6g}", *numbers, f"{chance:.4g}")
                    rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def measures(ranks: Ranks, is_of_clusters: bool) -> Iterator[tuple[str, Float[np.ndarray, " test"], float]]:
    """The name, the value of every test stimulus and the chance level of each measure of a search."""
    yield "two_way", ranks.two_way, 0.5
    smallest = int(ranks.others.min()) + 1
    for k in TOP:
        if k < smallest and not (is_of_clusters and k > 1):
            yield f"top_{k}", ranks.top(k), float((k / (ranks.others + 1)).mean())


def write(
    folder: Path,
    found: Mapping[str, Found],
    rows: Sequence[Mapping[str, Any]],
    nsd_id: Int32[np.ndarray, " test"],
    cluster: Int[np.ndarray, " test"],
    title: str,
) -> None:
    """Write identification.csv, identification.md, per_stimulus.csv and identification.svg.

    Parameters
    ----------
    folder
        It is there.
    found : {feature: {(direction, candidates): Ranks}}
    rows
        Those of `summarise`.
    nsd_id, cluster : (test,)
        The test stimuli and their clusters.
    title
        Of the table.
    """
    tables.write_csv(folder / "identification.csv", COLUMNS, (row.values() for row in rows))
    columns, names = [nsd_id.tolist(), cluster.tolist()], ["nsd_id", "cluster"]
    for feature, searches in found.items():
        for key, ranks in searches.items():
            names += [f"{feature}, {', '.join(key)}, {what}" for what in ("nearer", "others")]
            columns += [[tables.formatted(each, ".0f") for each in ranks.nearer.tolist()], ranks.others.tolist()]
    tables.write_csv(folder / "per_stimulus.csv", names, zip(*columns, strict=True))
    (folder / "identification.md").write_text(markdown(rows, title), encoding="utf-8")
    (folder / "identification.svg").write_text(plot(found), encoding="utf-8")


def markdown(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A table for each feature: a line for each search, a column for each measure, with intervals and chance."""
    names = list(dict.fromkeys(row["measure"] for row in rows))
    heads = [name.replace("two_way", "two-way").replace("top_", "top ") for name in names]
    lines = [
        f"**{title}**: identification of the test stimuli by decoded features, in percent: mean, its 95 % interval "
        "over stimuli, and chance. *Decoded to stimuli*: a decoded feature looks for its stimulus among true features. "
        "*Stimulus to decoded*: a true feature looks for its decoded one among those of other test stimuli. The pool "
        "counts the own candidate; of clusters it is the mean.",
        "",
    ]
    for feature in dict.fromkeys(row["feature"] for row in rows):
        of_feature = [row for row in rows if row["feature"] == feature]
        cells = {(row["direction"], row["candidates"], row["measure"]): row for row in of_feature}
        lines += [f"| {feature}, candidates | pool | " + " | ".join(heads) + " |"]
        lines.append("|" + " --- |" * (len(heads) + 2))
        for direction, candidates in dict.fromkeys((row["direction"], row["candidates"]) for row in of_feature):
            found = [cells.get((direction, candidates, name)) for name in names]
            pool = next(row["pool"] for row in found if row)
            lines.append(f"| {direction}, {candidates} | {pool} | " + " | ".join(map(_cell, found)) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    mean, low, high = (100 * row[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}], chance {100 * float(row['chance']):.3g}"


def plot(found: Mapping[str, Found]) -> str:
    """SVG: the share of decoded features whose stimulus is among the k nearest, by k, for each feature."""
    figure = Figure(figsize=(4.2 * len(found), 3.6), layout="constrained")
    shown = {(FORWARD, TEST): "among test stimuli", (FORWARD, ALL): "among test and training stimuli"}
    for place, (feature, searches) in enumerate(found.items()):
        axes = figure.add_subplot(1, len(found), place + 1)
        for (key, label), colour in zip(shown.items(), ("0.1", "tab:blue"), strict=True):
            ranks = searches[key]
            nearer, pool = np.sort(statistics.measured(ranks.nearer)), int(ranks.others.max()) + 1
            if not len(nearer):
                continue
            k = np.unique(np.geomspace(1, pool, 60).round().astype(int))
            shares = 100 * np.searchsorted(nearer, k, side="left") / len(nearer)
            axes.plot(k, shares, color=colour, label=f"{label}, {pool:,}")
            axes.plot(k, 100 * k / pool, color=colour, linestyle=":", linewidth=1, label=f"chance among {pool:,}")
        axes.set(xscale="log", ylim=(0, 102), title=feature, xlabel="k, number of nearest candidates")
        if not place:
            axes.set_ylabel("own stimulus among the k nearest, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=4)
    return figures.svg(figure)


def clusters_of(
    nsd_id: Int32[np.ndarray, " test"], paths: Sequence[str | Path], settings: Mapping[str, Any]
) -> Int[np.ndarray, " test"]:
    """The cluster that each of some stimuli belongs to, grouped as `generalisation` groups all stimuli of a subject.

    Parameters
    ----------
    nsd_id : (test,)
        The stimuli.
    paths : HDF5s
        The feature of all stimuli by which they are grouped.
    settings
        Of `splits.clusters`: the number of clusters and the seed.

    Raises ValueError: a stimulus has no feature, or there are fewer stimuli than clusters.
    """
    pooled = np.concatenate([splits.pooled(path) for path in paths])
    cluster = splits.clusters(pooled, settings["clusters"], settings["seed"])
    return cluster[generalisation.places(nsd_id, generalisation.ids_of(paths), paths[0])]
