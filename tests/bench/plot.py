"""A few curves side by side as one small SVG, both axes counting in powers of ten."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 220, 150
LEFT, TOP, BETWEEN = 46, 34, 70
INK, GRID, LINE = "#57606a", "#d0d7de", "#0969da"  # readable on white and on black


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve."""

    title: str
    size: str
    unit: str
    points: Sequence[tuple[float, float]]
    note: str


def svg(panels: Sequence[Panel], caption: str) -> str:
    """Return the picture, two panels in a row."""
    rows = (len(panels) + 1) // 2
    width, height = 2 * (WIDTH + BETWEEN), rows * (HEIGHT + BETWEEN) + TOP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' font-family="sans-serif" font-size="11" fill="{INK}">'
        )
    ]
    for number, panel in enumerate(panels):
        x, y = LEFT + number % 2 * (WIDTH + BETWEEN), TOP + number // 2 * (HEIGHT + BETWEEN)
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    parts += [f'<text x="8" y="{height - 10}" font-size="8">{escape(caption)}</text>', "</svg>", ""]
    return "\n".join(parts)


def _panel(panel: Panel) -> Iterator[str]:
    across = _Axis([x for x, _ in panel.points], WIDTH)
    up = _Axis([y for _, y in panel.points], HEIGHT)
    title = f"{panel.title} ({panel.unit})"
    yield f'<text x="0" y="-12" font-weight="bold">{escape(title)}</text>'
    yield f'<text x="{WIDTH}" y="-12" text-anchor="end">{escape(panel.note)}</text>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="{GRID}"/>'
    for value in across.decades():
        x = across.place(value)
        yield f'<path d="M{x:.1f} 0V{HEIGHT}" stroke="{GRID}"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT + 14}" text-anchor="middle">{_short(value)}</text>'
    for value in up.decades():
        y = HEIGHT - up.place(value)
        yield f'<path d="M0 {y:.1f}H{WIDTH}" stroke="{GRID}"/>'
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
    yield f'<text x="{WIDTH / 2:g}" y="{HEIGHT + 30}" text-anchor="middle">{escape(panel.size)}</text>'
    places = [(across.place(x), HEIGHT - up.place(y)) for x, y in panel.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="1.5"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{LINE}"/>'


class _Axis:
    """From a value to its place, over whole powers of ten."""

    def __init__(self, values: Sequence[float], length: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._length = length

    def place(self, value: float) -> float:
        return (math.log10(value) - self._low) / (self._high - self._low) * self._length

    def decades(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
