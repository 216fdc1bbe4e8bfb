"""Scores of images with stimuli that are not their own, which permutation tests need.

One HDF5 file for each metric of a set of images. Its rows are the stimuli. In a table of all pairs a column is an
image, in the same order, and its own stimulus lies on the diagonal. Where all pairs would cost too much a column is a
drawn pairing, in which every row has the score of its image with another stimulus; the first column has those of the
own ones.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import metrics, permutations, pixels, registry, statistics

ALL_PAIRS: dict[str, Callable[[pixels.Images, pixels.Reconstructions, str], np.ndarray]] = {
    "pix_corr": pixels.pix_corr_of_pairs
}
"""Pixel metrics of which all pairs are computed at once; of others some pairings are drawn."""

COLUMNS = ("images", "metric", "n", "score", "by_chance", "p", "p_corrected", "least_p", "counted")
AGAINST = ("images", "against", "metric", "n", "difference", "p", "p_corrected", "least_p", "counted")


class PairScores(NamedTuple):
    """What `save` wrote: the scores, and whether they are those of all pairs; `kind` says how to read them."""

    values: Float[np.ndarray, "stimuli _"]
    has_all: bool
    kind: str


def save(path: Path, values: np.ndarray, nsd_id: Int32[np.ndarray, " stimuli"], *, has_all: bool, kind: str) -> None:
    """Write the scores of a metric."""
    hdf5.save(path, values, nsd_id, axes=("image" if has_all else "pairing",), attrs={"all": has_all, "kind": kind})


def read(path: str | Path) -> PairScores:
    """The scores of a metric."""
    with hdf5.reading(path) as (values, _):
        made_by = hdf5.about(values)["made_by"]
        return PairScores(values[...], made_by["all"], made_by["kind"])


def of_features(
    folder: Path,
    scorer: str,
    nsd_id: Int32[np.ndarray, " stimuli"],
    true: Mapping[str, Float[np.ndarray, "stimuli _"]],
    predicted: Mapping[str, Float[np.ndarray, "stimuli _"]],
) -> None:
    """Write the correlations of all pairs, of each metric of an evaluation network, into a folder.

    Parameters
    ----------
    folder : path
    scorer : str
        The network's name in the registry.
    nsd_id : array (stimuli,)
    true, predicted : {metric: array (stimuli, features)}
        Its features of the stimuli and of the images.
    """
    for metric, record in registry.SCORERS[scorer].metrics.items():
        table = statistics.correlation_matrix(true[metric], predicted[metric])
        save(folder / f"{metric}.h5", table, nsd_id, has_all=True, kind=record.kind)


def of_pixels(
    folder: Path,
    scorer: str,
    nsd_id: Int32[np.ndarray, " stimuli"],
    stimuli: pixels.Images,
    images: pixels.Reconstructions,
    *,
    protocol: str,
    pairings: int,
    seed: int,
) -> None:
    """Write the scores of all pairs, or of drawn pairings, of each metric of a pixel scorer, into a folder.

    Parameters
    ----------
    folder : path
    scorer : str
        Its name in the registry.
    nsd_id : array (stimuli,)
    stimuli, images : uint8 arrays (stimuli, height, width, 3)
        The images may have a size of their own.
    protocol : "brain_diffuser" or "mindeye"
        How images are prepared.
    pairings : int
        How many pairings are drawn.
    seed : int
        Of the pairings.
    """
    drawn = permutations.derangements(len(stimuli), pairings, seed)
    for metric, record in registry.SCORERS[scorer].metrics.items():
        if metric in ALL_PAIRS:
            values = ALL_PAIRS[metric](stimuli, images, protocol)
        else:
            assert record.score
            own = record.score(stimuli, images, protocol)
            values = np.stack([own, *(record.score(stimuli[each], images, protocol) for each in drawn)], axis=1)
        save(folder / f"{metric}.h5", values, nsd_id, has_all=metric in ALL_PAIRS, kind=record.kind)


def test(scores: PairScores, n_permutations: int, seed: int) -> permutations.Test:
    """The permutation test of a metric: of two-way identification, of a distance, or of the score itself."""
    lower = scores.kind == metrics.LOWER_IS_BETTER
    if not scores.has_all:
        signed = -scores.values if lower else scores.values
        found = permutations.of_derangements(signed[:, 0], signed[:, 1:].T)
        return found._replace(observed=-found.observed, expected=-found.expected) if lower else found
    rows = permutations.without_constant(scores.values)
    if len(rows) < 2:
        return permutations.UNTESTED
    table = scores.values[np.ix_(rows, rows)]
    if scores.kind == "two_way":
        found = permutations.of_pairings(permutations.ranks(table), n_permutations, seed)
        others = len(rows) - 1
        return found._replace(observed=found.observed / others, expected=found.expected / others)
    if lower:
        return permutations.of_pairings(1 - table, n_permutations, seed, lower_is_better=True)
    return permutations.of_pairings(table, n_permutations, seed)


def tests(
    folders: Mapping[str, Sequence[Path]], n_permutations: int, seed: int, correction: str
) -> list[dict[str, Any]]:
    """A row for each set of images and metric; p is corrected for all rows.

    Parameters
    ----------
    folders : {set of images: folders of scores}
    n_permutations, seed
        Of the tests.
    correction : str
        A name in `permutations.CORRECTIONS`.
    """
    found = {
        (images, path.stem): test(read(path), n_permutations, seed)
        for images, of_set in folders.items()
        for folder in of_set
        for path in sorted(Path(folder).glob("*.h5"))
    }
    corrected = permutations.CORRECTIONS[correction]([each.p for each in found.values()])
    return [
        _row(COLUMNS, (*key, each.n, each.observed, each.expected), each, p)
        for (key, each), p in zip(found.items(), corrected.tolist(), strict=True)
    ]


def differences(
    scores_of_sets: Mapping[str, Any], against: Mapping[str, str], n_permutations: int, seed: int, correction: str
) -> list[dict[str, Any]]:
    """A row for each set of images that is compared with another one, and metric; p is corrected for all rows.

    Parameters
    ----------
    scores_of_sets : {set of images: scores.ImageScores}
    against : {set of images: the one it is compared with}
    n_permutations, seed
        Of the tests.
    correction : str
        A name in `permutations.CORRECTIONS`.
    """
    found = {
        (images, other, mine.metric): permutations.of_differences(mine.scores - its.scores, n_permutations, seed)
        for images, other in against.items()
        for mine, its in zip(scores_of_sets[images].metrics, scores_of_sets[other].metrics, strict=True)
    }
    corrected = permutations.CORRECTIONS[correction]([each.p for each in found.values()])
    return [
        _row(AGAINST, (*key, each.n, each.observed), each, p)
        for (key, each), p in zip(found.items(), corrected.tolist(), strict=True)
    ]


def _row(columns: Sequence[str], first: Sequence[Any], found: permutations.Test, corrected: float) -> dict[str, Any]:
    values = [*first, found.p, corrected, found.least, found.method]
    shown = [tables.formatted(value, ".6g") if isinstance(value, float) else value for value in values]
    return dict(zip(columns, shown, strict=True))


def write(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    compared: Sequence[Mapping[str, Any]],
    labels: Mapping[str, Sequence[str]],
    title: str,
    correction: str,
) -> None:
    """Write tests.csv, differences.csv and tests.md.

    Parameters
    ----------
    folder : path
    rows, compared
        Those of `tests` and `differences`.
    labels : {metric: (label, kind)}
        What tables call metrics.
    title : str
        Whose scores they are.
    correction : str
        How p was corrected.
    """
    tables.write_csv(folder / "tests.csv", COLUMNS, (row.values() for row in rows))
    tables.write_csv(folder / "differences.csv", AGAINST, (row.values() for row in compared))
    words = {"holm": "Holm's method", "fdr": "the false discovery rate (Benjamini and Hochberg)"}[correction]
    lines = [
        f"**{title}**: permutation tests within the subject. p is the share of assignments of images to stimuli with a "
        "mean score at least as good, the observed one among them; p corrected is for all rows of a table, by "
        f"{words}. `<=` marks the smallest p that a test can give.",
        "",
        *_pipes(rows, ("images", "metric", "n", "score", "by_chance", "p", "p_corrected", "counted"), labels),
        "",
    ]
    if compared:
        lines += [
            "Differences between sets of images, image by image; two-sided.",
            "",
            *_pipes(
                compared, ("images", "against", "metric", "n", "difference", "p", "p_corrected", "counted"), labels
            ),
            "",
        ]
    (folder / "tests.md").write_text("\n".join(lines), encoding="utf-8")


def _pipes(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], labels: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [f"| {' | '.join(each.replace('_', ' ') for each in columns)} |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = {**row, "metric": labels.get(row["metric"], [row["metric"]])[0]}
        for key in ("score", "by_chance", "difference"):
            if cells.get(key):
                cells[key] = f"{float(cells[key]):.4g}"
        for key in ("p", "p_corrected"):
            if cells[key]:
                is_least = key == "p" and row["p"] == row["least_p"]
                cells[key] = f"{'<= ' if is_least else ''}{float(cells[key]):.2g}"
        lines.append(f"| {' | '.join(str(cells[each]) for each in columns)} |")
    return lines
