"""The key of a job's code: a hash of a script and of all definitions that it reaches by names."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from brain_diffuser.workflow.code_key import syntax
from brain_diffuser.workflow.code_key.files import Node
from brain_diffuser.workflow.code_key.hashing import hash_reachable
from brain_diffuser.workflow.code_key.importing import Effects
from brain_diffuser.workflow.code_key.kept_keys import KeyCache
from brain_diffuser.workflow.code_key.resolving import SURROUNDINGS
from brain_diffuser.workflow.code_key.statements import Expression, Module, Reference

Entries = Mapping[str, str | Iterable[str]]
Active = Mapping[Node, tuple[str, ...]]


class Code(Effects):
    """The code below a folder as it is when it is first asked for.

    Parameters
    ----------
    root : path
        The folder of the project's packages.
    cache : path, optional
        A JSON file that keeps keys for as long as all that they were made of stays the same, to the byte. What
        `save` keeps lies beside it.
    """

    def __init__(self, root: str | Path, cache: str | Path | None = None):
        super().__init__(root)
        self.parts_of: dict[Node, list[str | Node]] = {}
        self.hashes: dict[Node, str] = {}
        self.cache = KeyCache(Path(cache), self) if cache else None

    def read(self, content: bytes, is_main: bool) -> Module:
        return self.cache.modules.read(content, is_main) if self.cache else super().read(content, is_main)

    def save(self) -> None:
        """Keep what was read of files, for the next start after one of them is edited."""
        if self.cache:
            self.cache.modules.save()

    def key(self, script: str | Path, entries: Entries | None = None) -> str:
        """Hash of what a script does: of its statements and of all definitions that they reach by names.

        A definition is known by its content and that of what it reaches, not by its module. Docstrings, comments,
        layout, types of arguments and variables, and the sentences of errors and log lines do not count. What cannot be
        followed counts whole: docs/decisions.md, 2026-11-29, says what does, and where this ends.

        Parameters
        ----------
        script : path
            A Python file that runs as a program.
        entries : {"package.module.NAME": key or keys}, optional
            Dicts of which the job uses these entries alone. A dict counts whole nevertheless where something reached
            does anything else with it than NAME[...] and ... in NAME.

        Raises
        ------
        ValueError
            `entries` names something else than a module's dict whose keys are texts.
        """
        wanted = {
            name: [keys] if isinstance(keys, str) else sorted(set(keys)) for name, keys in (entries or {}).items()
        }
        path = self.relative(script)
        name = json.dumps([path, wanted], sort_keys=True)
        known = self.cache.keys.get(name) if self.cache else None
        if known:
            return known
        found = self._key(path, wanted)
        if self.cache:
            self.cache.keep(name, found)
        return found

    def _key(self, script: str, wanted: Mapping[str, list[str]]) -> str:
        start = ("import", script)
        active = {self._registry(name): tuple(keys) for name, keys in wanted.items()}
        while True:
            hashes = {} if active else self.hashes
            hash_reachable(start, lambda node, active=active: self.parts(node, active), hashes)
            refused = [each for each in active if ("name", *each[1:]) in hashes or ("whole", each[1]) in hashes]
            if not refused:
                return hashes[start][:16]
            active = {each: keys for each, keys in active.items() if each not in refused}

    def _registry(self, name: str) -> Node:
        """A dict that is given by its full name."""
        module, _, attribute = name.rpartition(".")
        found = self.attribute(module, (attribute,), "lookup") if self.module(module) else []
        if len(found) != 1 or found[0][0] != "lookup" or isinstance(found[0], str):
            raise ValueError(f"{name} is no dict at the top of a module whose keys are texts; correct the entries")
        return found[0]

    # What a node consists of

    def parts(self, node: Node, active: Active) -> list[str | Node]:
        """Texts and nodes that make a node what it is."""
        if node[:3] in active:
            return self.entries(node, active[node[:3]])
        if node not in self.parts_of:
            kind, *where = node
            self.parts_of[node] = getattr(self, f"_{kind}_parts")(*where)
        return self.parts_of[node]

    def entries(self, node: Node, keys: Iterable[str]) -> list[str | Node]:
        """Some entries of a dict."""
        (place,) = self.places(node[1], node[2])
        known = self._statement(node[1], place).entries or {}
        found: list[str | Node] = list(self.position(node[1], place))
        for key in keys:
            found += [repr(key), *(self.field(node, place, known[key]) if key in known else ["absent"])]
        return found

    def field(self, node: Node, place: int, entry: Expression) -> Iterator[str | Node]:
        """The one field that is read of an entry, if the entry is the name of a record that says it; else the entry."""
        where, field = node[1], "".join(node[3:])
        is_name = field and entry.text == syntax.JUST_A_NAME
        found = self.resolve(where, entry.references[0]) if is_name else []
        records = [each for each in found if each[0] == "name"]
        if len(records) == 1 and self.is_named_tuple(*records[0][1:]):
            module, name = records[0][1:]
            (there,) = self.places(module, name)
            arguments = self._statement(module, there).arguments or {}
            if field in arguments:
                yield from (each for each in found if each[0] == "import")
                yield from self.expression(module, there, arguments[field])
                return
        yield from self.expression(where, place, entry)

    def is_named_tuple(self, where: str, name: str) -> bool:
        """Whether a name stands for one instance of a typing.NamedTuple, whose fields are its arguments."""
        places = self.places(where, name)
        calls = self._statement(where, places[0]).calls if len(places) == 1 else ()
        made_by = [found for each in calls[:1] for found in self.resolve(where, each)]
        if len(made_by) != 1 or isinstance(made_by[0], str) or made_by[0][0] != "name":
            return False
        classes = [self._statement(made_by[0][1], place) for place in self.places(*made_by[0][1:])]
        bases = [found for each in classes for base in each.bases for found in self.resolve(made_by[0][1], base)]
        return len(classes) == 1 and bases == ["typing.NamedTuple"]

    def expression(self, where: str, place: int, expression: Expression) -> Iterator[str | Node]:
        """An expression of a statement; names that are bound repeatedly count with their place among the bindings."""
        yield expression.text
        is_eager = self._statement(where, place).is_eager
        for reference in expression.references:
            yield "|"
            yield from self.resolve(where, reference)
            bindings = self.places(where, reference.root) if isinstance(reference.root, str) and is_eager else []
            if len(bindings) > 1:
                yield f"after {sum(each < place for each in bindings)} bindings"
        yield from self.data(where, expression.constants)

    def position(self, where: str, place: int) -> Iterator[str]:
        """Where among the effects of its module a statement stands, if that can matter."""
        module = self.module(where)
        if module and self._statement(where, place).is_eager:
            before = sum(each < place for each in self.effects(where))
            after = sum(bool(self.runs(where, each)) for each in module.statements[place + 1 :])
            yield from [f"after {before} effects, before {after} imports"] if before or after else []

    def _statement_parts(self, where: str, place: str) -> list[str | Node]:
        content = self._statement(where, int(place)).content
        return [*self.position(where, int(place)), *self.expression(where, int(place), content)]

    def _name_parts(self, where: str, name: str) -> list[str | Node]:
        return [("statement", where, str(place)) for place in self.places(where, name)]

    def _lookup_parts(self, where: str, name: str, field: str = "") -> list[str | Node]:
        return [("name", where, name)]

    def _import_parts(self, where: str) -> list[str | Node]:
        """What happens: that of the packages around first, then imports and effects in the order of the module."""
        module, above = self.module(where), where.rpartition(".")[0]
        found: list[str | Node] = [("import", above)] if above and not where.endswith(".py") else []
        if not module or where in SURROUNDINGS:
            return []
        effects = self.effects(where)
        for place, statement in enumerate(module.statements):
            found += self.runs(where, statement)
            if place in effects:
                found.append(("statement", where, str(place)))
            for bound, imported in statement.imports:
                package = imported.module.partition(".")[0]
                is_library = not imported.level and package not in sys.stdlib_module_names and not self.path(package)
                if is_library and bound not in module.names:
                    found.append(f"import {imported.module}")  # for what it does
        return found

    def _whole_parts(self, where: str) -> list[str | Node]:
        module = self.module(where)
        found: list[str | Node] = [("import", where)]
        for place, statement in enumerate(module.statements if module else ()):
            found.append(("statement", where, str(place)))
            for _, imported in statement.imports:
                found += self.resolve(where, Reference(imported))
        path = self.path(where) or ""
        if path.endswith("/__init__.py"):
            files, folders = self.listing(path.rpartition("/")[0])
            inner = {f"{where}.{each.removesuffix('.py')}" for each in files | folders if each != "__init__.py"}
            found += [("whole", each) for each in sorted(inner) if self.path(each)]
        return found

    def _file_parts(self, path: str) -> list[str | Node]:
        self.content(path)
        return [self.facts[path]]

    def _project_parts(self) -> list[str | Node]:
        found: list[str | Node] = []
        waiting = [each for each in sorted(self.listing("")[1]) if "__init__.py" in self.listing(each)[0]]
        while waiting:
            folder = waiting.pop()
            files, folders = self.listing(folder)
            waiting += [f"{folder}/{each}" for each in sorted(folders)]
            found += [("file", f"{folder}/{each}") for each in sorted(files) if each.endswith(".py")]
        return found
