"""Drawings of the report as SVG text: a score on a line, a distribution, a layered graph. page.css colours them."""

import math
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from xml.sax.saxutils import escape

import numpy as np


def score_line(
    scale: tuple[float, float],
    mean: float,
    interval: tuple[float, float] | None,
    shuffled: tuple[float, float] | None,
    chance: float | None,
) -> str:
    """A score as a dot with its interval, before the band of the shuffled control and the tick of chance.

    `scale` is what the line spans, the same for all scores of a column. Decoration: the numbers stand beside it.
    """
    low, high = scale

    def x(value: float) -> float:
        return 3 + 94 * (value - low) / (high - low or 1)

    parts = ['<path class="axis" d="M0 7H100"/>']
    if shuffled:
        left, right = x(shuffled[0]), x(shuffled[1])
        parts.append(f'<rect class="band" x="{left - 1:.1f}" y="1" width="{right - left + 2:.1f}" height="12"/>')
    if chance is not None:
        parts.append(f'<path class="chance" d="M{x(chance):.1f} 0V14"/>')
    if interval:
        parts.append(f'<path class="interval" d="M{x(interval[0]):.1f} 7H{x(interval[1]):.1f}"/>')
    parts.append(f'<circle cx="{x(mean):.1f}" cy="7" r="3"/>')
    return f'<svg class="line" viewBox="0 0 100 14" aria-hidden="true">{"".join(parts)}</svg>'


def histogram(
    filled: Sequence[float],
    outlined: Sequence[float],
    marks: Sequence[tuple[str, float, float]],
    *,
    label: str,
    description: str,
) -> str:
    """How many images have which score: bars for one image set, an outline for another, marks for single levels.

    A mark is (class, low, high); equal ends make a line. `label` names the horizontal axis with its unit.
    """
    width, height, left, right, bottom, top = 300, 170, 34, 16, 38, 8
    everything = [*filled, *outlined, *(end for _, *ends in marks for end in ends)]
    ticks = _ticks(min(everything), max(everything))
    edges = np.linspace(ticks[0], ticks[-1], 25)
    bars, steps = (np.histogram(values, edges)[0].tolist() for values in (filled, outlined))
    counts = _ticks(0.0, float(max(*bars, *steps, 1)), 3)
    counts = [each for each in counts if float(each).is_integer()]

    def x(value: float) -> float:
        return left + (width - left - right) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    def y(count: int | float) -> float:
        return height - bottom - (height - bottom - top) * count / counts[-1]

    parts = [f'<path class="grid" d="M{left} {y(each):.1f}H{width - right}"/>' for each in counts]
    parts += [f'<text class="end" x="{left - 5}" y="{y(each) + 4:.1f}">{each:g}</text>' for each in counts]
    parts += [f'<text x="{x(each):.1f}" y="{height - bottom + 15}">{each:g}</text>' for each in ticks]
    for kind, low, high in marks:
        if high > low:
            parts.append(
                f'<rect class="{kind}" x="{x(low):.1f}" y="{top}" width="{x(high) - x(low):.1f}" '
                f'height="{height - bottom - top}"/>'
            )
    for count, start, end in zip(bars, edges, edges[1:], strict=False):
        if count:
            parts.append(
                f'<rect class="bar" x="{x(start) + 0.5:.1f}" y="{y(count):.1f}" width="{x(end) - x(start) - 1:.1f}" '
                f'height="{height - bottom - y(count):.1f}"/>'
            )
    if len(outlined):
        path = "".join(f"V{y(n):.1f}H{x(end):.1f}" for n, end in zip(steps, edges[1:], strict=True))
        parts.append(f'<path class="outline" d="M{left} {y(0):.1f}{path}V{y(0):.1f}"/>')
    for kind, low, high in marks:
        if high == low:
            parts.append(f'<path class="{kind}" d="M{x(low):.1f} {top}V{height - bottom}"/>')
    parts += [
        f'<text x="{(left + width - right) / 2:.0f}" y="{height - 5}">{escape(label)}</text>',
        f'<text transform="translate(9 {(height - bottom + top) / 2:.0f}) rotate(-90)">images</text>',
    ]
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(description)}</title>{''.join(parts)}</svg>"
    )


def layered(edges: Sequence[tuple[str, str]]) -> str:
    """A directed graph from top to bottom: each node below all it depends on, few crossings.

    An edge over several layers passes through an invisible node in each. Layers are ordered by sweeps that put a node
    at the mean place of its neighbours. Source: Sugiyama, Tagawa and Toda 1981.

    Raises ValueError: the edges run in a circle.
    """
    above: dict = {}
    for start, end in dict.fromkeys(edges):
        above.setdefault(start, [])
        above.setdefault(end, []).append(start)
    layer: dict = {}
    try:
        for node in TopologicalSorter(above).static_order():
            layer[node] = 1 + max((layer[each] for each in above[node]), default=-1)
    except CycleError as error:
        raise ValueError(f"the rules {' -> '.join(error.args[1])} run in a circle; expected a DAG.") from None
    below = {node: [end for end in above if node in above[end]] for node in above}
    for node in above:
        if not above[node] and below[node]:
            layer[node] = min(layer[each] for each in below[node]) - 1
    rows: list[list] = [[node for node in layer if layer[node] == depth] for depth in range(1 + max(layer.values()))]
    routes = []
    for end in above:
        for start in above[end]:
            passed = [(start, end, depth) for depth in range(layer[start] + 1, layer[end])]
            for depth, each in enumerate(passed, layer[start] + 1):
                rows[depth].append(each)
            routes.append([start, *passed, end])
    neighbours: dict = {node: ([], []) for row in rows for node in row}
    for upper, lower in (step for route in routes for step in pairwise(route)):
        neighbours[lower][0].append(upper)
        neighbours[upper][1].append(lower)
    x = {}
    for sweep in range(13):
        for row in rows if sweep % 2 else rows[::-1]:
            if sweep:
                linked = {node: [x[each] for each in neighbours[node][1 - sweep % 2]] or [x[node]] for node in row}
                row.sort(key=lambda node: sum(linked[node]) / len(linked[node]))
            right = -sum(map(_width, row)) / 2
            for node in row:
                x[node] = right + _width(node) / 2
                right += _width(node)
    margin = max(sum(map(_width, row)) for row in rows) / 2 + 8
    place: dict = {node: (margin + x[node], 26 + 66 * depth) for depth, row in enumerate(rows) for node in row}
    parts = []
    for route in routes:
        path = "".join(
            f"C{a:.0f} {up + 46},{b:.0f} {down - 46},{b:.0f} {down - 14 * (node is route[-1])}"
            for ((a, up), (b, down)), node in zip(pairwise([place[node] for node in route]), route[1:], strict=True)
        )
        parts.append(f'<path class="edge" d="M{place[route[0]][0]:.0f} {place[route[0]][1] + 14}{path}"/>')
    for node in above:
        (centre, middle), width = place[node], _width(node) - 14
        parts.append(f'<rect x="{centre - width / 2:.0f}" y="{middle - 14}" width="{width:.0f}" height="28" rx="6"/>')
        parts.append(f'<text x="{centre:.0f}" y="{middle + 4}">{escape(node)}</text>')
    size = f"{2 * margin:.0f}", f"{66 * len(rows) - 14}"
    return (
        f'<svg class="graph" viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}" role="img">'
        f"<title>{len(above)} rules, each below those it needs</title>{''.join(parts)}</svg>"
    )


def _width(node) -> int:
    """Pixels that a node takes in its layer: its name, or a passing edge."""
    return 34 + 7 * len(node) if isinstance(node, str) else 22


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that enclose an interval."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * about >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(each * step, 10) for each in range(first, max(last, first + 1) + 1)]
