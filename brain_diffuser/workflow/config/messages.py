"""One sentence for each key that the models refuse."""

import json
import math
import re
from collections.abc import Sequence
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from brain_diffuser.workflow.config.schema import SHORTHAND, described
from brain_diffuser.workflow.config.sources import Sources

LONGEST_WORD = 300
"""Signs; paths may be long."""

NEARLY = 0.1
"""Difference of likenesses, which are 0 to 1, of names that are about as much like a third."""

OF_USERS = ("splits", "test_sets", "variants")
"""Sections whose entries users name, so that the shipped config.yaml has no line to copy."""


def reworded(error: ValidationError, config: dict, sources: Sources) -> list[str]:
    """One sentence for each key that pydantic reports, unknown keys first: a misspelt key is also a missing one."""
    schema = described()
    found: dict[tuple, str] = {}
    for problem in error.errors():
        found.setdefault(_locate(schema, problem["loc"]), problem["type"])
    unknown = {
        key: _similar(schema, key, config) for key, kind in found.items() if kind in ("extra_forbidden", "invalid_key")
    }
    sentences = []
    for key in [*unknown, *(key for key in found if key not in unknown)]:
        name, section, node = ".".join(map(str, key)), ".".join(map(str, key[:-1])), _node(schema, key)
        if key in unknown:
            similar = unknown[key]
            known = f"known keys here are {', '.join(_node(schema, key[:-1])['properties']) or 'none'}"
            fix = f"did you mean {'.'.join(map(str, similar))}?" if similar else known
            sentences.append(f"{name} is not a known key; {fix}")
        elif found[key] == "missing" and key not in unknown.values():
            where = f" under {section}" if section else ""
            fix = f"copy the line `{key[-1]}:`{where} from the shipped config.yaml"
            if key[0] in OF_USERS:
                fix = f"add `{key[-1]}:`{where}"
            sentences.append(f"{name} is missing; expected {_expected(schema, node)}; {fix}")
        elif found[key] != "missing":
            value = _value(config, key)
            fix = _fix(value, node)
            fix = fix or _fix_of_text(value, _names(schema, node)) or _fix_of_item(schema, value, node)
            sentences.append(f"{name} is {_shown(value)}; expected {_expected(schema, node)}{fix}")
    return sentences


def unknown_name(name: str, known: Sequence[str], *, expected: str) -> str:
    """What to write in place of an unknown name: the known one that is spelt most like it, or any.

    Parameters
    ----------
    name
        What is written.
    known
        The names that may be written.
    expected
        "one of" or "some of", before all names.

    Returns
    -------
    str
        The end of a sentence about the name, from "expected" or "did you mean" on.
    """
    similar = _most_similar(name, known)
    return f"did you mean {similar}?" if similar else f"expected {expected} {', '.join(known)}; correct the name"


def _locate(schema: dict, loc: tuple) -> tuple:
    """The keys of a pydantic location, without its marks for the branches of a union."""
    loc = tuple(part for part in loc if part != "[key]")
    for n in range(len(loc)):
        node = _node(schema, loc[:n])
        if not {"properties", "additionalProperties", "items"} & set(node):
            return loc[:n]
    return loc


def _node(schema: dict, key: tuple) -> dict:
    """The JSON schema of a key; empty if there is none."""
    node = schema
    for part in key:
        inside = node.get("additionalProperties") or node.get("items") or {}
        node = _resolved(schema, node.get("properties", {}).get(part, inside))
    return node


def _resolved(schema: dict, node: dict) -> dict:
    """A node that another one refers to; of what may stand for a section also the keys of that section."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if not node.get(SHORTHAND):
        return node
    section = next(branch for each in node["anyOf"] if (branch := _resolved(schema, each)).get("type") == "object")
    return {**{key: section[key] for key in ("properties", "additionalProperties") if key in section}, **node}


def _similar(schema: dict, key: tuple, config: dict) -> tuple | None:
    """The known key beside an unknown one that is spelt most like it; of nearly equal ones one that is not used yet."""
    section, known = _value(config, key[:-1]), list(_node(schema, key[:-1])["properties"])
    written = str(key[-1])
    found = [_most_similar(written, known), _most_similar(written, [name for name in known if name not in section])]
    likeness = {name: SequenceMatcher(None, written.lower(), name.lower()).ratio() for name in found if name}
    similar = max(likeness, key=lambda name: likeness[name] + NEARLY * (name not in section), default=None)
    return (*key[:-1], similar) if similar else None


def _most_similar(name: str, known: Sequence[str]) -> str | None:
    """The known name that is spelt most like another one, capitals and small letters alike; None if none is like it."""
    lower = {each.lower(): each for each in known}
    matches = get_close_matches(name.lower(), lower, n=1)
    return lower[matches[0]] if matches else None


def _expected(schema: dict, node: dict) -> str:
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        return " or ".join(_expected(schema, branch) for branch in node["anyOf"])
    if "const" in node or "enum" in node:
        return either(node.get("enum") or [node["const"]])
    if "properties" in node:
        return f"a section with the keys {', '.join(node['properties']) or 'none'}"
    if node.get("type") == "array":
        return f"a list{' of at least one' if node.get('minItems') else ''}, each {_expected(schema, node['items'])}"
    if "pattern" in node:
        return "letters and digits, a letter first"
    words = {
        "exclusiveMinimum": "more than",
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    bounds = " and ".join(f"{word} {node[bound]:g}" for bound, word in words.items() if bound in node)
    kinds = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "object": "a section with entries",
    }
    return " ".join(filter(None, (kinds.get(node["type"]), bounds)))


def _fix(value: Any, node: dict) -> str:
    """What to do with a number that is text, because it is in quotes."""
    numeric = [branch for branch in node.get("anyOf", []) if branch.get("type") in ("number", "integer")]
    node = numeric[0] if len(numeric) == 1 and "type" not in node else node
    if node.get("type") not in ("number", "integer") or not isinstance(value, str):
        return ""
    try:
        number = float(value) if node["type"] == "number" else int(value)
    except ValueError:
        return ""
    if not _is_within(number, node):
        return ""
    return f"; write {number}, without quotes"


def _is_within(number: float | int, node: dict) -> bool:
    """Whether a number is finite and within the bounds of a key."""
    above, below = node.get("exclusiveMinimum", -math.inf), node.get("exclusiveMaximum", math.inf)
    low, high = node.get("minimum", -math.inf), node.get("maximum", math.inf)
    return math.isfinite(number) and low <= number <= high and above < number < below


def _names(schema: dict, node: dict) -> list[str]:
    """The texts that a key may have."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    names = node.get("enum", [node["const"]] if "const" in node else [])
    return [*filter(lambda name: isinstance(name, str), names)] + [
        name for branch in node.get("anyOf", []) for name in _names(schema, branch)
    ]


def _fix_of_text(value: Any, names: Sequence[str]) -> str:
    """Which of the texts that a key may have is meant by another text."""
    similar = _most_similar(value, names) if isinstance(value, str) else None
    if not similar and isinstance(value, str) and (file := _forgotten(value)):
        return f"; {file} is there, so enter it in the registry.py of its folder"
    return f"; did you mean {similar}?" if similar else ""


def _forgotten(name: str) -> str:
    """The file of a record that no registry has, below the package's folder; empty if there is none."""
    package = Path(__file__).parents[2]
    found = {path.stem: path for registry in package.glob("*/registry.py") for path in registry.parent.glob("*.py")}
    return found[name].relative_to(package.parent).as_posix() if name in found else ""


def _fix_of_item(schema: dict, value: Any, node: dict) -> str:
    """How to write a list that one of its items stands for."""
    branches = [branch for branch in (node, *node.get("anyOf", ())) if branch.get("type") == "array"]
    if not branches or isinstance(value, (dict, list)) or value is None:
        return ""
    items = branches[0]["items"]
    names = _names(schema, items)
    if names:
        item = value if value in names else _most_similar(str(value), names)
    elif isinstance(value, str):
        item = value if items.get("type") == "string" and "pattern" not in items else None
    else:
        kinds = {"integer": int, "number": (int, float)}.get(items.get("type"), ())
        is_item = isinstance(value, kinds) and not isinstance(value, bool)
        item = value if is_item and _is_within(value, items) else None
    return "" if item is None else f"; write [{item}]"


def _value(config: Any, key: tuple) -> Any:
    """The value of a key, whose parts may be texts that stand for a number, a truth value or null."""
    for part in key:
        if isinstance(config, dict) and part not in config:
            config = {str(name): value for name, value in config.items()}
        config = config[part]
    return config


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a section" if value else "empty"
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError):  # keys that JSON does not have
        return str(value)


def printable(text: str) -> str:
    """A message in one line, as terminals show it: other signs are escaped, and very long words are cut."""
    escaped = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][: LONGEST_WORD // 2]}...", escaped)


def either(values: list) -> str:
    return " or ".join(filter(None, (", ".join(map(str, values[:-1])), str(values[-1]))))
