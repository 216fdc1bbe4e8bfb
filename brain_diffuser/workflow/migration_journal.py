"""What a migration changes in a folder of results, written down first, so that one that is killed can be finished.

Every step can be done twice: `finish` does those that are left.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5
from brain_diffuser.workflow import reconcile, renamed

PLAN = "plan.json"
KEPT = ".before_migration.json"  # in the folder of results: the receipts and records of before

Json = dict[str, Any]


@dataclass
class Changes:
    """The steps of a migration; paths are relative to the folder of results.

    Parameters
    ----------
    moves
        Old and new path of every file or folder that is renamed, folders before what is in them.
    rewritten
        {new path of a table: its text with the new header}.
    receipts
        {path of a receipt: its content}.
    stale_receipts
        Paths, after the moves, of receipts whose artifacts have another name now.
    records
        {path of an artifact as Snakemake names it: Snakemake's record}.
    stale_records
        Such paths of artifacts that have another name now.
    kept
        The receipts and records of before.
    """

    moves: list[list[str]] = field(default_factory=list)
    rewritten: dict[str, str] = field(default_factory=dict)
    receipts: dict[str, Json] = field(default_factory=dict)
    stale_receipts: list[str] = field(default_factory=list)
    records: dict[str, Json] = field(default_factory=dict)
    stale_records: list[str] = field(default_factory=list)
    kept: dict[str, Json] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.moves, self.rewritten, self.receipts, self.records))


def is_begun(root: str) -> bool:
    """Whether a migration of this folder was begun and not finished."""
    return Path(root, renamed.JOURNAL, PLAN).is_file()


def begin(root: str, changes: Changes) -> None:
    """Write down what is going to be done."""
    with hdf5.atomic(Path(root, renamed.JOURNAL, PLAN)) as partial:
        partial.write_text(json.dumps(asdict(changes)), encoding="utf-8")


def finish(root: str) -> int:
    """Do what is written down and not yet done; returns how many files and folders are renamed in all."""
    folder = Path(root, renamed.JOURNAL)
    changes = Changes(**json.loads((folder / PLAN).read_text(encoding="utf-8")))
    for old, new in changes.moves:
        _move(Path(root, old), Path(root, new))
    for path, text in changes.rewritten.items():
        _rewrite(Path(root, path), text)
    for path, content in changes.receipts.items():
        with hdf5.atomic(Path(root, path)) as partial:
            partial.write_text(json.dumps(content), encoding="utf-8")
    for path in changes.stale_receipts:
        Path(root, path).unlink(missing_ok=True)
    results = reconcile.Results(root)
    for path, record in changes.records.items():
        results.write_record(path, record)
    for path in changes.stale_records:
        results.delete_record(path)
    _keep(Path(root, KEPT), changes.kept)
    shutil.rmtree(folder)
    return len(changes.moves)


def _move(old: Path, new: Path) -> None:
    """Rename a file or folder that is still there; a folder whose new name is there already is empty by now."""
    if not os.path.lexists(old):
        return
    if old.is_dir() and new.is_dir():
        old.rmdir()
    else:
        new.parent.mkdir(parents=True, exist_ok=True)
        os.rename(old, new)


def _rewrite(path: Path, text: str) -> None:
    """Write a table under its old date."""
    status = path.stat()
    with hdf5.atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
        os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.chmod(partial, status.st_mode & 0o7777)


def _keep(path: Path, kept: dict[str, Json]) -> None:
    """Keep the receipts and records of before, with those of an earlier migration."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    with hdf5.atomic(path) as partial:
        partial.write_text(json.dumps({**kept, **before}), encoding="utf-8")
