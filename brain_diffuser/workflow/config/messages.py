"""One sentence for each key that the models refuse."""

import json
import re
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from brain_diffuser.workflow.config.schema import described
from brain_diffuser.workflow.config.sources import Sources

LONGEST_WORD = 300
"""Signs; paths may be long."""


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
            sentences.append(
                f"{name} is missing; expected {_expected(schema, node)}; "
                f"copy the line `{key[-1]}:`{where} from the shipped config.yaml"
            )
        elif found[key] != "missing":
            value = _value(config, key)
            fix = _fix(value, node, sources.fix_for_number([str(part) for part in key]))
            sentences.append(f"{name} is {_shown(value)}; expected {_expected(schema, node)}{fix}")
    return sentences


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
        node = node.get("properties", {}).get(part, inside)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _similar(schema: dict, key: tuple, config: dict) -> tuple | None:
    """The unused known key beside an unknown one that is spelt most like it."""
    section = _value(config, key[:-1])
    free = [name for name in _node(schema, key[:-1])["properties"] if name not in section]
    matches = get_close_matches(str(key[-1]), free, n=1)
    return (*key[:-1], matches[0]) if matches else None


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
        "boolean": "true or false",
        "string": "text",
        "object": "a section with entries",
    }
    return " ".join(filter(None, (kinds.get(node["type"]), bounds)))


def _fix(value: Any, node: dict, how: str) -> str:
    """What to do with a number that is text: it is in quotes, or in a section after --config, where all is text."""
    numeric = [branch for branch in node.get("anyOf", []) if branch.get("type") in ("number", "integer")]
    node = numeric[0] if len(numeric) == 1 and "type" not in node else node
    if node.get("type") not in ("number", "integer") or not isinstance(value, str):
        return ""
    try:
        number = float(value) if node["type"] == "number" else int(value)
    except ValueError:
        return ""
    low, high = node.get("minimum", node.get("exclusiveMinimum", number)), node.get("maximum", number)
    if not low <= number <= high or number == node.get("exclusiveMinimum"):
        return ""
    return f"; write {number}, {how}"


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
