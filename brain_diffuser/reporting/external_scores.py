"""The scores of images that any program made, as a page of Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from brain_diffuser.reporting.score_tables import NONE, Metrics

CORRECTIONS = {"holm": "Holm's method", "fdr": "the false discovery rate (Benjamini and Hochberg)"}
Rows = Sequence[Mapping[str, Any]]


def page(
    title: str,
    about: Sequence[str],
    rows: Rows,
    identified: Rows,
    tested: Rows,
    metrics: Metrics,
    correction: str,
) -> str:
    """The tables of scores and of identification, protocol by protocol.

    Parameters
    ----------
    title : str
        Whose images they are.
    about : sentences
        What was compared with what, and what does not count.
    rows, identified, tested
        The rows of scores.csv, identification.csv and significance.csv.
    metrics : {metric: (label, kind)}
    correction : str
        How p was corrected, "holm" or "fdr".
    """
    lines = [f"# {title}", "", *(f"- {each}" for each in about), ""]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        of_protocol = [[row for row in each if row["protocol"] == protocol] for each in (rows, identified, tested)]
        lines += [f"## Protocol {protocol}", "", *_scores(of_protocol[0], of_protocol[2], metrics), ""]
        if of_protocol[1]:
            lines += [*_identification(of_protocol[1], metrics), ""]
    lines += [
        "Intervals are 95 % of a bootstrap over images. Shuffled: every stimulus with another stimulus' image. p: the "
        "share of assignments of images to stimuli with a mean score at least as good, the observed one among them; "
        f"corrected for the metrics of a table by {CORRECTIONS[correction]}; `<=` marks the smallest p that a test can "
        "give. Two-way: the share of the others of a pool that resemble less than the own one; top k: how often fewer "
        "than k of the others of a pool resemble as much or more. A tie counts against. Numbers of two protocols are "
        "not comparable.",
        "",
    ]
    return "\n".join(lines)


def _scores(rows: Rows, tested: Rows, metrics: Metrics) -> Iterator[str]:
    """The table of metrics."""
    tests = {row["metric"]: row for row in tested}
    yield "| metric | images | mean [interval] | shuffled | chance | p | p corrected | counted |"
    yield "|" + " --- |" * 8
    for row in rows:
        label, kind = metrics[row["metric"]]
        test, percent = tests[row["metric"]], kind == "two_way"
        arrow = "\N{DOWNWARDS ARROW}" if row["better"] == "lower" else "\N{UPWARDS ARROW}"
        is_least = test["p"] and test["p"] == test["least_p"]
        cells = (
            f"{label} {arrow}{' %' * percent}",
            row["n"],
            _with_interval(row["mean"], row["low"], row["high"], percent),
            _number(row["shuffled"], percent),
            _number(row["chance"], percent),
            ("<= " if is_least else "") + _p(test["p"]),
            _p(test["p_corrected"]),
            test["counted"],
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _identification(rows: Rows, metrics: Metrics) -> Iterator[str]:
    """The table of identification by the features of evaluation networks."""
    yield "| features of | searched | measure | pool | images | share % [interval] | chance % |"
    yield "|" + " --- |" * 7
    for row in rows:
        cells = (
            metrics[row["metric"]][0],
            row["searched"],
            row["measure"],
            row["pool"],
            row["n"],
            _with_interval(row["share"], row["low"], row["high"], True),
            _number(row["chance"], True),
        )
        yield f"| {' | '.join(map(str, cells))} |"


def _with_interval(mean: Any, low: Any, high: Any, percent: bool) -> str:
    interval = f" [{_number(low, percent)}, {_number(high, percent)}]" if low != "" else ""
    return _number(mean, percent) + interval


def _number(value: Any, percent: bool) -> str:
    if value == "":
        return NONE
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _p(text: str) -> str:
    return f"{float(text):.2g}" if text else NONE
