"""Every text file is read and written as UTF-8, whatever the machine's own encoding, and split at line ends alone."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("brain_diffuser", "workflow_scripts", "demo", "benchmarks", "docs_tools")
COMPRESSED = ("gzip", "bz2", "lzma")
NO_TEXT = ("Image", "os", "tarfile", "zipfile")
"""What has an `open` that opens no text."""
BINARY_AT_FIRST = ("NamedTemporaryFile", "TemporaryFile", "SpooledTemporaryFile")
WRAPPERS = ("TextIOWrapper", "FileHandler")
PROCESSES = ("run", "Popen", "check_output", "check_call", "call")


def modes(call, place, default):
    """The modes in which a call may open a file; "r" where only the running program knows."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args[place : place + 1]
    if not given:
        return [default]
    texts = [
        node.value for node in ast.walk(given[0]) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return texts or ["r"]


def lacks_encoding(call):
    """Whether a call reads or writes text in the encoding of the machine, or breaks lines at more than their ends."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    keywords = {keyword.arg for keyword in call.keywords}
    if name == "splitlines":
        return True
    if "encoding" in keywords:
        return False
    if name == "open" and owner in COMPRESSED:
        return any("t" in mode for mode in modes(call, 1, "rb"))
    if name == "open" and owner not in NO_TEXT:
        is_method = isinstance(call.func, ast.Attribute) and owner != "io"
        return any("b" not in mode for mode in modes(call, 0 if is_method else 1, "r"))
    if name == "fdopen":
        return any("b" not in mode for mode in modes(call, 1, "r"))
    if name in BINARY_AT_FIRST:
        return any("b" not in mode for mode in modes(call, 0, "w+b"))
    if name in ("read_text", "write_text"):
        return len(call.args) < ("read_text", "write_text").index(name) + 1
    return name in WRAPPERS or (name in PROCESSES and bool({"text", "universal_newlines"} & keywords))


def faults(source):
    """The lines of a program that leave the encoding to the machine, or break lines at U+2028."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(call.lineno for call in calls if lacks_encoding(call))


@pytest.mark.parametrize("folder", FOLDERS)
def test_programs_name_the_encoding(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    found = {str(path.relative_to(ROOT)): faults(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_rules_name_the_encoding():
    for path in (ROOT / "Snakefile", *sorted((ROOT / "rules").rglob("*.smk"))):
        text = path.read_text(encoding="utf-8")
        for call in re.finditer(r"\b(?:open|read_text|write_text|splitlines|check_output)\([^()]*\)", text):
            assert "encoding=" in call[0], f"{path}: {call[0]}"


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "open(path, 'w')",
        "open(path, mode='a')",
        "path.open()",
        "path.open('w')",
        "io.open(path)",
        "gzip.open(path, 'rt')",
        "path.read_text()",
        "path.write_text(text)",
        "subprocess.run(command, text=True)",
        "subprocess.check_output(command, universal_newlines=True)",
        "os.fdopen(number)",
        "logging.FileHandler(path)",
        "tempfile.NamedTemporaryFile('w')",
        "io.TextIOWrapper(stream)",
        "text.splitlines()",
    ],
)
def test_what_is_refused(source):
    assert faults(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'rb')",
        "open(path, 'ab' if held else 'wb')",
        "open(path, encoding='utf-8')",
        "path.open('rb')",
        "gzip.open(path)",
        "Image.open(path)",
        "path.read_text('utf-8')",
        "path.write_text(text, encoding='utf-8')",
        "subprocess.run(command, encoding='utf-8')",
        "tempfile.NamedTemporaryFile()",
    ],
)
def test_what_is_allowed(source):
    assert faults(source) == []
