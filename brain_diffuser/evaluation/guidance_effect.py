"""What guidance changes: guided images and those that differ in guidance alone, compared image by image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import metrics, statistics
from brain_diffuser.evaluation.scores import ImageScores

Rows = list[dict[str, Any]]
NOT_MEASURED = "not measured"


def differences(
    scores_of_sets: Mapping[str, ImageScores], against: Mapping[str, str], *, n_resamples: int, seed: int
) -> Rows:
    """A row for each guided set and metric: its mean, and the mean of guided minus unguided scores.

    Images are paired, so the interval is that of the differences; `better` is the share of images whose score improves,
    whichever way that is. Images whose score was not measured in both sets are left out; `n` counts the others.

    Parameters
    ----------
    scores_of_sets : {set of images: ImageScores}
    against : {guided set: its unguided set}
    n_resamples : int, at least 1
        Bootstrap resamples of the images.
    seed : int
        Of the resamples.

    Raises
    ------
    ValueError
        Nothing to compare.
    """
    if not against:
        raise ValueError(
            "config.yaml: no variant has a section guidance and an unguided variant to compare with; add one"
        )
    rows = []
    for guided, unguided in against.items():
        pairs = zip(scores_of_sets[guided].metrics, scores_of_sets[unguided].metrics, strict=True)
        for with_guidance, without in pairs:
            difference = with_guidance.scores - without.scores
            is_measured = ~np.isnan(difference)
            mean, (low, high), n = statistics.mean_and_ci(difference, n_resamples, seed)
            improvement = -difference if with_guidance.kind == metrics.LOWER_IS_BETTER else difference
            guided_mean, better = (
                (float(with_guidance.scores[is_measured].mean()), float((improvement[is_measured] > 0).mean()))
                if n
                else (np.nan, np.nan)
            )
            rows.append(
                {
                    "images": guided,
                    "against": unguided,
                    "metric": with_guidance.metric,
                    "mean": round(guided_mean, 6),
                    "difference": round(mean, 6),
                    "low": round(low, 6),
                    "high": round(high, 6),
                    "better": round(better, 6),
                    "n": n,
                }
            )
    return rows


def pivot(rows: Rows) -> Rows:
    """A row for each guided set, a column for each metric: mean, and in brackets the interval of the difference."""
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = table.setdefault(row["images"], {"images": row["images"], "against": row["against"]})
        interval = f"{row['mean']:.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        line[row["metric"]] = interval if row["n"] else NOT_MEASURED
    return list(table.values())


def grid(rows: Rows, cells: Sequence[tuple[float, float, str]]) -> Rows:
    """A row for each metric and kappa, a column for each eta: the difference; `cells` are (kappa, eta, guided set)."""
    at = {(row["images"], row["metric"]): row["difference"] for row in rows}
    named = {(kappa, eta): name for kappa, eta, name in cells}
    kappas, etas = sorted({kappa for kappa, _ in named}), sorted({eta for _, eta in named})
    table = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        for kappa in kappas:
            values = ((eta, at.get((named.get((kappa, eta), ""), metric))) for eta in etas)
            by_eta = {f"eta {eta:g}": "" if value is None else tables.formatted(value, "+.3f") for eta, value in values}
            table.append({"metric": metric, "kappa": kappa} | by_eta)
    return table


def join_repeats(repeated: Mapping[str, Sequence[Mapping[str, str]]]) -> Rows:
    """The consistency tables of some sets as one: a row for features and measure, a column for each set."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for name, rows in repeated.items():
        for row in rows:
            key = {"features": row["features"], "measure": row["measure"]}
            line = table.setdefault((row["features"], row["measure"]), key)
            if not row["mean"]:
                line[name] = NOT_MEASURED
                continue
            low, high = (float(row[end]) for end in ("low", "high"))
            line[name] = f"{float(row['mean']):.3f} ({low:.3f} to {high:.3f})"
    return list(table.values())


def write_tables(
    folder: Path, rows: Rows, cells: Sequence[tuple[float, float, str]], consistency: Mapping[str, str | Path]
) -> None:
    """Write differences.csv, comparison.csv, grid.csv and consistency.csv, those of them that have rows.

    Parameters
    ----------
    folder : path
        Where to write.
    rows : list of dicts
        The result of `differences`.
    cells : sequence of (kappa, eta, guided set)
        The grid.
    consistency : {set of images: folder of its consistency.csv}
    """
    repeated = {name: tables.read_csv(Path(path) / "consistency.csv") for name, path in consistency.items()}
    by_name = {
        "differences": rows,
        "comparison": pivot(rows),
        "grid": grid(rows, cells),
        "consistency": join_repeats(repeated),
    }
    for name, table in by_name.items():
        if table:
            tables.write_csv(folder / f"{name}.csv", tuple(table[0]), (row.values() for row in table))
