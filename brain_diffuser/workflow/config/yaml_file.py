"""A YAML or JSON file of settings: where each key stands, and one sentence if YAML would misread or lose anything.

Snakemake reads the same file by itself. It follows YAML 1.1, where 010 is 8 and 1:30 is 90, and of two equal keys it
keeps the last. A file that passes here has one meaning, whoever reads it.
"""

import bisect
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from brain_diffuser.artifacts import text_files
from brain_diffuser.workflow.config import yaml_values

MAX_BYTES = 4 << 20
MAX_DEPTH = 40
MAX_SHOWN = 80
MAX_VALUES = 200_000
"""Values with all aliases written out; the coordinates of 15,000 voxels are 60,000."""

PLAIN_TEXT = re.compile(r"[\n -~]*")
TEXT_TAG = "tag:yaml.org,2002:str"


class Place(NamedTuple):
    """A value in a file.

    Parameters
    ----------
    line
        The line of its key, from 1; 0 if it stands in no file.
    kind
        "section", "list" or "value".
    inside
        The values of a section by their keys, of a list by their numbers from 0.
    text
        A value as it is written.
    is_plain
        Whether a value has no quotation marks.
    size
        How many values it is, itself included, with all aliases written out.
    """

    line: int
    kind: str = "value"
    inside: Mapping[str, "Place"] = {}
    text: str = ""
    is_plain: bool = False
    size: int = 1


def read(path: str | Path, name: str = "", *, takes_words: bool = False) -> Place:
    """The keys of a file of settings; messages call the file `name`. With `takes_words`, yes and off are truth values.

    Raises FileNotFoundError: there is no such file. ValueError: it cannot be read, or not without doubt.
    """
    name = name or str(path)
    text = _text(Path(path), name)
    wrong = text_files.placeholder(text[: text_files.HEAD_BYTES].encode())
    if wrong:
        raise ValueError(f"{name}: this {wrong}")
    return places(text, name, takes_words=takes_words)


def places(text: str, name: str, *, takes_words: bool = False) -> Place:
    """The keys of a text of settings. Raises ValueError: YAML cannot read it, or not without doubt."""
    is_json = _is_json(text, name)
    text = text.replace("\t", " ") if is_json else text
    return _Reader(text, name, is_typed=not is_json, takes_words=takes_words).settings()


def argument(key: str, text: str, name: str) -> Place:
    """The value of an argument KEY=VALUE, which has no types. Raises ValueError: a key in it is there twice."""
    try:
        return _Reader(text, name, is_typed=False, above=(key,)).only_value()
    except yaml.YAMLError:
        return Place(0, text=text)  # as Snakemake reads what is no YAML


def sentence(name: str, problem: str, *lines: int) -> str:
    """What is wrong with a file, and in which lines."""
    known = [str(line) for line in dict.fromkeys(lines) if line]
    where = f" (line{'s' * (len(known) > 1)} {' and '.join(known)})" if known else ""
    return f"{name}: {problem}{where}"


def _text(path: Path, name: str) -> str:
    """The text of a file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{name}: this is a folder; expected a file of settings, so name the file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name}: this is no regular file; write the settings to a file and name that")
        if status.st_size > MAX_BYTES:
            raise ValueError(
                f"{name}: this file has {status.st_size:,} bytes; expected settings of at most {MAX_BYTES:,}, so name "
                "the right file"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(_missing(path, name)) from None
    except OSError as error:
        raise ValueError(
            f"{name}: this file cannot be read ({error.strerror}); correct the file, or name another"
        ) from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{name}: this text is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise ValueError(sentence(name, problem, line)) from None


def _missing(path: Path, name: str) -> str:
    if not path.is_symlink():
        return f"{name}: there is no such file; correct the name"
    target = os.readlink(path)
    fix = f"get it with git annex get {name}" if ".git/annex/" in target else "put it there or correct the link"
    return f"{name}: this is a link to {target}, which does not exist; {fix}"


def _is_json(text: str, name: str) -> bool:
    """Whether a text is JSON, which Snakemake tries first and in which no value is in doubt."""
    try:
        json.loads(text)
    except RecursionError:
        raise ValueError(_too_deep(name)) from None
    except ValueError:
        return False
    return True


def _too_deep(name: str, *lines: int) -> str:
    problem = f"sections or lists lie in each other more than {MAX_DEPTH} deep; expected settings as in config.yaml"
    return sentence(name, problem, *lines)


def _events(text: str) -> Iterator[Any]:
    """What YAML consists of: of plain text by libyaml, twenty times faster, and where that finds a fault, by PyYAML."""
    if PLAIN_TEXT.fullmatch(text) and hasattr(yaml, "CSafeLoader"):
        try:
            return iter(list(yaml.parse(text, Loader=yaml.CSafeLoader)))
        except yaml.YAMLError:  # PyYAML says what it is
            pass
    return yaml.parse(text, Loader=yaml.SafeLoader)


class _Reader:
    """The events of a YAML text, made into places. A recursive descent whose depth is limited."""

    def __init__(
        self, text: str, name: str, *, is_typed: bool, takes_words: bool = False, above: tuple[str, ...] = ()
    ) -> None:
        """Read a text called `name`; what is below the key `above` stands in no file, and so in no line."""
        self.name, self.is_typed, self.takes_words, self.above = name, is_typed, takes_words, above
        self.ends = [found.start() for found in re.finditer("\n", text)]
        self.events: Iterator[Any] = _events(text)
        self.anchors: dict[str, Place] = {}
        self.open: set[str] = set()

    def settings(self) -> Place:
        """The only document, a section. Raises ValueError: it is something else, or no YAML."""
        try:
            place = self.only_value()
        except yaml.YAMLError as error:
            raise ValueError(self._no_yaml(error)) from None
        if place.kind != "section":
            is_empty = place.kind == "value" and not place.text
            found = "this file is empty" if is_empty else f"this file is one {place.kind}"
            raise ValueError(f"{self.name}: {found}; expected sections of keys, as in the shipped config.yaml")
        return place

    def only_value(self) -> Place:
        """The value of the only document."""
        place = Place(0)
        n_documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                n_documents += 1
                if n_documents > 1:
                    self._refuse("a second document begins at ---, which would be lost; keep one", event)
            elif isinstance(event, yaml.AliasEvent | yaml.NodeEvent):
                place = self._value(event, self.above)
        return place

    def _value(self, event: Any, key: tuple[str, ...]) -> Place:
        line = self._line(event)
        if len(key) > MAX_DEPTH:
            raise ValueError(_too_deep(self.name, line))
        if isinstance(event, yaml.AliasEvent):
            return self._known(event, key)._replace(line=line)
        self._check_tag(event, key)
        if event.anchor:
            if event.anchor in self.anchors or event.anchor in self.open:
                self._refuse(f"the anchor &{event.anchor} is there twice; rename one", event)
            self.open.add(event.anchor)
        if isinstance(event, yaml.MappingStartEvent):
            place = self._section(line, key)
        elif isinstance(event, yaml.SequenceStartEvent):
            place = self._list(line, key)
        else:
            self._constructed(event, key)
            place = Place(line, text=event.value, is_plain=event.implicit[0])
        if place.size > MAX_VALUES:
            self._refuse(
                f"{_dotted(key)} is {place.size:,} values, with its aliases (*) written out; expected at most "
                f"{MAX_VALUES:,}, so write out what you mean",
                event,
            )
        if event.anchor:
            self.open.discard(event.anchor)
            self.anchors[event.anchor] = place
        return place

    def _known(self, event: Any, key: tuple[str, ...]) -> Place:
        """The value that an alias stands for."""
        if event.anchor in self.open:
            self._refuse(f"{_dotted(key)} holds itself, by the alias *{event.anchor}; write out what you mean", event)
        if event.anchor not in self.anchors:
            self._refuse(
                f"{_dotted(key)} is the alias *{event.anchor}, and no &{event.anchor} stands before it; name one that "
                "does, or put the text in quotes",
                event,
            )
        return self.anchors[event.anchor]

    def _list(self, line: int, key: tuple[str, ...]) -> Place:
        inside: dict[str, Place] = {}
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            number = str(len(inside))
            inside[number] = self._value(event, (*key, number))
        return Place(line, "list", inside, size=1 + sum(each.size for each in inside.values()))

    def _section(self, line: int, key: tuple[str, ...]) -> Place:
        own: dict[str, Place] = {}
        merged: dict[str, Place] = {}
        lines: dict[Any, int] = {}  # of the keys as Python has them: 1 and 0x1 are one
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(f"a key{_under(key)} is no plain text; write a name", event)
            self._check_tag(event, key)
            path, at = (*key, event.value), self._line(event)
            name = self._constructed(event, path, is_key=True)
            if name in lines:
                problem = f"{_dotted(path)} is there twice, and the first would be lost; join them or delete one"
                raise ValueError(sentence(self.name, problem, lines[name], at))
            lines[name] = at
            value = self._value(next(self.events), path)
            if self.is_typed and event.value == "<<" and event.implicit[0]:
                merged |= self._merged(value, event)
            else:
                own[event.value] = value._replace(line=at)
        inside = merged | own
        return Place(line, "section", inside, size=1 + sum(each.size for each in inside.values()))

    def _merged(self, value: Place, event: Any) -> dict[str, Place]:
        """The keys that << takes over; of several sections the first one counts."""
        sections = [value] if value.kind == "section" else list(value.inside.values())
        if not sections or any(each.kind != "section" for each in sections):
            self._refuse("<< takes over the keys of sections, and is given something else; name a section", event)
        found: dict[str, Place] = {}
        for each in reversed(sections):
            found |= each.inside
        return found

    def _constructed(self, event: Any, key: tuple[str, ...], *, is_key: bool = False) -> Any:
        """The value of a plain text. It is refused if versions of YAML differ in it."""
        is_merge = is_key and event.value == "<<"
        if not self.is_typed or not event.implicit[0] or is_merge:
            return event.value
        old, new = yaml_values.in_yaml_1_1(event.value), yaml_values.in_yaml_1_2(event.value)
        if yaml_values.is_same(old, new) or (isinstance(old, bool) and self.takes_words):
            return old
        quoted = json.dumps(event.value, ensure_ascii=False)
        if yaml_values.Unreadable in (old, new) and len(event.value) > MAX_SHOWN:
            self._refuse(f"{_dotted(key)} has {len(event.value):,} digits; expected a number, so correct it", event)
        numbers = [yaml_values.described(each) for each in (old, new) if isinstance(each, bool | int | float)]
        fix = f"{' or '.join(numbers)}, or {quoted} if it is text" if numbers else f"{quoted}, in quotes"
        self._refuse(
            f"{'the key ' * is_key}{_dotted(key)} is {event.value}, which is {yaml_values.described(old)} in YAML 1.1 "
            f"and {yaml_values.described(new)} in YAML 1.2; write {fix}",
            event,
        )

    def _check_tag(self, event: Any, key: tuple[str, ...]) -> None:
        if self.is_typed and event.tag not in (None, TEXT_TAG):
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._refuse(f"{_dotted(key)} has the tag {shown}; expected a value alone, so delete the tag", event)

    def _no_yaml(self, error: yaml.YAMLError) -> str:
        """One sentence for what is no YAML."""
        if isinstance(error, yaml.reader.ReaderError):
            character = error.character if isinstance(error.character, int) else ord(error.character)
            problem = f"the character U+{character:04X} is not allowed in YAML; delete it"
            return sentence(self.name, problem, self._line_at(error.position))
        assert isinstance(error, yaml.MarkedYAMLError)
        problem, context = error.problem or "", error.context or ""
        mark = error.problem_mark or error.context_mark
        if "'\\t'" in problem:
            problem = "a tab stands where YAML wants spaces; indent with spaces"
        elif "quoted scalar" in context:
            problem, mark = "a quotation mark is opened here and not closed; close it", error.context_mark or mark
        elif "flow" in context:
            problem, mark = f"in the brackets that open here, {problem}; correct them", error.context_mark or mark
        else:
            problem = f"this is no YAML: {problem}; correct the indentation, the colons or the quotation marks there"
        return sentence(self.name, problem, self._line_at(mark.index) if mark else 0)

    def _line(self, event: Any) -> int:
        return self._line_at(event.start_mark.index)

    def _line_at(self, index: int) -> int:
        """The line as editors count; YAML also breaks lines at rarer characters."""
        return 0 if self.above else bisect.bisect_left(self.ends, index) + 1

    def _refuse(self, problem: str, event: Any) -> NoReturn:
        raise ValueError(sentence(self.name, problem, self._line(event)))


def _dotted(key: tuple[str, ...]) -> str:
    return ".".join(key) or "the whole"


def _under(key: tuple[str, ...]) -> str:
    return f" under {_dotted(key)}" if key else ""
