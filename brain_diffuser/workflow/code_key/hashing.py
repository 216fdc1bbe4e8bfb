"""Hashes of nodes that reach each other, in which only what they are counts."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from brain_diffuser.workflow.code_key.files import Node


def hash_reachable(start: Node, parts: Any, hashes: dict[Node, str]) -> None:
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
