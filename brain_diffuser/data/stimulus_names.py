"""What a page calls a stimulus: its image file where a dataset has files, else its NSD id; no caption is no text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from brain_diffuser.data import custom


def read(path: str | Path) -> dict[int, str]:
    """The image file of every stimulus by its nsd_id, from the table of `custom.write_ids`; nothing without a path."""
    return {number: name for name, number in custom.read_ids(path).items()} if path else {}


def captions(texts: Sequence[str], nsd_id: int, names: Mapping[int, str]) -> list[str]:
    """The captions of a stimulus, or the name of its file where a dataset has none."""
    from brain_diffuser.data import custom_files

    return [names[nsd_id]] if nsd_id in names and list(texts) == [custom_files.NO_CAPTION] else list(texts)


def line(texts: Sequence[str], nsd_id: int, names: Mapping[int, str]) -> str:
    """One line below an image: the name of its file, if it has one, and its first caption, if there is any."""
    first = captions(texts, nsd_id, names)[0]
    return first if names.get(nsd_id, first) == first else f"{names[nsd_id]}: {first}"
