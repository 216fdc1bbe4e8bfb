"""The kinds of test sets of a trained decoder, one line each; names of test sets, and what they stand for."""

from collections.abc import Mapping
from typing import Any

from brain_diffuser.artifacts import messages
from brain_diffuser.data import nsd_imagery, nsd_synthetic
from brain_diffuser.data.splits import PART
from brain_diffuser.data.test_set import Kind

KINDS: dict[str, Kind] = {"nsd_imagery": nsd_imagery.KIND, "nsd_synthetic": nsd_synthetic.KIND}
"""The kinds of test sets that `test_sets.*.kind` in config.yaml may name: one line each."""

ADAPTERS = ("nsd", "demo")
"""Adapters whose subjects have these experiments."""

NAMED: dict[str, dict[str, Any]] = {
    "imagery": {"kind": "nsd_imagery", "condition": "imagery"},
    "imagery_vision": {"kind": "nsd_imagery", "condition": "vision"},
    "synthetic": {"kind": "nsd_synthetic"},
}
"""What stands for a name where `test_sets` is a list of names."""


def of_names(value: Any) -> Any:
    """The sections that a list of names stands for; anything else as it is."""
    return {name: dict(NAMED[name]) for name in value} if isinstance(value, list) else value


def problems_of_names(value: Any) -> list[messages.Sentence]:
    """What is wrong with a list of names; nothing with sections, which have checks of their own."""
    others = (
        [name for name in value if not isinstance(name, str) or name not in NAMED] if isinstance(value, list) else []
    )
    return [
        f"test_sets names {name}; expected {', '.join(NAMED)}, or sections with a kind (docs/test_sets.md)"
        for name in others
    ]


def name_parts(name: str, section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The test sets that a section of `test_sets` stands for, by name, each with a folder of results.

    Parameters
    ----------
    name : str
        The key of the section, such as imagery.
    section : mapping
        Its values, without those that are not written.

    Returns
    -------
    {name: settings}
        Such as imagery and imagery_words; settings are the section with the defaults of its kind.
    """
    kind = KINDS[section["kind"]]
    parts = kind.parts({"images": True, **kind.keys, **section})
    return {f"{name}{PART}{suffix}" if suffix else name: settings for suffix, settings in parts.items()}
