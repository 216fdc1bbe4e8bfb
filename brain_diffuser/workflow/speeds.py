"""How fast jobs were: the measurements that ship with the project, and those of finished jobs in a folder of results.

    python -m brain_diffuser.speeds [--configfile FILE ...] [--config KEY=VALUE ...]

shows the finished jobs of a folder of results as lines of `speeds.tsv`, the table that ships. Its columns:

rule, about, networks, dtype, batch, units
    What jobs did, as `work_units.Work` says it.
jobs
    How many such jobs have been measured.
cpu, loop
    CPU-seconds of one of them, and those of its loop, which grow with the units. No loop: 0.
source
    The machine and how it was measured.
"""

import argparse
import ast
import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import precisions
from brain_diffuser.workflow import resource_usage, watch
from brain_diffuser.workflow.config.variants import split_seed_suffix
from brain_diffuser.workflow.job_sizes import Sizes
from brain_diffuser.workflow.work_units import Work, work_of

TABLE = Path(__file__).with_name("speeds.tsv")
COLUMNS = ("rule", "about", "networks", "dtype", "batch", "units", "jobs", "cpu", "loop", "processor", "source")
TOO_SHORT = 30.0
"""Seconds below which Snakemake's table of a job may have missed most of its processor time."""
HERE = "measured here"
SPREAD = 1.5
"""How much larger one measured job has to be than another to tell what a job takes before its first unit."""


@dataclass(frozen=True)
class Measurement:
    """What finished jobs of some work took.

    Parameters
    ----------
    work
        What each of them did.
    cpu, loop : float
        CPU-seconds of a job, and those of its loop.
    jobs
        How many jobs it is the mean of.
    seconds : float
        Of the clock, of a job; 0 where it was not kept.
    gpus
        Those that a job had.
    processor
        The instructions for bfloat16 of the processor, `amx` or `avx512_bf16`; empty where that is no matter.
    source
        Where the figures are from.
    """

    work: Work
    cpu: float
    loop: float
    jobs: int = 1
    seconds: float = 0.0
    gpus: int = 0
    processor: str = ""
    source: str = ""


class Speed(NamedTuple):
    """CPU-seconds of a job: `fixed`, and `each` of its units; without the latter in proportion beyond `measured`."""

    fixed: float
    each: float
    measured: float

    def seconds(self, units: float | int) -> float:
        """Of a job of so many units."""
        beyond = max(1.0, units / self.measured) if not self.each and self.measured else 1.0
        return (self.fixed + self.each * units) * beyond


def fit(some: Sequence[Measurement]) -> Speed:
    """The speed of jobs of the same kind, below none of them: a line through the smallest and the largest."""
    means: dict[float, list[Measurement]] = defaultdict(list)
    for each in some:
        means[each.work.units].append(each)
    points = sorted((units, _mean(same, "cpu")) for units, same in means.items())
    (low, cpu), (high, most) = points[0], points[-1]
    each = max(0.0, (most - cpu) / (high - low)) if high > SPREAD * low else 0.0
    if high <= SPREAD * low:
        each = max((one.loop / one.work.units for one in some if one.work.units), default=0.0)
    return Speed(max(0.0, *(seconds - each * units for units, seconds in points)), each, high)


def _mean(some: Sequence[Measurement], name: str) -> float:
    """The mean of a figure, of all jobs."""
    return sum(getattr(each, name) * each.jobs for each in some) / sum(each.jobs for each in some)


def shipped(path: Path = TABLE) -> list[Measurement]:
    """The measurements that ship with the project."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [_of_row(row) for row in csv.DictReader(stream, delimiter="\t")]


def _of_row(row: dict[str, str]) -> Measurement:
    work = Work(row["rule"], row["about"], row["networks"], row["dtype"], int(row["batch"]), float(row["units"]))
    figures = float(row["cpu"]), float(row["loop"]), int(row["jobs"])
    return Measurement(work, *figures, processor=row["processor"], source=row["source"])


class Speeds:
    """Measurements, asked for what other work would take.

    Parameters
    ----------
    measurements
        Of finished jobs.
    processor
        The instructions for bfloat16 that the processor of this machine has, `amx` or `avx512_bf16`; empty for none.
    """

    def __init__(self, measurements: Iterable[Measurement], processor: str = ""):
        self.by_kind: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
        for each in measurements:
            if each.processor in ("", processor):
                work = each.work
                self.by_kind[work.rule, work.about, work.networks, work.dtype].append(each)

    def of(self, work: Work) -> list[Measurement]:
        """Those of the same rule, networks and precision that are about the same, or else about something like it."""
        kinds = [(work.rule, name, work.networks, work.dtype) for name in alike(work)]
        return next((self.by_kind[kind] for kind in kinds if kind in self.by_kind), [])

    def seconds(self, work: Work) -> float | None:
        """CPU-seconds of a job, as likely as not above what it takes; None where none like it was measured."""
        by_batch: dict[int, list[Measurement]] = defaultdict(list)
        for each in self.of(work):
            by_batch[each.work.batch].append(each)
        if not by_batch or not work.is_known:
            return None
        taken = {batch: fit(some).seconds(work.units) for batch, some in by_batch.items()}
        return at_batch(taken, work.batch)

    def ratio(self, work: Work, other: Work) -> float | None:
        """How many times as long work takes as other work; None where either was not measured."""
        taken, expected = self.seconds(other), self.seconds(work)
        return expected / taken if taken and expected else None


def alike(work: Work) -> list[str]:
    """What work is about, and what takes as long or longer: of guided images, whose units count the guidance, others.

    An image with another backbone takes no longer than one with Versatile Diffusion, which has two UNets.
    """
    names = [work.about, work.about.removesuffix(" guided")]
    return [*names, "versatile_diffusion"] if work.rule == "recon_shard" else names


def at_batch(taken: dict[int, float], batch: int) -> float:
    """Seconds with batches of a size by seconds with other sizes: on a line in 1 / size, which every batch costs.

    Below the smallest that was measured a batch counts as much as the smallest, whatever number of images it has.
    """
    if batch in taken:
        return taken[batch]
    if 0 in taken or not batch:
        return taken.get(0, max(taken.values()))
    below, above = [each for each in taken if each < batch], [each for each in taken if each > batch]
    if not below:
        return taken[min(above)] * min(above) / batch
    if not above:
        return taken[max(below)]
    small, large = max(below), min(above)
    share = (1 / batch - 1 / large) / (1 / small - 1 / large)
    return taken[large] + share * (taken[small] - taken[large])


def processor() -> str:
    """The instructions for bfloat16 that this machine's processor has: amx, avx512_bf16 or none."""
    flags = precisions.CPUINFO.read_text(encoding="utf-8", errors="replace") if precisions.CPUINFO.is_file() else ""
    return next((name for name in ("amx", "avx512_bf16") if re.search(rf"\b{name}", flags)), "")


FINISHED = re.compile(r"^\S+ (?P<rule>\w+): used .*;\s*(?P<wildcards>[^;]*)$")


def finished_jobs(results: Path) -> Iterator[tuple[watch.Job, resource_usage.Table]]:
    """The finished jobs in a folder of results, and what each took.

    Tables of jobs whose logs do not say it count if the jobs took half a minute: Snakemake looks at them that often.

    Raises ValueError: a table is damaged.
    """
    for folder in [*resource_usage.folders(results), results]:
        for table in resource_usage.tables(folder / "benchmarks"):
            job = _job(folder, f"{table.name}_{table.span}" if table.span else table.name)
            if job and (table.used or table.seconds >= TOO_SHORT):
                yield job, table


def finished(results: Path, sizes: Sizes) -> list[Measurement]:
    """What every finished job in a folder of results took, with the work that it did.

    Raises ValueError: a table is damaged.
    """
    return [_measurement(job, table, sizes) for job, table in finished_jobs(results) if _is_sized(job, sizes)]


def _is_sized(job: watch.Job, sizes: Sizes) -> bool:
    """Whether the configuration tells what a finished job did: not of variants and subjects that it has no more.

    Neither does it say which stimuli an earlier run has chosen.
    """
    variant, _ = split_seed_suffix(job.values.get("variant", ""))
    is_subject = job.subject in ("", "average") or (sizes.results / job.subject / "data/stimuli.tsv").is_file()
    is_chosen = job.rule.startswith("chosen_") and job.rule != "chosen_table"
    return variant in ("", *sizes.cfg.variants) and is_subject and not is_chosen


def _measurement(job: watch.Job, table: resource_usage.Table, sizes: Sizes) -> Measurement:
    """What a job took; its denoising steps and its precision are those of its log."""
    used, gpus = table.used, table.gpus or 0
    if used is None:
        return Measurement(work_of(sizes, job), table.cpu, 0.0, seconds=table.seconds, gpus=gpus, source=HERE)
    n_steps = used.loop.n_steps / used.loop.n_items if used.loop.n_items else None
    work = work_of(sizes, job, n_steps)
    if used.dtype and work.dtype:
        work = work._replace(dtype=used.dtype)
    return Measurement(work, table.cpu, used.loop.cpu, seconds=table.seconds, gpus=gpus, source=HERE)


def _job(folder: Path, name: str) -> watch.Job | None:
    """A finished job, by the last line of its log or else by its table; None where neither names it."""
    table, log = folder / "benchmarks" / f"{name}.tsv", folder / "logs" / f"{name}.log"
    row = resource_usage.read_benchmark(table) or {}
    resources = "".join(f"{key}={value} " for key, value in _named(row.get("resources")).items())
    said = FINISHED.match((watch.last_lines(str(log), 1) or [""])[-1])
    if said:
        return watch.Job(said["rule"], said["wildcards"], str(log), str(table), resources)
    if "rule_name" not in row:
        return None
    wildcards = ", ".join(f"{key}={value}" for key, value in _named(row.get("wildcards")).items())
    return watch.Job(row["rule_name"], wildcards, str(log), str(table), resources)


def _named(cell: str | None) -> dict[str, object]:
    """A cell of a table of Snakemake's that holds a dict; empty where it holds none."""
    try:
        found = ast.literal_eval(cell or "{}")
    except (ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}


def averaged(some: Iterable[Measurement]) -> list[Measurement]:
    """One measurement for all jobs of the same work, in the order of their rules."""
    groups: dict[Work, list[Measurement]] = defaultdict(list)
    for each in some:
        groups[each.work].append(each)
    return [
        replace(same[0], cpu=_mean(same, "cpu"), loop=_mean(same, "loop"), jobs=sum(each.jobs for each in same))
        for _, same in sorted(groups.items())
    ]


def rows(some: Iterable[Measurement]) -> Iterator[str]:
    """Lines of the table that ships."""
    for each in averaged(some):
        work = each.work
        cells = [*work[:4], work.batch, f"{work.units:.6g}", each.jobs, f"{each.cpu:.3g}", f"{each.loop:.3g}"]
        yield "\t".join(map(str, [*cells, each.processor, each.source]))


def main() -> None:
    from brain_diffuser.workflow import estimate

    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.speeds",
        description="The finished jobs of a folder of results as lines of speeds.tsv, the speeds that ship.",
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="those of the finished run")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="those of the finished run")
    parser.add_argument("--source", default="", help="the machine, for the last column")
    options = parser.parse_args()
    try:
        cfg = estimate.read_config(options.configfile, options.config)
        sizes = Sizes(cfg, estimate.dtype_of(cfg))
        found = [replace(each, source=options.source) for each in finished(Path(cfg.results), sizes)]
        sys.stdout.write("\n".join(["\t".join(COLUMNS), *rows(found)]) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
