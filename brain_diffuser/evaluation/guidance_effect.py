"""Stage 6: guided images beside those that differ in guidance alone: differences, a grid of settings, repeats."""

from collections.abc import Mapping, Sequence
from typing import Any

from brain_diffuser.evaluation import metrics, statistics
from brain_diffuser.evaluation.scores import ImageScores

Rows = list[dict[str, Any]]


def differences(found: Mapping[str, ImageScores], against: Mapping[str, str], *, n_resamples: int, seed: int) -> Rows:
    """A row for each guided set and metric: its mean, and of guided minus unguided mean, 95 % interval, share better.

    `against` is {guided set: its unguided set}. Images are paired, so the interval is that of the differences; `better`
    is the share of images whose score improves, whichever way that is.
    """
    rows = []
    for guided, unguided in against.items():
        for own, other in zip(found[guided].metrics, found[unguided].metrics, strict=True):
            difference = own.scores - other.scores
            low, high = statistics.bootstrap_ci(difference, n_resamples, seed)
            gain = -difference if own.kind == metrics.LOWER_IS_BETTER else difference
            rows.append(
                {
                    "images": guided,
                    "against": unguided,
                    "metric": own.metric,
                    "mean": round(float(own.scores.mean()), 6),
                    "difference": round(float(difference.mean()), 6),
                    "low": round(low, 6),
                    "high": round(high, 6),
                    "better": round(float((gain > 0).mean()), 6),
                    "n": len(difference),
                }
            )
    return rows


def pivot(rows: Rows) -> Rows:
    """A row for each guided set, a column for each metric: mean, and in brackets the interval of the difference."""
    table: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = table.setdefault(row["images"], {"images": row["images"], "against": row["against"]})
        line[row["metric"]] = f"{row['mean']:.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    return list(table.values())


def grid(rows: Rows, cells: Sequence[tuple[float, float, str]]) -> Rows:
    """A row for each metric and kappa, a column for each eta: the difference; `cells` are (kappa, eta, guided set)."""
    at = {(row["images"], row["metric"]): row["difference"] for row in rows}
    named = {(kappa, eta): name for kappa, eta, name in cells}
    kappas, etas = sorted({kappa for kappa, _ in named}), sorted({eta for _, eta in named})
    found = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        for kappa in kappas:
            values = ((eta, at.get((named.get((kappa, eta), ""), metric))) for eta in etas)
            shown = {f"eta {eta:g}": "" if value is None else f"{value:+.3f}" for eta, value in values}
            found.append({"metric": metric, "kappa": kappa} | shown)
    return found


def join_repeats(repeated: Mapping[str, Sequence[Mapping[str, str]]]) -> Rows:
    """Consistency tables of some sets as one: a row for features and measure, a column for each set."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for name, rows in repeated.items():
        for row in rows:
            key = {"features": row["features"], "measure": row["measure"]}
            line = table.setdefault((row["features"], row["measure"]), key)
            low, high = (float(row[end]) for end in ("low", "high"))
            line[name] = f"{float(row['mean']):.3f} ({low:.3f} to {high:.3f})"
    return list(table.values())
