"""Keys that are kept for as long as all that they were made of stays the same."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from brain_diffuser.workflow.code_key.files import Files


class KeyCache:
    """Keys in a JSON file, with the hash of every file and folder that they were made of.

    Paths are relative to the project, so that a copy of it has the keys of the original. What it cannot read it takes
    for empty, and what it cannot write it leaves: a cache may be lost at any time.
    """

    def __init__(self, path: Path, code: Files):
        self.path, self.code = path, code
        self.keys: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        self.made_by = [_own_hash(), ".".join(map(str, sys.version_info[:3]))]
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
        kept = {"made_by": self.made_by, "facts": self.facts | self.code.facts, "keys": self.keys}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            partial.write_text(json.dumps(kept), encoding="utf-8")
            os.replace(partial, self.path)
        except OSError:
            return


def _own_hash() -> str:
    """The hash of the program that makes keys."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()
