"""Paths in a configuration, with ~ and $VARIABLE written out: once, by the process that plans, and then handed on."""

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import PurePosixPath
from typing import Any

from brain_diffuser.workflow.config import messages, schema

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)


def expand(config: MutableMapping[Any, Any]) -> None:
    """Write out ~ and variables in all paths, in place; paths without them stay as they are.

    In datasets that are not chosen, a path with a variable that is not set stays as it is.

    Raises ValueError: a variable is not set, or ~ names a user that is not known.
    """
    if not _has_signs(config):  # the schema takes long to describe
        return
    for key, section in list(_paths(config)):
        if not isinstance(section[key[-1]], str):
            continue
        try:
            section[key[-1]] = expanded(section[key[-1]])
        except ValueError as error:
            if key[0] != "datasets" or key[1] == config.get("dataset"):
                written = messages.printable(section[key[-1]])
                raise ValueError(f"config.yaml: {'.'.join(key)} is {written}, {error}") from None


def expanded(path: str) -> str:
    """A path with ~ at its beginning and $NAME or ${NAME} written out.

    A name with a dollar sign that is there as it is written stays, unless it is a variable.

    Raises ValueError: a variable is not set, or is empty, or ~ names a user that is not known.
    """
    if "\0" in path:
        raise ValueError("and no path has the sign \\0; correct it")
    unset = next((name for name in _variables(path) if not os.environ.get(name)), None)
    if unset and os.path.lexists(path):
        return path
    if unset:
        raise ValueError(f"and the variable {unset} is not set; set it, or write the path in full")
    found = VARIABLE.sub(lambda name: os.environ[name[1] or name[2]], path)
    if path.startswith("~"):
        found = os.path.expanduser(found)
        if found.startswith("~"):
            raise ValueError(f"and there is no user {path.partition('/')[0][1:]}; write the path in full")
    return path if found == path else str(PurePosixPath(found))


def _variables(path: str) -> list[str]:
    return [name[1] or name[2] for name in VARIABLE.finditer(path)]


def _has_signs(value: Any) -> bool:
    """Whether any text in it may be a path that `expanded` changes or refuses."""
    if isinstance(value, str):
        return value.startswith("~") or "$" in value or "\0" in value
    if isinstance(value, Mapping):
        return any(_has_signs(each) for each in value.values())
    return isinstance(value, list | tuple) and any(_has_signs(each) for each in value)


def _paths(config: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The keys of a configuration that hold paths, each with the section or list that it is in."""
    described = schema.described()

    def branches(node: Any) -> list[dict]:
        """What a value may be, without references and unions; nothing where the schema leaves it open."""
        if not isinstance(node, dict):
            return []
        if "$ref" in node:
            return branches(described["$defs"][node["$ref"].rpartition("/")[2]])
        return [each for branch in node["anyOf"] for each in branches(branch)] if "anyOf" in node else [node]

    def inside(value: Any, nodes: list[dict], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, each in value.items() if isinstance(value, MutableMapping) else ():
            if not isinstance(name, str):
                continue
            key = (*above, name)
            below = [
                branch
                for node in nodes
                for branch in branches(node.get("properties", {}).get(name, node.get("additionalProperties")))
            ]
            is_setting = "settings" in above[2:3] and _is_path(each)
            if is_setting or any(schema.PATH_MARK in node for node in below):
                yield key, value
            yield from inside(each, below, key)

    return inside(config, [described], ())


def _is_path(value: Any) -> bool:
    """Whether a setting that only an adapter knows is a path, by its beginning."""
    return isinstance(value, str) and bool(re.match(rf"(~\w*|{VARIABLE.pattern})(/|$)", value))
