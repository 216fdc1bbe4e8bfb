"""What a run would do and why, in one screen: jobs by stage and subject, each with its reason in a few words."""

import ast
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from brain_diffuser.workflow import receipts, watch
from brain_diffuser.workflow.reconcile import Results

Key = tuple[str, str]
"""A stage and a subject."""

MOST_ROWS = 30
MOST_NAMES = 2
NEVER_MADE = "never made"
FOLLOWS = "after "


def described(job: Any) -> watch.Job:
    """A job of Snakemake's."""
    wildcards = ", ".join(f"{key}={value}" for key, value in job.wildcards_dict.items())
    return watch.Job(job.rule.name, wildcards, next(map(str, job.log), ""), str(job.benchmark or ""), "")


def why(job: Any, dag: Any, results: Results) -> str:
    """Why a job runs, in a few words; by receipts where Snakemake's own reason names no more than a file.

    Parameters
    ----------
    job, dag
        Snakemake's objects.
    results
        The folder of results and its receipts.
    """
    reason = dag.reason(job)
    names = [receipts.name_of(str(path), results.root) for path in job.output]
    held = [results.by_name[name] for name in names if name in results.by_name]
    newer = {str(path) for path in reason.updated_input} - {str(path) for path in reason.updated_input_run}
    if reason.forced:
        return "forced"
    if reason.incomplete_output:
        return "was interrupted"
    for name in names:
        if results.why_wrong(name):
            return results.why_wrong(name)
    if reason.params_changed:
        now = {name or "": repr(value) for name, value in job.params.items()}
        return changed(now, dict(held[0].params) if held else {})
    if reason.input_changed:
        return "has other inputs"
    if reason.software_stack_changed:
        return "has other software"
    if newer:
        return f"newer: {listed(sorted(map(os.path.basename, newer)))}"
    if reason.missing_output and not held:
        return NEVER_MADE
    stage = described(job).stage
    upstream = [described(each).stage for each in dag.dependencies[job] if dag.needrun(each)]
    if any(each != stage for each in upstream):
        return FOLLOWS + listed(sorted({each for each in upstream if each != stage}))
    return "" if upstream else "is missing" if reason.missing_output else "is asked for"


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> str:
    """Which parameters of a job differ: keys of config.yaml, or the code."""
    names = [name for name in now if before.get(name) != now[name]]
    keys = [key for name in names if name != "code" for key in _changed_keys(name, now[name], before.get(name, ""))]
    words = [f"settings changed: {listed(keys)}"] if keys else []
    return " and ".join([*words, *(["code changed"] if "code" in names else [])]) or "settings changed"


def _changed_keys(name: str, now: str, before: str) -> Iterator[str]:
    """Dotted keys by which two sections differ, each given as Python writes it; the name if they are no sections."""
    with suppress(ValueError, SyntaxError):
        sections = ast.literal_eval(now), ast.literal_eval(before)
        if all(isinstance(each, dict) for each in sections):
            yield from _differences("", *sections)
            return
    yield name


def _differences(path: str, now: Any, before: Any) -> Iterator[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        for key in dict.fromkeys((*now, *before)):
            yield from _differences(f"{path}.{key}" if path else str(key), now.get(key), before.get(key))
    elif now != before:
        yield path


def table(planned: Iterable[tuple[watch.Job, str]], most_rows: int = MOST_ROWS) -> Iterator[str]:
    """The jobs of a plan by stage and subject, with why they run; by stage alone where the rows would be too many.

    Parameters
    ----------
    planned
        Jobs in an order in which they can run, each with its reason.
    most_rows
        How many rows there may be.
    """
    by_stage: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for job, reason in planned:
        by_stage[job.stage][job.subject or "-"].append(reason)
    total = sum(len(some) for subjects in by_stage.values() for some in subjects.values())
    rows = [(stage, *each) for stage, subjects in by_stage.items() for each in subjects.items() if stage != "all"]
    if len(rows) > most_rows:
        rows = [(stage, *_together(subjects)) for stage, subjects in by_stage.items() if stage != "all"]
    cells = [("stage", "subject", "jobs", "why")]
    cells += [(stage, subject, f"{len(some):,}", _short(some)) for stage, subject, some in rows[:most_rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for stage, subject, n, reason in cells:
        yield f"{stage:{widths[0]}}  {subject:{widths[1]}}  {n:>{widths[2]}}  {reason}".rstrip()
    if len(rows) > most_rows:
        n_jobs = sum(len(some) for *_, some in rows[most_rows:])
        yield f"and {count(len(rows) - most_rows, 'more stage')} of {count(n_jobs, 'job')}"
    yield f"{'total':{widths[0]}}  {'':{widths[1]}}  {total:>{widths[2]}}"


def _together(subjects: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """The subjects of a stage, in words, and all their reasons."""
    shared = sum(subject.startswith("shared/") for subject in subjects)
    name = f"{len(subjects) - shared} subjects" + f" and {shared} shared" * bool(shared)
    name = next(iter(subjects)) if len(subjects) == 1 else name
    return name, [reason for some in subjects.values() for reason in some]


def _short(reasons: Collection[str]) -> str:
    """The reasons of a stage's jobs, once each; what follows from other stages only where nothing else is said."""
    found = [each for each in dict.fromkeys(reasons) if each]
    causes = [each for each in found if not each.startswith(FOLLOWS)]
    return "; ".join([*(causes or found)[:MOST_NAMES], *(["..."] if len(causes or found) > MOST_NAMES else [])])


def listed(names: Sequence[str]) -> str:
    """Some names, the first of many."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def count(n: int, noun: str) -> str:
    """Such as "1 job" and "1,200 jobs"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
