"""What the names in the project's modules denote."""

from pathlib import Path

from brain_diffuser.workflow.code_key.files import Files, Node
from brain_diffuser.workflow.code_key.statements import Import, Reference, Statement

SURROUNDINGS = ("brain_diffuser.workflow.job", "brain_diffuser.workflow.receipts")
"""Modules that surround what a job computes: log file, progress lines, marks and receipts. Values pass through them
unchanged (a test says so), so of them a key has only the names that are used."""

UNCOUNTED = ("__version__",)
"""Names whose values tell what made a result and decide nothing about it."""

OF_MODULES = ("__file__", "__name__", "__package__", "__path__", "__spec__", *UNCOUNTED)
"""What a module tells of itself beside its definitions."""


class Names(Files):
    """Names of modules, followed through imports and other names to the definitions that they stand for."""

    def __init__(self, root: str | Path):
        super().__init__(root)
        self.bindings: dict[str, dict[str, list[int]]] = {}

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
        if first in OF_MODULES:
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

    def _statement(self, where: str, place: int) -> Statement:
        module = self.module(where)
        assert module
        return module.statements[place]

    def runs(self, where: str, statement: Statement) -> list[str | Node]:
        """The modules that a statement imports."""
        of_imports = [each for each in statement.content.references if each.use == "run"]
        return [found for each in of_imports for found in self.resolve(where, each)]
