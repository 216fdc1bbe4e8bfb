"""A real HTTP server on loopback: ranges, redirects, a model hub's listing, and faults on demand."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import NamedTuple


class Request(NamedTuple):
    path: str
    range: str | None
    if_range: str | None
    authorization: str | None = None


class FileServer(ThreadingHTTPServer):
    """Serves `files` ({path: bytes}); each GET takes the next of `faults`, if there is one.

    A fault is a status, or a number of bytes after which the connection is cut; `hold` keeps it open instead until the
    server stops. `heeds_if_range` is what HTTP asks for. `answers` ({path: function of the handler}) answer in their
    own way, and `listings` ({path: bytes}) in place of the hub's.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.lfs: set[str] = set()
        self.redirects: dict[str, str] = {}
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.listings: dict[str, bytes] = {}
        self.faults: list[tuple[str, int]] = []
        self.requests: list[Request] = []
        self.heeds_if_range = True
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        served = self.server
        headers = (self.headers[name] for name in ("Range", "If-Range", "Authorization"))
        served.requests.append(Request(self.path, *headers))
        kind, number = served.faults.pop(0) if served.faults else ("", 0)
        if kind == "status":
            return self.send_error(number)
        if self.path in served.answers:
            return served.answers[self.path](self)
        if self.path in served.redirects:
            self.send_response(302)
            self.send_header("Location", served.redirects[self.path])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path in served.listings:
            content = served.listings[self.path]
        elif self.path.startswith("/api/models/"):
            content = self.listing()
        else:
            content = served.files.get(self.path)
        if content is None:
            return self.send_error(404)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked and served.heeds_if_range and self.headers["If-Range"] not in (None, tag):
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        if kind in ("cut", "hold"):
            self.wfile.write(content[start : start + number])
            self.wfile.flush()
            if kind == "hold":
                served.stopping.wait(60)
        else:
            with suppress(BrokenPipeError):  # a client that has seen enough hangs up
                self.wfile.write(content[start:])

    def listing(self) -> bytes | None:
        """The files of /api/models/<owner>/<repository>/tree/<revision>/<folder>, as a hub lists them."""
        _, _, _, owner, repository, _, revision, folder = self.path.split("/")
        root = f"/{owner}/{repository}/resolve/{revision}"
        entries = []
        for path, content in self.server.files.items():
            if str(PurePosixPath(path).parent) == f"{root}/{folder}":
                entry = {"type": "file", "path": path.removeprefix(f"{root}/"), "size": len(content), "oid": "0" * 40}
                if path in self.server.lfs:
                    entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
                entries.append(entry)
        return json.dumps(entries).encode() if entries else None

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[FileServer]:
    server = FileServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
