"""A module's source as statements: what each does, without the words that are for people, and the names that it reads.

Nothing here knows other modules; `provenance` says what the names denote.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeGuard

QUIET_BUILTINS = frozenset(
    "abs bool bytes chr classmethod complex dict divmod enumerate filter float frozenset getattr hasattr hash int "
    "isinstance issubclass len list map max min object ord pow property range repr reversed round set slice sorted "
    "staticmethod str sum super tuple type zip".split()
)
QUIET_CALLS = frozenset(
    "abc.abstractmethod collections.Counter collections.OrderedDict collections.defaultdict collections.namedtuple "
    "contextlib.contextmanager dataclasses.dataclass dataclasses.field functools.cache functools.cached_property "
    "functools.lru_cache functools.partial functools.wraps itertools.chain jaxtyping.jaxtyped logging.getLogger "
    "numpy.array numpy.float32 operator.attrgetter operator.itemgetter pathlib.Path pathlib.PurePath "
    "pydantic.ConfigDict pydantic.Field pydantic.field_validator pydantic.model_validator re.compile "
    "torch.inference_mode torch.no_grad types.MappingProxyType typing.NewType typing.TypeVar typing.overload".split()
)
QUIET_METHODS = frozenset(
    "copy encode format items join joinpath keys lower partition replace resolve rsplit split strip title upper values "
    "with_name with_suffix".split()
)
"""What may be called while a module is imported without a trace in anything but the name that is bound."""

LOGGING = frozenset("debug info warning error exception critical log".split())
OWN_MODULE = frozenset(("globals", "eval", "exec", "compile"))
PROJECT = frozenset(("ast", "dis", "gc", "importlib", "inspect", "linecache", "pkgutil", "runpy", "tokenize"))
HARMLESS = ("importlib.metadata", "importlib.resources")
INTROSPECTIVE = frozenset(("__annotations__", "__code__", "__doc__", "__subclasses__", "get_type_hints", "_getframe"))
"""Names by which code reads code: what they are used for cannot be followed, so all of the project counts, word for
word; of those in OWN_MODULE, the module that they stand in."""

IMPORTERS = ("importlib.import_module", "__import__")
CONSTRUCTORS = frozenset(("__new__", "__init__", "__post_init__", "__init_subclass__", "__set_name__", "__call__"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
NO_MEANING = ("ctx", "kind", "type_comment", "type_ignores", "type_params")


class Import(NamedTuple):
    """A module, or with a `name` something inside of one; `level` counts the dots before a relative name."""

    module: str
    name: str = ""
    level: int = 0


class Reference(NamedTuple):
    """A name of the module or an import, and the attributes that are read of it in a row.

    `use`: "value"; "lookup" if no more is done than NAME[...] or ... in NAME, "lookup write" if it is NAME[...].write;
    "run" if a module is imported and nothing read of it; "own" for the whole module that the reference stands in;
    "project" for all modules.
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


def read(source: bytes, is_main: bool = False) -> Module:
    """The statements of a module; of a script (`is_main`) those below `if __name__ == "__main__"` too."""
    tree = ast.parse(source)
    bound, stars = _bound(tree.body), any(_stars(tree.body))
    statements = [
        _Reader(bound, stars).statement(node)
        for node in tree.body
        if not _is_text(node)
        and not (_is_for_checkers(node) and not node.orelse)
        and (is_main or not _is_for_main(node))
    ]
    imports = dict.fromkeys(each for node in ast.walk(tree) for each, _ in _imported(node))
    names = (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return Module(tuple(statements), tuple(imports), frozenset(names))


Scope = Mapping[str, Sequence[Import | None]]
"""Names that are bound, each with the imports that bind it and None for whatever else does."""


class _Reader:
    """Writes down what one statement does and collects what it reads."""

    def __init__(self, bound: Scope, has_stars: bool):
        self.bound, self.has_stars = bound, has_stars
        self.words: list[str] = []
        self.references: dict[Reference, int] = {}
        self.scopes: list[tuple[Scope, Mapping[str, tuple[str, ...]]]] = []  # names, and texts that some run through
        self.sentences: list[frozenset[str]] = []  # variables of the functions around that only errors tell
        self.constants: dict[str, None] = {}
        self.calls: list[Reference] = []
        self.field = ""  # the attribute that is read of what is looked up next
        self.is_noisy = self.is_eager = self.is_in_class = False
        self.depth = 0  # of functions around: what stands in one does not run while the module is imported

    def statement(self, node: ast.stmt) -> Statement:
        names, stars = _bound([node]), tuple(_stars([node]))
        imported = [(name, each) for name, found in names.items() for each in found if each]
        entries, arguments, alias, a_class = None, None, None, node if isinstance(node, ast.ClassDef) else None
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.run(node)
        else:
            self.is_noisy = not _only_binds(node)
            self.visit(node)
        if len(names) == 1 and value:
            alias = next(iter(self.denoted(value)), None)
            if isinstance(value, ast.Dict):
                entries = self.entries(value)
            if isinstance(value, ast.Call) and not value.args and all(each.arg for each in value.keywords):
                arguments = {str(each.arg): self.apart(each.value) for each in value.keywords}
        return Statement(
            tuple(names),
            tuple(imported),
            self.expression(),
            self.is_noisy,
            tuple(self.calls),
            tuple(each for base in a_class.bases for each in self.denoted(base)) if a_class else (),
            tuple(each for each in _bound(a_class.body) if each in CONSTRUCTORS) if a_class else (),
            self.is_eager,
            entries,
            arguments,
            alias,
            stars,
            a_class is not None,
        )

    def expression(self) -> Expression:
        text = hashlib.sha256("\0".join(self.words).encode(errors="surrogatepass")).hexdigest()
        return Expression(text, tuple(self.references), tuple(self.constants))

    def entries(self, node: ast.Dict) -> dict[str, Expression] | None:
        """The values of a dict whose keys are different texts."""
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
        if len(set(keys)) < len(node.keys):
            return None
        return {key: self.apart(value) for key, value in zip(keys, node.values, strict=True)}

    def apart(self, node: ast.expr) -> Expression:
        """A part of the statement by itself."""
        reader = _Reader(self.bound, self.has_stars)
        reader.visit(node)
        return reader.expression()

    # What is written down

    def visit(self, node: Any) -> None:
        """Write down a node, a list of them, or a value."""
        if isinstance(node, list):
            self.words.append("[")
            for each in node:
                self.visit(each)
            self.words.append("]")
        elif isinstance(node, ast.AST):
            special = getattr(self, f"visit_{type(node).__name__}", None)
            if special:
                special(node)
            else:
                self.generic(node)
        else:
            self.words.append(repr(node))

    def generic(self, node: ast.AST, without: tuple[str, ...] = ()) -> None:
        self.words.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in NO_MEANING and name not in without and value is not None and value != []:
                self.words.append(name)
                self.visit(value)
        self.words.append(")")

    def visit_Constant(self, node: ast.Constant) -> None:
        self.words.append(repr(node.value))
        if isinstance(node.value, str) and 0 < len(node.value) <= 200 and node.value.isprintable():
            self.constants[node.value] = None

    def visit_Expr(self, node: ast.Expr) -> None:
        if _is_text(node):
            return
        call = node.value
        if isinstance(call, ast.Call) and self.is_log(call.func):
            self.call(call, self.values)
        else:
            self.generic(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and self.sentences and target.id in self.sentences[-1]:
            self.words.append(target.id)
            self.values(node.value)
        else:
            self.generic(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.words.append("Raise(")
        if isinstance(node.exc, ast.Call):
            self.call(node.exc, lambda sentence: None)  # what it tells is told to nobody who goes on
        else:
            self.visit(node.exc)
        self.visit(node.cause)
        self.words.append(")")

    def visit_Assert(self, node: ast.Assert) -> None:
        self.generic(node, without=("msg",) if node.msg and _is_sentence(node.msg) else ())

    def visit_If(self, node: ast.If) -> None:
        if _is_for_checkers(node):
            self.visit(node.orelse)
        else:
            self.generic(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.is_in_class:
            self.generic(node)
        elif node.value is not None:
            self.visit(ast.Assign([node.target], node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.decorate(node.decorator_list)
        if not self.depth and any(keyword.arg == "metaclass" for keyword in node.keywords):
            self.is_noisy = self.is_noisy or not all(
                self.external(keyword.value) == "abc.ABCMeta" for keyword in node.keywords if keyword.arg == "metaclass"
            )
        before, self.is_in_class = self.is_in_class, True
        self.generic(node, without=("decorator_list",))
        self.is_in_class = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.words += [f"{type(node).__name__}(", node.name]
        is_known = self.decorate(node.decorator_list)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        if not is_known:  # a decorator may read the types of arguments
            self.visit([each.annotation for each in every if each] + [node.returns])
        with self.function(arguments, node.body):
            self.visit(node.body)
        self.words.append(")")

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.words.append("Lambda(")
        with self.function(node.args, []):
            self.visit(node.body)
        self.words.append(")")

    @contextmanager
    def function(self, arguments: ast.arguments, body: list[ast.stmt]) -> Iterator[None]:
        """Write down the arguments; what follows is inside of the function."""
        kinds = (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg])
        names = [[each.arg for each in kind if each] for kind in kinds]
        self.words.append(repr(names))
        self.visit(arguments.defaults)
        self.visit(arguments.kw_defaults)
        before, self.is_in_class = self.is_in_class, False
        self.depth += 1
        self.scopes.append(({name: [None] for kind in names for name in kind} | _bound(body), {}))
        self.sentences.append(_sentences(body) - {name for kind in names for name in kind})
        yield
        self.sentences.pop()
        self.scopes.pop()
        self.depth -= 1
        self.is_in_class = before

    def comprehension(self, node: Any) -> None:
        self.words.append(f"{type(node).__name__}(")
        first, *others = node.generators
        self.visit(first.iter)  # the only part that does not see the names of the comprehension
        loops = dict(filter(None, map(_texts_of_loop, node.generators)))
        self.scopes.append((_bound(each.target for each in node.generators), loops))
        self.visit([first.target, first.ifs, first.is_async])
        for each in others:
            self.visit([each.target, each.iter, each.ifs, each.is_async])
        self.visit([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self.scopes.pop()
        self.words.append(")")

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.run(node)

    visit_ImportFrom = visit_Import

    def run(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import runs a module; of a library that is not Python's own, that counts where nobody reads the name."""
        for each, name in _imported(node):
            self.add(Reference(each, use="run"))
            is_library = not each.level and each.module.partition(".")[0] not in sys.stdlib_module_names
            if self.scopes and is_library and name:
                self.words.append(f"import {each.module}")

    def visit_Name(self, node: ast.Name) -> None:
        self.chain(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        is_field = isinstance(node.value, ast.Subscript) and isinstance(node.ctx, ast.Load)
        self.field = node.attr if is_field else ""
        self.chain(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        field, self.field = self.field, ""
        if self.external(node.value) == "sys.modules":
            self.module_by_name(node.slice)
            return
        self.words.append("Subscript(")
        self.chain(node.value, f"lookup {field}".strip() if isinstance(node.ctx, ast.Load) else "value")
        self.visit(node.slice)
        self.words.append(")")

    def visit_Compare(self, node: ast.Compare) -> None:
        self.words.append("Compare(")
        self.visit(node.left)
        for operator, other in zip(node.ops, node.comparators, strict=True):
            self.words.append(type(operator).__name__)
            is_membership = isinstance(operator, ast.In | ast.NotIn)
            if is_membership and self.external(other) == "sys.modules":
                self.words.append("sys.modules")
            else:
                self.chain(other, "lookup" if is_membership else "value")
        self.words.append(")")

    def visit_Call(self, node: ast.Call) -> None:
        called = self.external(node.func)
        if not self.depth:
            self.note_call(node.func)
        if called in IMPORTERS and node.args:
            self.module_by_name(node.args[0])
        elif called in ("vars", "locals", "dir") and not node.args and not self.depth:
            self.add(Reference("", use="own"))
        elif called == "getattr" and len(node.args) > 1 and self.texts(node.args[1]):
            for name in self.texts(node.args[1]):
                self.chain(ast.Attribute(node.args[0], name, ast.Load()))
            self.visit(node.args[1:])
        elif called == "warnings.warn":
            self.call(node, self.values)
        else:
            self.generic(node)

    def call(self, node: ast.Call, sentence: Callable[[ast.expr], None]) -> None:
        """A call whose arguments may be sentences, which are dealt with otherwise."""
        if not self.depth:
            self.note_call(node.func)
        self.words.append("Call(")
        self.visit(node.func)
        for argument in [*node.args, *node.keywords]:
            value = argument.value if isinstance(argument, ast.keyword) else argument
            (sentence if _is_sentence(value) else self.visit)(value)
        self.words.append(")")

    def values(self, node: ast.expr) -> None:
        """The values that a sentence tells, without its words."""
        if isinstance(node, ast.JoinedStr):
            self.visit([each.value for each in node.values if isinstance(each, ast.FormattedValue)])
        elif isinstance(node, ast.BinOp):
            self.values(node.left)
            self.values(node.right)
        elif isinstance(node, ast.IfExp):
            self.visit(node.test)
            self.values(node.body)
            self.values(node.orelse)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_sentence(node.func.value):
            self.values(node.func.value)
            self.visit([node.args, node.keywords])
        elif not isinstance(node, ast.Constant):
            self.visit(node)

    def decorate(self, decorators: list[ast.expr]) -> bool:
        """Write down decorators; whether all are known to leave no trace and to read no types."""
        known = True
        for each in decorators:
            self.visit(each)
            called = each.func if isinstance(each, ast.Call) else each
            is_known = self.external(called) in QUIET_CALLS | QUIET_BUILTINS
            is_known = is_known or (
                isinstance(called, ast.Attribute) and called.attr in ("setter", "getter", "deleter")
            )
            if not self.depth and not is_known:
                self.is_noisy = True
            known = known and is_known
        return known

    # What names denote, as far as the module itself can tell

    def chain(self, node: ast.expr, use: str = "value") -> None:
        """A name with attributes: references if the name is the module's or an import's, else as it is written."""
        if not isinstance(node, ast.Name | ast.Attribute):
            self.visit(node)
            return
        found, dotted = self.denoted(node), self.external(node) or ""
        if _reads_code(node, dotted):
            self.add(Reference("", use="project"))
        if isinstance(node, ast.Name) and (not found or not isinstance(node.ctx, ast.Load)):
            self.words.append(node.id)
            if dotted in OWN_MODULE:
                self.add(Reference("", use="own"))
        elif found:
            for each in found:
                self.add(each._replace(use=use))
        else:
            self.generic(node)

    def denoted(self, node: ast.expr) -> list[Reference]:
        """What a name with attributes may denote, unless it is a local variable's, a builtin's or no name at all."""
        root, attributes = _split(node)
        if isinstance(root, ast.Call) and self.external(root.func) in IMPORTERS and root.args:
            return [Reference(_as_import(name), attributes) for name in self.texts(root.args[0])]
        if not isinstance(root, ast.Name):
            return []
        for scope, _ in reversed(self.scopes):
            if root.id in scope:
                return [Reference(each, attributes) for each in scope[root.id] if each]
        return [Reference(root.id, attributes)] if root.id in self.bound or self.has_stars else []

    def external(self, node: ast.expr) -> str | None:
        """The full name of what may be imported from elsewhere, or the name of a builtin."""
        root, attributes = _split(node)
        if not isinstance(root, ast.Name):
            return None
        imported: Sequence[Import | None] = self.bound.get(root.id, [Import(root.id)])
        for scope, _ in reversed(self.scopes):
            if root.id in scope:
                imported = scope[root.id]
                break
        first = imported[0]
        if first is None or len(set(imported)) > 1 or first.level:
            return None
        return ".".join(filter(None, (first.module, first.name, *attributes)))

    def texts(self, node: ast.expr) -> tuple[str, ...]:
        """The texts that an expression can be, if they are written down."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return (node.value,)
        if isinstance(node, ast.Name):
            for scope, loops in reversed(self.scopes):
                if node.id in scope:
                    return loops.get(node.id, ())
        return ()

    def module_by_name(self, node: ast.expr) -> None:
        """A module that is asked for by its name as a text: one of those, of this one, or of any."""
        self.words.append("module")
        if self.external(node) == "__name__":
            self.add(Reference("", use="own"))
            return
        for name in self.texts(node):
            self.add(Reference(_as_import(name)))
        if not self.texts(node):
            head = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else None
            begins = head.value if isinstance(head, ast.Constant) else ""
            self.add(Reference(str(begins), use="project"))
            self.visit(node)

    def is_log(self, node: ast.expr) -> bool:
        """Whether a function is a logger's."""
        if not isinstance(node, ast.Attribute) or node.attr not in LOGGING:
            return False
        logger = node.value
        if isinstance(logger, ast.Call):
            return self.external(logger.func) == "logging.getLogger"
        return self.external(logger) == "logging" or (
            isinstance(logger, ast.Name) and logger.id in ("log", "logger") and logger.id in self.bound
        )

    def note_call(self, function: ast.expr) -> None:
        """What is called while the module is imported may leave traces."""
        dotted, found = self.external(function) or "", self.denoted(function)
        is_builtin = not found and dotted.partition(".")[0] in QUIET_BUILTINS
        is_method = isinstance(function, ast.Attribute) and function.attr in QUIET_METHODS
        if not is_builtin and not is_method and dotted not in QUIET_CALLS:
            self.calls += found
            self.is_noisy = self.is_noisy or not found

    def add(self, reference: Reference) -> None:
        if not self.depth and reference.use != "run":
            self.is_eager = True
        self.words.append(f"<{self.references.setdefault(reference, len(self.references))}>")


def _as_import(name: str) -> Import:
    """A module by its name as a text."""
    return Import(name.lstrip("."), level=len(name) - len(name.lstrip(".")))


JUST_A_NAME = hashlib.sha256(b"<0>").hexdigest()
"""The text of an expression that is a name of the module or of an import and nothing else."""


def _bound(body: Iterable[ast.AST]) -> dict[str, list[Import | None]]:
    """The names that statements bind in their own scope."""
    found: dict[str, list[Import | None]] = {}
    elsewhere: set[str] = set()
    waiting = list(body)[::-1]
    while waiting:
        node = waiting.pop()
        children: Iterable[ast.AST] = ()
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = Import(alias.name if alias.asname else alias.name.partition(".")[0])
                found.setdefault(alias.asname or whole.module, []).append(whole)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                part = Import(node.module or "", alias.name, node.level)
                if alias.name != "*":
                    found.setdefault(alias.asname or alias.name, []).append(part)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere.update(node.names)
        elif isinstance(node, COMPREHENSIONS):
            children = [each for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
        elif not isinstance(node, ast.Lambda):
            children = ast.iter_child_nodes(node)
            name = getattr(node, "rest" if isinstance(node, ast.MatchMapping) else "name", None)
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                name = node.id
            if isinstance(name, str):
                found.setdefault(name, []).append(None)
            if isinstance(node, FUNCTIONS):
                children = [*node.decorator_list, *node.args.defaults]
            elif isinstance(node, ast.ClassDef):
                children = [*node.decorator_list, *node.bases]
        waiting += list(children)[::-1]
    return {name: imports for name, imports in found.items() if name not in elsewhere}


def _stars(body: Iterable[ast.AST]) -> Iterator[Import]:
    """The modules that all names are imported from."""
    for statement in body:
        for node in ast.walk(statement) if not isinstance(statement, FUNCTIONS) else ():
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                yield Import(node.module or "", level=node.level)


def _imported(node: ast.AST) -> Iterator[tuple[Import, str]]:
    """What an import statement imports, and as what."""
    if isinstance(node, ast.Import):
        yield from ((Import(alias.name), alias.asname or alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            name = "" if alias.name == "*" else alias.name
            yield Import(node.module or "", name, node.level), alias.asname or name


def _only_binds(node: ast.stmt) -> bool:
    """Whether a statement is of a kind that binds names and does nothing else but to evaluate what it binds."""
    if isinstance(node, ast.Assign):
        parts = [part for target in node.targets for part in ast.walk(target)]
        return all(isinstance(part, ast.Name | ast.Tuple | ast.List | ast.Store) for part in parts)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name)
    return isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Pass))


def _is_text(node: ast.AST) -> bool:
    """A docstring, or another statement that is only a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_main(node: ast.AST) -> bool:
    """`if __name__ == "__main__":` without an else."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "__name__ == '__main__'"


def _is_for_checkers(node: ast.AST) -> TypeGuard[ast.If]:
    """`if TYPE_CHECKING:`"""
    test = node.test if isinstance(node, ast.If) else None
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _split(node: ast.expr) -> tuple[ast.expr, tuple[str, ...]]:
    """An expression, and the attributes that are read of it in a row."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return node, tuple(attributes[::-1])


def _reads_code(node: ast.expr, dotted: str) -> bool:
    """Whether a name with attributes is one by which code reads code."""
    if dotted.startswith(HARMLESS):
        return False
    last = node.attr if isinstance(node, ast.Attribute) else dotted.rpartition(".")[2]
    return last in INTROSPECTIVE or dotted == "sys.modules" or dotted.partition(".")[0] in PROJECT


def _is_sentence(node: ast.expr) -> bool:
    """A text or what puts one together, unless it also binds or waits."""
    if any(isinstance(each, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for each in ast.walk(node)):
        return False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return _is_sentence(node.left) or (isinstance(node.op, ast.Add) and _is_sentence(node.right))
    if isinstance(node, ast.IfExp):
        return _is_sentence(node.body) and _is_sentence(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "join") and _is_sentence(node.func.value)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _sentences(body: list[ast.stmt]) -> frozenset[str]:
    """The variables of a function that are sentences, and of which nothing is read but by errors that are raised."""
    assigned: dict[str, list[ast.expr]] = {}
    skipped: set[ast.AST] = set()
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and len(node.targets) == 1:
            if _is_sentence(node.value):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
                skipped.add(node.value)
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            arguments = [*node.exc.args, *(each.value for each in node.exc.keywords)]
            skipped.update(each for each in arguments if _is_sentence(each))
    if not assigned:
        return frozenset()
    bound = _bound(body)
    found = {name for name, values in assigned.items() if len(bound.get(name, ())) == len(values)}
    read = _read_names(body, skipped)
    while lost := found & read | {name for name in assigned if name not in found and name not in read}:
        found -= lost
        read |= lost | {name for each in lost for value in assigned[each] for name in _read_names([value], set())}
    return frozenset(found)


def _read_names(nodes: Iterable[ast.AST], skipped: Collection[ast.AST]) -> set[str]:
    """The names that are read, but for those in some expressions."""
    found, waiting = set(), list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
        waiting += [each for each in ast.iter_child_nodes(node) if each not in skipped]
    return found


def _texts_of_loop(node: ast.comprehension) -> tuple[str, tuple[str, ...]] | None:
    """A comprehension's name, and the texts that it runs through if they are written down."""
    if not isinstance(node.target, ast.Name) or not isinstance(node.iter, ast.Tuple | ast.List | ast.Set):
        return None
    values = [each.value for each in node.iter.elts if isinstance(each, ast.Constant)]
    texts = tuple(value for value in values if isinstance(value, str))
    return (node.target.id, texts) if len(texts) == len(node.iter.elts) else None
