"""Give a finished folder of results of version 0.1 its new names and receipts; no number changes.

    python -m brain_diffuser.migrate [FOLDER] [--configfile FILE ...] [--dry-run] [--accept]

Run it in the folder in which Snakemake runs, with the configuration of the results under its new keys. An artifact
stays valid if the last code of version 0.1 made it, with the parameters and inputs that the configuration still names;
all others are renamed as well, and Snakemake makes them again. Nothing is deleted. A migration that was interrupted is
finished by the next call.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import migration_journal, migration_plan, renamed
from brain_diffuser.workflow.config import command_line

SUMMARY = (__doc__ or "").partition("\n")[0]
SHOWN = 3  # artifacts of each reason that are named


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog=renamed.MIGRATE, description=SUMMARY)
    parser.add_argument("folder", nargs="?", default="results", help="a folder of results; default: results")
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], help="as for snakemake")
    parser.add_argument("--dry-run", "-n", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="take artifacts without receipts as they are where nothing says which code made them",
    )
    options = parser.parse_args(arguments)
    folder = os.path.normpath(options.folder)
    try:
        command_line.check_arguments(sys.argv[1:] if arguments is None else arguments)
        for line in _migrate(folder, options.configfile, is_dry=options.dry_run, accept=options.accept):
            sys.stdout.write(f"{line}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{system_faults.message(error)}\n")
        return 1
    return 0


def _migrate(folder: str, config_files: Sequence[Path], *, is_dry: bool, accept: bool) -> list[str]:
    """What was done, in sentences."""
    _check(Path(folder))
    if migration_journal.is_begun(folder):
        if is_dry:
            return [f"A migration of {folder} was interrupted; {renamed.MIGRATE} {folder} finishes it."]
        n_renamed = migration_journal.finish(folder)
        return [
            f"The migration of {folder} that was interrupted is finished; it renames {n_renamed} files and folders."
        ]
    planned = migration_plan.make(folder, config_files, accept=accept)
    if not planned.changes:
        raise ValueError(f"{folder} has no result with a name or receipt of version 0.1; there is nothing to migrate")
    lines = _sentences(planned, folder)
    if is_dry:
        return [*lines, "Nothing was changed (--dry-run)."]
    migration_journal.begin(folder, planned.changes)
    migration_journal.finish(folder)
    return [*lines, f"Nothing was deleted; the old receipts and records are in {folder}/{migration_journal.KEPT}."]


def _check(folder: Path) -> None:
    """Raises ValueError or FileNotFoundError: this is no folder of results, or runs are writing to it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not here; run this in the folder that holds it, or name another folder")
    locks = list(Path(".snakemake/locks").glob("*"))
    if locks:
        raise ValueError(
            f"a run of Snakemake is writing here ({locks[0]}); wait until it has ended, or, if it was killed, run "
            "snakemake --unlock first"
        )


def _sentences(planned: migration_plan.Plan, folder: str) -> list[str]:
    """What is going to be done, for people."""
    changes = planned.changes
    words = f"{folder}: {len(changes.moves)} files and folders get their new names"
    if changes.rewritten:
        words += f", and {len(changes.rewritten)} tables and shards their new headers"
    lines = [f"{words}.", f"{planned.n_valid} artifacts stay valid."]
    counts = Counter(planned.reasons.values())
    for reason, count in counts.most_common():
        names = [name for name, why in planned.reasons.items() if why == reason]
        shown = f"{', '.join(names[:SHOWN])}{' and others' if count > SHOWN else ''}"
        lines.append(f"{count} will be made again, {reason}: {shown}.")
    if planned.accepted:
        lines.append(
            f"{planned.accepted} of these are taken as they are (--accept); nothing says which code made them, or in "
            "which precision."
        )
    if planned.unplanned:
        lines.append(
            f"{planned.unplanned} are none of this configuration's; they get their new names and are left as they are."
        )
    return lines
