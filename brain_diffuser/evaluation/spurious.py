"""Is it spurious? Whether scores of reconstructions say more than that test and training stimuli are alike.

Tables of scores by distance to the nearest training stimulus, by source of the stimuli, and beside the best training
images; `alarms` has the rules that are applied to them.

Source: Shirakawa et al. 2024, arXiv 2405.10078.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import alarms, feature_identification, generalisation, metrics, statistics
from brain_diffuser.evaluation.overlap import Overlap
from brain_diffuser.evaluation.scores import ImageScores, PerImage

STIMULI = ("nsd_id", "nearest", "distance", "near_duplicates", "pixel_correlation", "source")
BY_DISTANCE = ("scores_of", "metric", "from_distance", "to_distance", "n", "mean", "low", "high")
BY_SOURCE = (
    *("metric", "source", "n", "stage1", "recon", "gain", "gain_low", "gain_high", "gain_elsewhere"),
    *("interaction", "interaction_low", "interaction_high"),
)
AGAINST_TRAINING = ("metric", "n", "recon", "nearest_training", "oracle", "difference", "low", "high")
SETS = ("recon", "stage1", "nearest_training", "nearest_training_oracle")
"""Sets of images whose scores are read."""
IN_BINS = SETS[:3]

Rows = list[dict[str, Any]]


class Bootstrap(NamedTuple):
    """Resamples of stimuli and their seed."""

    n_resamples: int
    seed: int


class Evidence(NamedTuple):
    """What is looked at.

    Parameters
    ----------
    overlap
        Of test and training stimuli.
    sources : {nsd_id: source}
        Where stimuli come from, if that is known.
    scores : {set of images: scores}
        Of `SETS`.
    dimensions : {feature: rows}
        Those of `output_dimensions`.
    identification : rows
        Those of `feature_identification`.
    decoded : {feature: two-way identification of every test stimulus}
        See `per_stimulus`.
    """

    overlap: Overlap
    sources: Mapping[int, str]
    scores: Mapping[str, ImageScores]
    dimensions: Mapping[str, Sequence[Mapping[str, str]]]
    identification: Sequence[Mapping[str, Any]]
    decoded: Mapping[str, np.ndarray]

    @property
    def source_of_each(self) -> Shaped[np.ndarray, " test"]:
        """The source of each test stimulus; empty where it is not known."""
        return np.array([self.sources.get(number, "") for number in self.overlap.nsd_id.tolist()])


class Findings(NamedTuple):
    """The rows of the tables that are written; `by_source` has none without sources."""

    by_distance: Rows
    by_source: Rows
    against_training: Rows
    alarms: list[alarms.Alarm]


def examine(of: Evidence, bootstrap: Bootstrap) -> Findings:
    """Make all tables and apply all rules.

    Raises ValueError: scores of other stimuli than the test stimuli, or of other metrics.
    """
    for name, of_set in of.scores.items():
        hdf5.check_aligned("the test stimuli", of.overlap.nsd_id, f"the scores of {name}", of_set.nsd_id)
    if len({tuple(each.metric for each in of_set.metrics) for of_set in of.scores.values()}) > 1:
        raise ValueError("sets of images have scores by other metrics; expected the same. Rerun perceptual_scores.")
    against = against_training(of.scores, bootstrap)
    return Findings(
        by_distance({name: of.scores[name] for name in IN_BINS}, of.decoded, of.overlap, bootstrap),
        by_source(of.scores, of.source_of_each, bootstrap),
        against,
        alarms.sound(of.overlap, of.dimensions, of.identification, against),
    )


def per_stimulus(folder: str | Path) -> dict[str, Float[np.ndarray, " test"]]:
    """{feature: two-way identification of each decoded feature among test stimuli}, from a table of identification."""
    path = Path(folder) / "per_stimulus.csv"
    rows = tables.read_csv(path)
    search = f", {feature_identification.FORWARD}, {feature_identification.TEST}, nearer"
    found = {}
    for column in [name for name in (rows[0] if rows else ()) if name.endswith(search)]:
        nearer, others = (
            tables.numbers(path, rows, name, np.float64) for name in (column, column.replace("nearer", "others"))
        )
        shares = np.full(len(rows), np.nan)
        found[column.removesuffix(search)] = np.divide(others - nearer, others, out=shares, where=others > 0)
    return found


def by_distance(
    scores: Mapping[str, ImageScores], decoded: Mapping[str, np.ndarray], overlap: Overlap, bootstrap: Bootstrap
) -> Rows:
    """Scores in bins of distance to the nearest training stimulus that hold about equally many test stimuli.

    Parameters
    ----------
    scores : {set of images: scores}
    decoded : {feature: two-way identification}
    overlap
        The distances.
    bootstrap
        Of the intervals.
    """
    edges = generalisation.edges([overlap.distance])
    of_images = [(name, each.metric, each.scores) for name, of_set in scores.items() for each in of_set.metrics]
    of_features = [(f"decoded {feature}", "two_way", shares) for feature, shares in decoded.items()]
    rows = []
    for low, high, inside in _bins(overlap.distance, edges):
        for name, metric, values in (*of_images, *of_features):
            mean, interval, n = statistics.mean_and_ci(values[inside], *bootstrap)
            if n:
                row = (name, metric, round(low, 4), round(high, 4), n, *(round(each, 4) for each in (mean, *interval)))
                rows.append(dict(zip(BY_DISTANCE, row, strict=True)))
    return rows


def _bins(distance: np.ndarray, edges: np.ndarray) -> Iterator[tuple[float, float, Bool[np.ndarray, " test"]]]:
    """The ends of each bin, and which stimuli lie in it; all of them in one where distances are equal."""
    if len(edges) < 2:
        yield float(edges[0]), float(edges[0]), np.ones(len(distance), bool)
    for low, high in itertools.pairwise(edges.tolist()):
        yield low, high, (distance >= low) & ((distance < high) | (high == edges[-1]))


def gains(better: PerImage, than: PerImage) -> Float[np.ndarray, " stimuli"]:
    """How much better each image of a set is than that of another, positive where it is."""
    difference = better.scores - than.scores
    return -difference if better.kind == metrics.LOWER_IS_BETTER else difference


def by_source(scores: Mapping[str, ImageScores], sources: Shaped[np.ndarray, " test"], bootstrap: Bootstrap) -> Rows:
    """What the second stage adds to stage 1, by the source of the stimuli, and its interaction with the source.

    The gain is that of reconstructions over stage-1 reconstructions, positive where they are better. The interaction is
    the gain of a source less the gain of all other stimuli: a second stage that only recalls what training stimuli look
    like gains less on sources that the training stimuli lack.

    Parameters
    ----------
    scores
        Of `recon` and `stage1`.
    sources : (test,)
        The source of each test stimulus; empty where it is not known.
    bootstrap
        Of the intervals, over stimuli within sources.
    """
    rows = []
    for full, first in zip(scores["recon"].metrics, scores["stage1"].metrics, strict=True):
        gain = gains(full, first)
        for source in sorted(set(sources.tolist()) - {""}):
            here, elsewhere = (statistics.measured(gain[each]) for each in (sources == source, sources != source))
            if not len(here):
                continue
            mean, interval, n = statistics.mean_and_ci(here, *bootstrap)
            means = [np.nanmean(each.scores[sources == source]) for each in (first, full)]
            interaction = _difference(here, elsewhere, bootstrap)
            numbers = (*means, mean, *interval, elsewhere.mean() if len(elsewhere) else np.nan, *interaction)
            rows.append(
                dict(
                    zip(BY_SOURCE, (full.metric, source, n, *(round(float(each), 4) for each in numbers)), strict=True)
                )
            )
    return rows


def _difference(a: np.ndarray, b: np.ndarray, bootstrap: Bootstrap) -> tuple[float, float, float]:
    """The difference of two means and its bootstrap interval; NaN where one is of nothing."""
    if not len(a) or not len(b):
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(bootstrap.seed)
    drawn = [
        a[rng.integers(0, len(a), len(a))].mean() - b[rng.integers(0, len(b), len(b))].mean()
        for _ in range(bootstrap.n_resamples)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(a.mean() - b.mean()), float(low), float(high)


def against_training(scores: Mapping[str, ImageScores], bootstrap: Bootstrap) -> Rows:
    """A row for each metric: reconstructions beside the best training images, and their paired difference.

    The difference is positive where reconstructions are better, whatever the metric.
    """
    rows = []
    of_sets = [scores[name].metrics for name in ("recon", "nearest_training", "nearest_training_oracle")]
    for recon, chosen, oracle in zip(*of_sets, strict=True):
        mean, interval, n = statistics.mean_and_ci(gains(recon, chosen), *bootstrap)
        if n:
            means = (float(statistics.measured(each.scores).mean()) for each in (recon, chosen, oracle))
            row = (recon.metric, n, *(round(each, 4) for each in (*means, mean, *interval)))
            rows.append(dict(zip(AGAINST_TRAINING, row, strict=True)))
    return rows


def write(folder: Path, of: Evidence, found: Findings, title: str) -> None:
    """Write stimuli.csv, by_distance.csv, by_source.csv where there are sources, against_training.csv and the alarms.

    Parameters
    ----------
    folder
        It is there.
    of
        What was looked at.
    found
        What was found.
    title
        Of the alarms.
    """
    lines = zip(*(each.tolist() for each in (*of.overlap, of.source_of_each)), strict=True)
    rounded = (tuple(round(cell, 6) if isinstance(cell, float) else cell for cell in line) for line in lines)
    tables.write_csv(folder / "stimuli.csv", STIMULI, rounded)
    for name, header in (
        ("by_distance", BY_DISTANCE),
        ("by_source", BY_SOURCE),
        ("against_training", AGAINST_TRAINING),
    ):
        rows = getattr(found, name)
        if rows or name != "by_source":
            tables.write_csv(folder / f"{name}.csv", header, (row.values() for row in rows))
    tables.write_csv(folder / "alarms.csv", alarms.Alarm._fields, found.alarms)
    (folder / "alarms.md").write_text(markdown(found.alarms, title), encoding="utf-8")


def markdown(found: Sequence[alarms.Alarm], title: str) -> str:
    """The alarms as a table, what each means below it."""
    lines = [
        f"**{title}**: signs of spurious reconstruction.",
        "",
        "| alarm | state | value | rule |",
        "|" + " --- |" * 4,
    ]
    lines += [f"| {each.alarm} | {each.state} | {each.value} | {each.rule} |" for each in found]
    fired = [f"- {each.alarm}: {each.meaning}" for each in found if each.state == alarms.FIRES]
    return "\n".join([*lines, "", *fired, ""])
