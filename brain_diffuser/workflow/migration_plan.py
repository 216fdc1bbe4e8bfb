"""What a migration of results of version 0.1 has to change, and which artifacts stay valid.

What an artifact has to be made with is asked of Snakemake (planned_jobs.py), as `snakemake --touch` does. What it was
made with stands in its receipt, or, without receipts, in Snakemake's record of it.
"""

import ast
import csv
import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from brain_diffuser.workflow import planned_jobs, receipts, reconcile, renamed
from brain_diffuser.workflow.migration_journal import Changes
from brain_diffuser.workflow.planned_jobs import PlannedJob
from brain_diffuser.workflow.receipts import Receipt

KEYS = Path(__file__).with_name("code_before_move.json")
"""Code keys of version 0.1: of its last commit, of which receipts speak, and of the last one that wrote none.

Results of these keys have the numbers that the present code gives. Who changes the numbers of a script deletes its
lines here, so that old results of it are made again.
"""

HEADERS = {"pictures": "images", "picture": "image"}
"""Old column of a table -> its name now."""

NOT_TABLES = ("demo", "haxby", "dataset")  # folders of results with files of datasets
DISPLAYED = ("settings", "edges", "world", "dataset_label")
"""Parameters that are only shown beside results: words for people, which have changed with the names."""

BY_USERS = ("categories", "regions", "rois", "variants", "datasets")
"""Sections whose keys are names that users give; elsewhere a key that has come or gone is the project's doing."""

DTYPE = "compute.dtype"
NAMED_IN_TEXTS = {"clip_taps": "clip_layers"}
MOVED_OUTSIDE = (("data/models/judges/", "data/models/evaluation_networks/"),)


@dataclass
class Plan:
    """What is going to be changed, and what becomes of the artifacts.

    Parameters
    ----------
    changes
        The steps.
    n_valid
        How many artifacts stay valid.
    accepted
        How many of them are taken as they are, since nothing says which code made them.
    reasons
        {path of an artifact: why it will be made again}.
    unplanned
        How many artifacts belong to no job of the configuration.
    """

    changes: Changes
    n_valid: int
    accepted: int
    reasons: dict[str, str]
    unplanned: int


@dataclass(frozen=True)
class Entry:
    """A file or folder below the folder of results: its path now, its path after the migration, and what it is."""

    old: str
    new: str
    is_folder: bool


def make(root: str, config_files: Sequence[Path], *, accept: bool) -> Plan:
    """Plan the migration of a folder of results; nothing is changed.

    Raises
    ------
    ValueError
        A file has its old and its new name both, or Snakemake cannot plan.
    SystemExit
        The workflow refuses its configuration.
    """
    changes = Changes()
    entries = list(_entries(root, changes.moves))
    config = {"results": root, renamed.MIGRATES: True}
    jobs = planned_jobs.plan(config, config_files, lambda rules: _targets(root, entries, rules))
    return _Migration(root, changes, entries, jobs, accept).plan()


class _Migration:
    """The receipts and records of a folder, rewritten one by one; a receipt after those of its inputs."""

    def __init__(
        self, root: str, changes: Changes, entries: Sequence[Entry], jobs: Sequence[PlannedJob], accept: bool
    ) -> None:
        self.root, self.changes, self.accept = root, changes, accept
        self.results = reconcile.Results(root)
        self.jobs = {receipts.name_of(path, root): job for job in jobs for path in job.outputs}
        self.there = {entry.new for entry in entries}
        self.tables = _new_tables(root, entries)
        self.made: dict[str, Receipt] = {}  # new receipts by their old names
        self.reasons: dict[str, str] = {}  # by new names; empty for an artifact that stays valid
        self.accepted: set[str] = set()

    def plan(self) -> Plan:
        """All changes."""
        before = self.results.by_name
        for name in before:
            self._make(name)
        self._write_receipts(before)
        self._write_records(dict(self.results.records()))
        self.changes.rewritten = {path: table.text for path, table in self.tables.items()}
        known = {name: why for name, why in self.reasons.items() if name in self.jobs}
        return Plan(
            self.changes,
            n_valid=sum(not why and self._is_there(name) for name, why in known.items()),
            accepted=sum(not self.reasons[name] for name in self.accepted),
            reasons={receipts.path_of(name, self.root): why for name, why in known.items() if why},
            unplanned=sum(name not in self.jobs and self._is_there(name) for name in self.reasons),
        )

    def _is_there(self, name: str) -> bool:
        return name.removeprefix(receipts.ROOT) in self.there

    # Receipts

    def _make(self, old: str) -> Receipt:
        """The new receipt of an artifact."""
        if old not in self.made:
            receipt = self.results.by_name[old]
            self.made[old] = receipt  # should inputs ever lead back here
            name = _new_name(old)
            moved = replace(
                receipt,
                output=name,
                rule=renamed.RULES.get(receipt.rule, receipt.rule),
                log=_new_name(receipt.log),
                given=list(map(_new_name, receipt.given)),
                inputs={_new_name(each): self._new_note(each, noted) for each, noted in receipt.inputs.items()},
                files=self._new_files(old, receipt.files),
            )
            self.reasons[name] = self._why_not(name, dict(moved.params), moved.given)
            if not self.reasons[name]:
                job = self.jobs[name]
                given = [receipts.name_of(path, self.root) for path in job.inputs]
                log = receipts.name_of(job.log, self.root)
                moved = replace(moved, rule=job.rule, log=log, given=given, params=_params(job))
            self.made[old] = moved
        return self.made[old]

    def _new_note(self, old: str, noted: Mapping[str, Any]) -> dict[str, Any]:
        """What a job had noted of an input, after the migration of that input."""
        known = self.results.by_name.get(old)
        if "digest" in noted:
            same = known is not None and known.digest == noted["digest"]
            return {**noted, "digest": self._make(old).digest} if same else dict(noted)
        return {**noted, "files": self._new_files(old, noted["files"])}

    def _new_files(self, old: str, files: receipts.Files) -> receipts.Files:
        """What an artifact is once its files are renamed and its tables have new headers; what was altered stays so."""
        if not old.startswith(receipts.ROOT):
            return files
        path, found = old.removeprefix(receipts.ROOT), {}
        for name, entry in files.items():
            inside = f"{path}/{name}" if name else path
            new = renamed.new_path(inside)
            table = self.tables.get(new)
            is_same = table is not None and table.old_digest == entry[2]
            new_name = new.removeprefix(f"{renamed.new_path(path)}/") if name else ""
            found[new_name] = [table.size, entry[1], table.new_digest] if table and is_same else entry
        return found

    def _write_receipts(self, before: Mapping[str, Receipt]) -> None:
        for old, receipt in self.made.items():
            if receipt != before[old]:
                place = self._place(receipt.output)
                self.changes.receipts[place] = asdict(receipt)
                self.changes.kept[f"receipt of {old}"] = asdict(before[old])
        places = {self._place(receipt.output) for receipt in self.made.values()}
        moved = {renamed.new_path(self._place(old)) for old in before}
        self.changes.stale_receipts = sorted(moved - places)

    def _place(self, name: str) -> str:
        return receipts.place(name, self.root).relative_to(self.root).as_posix()

    # Records

    def _write_records(self, before: Mapping[str, reconcile.Record]) -> None:
        """Snakemake's records of what lies in the folder, under new names."""
        for path, record in before.items():
            old = receipts.name_of(path, self.root)
            if old.startswith(receipts.ROOT):
                self._write_record(old, path, record)
        if self.accept:
            unknown = [name for name in self.jobs if self._is_there(name) and name not in self.reasons]
            self.accepted |= set(unknown)  # Snakemake does not ask what made an artifact without a record
            self.reasons |= dict.fromkeys(unknown, "")
        else:
            self._distrust_unknown()

    def _write_record(self, old: str, path: str, record: reconcile.Record) -> None:
        name = _new_name(old)
        given = [_new_name(receipts.name_of(each, self.root)) for each in record.get("input") or ()]
        new = record | {
            "rule": renamed.RULES.get(record["rule"], record["rule"]),
            "log": [self._path(_new_name(receipts.name_of(each, self.root))) for each in record.get("log") or ()],
            "input": sorted(map(self._path, given)),
            "input_checksums": {
                self._path(_new_name(receipts.name_of(each, self.root))): checksum
                for each, checksum in (record.get("input_checksums") or {}).items()
            },
        }
        if old in self.made:
            new |= {"rule": self.made[old].rule, "params": self.made[old].values}
        else:
            unnamed = {str(place): value for place, value in enumerate(record["params"])}
            self.reasons[name] = self._why_not(name, unnamed, given, has_receipt=False)
            if not self.reasons[name]:
                job = self.jobs[name]
                new |= {"rule": job.rule, "log": [job.log], "params": sorted(value for _, value in _params(job))}
                new["input"] = sorted(job.inputs)
        if not self.reasons[name]:  # the places of scripts and environments have changed, and nothing in them
            new = {key: value for key, value in new.items() if key not in ("code", "conda_env", "software_stack_hash")}
        new_path = self._path(name)
        if new != record or new_path != path:
            self.changes.records[new_path] = new
            self.changes.kept[f"record of {path}"] = record
        if new_path != path:
            self.changes.stale_records.append(path)

    def _distrust_unknown(self) -> None:
        """Records that make Snakemake run the jobs of artifacts that have neither a receipt nor a record."""
        for name, job in self.jobs.items():
            if self._is_there(name) and name not in self.reasons:
                self.reasons[name] = "nothing says what made them (--accept takes them as they are)"
                self.changes.records[self._path(name)] = {
                    "rule": job.rule,
                    "log": [job.log],
                    "params": ["made by nobody knows what"],
                    "input": sorted(job.inputs),
                    "input_checksums": {},
                    "record_format_version": reconcile.RECORD_FORMAT,
                }

    def _path(self, name: str) -> str:
        return receipts.path_of(name, self.root)

    # What stays valid

    def _why_not(self, name: str, params: Mapping[str, str], given: Iterable[str], *, has_receipt: bool = True) -> str:
        """Why an artifact has to be made again; empty if it stays valid, or if no job of the configuration makes it."""
        job = self.jobs.get(name)
        if job is None:
            return "no job of the configuration makes them"
        wanted = dict(job.params)
        code = [key for key, value in params.items() if _is_last_code(value)]
        if "code" in wanted and not code:
            if has_receipt or not self.accept:
                return "other code than the last of version 0.1 made them"
            self.accepted.add(name)
            code = [key for key, value in params.items() if _is_key(value)]
        left_out = (*code, "code", *DISPLAYED)
        settings = _value(wanted.get("cfg", "{}"))
        if not has_receipt:  # records do not say which parameters are only shown
            shown = [_value(wanted[key]) for key in DISPLAYED if key in wanted]
            params = {
                key: value for key, value in params.items() if not any(_is_like(_value(value), each) for each in shown)
            }
        old, new = (
            _spliced({key: _value(value) for key, value in some.items() if key not in left_out}, settings)
            for some in (params, wanted)
        )
        if self.accept and not has_receipt and old.get(DTYPE) == "auto":  # it depended on the machine of the job
            self.accepted.add(name)
            old[DTYPE] = new.get(DTYPE, "auto")
        different = _difference(old, new)
        if different:
            return "with other parameters" if different.isdigit() else f"with another {different}"
        if set(given) != {receipts.name_of(path, self.root) for path in job.inputs}:
            return "of other inputs"
        return ""


@dataclass(frozen=True)
class _Table:
    """A table with a new header."""

    text: str
    old_digest: str

    @cached_property
    def size(self) -> int:
        return len(self.text.encode())

    @cached_property
    def new_digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"


def _entries(root: str, moves: list[list[str]], old: str = "", now: str = "") -> Iterator[Entry]:
    """All that is below a folder of results; `moves` gets the new names. `now` is where the folder will be.

    Raises ValueError: a file has its old and its new name both.
    """
    with os.scandir(os.path.join(root, old)) as listed:
        inside = sorted(listed, key=lambda each: each.name)
    for each in inside:
        if each.name == renamed.JOURNAL:
            continue
        path = f"{old}/{each.name}" if old else each.name
        source = f"{now}/{each.name}" if now else each.name
        new, is_folder = renamed.new_path(path), each.is_dir(follow_symlinks=False)
        is_merged = is_folder and new != path and os.path.isdir(os.path.join(root, new))
        if new != path and os.path.lexists(os.path.join(root, new)) and not is_merged:
            raise ValueError(
                f"{root}/{path} is now {root}/{new}, and both exist; move one of them away, such as the one that is "
                "not complete (nothing was changed)"
            )
        if source != new and not is_merged:
            moves.append([source, new])
        yield Entry(path, new, is_folder)
        if is_folder:
            yield from _entries(root, moves, path, source if is_merged else new)
        if is_merged:
            moves.append([source, new])


def _targets(root: str, entries: Iterable[Entry], rules: Sequence[planned_jobs.PlannedRule]) -> Iterator[str]:
    """New paths of what rules make; what lies in a folder that a rule makes is part of it."""
    within = ()
    for entry in entries:
        if entry.new.startswith(within) if within else False:
            continue
        path = f"{root}/{entry.new}"
        if any(rule.is_producer(path) for rule in rules):
            within = (f"{entry.new}/",)
            yield path


def _new_name(name: str) -> str:
    """The present name of an artifact or another input, as receipts have it."""
    if name.startswith(receipts.ROOT):
        return receipts.ROOT + renamed.new_path(name.removeprefix(receipts.ROOT))
    for old, new in MOVED_OUTSIDE:
        if name.startswith(old) and not os.path.exists(name):
            return new + name.removeprefix(old)
    return name


def _new_tables(root: str, entries: Iterable[Entry]) -> dict[str, _Table]:
    """Tables whose headers have old words, by their new paths."""
    found = {}
    for entry in entries:
        is_table = entry.new.endswith((".csv", "scores.json")) and not entry.is_folder
        if is_table and entry.old.partition("/")[0] not in NOT_TABLES:
            content = Path(root, entry.old).read_bytes()
            text = _with_new_header(content.decode(errors="surrogateescape"), is_json=entry.new.endswith(".json"))
            if text is not None:
                found[entry.new] = _Table(text, f"sha256:{hashlib.sha256(content).hexdigest()}")
    return found


def _with_new_header(text: str, *, is_json: bool) -> str | None:
    """A table with the present names of its columns; None if it has them already."""
    if is_json:
        new = text
        for old, name in HEADERS.items():
            new = new.replace(f'"{old}": ', f'"{name}": ')
        return None if new == text else new
    line, end, rest = text.partition("\n")
    header = next(csv.reader([line]), [])
    names = [HEADERS.get(name, name) for name in header]
    if names == header:
        return None
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(names)
    return f"{stream.getvalue()}{end}{rest}"


# Code keys


def _is_last_code(value: str) -> bool:
    """Whether a parameter is the key of the last code of version 0.1."""
    text = _value(value)
    if not isinstance(text, str):
        return False
    keys = json.loads(KEYS.read_text(encoding="utf-8"))
    if _is_key(value):
        return text in keys["without_receipts"].values()
    try:
        script, entries, key = json.loads(text)
        return keys["with_receipts"][script][narrowing(entries)] == key
    except (ValueError, TypeError, KeyError):
        return False


def _is_key(value: str) -> bool:
    """Whether a parameter may be a key of before there were receipts: sixteen hexadecimal digits."""
    text = _value(value)
    return isinstance(text, str) and len(text) == 16 and not set(text) - set("0123456789abcdef")


def narrowing(entries: Mapping[str, str | Sequence[str]]) -> str:
    """A name for the entries of dicts that a key counts, such as "clip two_way"; empty if it counts all of each."""
    used = ([keys] if isinstance(keys, str) else sorted(set(keys)) for keys in entries.values())
    return " ".join(sorted({",".join(keys) for keys in used}))


def _params(job: PlannedJob) -> list[list[str]]:
    """The parameters of a job as receipts have them."""
    return [[name, value] for name, value in job.params]


# Values under their old and new names


def _value(text: str) -> Any:
    """A parameter as a value, of which records have the `repr`."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _is_like(old: Any, shown: Any) -> bool:
    """Whether a value is of the kind of one that is only shown: settings, pairs, or the label of a dataset."""
    if isinstance(old, Mapping) and isinstance(shown, Mapping):
        return len(set(map(_new_key, old)) & set(shown)) > len(shown) / 2
    if isinstance(old, list | tuple) and isinstance(shown, list | tuple):
        kinds = ({type(each) for each in some} for some in (old, shown))
        return next(kinds) == next(kinds) != {str}
    return False


def _spliced(params: Mapping[str, Any], settings: Collection[str]) -> dict[str, Any]:
    """Parameters with each setting as a parameter of its own; records do not say which parameter has the settings."""
    found = {}
    for name, value in params.items():
        has_settings = name == "cfg" or (isinstance(value, Mapping) and set(map(_new_key, value)) & set(settings))
        parts = value if has_settings and isinstance(value, Mapping) else {name: value}
        found |= {f"{key} again" if key in found else key: part for key, part in parts.items()}
    return found


def _difference(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
    """The name of a parameter or setting that differs but for its name; empty if none does.

    What has the same name is compared. Of what is left on both sides, equal values belong together. A setting that is
    left on one side alone has come or gone with the code, unless users give the names.
    """
    old, new = {_new_key(key): (key, value) for key, value in old.items()}, dict(new)
    for name in [name for name in old if name in new]:
        key, value = old.pop(name)
        other = new.pop(name)
        if not _agree(value, other, key):
            return _inner(str(name), value, other)
    for name in list(old):
        key, value = old[name]
        twin = next((other for other in new if _agree(value, new[other], key)), None)
        if twin is not None:
            del old[name], new[twin]
    for (name, (_, value)), other in zip(old.items(), new.values(), strict=False):
        return _inner(str(name), value, other)
    return ""


def _inner(name: str, old: Any, new: Any) -> str:
    """The name of a setting that differs, within a parameter that differs."""
    inside = _difference(old, new) if isinstance(old, Mapping) and isinstance(new, Mapping) else ""
    return inside or name


def _agree(old: Any, new: Any, key: Any = "") -> bool:
    """Whether two values are the same but for names."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        is_by_users = str(key).rpartition(".")[2] in BY_USERS
        return not _difference(old, new) and (not is_by_users or len(old) == len(new))
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(_agree(*pair, key) for pair in zip(old, new, strict=True))
    return _new_value(old, key) == new


def _new_key(key: Any) -> Any:
    """The present name of a key such as roi.gain."""
    names = {old.rpartition(".")[2]: new.removeprefix("..") for old, new in renamed.KEYS.items()}
    parts = str(key).split(".")
    is_path = len(parts) > 1
    return ".".join(names.get(part, part) for part in parts) if is_path else names.get(key, key)


def _new_value(value: Any, key: Any) -> Any:
    """The present form of a value; `key` is its old key."""
    if not isinstance(value, str):
        return value
    if value.startswith("sessions "):
        return [int(number) for number in value.split()[1:]]
    last = str(key).rpartition(".")[2]
    for pattern, values in renamed.VALUES.items():
        if pattern.rpartition(".")[2] == last and value in values:
            return {"true": True, "false": False}.get(values[value], values[value])
    for old, new in NAMED_IN_TEXTS.items():
        value = value.replace(old, new)
    return value
