"""What a run will take, before it starts: time of processors and GPUs, and disk, of the jobs that Snakemake plans.

    python -m brain_diffuser.estimate [--configfile FILE ...] [--config KEY=VALUE ...] [other arguments of the run]

Where the folder of results has tables of such jobs already, their own speed counts.
"""

import argparse
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import model_files
from brain_diffuser.workflow import dataset_record, resource_usage, watch
from brain_diffuser.workflow.config import checks as configuration
from brain_diffuser.workflow.config import command_line, file_paths, schema, sources
from brain_diffuser.workflow.plan import device, is_small, settle

SHAPES, MEASURED, HERE, ESTIMATE = "shapes", "measured", "measured here", "estimate"


class Speed(NamedTuple):
    """Seconds of one CPU core in float32, and in bfloat16 if that is known; how it is known."""

    float32: float
    bfloat16: float | None
    basis: str
    source: str


BENCHMARKS = "benchmarks/README.md"
XEON = BENCHMARKS + ", an Intel Xeon with AMX, for one image: "
DEMO_RUN = "the demo on 2 cores of a server, process time"
PUBLISHED = {  # for a stimulus
    "vdvae": Speed(1.02, 0.60, MEASURED, BENCHMARKS + ", an AMD EPYC"),
    "clip_text": Speed(1.46, None, ESTIMATE, "docs/real_data.md: 4 hours of 2 cores for 9,841 stimuli, half of it"),
    "clip_vision": Speed(1.46, None, ESTIMATE, "the other half"),
    "stage-1 image": Speed(2.03, 1.22, MEASURED, BENCHMARKS + ", an AMD EPYC"),
    # a processor that multiplies bfloat16 without AMX takes 2.4 times as long for a step in bfloat16
    "step": Speed(26.6, 8.3, MEASURED, XEON + "a guided step of Versatile Diffusion"),
    "autoencoder": Speed(34.9, 17.4, MEASURED, XEON + "encoding and decoding"),
    "network": Speed(
        0.15, None, ESTIMATE, "docs/real_data.md: half an hour of 2 cores for 5 evaluation networks of 5 sets"
    ),
    # for a job
    "start": Speed(12.0, 8.0, MEASURED, BENCHMARKS + ": reading the weights; and 5 s to load torch"),
    "ridge": Speed(223.0, None, ESTIMATE, BENCHMARKS + ": 670 CPU-s for kernel and three features as shipped, a third"),
    "ridge_kernel": Speed(0.0, None, MEASURED, "counted with ridge"),
    "betas": Speed(116.0, None, MEASURED, BENCHMARKS + ": 40 sessions of 2.9 s, at most"),
}
DEMO = {
    "vdvae": Speed(0.0121, None, MEASURED, DEMO_RUN),
    "clip_text": Speed(0.0044, None, MEASURED, DEMO_RUN),
    "clip_vision": Speed(0.0032, None, MEASURED, DEMO_RUN),
    "stage-1 image": Speed(0.0225, None, MEASURED, DEMO_RUN),
    "step": Speed(0.0327, None, MEASURED, DEMO_RUN),
    "autoencoder": Speed(0.06, None, MEASURED, DEMO_RUN),
    "network": Speed(0.018, None, MEASURED, "the demo's tables: 9 s for 240 images, half of that to start"),
    "start": Speed(4.8, None, MEASURED, DEMO_RUN),
} | {
    rule: Speed(seconds, None, MEASURED, "the demo's tables of benchmarks")
    for rule, seconds in {
        **{"features": 0.5, "stage1": 0.5, "recon": 0.5, "vdvae_reference": 0.5, "autoencoder_reference": 0.5},
        **{"ridge": 2.0, "ridge_kernel": 2.0, "encoding": 0.7, "encoding_kernel": 2.5, "accuracy": 1.2},
        **{
            "perceptual_scores": 1.0,
            "pixels": 6.0,
            "metrics": 1.0,
            "retrieval": 0.7,
            "contact_sheet": 0.8,
            "report": 2.5,
        },
        **{"design": 0.4, "betas": 2.0, "stimuli": 3.4, "captions": 0.5, "regions": 0.3},
        **{"mean_image": 5.0},
    }.items()
}
SPEEDS = {"published": PUBLISHED, "demo": DEMO}
GPU = (139.0, 556.0)
"""How many cores in float32 a GPU is worth, an estimate: docs/real_data.md has 0.5 to 2 hours of a GPU for the
reconstructions of a subject, and 139 hours of 2 cores."""

COLUMNS = {
    "published": {"vdvae": 91168, "clip_text": 59136, "clip_vision": 197376, "sd_text": 59136},
    "demo": {"vdvae": 22920, "clip_text": 5120, "clip_vision": 8320},
}
"""Of a feature. Published: 31 layers of latents, 77 x 768 and 257 x 768."""
VOXELS = {"published": 15724, "demo": 7500}  # of NSD's subject 1; other subjects have fewer
STIMULUS, GUESS = 425**2 * 3, 64**2 * 3  # bytes of an image; PNG takes no more than this, but for its header
IMAGE = {"published": 512**2 * 3, "demo": 64**2 * 3}
DEMO_BYTES = 643_000_000  # bytes of results/demo, measured


@dataclass
class Need:
    """What planned jobs of a stage take: from, to. `basis` says how that is known."""

    jobs: int = 0
    cpu: list[float] = field(default_factory=lambda: [0.0, 0.0])
    gpu: list[float] = field(default_factory=lambda: [0.0, 0.0])
    disk: int = 0
    basis: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


TOO_SHORT = 30.0
"""Seconds below which Snakemake's table of a job may have missed most of its processor time."""


class Own(NamedTuple):
    """How fast jobs of a name were here.

    Parameters
    ----------
    wall, cpu : float
        Seconds of the clock and of processors of a job, without its stimuli.
    wall_each, cpu_each : float
        The same of a stimulus.
    n_steps : float
        Denoising steps of a stimulus; 0 where there are none, or where nothing says how many there were.
    gpus : int
        Those that a job had.
    dtype
        The precision of its networks, where that is known.
    """

    wall: float
    cpu: float
    wall_each: float
    cpu_each: float
    n_steps: float
    gpus: int
    dtype: str = ""


class Estimate:
    """Figures for the jobs of a configuration; tables in its folder of results, if there are any, count before ours."""

    def __init__(self, cfg: schema.Config, plan: Sequence[watch.Job]):
        self.cfg, self.results = cfg, Path(cfg.results)
        self.dataset_label = dataset_label_of(cfg)
        held = dataset_record.read(self.results)
        is_own = held is None or dataset_record.is_same(held, dataset_record.of_config(cfg))
        self.own = own_speeds(self.results) if is_own else {}
        self.dtype = dtype_of(cfg)
        self.guessed: set[str] = set()  # subjects whose stimuli are not counted yet
        self.sharded = {job.stage for job in plan if job.span}
        ends: dict[tuple[str, str, str], int] = {}
        for job in plan:
            if job.span:
                key = job.subject, job.split, job.stage
                ends[key] = max(ends.get(key, 0), job.span[1])
        self.bounds = {key[:2]: min(end for each, end in ends.items() if each[:2] == key[:2]) for key in ends}

    def about(self) -> str:
        """Which dataset this is for, and whose speeds count."""
        own = f"speeds measured in {self.results}, which are of this dataset, count first"
        none = f"{self.results} has no speeds of this dataset yet"
        return f"Dataset {self.cfg.dataset}, results in {self.results}; {own if self.own else none}."

    def n_stimuli(self, subject: str, split: str) -> int:
        """How many there are; while that is not known, what the planned shards have room for. 0 of no subject."""
        if not subject:
            return 0
        if "+" in split:
            return sum(self.n_stimuli(subject, each) for each in split.split("+"))
        known = watch.splits(self.results / subject / "data/stimuli.tsv")
        if known:
            return known.count(split)
        if self.cfg.paths.simulated:
            return {"train": self.cfg.demo.n_train, "test": self.cfg.demo.n_test}[split]
        self.guessed.update([subject] if subject in self.cfg.subjects else self.cfg.subjects)
        return self.bounds.get((subject, split), 0)

    def stimuli(self, job: watch.Job) -> int:
        if job.span is None:
            return 0
        start, end = job.span
        return max(0, min(end, self.n_stimuli(job.subject, job.split)) - start)

    def add(self, need: Need, job: watch.Job) -> None:
        """Count a job."""
        need.jobs += 1
        need.disk += self.disk(job)
        n, gpus = self.stimuli(job), job.gpus
        if job.span and not n:
            return
        own = self.own_of(job)
        if own and (own.gpus > 0) == (gpus > 0) and own.dtype in ("", self.dtype):
            cpu, wall = own.cpu + own.cpu_each * n, own.wall + own.wall_each * n
            _more(need.cpu, cpu, cpu)
            _more(need.gpu, wall * gpus, wall * gpus)
            need.basis.add(HERE)
            return
        seconds, basis = self.cpu(job, n, gpus > 0 or self.dtype != "bfloat16")
        if basis is None:
            need.unknown.add(job.stage + " (gathering)" * (job.stage in self.sharded and not job.span))
        elif gpus:
            low, high = sorted(seconds / each for each in GPU)
            _more(need.gpu, low, high)
            _more(need.cpu, low, high)  # a core waits for the GPU
            need.basis.add(ESTIMATE)
        else:
            _more(need.cpu, seconds, seconds)
            need.basis.add(basis)

    def own_of(self, job: watch.Job) -> Own | None:
        """The speed of jobs of the same name here; of a variant that never ran, that of recon by its steps."""
        name = name_of(Path(job.benchmark).stem) if job.benchmark else ""
        steps = self.steps(job)
        like = self.own.get(name_of("recon_00000-00001"))
        own = self.own.get(name)
        if own is None and job.span and steps and like:
            own = like if like.n_steps else like._replace(n_steps=steps_of(self.cfg, ""))
        if own is None or not (steps and own.n_steps):
            return own
        share = steps / own.n_steps
        return own._replace(wall_each=own.wall_each * share, cpu_each=own.cpu_each * share, n_steps=steps)

    def cpu(self, job: watch.Job, n: int, is_float32: bool) -> tuple[float, str | None]:
        """CPU-seconds of a job, and how they are known; None if they are not."""
        speeds = SPEEDS.get(self.dataset_label or "", {})
        parts: dict[str, float] = {"start": 1.0} if job.span else {}
        if job.span and job.stage == "features":
            parts[job.values["feature"]] = n
        elif job.span and job.stage.endswith(("stage1", "vdvae_reference")):
            parts["stage-1 image"] = n
        elif job.span and job.stage in ("autoencoder_reference", "perceptual_scores"):
            parts["network" if job.stage == "perceptual_scores" else "autoencoder"] = n
        elif job.span:
            parts |= {"step": n * self.steps(job), "autoencoder": n}
            if not self.steps(job):
                return 0.0, None
        else:
            parts[job.rule] = 1.0
        if not parts.keys() <= speeds.keys():
            return 0.0, None
        seconds = sum(
            times * (speeds[part].float32 if is_float32 else speeds[part].bfloat16 or speeds[part].float32)
            for part, times in parts.items()
        )
        return seconds, ESTIMATE if ESTIMATE in {speeds[part].basis for part in parts} else MEASURED

    def steps(self, job: watch.Job) -> int:
        """Steps of an image; 0 where an image's cost is not that of steps alone: guided, or of another backbone."""
        name = job.values.get("variant", "")
        if job.stage not in ("recon", "held_out_recon", "variant"):
            return 0
        variant, _ = self.cfg.variant(name)
        return 0 if variant.guidance or variant.backbone != "versatile_diffusion" else steps_of(self.cfg, name)

    def disk(self, job: watch.Job) -> int:
        """Bytes that a job leaves, by the shapes of what it writes; images as if PNG saved nothing."""
        values, dataset_label = job.values, self.dataset_label or ""
        train, test = (self.n_stimuli(job.subject, split) for split in ("train", "test"))
        columns = COLUMNS.get(dataset_label, {}).get(values.get("feature", ""), 0)
        if job.span:
            return 0  # gone once it is gathered
        if job.rule == "features":
            itemsize = 2 if self.cfg.features.storage == "float16" else 4
            return self.n_stimuli(job.subject, values["split"]) * columns * itemsize if self.cfg.features.keep else 0
        image = IMAGE.get(dataset_label, 0)
        return {
            "stimuli": self.n_stimuli(job.subject, values.get("split", "test")) * STIMULUS,
            "betas": (train + test) * VOXELS.get(dataset_label, 0) * 4,
            "ridge_kernel": (train + test) * train * 8,
            "encoding_kernel": (train + test) * train * 8,
            "ridge": test * columns * 4,
            "stage1": test * GUESS,
            "vdvae_reference": test * GUESS,
            "mean_image": test * STIMULUS,
            "autoencoder_reference": test * image,
            "recon": test * image,
            "variant": test * image,
            "demo_stimuli": DEMO_BYTES,
        }.get(job.rule, 0)


def steps_of(cfg: schema.Config, name: str = "") -> int:
    """The denoising steps of an image of a variant; without a name, of a reconstruction."""
    variant, settings = cfg.variant(name)
    return max(1, int(settings["steps"] * (1 if variant.start == "noise" else settings["strength"])))


def dataset_label_of(cfg: schema.Config) -> str | None:
    """Whose networks a run has: the published ones, the demo's, or others of which nothing is known."""
    if cfg.paths.vdvae.startswith("demo/"):
        return "demo"
    return None if model_files.description(cfg.paths.vdvae) else "published"


def own_speeds(results: Path) -> dict[str, Own]:
    """Speeds of the jobs that have run here, of all subjects, by the name of their tables."""
    found: dict[str, list[Own]] = defaultdict(list)
    for folder in resource_usage.folders(results):
        subject = folder.relative_to(results).as_posix()
        for table in resource_usage.tables(folder / "benchmarks"):
            if table.name.startswith("chosen"):  # as many stimuli as were chosen, which the table does not say
                continue
            wildcards = f"subject={subject}, span={table.span}, split={_split(table.name)}"
            log = f"{folder}/logs/{table.name}.log"
            n = watch.Job(table.name, wildcards, log, "", "").stimuli() if table.span else 0
            own = _own_of(table, n or 0)
            if own and (n or not table.span):
                found[name_of(f"{table.name}_{table.span}" if table.span else table.name)].append(own)
    return {key: _mean(some) for key, some in found.items()}


def _own_of(table: resource_usage.Table, n: int) -> Own | None:
    """The speed of one job of n stimuli; None where its table alone is there, and it was too short for that."""
    used, gpus = table.used, table.gpus or 0
    if used is None and table.seconds < TOO_SHORT:
        return None
    if not n:
        return Own(table.seconds, table.cpu, 0.0, 0.0, 0.0, gpus, used.dtype if used else "")
    if used is None:
        return Own(0.0, 0.0, table.seconds / n, table.cpu / n, 0.0, gpus)
    wall, cpu = max(0.0, table.seconds - used.loop.seconds), max(0.0, table.cpu - used.loop.cpu)
    return Own(wall, cpu, used.loop.seconds / n, used.loop.cpu / n, used.loop.n_steps / n, gpus, used.dtype)


def _mean(some: Sequence[Own]) -> Own:
    """The speed of several jobs; that of the precision and number of GPUs that the last one had."""
    last = some[-1]
    like = [each for each in some if (each.gpus, each.dtype) == (last.gpus, last.dtype)]
    wall, cpu, wall_each, cpu_each, n_steps = (
        sum(values) / len(like) for values in zip(*(each[:5] for each in like), strict=True)
    )
    return Own(wall, cpu, wall_each, cpu_each, n_steps, last.gpus, last.dtype)


def name_of(stem: str) -> str:
    """The name of a table without its span and, of shards, without their split."""
    name = resource_usage.SPAN.sub("", stem)
    return re.sub("_(train|test)$", "", name) + " shard" if name != stem else name


def _split(name: str) -> str:
    found = re.search("_(train|test)$", name)
    return found[1] if found else "test"


def _more(sums: list[float], low: float, high: float) -> None:
    sums[:] = [sums[0] + low, sums[1] + high]


def needs(estimate: Estimate, plan: Sequence[watch.Job]) -> dict[str, Need]:
    """What each stage takes; stages in the order of the plan."""
    found: dict[str, Need] = {}
    for job in plan:
        if job.rule != "all" and not job.rule.startswith("fetch"):
            stem = Path(job.benchmark).stem if job.benchmark else job.rule
            stage = resource_usage.stage_of(stem, "demo" if job.rule.startswith("demo_") else "")
            estimate.add(found.setdefault(stage, Need()), job)
    return found


def lines(found: dict[str, Need], n_cores: int, fetches: bool, guessed: Iterable[str] = ()) -> Iterator[str]:
    """The table, the sum, and what is not in it."""
    cells = [("stage", "jobs", "CPU time", "GPU time", "disk", "time is")]
    for stage, need in found.items():
        size = resource_usage.as_size(need.disk) if need.disk else ""
        basis = ", ".join(sorted(need.basis)) or "not known"
        cells.append((stage, str(need.jobs), _range(need.cpu), _range(need.gpu), size, basis))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    cpu, gpu = ([sum(getattr(need, key)[end] for need in found.values()) for end in (0, 1)] for key in ("cpu", "gpu"))
    disk = sum(need.disk for need in found.values())
    yield ""
    shortest = _range([each / n_cores for each in cpu]) or "0 s"
    yield (
        f"In all about {_range(cpu) or '0 s'} of CPU cores (at best {shortest} on {n_cores}), "
        f"{_range(gpu) or '0 s'} of GPUs, {resource_usage.as_size(disk)} on disk."
    )
    yield (
        "Disk is computed from shapes, images as if they were not compressed; shards take up to as much again as "
        "features until they are gathered."
    )
    if guessed:
        yield (f"The stimuli of {', '.join(sorted(guessed))} are not counted yet: this is for full shards, so at most.")
    unknown = sorted(set().union(*(need.unknown for need in found.values())))
    if unknown:
        yield f"No figure, and so not counted in time: {', '.join(unknown)}."
    if fetches:
        yield "What is fetched is not counted: docs/real_data.md."


def _range(seconds: Sequence[float]) -> str:
    """Such as "0.5 h to 2.0 h", or one of them where they are the same."""
    low, high = (resource_usage.as_time(each / 3600) for each in seconds)
    return "" if not any(seconds) else low if low == high else f"{low} to {high}"


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
    try:
        file_paths.expand(found)
    except ValueError as error:
        raise ValueError(read.located(str(error))) from None
    return configuration.read(found, Path.cwd(), read)


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


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.estimate",
        description=(__doc__ or "").partition("\n")[0],
        epilog=watch.OTHERS,
        allow_abbrev=False,
    )
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="as for snakemake")
    parser.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as for snakemake")
    parser.add_argument("--cores", default="all", help="for the shortest time there can be")
    options, others, targets = watch.parse(parser)
    files = ["--configfile", *options.configfile] if options.configfile else []
    files += ["--config", *options.config] if options.config else []
    if options.cores != "all" and not options.cores.isdecimal():
        sys.exit(f"--cores is {options.cores}; expected all or a whole number")
    try:
        command_line.check_arguments(sys.argv[1:])
        plan = watch.planned([*others, *files, *targets])
        cfg = read_config(options.configfile, options.config)
        estimate = Estimate(cfg, plan)
        found = needs(estimate, plan)
        fetches = any(job.rule.startswith("fetch") for job in plan)
        n_cores = (os.cpu_count() or 1) if options.cores == "all" else int(options.cores)
        table = lines(found, n_cores, fetches, estimate.guessed)
        sys.stdout.write("\n".join([estimate.about(), "", *table]) + "\n")
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
