"""What a job depends on, as values that Snakemake can compare: it looks at a script's date, never at its imports."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def code_key(script: str | Path, root: str | Path) -> str:
    """Hash of a script and of every module below `root` that it imports, directly or not.

    Comments, docstrings and layout do not count. Imports inside functions do; imports by a computed name do not.
    """
    reached = _reached(Path(script), Path(root))
    digest = hashlib.sha256("\0".join(f"{name}\0{reached[name][0]}" for name in sorted(reached)).encode())
    return digest.hexdigest()[:16]


def renewed(key: str, root: str | Path) -> str:
    """The key that `code` in rules/common.smk gives now, where it gave `key`: the script's name and its hash."""
    script = key.partition(" ")[0]
    return f"{script} {code_key(Path(root, 'workflow_scripts', script), root)}"


def imports(script: str | Path, root: str | Path) -> set[str]:
    """Names of all packages and modules that a script may import, directly or through the modules below `root`."""
    return {name for _, imported in _reached(Path(script), Path(root)).values() for name in imported}


def _reached(script: Path, root: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What the script and every module below `root` that it imports mean and import; the script has no name."""
    seen: dict[str, tuple[str, tuple[str, ...]]] = {}
    waiting = {"": script}
    while waiting:
        name, path = waiting.popitem()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        seen[name] = _meaning(path.read_bytes(), package)
        for each in seen[name][1]:
            found = _module_file(root, each)
            if found and each not in seen:
                waiting[each] = found
    return seen


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


@functools.cache
def _meaning(source: bytes, package: str) -> tuple[str, tuple[str, ...]]:
    """The program without what does not run, and the names of all modules and packages it may import."""
    tree = _NoDocstrings().visit(ast.parse(source))
    return ast.dump(tree), tuple(dict.fromkeys(_imports(tree, package)))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every name that is imported, and the packages around it, whose __init__ run too."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]  # a module, or something inside of one
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _module_file(root: Path, name: str) -> Path | None:
    """The file of a project module or package, if the name is one's."""
    base = root.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


class _NoDocstrings(ast.NodeTransformer):
    """Leaves out statements that are only a text."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)
