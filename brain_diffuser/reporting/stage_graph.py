"""The graph of the workflow's rules: derived from Snakemake's own rules, simplified, and drawn as SVG text."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cmp_to_key
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

Edge = tuple[str, str]
"""A rule, and one that reads what it writes."""

NODE_HEIGHT, LAYER_HEIGHT = 28, 66  # pixels
SWEEPS = 13  # through all layers, to order their nodes


def of_workflow(workflow: Any, rule: str) -> list[Edge]:
    """All edges on the way to a rule without wildcards, as Snakemake resolves the files that rules read.

    Of jobs that differ in subject or shard alone one is followed. Rules that fetch files are left out, since they are
    gone once the files are there.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        With its graph of jobs, which is there once Snakemake evaluates parameters.
    rule : str
        The rule's name.
    """
    priority = cmp_to_key(workflow._ruleorder.compare)
    edges: dict[Edge, None] = {}
    known, waiting = set(), [(workflow.get_rule(rule), {})]
    while waiting:
        reader, wildcards = waiting.pop(0)
        for path in reader.expand_input(wildcards)[0]:
            producers = workflow.dag.output_index.match_producers(path)
            producer = max(producers, key=priority, default=None)
            if producer is None or producer.name.startswith("fetch"):
                continue
            edges[producer.name, reader.name] = None
            of_job = producer.get_wildcards(path)
            job = producer.name, *((key, value) for key, value in of_job.items() if key not in ("subject", "span"))
            if job not in known:
                known.add(job)
                waiting.append((producer, of_job))
    return list(edges)


def simplified(edges: Iterable[Edge]) -> list[Edge]:
    """The edges between stages, in topological order, without shortcuts.

    A stage, its shards, and the part of it that subjects share are one. A shortcut is an edge beside a longer way
    between the same stages.

    Raises ValueError: the edges run in a cycle.
    """
    above: dict[str, list[str]] = {}
    for start, end in dict.fromkeys((_stage(start), _stage(end)) for start, end in edges):
        if start != end:
            above.setdefault(start, [])
            above.setdefault(end, []).append(start)
    ancestors: dict[str, set[str]] = {}
    for node in _order(above):
        ancestors[node] = set(above[node]).union(*(ancestors[start] for start in above[node]))
    place = {node: n for n, node in enumerate(ancestors)}
    direct = [
        (start, end)
        for end, starts in above.items()
        for start in starts
        if not any(start in ancestors[other] for other in starts)
    ]
    return sorted(direct, key=lambda edge: (place[edge[0]], place[edge[1]]))


def _stage(rule: str) -> str:
    """The stage that a rule belongs to."""
    return rule.removesuffix("_shard").removesuffix("_cached").removeprefix("shared_")


def draw(edges: Sequence[Edge]) -> str:
    """SVG of a directed graph from top to bottom: each node below all that it depends on, few crossings.

    An edge over several layers passes through an invisible node in each.

    Raises ValueError: the edges run in a cycle.
    Source: Sugiyama, Tagawa and Toda 1981.
    """
    above: dict[str, list[str]] = {}
    for start, end in dict.fromkeys(edges):
        above.setdefault(start, [])
        above.setdefault(end, []).append(start)
    layer = _layers(above)
    layers: list[list] = [[node for node in layer if layer[node] == n] for n in range(1 + max(layer.values()))]
    routes = _routes(above, layer, layers)
    x = _ordered(layers, routes)
    margin = max(sum(map(_width, nodes)) for nodes in layers) / 2 + 8
    place = {node: (margin + x[node], 26 + LAYER_HEIGHT * n) for n, nodes in enumerate(layers) for node in nodes}
    parts = [_edge([place[node] for node in route], f"{route[0]} to {route[-1]}") for route in routes]
    parts += [_node(node, *place[node]) for node in above]
    width, height = f"{2 * margin:.0f}", f"{LAYER_HEIGHT * len(layers) - 14}"
    return (
        f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{len(above)} rules, each below those it needs</title>{''.join(parts)}</svg>"
    )


def _order(above: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes, each after all that it depends on."""
    try:
        return list(TopologicalSorter(above).static_order())
    except CycleError as error:
        raise ValueError(f"the rules {' -> '.join(error.args[1])} run in a cycle; expected a DAG.") from None


def _layers(above: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each node: below all that it depends on; one that depends on nothing is just above its readers."""
    layer: dict[str, int] = {}
    for node in _order(above):
        layer[node] = 1 + max((layer[start] for start in above[node]), default=-1)
    for node in above:
        readers = [end for end in above if node in above[end]]
        if not above[node] and readers:
            layer[node] = min(layer[end] for end in readers) - 1
    return layer


def _routes(above: Mapping[str, Sequence[str]], layer: Mapping[str, int], layers: list[list]) -> list[list]:
    """The nodes along each edge, one in each layer; `layers` gets those that are invisible."""
    routes = []
    for end, starts in above.items():
        for start in starts:
            passed = [(start, end, n) for n in range(layer[start] + 1, layer[end])]
            for node in passed:
                layers[node[2]].append(node)
            routes.append([start, *passed, end])
    return routes


def _ordered(layers: list[list], routes: Sequence[Sequence]) -> dict[Any, float]:
    """The place of each node in its layer, pixels from the middle.

    Sweeps down and up put each node of a layer at the mean place of its neighbours in the layer before.
    """
    neighbours: dict[Any, tuple[list, list]] = {node: ([], []) for nodes in layers for node in nodes}
    for upper, lower in (step for route in routes for step in pairwise(route)):
        neighbours[lower][0].append(upper)
        neighbours[upper][1].append(lower)
    x: dict[Any, float] = {}
    for sweep in range(SWEEPS):
        for nodes in layers if sweep % 2 else layers[::-1]:
            if sweep:
                places = {node: [x[other] for other in neighbours[node][1 - sweep % 2]] or [x[node]] for node in nodes}
                nodes.sort(key=lambda node, places=places: sum(places[node]) / len(places[node]))
            right = -sum(map(_width, nodes)) / 2
            for node in nodes:
                x[node] = right + _width(node) / 2
                right += _width(node)
    return x


def _edge(places: Sequence[tuple[float, int]], title: str) -> str:
    """A curve from the foot of the first node to the top of the last."""
    half, bend = NODE_HEIGHT // 2, 46
    path = "".join(
        f"C{a:.0f} {up + bend},{b:.0f} {down - bend},{b:.0f} {down - half * (n == len(places) - 1)}"
        for n, ((a, up), (b, down)) in enumerate(pairwise(places), 1)
    )
    (x, y), name = places[0], escape(title)
    return f'<path class="edge" d="M{x:.0f} {y + half}{path}"><title>{name}</title></path>'


def _node(name: str, x: float, y: int) -> str:
    """A rule's name in its box."""
    half, width = NODE_HEIGHT // 2, _width(name) - 14
    box = f'<rect x="{x - width / 2:.0f}" y="{y - half}" width="{width:.0f}" height="{NODE_HEIGHT}" rx="6"/>'
    return f'{box}<text x="{x:.0f}" y="{y + 4}">{escape(name)}</text>'


def _width(node: Any) -> int:
    """Pixels that a node takes in its layer: its name, or a passing edge."""
    return 34 + 7 * len(node) if isinstance(node, str) else 22
