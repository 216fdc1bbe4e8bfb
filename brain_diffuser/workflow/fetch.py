"""Files from where they are published: resumed, tried again, checked, and under their own name only when whole."""

import csv
import errno
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import requests

from brain_diffuser.artifacts import text_files

MANIFEST = Path(__file__).with_name("published.tsv")
WAITS = (1, 2, 4, 8, 16, 32, 64)  # seconds before another try; a try that brought bytes starts them afresh
TIMEOUT = 60  # seconds without a byte
PIECE = 2**20
RETRIED = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
RETRIED_STATUS = (408, 429, 500, 502, 503, 504)
SMALL_FILES = (".json", ".txt")
WEIGHTS = (".safetensors", ".bin")  # in the order of preference

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Published(NamedTuple):
    """Where something is published: a file, or (`/tree/` in its path) the folders of a model on a hub."""

    server: str
    path: str
    size: int | None = None
    sha256: str | None = None

    def located(self, servers: Mapping[str, str]) -> dict[str, Any]:
        """Its address on the configured servers, and what is known of it, as `fetch` takes them."""
        return {"url": f"{servers[self.server].rstrip('/')}/{self.path}", "size": self.size, "sha256": self.sha256}


def published() -> dict[str, Published]:
    """What published.tsv lists; names are keys under `datasets`, or paths of single NSD files."""
    with open(MANIFEST, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        row["name"]: Published(
            row["server"], row["path"], int(row["size"]) if row["size"] else None, row["sha256"] or None
        )
        for row in rows
    }


def missing(paths: Mapping[str, str]) -> dict[str, Published]:
    """Of files {name in published.tsv: path}, those that are not there.

    Raises ValueError: a path ends otherwise than the published file, so it is not that file that was meant.
    """
    listed = published()
    absent = {name: listed[name] for name, path in paths.items() if not Path(path).exists()}
    for name, source in absent.items():
        expected = source.path.rpartition("/")[2]
        if Path(paths[name]).name != expected:
            raise ValueError(
                f"config.yaml: {name} of the chosen dataset is {paths[name]}, which does not exist; what is fetched is "
                f"{expected}, so end the path with that name or put the file there yourself"
            )
    return absent


def fetch(
    url: str,
    path: str | Path,
    progress: Progress,
    *,
    size: int | None = None,
    sha256: str | None = None,
    record: str | Path | None = None,
    name: str | None = None,
    waits: Sequence[int] = WAITS,
) -> None:
    """Have the file of an address at `path`; nothing happens if it is there.

    What a cut connection or a killed process left in `<path>.part` is gone on with, unless the remote file has
    changed. `size` in bytes and `sha256`, whole or its beginning, are the published ones. Without the latter the sum
    goes into `record` (default `<path>.sha256`, as `sha256sum --check` reads it) under `name`, and every later fetch
    must agree with it.

    Raises FileNotFoundError: the address has no such file. ValueError: another size or sum than was published or
    recorded. OSError: no answer after `waits` (seconds between tries), not allowed, no space on the disk.
    """
    path = Path(path)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    with requests.Session() as session:
        _insist(lambda: _receive(session, url, path, size, progress), url, path, waits, lambda: _length(part))
    record = Path(record or path.with_name(f"{path.name}.sha256"))
    _check_sum(url, path, sha256, record, name or path.name)
    os.replace(part, path)
    _state(path).unlink(missing_ok=True)


def fetch_folder(url: str, folder: str | Path, progress: Progress, *, waits: Sequence[int] = WAITS) -> None:
    """Have one folder of a model on a hub, its configuration and weights, at `folder`; nothing happens if it is there.

    `url` is the folder's page, `https://huggingface.co/<repository>/tree/<revision>/<folder>`. Of weights in several
    forms one is taken, safetensors first, in full precision. The hub's own sizes and sha256 are checked; the sums of
    small files, for which it has none, are kept in `<folder>.sha256`. Files gather in `<folder>.part/`.

    Raises as `fetch`; ValueError: there are no weights or settings among the files.
    """
    folder = Path(folder)
    if folder.exists():
        return
    repository, _, inside = url.partition("/tree/")
    revision, _, subfolder = inside.partition("/")
    server, *owner = repository.rsplit("/", 2)
    with requests.Session() as session:
        address = f"{server}/api/models/{'/'.join(owner)}/tree/{inside}"
        files = _insist(lambda: _listing(session, address, folder), address, folder, waits)
    chosen = _choose([entry["path"] for entry in files])
    if not chosen:
        raise ValueError(
            f"{url} lists no file of {', '.join(SMALL_FILES + WEIGHTS)}; correct its line in {MANIFEST.name}."
        )
    wanted = [entry for entry in files if entry["path"] in chosen]
    part = _part(folder)
    held = sum(_length(file) for file in part.glob("*")) if part.exists() else 0
    _check_space(folder, sum(entry["size"] for entry in wanted) - held)
    for entry in wanted:
        file = entry["path"].removeprefix(f"{subfolder}/")
        fetch(
            f"{repository}/resolve/{revision}/{entry['path']}",
            part / file,
            progress,
            size=entry["size"],
            sha256=entry.get("lfs", {}).get("oid"),
            record=folder.with_name(f"{folder.name}.sha256"),
            name=f"{folder.name}/{file}",
            waits=waits,
        )
    os.replace(part, folder)


def _listing(session: requests.Session, url: str, folder: Path) -> list[dict[str, Any]]:
    """A hub's entries of the files in a folder: path, size, and for large ones the sha256 as lfs.oid."""
    try:
        entries = _get(session, url, folder, {}).json()
        return [entry for entry in entries if entry["type"] == "file"]
    except (requests.JSONDecodeError, TypeError, KeyError) as error:
        raise ValueError(
            f"{url} is no list of files. Correct fetch.servers.hugging_face in config.yaml, or put {folder} there "
            "yourself."
        ) from error


def _choose(paths: Sequence[str]) -> set[str]:
    """Settings, and the weights of the preferred form; half-precision copies (`.fp16.`) and other forms are left."""
    full = [path for path in paths if len(Path(path).suffixes) == 1]
    weights = next(filter(None, ([path for path in full if path.endswith(suffix)] for suffix in WEIGHTS)), [])
    return {*weights, *(path for path in full if path.endswith(SMALL_FILES))}


def _insist(
    attempt: Callable[[], Result],
    url: str,
    path: Path,
    waits: Sequence[int],
    held: Callable[[], int] = lambda: 0,
) -> Result:
    """What `attempt` returns; where the network fails it is tried again, without end as long as bytes come."""
    failures = 0
    while True:
        before = held()
        try:
            return attempt()
        except RETRIED as error:
            failures = 1 if held() > before else failures + 1
            if failures > len(waits):
                raise OSError(
                    f"{url} cannot be fetched ({_reason(error)}), tried {failures} times. Check the network and "
                    f"fetch.servers in config.yaml and run again, or put {path} there yourself."
                ) from error
            log.info("%s: %s; again in %d s", url, _reason(error), waits[failures - 1])
            time.sleep(waits[failures - 1])


def _get(session: requests.Session, url: str, path: Path, headers: Mapping[str, str]) -> requests.Response:
    """An answer whose body is still to be read."""
    response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    status = response.status_code
    if status == 200 or (status in (206, 416) and "Range" in headers):
        return response
    response.close()
    answer = f"{status} {response.reason}"
    if status in RETRIED_STATUS:
        raise requests.ConnectionError(f"the server answers {answer}")
    fix = f"Correct fetch.servers in config.yaml or the line in {MANIFEST.name}, or put {path} there yourself."
    if status in (404, 410):
        raise FileNotFoundError(f"{url} does not exist (the server answers {answer}). {fix}")
    raise OSError(f"{url} is refused (the server answers {answer}). {fix}")


def _receive(session: requests.Session, url: str, path: Path, size: int | None, progress: Progress) -> None:
    """Fill `<path>.part`, going on where it ends if the remote file is the one that it began with."""
    part = _part(path)
    begun = _begun(path)
    held = _length(part) if begun.get("version") else 0
    if begun and _length(part) == begun["size"]:
        return
    headers = {"Accept-Encoding": "identity"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": begun["version"]}
    with _get(session, url, path, headers) as response:
        continues = response.headers.get("Content-Range", "").startswith(f"bytes {held}-")
        if held and response.status_code != 200 and not (continues and _version(response) == begun["version"]):
            response.close()
            part.unlink()
            return _receive(session, url, path, size, progress)
        if response.status_code == 200:
            held = 0
        length = response.headers.get("Content-Length") if not held else response.headers["Content-Range"].split("/")[1]
        total = int(length) if length else None
        if None not in (size, total) and size != total:
            raise ValueError(
                f"{url} has {total} bytes; expected {size}. Correct fetch.servers in config.yaml, or the line in "
                f"{MANIFEST.name} if another version was published."
            )
        pieces = response.iter_content(PIECE)
        if total is not None:
            _check_space(path, total - held)
            pieces = progress(pieces, math.ceil((total - held) / PIECE), f"MiB of {path.name}")
        try:
            with open(part, "ab" if held else "wb") as file:
                if not held:
                    _state(path).write_text(
                        json.dumps({"version": _version(response), "size": total}), encoding="utf-8"
                    )
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _no_space(path, (total or 0) - _length(part)) from error
            raise
    if total is not None and _length(part) != total:
        raise requests.ConnectionError(f"it ended after {_length(part)} of {total} bytes")


def _begun(path: Path) -> dict[str, Any]:
    """Version and size of the remote file that `<path>.part` began with, or nothing if that is not known."""
    try:
        return json.loads(_state(path).read_text(encoding="utf-8")) if _part(path).exists() else {}
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _version(response: requests.Response) -> str | None:
    """What tells one version of a remote file from another, byte for byte: a strong ETag, else its date."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _check_sum(url: str, path: Path, sha256: str | None, record: Path, name: str) -> None:
    """Compare the finished part with the published or the recorded sum, or record its own."""
    part = _part(path)
    log.info("%s: all bytes are here; reading them for the sha256", path.name)
    with open(part, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    lines = text_files.lines(text_files.read(record)) if record.exists() else []
    recorded = {line[66:]: line[:64] for line in lines}
    expected = sha256 or recorded.get(name)
    if expected is None:
        record.parent.mkdir(parents=True, exist_ok=True)
        with open(record, "a", encoding="utf-8") as file:
            file.write(f"{found}  {name}\n")
    elif not found.startswith(expected):
        part.unlink()
        source = "its publisher" if sha256 else record
        expected += "..." if len(expected) < len(found) else ""
        fix = "" if sha256 else f", or delete {record} if you know that the file was republished"
        raise ValueError(
            f"{url} came with sha256 {found}; {source} has {expected}, so {path} was not kept. Fetch it again{fix}."
        )


def _check_space(path: Path, n_bytes: int) -> None:
    """Refuse to begin what does not fit on the disk of `path`."""
    if _free(path) < n_bytes:
        raise _no_space(path, n_bytes)


def _no_space(path: Path, n_bytes: int) -> OSError:
    return OSError(
        f"{path} needs {n_bytes / 1e9:.2f} GB more, its disk has {_free(path) / 1e9:.2f} GB free. Make room and run "
        "again, or name a folder on a larger disk under datasets in config.yaml."
    )


def _free(path: Path) -> int:
    """Bytes free on the disk of a path whose folder may not be there yet."""
    return shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free


def _reason(error: BaseException) -> str:
    """The innermost cause, without the connection pool around it."""
    inner: Any = error
    while isinstance(inner, BaseException):
        error = inner
        causes = [getattr(error, "reason", None), *error.args]
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    return str(error).rpartition(": ")[2]


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _state(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
