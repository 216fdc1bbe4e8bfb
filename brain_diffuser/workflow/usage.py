"""What a job used, as the last line of its log says it, exactly; Snakemake's tables miss the end of a job."""

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.artifacts import text_files

TAIL = 1000  # bytes of a log that are read
LINE = re.compile(
    r"^\S+ \w+: used (?P<cpu>[\d.]+) CPU-s in (?P<seconds>[\d.]+) s, (?P<peak>\d+) MiB at the peak"
    r"(?:, (?P<gpu>\d+) MiB of the GPU)?"
    r"(?:; (?P<loop_cpu>[\d.]+) CPU-s in (?P<loop>[\d.]+) s of it for (?P<items>\d+) items and (?P<steps>\d+) steps)?"
    r"(?:; in (?P<dtype>\w+))?; .*$"
)


class Loop(NamedTuple):
    """What a job's loop took: its items, denoising steps of single images, seconds of processors and of a clock."""

    n_items: int
    n_steps: int
    cpu: float
    seconds: float


class Usage(NamedTuple):
    """What a finished job used.

    Parameters
    ----------
    cpu, seconds : float
        Seconds of processors, from the start of the process on, and of the clock, from the start of the script on.
    peak_mib, gpu_mib : int
        The most memory, and the most that torch held on a GPU.
    loop : Loop
        What its loops took of it, all together.
    dtype
        The precision of its networks; empty for other jobs.
    """

    cpu: float
    seconds: float
    peak_mib: int
    gpu_mib: int
    loop: Loop
    dtype: str


def words(snakemake: Any, seconds: float, loops: Sequence[Loop]) -> str:
    """The line of a job that ends well, after "used".

    Parameters
    ----------
    snakemake
        Snakemake's object of the job.
    seconds : float
        Of the clock, since its script has begun.
    loops
        Its loops.
    """
    children = os.times()
    cpu = time.process_time() + children.children_user + children.children_system
    parts = [f"{cpu:.2f} CPU-s in {seconds:.2f} s, {_peak_mib()} MiB at the peak"]
    gpu = _gpu_mib()
    if gpu:
        parts[0] += f", {gpu} MiB of the GPU"
    if loops:
        n_items, n_steps, loop_cpu, loop = map(sum, zip(*loops, strict=True))
        parts.append(f"{loop_cpu:.2f} CPU-s in {loop:.2f} s of it for {n_items} items and {n_steps} steps")
    settings = getattr(snakemake, "params", {}).get("cfg", {})
    if hasattr(settings, "get") and settings.get("compute.dtype"):
        parts.append(f"in {settings['compute.dtype']}")
    wildcards = getattr(snakemake, "wildcards", {})
    parts.append(", ".join(f"{key}={value}" for key, value in dict(wildcards.items()).items()))
    return "; ".join(parts)


def _peak_mib() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10


def _gpu_mib() -> int:
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() >> 20 if torch and torch.cuda.is_initialized() else 0


def read(log: str | Path) -> Usage | None:
    """What a job used by its log; None where it did not end well, or was run before logs said it."""
    path = Path(log)
    if not path.is_file():
        return None
    with open(path, "rb") as stream:
        stream.seek(max(0, path.stat().st_size - TAIL))
        last = text_files.lines(stream.read().decode("utf-8", errors="replace"))[-1:]
    found = LINE.match(last[0]) if last else None
    if not found:
        return None
    cpu, seconds, loop_cpu, loop_seconds = (float(found[key] or 0) for key in ("cpu", "seconds", "loop_cpu", "loop"))
    peak, gpu, n_items, n_steps = (int(found[key] or 0) for key in ("peak", "gpu", "items", "steps"))
    return Usage(cpu, seconds, peak, gpu, Loop(n_items, n_steps, loop_cpu, loop_seconds), found["dtype"] or "")
