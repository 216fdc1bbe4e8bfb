"""List every output of the workflow, as results/README.md has them.

    python -m brain_diffuser.workflow.list_outputs > results/README.md

Paths and rules are the workflow's own; what the files hold is written in outputs.tsv beside this module.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from brain_diffuser.workflow import planned_jobs
from brain_diffuser.workflow.planned_jobs import PlannedRule

CONTENTS = Path(__file__).with_name("outputs.tsv")
CONFIGURATIONS: tuple[tuple[Path, ...], ...] = ((), (Path("config.haxby.yaml"),))  # together they have all rules
EVERY_RUN = (
    ".dataset.json",
    "{folder}/.receipts/{artifact}.json",
    "{subject}/logs/{job}.log",
    "{subject}/benchmarks/{job}.tsv",
)
FORMATS = {
    **{".h5": "HDF5", ".hdf5": "HDF5", ".tsv": "TSV", ".csv": "CSV", ".json": "JSON", ".png": "PNG", ".svg": "SVG"},
    **{
        ".html": "HTML",
        ".mat": "MATLAB",
        ".npy": "NumPy",
        ".gz": "NIfTI",
        ".safetensors": "safetensors",
        ".log": "text",
    },
}
MANY = {
    r"/roi/[\w-]+\.nii": "/roi/{atlas}.nii",
    r"betas_session\d+\.": "betas_session{session}.",
    r"_(vis|att|img)[ABC](_\d)?\.tsv": "_{run}.tsv",
    r"/set[AB]/[\w.]+\.png": "/set{set}/{target}.png",
}
"""Outputs that are listed as one."""
HEAD = """# Results

This folder is where Snakemake writes results; only this file is in git. It lists every output, by the folder of the
rule that makes it. `python -m brain_diffuser.workflow.list_outputs > results/README.md` writes it from the rules.

`{subject}` is a subject, such as sub01, or what subjects share, such as shared/sessions_1-37. `{feature}` is vdvae,
clip_text, clip_vision, clip_layers, sd_text or those of docs/generators.md; `{split}` is train or test; `{span}`
numbers the stimuli of a shard;
`{images}` is a set of images, such as recon or a variant; `{network}` is an evaluation network, `{scorer}` a metric
without one; `{decoder}` is a decoder other than ridge. Rows of arrays with `nsd_id` are stimuli. Temporary outputs are
deleted after their last use, unless snakemake runs with --notemp.
"""


def contents() -> dict[str, str]:
    """{output: what it holds}."""
    with open(CONTENTS, newline="", encoding="utf-8") as stream:
        return {
            row["output"]: row["contents"] for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        }


def outputs() -> dict[str, list[tuple[str, str, str]]]:
    """{room: [(output, format, rule)]} of all rules, in the workflow's order."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for config_files in CONFIGURATIONS:
        rules: list[PlannedRule] = []
        planned_jobs.plan({}, config_files, lambda some, rules=rules: rules.extend(some) or ())
        for rule in rules:
            for pattern in rule.outputs:
                path = _plain(pattern)
                found.setdefault(rule.room, {}).setdefault(path, (path, _format(path, rule.flags[pattern]), rule.name))
    return {room: list(rows.values()) for room, rows in found.items()}


def page() -> Iterator[str]:
    """The lines of results/README.md."""
    known = contents()
    yield HEAD
    yield from _table("Every run", [(path, _format(path, ()), "") for path in EVERY_RUN], known)
    for room, rows in sorted(outputs().items()):
        yield from _table(room, rows, known)


def _table(title: str, rows: Sequence[tuple[str, str, str]], known: dict[str, str]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| output | format | contents | rule |"
    yield "| --- | --- | --- | --- |"
    for path, kind, rule in rows:
        yield f"| `{path}` | {kind} | {known.get(path, '')} | {rule} |"
    yield ""


def _plain(pattern: str) -> str:
    """An output below the folder of results, its wildcards without their regular expressions."""
    depth, kept = 0, []
    for sign in pattern.partition("/")[2]:
        depth += sign == "{"
        is_expression = depth and (kept[-1:] == [","] or sign == ",")
        if not is_expression:
            kept.append(sign)
        elif sign == "," and kept[-1:] != [","]:
            kept.append(",")
        depth -= sign == "}"
        if not depth and kept[-1:] == [","]:
            kept[-1] = "}"
    path = "".join(kept)
    for many, one in MANY.items():
        path = re.sub(many, one, path)
    return path


def _format(path: str, flags: Sequence[str] | frozenset[str]) -> str:
    kind = "folder" if "directory" in flags else FORMATS.get(Path(path).suffix, "folder")
    return f"{kind}, temporary" if "temp" in flags else kind


def main() -> None:
    sys.stdout.write("\n".join(page()).rstrip() + "\n")


if __name__ == "__main__":
    main()
