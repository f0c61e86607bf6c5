"""Curves as SVG within a page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence

COLOURS = ("#0b7285", "#c92a2a", "#5f3dc4", "#e67700", "#2b8a3e", "#364fc7", "#a61e4d", "#495057")
MOST_POINTS = 400
Points = Sequence[tuple[int, float | None]]


def plot(
    title: str,
    curves: Mapping[str, Points],
    *,
    mark: int | None = None,
    width: int = 500,
    height: int = 210,
    colours: Mapping[str, str] | None = None,
    wide: bool = False,
) -> str:
    """A picture of curves, (step, value) each, with axes; values of None leave a gap. mark: a step to point out.
    colours: of curves by name. wide: as wide as the page.

    Each curve is thinned to MOST_POINTS, the last point kept. A curve without a finite value is named as such.
    """
    finite = {
        name: [(s, v) for s, v in points if v is not None and math.isfinite(v)] for name, points in curves.items()
    }
    kind = "plot wide" if wide else "plot"
    values = [value for points in finite.values() for _, value in points]
    known = colours or {}
    inks = {name: known.get(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(curves)}
    head = f"<figcaption><b>{html.escape(title)}</b> {_legend(curves, finite, inks)}</figcaption>"
    if not values:
        return f"<figure class='{kind}'>{head}<p class='muted'>no finite value</p></figure>"
    steps = [step for points in curves.values() for step, _ in points]
    frame = _Frame(min(0, *steps), max(*steps, 1), *_ticks(min(values), max(values)), width, height)
    lines = [*frame.drawn(), *([frame.marked(mark)] if mark is not None else [])]
    for name, points in curves.items():
        lines += _drawn(frame, _thinned(points), inks[name])
    return f"<figure class='{kind}'>{head}<svg viewBox='0 0 {width} {height}'>{''.join(lines)}</svg></figure>"


def shares(curves: Mapping[str, Points]) -> dict[str, Points]:
    """Each curve over its first finite value, so that curves of different scales share one picture."""
    found: dict[str, Points] = {}
    for name, points in curves.items():
        first = next((v for _, v in points if v is not None and math.isfinite(v)), None) or 1.0
        found[name] = [(step, None if value is None else value / first) for step, value in points]
    return found


class _Frame:
    """The axes: where a step and a value lie in the picture."""

    left, top, right, bottom = 56, 8, 10, 22

    def __init__(self, first: int, last: int, low: float, high: float, every: float, width: int, height: int) -> None:
        self.first, self.last, self.low, self.high, self.every = first, last, low, high, every
        self.width, self.height = width, height

    def x(self, step: float) -> float:
        """Of a step."""
        share = (step - self.first) / max(1, self.last - self.first)
        return self.left + share * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.top + (1 - share) * (self.height - self.top - self.bottom)

    def drawn(self) -> Iterator[str]:
        """Lines and numbers of both axes."""
        count = round((self.high - self.low) / self.every)
        for i in range(count + 1):
            value = self.low + i * self.every
            y = self.y(value)
            yield f"<line x1='{self.left}' x2='{self.width - self.right}' y1='{y:.1f}' y2='{y:.1f}' stroke='#e9ecef'/>"
            yield f"<text x='{self.left - 6}' y='{y + 4:.1f}' text-anchor='end'>{_said(value, self.every)}</text>"
        base = self.height - 5
        yield f"<text x='{self.left}' y='{base}'>step {self.first:,}</text>"
        yield f"<text x='{self.width - self.right}' y='{base}' text-anchor='end'>{self.last:,}</text>"

    def marked(self, step: int) -> str:
        """An upright line at a step."""
        x = self.x(step)
        return (
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{self.top}' y2='{self.height - self.bottom}' stroke='#adb5bd' "
            "stroke-dasharray='3 3'/>"
        )


def _drawn(frame: _Frame, points: Points, colour: str) -> Iterator[str]:
    for run in _runs(points):
        at = [f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in run]
        if len(at) > 1:
            yield f"<polyline points='{' '.join(at)}' fill='none' stroke='{colour}' stroke-width='1.8'/>"
        if len(run) <= 30:
            for place in at:
                x, y = place.split(",")
                yield f"<circle cx='{x}' cy='{y}' r='2.4' fill='{colour}'/>"


def _runs(points: Points) -> Iterator[list[tuple[int, float]]]:
    """Stretches of finite values."""
    run: list[tuple[int, float]] = []
    for step, value in [*points, (0, None)]:
        if value is not None and math.isfinite(value):
            run.append((step, value))
        elif run:
            yield run
            run = []


def _thinned(points: Points) -> Points:
    every = -(-len(points) // MOST_POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def _legend(curves: Mapping[str, Points], finite: Mapping[str, Points], inks: Mapping[str, str]) -> str:
    parts = []
    for name, points in curves.items():
        last = points[-1][1] if points else None
        told = f"{last:.4g}" if last is not None and math.isfinite(last) else "none"
        if not finite[name]:
            told = "no finite value"
        parts.append(f"<span style='color:{inks[name]}'>{html.escape(name)} {told}</span>")
    return " &nbsp; ".join(parts)


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    """The ends of an axis that holds both, and the distance of its lines: 1, 2 or 5 times a power of ten."""
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        low, high = min(0.0, low), max(0.0, high)
        high = high if high > low else 1.0
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    every = next(n * power for n in (1, 2, 5, 10) if n * power >= raw * 0.999)
    return math.floor(low / every + 1e-9) * every, math.ceil(high / every - 1e-9) * every, every


def _said(value: float, every: float) -> str:
    if abs(value) < every / 1000:
        return "0"
    if max(abs(value), every) >= 1e5 or every < 1e-4:
        return f"{value:.3g}"
    return f"{value:.{max(0, -math.floor(math.log10(every) + 1e-9))}f}"
