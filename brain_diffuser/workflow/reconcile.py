"""Snakemake's records, made to say what receipts say, once per start and before Snakemake reads them.

Snakemake decides by records below .snakemake what has to run again. They hold what the main process believed: it
records a job that fails as if it had ended well, and it knows nothing of what a job has really read. Here each record
is rewritten from the receipt (receipts.py) that the job itself has left, so that Snakemake compares what was with what
is wanted now and gives its own reason. No job imports this module: an edit of it reruns nothing.

What Snakemake 9.27 does, and why records are rewritten instead of deleted: docs/decisions.md, 2026-11-29.
"""

import errno
import json
import math
import os
import stat
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import receipts
from brain_diffuser.workflow.receipts import Receipt

METADATA = ".snakemake/metadata"  # of the folder in which Snakemake runs
LAST_DATE = 2.0**40  # seconds; a file cannot be given a date far beyond
RECORD_FORMAT = 6  # of Snakemake 9; it compares parameters of no other

Record = dict[str, Any]


@dataclass
class Results:
    """A folder of results, its receipts, and the records that Snakemake has of it.

    Parameters
    ----------
    root
        The folder, relative to where Snakemake runs or absolute.
    storage
        What Snakemake's records have before a path of the folder if it lies in a storage; None if it does not.
    versions
        Versions of software that receipts have to name, if these decide; otherwise empty.
    """

    root: str
    storage: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    _listed: dict[str, dict[str, list]] = field(default_factory=dict, init=False, repr=False)
    _compared: dict[tuple, bool] = field(default_factory=dict, init=False, repr=False)
    _digests: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _reasons: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def by_name(self) -> dict[str, Receipt]:
        """All receipts that can be read, by the names of their artifacts."""
        found = ((path, receipts.read(path)) for path in _receipt_files(self.root))
        # One that lies elsewhere, as in a copy of a subject's folder under another name, says nothing of what it names.
        return {
            each.output: each for path, each in found if each and path == str(receipts.place(each.output, self.root))
        }

    def agree(self) -> None:
        """Make Snakemake's records agree with the receipts.

        A record that is missing or differs is written from the receipt. Where an input is not the noted one, or the
        artifact is not the one of its receipt, the record says so in place of its parameters, which makes Snakemake run
        the job again. Dates that say nothing, as those of a copy, are set so that Snakemake does not go by them. The
        receipt of what a rule of another workflow, which leaves none, has made since is deleted.
        """
        later = Dates(self)
        for name, receipt in list(self.by_name.items()):
            record = self.record(name)
            if self._is_of_another_rule(name, receipt, record):
                receipts.place(name, self.root).unlink(missing_ok=True)
                del self.by_name[name]
                continue
            reason = self.why_not(receipt, record)
            self._correct(name, receipt, record, reason)
            if reason:
                self._reasons[name] = reason
            else:
                later.agreeing.add(name)
        later.settle()

    def why_not(self, receipt: Receipt, record: Record | None) -> str:
        """Why an artifact is not what its receipt says of it and of its inputs; empty if it is."""
        copied = record is None
        for name, noted in receipt.inputs.items():
            if not self._is_noted(name, noted, copied):
                return f"made from another {receipts.path_of(name, self.root)}"
        for name, version in self.versions.items():
            if receipt.versions.get(name, version) != version:
                return f"made with {name} {receipt.versions[name]}, not with {version}"
        if self.storage is None and not self._is_held(receipt, record):
            return "altered since it was made"
        return ""

    def why_wrong(self, name: str) -> str:
        """Why the artifact was not what its receipt says when records were made to agree; empty if it was."""
        return self._reasons.get(name, "")

    def take_over(self) -> None:
        """After `snakemake --touch`: receipts hold the recorded parameters and the present inputs and artifacts."""
        for name, receipt in self.by_name.items():
            record, path = self.record(name), receipts.path_of(name, self.root)
            there = os.path.exists(path)
            if record is None or (there and record["endtime"] != _date(path)):
                continue
            if record["params"] == [self._reasons.get(name)]:  # it was not touched
                continue
            known = {value: key for key, value in receipt.params}
            taken = replace(
                receipt,
                params=[[known.get(value, ""), value] for value in record["params"]],
                inputs={each: self._note(each, noted) for each, noted in receipt.inputs.items()},
                files=receipts.contents(path, whole=True) if there else receipt.files,
            )
            if taken.values != receipt.values or (taken.inputs, taken.digest) != (receipt.inputs, receipt.digest):
                receipts.write(replace(taken, touched=True), self.root)

    def record(self, name: str) -> Record | None:
        """Snakemake's record of an artifact; None where there is none that can be read."""
        content = system_faults.content(_place(self._key(name)))
        try:
            found = json.loads(content or b"")
        except (ValueError, RecursionError):
            return None
        if not (isinstance(found, dict) and isinstance(found.get("params"), list)):
            return None
        ended = found.get("endtime")
        if not isinstance(ended, int | float) or not 0 <= ended < LAST_DATE:
            return None
        return found | {"endtime": float(ended)}

    def records(self) -> Iterator[tuple[str, Record]]:
        """(path, record) of every artifact that Snakemake has a record of."""
        for folder, _, files in os.walk(METADATA):
            for file in files:
                path = os.path.relpath(os.path.join(folder, file), METADATA)
                encoded = "".join(part.removeprefix("@") for part in path.split("/"))
                with suppress(ValueError):
                    name = urlsafe_b64decode(encoded).decode()
                    record = self.record(receipts.name_of(name, self.root))
                    if record:
                        yield name, record

    def delete_record(self, name: str) -> None:
        """Delete the record of an artifact, if there is one."""
        with suppress(FileNotFoundError):
            os.remove(_place(self._key(name)))

    def write_record(self, name: str, record: Record) -> None:
        """Write a record, whole or not at all, with Snakemake's permissions; its name may be as long as one can be."""
        place = _place(self._key(name))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        mode = stat.S_IMODE(os.stat(place).st_mode) if os.path.exists(place) else 0o664
        partial = f"{METADATA}/part-{os.getpid()}"
        try:
            with open(partial, "w", encoding="utf-8") as file:
                json.dump(record, file)
            os.chmod(partial, mode)
            os.replace(partial, place)
        except OSError as error:
            said = system_faults.message(error, place)
            with suppress(OSError):
                os.remove(partial)
            raise system_faults.SystemFault(error.errno or 0, said, place) from error

    def _correct(self, name: str, receipt: Receipt, record: Record | None, reason: str) -> None:
        inputs = sorted(map(self._key, receipt.given))
        if record is None:
            path = receipts.path_of(name, self.root)
            record = {
                "rule": receipt.rule,
                "log": [self._key(receipt.log)],
                "endtime": _date(path) if os.path.exists(path) else time.time(),
                "input_checksums": {},
            }
        wanted = record | {
            "rule": receipt.rule,
            "params": [reason] if reason else receipt.values,
            "input": inputs if self.storage is None else record.get("input", inputs),
            "record_format_version": RECORD_FORMAT,
        }
        if wanted != record:
            self.write_record(name, wanted)

    def _is_of_another_rule(self, name: str, receipt: Receipt, record: Record | None) -> bool:
        """Whether a rule of another workflow, which leaves no receipts, has made the artifact since."""
        path = receipts.path_of(name, self.root)
        if record is None or record.get("rule", receipt.rule) == receipt.rule or not os.path.exists(path):
            return False
        return (
            record["endtime"] == _date(path) and receipts.digest(receipts.contents(path, whole=True)) != receipt.digest
        )

    def _is_noted(self, name: str, noted: Mapping[str, Any], copied: bool) -> bool:
        """Whether an input is still what a job has noted of it."""
        known = self.by_name.get(name)
        if "digest" in noted and known:
            return known.digest == noted["digest"]
        path = receipts.path_of(name, self.root)
        if "digest" in noted:  # of an artifact whose receipt is lost
            if path not in self._digests:
                self._digests[path] = receipts.digest(receipts.contents(path, whole=True))
            return self._digests[path] == noted["digest"]
        return self._is_same(path, noted["files"], copied, "chosen" in noted)

    def _is_same(self, path: str, noted: receipts.Files, copied: bool, is_chosen: bool) -> bool:
        """Whether an outside path holds what was noted; receipts say nothing of one that is missing."""
        if is_chosen:
            found = ((name, next(receipts.listing(f"{path}/{name}"), None)) for name in noted)
            present = {name: entry[1:] for name, entry in found if entry}
        else:
            if path not in self._listed:
                self._listed[path] = {name: rest for name, *rest in receipts.listing(path)}
            present = self._listed[path]
        if not present:
            return True
        return present.keys() == noted.keys() and all(
            self._same(file, size, date, noted[name], copied) for name, (file, size, date) in present.items()
        )

    def _same(self, file: str, size: int, date: int, entry: receipts.Entry, copied: bool) -> bool:
        key = (file, *entry, copied)
        if key not in self._compared:
            self._compared[key] = receipts.same(file, size, date, entry, trust_dates=not copied)
        return self._compared[key]

    def _is_held(self, receipt: Receipt, record: Record | None) -> bool:
        """Whether an artifact, if it is there, is that of its receipt; dates that differ are settled by content."""
        path = receipts.path_of(receipt.output, self.root)
        if "" in receipt.files:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                return True
            size, _, key = receipt.files[""]
            if found.st_size != size:
                return False
            if record and found.st_mtime == record.get("endtime"):
                return True
            if [each[2] for each in receipts.contents(path, whole=True).values()] != [key]:
                return False
            if record:
                _set_date(path, record["endtime"])
            return True
        if not os.path.isdir(path):
            return True
        present = {name: (file, size, date) for name, file, size, date in receipts.listing(path)}
        if present.keys() != receipt.files.keys():
            return False
        entries = [(*present[name], receipt.files[name]) for name in present]
        if any(size != entry[0] for _, size, _, entry in entries):
            return False
        others = [(file, size, date, entry) for file, size, date, entry in entries if date != entry[1]]
        if not all(receipts.same(*each) for each in others):
            return False
        if others:  # the same content under new dates
            receipt.files = {name: [size, date, receipt.files[name][2]] for name, (_, size, date) in present.items()}
            receipts.write(receipt, self.root)
        return True

    def _note(self, name: str, noted: Mapping[str, Any]) -> dict[str, Any]:
        """What a job that ran now would note of an input; what is gone keeps its note."""
        path = receipts.path_of(name, self.root)
        if not os.path.exists(path):
            return dict(noted)
        if "chosen" in noted:
            return receipts.chosen(path, noted["files"])
        return receipts.note(path, name, self.root)

    def _key(self, name: str) -> str:
        """A path as Snakemake's records have it."""
        path = receipts.path_of(name, self.root)
        if self.storage is None or not name.startswith(receipts.ROOT):
            return path
        stored = f"{self.storage}{path}"  # but for what the workflow writes beside the storage, such as the demo's data
        return stored if os.path.exists(_place(stored)) or not os.path.exists(_place(path)) else path


class Dates:
    """Dates by which Snakemake would run jobs again although nothing has changed, as those of a copy are.

    Snakemake cannot be made to disregard dates. Where an artifact agrees with its receipt and an input that agrees as
    well is newer, the artifact gets a new date, and so do those that are made of it.
    """

    def __init__(self, results: Results):
        self.results, self.agreeing = results, set[str]()
        self._settled: dict[str, float] = {}
        self._now = float(math.ceil(time.time()))  # exact as a float and in nanoseconds

    def settle(self) -> None:
        """Set the dates."""
        if self.results.storage is None:
            for name in self.agreeing:
                self._of(name)

    def _of(self, name: str) -> float:
        """The date that an artifact or an outside path has, once it is settled; 0 if it is not there."""
        if name not in self._settled:
            path, receipt = receipts.path_of(name, self.results.root), self.results.by_name.get(name)
            self._settled[name] = _date(path) if os.path.exists(path) else 0.0
            if receipt and name in self.agreeing:
                # Snakemake goes by the older of an artifact and its benchmark; of a used-up one, by the benchmark.
                dated = [each for each in (path, self._benchmark(receipt)) if os.path.exists(each)]
                known = [each for each, noted in receipt.inputs.items() if self._counts(each, noted)]
                if dated and max(map(self._of, known), default=0.0) > min(map(_date, dated)):
                    self._renew(name, dated)
        return self._settled[name]

    def _counts(self, name: str, noted: Mapping[str, Any]) -> bool:
        """Whether Snakemake goes by the date of an input, and the input agrees or is an outside path."""
        return "chosen" not in noted and (name in self.agreeing or name not in self.results.by_name)

    def _renew(self, name: str, paths: list[str]) -> None:
        for path in paths:
            dated = os.path.join(path, receipts.TIMESTAMP) if os.path.isdir(path) else path
            with suppress(PermissionError):
                Path(dated).touch()
            _set_date(dated, self._now)
        record = self.results.record(name)
        if record:
            self.results.write_record(name, record | {"endtime": self._now})
        if self._settled[name]:
            self._settled[name] = self._now

    def _benchmark(self, receipt: Receipt) -> str:
        """The table of what a job took, which is named as its log is."""
        log = receipts.path_of(receipt.log, self.results.root)
        before, _, after = log.removesuffix(".log").rpartition("/logs/")
        return f"{before}/benchmarks/{after}.tsv"


def _receipt_files(folder: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The files of all receipts below a folder; folders that are artifacts are not looked into, links are followed."""
    here = os.path.realpath(folder)
    try:
        with os.scandir(folder) as entries:
            folders = [entry.path for entry in entries if _is_folder(entry)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # Snakemake, too, takes what is in a folder that may not be entered for missing
    if here in above:
        return
    made = set[str]()
    for each in folders:
        if os.path.basename(each) == receipts.FOLDER:
            for path, _, files in os.walk(each, onerror=_stop):
                made.update(name.removesuffix(".json") for name in files)
                yield from (os.path.join(path, name) for name in files if name.endswith(".json"))
    for each in folders:
        if os.path.basename(each) not in made | {receipts.FOLDER}:
            yield from _receipt_files(each, above | {here})


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether a folder's entry is a folder; a link that leads back to itself is none."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _stop(error: OSError) -> None:
    raise error


def _date(path: str | Path) -> float:
    """The date that Snakemake goes by: of a folder that it made, that of a file inside; of a link, the newer one."""
    found = os.stat(path, follow_symlinks=False)
    dates = [found.st_mtime]
    if stat.S_ISLNK(found.st_mode):
        found = os.stat(path)
        dates.append(found.st_mtime)
    if stat.S_ISDIR(found.st_mode):
        with suppress(FileNotFoundError):
            dates[-1] = os.stat(os.path.join(path, receipts.TIMESTAMP)).st_mtime
    return max(dates)


def _set_date(path: str, date: float) -> None:
    """Set a date; who may not, as with the results of somebody else, leaves it."""
    with suppress(PermissionError):
        os.utime(path, (date, date))


@cache
def _longest_name() -> int:
    """How long Snakemake lets a file's name be; it parts longer ones into folders that begin with @."""
    return (os.pathconf(METADATA, "PC_NAME_MAX") or 255) - 1 if os.path.isdir(METADATA) else 254


def _place(key: str) -> str:
    """Where Snakemake keeps the record of an artifact."""
    encoded, longest = urlsafe_b64encode(key.encode()).decode(), _longest_name()
    parts = [encoded[start : start + longest] for start in range(0, len(encoded), longest)]
    return "/".join((METADATA, *(f"@{part}" for part in parts[:-1]), parts[-1]))
