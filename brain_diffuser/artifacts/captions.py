"""The artifact with the captions of stimuli, {"nsd_id": [captions]} as JSON, and what a caption may be."""

import reprlib
from pathlib import Path
from typing import Any

from brain_diffuser.artifacts import hdf5, messages, text_files

MISSING = ("nan", "NaN", "None", "null", "NULL", "<NA>")
"""What programs write into a table where there is no value."""

CONTAINERS = ("{'", '{"', "['", '["', "[[", "[{", "{}", "[]")
"""What an object, or a list of texts or of objects, begins with where a program writes it as a text."""

KINDS: dict[type, messages.Sentence] = {
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a number",
    float: "a number",
}
"""Names of what JSON has beside texts and null."""


def read(path: str | Path) -> dict[int, list[str]]:
    """The captions of each stimulus, from the artifact that the stage `captions` wrote.

    Raises FileNotFoundError, ValueError: the file is missing, cut short or of another form, or a value is no text.
    """
    try:
        return of_json(path)
    except ValueError as error:
        raise ValueError(f"{error}. {hdf5.rerun(path)}") from None


def of_json(path: str | Path) -> dict[int, list[str]]:
    """The captions in a file of {"nsd_id": [captions]}.

    Raises FileNotFoundError, ValueError: the file is unreadable or of another form, or a value is no text.
    """
    found = text_files.read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f'{path} has {describe(found)}; expected captions as {{"nsd_id": ["caption"]}}')
    captions: dict[int, list[str]] = {}
    for key, texts in found.items():
        if not is_id(key):
            raise ValueError(f"{path} has key {key!r}; expected a nsd_id, a whole number from 0")
        if not isinstance(texts, list):
            raise ValueError(f"{path}: captions of nsd_id {key} are {describe(texts)}; expected a list of texts")
        for number, text in enumerate(texts, 1):
            wrong = problem(text)
            if wrong:
                raise ValueError(f"{path}: caption {number} of nsd_id {key} is {wrong}")
        if int(key) in captions:
            raise ValueError(f"{path} has nsd_id {int(key)} twice, once as {key!r}; expected once")
        captions[int(key)] = texts
    return captions


def problem(value: Any) -> messages.Sentence | None:
    """What a value is that is no caption, and what was expected, as the end of a sentence; None if it is a caption.

    A caption is a text. Tables and arrays have nothing but texts, so the texts count as well that programs make of a
    missing value, an object or a list.
    """
    if not isinstance(value, str):
        return f"{describe(value)}; expected a text"
    if value.strip() in MISSING:
        return f"{value.strip()!r}, which programs write for a missing value; expected a text, or nothing"
    if _is_container(value.strip()):
        return f"{reprlib.repr(value)}, an object or a list written as a text; expected the caption alone"
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        return f"{reprlib.repr(value)}, which has half of a UTF-16 pair; expected a text that UTF-8 can store"
    return None


def describe(value: Any) -> str:
    """A value of JSON in words: null, a number (3), an object ({'id': 3})."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"a text ({reprlib.repr(value)})"
    return f"{KINDS.get(type(value), type(value).__name__)} ({reprlib.repr(value)})"


def is_id(text: str) -> bool:
    """Whether a text is a nsd_id: digits, as many as fit into 32 bits."""
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**31


def _is_container(text: str) -> bool:
    """Whether a text is how Python or JSON writes an object or a list of texts."""
    return text[:2] in CONTAINERS and text[-1] == {"{": "}", "[": "]"}[text[0]]
