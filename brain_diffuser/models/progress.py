"""How long loops report their progress: a job passes its log's reporter, everybody else hears nothing."""

from collections.abc import Callable, Iterable
from typing import Any

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""(items, how many there are, what they are) -> the same items, with reports on the way."""


def no_progress(iterable: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """The items without any report."""
    return iterable
