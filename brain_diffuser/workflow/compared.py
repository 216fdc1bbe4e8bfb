"""Forecasts of a finished run beside what it took, to see how far they are to be trusted.

    python -m brain_diffuser.compared [--configfile FILE ...] [--config KEY=VALUE ...] [other arguments of the run]

The forecast is that of a folder without results: speeds of the table that ships, times the factor of safety. A row is a
target, with all jobs that lead to it; without targets there is one row, the whole run.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import downloads, estimate, speeds, watch
from brain_diffuser.workflow.config import command_line

HEADER = ("target", "jobs", "forecast", "ran", "forecast / ran", "smallest stage", "largest stage")


class Row(NamedTuple):
    """A target: its jobs, CPU-seconds forecast and taken, and these of its stages; jobs that have none."""

    target: str
    jobs: int
    forecast: float
    ran: float
    stages: dict[str, tuple[float, float]]
    missing: tuple[str, ...]


def row(target: str, plan: Sequence[watch.Job], made: estimate.Estimate, taken: dict[tuple[str, str], float]) -> Row:
    """Compare the jobs of a target; those without a forecast, and those that have not run here, are named.

    Parameters
    ----------
    target
        Its name.
    plan
        All jobs that lead to it.
    made
        The estimate of a folder without results.
    taken : {name of a job: CPU-seconds}
        What finished jobs took.
    """
    stages: dict[str, tuple[float, float]] = {}
    missing = []
    jobs = [job for job in plan if job.rule not in estimate.NO_WORK and not downloads.is_download(job)]
    for job in jobs:
        forecast, ran = made.forecast(job), taken.get(name_of(job))
        if forecast is None or ran is None:
            missing.append(f"{job.rule} ({'has no forecast' if forecast is None else 'has not run here'})")
            continue
        before = stages.get(job.stage, (0.0, 0.0))
        stages[job.stage] = before[0] + forecast.cpu, before[1] + ran
    forecast, ran = (sum((each[place] for each in stages.values()), 0.0) for place in (0, 1))
    return Row(target, len(jobs), forecast, ran, stages, tuple(sorted(set(missing))))


def name_of(job: watch.Job) -> tuple[str, str]:
    """A job by its rule and wildcards, in any order."""
    return job.rule, ", ".join(sorted(f"{key}={value}" for key, value in job.values.items()))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as a table of Markdown, and what is not in them; of stages those that took two seconds count."""
    yield f"| {' | '.join(HEADER)} |"
    yield f"| {' | '.join('---' for _ in HEADER)} |"
    for each in rows:
        shares = sorted((a / b, stage) for stage, (a, b) in each.stages.items() if b >= 2)
        ends = [f"{share:.2f} {stage}" for share, stage in (shares[0], shares[-1])] if shares else ["", ""]
        times = (f"{seconds:.0f} s" for seconds in (each.forecast, each.ran))
        ratio = f"{each.forecast / each.ran:.2f}" if each.ran else ""
        yield f"| {' | '.join((each.target, str(each.jobs), *times, ratio, *ends))} |"
    missing = sorted({name for each in rows for name in each.missing})
    if missing:
        yield f"\nNot in these sums: {', '.join(missing)}."


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.compared",
        description=(__doc__ or "").partition("\n")[0],
        epilog=watch.OTHERS,
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as for snakemake")
    options, others, given = watch.parse(parser)
    files = ["--configfile", *options.configfile] if options.configfile else []
    files += ["--config", *options.config] if options.config else []
    names = [each for each in given if each != "--"]
    try:
        command_line.check_arguments(sys.argv[1:])
        cfg = estimate.read_config(options.configfile, options.config)
        made = estimate.Estimate(cfg, measured=[])
        taken = {name_of(job): used.cpu for job, used in speeds.finished_jobs(made.results)}
        rows = []
        for name in names or [""]:
            plan = watch.planned(["--forceall", *others, *files, *(["--", name] if name else [])])
            rows.append(row(name.removeprefix(f"{cfg.results}/") or "all", plan, made, taken))
        sys.stdout.write("\n".join(table(rows)) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
