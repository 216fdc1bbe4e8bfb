"""Keys that are kept for as long as all that they were made of stays the same, and what was read of each file."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.workflow.code_key import reading
from brain_diffuser.workflow.code_key.files import Files
from brain_diffuser.workflow.code_key.statements import Expression, Import, Module, Reference, Statement


class KeyCache:
    """Keys in a JSON file, with the hash of every file and folder that they were made of.

    Paths are relative to the project, so that a copy of it has the keys of the original. What it cannot read it takes
    for empty, and what it cannot write it leaves: a cache may be lost at any time.
    """

    def __init__(self, path: Path, code: Files):
        self.path, self.code = path, code
        self.modules = ModuleCache(path.with_name("code_modules.json"))
        self.keys: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        self.made_by = _made_by()
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["made_by"] == self.made_by and self.holds(kept["facts"]):
                self.keys, self.facts = dict(kept["keys"]), dict(kept["facts"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether files and folders are as they were."""
        for path in facts:
            self.code.listing(path[:-1]) if path.endswith("/") else self.code.content(path)
            if self.code.facts[path] != facts[path]:
                return False
        return True

    def keep(self, name: str, key: str) -> None:
        """Write a key and what it was made of; another process may do so at the same time, and the last one stays."""
        self.keys[name] = key
        _write(self.path, {"made_by": self.made_by, "facts": self.facts | self.code.facts, "keys": self.keys})


class ModuleCache:
    """Modules in a JSON file, by the content of their files: after an edit only what was edited is read again."""

    def __init__(self, path: Path):
        self.path, self.made_by = path, _made_by()
        self.kept: dict[str, Any] | None = None
        self.used: dict[str, Any] = {}
        self.is_new = False

    def read(self, content: bytes, is_main: bool) -> Module:
        """The same as `reading.read`."""
        name = f"{hashlib.sha256(content).hexdigest()}{' main' * is_main}"
        if self.kept is None:
            self.kept = self._kept()
        try:
            module = _module(self.kept[name])
        except (KeyError, TypeError, ValueError, AttributeError):
            module = reading.read(content, is_main)
            self.is_new = True
        self.used[name] = [module.statements, module.imports, sorted(module.names)]
        return module

    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            return dict(kept["modules"]) if kept["made_by"] == self.made_by else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def save(self) -> None:
        """Write what was read, if there is anything new in it; what no key is made of any more goes."""
        if self.is_new:
            _write(self.path, {"made_by": self.made_by, "modules": self.used})
            self.is_new = False


def _module(packed: Any) -> Module:
    """A module from the lists that JSON makes of its tuples."""
    statements, imports, names = packed
    return Module(tuple(map(_statement, statements)), tuple(Import(*each) for each in imports), frozenset(names))


def _statement(packed: Any) -> Statement:
    whole = Statement(*packed)
    return whole._replace(
        names=tuple(whole.names),
        imports=tuple((name, Import(*each)) for name, each in whole.imports),
        content=_expression(whole.content),
        calls=tuple(map(_reference, whole.calls)),
        bases=tuple(map(_reference, whole.bases)),
        constructors=tuple(whole.constructors),
        entries=_expressions(whole.entries),
        arguments=_expressions(whole.arguments),
        alias=whole.alias and _reference(whole.alias),
        stars=tuple(Import(*each) for each in whole.stars),
    )


def _expressions(packed: Any) -> dict[str, Expression] | None:
    return None if packed is None else {key: _expression(each) for key, each in packed.items()}


def _expression(packed: Any) -> Expression:
    text, references, constants = packed
    return Expression(text, tuple(map(_reference, references)), tuple(constants))


def _reference(packed: Any) -> Reference:
    root, attributes, use = packed
    return Reference(root if isinstance(root, str) else Import(*root), tuple(attributes), use)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole, or not at all where there is no place for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(content), encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        return


def _made_by() -> list[str]:
    """The program that makes keys, by the hash of its files, and the Python that parses."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    content = b"\0".join(path.read_bytes() for path in paths)
    return [hashlib.sha256(content).hexdigest(), ".".join(map(str, sys.version_info[:3]))]
