"""Tables of other stages as the report prints them: heads in words, numbers rounded by one rule.

The rule of the whole page: shares, two-way identification among them, in percent with one decimal; correlations,
similarities, distances and other scores with three decimals; p with two digits; counts whole; settings as they were
set. Tables keep what they have in their files.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from brain_diffuser.reporting import labels
from brain_diffuser.reporting.score_tables import Metrics

COUNTS = frozenset(
    "n images subjects voxels columns pool draws draw stimuli test_stimuli rank repeats amounts components".split()
)
SETTINGS = frozenset("alpha kappa eta amount".split())
P_VALUES = frozenset("p p_corrected least_p".split())
SHARES = frozenset("top_1 sd_over_draws better recognised_in_stimuli recognised_in_reconstructions".split())
NO_SHARES = frozenset("from_distance to_distance distance participation_ratio normalised r2 voxelwise_median".split())
NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d+\.\d*|\d+)(?:e[+-]?\d+)?(?![\w.])")
WITH_INTERVAL = re.compile(rf"{NUMBER.pattern} \({NUMBER.pattern} to {NUMBER.pattern}\)")
NOTHING = "\N{EN DASH}"


def arranged(rows: Sequence[Mapping[str, str]], metrics: Metrics) -> dict[str, Any]:
    """A table as heads and rows of cells, (text, whether these are numbers); both ends of an interval share a cell.

    Parameters
    ----------
    rows : {column: text} of each row
        With at least one row.
    metrics : {metric: (label, kind)}
    """
    highs = {low: high for low in rows[0] if (high := _high(low)) in rows[0]}
    columns = [name for name in rows[0] if name not in highs.values()]
    cells = [[_cell(row, name, highs.get(name, ""), metrics) for name in columns] for row in rows]
    heads = (_interval(name, metrics) if name in highs else labels.column(name, metrics) for name in columns)
    of_numbers = (any(is_number for _, is_number in column) for column in zip(*cells, strict=True))
    return {"heads": [*zip(heads, of_numbers, strict=True)], "rows": cells}


def _high(name: str) -> str:
    """The column that would have the high end, if this one has the low end of an interval."""
    return re.sub(r"(^|_)low$", r"\1high", name) if re.search(r"(^|_)low$", name) else ""


def _interval(low: str, metrics: Metrics) -> str:
    """The head of an interval's column: of random voxels a range, of all else the bootstrap's."""
    what = low.removesuffix("low").rstrip("_")
    return f"{labels.column(what, metrics)}: range" if "random" in what else "95 % interval"


def _cell(row: Mapping[str, str], name: str, high: str, metrics: Metrics) -> tuple[str, bool]:
    """The text of a cell, and whether it is a number; `high` is the other end's column of an interval."""
    text = _printed(row, name, metrics)
    if high:
        return (f"{text.removesuffix(' %')} to {_printed(row, high, metrics)}" if row[name] else NOTHING), True
    is_number = _is_number(row[name]) or not row[name]
    return (text, True) if is_number else (labels.cell(text, name, metrics), False)


def _is_number(text: str) -> bool:
    """Whether a cell is a number, or one with its interval."""
    return bool(NUMBER.fullmatch(text) or WITH_INTERVAL.fullmatch(text))


def _printed(row: Mapping[str, str], name: str, metrics: Metrics) -> str:
    """A cell with its numbers rounded; text that is no number stays."""
    text = row[name]
    if not text:
        return NOTHING
    if not _is_number(text):
        return text
    if name in P_VALUES:
        is_least = name == "p" and text == row.get("least_p") and float(text) < 1
        return ("\N{LESS-THAN OR EQUAL TO} " if is_least else "") + f"{float(text):.2g}"
    if text.isdecimal() and (name in COUNTS or int(text) > 1):
        return f"{int(text):,}"
    if name in COUNTS | SETTINGS:
        return f"{float(text):,.12g}"
    if NUMBER.fullmatch(text) and (name in labels.FEATURES or "_minus_" in name):
        return f"{float(text):.1f}"  # a percentile
    is_share = name in SHARES or (name not in NO_SHARES and _is_share(row, name, metrics))
    return NUMBER.sub(lambda match: rounded(match[0], is_share), text) + (" %" if is_share else "")


def rounded(text: str, is_share: bool) -> str:
    """A number with three decimals, or as a percentage with one; a sign of its own is kept."""
    sign = "+" if text.startswith("+") else ""
    return f"{100 * float(text):{sign}.1f}" if is_share else f"{float(text):{sign}.3f}"


def _is_share(row: Mapping[str, str], name: str, metrics: Metrics) -> bool:
    """Whether the numbers of a row are shares: of a metric or measure that is one, or of a table of identification."""
    if name in metrics:
        return metrics[name][1] == "two_way"
    if "measure" in row:
        return row["measure"] == "two_way" or row["measure"].startswith("top_")
    if row.get("metric") in metrics:
        return metrics[row["metric"]][1] == "two_way"
    return bool("decoder" in row or "top_1" in row or row.get("by_group_alone"))
