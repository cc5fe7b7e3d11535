"""Line charts and bars as inline SVG: no library, no network, and colours that follow the page's theme."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field

WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 16, 40


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes
    ----------
    label : str
    x, y : list of float
        Points; those that are not finite are left out.
    """

    label: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Figure:
    """A chart of curves over one pair of axes.

    Attributes
    ----------
    title, x_label, y_label : str
    curves : list of Curve
    log_y : bool
        Logarithmic ordinate; points that are not positive are left out.
    """

    title: str
    x_label: str
    y_label: str
    curves: list[Curve] = field(default_factory=list)
    log_y: bool = False

    def svg(self) -> str:
        """Return the chart as an ``<svg>`` element, with a title that a screen reader speaks."""
        curves = [(c.label, self._points(c)) for c in self.curves]
        points = [p for _, line in curves for p in line]
        if not points:
            return ""
        (x0, x1), (y0, y1) = (_range([p[i] for p in points]) for i in (0, 1))

        def place(p: tuple[float, float]) -> tuple[float, float]:
            return (
                LEFT + (p[0] - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (p[1] - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
            )

        parts = [
            f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT + 16 * len(curves)}" role="img" '
            f'aria-label="{html.escape(self.title)}">',
            f'<text class="figure-title" x="{LEFT}" y="11">{html.escape(self.title)}</text>',
        ]
        parts += [_horizontal(v, place((x0, v))[1], self.log_y) for v in _ticks(y0, y1, whole=self.log_y)]
        parts += [_vertical(v, place((v, y0))[0]) for v in _ticks(x0, x1)]
        parts.append(
            f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(self.x_label)}</text>'
        )
        parts.append(
            f'<text transform="translate(12 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
            f"{html.escape(self.y_label)}</text>"
        )
        for k, (label, line) in enumerate(curves):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, line))
            dots = "".join(f'<circle class="c{k % 6}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in map(place, line))
            parts.append(f'<polyline class="c{k % 6}" points="{path}"/>{dots if len(line) <= 12 else ""}')
            row = HEIGHT + 10 + 16 * k
            parts.append(
                f'<line class="c{k % 6}" x1="{LEFT}" x2="{LEFT + 22}" y1="{row - 4}" y2="{row - 4}"/>'
                f'<text x="{LEFT + 28}" y="{row}">{html.escape(label)}</text>'
            )
        return "".join([*parts, "</svg>"])

    def _points(self, curve: Curve) -> list[tuple[float, float]]:
        pairs = [(float(x), float(y)) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        if self.log_y:
            return [(x, math.log10(y)) for x, y in pairs if y > 0]
        return pairs


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    span = (high - low) / 4
    step = 10.0 ** math.floor(math.log10(span))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= span)
    step = max(1.0, math.ceil(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _horizontal(value: float, y: float, log: bool) -> str:
    label = f"1e{value:.0f}" if log else f"{value:g}"
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
    )


def _vertical(value: float, x: float) -> str:
    bottom = HEIGHT - BOTTOM
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{value:g}</text>'
    )
