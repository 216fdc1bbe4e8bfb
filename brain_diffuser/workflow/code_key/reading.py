"""A module's source as statements: what each does, without the words that are for people, and the names that it reads.

Nothing here knows other modules; `resolving` says what the names denote.
"""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from brain_diffuser.workflow.code_key.references import (
    IMPORTERS,
    QUIET_BUILTINS,
    QUIET_CALLS,
    ReferenceCollector,
)
from brain_diffuser.workflow.code_key.sentences import (
    CHECKS,
    REPORTS,
    is_plain,
    is_said,
    is_sentence,
    sentences_of_errors,
)
from brain_diffuser.workflow.code_key.statements import Expression, Module, Reference, Scope, Statement
from brain_diffuser.workflow.code_key.syntax import (
    bound_names,
    imported,
    is_for_checkers,
    is_for_main,
    is_text,
    only_binds,
    star_imports,
    texts_of_loop,
    walk,
)

CONSTRUCTORS = frozenset(("__new__", "__init__", "__post_init__", "__init_subclass__", "__set_name__", "__call__"))
IMPORTS = (ast.Import, ast.ImportFrom)
NO_MEANING = ("ctx", "kind", "type_comment", "type_ignores", "type_params")


def read(source: bytes, is_main: bool = False) -> Module:
    """The statements of a module; of a script (`is_main`) those below `if __name__ == "__main__"` too."""
    tree = ast.parse(source)
    bound, stars = bound_names(tree.body), any(star_imports(tree.body))
    statements = [
        _Reader(bound, stars).statement(node)
        for node in tree.body
        if not is_text(node) and not (is_for_checkers(node) and not node.orelse) and (is_main or not is_for_main(node))
    ]
    nodes = walk(tree)
    imports = dict.fromkeys(each for node in nodes if isinstance(node, IMPORTS) for each, _ in imported(node))
    names = (node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return Module(tuple(statements), tuple(imports), frozenset(names))


class _Reader(ReferenceCollector):
    """Writes down what one statement does and collects what it reads."""

    def __init__(self, bound: Scope, has_stars: bool):
        super().__init__(bound, has_stars)
        self.sentences: list[frozenset[str]] = []  # variables of the functions around that only errors tell
        self.constants: dict[str, None] = {}
        self.field = ""  # the attribute that is read of what is looked up next
        self.is_in_class = self.is_raised = self.is_for_people = False

    def statement(self, node: ast.stmt) -> Statement:
        names, stars = bound_names([node]), tuple(star_imports([node]))
        imported = [(name, each) for name, found in names.items() for each in found if each]
        entries, arguments, alias, a_class = None, None, None, node if isinstance(node, ast.ClassDef) else None
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.run(node)
        else:
            self.is_noisy = not only_binds(node)
            self.visit(node)
        if len(names) == 1 and value and not is_said(node):
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
            tuple(each for each in bound_names(a_class.body) if each in CONSTRUCTORS) if a_class else (),
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
        if self.is_for_people and isinstance(node.value, str) and (not node.value or " " in node.value):
            self.words.append("sentence")
            return
        self.words.append(repr(node.value))
        if isinstance(node.value, str) and 0 < len(node.value) <= 200 and node.value.isprintable():
            self.constants[node.value] = None

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if self.is_for_people:
            self.words.append("sentence")
            self.values(node)
        else:
            self.generic(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if is_text(node):
            return
        call = node.value
        if isinstance(call, ast.Call) and self.external(call.func) in REPORTS and is_plain(call):
            return
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
        self.is_raised = True
        with self.for_people(True):
            self.visit(node.exc)
        self.is_raised = False
        self.visit(node.cause)
        self.words.append(")")

    def visit_Assert(self, node: ast.Assert) -> None:
        self.generic(node, without=("msg",) if node.msg and is_sentence(node.msg) else ())

    def visit_If(self, node: ast.If) -> None:
        if is_for_checkers(node):
            self.visit(node.orelse)
        else:
            self.generic(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if self.is_in_class:
            self.generic(node)
        elif node.value is not None:
            with self.for_people(is_said(node)):
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
        with self.for_people(is_said(node)), self.function(arguments, node.body):
            self.visit(node.body)
        self.words.append(")")

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.words.append("Lambda(")
        with self.function(node.args, []):
            self.visit(node.body)
        self.words.append(")")

    @contextmanager
    def for_people(self, value: bool) -> Iterator[None]:
        """What follows has sentences for people, whose words do not count."""
        before, self.is_for_people = self.is_for_people, value or self.is_for_people
        yield
        self.is_for_people = before

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
        self.scopes.append(({name: [None] for kind in names for name in kind} | bound_names(body), {}))
        self.sentences.append(sentences_of_errors(body) - {name for kind in names for name in kind})
        yield
        self.sentences.pop()
        self.scopes.pop()
        self.depth -= 1
        self.is_in_class = before

    def comprehension(self, node: Any) -> None:
        self.words.append(f"{type(node).__name__}(")
        first, *others = node.generators
        self.visit(first.iter)  # the only part that does not see the names of the comprehension
        loops = dict(filter(None, map(texts_of_loop, node.generators)))
        self.scopes.append((bound_names(each.target for each in node.generators), loops))
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
        for each, name in imported(node):
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
        elif called == "warnings.warn" or called in CHECKS:
            self.call(node, self.values)
        elif self.is_raised:
            self.call(node, lambda sentence: None)
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
            (sentence if is_sentence(value) else self.visit)(value)
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
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_sentence(node.func.value):
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
