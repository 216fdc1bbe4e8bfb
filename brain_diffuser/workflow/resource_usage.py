"""What a run took: time of processors and GPUs, peak memory, jobs and disk, of each subject's stages.

    python -m brain_diffuser.resource_usage [FOLDER] > resource_usage.csv

Sums the tables that Snakemake writes for every job (results/*/benchmarks), those of variants too. FOLDER is the folder
of results, `results` if nothing is said.
"""

import argparse
import csv
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO

from brain_diffuser.artifacts import shards, system_faults, text_files
from brain_diffuser.workflow import usage

STAGES = {
    "data": (
        *("data", "design", "betas", "stimuli", "captions", "regions", "bold5000", "split_table"),
        *("test_set_table", "test_set_betas", "test_set_stimuli"),
    ),
    "features": ("features",),
    "ridge": ("ridge", "test_set_kernel"),
    "bottleneck": ("bottleneck", "rank"),
    "learned": ("learned", "test_set_learned"),
    "decode": ("decode",),
    "stage1": ("stage1",),
    "recon": ("recon", "chosen"),
    "variants": ("variant", "variants"),
    "references": ("mean_image", "vdvae_reference", "autoencoder_reference", "references", "nearest_training"),
    "metrics": (
        *("perceptual_scores", "metrics", "ablations", "consistency", "retrieval", "contact_sheet"),
        *("neuraldiffuser", "guidance", "generators", "significance", "pair_scores", "test_set", "baselines"),
    ),
    "accuracy": (
        *("accuracy", "encoding", "generalisation", "scaling"),
        *("similarity", "feature_identification", "output_dimensions", "spurious"),
    ),
    "brain": ("brain",),
    "volumes": ("volumes",),
    "roi": ("roi", "optimal", "category_probe", "perturbed", "lesions", "weights", "ridge_weights"),
    "runs": ("held_out", "identification"),
    "report": ("report", "costs", "named", "rating", "bundle"),
}
"""Stage -> what the names of its jobs and of its results begin with; the longest that fits counts."""
PLACES = ("demo", "haxby", "rehearsal", "dataset")  # folders of results that are no subject's, and a stage each
SPAN = re.compile(rf"_({shards.SPAN})$")


@dataclass
class Cost:
    """What a stage of a subject took. GPU time is None where a table does not say whether its job had a GPU."""

    subject: str
    stage: str
    jobs: int = 0
    wall_hours: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float | None = 0.0
    peak_mib: float = 0.0
    disk_bytes: int = 0


@dataclass(frozen=True)
class Table:
    """What one job took.

    Parameters
    ----------
    name, span
        Of the job's table: what is before the span of a shard, and the span.
    seconds, cpu : float
        Of the clock and of processors. Snakemake sees processors up to its last look, at most 30 s before the end;
        where the job's log says it exactly, that counts.
    gpus : int, optional
        Those that it had.
    peak_mib : float
        The most memory.
    used : Usage, optional
        What the job's log says.
    """

    name: str
    span: str
    seconds: float
    cpu: float
    gpus: int | None
    peak_mib: float
    used: usage.Usage | None = None


def stage_of(name: str, place: str = "") -> str:
    """The stage of a job or of a result, by its name and by the folder of results that it is in."""
    if place in PLACES:
        return place
    words = {word: stage for stage, words in STAGES.items() for word in words}
    fitting = [word for word in words if re.match(rf"{word}(_|\.|$)", name)]
    if not fitting:  # stage-1 reconstructions of decoders are named after the decoder
        return "decode" if re.search(r"_stage1(_|$)", name) else "other"
    return words[max(fitting, key=len)]


def tables(folder: Path) -> list[Table]:
    """The tables in a folder; of shards that overlap, made before and after an edit of `shards`, the newest alone."""
    visible = [path for path in folder.glob("*.tsv") if not path.name.startswith(".")]
    newest = sorted(visible, key=lambda path: path.stat().st_mtime, reverse=True)
    taken: dict[str, list[tuple[int, int]]] = defaultdict(list)
    found = []
    for path in newest:
        span = SPAN.search(path.stem)
        name = SPAN.sub("", path.stem)
        if span:
            start, end = map(int, span[1].split("-"))
            if any(start < other_end and other_start < end for other_start, other_end in taken[name]):
                continue
            taken[name].append((start, end))
        found.append(_read(path, name, span[1] if span else ""))
    return sorted(found, key=lambda table: (table.name, table.span))


def _read(path: Path, name: str, span: str) -> Table:
    row = _measured(path)
    gpus = re.search(r"'gpu': (\d+)", row.get("resources") or "")
    known = int(gpus[1]) if gpus else 0
    seconds, cpu, peak = (_number(path, row, key) for key in ("s", "cpu_time", "max_rss"))
    used = usage.read(path.parent.parent / "logs" / f"{path.stem}.log")
    if used:
        cpu, peak = max(cpu, used.cpu), max(peak, float(used.peak_mib))
    return Table(name, span, seconds, cpu, known if "resources" in row else None, peak, used)


def _measured(path: Path) -> dict[str, str]:
    """The first row of a table, by the names of its columns. Raises ValueError: it is empty, cut short or damaged."""
    row = read_benchmark(path)
    if row is None:
        raise ValueError(_no_table(path))
    return row


def _number(path: str | Path, row: Mapping[str, str], key: str) -> float:
    """A number of a table; 0 if Snakemake could not measure it."""
    cell = row.get(key)
    if cell in (None, "", "-", "NA"):
        return 0.0
    try:
        found = float(cell)
    except (ValueError, TypeError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(
            f"{path}: {key} is {cell!r}; expected a number from 0. Delete it, the cost of that job is lost."
        )
    return found


def _no_table(path: str | Path) -> str:
    return f"{path} is no table of Snakemake's benchmarks; delete it, the cost of that job is lost."


def read_benchmark(path: Path) -> dict[str, str] | None:
    """The first row of a table of Snakemake's benchmarks; None where there is none, as when its job was killed.

    Snakemake writes what it measured without quotes, in the encoding of the machine; only numbers are read.

    Raises FileNotFoundError, ValueError: see `text_files.check_is_file`.
    """
    text_files.check_is_file(path, "a table of Snakemake's benchmarks")
    with open(path, encoding="utf-8", errors="replace") as stream:
        header, cells = (stream.readline().rstrip("\n").split("\t") for _ in range(2))
    return dict(zip(header, cells, strict=True)) if "s" in header and len(cells) == len(header) else None


def costs(results: str | Path, subjects: Sequence[str] | None = None) -> list[Cost]:
    """What is known of a folder of results, stage by stage; of these subjects and what they share, or of all."""
    results = Path(results)
    found: dict[tuple[str, str], Cost] = {}

    def of(place: str, name: str) -> Cost:
        stage = stage_of(name, place)
        return found.setdefault((place, stage), Cost(place, stage))

    measured = folders(results)
    nested = [folder for folder in measured if folder.parent.parent == results]
    places = [path for path in results.iterdir() if path.is_dir() and not _is_aside(path)]
    for folder in sorted({*measured, *places, results}):
        place = "" if folder == results else folder.relative_to(results).parts[0]
        if subjects is not None and _other(results / place, subjects):
            continue
        for table in tables(folder / "benchmarks"):
            _add(of(place, table.name), table)
        for child in sorted(folder.iterdir()):
            if _is_aside(child) or child in nested or (folder == results and child.is_dir()):
                continue
            for path in sorted(child.iterdir()) if child.name == "shards" else [child]:
                of(place, path.name).disk_bytes += _size(path)
    order = [*PLACES, *STAGES, "other"]
    spent = (each for each in found.values() if each.jobs or each.disk_bytes)
    return sorted(spent, key=lambda each: (each.subject == "", each.subject, order.index(each.stage)))


def folders(results: Path) -> list[Path]:
    """Those with tables: subjects' and others', and below them of what subjects share and of the demo's data."""
    found = [path for pattern in ("*/benchmarks", "*/*/benchmarks") for path in results.glob(pattern)]
    return sorted(path.parent for path in found)


def _is_aside(path: Path) -> bool:
    """Whether a folder or file is about results rather than one of them."""
    return path.name in ("benchmarks", "logs", "README.md") or path.name.startswith(".")


def _other(folder: Path, subjects: Sequence[str]) -> bool:
    """Whether a folder is that of a subject who is not among these."""
    return folder.name not in (*subjects, *PLACES) and (folder / "data").is_dir()


def _add(cost: Cost, table: Table) -> None:
    cost.jobs += 1
    cost.wall_hours += table.seconds / 3600
    cost.cpu_hours += table.cpu / 3600
    cost.peak_mib = max(cost.peak_mib, table.peak_mib)
    if cost.gpu_hours is not None:
        cost.gpu_hours = None if table.gpus is None else cost.gpu_hours + table.gpus * table.seconds / 3600


def total(some: Sequence[Cost], subject: str = "") -> Cost:
    """The sum, and the highest of the peaks."""
    gpu = [each.gpu_hours for each in some]
    return Cost(
        subject,
        "total",
        jobs=sum(each.jobs for each in some),
        wall_hours=sum(each.wall_hours for each in some),
        cpu_hours=sum(each.cpu_hours for each in some),
        gpu_hours=None if None in gpu else sum(each or 0.0 for each in gpu),
        peak_mib=max((each.peak_mib for each in some), default=0.0),
        disk_bytes=sum(each.disk_bytes for each in some),
    )


def by_subject(some: Iterable[Cost]) -> Iterator[tuple[str, list[Cost]]]:
    """The stages of each subject in turn, their total last."""
    groups: dict[str, list[Cost]] = defaultdict(list)
    for each in some:
        groups[each.subject].append(each)
    for subject, stages in groups.items():
        yield subject, [*stages, total(stages, subject)]


def write_csv(stream: TextIO, some: Iterable[Cost]) -> None:
    """A line for each stage of each subject; an empty cell is not known."""
    writer = csv.DictWriter(stream, [field.name for field in fields(Cost)], lineterminator="\n")
    writer.writeheader()
    for each in some:
        row = asdict(each)
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def as_time(hours: float | int) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    seconds = hours * 3600
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 9.5 or seconds == 0 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{hours:,.1f} h"


def as_size(n_bytes: float | int) -> str:
    """kB, MB or GB, whichever reads best."""
    for power, unit in ((9, "GB"), (6, "MB")):
        if n_bytes >= 0.995 * 10**power:
            return f"{n_bytes / 10**power:,.{1 if n_bytes < 100 * 10**power else 0}f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; one that is gone meanwhile has none."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    n_bytes = 0
    for file in files:
        try:
            status = file.lstat()
        except FileNotFoundError:
            continue
        n_bytes += 0 if file.is_dir() else status.st_size
    return n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m brain_diffuser.resource_usage", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("results", nargs="?", default="results", metavar="FOLDER", help="of results; default: results")
    results = Path(parser.parse_args().results)
    if not results.is_dir():
        sys.exit(
            f"{results} is not here; run this in the folder that holds it, after a job has finished, or name "
            "another folder of results"
        )
    try:
        write_csv(sys.stdout, costs(results))
    except (ValueError, OSError) as error:
        sys.exit(system_faults.message(error))
