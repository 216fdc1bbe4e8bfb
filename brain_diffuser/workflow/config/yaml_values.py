"""What versions of YAML make of a plain text, one without quotes: Snakemake follows 1.1, most people think of 1.2."""

import datetime
import functools
import math
import re
from typing import Any

import yaml


class Unreadable:
    """What one version of YAML cannot make a value of."""


@functools.cache
def in_yaml_1_1(text: str) -> Any:
    """What Snakemake makes of a plain text."""
    loader = yaml.FullLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))  # pyright: ignore[reportArgumentType]
    except (ValueError, OverflowError, yaml.YAMLError):
        return Unreadable


def in_yaml_1_2(text: str) -> Any:
    """What the core schema of YAML 1.2 makes of a plain text: https://yaml.org/spec/1.2.2/#103-core-schema."""
    words = {"": None, "~": None, "null": None, "true": True, "false": False}
    if text in words or (text in (text.capitalize(), text.upper()) and text.lower() in words):
        return words[text.lower()]
    if re.fullmatch(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", text):
        return float(text.replace(".", ""))
    try:
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
            return int(text, 0)
    except ValueError:  # more digits than Python reads
        return Unreadable
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


def is_same(old: Any, new: Any) -> bool:
    if Unreadable in (old, new) or type(old) is not type(new):
        return False
    return old == new or (isinstance(old, float) and math.isnan(old) and math.isnan(new))


def described(value: Any) -> str:
    """A value as messages name it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.date):
        return "a date"
    if isinstance(value, str):
        return "text"
    return "unreadable" if value is Unreadable else repr(value)
