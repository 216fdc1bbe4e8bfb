"""The project's files as a key sees them: modules by their names, and data beside them."""

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from brain_diffuser.workflow.code_key import reading
from brain_diffuser.workflow.code_key.statements import Module

Node = tuple[str, ...]
"""What has a hash of its own: ("statement", module, place), ("name", module, name) for all statements that bind it,
("lookup", module, name) of a dict, with a fourth part if one field of its entries is read, ("import", module) for all
that happens when it is imported, ("whole", module), ("file", path), ("project",). A script is a module whose name is
its path."""


class Files:
    """The files below a folder as they are when they are first asked for."""

    def __init__(self, root: str | Path):
        self.root = Path(root).absolute()
        self.facts: dict[str, str] = {}  # a hash of every file that was read and of every folder that was listed
        self.modules: dict[str, Module | None] = {}
        self.listings: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def read(self, content: bytes, is_main: bool) -> Module:
        """The module that a file is."""
        return _read(content, is_main)

    def relative(self, path: str | Path) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()

    def content(self, path: str) -> bytes:
        content = self.root.joinpath(path).read_bytes()
        self.facts[path] = hashlib.sha256(content).hexdigest()
        return content

    def listing(self, folder: str) -> tuple[frozenset[str], frozenset[str]]:
        """Files and folders in a folder; of the root's folders those that hold Python files."""
        if folder not in self.listings:
            files, folders = set(), set()
            with os.scandir(self.root / folder) as entries:
                for each in entries:
                    if each.is_file():
                        files.add(each.name)
                    elif not each.name.startswith((".", "__pycache__")) and (folder or _has_python(each.path)):
                        folders.add(each.name)
            files = {name for name in files if folder or name.endswith(".py")}
            self.listings[folder] = frozenset(files), frozenset(folders)
            self.facts[f"{folder}/"] = hashlib.sha256(repr((sorted(files), sorted(folders))).encode()).hexdigest()
        return self.listings[folder]

    def is_folder(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        return (not above or self.is_folder(above)) and name in self.listing(above)[1]

    def path(self, name: str) -> str | None:
        """The file of a project's module, a package or a script."""
        if name.endswith(".py"):
            return name
        path = name.replace(".", "/")
        above, _, last = path.rpartition("/")
        if above and not self.is_folder(above):
            return None
        if last in self.listing(above)[1] and "__init__.py" in self.listing(path)[0]:
            return f"{path}/__init__.py"
        return f"{path}.py" if f"{last}.py" in self.listing(above)[0] else None

    def module(self, name: str) -> Module | None:
        if name not in self.modules:
            path = self.path(name)
            self.modules[name] = self.read(self.content(path), name == path) if path else None
        return self.modules[name]

    def data(self, module: str, constants: Iterable[str]) -> Iterator[Node]:
        """The files, and those in folders, that lie beside a module under these names."""
        folder = (self.path(module) or "").rpartition("/")[0]
        for name in constants:
            first = name.partition("/")[0]
            if folder and first in self.listing(folder)[0] | self.listing(folder)[1]:
                yield from (("file", path) for path in self.below(os.path.normpath(f"{folder}/{name}")))

    def below(self, path: str) -> Iterator[str]:
        """A file, or all files of a folder that is no package; none of Python."""
        above, _, name = path.rpartition("/")
        if name in self.listing(above)[0] and not name.endswith(".py"):
            yield path
        elif self.is_folder(path) and not any(each.endswith(".py") for each in self.listing(path)[0]):
            files, folders = self.listing(path)
            for each in sorted(files | folders):
                yield from self.below(f"{path}/{each}")


def _has_python(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(each.name.endswith(".py") for each in entries)
    except OSError:
        return False


_read = functools.cache(reading.read)
