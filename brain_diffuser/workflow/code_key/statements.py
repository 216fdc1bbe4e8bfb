"""A module's statements as the key of a job knows them: what each does, and the names that it reads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Import(NamedTuple):
    """A module, or with a `name` something inside of one; `level` counts the dots before a relative name."""

    module: str
    name: str = ""
    level: int = 0


class Reference(NamedTuple):
    """A name of the module or an import, and the attributes that are read of it in a row.

    `use`: "value"; "lookup" if no more is done than NAME[...] or ... in NAME, and "lookup write" if that is
    NAME[...].write; "run" if a module is imported and nothing read of it; "own" for the whole module that the reference
    stands in; "project" for all modules.
    """

    root: str | Import
    attributes: tuple[str, ...] = ()
    use: str = "value"


class Expression(NamedTuple):
    """A hash of what is written, with references as their places in a list; the list; texts that may name files."""

    text: str
    references: tuple[Reference, ...]
    constants: tuple[str, ...]


class Statement(NamedTuple):
    """A statement at the top of a module."""

    names: tuple[str, ...]
    """What it binds."""
    imports: tuple[tuple[str, Import], ...]
    """What it binds by import."""
    content: Expression
    is_noisy: bool
    """Whether running it does more than to bind names, as far as it alone can tell."""
    calls: tuple[Reference, ...]
    """What is called while it runs, where only the project knows whether that leaves traces."""
    bases: tuple[Reference, ...]
    """The base classes of a class."""
    constructors: tuple[str, ...]
    """The methods of a class that run when one is made or derived."""
    is_eager: bool
    """Whether it reads other names while the module is imported, so that its place among others matters."""
    entries: Mapping[str, Expression] | None
    """Of `NAME = {"key": ...}`: every value."""
    arguments: Mapping[str, Expression] | None
    """Of `NAME = Record(argument=...)` with no other arguments: every value."""
    alias: Reference | None
    """Of `NAME = other.name`: what it stands for."""
    stars: tuple[Import, ...]
    """What it imports all names from."""
    is_class: bool


class Module(NamedTuple):
    """The statements of a module in order, all that any line of it imports, and the names that any line reads."""

    statements: tuple[Statement, ...]
    imports: tuple[Import, ...]
    names: frozenset[str]


Scope = Mapping[str, Sequence[Import | None]]
"""Names that are bound, each with the imports that bind it and None for whatever else does."""
