"""Where a configuration comes from: its files and arguments, and the file and line that a message is about.

Snakemake merges config.yaml, the files of --configfile and the values of --config before the workflow begins. These
are read once more, so that nothing in them is lost or misread, and that a message can name the file and the line.
"""

import os
import re
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from brain_diffuser.workflow.config import yaml_file, yaml_values
from brain_diffuser.workflow.config.yaml_file import Place

STANDARD = "config.yaml"
"""The name that messages give the configuration until `located` knows better."""

ARGUMENTS = "--config"


class LocatedError(ValueError):
    """What is wrong with a configuration, in words that name the file and the line."""


class Source(NamedTuple):
    """A file or the arguments, by the name that messages use, and the keys in it.

    `is_text` says that Snakemake reads all values in a section as text, as it does after --config.
    """

    name: str
    top: Place
    is_text: bool = False


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

    def give_types(self, config: MutableMapping[str, Any]) -> None:
        """Numbers and truth values, in place, where Snakemake made text of them: in sections and lists after --config.

        What is in quotation marks, and what versions of YAML read differently, stays text.
        """
        for source in self.sources:
            if source.is_text:
                for key, place in source.top.inside.items():
                    if place.kind != "value" and key in config:
                        config[key] = _typed(config[key], place)

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
    return Source(ARGUMENTS, top, is_text=True)


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


def _typed(value: Any, place: Place) -> Any:
    """A value of the configuration with the types that a file would give it."""
    if isinstance(value, dict):
        return {key: _typed(each, place.inside[key]) if key in place.inside else each for key, each in value.items()}
    if isinstance(value, list) and len(value) == len(place.inside):
        return [_typed(each, place.inside[str(number)]) for number, each in enumerate(value)]
    if not place.is_plain or value != place.text:
        return value
    old, new = yaml_values.in_yaml_1_1(place.text), yaml_values.in_yaml_1_2(place.text)
    return old if yaml_values.is_same(old, new) else value


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
