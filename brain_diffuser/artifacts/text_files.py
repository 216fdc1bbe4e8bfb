"""Text files in UTF-8, read whole; where a path has something else, one sentence says what."""

import io
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import messages, system_faults

HEAD_BYTES = 512
"""Bytes at the beginning of a file that tell what it is."""

WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16; those of UTF-32 begin alike or have a byte 0."""


def read(path: str | Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; ends of lines are as they are stored.

    Raises FileNotFoundError, ValueError: see `check_is_file`; the file is empty of text, or is in another encoding.
    """
    check_is_file(path)
    with system_faults.named(path):
        content = Path(path).read_bytes()
    wrong = placeholder(content[:HEAD_BYTES])
    if wrong:
        raise ValueError(f"{path} {wrong}")
    if content[:2] in WIDE_MARKS:
        raise ValueError(f"{path} line 1 begins with byte 0x{content[0]:02x}, so it is UTF-16 or 32; save it as UTF-8")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise ValueError(f"{path} line {line} has byte 0x00, so it is UTF-16, or no text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path} line {line} has byte 0x{error.object[error.start]:02x}, which is not UTF-8; save it as UTF-8"
        ) from None


def lines(text: str) -> list[str]:
    r"""The lines of a text, which end at \n, \r\n or \r. `str.splitlines` also breaks them at U+2028 and more."""
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file in UTF-8.

    Raises FileNotFoundError, ValueError: no such file, another encoding, no JSON, or a key that comes twice.
    """
    try:
        return json.loads(read(path), object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is no JSON from line {error.lineno} column {error.colno} on ({error.msg}); it may be cut short"
        ) from None
    except RecursionError:
        raise ValueError(f"{path} is no JSON that can be read: its lists or objects are nested too deeply") from None
    except ValueError as error:
        raise ValueError(_naming(path, error)) from None


def check_is_file(path: str | Path, expected: messages.Sentence = "a file", fix: messages.Sentence = "") -> None:
    """Check that a path leads to a file, which a folder, a pipe and a link that leads nowhere are not.

    `fix` ends the sentence about a path where nothing is.

    Raises FileNotFoundError, SystemFault, ValueError: it does not.
    """
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected {expected}{fix and f'. {fix}'}")
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} is a pipe or a device; expected {expected}")


def placeholder(head: bytes) -> messages.Sentence | None:
    """What stands in place of a file, by its first bytes, as the end of a sentence; None if it may be the file itself.

    Datasets are often copied without their content: git-annex and Git LFS leave a short text that names it. Servers
    answer with a page that says why not.
    """
    first = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    first_line = first.split(b"\n", 1)[0]
    if first.startswith(b"/annex/objects/") or (b".git/annex/objects/" in first_line and b"\t" not in first_line):
        return "is a pointer of git-annex, not the file itself; fetch it with datalad get or git annex get"
    if first.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a pointer of Git LFS, not the file itself; fetch it with git lfs pull"
    if first[:64].lower().startswith((b"<!doctype html", b"<html")):
        return "is a web page, such as that of a login or an error, not the file itself; download the file"
    if first.startswith(b"<?xml") and b"<Error>" in first:
        return "is an error message of a server, not the file itself; download the file"
    return None


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys are its own: of doubled keys all values but the last would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has key {next(key for key in keys if keys.count(key) > 1)!r} twice; expected once")
    return found


def _naming(path: str | Path, error: ValueError) -> str:
    """The sentence of an error, which begins with the path."""
    sentence = str(error)
    return sentence if sentence.startswith(str(path)) else f"{path} {sentence}"
