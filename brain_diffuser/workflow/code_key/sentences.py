"""Texts that only people read: sentences of errors, which do not count in a key."""

import ast
from collections.abc import Collection, Iterable

from brain_diffuser.workflow.code_key.syntax import FUNCTIONS, below, bound_names, walk

CHECKS = frozenset(
    f"brain_diffuser.{name}"
    for name in (
        "artifacts.finite.NotFinite artifacts.finite.check artifacts.finite.check_network artifacts.finite.naming "
        "artifacts.hdf5.check_aligned artifacts.hdf5.opening artifacts.text_files.check_is_file data.nifti.damage "
        "data.custom_checks.validate_once data.laion_images._content data.laion_images.decode "
        "data.nifti.open_series data.nifti.read_volume data.placeholders.refuse"
    ).split()
)
"""Functions with parameters that are messages.Sentence: texts among their arguments get into errors alone."""

REPORTS = frozenset(
    f"brain_diffuser.{name}"
    for name in "evaluation.registry.check_scores features.registry.check_embedded models.progress.step".split()
)
"""Functions that report progress, or end a job with an error, and return nothing: a statement that calls one with plain
values does not count, for no result depends on it."""

PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.operator, ast.expr_context)


def is_plain(call: ast.Call) -> bool:
    """Whether a call's arguments are names, numbers and sums of them, which leave no trace."""
    arguments = [*call.args, *(each.value for each in call.keywords)]
    return all(isinstance(node, PLAIN) for each in arguments for node in walk(each))


def is_said(node: ast.AST) -> bool:
    """Whether a function returns, or a variable is, messages.Sentence: for people to read, and in no result."""
    annotation = node.returns if isinstance(node, FUNCTIONS) else getattr(node, "annotation", None)
    return annotation is not None and any(
        getattr(each, "id", getattr(each, "attr", "")) == "Sentence" for each in walk(annotation)
    )


def is_sentence(node: ast.expr) -> bool:
    """A text or what puts one together, unless it also binds or waits."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if not isinstance(node, ast.JoinedStr | ast.BinOp | ast.IfExp | ast.Call):
        return False
    if any(isinstance(each, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for each in walk(node)):
        return False
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return is_sentence(node.left) or (isinstance(node.op, ast.Add) and is_sentence(node.right))
    if isinstance(node, ast.IfExp):
        return is_sentence(node.body) and is_sentence(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "join") and is_sentence(node.func.value)
    return isinstance(node, ast.JoinedStr)


def sentences_of_errors(body: list[ast.stmt]) -> frozenset[str]:
    """The variables of a function that are sentences, and of which nothing is read but by errors that are raised."""
    assigned: dict[str, list[ast.expr]] = {}
    skipped: set[ast.AST] = set()
    nodes = [node for statement in body for node in walk(statement)]
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and len(node.targets) == 1:
            if is_sentence(node.value):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
                skipped.add(node.value)
        elif isinstance(node, ast.Raise) and node.exc:
            calls = [each for each in walk(node.exc) if isinstance(each, ast.Call)]
            arguments = [each for call in calls for each in (*call.args, *(word.value for word in call.keywords))]
            skipped.update(each for each in arguments if isinstance(each, ast.Name) or is_sentence(each))
    if not assigned:
        return frozenset()
    bound = bound_names(body)
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
        waiting += [each for each in below(node) if each not in skipped]
    return found
