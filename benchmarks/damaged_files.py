"""Damaged inputs: how many faults every reader finds. --write puts the table into docs/reliability.md.

    PYTHONPATH=tests python benchmarks/damaged_files.py --write

The tests test_damaged_*.py count the same and fail if a fault is silent.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

import damaged_artifacts
import damaged_data
import damaged_models
import damaged_workflow
import reliability
from reliability import LOST, NO_SENTENCE, PLAUSIBLE, SENTENCE, SILENT, UNCHANGED

PAGE = Path(__file__).resolve().parents[1] / "docs/reliability.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
ROOMS = {
    "Datasets": damaged_data,
    "Between stages, in a job": damaged_artifacts,
    "Models": damaged_models,
    "Workflow": damaged_workflow,
}
COLUMNS = {
    UNCHANGED: "sound values",
    SENTENCE: "one sentence",
    LOST: "made again",
    PLAUSIBLE: "beyond any reader",
    SILENT: "silent",
    NO_SENTENCE: "no sentence",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=reliability.N_COPIES, help="damaged copies of each file")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    logging.disable()  # libraries say of every damaged file what they think of it
    lines = [
        f"| read | form | checksum | injected | {' | '.join(COLUMNS.values())} |",
        f"| --- | --- | --- |{' ---: |' * (1 + len(COLUMNS))}",
    ]
    total: Counter[str] = Counter()
    for room, module in ROOMS.items():
        lines.append(f"| **{room}** |{' |' * (3 + len(COLUMNS))}")
        for reader in module.READERS:
            with tempfile.TemporaryDirectory() as folder:
                tally = reliability.campaign(reader, Path(folder), options.copies)
            total += tally.counts
            lines.append(
                row(f"{reader.name} | `{reader.form}` | {'yes' if reader.has_checksum else 'no'}", tally.counts)
            )
            sys.stderr.write(f"{reader.name} {reader.form}: {tally}\n")
    lines.append(row("**all** | |", total))
    table = "\n".join(lines) + "\n"
    sys.stdout.write(table)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2], encoding="utf-8")
    sys.exit(total[SILENT] + total[NO_SENTENCE] > 0)


def row(beginning: str, counts: Counter[str]) -> str:
    """A line of the table."""
    return f"| {beginning} | {counts.total()} | {' | '.join(str(counts[word]) for word in COLUMNS)} |"


if __name__ == "__main__":
    main()
