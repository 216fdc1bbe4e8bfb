"""Charts of the report as SVG text, coloured by page.css: a score on a line, a distribution of scores."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np


def score_line(
    scale: tuple[float, float],
    mean: float,
    interval: tuple[float, float] | None,
    shuffled: tuple[float, float] | None,
    chance: float | None,
) -> str:
    """A score as a dot with its interval, in front of the band of the shuffled control and the tick of chance.

    The chart is decoration: the numbers are printed next to it.

    Parameters
    ----------
    scale : (low, high)
        The range of the line, the same for all scores of a column.
    mean : float
    interval : (low, high), optional
    shuffled : (low, high), optional
        Interval of the control by a shuffled pairing.
    chance : float, optional
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


class _Axes:
    """The plot area of a histogram: places of values and counts, in pixels, and round numbers along both axes."""

    width, height, left, right, bottom, top = 300, 170, 42, 16, 38, 8

    def __init__(self, values: Sequence[float]):
        self.ticks = _ticks(min(values), max(values))
        self.edges = np.linspace(self.ticks[0], self.ticks[-1], 25)
        self.counts = [0.0, 1.0]

    def fit(self, highest: int) -> None:
        """Choose the numbers along the vertical axis."""
        ticks = _ticks(0.0, float(max(highest, 1)), 3)
        self.counts = [tick for tick in ticks if float(tick).is_integer()]

    def x(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.left + (self.width - self.left - self.right) * share

    def y(self, count: int | float) -> float:
        floor = self.height - self.bottom
        return floor - (floor - self.top) * count / self.counts[-1]


Mark = tuple[str, float, float]
"""(class, low, high) of a level or an interval; equal ends make a line."""


def histogram(
    filled: Sequence[float], outlined: Sequence[float], marks: Sequence[Mark], *, label: str, description: str
) -> str:
    """How many images have which score: bars for one set of images, an outline for another, marks for single levels.

    Parameters
    ----------
    filled, outlined : sequences of scores
    marks : sequence of (class, low, high)
    label : str
        The name of the horizontal axis, with its unit.
    description : str
        Text for readers who cannot see the chart.
    """
    axes = _Axes([*filled, *outlined, *(end for _, *ends in marks for end in ends)])
    bars, steps = (np.histogram(values, axes.edges)[0].tolist() for values in (filled, outlined))
    axes.fit(max(*bars, *steps))
    lines = [mark for mark in marks if mark[1] == mark[2]]
    bands = [mark for mark in marks if mark[1] < mark[2]]
    parts = [
        *_grid(axes, label),
        *(_band(axes, *mark) for mark in bands),
        *_bars(axes, bars),
        *([_outline(axes, steps)] if len(outlined) else []),
        *(
            f'<path class="{kind}" d="M{axes.x(low):.1f} {axes.top}V{axes.height - axes.bottom}"/>'
            for kind, low, _ in lines
        ),
    ]
    return (
        f'<svg class="histogram" viewBox="0 0 {axes.width} {axes.height}" role="img">'
        f"<title>{escape(description)}</title>{''.join(parts)}</svg>"
    )


def _grid(axes: _Axes, label: str) -> list[str]:
    """Lines, numbers and names of both axes."""
    floor = axes.height - axes.bottom
    centre, middle = (axes.left + axes.width - axes.right) / 2, (floor + axes.top) / 2
    return [
        *(f'<path class="grid" d="M{axes.left} {axes.y(n):.1f}H{axes.width - axes.right}"/>' for n in axes.counts),
        *(f'<text class="end" x="{axes.left - 5}" y="{axes.y(n) + 4:.1f}">{n:g}</text>' for n in axes.counts),
        *(f'<text x="{axes.x(tick):.1f}" y="{floor + 15}">{tick:g}</text>' for tick in axes.ticks),
        f'<text x="{centre:.0f}" y="{axes.height - 5}">{escape(label)}</text>',
        f'<text transform="translate(9 {middle:.0f}) rotate(-90)">images</text>',
    ]


def _band(axes: _Axes, kind: str, low: float, high: float) -> str:
    """An interval over the whole height."""
    left, width, height = axes.x(low), axes.x(high) - axes.x(low), axes.height - axes.bottom - axes.top
    return f'<rect class="{kind}" x="{left:.1f}" y="{axes.top}" width="{width:.1f}" height="{height}"/>'


def _bars(axes: _Axes, counts: Sequence[int]) -> list[str]:
    """A bar for each bin that is not empty."""
    floor = axes.height - axes.bottom
    return [
        f'<rect class="bar" x="{axes.x(start) + 0.5:.1f}" y="{axes.y(n):.1f}" '
        f'width="{axes.x(end) - axes.x(start) - 1:.1f}" height="{floor - axes.y(n):.1f}"/>'
        for n, start, end in zip(counts, axes.edges, axes.edges[1:], strict=False)
        if n
    ]


def _outline(axes: _Axes, counts: Sequence[int]) -> str:
    """The upper edge of all bins."""
    path = "".join(f"V{axes.y(n):.1f}H{axes.x(end):.1f}" for n, end in zip(counts, axes.edges[1:], strict=True))
    return f'<path class="outline" d="M{axes.left} {axes.y(0):.1f}{path}V{axes.y(0):.1f}"/>'


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that enclose an interval."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * about >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


STYLE = """text { font: 11px system-ui, sans-serif; text-anchor: middle; fill: #59626c } .end { text-anchor: end }
.start { text-anchor: start } .grid { stroke: #eef0f1 } .bar { fill: #1f5f8b; opacity: .75 } .band { fill: #c9ced3 }
.outline { fill: none; stroke: #b26a00; stroke-width: 1.3 } .mean { stroke: #1d2329; stroke-width: 1.6 }
.shuffled { stroke: #59626c; stroke-width: 1.6 } .chance { stroke: #59626c; stroke-dasharray: 3 3 }
.edge { fill: none; stroke: #59626c; opacity: .7 } .graph rect { fill: #e4eff6; stroke: #1f5f8b }"""
"""Colours of a chart in a file of its own: those of page.css in the light."""


def legend(filled: str, outlined: str) -> list[str]:
    """What the marks of a histogram mean, in words; without an outlined set it is left out."""
    return [
        f"bars: {filled}" + f"; outline: {outlined}" * bool(outlined),
        "black: mean; grey: shuffled pairing, with its interval; dashed: chance",
    ]


def standalone(svg: str, notes: Sequence[str] = ()) -> str:
    """A chart of the page as the text of an SVG file: with its colours, its size, and notes below it."""
    head, _, body = svg.partition(">")
    width, height = (float(each) for each in head.partition('viewBox="0 0 ')[2].partition('"')[0].split())
    kind = head.partition('class="')[2].partition('"')[0]
    total = height + 15 * len(notes) + 3 * bool(notes)
    lines = (
        f'<text class="start" x="4" y="{height + 12 + 15 * place:g}">{escape(note)}</text>'
        for place, note in enumerate(notes)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" viewBox="0 0 {width:g} {total:g}" width="{width:g}" '
        f'height="{total:g}"><style>{STYLE}</style><rect width="{width:g}" height="{total:g}" style="fill: #fff; '
        f'stroke: none"/>{body.removesuffix("</svg>")}{"".join(lines)}</svg>\n'
    )
