"""How long loops report their progress: a job passes its log's reporter, other callers get no reports."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""(items, how many there are, what they are) -> the same items, with reports on the way."""

listeners: list[Callable[[slice, int, int], None]] = []
"""Who is called with (rows of the batch, number of the step from 1, number of steps) as a denoising step begins."""


def no_progress(iterable: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """The items without any report."""
    return iter(iterable)


def step(rows: slice, steps: range, t: int) -> None:
    """Report that a batch's step at timestep t begins; `steps` are the timesteps, lowest first.

    It changes no result: statements that call it are no part of a job's code key.
    """
    for listener in listeners:
        listener(rows, len(steps) - steps.index(t), len(steps))
