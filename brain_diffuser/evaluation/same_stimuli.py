"""The same test stimuli under two splits: once with their cluster, or what is near them, in training, and once without.

Test stimuli of two splits differ, so a difference between their scores may be one between stimuli. Here those are
compared that both splits test, each with itself.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from brain_diffuser.evaluation import generalisation, statistics

COLUMNS = (
    *("split", "other_split", "feature", "decoder", "candidates", "n", "mean", "mean_under_other"),
    *("difference", "low", "high"),
)


def compare(
    scored: Sequence[generalisation.Scored], n_resamples: int, seed: int
) -> Iterator[tuple[str | int | float, ...]]:
    """Rows of COLUMNS: two-way identification under each split less that under the first one, stimulus by stimulus.

    Splits that share fewer than two test stimuli with the first one have no rows.

    Parameters
    ----------
    scored
        The splits, the default one first.
    n_resamples, seed
        Of the bootstrap over stimuli, which gives the 95 % interval of the mean difference.
    """
    first, *others = scored
    for each in others:
        _, here, there = np.intersect1d(each.nsd_id, first.nsd_id, assume_unique=True, return_indices=True)
        for measure, shares in each.two_way.items():
            pair = np.stack([shares[here], first.two_way[measure][there]])
            pair = pair[:, ~np.isnan(pair).any(0)]
            difference, (low, high), n = statistics.mean_and_ci(pair[0] - pair[1], n_resamples, seed)
            if n > 1:
                numbers = (*pair.mean(1).tolist(), difference, low, high)
                yield each.name, first.name, *measure, n, *(round(float(number), 4) for number in numbers)


def markdown(rows: Sequence[Sequence[Any]]) -> str:
    """A table of the rows of decoded features; empty if there are none."""
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    found = [row for row in found if row["decoder"] == generalisation.DECODERS[0]]
    if not found:
        return ""
    other = found[0]["other_split"]
    lines = [
        f"**The same stimuli under two splits**: those that a split and the {other} one both test. Two-way "
        "identification in %, the difference with its 95 % interval over stimuli.",
        "",
        f"| feature | split | stimuli | candidates | under the split | under {other} | difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found:
        mean, of_other, difference, low, high = (
            f"{100 * row[key]:z.1f}" for key in ("mean", "mean_under_other", "difference", "low", "high")
        )
        lines.append(
            f"| {row['feature']} | {row['split']} | {row['n']} | {row['candidates']} | {mean} | {of_other} "
            f"| {difference} [{low}, {high}] |"
        )
    return "\n".join([*lines, ""])
