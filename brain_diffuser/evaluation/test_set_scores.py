"""Scores of a test set of few stimuli in groups: two-way identification in all of them and within groups, exact p.

Where stimuli fall into groups that are easy to distinguish (bars and crosses, photographs), who knows only the group
identifies many of them. So beside each score stands what that alone would give, and identification within groups.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import metrics, pair_scores, permutations, statistics

COLUMNS = (
    "images",
    "metric",
    "stimuli",
    "n",
    "pool",
    "score",
    "by_chance",
    "by_group_alone",
    "p",
    "least_p",
    "counted",
)
DECODED = "decoded features"
"""What tables call the predictions themselves, in place of a set of images."""
EVERYTHING, WITHIN = "all", "within sets"
LABELS = {"vdvae": "VDVAE latents", "clip_vision": "CLIP-vision", "clip_layers": "CLIP layers"}
"""What tables call features."""


class Part(NamedTuple):
    """Which stimuli are compared with each other: those of each of some lists of rows."""

    name: str
    rows: list[np.ndarray]


def parts_of(groups: Sequence[str]) -> list[Part]:
    """All stimuli; those of each group; and, if there are several groups, all within their own groups.

    A group of one stimulus has nothing to be compared with, and is left out.
    """
    labels = np.array(groups)
    of_group = {name: np.flatnonzero(labels == name) for name in dict.fromkeys(groups)}
    of_group = {name: rows for name, rows in of_group.items() if len(rows) > 1}
    found = [Part(EVERYTHING, [np.arange(len(labels))])]
    if len(set(groups)) < 2:
        return found
    within = [Part(WITHIN, list(of_group.values()))] if of_group else []
    return [*found, *within, *(Part(f"set {name}", [rows]) for name, rows in of_group.items())]


def by_group_alone(groups: Sequence[str]) -> float:
    """The two-way identification of a guess that knows the group of each stimulus and nothing else.

    A stimulus of another group is always distinguished, one of the same group half of the time: 0.773 for 6 and 6.
    """
    n, sizes = len(groups), [list(groups).count(name) for name in groups]
    return sum((n - size) + 0.5 * (size - 1) for size in sizes) / (n * (n - 1))


def identification(
    table: Float[np.ndarray, "stimuli images"], rows_of_parts: Sequence[np.ndarray], n_permutations: int, seed: int
) -> permutations.Test:
    """Two-way identification of images among the stimuli of their own part, and its permutation test within parts.

    Parameters
    ----------
    table : array (stimuli, images)
        The similarity of each image with each stimulus; NaN where it was not measured.
    rows_of_parts : list of arrays
        The rows of each part. Images are assigned to other stimuli within a part alone.
    n_permutations, seed
        Of assignments that are drawn where not all can be counted, as of parts of more than 16 stimuli.

    Returns
    -------
    Test
        `observed` and `expected` are shares of other stimuli that are less similar than the own one.
    """
    kept = permutations.without_constant(table)
    parts = [rows[np.isin(rows, kept)] for rows in rows_of_parts]
    ranked = [permutations.ranks(table[np.ix_(rows, rows)]) for rows in parts if len(rows) > 1]
    if not ranked:
        return permutations.UNTESTED
    pairs = sum(len(each) * (len(each) - 1) for each in ranked)
    n = sum(map(len, ranked))
    if len(ranked) == 1:
        found = permutations.of_pairings(ranked[0], n_permutations, seed)
    elif max(map(len, ranked)) <= permutations.MOST_COUNTED:
        found = _exact(ranked)
    else:
        found = _drawn(ranked, n_permutations, seed)
    scale = n / pairs
    return found._replace(observed=found.observed * scale, expected=found.expected * scale, n=n)


def _exact(ranked: Sequence[np.ndarray]) -> permutations.Test:
    """The test of several parts at once: the counts of all sums of one part, convolved with those of the next."""
    counts = np.ones(1)
    for each in ranked:
        counts = np.convolve(counts, permutations.count_sums(each) / math.factorial(len(each)))
    n, reached = sum(map(len, ranked)), sum(int(np.trace(each)) for each in ranked)
    share = float(min(1.0, counts[reached:].sum()))
    highest = float(counts[np.flatnonzero(counts)[-1]])
    expected = sum(float(each.mean()) * len(each) for each in ranked) / n
    return permutations.Test(reached / n, expected, share, highest, "all permutations within sets", n)


def _drawn(ranked: Sequence[np.ndarray], n_permutations: int, seed: int) -> permutations.Test:
    """The test of several parts at once, by drawn permutations within each."""
    rng, n = np.random.default_rng(seed), sum(map(len, ranked))
    sums = np.zeros(n_permutations, np.int64)
    for each in ranked:
        orders = rng.permuted(np.tile(np.arange(len(each)), (n_permutations, 1)), axis=1)
        sums += each[orders, np.arange(len(each))].sum(1)
    reached = sum(int(np.trace(each)) for each in ranked)
    share = (1 + int((sums >= reached).sum())) / (1 + n_permutations)
    expected = sum(float(each.mean()) * len(each) for each in ranked) / n
    method = f"{n_permutations:,} permutations within sets"
    return permutations.Test(reached / n, expected, share, 1 / (1 + n_permutations), method, n)


def of_features(
    true: Mapping[str, str | Path],
    predicted: Mapping[str, str | Path],
    groups: Sequence[str],
    n_permutations: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of the identification of decoded features: images are not needed for it.

    Parameters
    ----------
    true, predicted : {feature: path}
        Of the stimuli, in the same order.
    groups : list of str
        The group of each stimulus.
    n_permutations, seed
        As of `identification`.

    Memory: one feature of all stimuli, true and predicted.
    """
    rows = []
    for name in true:
        own, decoded = hdf5.load_aligned(true[name], predicted[name])
        flat = [each.values.reshape(len(each.values), -1) for each in (own, decoded)]
        table = statistics.correlation_matrix(flat[0].astype(np.float32), flat[1].astype(np.float32))
        label = LABELS.get(name, name)
        rows += _rows(DECODED, label, groups, table, n_permutations, seed)
    return rows


def of_images(
    folders: Mapping[str, Sequence[str | Path]], groups: Sequence[str], n_permutations: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of the scores of sets of images, from the tables that `pair_scores` wrote.

    Parameters
    ----------
    folders : {set of images: folders of pair scores}
    groups : list of str
        The group of each stimulus.
    n_permutations, seed
        As of `identification`.
    """
    rows = []
    for images, path in ((images, path) for images, listed in folders.items() for path in _files(listed)):
        scores = pair_scores.read(path)
        if scores.kind == "two_way":
            rows += _rows(images, path.stem, groups, scores.values, n_permutations, seed)
        elif not scores.has_all:
            found = pair_scores.test(scores, n_permutations, seed)
            rows.append(_row(images, path.stem, Part(EVERYTHING, []), "", "", found))
        else:
            for part in parts_of(groups):
                if len(part.rows) == 1:
                    chosen = scores._replace(values=scores.values[np.ix_(part.rows[0], part.rows[0])])
                    found = pair_scores.test(chosen, n_permutations, seed)
                    rows.append(_row(images, path.stem, part, "", "", found))
    return rows


def _files(folders: Sequence[str | Path]) -> list[Path]:
    return list(itertools.chain.from_iterable(sorted(Path(folder).glob("*.h5")) for folder in folders))


def _rows(
    images: str, metric: str, groups: Sequence[str], table: np.ndarray, n_permutations: int, seed: int
) -> list[dict[str, Any]]:
    """A row of two-way identification for each part of the stimuli."""
    found = []
    for part in parts_of(groups):
        tested = identification(table, part.rows, n_permutations, seed)
        sizes = sorted({len(rows) for rows in part.rows})
        alone = by_group_alone(groups) if part.name == EVERYTHING and len(set(groups)) > 1 else 0.5
        found.append(_row(images, metric, part, " or ".join(map(str, sizes)), f"{alone:.3f}", tested))
    return found


def _row(images: str, metric: str, part: Part, pool: str, alone: str, test: permutations.Test) -> dict[str, Any]:
    numbers = (test.observed, test.expected)
    score, chance = (tables.formatted(each, ".6g") for each in numbers)
    p = [tables.formatted(each, ".6g") for each in (test.p, test.least)]
    values = (images, metric, part.name, test.n, pool, score, chance, alone, *p, test.method)
    return dict(zip(COLUMNS, values, strict=True))


def write(
    folder: Path, rows: Sequence[Mapping[str, Any]], labels: Mapping[str, Sequence[str]], title: str, notes: str = ""
) -> None:
    """Write scores.csv and scores.md.

    Parameters
    ----------
    folder : path
    rows : list
        Those of `of_features` and `of_images`.
    labels : {metric: (label, kind)}
        What tables call metrics.
    title : str
        Whose scores they are.
    notes : str
        What the reader should know of the test set.
    """
    tables.write_csv(folder / "scores.csv", COLUMNS, (row.values() for row in rows))
    lines = [
        f"**{title}**: scores of a decoder that was trained on NSD's own experiment and not again. {notes}".rstrip(),
        "",
        "Two-way identification is the share of other stimuli in the pool that resemble an image, or a decoded "
        "feature, less than its own stimulus does. *By group alone* is what knowing the set of a stimulus gives, "
        "without any difference within sets. p is the share of assignments of images to stimuli, of the same set in "
        "rows within sets, with a score at least as good, the observed one among them; no interval over so few "
        "stimuli is given. `<=` marks the smallest p that a test can give.",
        "",
        "| images | metric | stimuli | n | pool | score | by chance | by group alone | p | counted |",
        "|" + " --- |" * 10,
    ]
    for row in rows:
        label = labels.get(row["metric"], [row["metric"], ""])
        is_lower = len(label) > 1 and label[1] == metrics.LOWER_IS_BETTER
        cells = {**row, "metric": label[0] + (" (lower is better)" if is_lower else "")}
        for key in ("score", "by_chance"):
            cells[key] = f"{float(cells[key]):.3f}" if cells[key] else ""
        is_least = row["p"] == row["least_p"] and row["p"] != "1"
        cells["p"] = f"{'<= ' if is_least else ''}{float(row['p']):.2g}" if row["p"] else ""
        kept = [key for key in COLUMNS if key != "least_p"]
        lines.append(f"| {' | '.join(str(cells[key]) for key in kept)} |")
    (folder / "scores.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
