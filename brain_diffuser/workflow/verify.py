"""Whether a folder of results is what its receipts say: every artifact hashed again, every input compared.

    python -m brain_diffuser.verify [FOLDER]

Changes nothing. Ends with 0 if all agrees, else with 1 after a sentence for each difference: the artifact, its stage,
and the command that makes it again, to which the arguments of your runs belong, such as --configfile. A run of
snakemake compares sizes and dates, and content only where these differ; this command reads everything. A folder that
was copied elsewhere is verified where it is.
"""

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import receipts, reconcile
from brain_diffuser.workflow.receipts import Receipt

SUMMARY = (__doc__ or "").partition("\n")[0]


class Difference(NamedTuple):
    """What of an artifact is not as its receipt says, and the command that makes it again, if that helps."""

    artifact: str
    stage: str
    what: str
    fix: str

    def __str__(self) -> str:
        again = f". Make it again: {self.fix}" if self.fix else ""
        return f"{self.artifact} (stage {self.stage}): {self.what}{again}"


def differences(root: str) -> Iterator[Difference]:
    """What differs in a folder of results, artifact by artifact."""
    results = reconcile.Results(root)
    for name, receipt in sorted(results.by_name.items()):
        path = Path(receipts.path_of(name, root))
        quoted = shlex.quote(str(path))
        try:
            for what in _of_content(path, receipt):
                again = f"snakemake --cores all --forcerun {quoted} -- {quoted}"
                yield Difference(str(path), receipt.rule, what, again)
            for what in _of_inputs(results, receipt):
                yield Difference(str(path), receipt.rule, what, f"snakemake --cores all -- {quoted}")
        except OSError as error:  # what cannot be read now may be sound, and is not made again for that
            yield Difference(str(path), receipt.rule, system_faults.message(error, path), "")


def _of_content(path: Path, receipt: Receipt) -> Iterator[str]:
    """How an artifact differs from its receipt; a temporary one that was used up does not."""
    if not os.path.lexists(path):
        return
    present = receipts.contents(path, whole=True)
    missing, more = receipt.files.keys() - present.keys(), present.keys() - receipt.files.keys()
    if missing or more:
        kind, names = ("lacks", missing) if missing else ("has, besides what was made,", more)
        yield f"it {kind} {', '.join(sorted(names)[:3])}{' and others' if len(names) > 3 else ''}"
    changed = [name for name in receipt.files.keys() & present.keys() if present[name][2] != receipt.files[name][2]]
    if changed:
        inside = f" of {', '.join(sorted(changed)[:3])}" if changed != [""] else ""
        yield f"the content{inside} is not what was written"


def _of_inputs(results: reconcile.Results, receipt: Receipt) -> Iterator[str]:
    """Which inputs are no longer those that an artifact was made from."""
    if not os.path.exists(receipts.path_of(receipt.output, results.root)):
        return
    for name, noted in receipt.inputs.items():
        known = results.by_name.get(name)
        if known and "digest" in noted:
            if known.digest != noted["digest"]:
                yield f"it was made from another {receipts.path_of(name, results.root)}"
        elif "files" in noted:
            path = receipts.path_of(name, results.root)
            is_chosen = "chosen" in noted
            present = receipts.chosen(path, noted["files"])["files"] if is_chosen else receipts.contents(path)
            if present and receipts.digest(present) != receipts.digest(noted["files"]):
                yield f"it was made from another {receipts.path_of(name, results.root)}"


def versions(found: Iterable[Receipt]) -> dict[str, Counter[str]]:
    """How many artifacts were made with which version of each software."""
    counted: dict[str, Counter[str]] = {}
    for receipt in found:
        for name, version in receipt.versions.items():
            counted.setdefault(name, Counter())[version] += 1
    return dict(sorted(counted.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m brain_diffuser.verify", description=SUMMARY)
    parser.add_argument("folder", nargs="?", default="results", help="a folder of results; default: results")
    folder = parser.parse_args(arguments).folder.rstrip("/") or "/"
    try:
        return _verify(folder)
    except OSError as error:
        sys.stderr.write(f"{system_faults.message(error, folder)}\n")
        return 1


def _verify(folder: str) -> int:
    """Write what differs, and a summary; the exit status."""
    found = reconcile.Results(folder).by_name
    if not found:
        sys.stderr.write(
            f"{folder} holds no receipts, so there is nothing to compare with; name a folder of results that this "
            "version of the workflow has made\n"
        )
        return 1
    n_different = 0
    for difference in differences(folder):
        n_different += 1
        sys.stdout.write(f"{difference}\n")
    kinds = (f"{name} {', '.join(sorted(each))}" for name, each in versions(found.values()).items())
    datasets = ", ".join(sorted({each.dataset for each in found.values()}))
    touched = sum(each.touched for each in found.values())
    there = sum(os.path.exists(receipts.path_of(name, folder)) for name in found)
    gone = f" ({len(found) - there} others are gone, as temporary ones are)" if there < len(found) else ""
    summary = f"{there} artifacts of dataset {datasets} were read{gone}, made with {'; '.join(kinds)}"
    summary += f"; {touched} declared valid by snakemake --touch" if touched else ""
    sys.stdout.write(f"{summary}. {n_different or 'No'} difference{'s' * (n_different != 1)}.\n")
    return int(n_different > 0)
