"""How long loops report their progress: a job passes its log's reporter, other callers get no reports."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""(items, how many there are, what they are) -> the same items, with reports on the way."""


def no_progress(iterable: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """The items without any report."""
    return iter(iterable)
