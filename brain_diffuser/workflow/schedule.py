"""How long planned jobs take by the clock: each starts when what it reads is made and a core is free."""

import graphlib
import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from brain_diffuser.workflow import watch

BEGIN = 6.0
"""Seconds in which Snakemake starts, plans and ends."""
EACH = 0.4
"""Seconds that Snakemake takes for a job beside the job itself."""


class Timed(NamedTuple):
    """A job, and the seconds of a clock that it takes."""

    job: watch.Job
    seconds: float | int


def clock(jobs: Sequence[Timed], n_cores: int, n_gpus: int = 1) -> float | int:
    """Seconds from the start of a run to its end, if of the jobs that can begin the longest way to the end goes first.

    A job has no more threads than there are cores, and waits for the GPU where it asks for one.
    """
    waiting = _before(jobs)
    way = _ways(jobs, waiting)
    free = {"cores": n_cores, "gpus": n_gpus}
    running: list[tuple[float, int]] = []
    now, open_jobs = BEGIN, dict.fromkeys(sorted(range(len(jobs)), key=lambda number: -way[number]))
    while open_jobs or running:
        for number in list(open_jobs):
            asked = _asked(jobs[number].job, n_cores, n_gpus)
            if not waiting[number] and all(free[key] >= n for key, n in asked.items()):
                del open_jobs[number]
                free = {key: free[key] - n for key, n in asked.items()}
                heapq.heappush(running, (now + EACH + jobs[number].seconds, number))
        if not running:  # what is left waits for a job that is not in the plan
            return now
        now, done = heapq.heappop(running)
        asked = _asked(jobs[done].job, n_cores, n_gpus)
        free = {key: free[key] + n for key, n in asked.items()}
        for before in waiting.values():
            before.discard(done)
    return now


def _ways(jobs: Sequence[Timed], waiting: Mapping[int, set[int]]) -> list[float | int]:
    """Seconds from the start of each job to the end of the last one that waits for it."""
    after: dict[int, list[int]] = {number: [] for number in waiting}
    for number, before in waiting.items():
        for each in before:
            after[each].append(number)
    way: list[float | int] = [0.0] * len(jobs)
    for number in graphlib.TopologicalSorter(after).static_order():
        way[number] = jobs[number].seconds + max((way[each] for each in after[number]), default=0.0)
    return way


def _asked(job: watch.Job, n_cores: int, n_gpus: int) -> dict[str, int]:
    """Cores and GPUs that a job has."""
    return {"cores": threads(job, n_cores), "gpus": min(job.gpus, n_gpus)}


def threads(job: watch.Job, n_cores: int) -> int:
    """The cores that a job has on a machine."""
    return max(1, min(int(job.threads) if job.threads.isdecimal() else 1, n_cores))


def _before(jobs: Sequence[Timed]) -> Mapping[int, set[int]]:
    """For every job the jobs that make what it reads."""
    maker = {path: number for number, timed in enumerate(jobs) for path in _paths(timed.job.outputs)}
    return {
        number: {maker[path] for path in _paths(timed.job.inputs) if path in maker} - {number}
        for number, timed in enumerate(jobs)
    }


def _paths(said: str) -> list[str]:
    """The paths of a line of Snakemake's output."""
    return [path.partition(" (")[0] for path in said.split(", ") if path]
