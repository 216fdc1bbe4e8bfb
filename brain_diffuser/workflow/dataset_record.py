"""A folder of results belongs to one dataset: which one is written into the folder, and compared before every run."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.workflow.config import schema

RECORD = ".dataset.json"
NO_RESULTS = ("README.md", "dataset")  # besides hidden files: what is looked through before a run is nobody's result
IN_REPORT = re.compile(rb"<pre[^>]*>dataset: ([^\s<]+)")
IN_TABLES = re.compile(r"\*\*([^\s*]+)(?:: |, )")


def of_config(cfg: schema.Config) -> dict[str, Any]:
    """What identifies the chosen dataset: its name, and how it comes about; no path, so that folders can be moved."""
    name, section = cfg.paths.adapter_name, cfg.adapter.section
    return {
        "dataset": cfg.dataset,
        "simulated": cfg.paths.simulated,
        "layout": section if section in ("nsd", "custom") else name,
        "adapter": "none" if name in ("nsd", "demo", "custom") else name,
    }


def check(
    results: Path, mine: Mapping[str, Any], label: str, receipts: Collection[str] = (), is_local: bool = True
) -> None:
    """Refuse a folder with the results of another dataset; one without results, or of which nothing is known, passes.

    Parameters
    ----------
    results
        The folder. Without a record in it, its report and its tables say whose results it has.
    mine
        The dataset of this run, as `of_config` gives it.
    label
        How tables call it.
    receipts
        Datasets that receipts in the folder name.
    is_local
        False if results lie elsewhere, such as in S3, and only the record is in the folder.

    Raises ValueError: the results are those of another dataset.
    """
    recorded = read(results)
    if is_same(recorded, mine) or (is_local and not _has_results(results)):
        return
    other, ours = (
        recorded["dataset"] if recorded else _inferred(results, mine["dataset"], label, receipts),
        mine["dataset"],
    )
    if other is None:
        return
    suggested = f"results: results_{ours}"
    if recorded and other == ours:
        other, ours = _described(recorded), _described(mine)
    away = results if is_local else results / RECORD
    raise ValueError(
        f"{results} has the results of dataset {other}, and this run is of dataset {ours} (nothing was changed); give "
        f"it another folder, such as {suggested}, or go back to {other} with its --configfile, or move {away} away"
    )


def check_sessions(results: Path, sessions: Mapping[str, Sequence[int]]) -> None:
    """Refuse sessions that are fewer than those that an earlier run has read, where all that are there are asked for.

    Parameters
    ----------
    results
        The folder with the record.
    sessions
        Numbers of the sessions that are there, of each subject.

    Raises ValueError: one is gone.
    """
    recorded = (read(results) or {}).get("sessions", {}) if _has_results(results) else {}
    for subject, numbers in sessions.items():
        gone = sorted(set(recorded.get(subject, ())) - set(numbers))
        if gone:
            raise ValueError(
                f"config.yaml: nsd.sessions is all, and session {gone[0]} of {subject}, which an earlier run has read, "
                "is gone (nothing was changed); put it back, or set nsd.sessions to those that shall be read"
            )


def read(results: Path) -> dict[str, Any] | None:
    """The dataset that was written into a folder of results; None if there is none, or no whole one.

    Raises SystemFault: there is one that cannot be read, such as for lack of permission.
    """
    try:
        found = json.loads(system_faults.content(results / RECORD) or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "dataset" in found else None


def is_same(recorded: Mapping[str, Any] | None, mine: Mapping[str, Any]) -> bool:
    """Whether a record is that of this dataset."""
    return recorded is not None and all(recorded.get(key) == value for key, value in mine.items())


def settled(results: Path, mine: Mapping[str, Any], is_local: bool = True) -> dict[str, str]:
    """What "auto" stands for in a folder of results that has been begun, by the keys of config.yaml."""
    return _known(results, mine, is_local).get("auto", {})


def write(
    results: Path,
    mine: Mapping[str, Any],
    sessions: Mapping[str, Sequence[int]],
    settled: Mapping[str, str],
    is_local: bool = True,
) -> None:
    """Write the dataset into its folder of results, with what later runs have to agree with.

    Parameters
    ----------
    results
        The folder.
    mine
        The dataset of this run, as `of_config` gives it.
    sessions
        Numbers of the sessions that are read, of each subject, if there are any.
    settled
        Values that "auto" stands for in all runs of this folder, by the keys of config.yaml.
    is_local
        False if results lie elsewhere, as in `check`.
    """
    known = _known(results, mine, is_local)
    numbers = {subject: list(each) for subject, each in sessions.items()}
    content = {
        **mine,
        "sessions": {**known.get("sessions", {}), **numbers},
        "auto": {**known.get("auto", {}), **settled},
    }
    if read(results) != content:
        results.mkdir(parents=True, exist_ok=True)
        with hdf5.atomic(results / RECORD) as partial:
            partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _known(results: Path, mine: Mapping[str, Any], is_local: bool) -> dict[str, Any]:
    """The record of a folder with results of this dataset; empty if there is none or if the folder was emptied."""
    recorded = read(results)
    return recorded or {} if is_same(recorded, mine) and (not is_local or _has_results(results)) else {}


def _has_results(results: Path) -> bool:
    """Whether there is more in the folder than its record and what is no result."""
    found = results.iterdir() if results.is_dir() else ()
    return any(not path.name.startswith(".") and path.name not in NO_RESULTS for path in found)


def _described(dataset: Mapping[str, Any]) -> str:
    """A dataset's name and how it comes about, where the name alone does not tell two apart."""
    words = ["simulated" if dataset.get("simulated") else "", str(dataset.get("layout")), str(dataset.get("adapter"))]
    return f"{dataset['dataset']} ({', '.join(word for word in words if word not in ('', 'none', 'None'))})"


def _inferred(results: Path, name: str, label: str, receipts: Collection[str]) -> str | None:
    """The other dataset that receipts, the report or the tables of a folder without a record name, if they do."""
    if receipts:
        return next((other for other in sorted(receipts) if other != name), None)
    report = results / "report.html"
    if report.is_file():
        found = IN_REPORT.search(report.read_bytes())
        if found:
            other = found[1].decode()
            return None if other == name else other
    for path in sorted(results.glob("*/*/scores.md")):
        labelled = IN_TABLES.match(path.read_text(encoding="utf-8"))
        if labelled:
            return None if labelled[1] == label else labelled[1]
    return None
