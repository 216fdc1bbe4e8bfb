"""Receipts: what made an artifact, in a file beside it that its own job writes.

The receipt of `results/sub01/ridge/vdvae_test.h5` is `results/sub01/ridge/.receipts/vdvae_test.h5.json`. It holds the
rule, its parameters and code as the job itself saw them, the digest of every input, and the digest of the artifact. It
lies outside of folders that are artifacts, outlives temporary shards, and travels with the folder of results. How
Snakemake's own records are made to agree with receipts is described in reconcile.py, which no job imports.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5, system_faults

FOLDER = ".receipts"
OUTSIDE = "outside"  # below it, receipts of artifacts that do not lie in the folder of results
ROOT = "<results>/"  # stands for that folder, so that receipts hold in a copy of another name
TIMESTAMP = hdf5.OF_FOLDERS
NO_CONTENT = ("Thumbs.db", "desktop.ini")  # and hidden files: what systems leave in folders that are looked at
EMBEDDED = "receipt"  # attribute of an HDF5 file that Snakemake's cache may hand on without its neighbours
LARGE = 64 * 2**20  # bytes; an input above is known by size, date and samples, not by all of its content
SAMPLES, SAMPLE = 64, 64 * 2**10  # so many of so many bytes, evenly spread, the first and the last included
SOFTWARE = {
    **{name: name for name in ("numpy", "h5py", "torch", "diffusers", "transformers", "scipy", "nibabel")},
    **{"sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow", "torchvision": "torchvision"},
}
"""Modules whose versions are recorded, and the packages that they come from."""

Entry = list  # size in bytes, date in nanoseconds, digest
Files = dict[str, Entry]
"""What a path holds: a file under the name "", a folder's files under their names relative to it."""


@dataclass
class Receipt:
    """What made an artifact, and what the artifact was when it was finished.

    Parameters
    ----------
    output
        Its path; what lies in the folder of results begins with ROOT.
    rule, dataset, log
        The rule, the dataset that config.yaml names, and the log file.
    params
        Names and values of the rule's parameters, values as Snakemake keeps them (`repr`).
    given
        The inputs of the rule in order; one that is given twice stands here twice.
    inputs
        For every input either {"digest": ...}, of an artifact with a receipt, or {"files": ...} of an outside path;
        with {"chosen": True} these are not all files of a folder.
    files
        What the artifact is.
    versions
        Versions of the software that the job had loaded. They are recorded and shown; they decide nothing unless
        provenance.strict_versions is true.
    touched
        Whether `snakemake --touch` has declared the artifact valid for other parameters or inputs than made it.
    """

    output: str
    rule: str
    dataset: str
    log: str
    params: list[list[str]]
    given: list[str]
    inputs: dict[str, dict[str, Any]]
    files: Files
    versions: dict[str, str] = field(default_factory=dict)
    touched: bool = False

    @cached_property
    def digest(self) -> str:
        """A key of the artifact's content."""
        return digest(self.files)

    @property
    def values(self) -> list[str]:
        """The parameters as Snakemake compares them."""
        return sorted(value for _, value in self.params)


@dataclass
class Begun:
    """What a job saw when it began: all of its receipts but for what it makes."""

    root: str
    made: Receipt
    outputs: dict[str, str]  # by the names that receipts have for them
    copies: str = ""  # where local copies of results are, if a storage has them
    versions: dict[str, str] = field(default_factory=dict)  # of the software, where results depend on it

    @property
    def code(self) -> str:
        """The code key that the job itself has computed."""
        return dict(self.made.params)["code"]

    def note_files(self, folder: str | Path, names: Iterable[str]) -> None:
        """Note some files of an outside folder that is no input; other files may come and go there."""
        self.made.inputs[name_of(folder, self.root)] = chosen(folder, names)

    @property
    def inputs_digest(self) -> str:
        """A key of the content of all inputs, whatever their dates."""
        return _hash([[path, of_note(note)] for path, note in sorted(self.made.inputs.items())])

    def key(self, without: Iterable[str | Path] = ()) -> str:
        """A key of the parameters and of the content of the inputs, but for some inputs."""
        left_out = {name_of(path, self.root, self.copies) for path in without}
        noted = sorted([name, of_note(note)] for name, note in self.made.inputs.items() if name not in left_out)
        return _hash([sorted(self.made.params), noted, *([self.versions] if self.versions else [])])


def begin(snakemake: Any, code_now: Callable[[str], str]) -> Begun:
    """Note what a job is about to read: its parameters and the digests of its inputs.

    `code_now` turns the parameter `code`, which the main process computed, into what the program is now.
    """
    root, copies = snakemake.config.get("results", "results"), snakemake.config.get("copies", "")
    params = dict(snakemake.params.items())
    if "code" in params:
        params["code"] = code_now(params["code"])
    made = Receipt(
        output="",
        rule=snakemake.rule,
        dataset=str(snakemake.config.get("dataset", "")),
        log=name_of(snakemake.log[0], root, copies),
        params=[[name, repr(value)] for name, value in params.items()],
        given=[name_of(path, root, copies) for path in map(str, snakemake.input)],
        inputs={},
        files={},
    )
    for path, name in zip(map(str, snakemake.input), made.given, strict=True):
        if name not in made.inputs:
            check_unaltered(path, name, root)
            made.inputs[name] = note(path, name, root)
    is_strict = snakemake.config.get("provenance", {}).get("strict_versions", False)
    versions = software_versions(SOFTWARE.values()) if is_strict else {}
    outputs = {name_of(path, root, copies): str(path) for path in snakemake.output}
    return Begun(root, made, outputs, copies, versions)


def finish(begun: Begun, *, embed: bool = False) -> None:
    """Write the receipt of every output, one after the other; `embed` writes it into the HDF5 file, too."""
    versions = software_versions(each for module, each in SOFTWARE.items() if module in sys.modules)
    for name, path in begun.outputs.items():
        made = replace(begun.made, output=name, versions=versions)
        if embed:
            _embed(path, made)
        made.files = contents(path, whole=True)
        write(made, begun.root)


def software_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of packages, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def name_of(path: str | Path, root: str | Path, copies: str | Path = "") -> str:
    """A path as receipts name it: ROOT and what follows it in the folder of results, any other as it is.

    A copy of what lies in a storage, in the folder `copies`, is named as it would be without the storage.
    """
    path, root = Path(path).as_posix(), Path(root).as_posix()
    if copies and path.startswith(f"{Path(copies).as_posix()}/") and f"/{root}/" in path:
        path = path[path.rindex(f"/{root}/") + 1 :]
    return ROOT + path.removeprefix(f"{root}/") if path.startswith(f"{root}/") else path


def path_of(name: str, root: str | Path) -> str:
    """Where what receipts name lies. A text, for a plan asks for tens of thousands."""
    return f"{root}/{name.removeprefix(ROOT)}" if name.startswith(ROOT) else name


def place(name: str, root: str | Path) -> Path:
    """Where the receipt of an artifact lies."""
    if name.startswith(ROOT):
        path = Path(path_of(name, root))
        return path.parent / FOLDER / f"{path.name}.json"
    return Path(root, FOLDER, OUTSIDE, f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json")


def read(path: str | Path) -> Receipt | None:
    """A receipt; None where there is none, or one that is damaged: what it was of then counts as without receipt.

    Raises SystemFault: there is one that cannot be read, such as for lack of permission.
    """
    content = system_faults.content(path)
    return None if content is None else _parsed(content)


def write(receipt: Receipt, root: str | Path) -> None:
    """Write a receipt in its place, whole or not at all."""
    with hdf5.atomic(place(receipt.output, root)) as partial:
        partial.write_text(json.dumps(asdict(receipt)), encoding="utf-8")


def note(path: str, name: str, root: str | Path) -> dict[str, Any]:
    """What a job keeps of an input: the digest of an artifact by its receipt, or what an outside path holds."""
    embedded = _embedded(path, name, root)
    if embedded and _may_be(embedded, path):
        return {"digest": embedded.digest}
    beside = read(place(name, root))
    if beside and _is_of(beside, path):
        return {"digest": beside.digest}
    return {"files": contents(path)}


def check_unaltered(path: str, name: str, root: str | Path) -> None:
    """Refuse an artifact that has the date of its receipt and not the content, as a disk or a copy damages files.

    Its date does not give it away, so that no run would make it again. What is above LARGE and has checksums of its own
    (HDF5, and images with their manifest) is not looked at.

    Raises ValueError: it is such an artifact.
    """
    receipt = read(place(name, root))
    if receipt is None or (sum(size for size, _, _ in receipt.files.values()) > LARGE and _has_checksums(path)):
        return
    for inside, file, size, date in listing(path):
        size_then, date_then, key = receipt.files.get(inside, (size, -1, ""))
        if date == date_then and (size != size_then or _digest(file, size, True) != key):
            raise ValueError(
                f"{file} is not what was written, although its date says so: its sha256 is not that of its receipt, as "
                f"where a disk or a copy damages files. {hdf5.rerun(path)}"
            )


def _has_checksums(path: str) -> bool:
    return path.endswith(".h5") or os.path.isdir(path)


def chosen(folder: str | Path, names: Iterable[str]) -> dict[str, Any]:
    """What a job keeps of some files of a folder; of one that is missing, nothing."""
    found = {name: contents(os.path.join(folder, name)) for name in sorted(names)}
    return {"files": {name: files[""] for name, files in found.items() if "" in files}, "chosen": True}


def of_note(noted: Mapping[str, Any]) -> str:
    """The digest that a note stands for."""
    return noted["digest"] if "digest" in noted else digest(noted["files"])


def contents(path: str | Path, *, whole: bool = False) -> Files:
    """Size, date and digest of a file, or of every file of a folder; empty if there is neither.

    Files above LARGE are sampled unless `whole`: betas and networks take gigabytes, and a job reads what it needs of
    them.
    """
    return {name: [size, date, _digest(file, size, whole)] for name, file, size, date in sorted(listing(path))}


def listing(path: str | Path) -> Iterator[tuple[str, str, int, int]]:
    """(name, path, size in bytes, date in nanoseconds) of a file, or of every file of a folder that is not hidden."""
    path = os.fspath(path)
    if os.path.isfile(path):
        found = os.stat(path)
        yield "", path, found.st_size, found.st_mtime_ns
    elif os.path.isdir(path):
        yield from _below(path, "")


def same(file: str, size: int, date: int, entry: Entry, *, trust_dates: bool = True) -> bool:
    """Whether a file is what an entry says: by size, then by date, then by content.

    Without `trust_dates`, as in a copy whose dates are new, a sampled file is known by size and samples.
    """
    if size != entry[0]:
        return False
    if trust_dates and date == entry[1]:
        return True
    sampled = entry[2].startswith("sample:")
    return not (sampled and trust_dates) and _digest(file, size, not sampled) == entry[2]


def digest(files: Files) -> str:
    """A key of names, sizes and content, not of dates."""
    return _hash([[name, size, key] for name, (size, _, key) in sorted(files.items())])


def _below(folder: str, prefix: str) -> Iterator[tuple[str, str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in NO_CONTENT:
                continue
            if entry.is_dir():
                yield from _below(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                found = entry.stat()
                yield f"{prefix}{entry.name}", entry.path, found.st_size, found.st_mtime_ns


def _digest(path: str, size: int, whole: bool) -> str:
    """sha256 of a file, or of samples of a large one."""
    with open(path, "rb") as file:
        if whole or size <= LARGE:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        found = hashlib.sha256()
        for number in range(SAMPLES):
            file.seek((size - SAMPLE) * number // (SAMPLES - 1))
            found.update(file.read(SAMPLE))
        return f"sample:{found.hexdigest()}"


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def _may_be(receipt: Receipt, path: str) -> bool:
    """Whether an artifact may be the one of its receipt: a file has that size, a folder is one."""
    if "" not in receipt.files:
        return os.path.isdir(path)
    return os.path.isfile(path) and os.path.getsize(path) == receipt.files[""][0]


def _is_of(receipt: Receipt, path: str) -> bool:
    """Whether an artifact is the one of the receipt beside it: a rule of another workflow may have put another there.

    What has the dates of the receipt is not read.
    """
    present = list(listing(path))
    return {name for name, *_ in present} == receipt.files.keys() and all(
        same(file, size, date, receipt.files[name]) for name, file, size, date in present
    )


def _parsed(content: bytes | str) -> Receipt | None:
    """The receipt in a text; None if it is none, or a damaged one."""
    try:
        found = json.loads(content)
        return Receipt(**found) if _is_sound(found) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _is_sound(found: Any) -> bool:
    """Whether what JSON holds has the fields of a receipt, each of its type."""
    if not isinstance(found, dict):
        return False
    texts = (found.get(key) for key in ("output", "rule", "dataset", "log"))
    params, given, inputs, versions = (found.get(key) for key in ("params", "given", "inputs", "versions"))
    versions = {} if versions is None else versions
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(params, list)
        and all(isinstance(each, list) and [type(part) for part in each] == [str, str] for each in params)
        and isinstance(given, list)
        and all(isinstance(each, str) for each in given)
        and isinstance(inputs, dict)
        and all(isinstance(note, dict) and _is_note(note) for note in inputs.values())
        and _are_files(found.get("files"))
        and isinstance(versions, dict)
        and all(isinstance(version, str) for version in versions.values())
    )


def _is_note(note: dict[str, Any]) -> bool:
    return isinstance(note["digest"], str) if "digest" in note else _are_files(note.get("files"))


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(entry, list) and [type(part) for part in entry] == [int, int, str] for entry in files.values()
    )


def _embed(path: str, receipt: Receipt) -> None:
    with hdf5.adding(path) as file:
        hdf5.describe(file, EMBEDDED, json.dumps(asdict(receipt)))


def _embedded(path: str, name: str, root: str | Path) -> Receipt | None:
    """The receipt inside a shard, which is then also written beside it: a cache hands on the shard alone."""
    if not (path.endswith(".h5") and "shards" in Path(path).parts):
        return None
    with hdf5.opening(path) as file:
        found = file.attrs.get(EMBEDDED)
    embedded = None if found is None else _parsed(found)
    if embedded is None:
        return None
    about = asdict(embedded)
    # The cache may bring a shard that another subject has made: what it names lies in this subject's folder, too.
    theirs, ours = (each.partition("/shards/")[0] + "/" for each in (about["output"], name))
    own = {key: key.replace(theirs, ours, 1) for key in (*about["given"], *about["inputs"], about["log"])}
    receipt = Receipt(
        **about
        | {
            "output": name,
            "log": own[about["log"]],
            "given": [own[each] for each in about["given"]],
            "inputs": {own[each]: noted for each, noted in about["inputs"].items()},
            "files": contents(path, whole=True),
        }
    )
    beside = read(place(name, root))
    if beside is None or beside.digest != receipt.digest or beside.values != receipt.values:
        write(receipt, root)
    return receipt
