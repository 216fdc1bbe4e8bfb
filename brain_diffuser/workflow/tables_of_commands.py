"""Folders of tables that commands write, which replace no others."""

from collections.abc import Collection
from pathlib import Path


def check_folder(out: Path, names: Collection[str]) -> None:
    """Check that a folder to write holds nothing but files of these names, which a command has written before.

    Raises ValueError: it has others, which would be lost.
    """
    others = sorted(each.name for each in out.iterdir() if each.name not in names) if out.is_dir() else []
    if others or (out.exists() and not out.is_dir()):
        has = f"has {others[0]}" if others else "is a file"
        raise ValueError(f"{out} {has}, which this command did not write; name another folder with --out")
