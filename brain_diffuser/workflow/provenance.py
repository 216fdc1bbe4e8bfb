"""What a job depends on, as values that Snakemake can compare: it looks at a script's date, never at its imports."""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_diffuser.workflow import definitions
from brain_diffuser.workflow.definitions import Expression, Import, Module, Reference, Statement

CACHE = ".snakemake/code_keys.json"
"""Where keys are kept, of the folder in which Snakemake runs."""

SURROUNDINGS = ("brain_diffuser.workflow.job", "brain_diffuser.workflow.receipts")
"""Modules that surround what a job computes: log file, progress lines, marks and receipts. Values pass through them
unchanged (a test says so), so of them a key has only the names that are used."""

UNCOUNTED = ("__version__",)
"""Names whose values tell what made a result and decide nothing about it."""

TOLD = ("__file__", "__name__", "__package__", "__path__", "__spec__", *UNCOUNTED)
"""What a module tells of itself beside its definitions."""

Node = tuple[str, ...]
"""What has a hash of its own: ("statement", module, place), ("name", module, name) for all statements that bind it,
("lookup", module, name) of a dict, with a fourth part if one field of its entries is read, ("import", module) for all
that happens when it is imported, ("whole", module), ("file", path), ("project",). A script is a module whose name is
its path."""

Entries = Mapping[str, str | Iterable[str]]
Active = Mapping[Node, tuple[str, ...]]


def code_key(script: str | Path, root: str | Path, entries: Entries | None = None) -> str:
    """Hash of what a script does, as `Code.key` has it, for who wants no more than one."""
    return Code(root).key(script, entries)


def told(code: "Code", script: str, entries: Entries) -> str:
    """A key that says of which script and of which entries of dicts it is, so that the job can compute it again."""
    return json.dumps([script, dict(entries), code.key(code.root / script, entries)], sort_keys=True)


def renewed(key: str, root: str | Path) -> str:
    """What `told` says of the code as it is now, where it said `key` when a job was planned."""
    script, entries, _ = json.loads(key)
    return told(Code(root, CACHE), script, entries)


def imports(script: str | Path, root: str | Path) -> set[str]:
    """Names of all packages and modules that a script may import, directly or through the modules below `root`."""
    code = Code(root)
    found: set[str] = set()
    waiting = [code.relative(script)]
    while waiting:
        here = waiting.pop()
        module = code.module(here)
        for each in module.imports if module else ():
            parts = ".".join(filter(None, (code.absolute(here, each), each.name))).split(".")
            names = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
            waiting += [name for name in names - found if code.path(name)]
            found |= names
    return found


def stage_config(config: dict, *paths: str) -> dict:
    """The values at dotted paths ("recon", "ridge.alpha.clip_text"), as {path: value} with sorted keys at all levels.

    Raises ValueError: the configuration has no such key.
    """
    return {path: _sorted(_value(config, path)) for path in sorted(paths)}


def _value(config: dict, path: str) -> Any:
    value: Any = config
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"config.yaml has no key {path}; a rule asks for it, so correct the rule or add the key")
        value = value[key]
    return value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


class Code:
    """The code below a folder as it is when it is first asked for.

    Parameters
    ----------
    root : path
        The folder of the project's packages.
    cache : path, optional
        A JSON file that keeps keys for as long as all that they were made of stays the same, to the byte.
    """

    def __init__(self, root: str | Path, cache: str | Path | None = None):
        self.root = Path(root).absolute()
        self.facts: dict[str, str] = {}  # a hash of every file that was read and of every folder that was listed
        self.modules: dict[str, Module | None] = {}
        self.bindings: dict[str, dict[str, list[int]]] = {}
        self.effects_of: dict[str, list[int]] = {}
        self.parts_of: dict[Node, list[str | Node]] = {}
        self.hashes: dict[Node, str] = {}
        self.listings: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self.cache = _Cache(Path(cache), self) if cache else None

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
            _hash(start, lambda node, active=active: self.parts(node, active), hashes)
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

    # Files

    def relative(self, path: str | Path) -> str:
        return Path(os.path.relpath(path, self.root)).as_posix()

    def content(self, path: str) -> bytes:
        content = self.root.joinpath(path).read_bytes()
        self.facts[path] = hashlib.sha256(content).hexdigest()
        return content

    def listing(self, folder: str) -> tuple[frozenset[str], frozenset[str]]:
        """Files and folders in a folder; of the root's folders those that hold Python files."""
        if folder not in self.listings:
            files, folders = set(), set()
            with os.scandir(self.root / folder) as entries:
                for each in entries:
                    if each.is_file():
                        files.add(each.name)
                    elif not each.name.startswith((".", "__pycache__")) and (folder or _has_python(each.path)):
                        folders.add(each.name)
            files = {name for name in files if folder or name.endswith(".py")}
            self.listings[folder] = frozenset(files), frozenset(folders)
            self.facts[f"{folder}/"] = hashlib.sha256(repr((sorted(files), sorted(folders))).encode()).hexdigest()
        return self.listings[folder]

    def is_folder(self, path: str) -> bool:
        above, _, name = path.rpartition("/")
        return (not above or self.is_folder(above)) and name in self.listing(above)[1]

    def path(self, name: str) -> str | None:
        """The file of a project's module, a package or a script."""
        if name.endswith(".py"):
            return name
        path = name.replace(".", "/")
        above, _, last = path.rpartition("/")
        if above and not self.is_folder(above):
            return None
        if last in self.listing(above)[1] and "__init__.py" in self.listing(path)[0]:
            return f"{path}/__init__.py"
        return f"{path}.py" if f"{last}.py" in self.listing(above)[0] else None

    def module(self, name: str) -> Module | None:
        if name not in self.modules:
            path = self.path(name)
            self.modules[name] = _read(self.content(path), name == path) if path else None
        return self.modules[name]

    def data(self, module: str, constants: Iterable[str]) -> Iterator[Node]:
        """The files, and those in folders, that lie beside a module under these names."""
        folder = (self.path(module) or "").rpartition("/")[0]
        for name in constants:
            first = name.partition("/")[0]
            if folder and first in self.listing(folder)[0] | self.listing(folder)[1]:
                yield from (("file", path) for path in self.below(os.path.normpath(f"{folder}/{name}")))

    def below(self, path: str) -> Iterator[str]:
        """A file, or all files of a folder that is no package; none of Python."""
        above, _, name = path.rpartition("/")
        if name in self.listing(above)[0] and not name.endswith(".py"):
            yield path
        elif self.is_folder(path) and not any(each.endswith(".py") for each in self.listing(path)[0]):
            files, folders = self.listing(path)
            for each in sorted(files | folders):
                yield from self.below(f"{path}/{each}")

    # What names denote

    def absolute(self, where: str, imported: Import) -> str:
        """The full name of the module that is imported from."""
        if not imported.level:
            return imported.module
        is_package = (self.path(where) or "").endswith("__init__.py")
        package = where.split(".")[: len(where.split(".")) + is_package - imported.level]
        return ".".join([*package, *filter(None, [imported.module])])

    def resolve(self, where: str, reference: Reference, seen: tuple[Node, ...] = ()) -> list[str | Node]:
        """What a reference in a module denotes: nodes, and texts of which no more is known than the name."""
        root, attributes, use = reference
        if use == "own":
            return [("whole", where)]
        if use == "project":
            packages = self.listing("")[1]
            is_ours = any(each.startswith(str(root)) or str(root).startswith(f"{each}.") for each in packages)
            return [("project",)] if is_ours else []
        if isinstance(root, str):
            return self.named(where, root, attributes, use, seen)
        base = self.absolute(where, root)
        if use == "run":
            return [("import", name) for name in (base, f"{base}.{root.name}") if self.path(name)]
        return self.attribute(base, (*filter(None, [root.name]), *attributes), use, seen)

    def named(
        self, where: str, name: str, attributes: tuple[str, ...], use: str, seen: tuple[Node, ...] = ()
    ) -> list[str | Node]:
        """What a name of a module denotes, with attributes of it."""
        module, here = self.module(where), (where, name)
        if not module or name in UNCOUNTED or here in seen:
            return [".".join((name, *attributes))]
        seen = (*seen, here)
        found: list[str | Node] = []
        places = self.places(where, name)
        statements = [module.statements[place] for place in places]
        for imported in dict.fromkeys(each for one in statements for bound, each in one.imports if bound == name):
            found += self.resolve(where, Reference(imported, attributes, use), seen)
        others = [each for each in statements if name not in dict(each.imports) or each.is_noisy]
        alias = self.alias(where, places[0]) if len(statements) == len(others) == 1 else None
        if alias:
            return self.resolve(where, alias._replace(attributes=(*alias.attributes, *attributes), use=use), seen)
        if (
            use.startswith("lookup")
            and not attributes
            and len(statements) == 1
            and others
            and others[0].entries is not None
        ):
            return [("lookup", where, name, *use.split()[1:])]
        if others:
            found += [("name", where, name), *attributes]
        for star in (star for one in module.statements for star in one.stars):
            source = self.absolute(where, star)
            if self.path(source) and source not in SURROUNDINGS:
                found += self.named(source, name, attributes, use, seen) if self.provides(source, name) else []
        return found or [".".join((name, *attributes))]

    def alias(self, where: str, place: int) -> Reference | None:
        """What a statement only gives another name to, if that denotes the same before, then and after."""
        module, statement = self.module(where), self._statement(where, place)
        if not module or not statement.alias or statement.is_noisy or len(statement.names) > 1:
            return None
        root, before, after = statement.alias.root, module.statements[:place], module.statements[place + 1 :]
        is_moved = any(each.is_noisy or each.calls for each in before) or any(self.runs(where, each) for each in after)
        is_moved = is_moved or (isinstance(root, str) and len(self.places(where, root)) > 1)
        return None if is_moved else statement.alias

    def provides(self, where: str, name: str, seen: tuple[str, ...] = ()) -> bool:
        """Whether a module has a name, of its own or by importing all of another's."""
        module = self.module(where)
        stars = [self.absolute(where, star) for one in module.statements for star in one.stars] if module else []
        others = [each for each in stars if each not in (*seen, where)]
        return bool(self.places(where, name)) or any(self.provides(each, name, (*seen, where)) for each in others)

    def attribute(
        self, name: str, attributes: tuple[str, ...], use: str, seen: tuple[Node, ...] = ()
    ) -> list[str | Node]:
        """What attributes of a module denote; the module itself, if there are none, counts whole."""
        if name in SURROUNDINGS:
            return [".".join(("surroundings", *attributes))]
        module = self.module(name)
        if not module and not (attributes and self.is_folder(name.replace(".", "/"))):
            return [".".join((name, *attributes))]
        if not attributes:
            return [("whole", name)]
        first, *others = attributes
        found: list[str | Node] = []
        if module and self.provides(name, first):
            found += self.named(name, first, tuple(others), use, seen)
        inner = f"{name}.{first}"
        if self.path(inner) or self.is_folder(inner.replace(".", "/")):
            found += [("import", inner), *self.attribute(inner, tuple(others), use, seen)]
        if found or not module:
            return found or [".".join((name, *attributes))]
        if first in TOLD:
            return [".".join(attributes)]
        return [("name", name, "__getattr__") if self.places(name, "__getattr__") else ("whole", name), *attributes]

    def places(self, where: str, name: str) -> list[int]:
        """The statements of a module that bind a name."""
        if where not in self.bindings:
            module = self.module(where)
            found: dict[str, list[int]] = {}
            for place, statement in enumerate(module.statements if module else ()):
                for bound in statement.names:
                    found.setdefault(bound, []).append(place)
            self.bindings[where] = found
        return self.bindings[where].get(name, [])

    # What happens while a module is imported

    def effects(self, where: str) -> list[int]:
        """The statements of a module that may do more than to bind names."""
        if where not in self.effects_of:
            module = self.module(where)
            places = range(len(module.statements) if module else 0)
            self.effects_of[where] = [place for place in places if self.is_effect(where, place)]
        return self.effects_of[where]

    def is_effect(self, where: str, place: int) -> bool:
        statement = self._statement(where, place)
        calls = (self.resolve(where, each) for each in statement.calls)
        return (
            statement.is_noisy
            or not all(len(found) == 1 and self.is_record(found[0]) for found in calls)
            or any(self.is_hooked(found) for each in statement.bases for found in self.resolve(where, each))
        )

    def is_record(self, node: str | Node, seen: tuple[Node, ...] = ()) -> bool:
        """Whether a node is a class that runs no code of the project when an instance is made."""
        if isinstance(node, str):
            return bool(seen)  # a library's base class, but no library's function
        classes = [self._statement(node[1], place) for place in self.places(*node[1:])] if node[0] == "name" else []
        if len(classes) != 1 or node in seen or not classes[0].is_class or classes[0].constructors:
            return False
        bases = (found for each in classes[0].bases for found in self.resolve(node[1], each))
        return all(self.is_record(each, (*seen, node)) for each in bases)

    def is_hooked(self, node: str | Node, seen: tuple[Node, ...] = ()) -> bool:
        """Whether a class that is derived from a node runs code of the project."""
        if isinstance(node, str) or node[0] != "name" or node in seen:
            return not isinstance(node, str) and node not in seen
        classes = [self._statement(node[1], place) for place in self.places(*node[1:])]
        bases = [found for one in classes for each in one.bases for found in self.resolve(node[1], each)]
        return any(
            "__init_subclass__" in each.constructors or each.is_noisy or not each.is_class for each in classes
        ) or any(self.is_hooked(each, (*seen, node)) for each in bases)

    def _statement(self, where: str, place: int) -> Statement:
        module = self.module(where)
        assert module
        return module.statements[place]

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
        is_name = field and entry.text == definitions.JUST_A_NAME
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

    def runs(self, where: str, statement: Statement) -> list[str | Node]:
        """The modules that a statement imports."""
        of_imports = [each for each in statement.content.references if each.use == "run"]
        return [found for each in of_imports for found in self.resolve(where, each)]

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


class _Cache:
    """Keys in a JSON file, with the hash of every file and folder that they were made of.

    What it cannot read it takes for empty, and what it cannot write it leaves: a cache may be lost at any time.
    """

    def __init__(self, path: Path, code: Code):
        self.path, self.code = path, code
        self.keys: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        self.made_by = [_own_hash(), str(code.root), ".".join(map(str, sys.version_info[:3]))]
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["made_by"] == self.made_by and self.holds(kept["facts"]):
                self.keys, self.facts = dict(kept["keys"]), dict(kept["facts"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether files and folders are as they were."""
        for path in facts:
            self.code.listing(path[:-1]) if path.endswith("/") else self.code.content(path)
            if self.code.facts[path] != facts[path]:
                return False
        return True

    def keep(self, name: str, key: str) -> None:
        """Write a key and what it was made of; another process may do so at the same time, and the last one stays."""
        self.keys[name] = key
        kept = {"made_by": self.made_by, "facts": self.facts | self.code.facts, "keys": self.keys}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            partial.write_text(json.dumps(kept), encoding="utf-8")
            os.replace(partial, self.path)
        except OSError:
            return


def _hash(start: Node, parts: Any, hashes: dict[Node, str]) -> None:
    """Give a node and all that it reaches their hashes; what reaches each other is hashed together (Tarjan 1972)."""
    order: dict[Node, int] = {}
    lowest: dict[Node, int] = {}
    stack: list[Node] = []
    path: list[tuple[Node, Iterator[str | Node]]] = []

    def enter(node: Node) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        path.append((node, iter(parts(node))))

    if start not in hashes:
        enter(start)
    while path:
        node, others = path[-1]
        for other in others:
            if isinstance(other, str) or other in hashes:
                continue
            if other not in order:
                enter(other)
                break
            lowest[node] = min(lowest[node], order[other])
        else:
            path.pop()
            if path:
                lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
            if lowest[node] == order[node]:
                circle = [stack.pop()]
                while circle[-1] != node:
                    circle.append(stack.pop())
                hashes |= _hash_circle(circle, parts, hashes)


def _hash_circle(circle: list[Node], parts: Any, hashes: Mapping[Node, str]) -> dict[Node, str]:
    """Hashes of nodes that reach each other, in which only what they are counts: each round tells one step further."""
    found = dict.fromkeys(circle, "")
    for _ in circle:
        found = {node: _of_parts(node, parts(node), found, hashes) for node in circle}
    return found


def _of_parts(node: Node, parts: Iterable[str | Node], *known: Mapping[Node, str]) -> str:
    """The hash of a node; nothing for a module that does nothing when it is imported."""
    words = [
        part if isinstance(part, str) else next(hashes[part] for hashes in known if part in hashes) for part in parts
    ]
    words = [word for word in words if word]
    if node[0] == "whole":
        words.sort()
    if not words and node[0] == "import":
        return ""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def _has_python(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(each.name.endswith(".py") for each in entries)
    except OSError:
        return False


def _own_hash() -> str:
    """Of the program that makes keys."""
    paths = (Path(__file__), Path(definitions.__file__))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


_read = functools.cache(definitions.read)
