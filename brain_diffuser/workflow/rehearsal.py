"""Rehearse a run before its data are there: few images pass networks of the published sizes, and tell its hours.

    python -m brain_diffuser.rehearsal [--configfile FILE ...] [--cores N]

Takes the config files of the run that is planned. Random networks and one session of random betas, of the published
sizes, are written into the folder of results of config.rehearsal.yaml (6 GB) and pass all stages with the settings of
the run. What each stage took and what the run would take are shown, and written to rehearsal.md there. A rehearsal that
was stopped goes on where it was.
"""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from brain_diffuser.artifacts import system_faults
from brain_diffuser.artifacts.hdf5 import atomic
from brain_diffuser.data import nsd, nsd_sessions, rehearsal
from brain_diffuser.workflow import estimate, job_sizes, resource_usage, speeds
from brain_diffuser.workflow.config import command_line, schema

CONFIG_FILE = "config.rehearsal.yaml"
CORES = os.cpu_count() or 1
LARGE = ("ridge", "ridge_kernel")
"""Rules whose work does not grow with the stimuli alone: for them figures of the benchmarks are taken."""
BENCHMARKS = "benchmarks/README.md"
RIDGE_CPU = {"ridge": 223.0, "ridge_kernel": 0.0}
"""CPU-seconds of a job at the published sizes: 670 for the kernel and three features as shipped, a third for each."""


@dataclass
class Row:
    """A stage: jobs of the rehearsal, seconds of processors, MiB at the peak; seconds of the run, of both kinds.

    Parameters
    ----------
    stage
        Its name.
    jobs, cpu, peak_mib, gpu_mib
        What the rehearsal took.
    run_cpu, run_gpu : float
        Seconds that the run would take of processors and of GPUs.
    basis
        Where the seconds of the run are from.
    """

    stage: str
    jobs: int = 0
    cpu: float = 0.0
    peak_mib: float = 0.0
    gpu_mib: int = 0
    run_cpu: float = 0.0
    run_gpu: float = 0.0
    basis: str = speeds.HERE


class Sizes:
    """How large the rehearsal is, and the run.

    Parameters
    ----------
    rehearsed, planned
        Both configurations. Of NSD the run has the published stimuli of its subjects, in all of its sessions.
    """

    def __init__(self, rehearsed: schema.Config, planned: schema.Config):
        self.few, self.planned = rehearsed.paths.settings, planned
        numbers = [nsd.subject_number(subject) for subject in planned.subjects if subject in nsd.SUBJECTS]
        self.subjects = numbers or [1] * len(planned.subjects)
        sessions = planned.nsd.sessions
        asked = sessions if isinstance(sessions, int) else len(sessions) if isinstance(sessions, list) else 40
        self.n_steps = job_sizes.steps_of(planned)
        self.n_sessions = sum(min(asked, nsd_sessions.PUBLISHED[number - 1]) for number in self.subjects)

    def stimuli(self, split: str) -> int:
        """Stimuli of a split of the run, of all subjects; what several share counts for each of them."""
        return sum(nsd_sessions.PUBLISHED_STIMULI[split][number - 1] for number in self.subjects)

    def few_stimuli(self, split: str) -> int:
        """Those of the rehearsal."""
        return self.few[f"n_{split}"]


def rows(results: Path, sizes: Sizes) -> list[Row]:
    """The stages of a finished rehearsal, with what the run would take of each.

    Raises ValueError: a table is damaged.
    """
    tables = [
        (folder, table)
        for folder in resource_usage.folders(results)
        for table in resource_usage.tables(folder / "benchmarks")
    ]
    start = min((table.cpu for _, table in tables if table.cpu > 0), default=0.0)
    found: dict[str, Row] = {}
    for folder, table in tables:
        place = folder.relative_to(results).parts[0]
        stage = resource_usage.stage_of(table.name, place)
        row = found.setdefault(stage, Row(stage))
        row.jobs, row.cpu, row.peak_mib = row.jobs + 1, row.cpu + table.cpu, max(row.peak_mib, table.peak_mib)
        row.gpu_mib = max(row.gpu_mib, table.used.gpu_mib if table.used else 0)
        if place == "rehearsal":  # its inputs, which the run has
            continue
        cpu, gpu = _of_run(table, sizes, start)
        row.run_cpu, row.run_gpu = row.run_cpu + cpu, row.run_gpu + gpu
        if table.name.startswith(LARGE):
            row.basis = BENCHMARKS
    if not found:
        raise ValueError(f"{results} has no rehearsal that has run; leave out --only-report")
    return list(found.values())


def _of_run(table: resource_usage.Table, sizes: Sizes, start: float) -> tuple[float, float]:
    """Seconds of processors and of GPUs that all jobs of the run like this one take."""
    n_subjects = len(sizes.subjects)
    kind = next((each for each in sorted(LARGE, key=len, reverse=True) if table.name.startswith(each)), "")
    if kind:
        return n_subjects * RIDGE_CPU[kind], 0.0
    if table.name == "betas":
        return n_subjects * start + (table.cpu - start) * sizes.n_sessions, 0.0
    split = "train" if table.name.endswith("_train") else "test"
    times = sizes.stimuli(split) / sizes.few_stimuli(split)
    if table.span and table.used:
        name = next((each for each in type(sizes.planned.shards).model_fields if table.name.startswith(each)), "recon")
        n_shards = math.ceil(sizes.stimuli(split) / n_subjects / getattr(sizes.planned.shards, name)) * n_subjects
        used = table.used
        if used.loop.n_steps:
            times *= sizes.n_steps * used.loop.n_items / used.loop.n_steps
        cpu = (table.cpu - used.loop.cpu) * n_shards + used.loop.cpu * times
        seconds = max(0.0, table.seconds - used.loop.seconds) * n_shards + used.loop.seconds * times
    else:
        cpu = start * n_subjects + max(0.0, table.cpu - start) * times
        seconds = start * n_subjects + max(0.0, table.seconds - start) * times
    return cpu, (table.gpus or 0) * seconds


def report(found: Sequence[Row], planned: schema.Config, n_cores: int) -> Iterator[str]:
    """The table in Markdown, and the sum."""
    subjects = f"{len(planned.subjects)} subject{'s' * (len(planned.subjects) > 1)}"
    yield f"| stage | jobs here | CPU time | memory | GPU memory | CPU time, {subjects} | GPU time | by |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in found:
        gpu = resource_usage.as_size(row.gpu_mib << 20) if row.gpu_mib else ""
        run = (resource_usage.as_time(each / 3600) if each else "" for each in (row.run_cpu, row.run_gpu))
        used = resource_usage.as_time(row.cpu / 3600), resource_usage.as_size(row.peak_mib * 2**20), gpu
        basis = row.basis if row.run_cpu or row.run_gpu else ""
        yield f"| {' | '.join((row.stage, str(row.jobs), *used, *run, basis))} |"
    cpu, gpu = sum(row.run_cpu for row in found), sum(row.run_gpu for row in found)
    yield ""
    at_best = resource_usage.as_time(cpu / n_cores / 3600)
    on_gpu = f" and {resource_usage.as_time(gpu / 3600)} of GPUs" if gpu else ""
    yield (
        f"The run takes about {resource_usage.as_time(cpu / 3600)} of CPU cores (at best {at_best} on {n_cores})"
        f"{on_gpu}, without fetching. Times of ridge are those of {BENCHMARKS}; scores are counted as if they "
        "grew with the images."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.rehearsal", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="those of the run that is planned")
    parser.add_argument("--cores", default="all", help="as for snakemake")
    parser.add_argument("--only-report", action="store_true", help="of a rehearsal that has run")
    options = parser.parse_args()
    if options.cores != "all" and not options.cores.isdecimal():
        sys.exit(f"--cores is {options.cores}; expected all or a whole number")
    files = [*options.configfile, CONFIG_FILE]
    try:
        command_line.check_files([Path(file) for file in files])
        rehearsed, planned = map(estimate.read_without_files, (files, options.configfile))
        if rehearsed.paths.adapter_name != "rehearsal":
            raise ValueError(f"{CONFIG_FILE}: dataset is {rehearsed.dataset}; expected one with adapter: rehearsal")
        problems = list(rehearsal.problems(rehearsed))
        if problems:
            raise ValueError(problems[0])
        if not options.only_report:
            command = [sys.executable, "-m", "snakemake", "--cores", options.cores, "--configfile", *files]
            status = subprocess.run(command, check=False).returncode
            if status:
                sys.exit(status)
        results, n_cores = Path(rehearsed.results), CORES if options.cores == "all" else int(options.cores)
        text = "\n".join(report(rows(results, Sizes(rehearsed, planned)), planned, n_cores)) + "\n"
        with atomic(results / "rehearsal.md") as partial:
            partial.write_text(text, encoding="utf-8")
        sys.stdout.write(text)
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
