"""What a run will take, before it starts: time of processors and GPUs, and disk, of the jobs that Snakemake plans.

    python -m brain_diffuser.estimate [--configfile FILE ...] [--config KEY=VALUE ...] [other arguments of the run]

Every planned job counts. Where the folder of results has finished jobs of the same kind, their own speed counts first,
scaled to the planned steps, precision and batches; else that of the table that ships (speeds.tsv). What neither has is
named, and the sum is said to be "at least" so much.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import (
    dataset_record,
    disk_sizes,
    downloads,
    resource_usage,
    schedule,
    shorter_runs,
    speeds,
    watch,
)
from brain_diffuser.workflow.config import checks as configuration
from brain_diffuser.workflow.config import command_line, file_paths, schema, sources, targets
from brain_diffuser.workflow.job_sizes import Sizes
from brain_diffuser.workflow.plan import device, is_small, settle
from brain_diffuser.workflow.work_units import Work, work_of

SAFETY = 1.3
"""Factor of every time, so that a forecast is rarely below what ran; docs/watching.md has the ratios behind it."""
MEGABITS = 100.0
"""Of a second, that downloads take if nothing else is said."""


class Forecast(NamedTuple):
    """What a job takes: seconds of processors, of GPUs and of the clock on its cores, and how that is known."""

    cpu: float
    gpu: float
    clock: float
    source: str


@dataclass
class Need:
    """What planned jobs of a stage take. `unknown` are the rules whose jobs have no figure."""

    jobs: int = 0
    cpu: float = 0.0
    gpu: float = 0.0
    disk: int = 0
    sources: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


class Estimate:
    """Figures for the jobs of a configuration.

    Parameters
    ----------
    cfg
        The configuration.
    n_cores : int
        Of the machine that will run it.
    measured : sequence of Measurement, optional
        Of finished jobs in the folder of results; they are looked for there if nothing is given.
    dtype
        The precision of networks; what `compute.dtype` stands for if nothing is given.
    """

    def __init__(
        self,
        cfg: schema.Config,
        n_cores: int = 1,
        measured: Sequence[speeds.Measurement] | None = None,
        dtype: str = "",
    ):
        self.cfg, self.results, self.n_cores = cfg, Path(cfg.results), n_cores
        self.sizes = Sizes(cfg, dtype or dtype_of(cfg))
        self.shipped = speeds.Speeds(speeds.shipped(), speeds.processor())
        self.measured = self._measured() if measured is None else measured
        self.own: dict[tuple[str, str, bool], list[speeds.Measurement]] = {}
        for each in self.measured:
            key = each.work.rule, each.work.about, each.gpus > 0
            self.own.setdefault(key, []).append(each)

    def of_other(self, cfg: schema.Config, dtype: str) -> "Estimate":
        """The same for other settings."""
        return Estimate(cfg, self.n_cores, self.measured, dtype)

    def _measured(self) -> list[speeds.Measurement]:
        """Finished jobs in the folder of results, if it is this dataset's."""
        held = dataset_record.read(self.results)
        is_own = held is None or dataset_record.is_same(held, dataset_record.of_config(self.cfg))
        return speeds.finished(self.results, self.sizes) if is_own else []

    def about(self) -> str:
        """Which dataset this is for, and whose speeds count."""
        own = f"speeds measured in {self.results}, which are of this dataset, count first"
        none = f"{self.results} has no speeds of this dataset yet"
        return f"Dataset {self.cfg.dataset}, results in {self.results}; {own if self.own else none}."

    def forecast(self, job: watch.Job) -> Forecast | None:
        """What a job takes; None where nothing like it was measured."""
        work = work_of(self.sizes, job)
        own = self._own(work, job.gpus)
        if own:
            return own
        seconds = None if job.gpus else self.shipped.seconds(work)
        if seconds is None:
            return None
        seconds *= SAFETY
        source = self.shipped.of(work)[0].source
        return Forecast(seconds, 0.0, seconds / schedule.threads(job, self.n_cores), source)

    def _own(self, work: Work, gpus: int) -> Forecast | None:
        """What a job takes by finished jobs here; None where there is none, or none whose precision can be scaled."""
        kinds = [(work.rule, name, gpus > 0) for name in speeds.alike(work)]
        some = next((self.own[kind] for kind in kinds if kind in self.own), None)
        if some is None:
            return None
        like = [each for each in some if each.work[3:5] == work[3:5]] or [
            each for each in some if each.work[3:5] == some[-1].work[3:5]
        ]
        last = like[-1].work
        factor = self._factor(work, work._replace(dtype=last.dtype, batch=last.batch), bool(gpus))
        if factor is None:
            return None
        cpu = speeds.fit(like).seconds(work.units) * factor * SAFETY
        clock = cpu * sum(each.seconds for each in like) / max(sum(each.cpu for each in like), 1e-9)
        return Forecast(cpu, clock * gpus, clock, speeds.HERE)

    def _factor(self, work: Work, measured: Work, is_on_gpu: bool) -> float | None:
        """How many times as long work takes as the same with the precision and batches that were measured here."""
        if work == measured:
            return 1.0
        ratio = None if is_on_gpu else self.shipped.ratio(work, measured)
        if ratio is None and work.dtype == measured.dtype:
            return max(1.0, measured.batch / max(1, work.batch))
        return ratio

    def time(self, jobs: Sequence[watch.Job]) -> tuple[float, float | int]:
        """Seconds of processors, and of the clock on the cores of this run, of jobs that have a figure."""
        found = [(job, self.forecast(job)) for job in jobs if not downloads.is_download(job)]
        timed = [schedule.Timed(job, forecast.clock if forecast else 0.0) for job, forecast in found]
        return sum((each.cpu for _, each in found if each), 0.0), schedule.clock(timed, self.n_cores)


def needs(estimate: Estimate, plan: Sequence[watch.Job]) -> dict[str, Need]:
    """What each stage takes; stages in the order of a run, whatever the order of the plan."""
    found: dict[str, Need] = {}
    for job in plan:
        if job.rule in NO_WORK:
            continue
        stem = Path(job.benchmark).stem if job.benchmark else job.rule
        place = next((each for each in resource_usage.PLACES if job.rule.startswith(each)), "")
        stage = resource_usage.stage_of(stem, place)
        need = found.setdefault("downloads" if downloads.is_download(job) else stage, Need())
        need.jobs += 1
        if downloads.is_download(job):
            need.disk += downloads.n_bytes(job) or 0
            need.sources.add("sizes as published")
            if downloads.n_bytes(job) is None:
                need.unknown.add(downloads.name_of(job))
            continue
        need.disk += disk_sizes.of_job(estimate.sizes, job)
        forecast = estimate.forecast(job)
        if forecast is None:
            need.unknown.add(f"{job.rule} on a GPU" if job.gpus else job.rule)
        else:
            need.cpu, need.gpu = need.cpu + forecast.cpu, need.gpu + forecast.gpu
            need.sources.add(
                speeds.HERE if forecast.source == speeds.HERE else "measured" if is_measured(forecast) else "estimate"
            )
    order = ("downloads", *resource_usage.PLACES, *resource_usage.STAGES, "other")
    return {stage: found[stage] for stage in sorted(found, key=order.index)}


NO_WORK = ("all", "fetch", "rehearsal", "estimate")
"""Rules that only name what others make."""


def is_measured(forecast: Forecast) -> bool:
    """Whether a figure was measured, not estimated from others."""
    return not forecast.source.startswith("estimate")


def lines(estimate: Estimate, plan: Sequence[watch.Job], megabits: float = MEGABITS) -> Iterator[str]:
    """The table, the sum, what is not in it, and what would shorten the run."""
    found = needs(estimate, plan)
    yield from _table(found)
    unknown = sorted(set().union(*(need.unknown for need in found.values())))
    at_least = "at least " if unknown else "about "
    cpu, clock = estimate.time(plan)
    gpu, disk = sum(need.gpu for need in found.values()), sum(need.disk for need in found.values())
    time = resource_usage.as_time
    on_gpu = f", {time(gpu / 3600)} of GPUs" if gpu else ""
    yield ""
    yield (
        f"In all {at_least}{time(cpu / 3600)} of CPU cores{on_gpu}, {at_least}{time(clock / 3600)} by the clock on "
        f"{estimate.n_cores} core{'s' * (estimate.n_cores > 1)}, {resource_usage.as_size(disk)} on disk."
    )
    yield from _basis(estimate, plan)
    yield (
        "Disk is computed from shapes, images as if they were not compressed; shards take up to as much again as "
        "features until they are gathered."
    )
    if estimate.sizes.guessed:
        names = ", ".join(sorted(estimate.sizes.guessed))
        yield f"The stimuli of {names} are not counted yet; the largest number that there can be stands for them."
    if unknown:
        yield f"Nothing like these jobs was measured, and so they are not counted in time: {', '.join(unknown)}."
    if "downloads" in found:
        n = found["downloads"].disk
        hours = time(downloads.seconds(n, megabits) / 3600)
        yield f"{resource_usage.as_size(n)} are fetched, in {hours} at {megabits:g} megabits a second, on top of that."
    yield from shorter_runs.lines(estimate, plan)


def _table(found: Mapping[str, Need]) -> Iterator[str]:
    """What each stage takes, aligned."""
    cells = [("stage", "jobs", "CPU time", "GPU time", "disk", "time is")]
    for stage, need in found.items():
        size = resource_usage.as_size(need.disk) if need.disk else ""
        cpu, gpu = (resource_usage.as_time(each / 3600) if each else "" for each in (need.cpu, need.gpu))
        basis = ", ".join([*sorted(need.sources), *(["at least"] if need.unknown else [])])
        cells.append((stage, str(need.jobs), cpu, gpu, size, basis))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _basis(estimate: Estimate, plan: Sequence[watch.Job]) -> Iterator[str]:
    """From which machines the figures are."""
    known = [estimate.forecast(job) for job in plan if not downloads.is_download(job)]
    elsewhere = sorted({each.source for each in known if each and each.source != speeds.HERE and is_measured(each)})
    if elsewhere:
        machines = "; ".join(elsewhere)
        yield f"Speeds that the folder of results lacks are those of {speeds.TABLE.name}, measured on: {machines}."
    if not all(is_measured(each) for each in known if each):
        yield f"{speeds.TABLE.name} says from what the estimates are."
    share = f"{round((SAFETY - 1) * 100)} %"
    yield f"Times are {share} longer than those measured, so that a run rarely takes more."


def dtype_of(cfg: schema.Config) -> str:
    """The precision of networks, or what "auto" stands for in the folder of results on this machine."""
    config = cfg.model_dump()
    known = dataset_record.settled(Path(cfg.results), dataset_record.of_config(cfg))
    settle(config, device(cfg.compute.device), known, is_small(cfg.paths.versatile_diffusion))
    return config["compute"]["dtype"]


def read_config(files: Sequence[str], changes: Sequence[str] = ()) -> schema.Config:
    """config.yaml with what these files and then changes (KEY=VALUE) say, as Snakemake reads them."""
    command_line.check_files(files)
    read = sources.Sources([*map(sources.of_file, ("config.yaml", *files)), sources.of_arguments(changes)])
    found = _written(files, changes)
    read.give_types(found)
    try:
        file_paths.expand(found)
    except ValueError as error:
        raise ValueError(read.located(str(error))) from None
    return configuration.read(found, Path.cwd(), read)


def read_values(files: Sequence[str], changes: Sequence[str] = ()) -> schema.Config:
    """The same for a program that reads few of its files, none of which is looked at here.

    Raises ValueError: see `checks.read_values`.
    """
    command_line.check_files(files)
    read = sources.Sources([*map(sources.of_file, ("config.yaml", *files)), sources.of_arguments(changes)])
    found = _written(files, changes)
    read.give_types(found)
    file_paths.expand(found)
    return configuration.read_values(found, read)


def _written(files: Sequence[str], changes: Sequence[str] = ()) -> dict[str, Any]:
    """What config.yaml, these files and changes say, the later ones over the earlier."""
    found: dict[str, Any] = {}
    for file in ("config.yaml", *files):
        update_config(found, load_configfile(file))
    update_config(found, parse_config(changes))
    return found


def read_without_files(files: Sequence[str]) -> schema.Config:
    """config.yaml with what these files say, whether or not the files of data and models are there.

    Raises ValueError: a key is missing or has a value that cannot be.
    """
    found = _written(files)
    file_paths.expand(found)
    return schema.Config.model_validate(found)


def with_chosen(cfg: schema.Config, arguments: Sequence[str]) -> schema.Config:
    """The configuration with the stimuli that targets choose, as the workflow reads them."""
    return cfg.with_only(targets.of_chosen(arguments, cfg.recon.only, cfg.results, cfg.adapter.prefix).only)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.estimate",
        description=(__doc__ or "").partition("\n")[0],
        epilog=watch.OTHERS,
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as for snakemake")
    parser.add_argument("--cores", default="all", help="as for snakemake, for the time by the clock")
    parser.add_argument("--megabits", type=float, default=MEGABITS, help="a second, of downloads; default: %(default)g")
    options, others, given = watch.parse(parser)
    files = ["--configfile", *options.configfile] if options.configfile else []
    files += ["--config", *options.config] if options.config else []
    if options.cores != "all" and not options.cores.isdecimal():
        sys.exit(f"--cores is {options.cores}; expected all or a whole number")
    if not 0 < options.megabits < float("inf"):
        sys.exit(f"--megabits is {options.megabits:g}; expected a number above 0")
    try:
        command_line.check_arguments(sys.argv[1:])
        plan = watch.planned(["--cores", options.cores, *others, *files, *given])
        cfg = with_chosen(read_config(options.configfile, options.config), [*others, *given])
        estimate = Estimate(cfg, (os.cpu_count() or 1) if options.cores == "all" else int(options.cores))
        shown = lines(estimate, plan, options.megabits)
        sys.stdout.write("\n".join([estimate.about(), "", *shown]) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
