"""What sentences about several places of a dataset are made of."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from brain_diffuser.artifacts import system_faults

Found = TypeVar("Found")

SHOWN = 5  # places that a sentence names at most


def attempt(read: Callable[[], Found]) -> tuple[Found | None, list[str]]:
    """What was read, or the sentence that says why it cannot be read."""
    try:
        return read(), []
    except (ValueError, OSError) as error:
        return None, [system_faults.message(error)]


def listed(places: Sequence[object]) -> str:
    """The first places as a text: 3, 7, 9 (and 12 more)."""
    more = f" (and {len(places) - SHOWN} more)" if len(places) > SHOWN else ""
    return ", ".join(printable(str(place)) for place in places[:SHOWN]) + more


def printable(name: str) -> str:
    """A name that a log in UTF-8 can hold; bytes of names that are not UTF-8 are spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()
