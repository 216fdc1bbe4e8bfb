"""What pieces of Python's syntax bind, import and denote, each by itself."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from brain_diffuser.workflow.code_key.statements import Import

PROJECT = frozenset(("ast", "dis", "gc", "importlib", "inspect", "linecache", "pkgutil", "runpy", "tokenize"))
HARMLESS = ("importlib.metadata", "importlib.resources", "tokenize.TokenError")
INTROSPECTIVE = frozenset(("__annotations__", "__code__", "__doc__", "__subclasses__", "get_type_hints", "_getframe"))
"""Names by which code reads code: what they are used for cannot be followed, so all of the project counts, word for
word."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPE_STATEMENTS = (ast.Global, ast.Nonlocal)
LEAVES = frozenset((ast.Constant, ast.Load, ast.Store, ast.Del))
"""Nodes with no nodes below."""
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def as_import(name: str) -> Import:
    """A module by its name as a text."""
    return Import(name.lstrip("."), level=len(name) - len(name.lstrip(".")))


JUST_A_NAME = hashlib.sha256(b"<0>").hexdigest()
"""The text of an expression that is a name of the module or of an import and nothing else."""


def below(node: ast.AST) -> list[ast.AST]:
    """The nodes that a node consists of, in the order of `ast.iter_child_nodes`, which takes three times as long."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif type(value) is list:
            found += [part for part in value if isinstance(part, ast.AST)]
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all nodes below it, in the order of `ast.walk`."""
    found = [node]
    for each in found:
        if type(each) not in LEAVES:
            found += below(each)
    return found


def bound_names(body: Iterable[ast.AST]) -> dict[str, list[Import | None]]:
    """The names that statements bind in their own scope."""
    found: dict[str, list[Import | None]] = {}
    elsewhere: set[str] = set()
    waiting = list(body)[::-1]
    while waiting:
        node = waiting.pop()
        if type(node) in LEAVES:
            continue
        children: list[ast.AST] = []
        if isinstance(node, ast.Name):
            if type(node.ctx) is not ast.Load:
                found.setdefault(node.id, []).append(None)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                whole = Import(alias.name if alias.asname else alias.name.partition(".")[0])
                found.setdefault(alias.asname or whole.module, []).append(whole)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                part = Import(node.module or "", alias.name, node.level)
                if alias.name != "*":
                    found.setdefault(alias.asname or alias.name, []).append(part)
        elif isinstance(node, SCOPE_STATEMENTS):
            elsewhere.update(node.names)
        elif isinstance(node, COMPREHENSIONS):
            children = [each for each in walk(node) if isinstance(each, ast.NamedExpr)]
        elif not isinstance(node, ast.Lambda):
            name = getattr(node, "rest" if isinstance(node, ast.MatchMapping) else "name", None)
            if isinstance(name, str):
                found.setdefault(name, []).append(None)
            if isinstance(node, FUNCTIONS):
                children = [*node.decorator_list, *node.args.defaults]
            elif isinstance(node, ast.ClassDef):
                children = [*node.decorator_list, *node.bases]
            else:
                children = below(node)
        waiting += children[::-1]
    return {name: imports for name, imports in found.items() if name not in elsewhere}


def star_imports(body: Iterable[ast.AST]) -> Iterator[Import]:
    """The modules that all names are imported from."""
    for statement in body:
        for node in walk(statement) if not isinstance(statement, FUNCTIONS) else ():
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                yield Import(node.module or "", level=node.level)


def imported(node: ast.AST) -> Iterator[tuple[Import, str]]:
    """What an import statement imports, and as what."""
    if isinstance(node, ast.Import):
        yield from ((Import(alias.name), alias.asname or alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            name = "" if alias.name == "*" else alias.name
            yield Import(node.module or "", name, node.level), alias.asname or name


def only_binds(node: ast.stmt) -> bool:
    """Whether a statement is of a kind that binds names and does nothing else but to evaluate what it binds."""
    if isinstance(node, ast.Assign):
        parts = [part for target in node.targets for part in walk(target)]
        return all(isinstance(part, ast.Name | ast.Tuple | ast.List | ast.Store) for part in parts)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name)
    if isinstance(node, ast.With):  # what its context managers do counts as calls
        return not any(each.optional_vars for each in node.items) and _only_import(node.body)
    if isinstance(node, ast.Try):  # a library, or another if it is not installed
        handled = [statement for handler in node.handlers for statement in handler.body]
        is_for_imports = all(getattr(each.type, "id", "") == "ImportError" for each in node.handlers)
        return is_for_imports and _only_import([*node.body, *handled, *node.orelse, *node.finalbody])
    return isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Pass))


def _only_import(body: Iterable[ast.stmt]) -> bool:
    return all(isinstance(each, ast.Import | ast.ImportFrom) or only_binds(each) for each in body)


def is_text(node: ast.AST) -> bool:
    """A docstring, or another statement that is only a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def is_for_main(node: ast.AST) -> bool:
    """`if __name__ == "__main__":` without an else."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "__name__ == '__main__'"


def is_for_checkers(node: ast.AST) -> TypeGuard[ast.If]:
    """`if TYPE_CHECKING:`"""
    test = node.test if isinstance(node, ast.If) else None
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def split_attributes(node: ast.expr) -> tuple[ast.expr, tuple[str, ...]]:
    """An expression, and the attributes that are read of it in a row."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(attributes[::-1])


def reads_code(node: ast.expr, dotted: str) -> bool:
    """Whether a name with attributes is one by which code reads code."""
    if dotted.startswith(HARMLESS):
        return False
    last = node.attr if isinstance(node, ast.Attribute) else dotted.rpartition(".")[2]
    return last in INTROSPECTIVE or dotted == "sys.modules" or dotted.partition(".")[0] in PROJECT


def texts_of_loop(node: ast.comprehension) -> tuple[str, tuple[str, ...]] | None:
    """A comprehension's name, and the texts that it runs through if they are written down."""
    if not isinstance(node.target, ast.Name) or not isinstance(node.iter, ast.Tuple | ast.List | ast.Set):
        return None
    values = [each.value for each in node.iter.elts if isinstance(each, ast.Constant)]
    texts = tuple(value for value in values if isinstance(value, str))
    return (node.target.id, texts) if len(texts) == len(node.iter.elts) else None
