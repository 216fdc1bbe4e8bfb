"""Files from where they are published: resumed, tried again, checked, and under their own name only when whole.

What a server sends is not trusted: it cannot choose where a file is written, how much is read without end, or what code
runs. Addresses may hold passwords or tokens, so no message, log or file has more of an address than `public` leaves.
"""

import csv
import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

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
TEXT = (*SMALL_FILES, ".csv", ".tsv")  # endings of files that may begin with text
LARGEST_LISTING = 16 * 2**20  # bytes; a hub's list of a folder has a few thousand
LARGEST_JSON = 64 * 2**20  # bytes; the largest settings of a model are a tokeniser of 3 MB
POINTER = b"version https://git-lfs"
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")  # bytes that no text has

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
        base = urlsplit(servers[self.server])
        url = urlunsplit(base._replace(path=f"{base.path.rstrip('/')}/{self.path}"))  # a server may have ?token=...
        return {"url": url, "size": self.size, "sha256": self.sha256}


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


def published_sums(model: str, component: str) -> dict[str, str]:
    """What published.tsv has of the files of a folder of a model: {file: sha256}."""
    beginning = f"{model}/{component}/"
    rows = published().items()
    return {name.removeprefix(beginning): row.sha256 for name, row in rows if name.startswith(beginning) and row.sha256}


def public(url: str) -> str:
    """An address as messages may show it: without user, password, query and fragment, also if it is misspelt."""
    scheme, separator, rest = re.split(r"[?#]", url)[0].rpartition("://")
    host, slash, path = rest.partition("/")
    if "@" in path and (":" in host or not scheme):  # after a password with a slash, or after https:/
        host, slash, path = path.rpartition("@")[2].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def is_address(url: str) -> bool:
    """Whether a server can be asked there, as far as the spelling tells."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


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
    recorded, or a page of text instead of the file. OSError: no answer after `waits` (seconds between tries), not
    allowed, no space on the disk, no way to tell whether the file is whole.
    """
    path = Path(path)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    with requests.Session() as session:
        _insist(
            lambda: _receive(session, url, path, size, progress, is_known=bool(sha256)),
            url,
            path,
            waits,
            lambda: _length(part),
        )
    _check_kind(url, path, sha256)
    record = Path(record or path.with_name(f"{path.name}.sha256"))
    _check_sum(url, path, sha256, record, name or path.name)
    os.replace(part, path)
    _state(path).unlink(missing_ok=True)


def fetch_folder(
    url: str,
    folder: str | Path,
    progress: Progress,
    *,
    sums: Mapping[str, str] | None = None,
    waits: Sequence[int] = WAITS,
) -> None:
    """Have one folder of a model on a hub, its configuration and weights, at `folder`; nothing happens if it is there.

    Of weights in several forms one is taken: safetensors first, whole before in shards, full precision before half. The
    hub's own sizes and sha256 are checked; the sums of small files, for which it has none, are kept in
    `<folder>.sha256`. Files gather in `<folder>.part/`.

    Parameters
    ----------
    url : str
        The folder's page, `https://huggingface.co/<repository>/tree/<revision>/<folder>`.
    folder : path
        Where its files are written: directly there and nowhere else, whatever the hub calls them.
    progress : callable
        As of `fetch`.
    sums : {file: sha256}, optional
        Published sums of the folder's weights. If there are any, no other weights are taken, so that a mirror cannot
        replace them.
    waits : sequence of int
        Seconds between tries.

    Raises
    ------
    ValueError
        There are no weights or settings among the files; the list is none of files in this folder; the weights are not
        the published ones. Else as `fetch`.
    """
    folder = Path(folder)
    if folder.exists():
        return
    address = urlsplit(url)
    repository, _, inside = address.path.partition("/tree/")
    revision, _, subfolder = inside.partition("/")
    server, *owner = repository.rsplit("/", 2)

    def at(path: str) -> str:
        return urlunsplit(address._replace(path=path))

    with requests.Session() as session:
        api = at(f"{server}/api/models/{'/'.join(owner)}/tree/{inside}")
        files = _insist(lambda: _listing(session, api, folder, subfolder), api, folder, waits)
    chosen = _choose(list(files))
    if not chosen:
        raise ValueError(
            f"{public(url)} lists no file of {', '.join(SMALL_FILES + WEIGHTS)}; correct its line in {MANIFEST.name}."
        )
    _check_published(public(url), chosen, files, sums or {})
    part = _part(folder)
    held = sum(_length(file) for file in part.glob("*")) if part.exists() else 0
    _check_space(folder, sum(files[name].size for name in chosen) - held)
    for name in chosen:
        if not (part / name).resolve().is_relative_to(part.resolve()):
            raise ValueError(f"{part / name} is a link that leads out of its folder; delete the link and run again.")
        fetch(
            at(f"{repository}/resolve/{revision}/{subfolder}/{name}"),
            part / name,
            progress,
            size=files[name].size,
            sha256=files[name].sha256,
            record=folder.with_name(f"{folder.name}.sha256"),
            name=f"{folder.name}/{name}",
            waits=waits,
        )
    os.replace(part, folder)


class Listed(NamedTuple):
    """A file in a hub's list of a folder."""

    size: int
    sha256: str | None


def _listing(session: requests.Session, url: str, folder: Path, subfolder: str) -> dict[str, Listed]:
    """The files that a hub lists directly in a folder, by name; the hub has the sha256 of large ones as lfs.oid.

    Raises ValueError: it is no such list, or has a path that does not lie in the folder.
    """
    files: dict[str, Listed] = {}
    try:
        entries = json.loads(_body(session, url, folder))
        if not isinstance(entries, list):
            raise TypeError
        for entry in entries:
            if entry["type"] != "file":
                continue
            path, size, sha256 = entry["path"], entry["size"], (entry.get("lfs") or {}).get("oid")
            name = path.removeprefix(f"{subfolder}/")
            if not _lies_in(path, subfolder):
                raise ValueError(
                    f"{public(url)} lists the path {path!r}, which does not lie in {subfolder}; nothing was written. "
                    f"Correct fetch.servers.hugging_face in config.yaml, or put {folder} there yourself."
                )
            if "/" in name:
                continue
            is_sum = sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256)
            if type(size) is not int or size < 0 or not is_sum or name in files:
                raise TypeError
            files[name] = Listed(size, sha256)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(
            f"{public(url)} is no list of files. Correct fetch.servers.hugging_face in config.yaml, or put {folder} "
            "there yourself."
        ) from None
    return files


def _lies_in(path: str, folder: str) -> bool:
    """Whether a path of a hub's list lies below a folder, on every system that may read it."""
    parts = path.split("/")
    is_plain = not re.search(r'[\x00-\x1f\x7f\\:*?"<>|]', path)
    return is_plain and path.startswith(f"{folder}/") and not {"", ".", ".."} & set(parts)


def _body(session: requests.Session, url: str, folder: Path) -> bytes:
    """The whole of a short answer."""
    body = b""
    with _get(session, url, folder, {}) as response:
        for piece in response.iter_content(PIECE):
            body += piece
            if len(body) > LARGEST_LISTING:
                raise ValueError(
                    f"{public(url)} sends more than {LARGEST_LISTING // 2**20} MiB; expected a list of files. Correct "
                    f"fetch.servers.hugging_face in config.yaml, or put {folder} there yourself."
                )
    return body


def _choose(names: Sequence[str]) -> list[str]:
    """Settings and the weights of one form, in the order of the list."""
    settings = [name for name in names if name.endswith(SMALL_FILES) and len(Path(name).suffixes) == 1]
    chosen = {*settings, *next(filter(None, _forms(names)), [])}
    return [name for name in names if name in chosen]


def _forms(names: Sequence[str]) -> Iterator[list[str]]:
    """The files of each form in which weights may be listed, the preferred form first."""
    for half in ("", ".fp16"):
        for shard in ("", r"-\d+-of-\d+"):
            for suffix in WEIGHTS:
                form = re.compile(rf"[^.]+{re.escape(half)}{shard}{re.escape(suffix)}")
                weights = [name for name in names if form.fullmatch(name)]
                if shard:
                    indices = [name for name in names if name.endswith(f"{suffix}.index{half}.json")]
                    yield [*weights, *indices] if weights else []
                else:
                    yield [name for name in weights if not re.search(r"-\d+-of-\d+\.", name)]


def _check_published(url: str, chosen: Sequence[str], files: Mapping[str, Listed], sums: Mapping[str, str]) -> None:
    """Raises ValueError: weights are published, and the hub lists others."""
    weights = [name for name in chosen if name.endswith(WEIGHTS)]
    for name in weights if sums else []:
        if files[name].sha256 != sums.get(name):
            raise ValueError(
                f"{url} lists {name} with sha256 {files[name].sha256}; {MANIFEST.name} has "
                f"{sums.get(name) or ', '.join(sums)}, so nothing was fetched. Correct fetch.servers.hugging_face in "
                "config.yaml, or that line if another version was published."
            )


def _insist(
    attempt: Callable[[], Result],
    url: str,
    path: Path,
    waits: Sequence[int],
    held: Callable[[], int] = lambda: 0,
) -> Result:
    """What `attempt` returns; where the network fails it is tried again, without end as long as bytes come.

    The errors of requests are not kept as causes, because a log would show the addresses in them.
    """
    failures = 0
    fix = f"Check the network and fetch.servers in config.yaml and run again, or put {path} there yourself."
    while True:
        before = held()
        try:
            return attempt()
        except RETRIED as error:
            reason = _reason(error)
            failures = 1 if held() > before else failures + 1
            if failures > len(waits):
                raise OSError(f"{public(url)} cannot be fetched ({reason}), tried {failures} times. {fix}") from None
        except requests.RequestException as error:
            raise OSError(f"{public(url)} cannot be fetched ({_reason(error)}). {fix}") from None
        log.info("%s: %s; again in %d s", public(url), reason, waits[failures - 1])
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
        raise FileNotFoundError(f"{public(url)} does not exist (the server answers {answer}). {fix}")
    raise OSError(f"{public(url)} is refused (the server answers {answer}). {fix}")


def _receive(
    session: requests.Session, url: str, path: Path, size: int | None, progress: Progress, *, is_known: bool
) -> None:
    """Fill `<path>.part`, going on where it ends if the remote file is the one that it began with.

    `is_known` is whether a published sum will tell later if bytes are missing.
    """
    part = _part(path)
    begun = _begun(path)
    held = _length(part) if begun.get("version") else 0
    if begun and _length(part) == begun["size"] == (size or begun["size"]):
        return
    headers = {"Accept-Encoding": "identity"}
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": begun["version"]}
    with _get(session, url, path, headers) as response:
        total = _total(response, held)
        if held and response.status_code != 200:
            continues = total is not None and total == (begun["size"] or total)
            if not continues or _version(response) != begun["version"]:
                response.close()
                part.unlink()
                return _receive(session, url, path, size, progress, is_known=is_known)
        else:
            held = 0
        if None not in (size, total) and size != total:
            raise ValueError(
                f"{public(url)} has {total} bytes; expected {size}. Correct fetch.servers in config.yaml, or the line "
                f"in {MANIFEST.name} if another version was published."
            )
        total = size if total is None else total
        if total is None and not is_known and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
            raise OSError(
                f"{public(url)} comes without a length, so a file that was cut could not be recognised. "
                f"Correct fetch.servers in config.yaml, or put {path} there yourself."
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
                    if total is not None and file.tell() > total:
                        break
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _no_space(path, (total or 0) - _length(part)) from error
            raise
    if total is not None and _length(part) > total:
        part.unlink()
        raise ValueError(f"{public(url)} sends more than the {total} bytes that it has; nothing was kept. Try again.")
    if total is not None and _length(part) != total:
        raise requests.ConnectionError(f"it ended after {_length(part)} of {total} bytes")


def _total(response: requests.Response, held: int) -> int | None:
    """The length of the whole file, if the answer tells it and sends the bytes that follow those `held`."""
    if response.status_code == 206:
        sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
        return int(sent[3]) if sent and int(sent[1]) == held and int(sent[2]) == int(sent[3]) - 1 else None
    length = response.headers.get("Content-Length", "")
    is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return int(length) if response.status_code == 200 and is_plain and re.fullmatch(r"\d+", length) else None


def _begun(path: Path) -> dict[str, Any]:
    """Version and size of the remote file that `<path>.part` began with, or nothing if that is not known."""
    try:
        begun = json.loads(_state(path).read_text(encoding="utf-8")) if _part(path).exists() else {}
        is_known = isinstance(begun["version"], str) and begun["version"].isprintable() and "size" in begun
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError):
        return {}
    return begun if is_known else {}


def _version(response: requests.Response) -> str | None:
    """What tells one version of a remote file from another, byte for byte: a strong ETag, else its date."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _check_kind(url: str, path: Path, sha256: str | None) -> None:
    """Refuse a page, an error message or a pointer that a server sent in place of the file.

    Without a sum that would tell later, a file that should not begin as text must not, and JSON must be JSON.

    Raises ValueError: it is no file of its kind; it is deleted.
    """
    part = _part(path)
    with open(part, "rb") as file:
        beginning = file.read(512)
    what = _markup(beginning)
    if not what and not sha256 and path.suffix == ".json":
        try:
            is_json = _length(part) <= LARGEST_JSON and json.loads(part.read_bytes()) is not None
        except (ValueError, RecursionError):
            is_json = False
        what = "" if is_json else "no JSON"
    elif not what and not sha256 and path.suffix not in TEXT and beginning and _is_text(beginning):
        what = "text"
    if what:
        start = beginning[:40].decode(errors="replace")
        part.unlink()
        _state(path).unlink(missing_ok=True)
        raise ValueError(
            f"{public(url)} sends {what} instead of {path.name} (it begins with {start!r}), so {path} was not kept. Is "
            "it a page that asks to log in? Correct fetch.servers in config.yaml, or put the file there yourself."
        )


def _is_text(beginning: bytes) -> bool:
    """Whether the first bytes of a file are text, as those of no format of numbers are."""
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        return error.start > len(beginning) - 4 and not CONTROL.search(beginning)  # cut within a letter
    return not CONTROL.search(beginning)


def _markup(beginning: bytes) -> str:
    """What a file is that begins as none of a model's or a dataset's files does; nothing if it may be one."""
    start = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(POINTER):
        return "a pointer of Git LFS"
    return "a web page" if re.match(rb"<[!?/a-z]", start) and not CONTROL.search(beginning) else ""


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
            f"{public(url)} came with sha256 {found}; {source} has {expected}, so {path} was not kept. Fetch it "
            f"again{fix}."
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
    """The innermost cause, without the connection pool around it, and without what an address may hold in secret."""
    inner: Any = error
    while isinstance(inner, BaseException):
        error = inner
        causes = [getattr(error, "reason", None), *error.args]
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    without_query = re.sub(r"\?[^\s'\")]+", "", str(error))
    return re.sub(r"//[^/\s]*@", "//", without_query).rpartition(": ")[2]


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _state(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
