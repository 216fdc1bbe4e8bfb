"""Answers of people to the trials of a rating: read, checked, and analysed for each rater, stimulus and metric."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import permutations, registry, statistics
from brain_diffuser.evaluation.metrics import LOWER_IS_BETTER
from brain_diffuser.evaluation.rating_trials import CANDIDATES, CATCH, RATED, Kit, Trial

COLUMNS = ("kit", "rater", "place", "trial", "left", "right", "chosen", "milliseconds")
RATERS = (
    *("rater", "trials", "correct", "share", "p", "least_p", "catch_trials", "catch_correct", "passed"),
    *("left_share", "median_seconds"),
)
STIMULI = ("nsd_id", "raters", "correct", "share")
AGREEMENT = ("metric", "n", "correlation", "p", "least_p", "counted")
N_RESAMPLES = 1000


class Answer(NamedTuple):
    """A rater's answer to a trial."""

    rater: str
    trial: Trial
    is_correct: bool
    was_left: bool
    milliseconds: float


class Pooled(NamedTuple):
    """All raters who passed: their number, the mean share over stimuli, its interval, and a test."""

    raters: int
    share: float
    low: float
    high: float
    test: permutations.Test


def read(paths: Sequence[str | Path], kit: Kit) -> list[Answer]:
    """The answers in files that pages of a kit gave out.

    Raises FileNotFoundError, ValueError: a file is no such table, is of another kit, or names a trial or candidate that
    is not there, or a rater answered a trial twice.
    """
    trials = {trial.name: trial for trial in kit.trials}
    seen: dict[tuple[str, str], str | Path] = {}
    answers = []
    for path in paths:
        rows = tables.read_csv(path, COLUMNS)
        if not rows:
            raise ValueError(f"{path} has no answer; leave it out, or download it again once trials are answered")
        milliseconds = tables.numbers(path, rows, "milliseconds", np.float64)
        for line, (row, duration) in enumerate(zip(rows, milliseconds, strict=True), 2):
            _check(path, line, row, kit, trials)
            key = row["rater"], row["trial"]
            if key in seen:
                raise ValueError(
                    f"{path} line {line}: rater {row['rater']} answers trial {row['trial']} a second time (first in "
                    f"{seen[key]}); keep one of the files, or give two people two ids"
                )
            seen[key] = path
            trial = trials[row["trial"]]
            is_correct, was_left = row["chosen"] == trial.right, row["chosen"] == row["left"]
            answers.append(Answer(row["rater"], trial, is_correct, was_left, float(duration)))
    return answers


def _check(path: str | Path, line: int, row: Mapping[str, str], kit: Kit, trials: Mapping[str, Trial]) -> None:
    """Raise if a row is none that a page of the kit wrote."""
    where = f"{path} line {line}"
    if row["kit"] != kit.key:
        raise ValueError(
            f"{where} is an answer to kit {row['kit']!r}, and the trials are those of kit {kit.key!r}; name the folder "
            "of the page that was rated with --kit"
        )
    if not row["rater"].strip():
        raise ValueError(f"{where} has no rater; write an id of the rater into all of its lines")
    if row["trial"] not in trials:
        raise ValueError(
            f"{where} answers trial {row['trial']!r}, which the kit does not have; download the file again"
        )
    if {row["left"], row["right"]} != set(CANDIDATES) or row["chosen"] not in CANDIDATES:
        raise ValueError(
            f"{where} has left {row['left']!r}, right {row['right']!r} and chosen {row['chosen']!r}; expected a and b, "
            "and one of them, so download the file again"
        )


def of_raters(answers: Sequence[Answer], catch_share: float) -> list[dict[str, Any]]:
    """A row of RATERS for each rater, in order of appearance.

    p is exact: of all ways to swap the roles of the two candidates, trial by trial, the share with as many correct.
    A rater passes who answers at least `catch_share` of the catch trials correctly, or had none.

    Parameters
    ----------
    answers : sequence of Answer
    catch_share : float
        0 to 1.
    """
    rows = []
    for rater in dict.fromkeys(each.rater for each in answers):
        own = [each for each in answers if each.rater == rater]
        rated, caught = ([each for each in own if each.trial.kind == kind] for kind in (RATED, CATCH))
        n, correct, n_caught = len(rated), _correct(rated), _correct(caught)
        numbers = {
            "share": correct / n if n else math.nan,
            "p": p_of_swaps(correct, n) if n else math.nan,
            "least_p": 0.5**n if n else math.nan,
        }
        rows.append(
            {"rater": rater, "trials": n, "correct": correct}
            | {key: tables.formatted(value, ".6g") for key, value in numbers.items()}
            | {
                "catch_trials": len(caught),
                "catch_correct": n_caught,
                "passed": "yes" if n_caught >= catch_share * len(caught) else "no",
                "left_share": tables.formatted(float(np.mean([each.was_left for each in own])), ".4g"),
                "median_seconds": tables.formatted(float(np.median([each.milliseconds for each in own])) / 1000, ".4g"),
            }
        )
    return rows


def _correct(answers: Sequence[Answer]) -> int:
    return sum(each.is_correct for each in answers)


def p_of_swaps(correct: int, n: int) -> float:
    """The share of all ways to swap the two candidates of n trials that have at least as many correct answers."""
    from scipy.stats import binom

    return float(binom.sf(correct - 1, n, 0.5))


def of_stimuli(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """A row of STIMULI for each rated stimulus: how many raters saw it, and the share of them who found it."""
    by_stimulus: dict[int, list[Answer]] = {}
    for each in answers:
        if each.trial.kind == RATED:
            by_stimulus.setdefault(each.trial.nsd_id, []).append(each)
    return [
        {
            "nsd_id": nsd_id,
            "raters": len(own),
            "correct": _correct(own),
            "share": tables.formatted(_correct(own) / len(own), ".6g"),
        }
        for nsd_id, own in sorted(by_stimulus.items())
    ]


def pooled(raters: int, stimuli: Sequence[Mapping[str, Any]], n_permutations: int, seed: int) -> Pooled:
    """The mean share over stimuli, its 95 % bootstrap interval, and a test; two-sided.

    The test swaps the roles of a stimulus' two candidates for all raters at once, because they saw the same two.

    Parameters
    ----------
    raters : int
        How many raters there are.
    stimuli
        Rows of STIMULI.
    n_permutations, seed : int
        Of the test.
    """
    shares = np.array([float(row["share"]) for row in stimuli])
    mean, (low, high), _ = statistics.mean_and_ci(shares, N_RESAMPLES, seed)
    return Pooled(raters, mean, low, high, permutations.of_differences(shares - 0.5, n_permutations, seed))


def agreement(
    stimuli: Sequence[Mapping[str, Any]], scores: Path, n_permutations: int, seed: int
) -> list[dict[str, Any]]:
    """A row of AGREEMENT for each metric: Spearman's correlation with the share of raters who were right, over stimuli.

    Positive where people find the stimuli whose images the metric calls better, whether higher or lower is better. p is
    the share of assignments of scores to stimuli with a correlation at least as high.

    Parameters
    ----------
    stimuli
        Rows of STIMULI.
    scores : path
        A table of nsd_id and one column for each metric, such as metrics/per_image_recon.csv.
    n_permutations, seed : int
        Of the tests.

    Raises
    ------
    ValueError
        The table lacks a stimulus that was rated.
    """
    from scipy.stats import rankdata

    rows = tables.read_csv(scores, ("nsd_id",))
    ids = tables.numbers(scores, rows, "nsd_id", np.int32).tolist()
    place = {number: row for row, number in enumerate(ids)}
    lacking = [row["nsd_id"] for row in stimuli if row["nsd_id"] not in place]
    if lacking:
        raise ValueError(f"{scores} lacks nsd_id {lacking[0]}, which was rated; name the scores of the rated images")
    order = [place[row["nsd_id"]] for row in stimuli]
    kinds = {name: kind for name, (_, kind) in registry.describe(registry.SCORERS).items()}
    shares = np.array([float(row["share"]) for row in stimuli])
    found = []
    for metric in [name for name in (rows[0] if rows else ()) if name != "nsd_id"]:
        values = tables.numbers(scores, rows, metric, np.float64)[order]
        values = -values if kinds.get(metric) == LOWER_IS_BETTER else values
        known = ~np.isnan(values)
        a, b = (_standardised(rankdata(each[known])) for each in (shares, values))
        test = permutations.UNTESTED
        if len(a) > 2 and a.any() and b.any():
            test = permutations.of_pairings(np.outer(a, b), n_permutations, seed)
        numbers = (test.observed, test.p, test.least)
        shown = (tables.formatted(value, ".6g") for value in numbers)
        found.append(dict(zip(AGREEMENT, (metric, int(known.sum()), *shown, test.method), strict=True)))
    return found


def _standardised(ranks: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and spread 1, or zeros if all are equal."""
    centred = ranks - ranks.mean()
    return centred / centred.std() if centred.any() else centred


def write(
    folder: Path,
    kit: Kit,
    raters: Sequence[Mapping[str, Any]],
    stimuli: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]],
    all_of_them: Pooled,
    catch_share: float,
) -> str:
    """Write raters.csv, stimuli.csv, agreement.csv and ratings.md; the text of the last.

    Parameters
    ----------
    folder : path
    kit : Kit
    raters, stimuli, metrics
        Rows of RATERS, STIMULI and AGREEMENT.
    all_of_them : Pooled
    catch_share : float
        Share of catch trials that a rater had to answer correctly.
    """
    for name, columns, rows in (
        ("raters.csv", RATERS, raters),
        ("stimuli.csv", STIMULI, stimuli),
        ("agreement.csv", AGREEMENT, metrics),
    ):
        tables.write_csv(folder / name, columns, ([row[key] for key in columns] for row in rows))
    n_rated = sum(trial.kind == RATED for trial in kit.trials)
    labels = registry.describe(registry.SCORERS)
    lines = [
        f"**Ratings of {kit.images}**, kit {kit.key}: which of two stimuli is an image a reconstruction of? Chance is "
        "50 %.",
        "",
        "| rater | rated | correct % | p | catch trials correct | passed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in raters:
        share = f"{100 * float(row['share']):.1f}" if row["share"] else "\N{EN DASH}"
        p = f"{'<= ' * (row['p'] == row['least_p'])}{float(row['p']):.2g}" if row["p"] else "\N{EN DASH}"
        caught = f"{row['catch_correct']} of {row['catch_trials']}"
        lines.append(f"| {row['rater']} | {row['trials']} of {n_rated} | {share} | {p} | {caught} | {row['passed']} |")
    lines += ["", *_pooled_lines(all_of_them, len(stimuli), catch_share), ""]
    if metrics:
        lines += ["| metric | stimuli | Spearman with people | p |", "| --- | --- | --- | --- |"]
        for row in metrics:
            label = labels.get(row["metric"], (row["metric"], ""))[0]
            number = f"{float(row['correlation']):.3f}" if row["correlation"] else "\N{EN DASH}"
            p = f"{'<= ' * (row['p'] == row['least_p'])}{float(row['p']):.2g}" if row["p"] else "\N{EN DASH}"
            lines.append(f"| {label} | {row['n']} | {number} | {p} |")
        lines.append("")
    text = "\n".join(lines)
    (folder / "ratings.md").write_text(text, encoding="utf-8")
    return text


def _pooled_lines(found: Pooled, n_stimuli: int, catch_share: float) -> list[str]:
    rule = f"A rater passes with {100 * catch_share:g} % of the catch trials correct."
    swaps = (
        "p of a rater counts all ways to swap the two candidates' roles, trial by trial; `<=` marks the smallest p "
        "that the test can give."
    )
    if not found.raters:
        return [f"{rule} {swaps} No rater passed."]
    test = found.test
    interval = f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    p = f"{'<= ' * (test.p == test.least)}{test.p:.2g}"
    who = f"{found.raters} rater{'s' * (found.raters > 1)} who passed"
    return [
        f"{who}: {100 * found.share:.1f} % correct {interval}, mean over {n_stimuli} stimuli with its 95 % bootstrap "
        f"interval over stimuli; p {p} by {test.method} of all raters at once, two-sided.",
        "",
        f"{rule} {swaps}",
    ]


def names_of_passed(raters: Sequence[Mapping[str, Any]]) -> set[str]:
    """The raters who passed."""
    return {row["rater"] for row in raters if row["passed"] == "yes"}
