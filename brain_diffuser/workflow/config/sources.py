"""Where a configuration comes from: its files and arguments, and the file and line that a message is about.

Snakemake merges config.yaml, the files of --configfile and the values of --config before the workflow begins. These
are read once more, so that nothing in them is lost or misread, and that a message can name the file and the line.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.workflow.config import yaml_file
from brain_diffuser.workflow.config.yaml_file import Place

STANDARD = "config.yaml"
"""The name that messages give the configuration until `located` knows better."""

ARGUMENTS = "--config"
AFTER_CONFIG = f"after {ARGUMENTS}"


class LocatedError(ValueError):
    """What is wrong with a configuration, in words that name the file and the line."""


class Source(NamedTuple):
    """A file or the arguments, by the name that messages use, the keys in it, and where numbers are text, if anywhere.

    `untyped` is "after --config" where Snakemake reads all that is in a section as text; it is empty in files.
    """

    name: str
    top: Place
    untyped: str = ""


class Sources:
    """What a configuration was merged from; later sources overrule earlier ones."""

    def __init__(self, sources: Sequence[Source] = ()) -> None:
        self.sources = tuple(sources)

    def find(self, key: Sequence[str]) -> tuple[Source, int] | None:
        """The last source that has a key, and the line there; None if none has it."""
        for source in reversed(self.sources):
            place = _inside(source.top, key)
            if place is not None:
                return source, place.line
        return None

    def fix_for_number(self, key: Sequence[str]) -> str:
        """How to write a number that was read as text."""
        found = self.find(key)
        untyped = found[0].untyped if found else AFTER_CONFIG
        return f"in a file rather than {untyped}" if untyped else "without quotes"

    def located(self, message: str) -> str:
        """A message about keys of the configuration, with the files and lines in which these stand.

        A message that begins with "config.yaml: " and a key gets the name of the file in its place. Other keys that it
        names before its first semicolon are found too; so are those of "subjects of config.yaml".
        """
        if not self.sources:
            return message
        prefix, about = f"{STANDARD}: ", message
        keys: list[tuple[Source, int]] = []
        if message.startswith(prefix):
            about = message.removeprefix(prefix)
            keys = self._places(about)
        else:
            for found in re.finditer(rf"(\S+) (?:of|in) {re.escape(STANDARD)}", message):
                keys += filter(None, [self.find(found[1].strip("(").split("."))])
        if not keys:
            return message
        last = max(keys, key=lambda found: self.sources.index(found[0]))[0]
        if about is message:
            return f"{message.replace(STANDARD, last.name)}{_lines(keys, last)}"
        return f"{last.name}: {about}{_lines(keys, last)}"

    def _places(self, about: str) -> list[tuple[Source, int]]:
        """Where the keys stand that a sentence names before its fix."""
        problem = about.partition(";")[0].partition(" is now ")[0]
        beginning = self._longest(problem)
        if re.match(r"\S+ is missing$", problem):
            return self._lowest(beginning)
        keys = [self._named(beginning, problem)] if beginning else []
        for found in re.finditer(r" ", problem):
            rest = problem[found.end() :]
            key = self._longest(rest)
            if len(key) > 1 and re.match(r"[\s,]|$", rest.removeprefix(".".join(key))):
                keys.append(key)
            variant = re.match(r"variant ([\w.]+?)(?:\.seed_\d+)?\b", rest)
            if variant:
                keys.append(("variants", variant[1]))
        return [place for place in map(self.find, dict.fromkeys(keys)) if place]

    def _longest(self, text: str) -> tuple[str, ...]:
        """The longest key that a text begins with; names may have dots in them."""
        places, key = [source.top for source in self.sources], ()
        while True:
            names = {name for place in places for name in place.inside}
            fitting = [name for name in names if re.match(rf"{re.escape(name)}(?!\w)", text)]
            if not fitting:
                return key
            name = max(fitting, key=len)
            key, text = (*key, name), text[len(name) :]
            places = [place.inside[name] for place in places if name in place.inside]
            if not text.startswith("."):
                return key
            text = text[1:]

    def _named(self, key: tuple[str, ...], problem: str) -> tuple[str, ...]:
        """The entry of a key that a sentence singles out: "roi.optimal names face" is about that item of the list."""
        named = re.match(rf"{re.escape('.'.join(key))} (?:has|names) ([^\s,]+)", problem)
        found = self.find(key)
        if not named or not found:
            return key
        for source in reversed(self.sources):
            place = _inside(source.top, key)
            for name, each in reversed([*place.inside.items()]) if place else ():
                if named[1] in (name, each.text):
                    return (*key, name)
        return key

    def _lowest(self, key: tuple[str, ...]) -> list[tuple[Source, int]]:
        """Where the section is begun in which a key is missing; the first file is the one with all keys."""
        for source in self.sources:
            place = _inside(source.top, key)
            if place is not None and (key or source.name == self.sources[0].name):
                return [(source, place.line if key else 0)]
        return []


UNKNOWN = Sources()
"""Where nothing is known of files, as in jobs, which read the plan."""


def of_file(path: str | Path) -> Source:
    """The keys of a file. Raises FileNotFoundError or ValueError: it cannot be read, or not without doubt."""
    return Source(shown(path), yaml_file.read(path, shown(path)))


def of_arguments(arguments: Sequence[str]) -> Source:
    """The keys of arguments KEY=VALUE, of which sections are merged. Raises ValueError: a value is there twice."""
    top = Place(0, "section")
    for argument in arguments:
        key, _, value = argument.partition("=")
        top = _merged(top, Place(0, "section", {key: yaml_file.argument(key, value, ARGUMENTS)}), ())
    return Source(ARGUMENTS, top, AFTER_CONFIG)


def shown(path: str | Path) -> str:
    """A path as messages name it: from the working folder on, if it lies there."""
    absolute, here = Path(os.path.abspath(path)), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)


def _merged(first: Place, second: Place, key: tuple[str, ...]) -> Place:
    """Two sections in one. Raises ValueError: a value is there twice."""
    if first.kind != "section" or second.kind != "section":
        raise ValueError(f"{ARGUMENTS}: {'.'.join(key)} is there twice, and the first would be lost; delete one")
    inside = dict(first.inside)
    for name, place in second.inside.items():
        inside[name] = _merged(inside[name], place, (*key, name)) if name in inside else place
    return Place(0, "section", inside)


def _inside(place: Place, key: Sequence[str]) -> Place | None:
    for name in key:
        if name not in place.inside:
            return None
        place = place.inside[name]
    return place


def _lines(keys: Sequence[tuple[Source, int]], last: Source) -> str:
    """The lines of keys, with the names of files if there are several."""
    if all(source.name == last.name for source, _ in keys):
        numbers = [str(line) for line in dict.fromkeys(line for _, line in keys) if line]
        return f" (line{'s' * (len(numbers) > 1)} {' and '.join(numbers)})" if numbers else ""
    places = (f"{source.name} line {line}" if line else source.name for source, line in keys)
    return f" ({', '.join(dict.fromkeys(places))})"
