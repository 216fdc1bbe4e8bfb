"""What the names in a statement denote, as far as its own module can tell."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from brain_diffuser.workflow.code_key.statements import Import, Reference, Scope
from brain_diffuser.workflow.code_key.syntax import as_import, reads_code, split_attributes

QUIET_BUILTINS = frozenset(
    "abs bool bytes chr classmethod complex dict divmod enumerate filter float frozenset getattr hasattr hash int "
    "isinstance issubclass len list map max min object ord pow property range repr reversed round set slice sorted "
    "staticmethod str sum super tuple type zip".split()
)
QUIET_CALLS = frozenset(
    "abc.abstractmethod brain_diffuser.models.torch_builds.importing collections.Counter collections.OrderedDict "
    "collections.defaultdict collections.namedtuple contextlib.contextmanager dataclasses.dataclass "
    "dataclasses.field functools.cache functools.cached_property functools.lru_cache functools.partial "
    "functools.wraps itertools.chain jaxtyping.jaxtyped logging.getLogger numpy.array numpy.float32 "
    "operator.attrgetter operator.itemgetter pathlib.Path pathlib.PurePath pydantic.ConfigDict pydantic.Field "
    "pydantic.field_validator pydantic.model_validator re.compile torch.inference_mode torch.no_grad "
    "types.MappingProxyType typing.NewType typing.TypeVar typing.overload".split()
)
QUIET_METHODS = frozenset(
    "copy encode format items join joinpath keys lower partition replace resolve rsplit split strip title upper values "
    "with_name with_suffix".split()
)
"""What may be called while a module is imported without a trace in anything but the name that is bound."""


LOGGING = frozenset("debug info warning error exception critical log".split())
OWN_MODULE = frozenset(("globals", "eval", "exec", "compile"))
"""Names by which a module reads itself, so that all of it counts."""

IMPORTERS = ("importlib.import_module", "__import__")


class ReferenceCollector:
    """Collects the names that one statement reads; a subclass writes down what the statement does."""

    def __init__(self, bound: Scope, has_stars: bool):
        self.bound, self.has_stars = bound, has_stars
        self.words: list[str] = []
        self.references: dict[Reference, int] = {}
        self.scopes: list[tuple[Scope, Mapping[str, tuple[str, ...]]]] = []  # names, and texts that some run through
        self.calls: list[Reference] = []
        self.is_noisy = self.is_eager = False
        self.depth = 0  # of functions around: what stands in one does not run while the module is imported

    def visit(self, node: Any) -> None:
        """Write down a node, a list of them, or a value."""
        raise NotImplementedError

    def generic(self, node: ast.AST, without: tuple[str, ...] = ()) -> None:
        """Write down a node field by field."""
        raise NotImplementedError

    def chain(self, node: ast.expr, use: str = "value") -> None:
        """A name with attributes: references if the name is the module's or an import's, else as it is written."""
        if not isinstance(node, ast.Name | ast.Attribute):
            self.visit(node)
            return
        found, dotted = self.denoted(node), self.external(node) or ""
        if reads_code(node, dotted):
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
        root, attributes = split_attributes(node)
        if isinstance(root, ast.Call) and self.external(root.func) in IMPORTERS and root.args:
            return [Reference(as_import(name), attributes) for name in self.texts(root.args[0])]
        if not isinstance(root, ast.Name):
            return []
        for scope, _ in reversed(self.scopes):
            if root.id in scope:
                return [Reference(each, attributes) for each in scope[root.id] if each]
        return [Reference(root.id, attributes)] if root.id in self.bound or self.has_stars else []

    def external(self, node: ast.expr) -> str | None:
        """The full name of what may be imported from elsewhere, or the name of a builtin."""
        root, attributes = split_attributes(node)
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
            self.add(Reference(as_import(name)))
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
