"""A small line chart as SVG, for a page that gives it its colours and fonts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ike_tools.report.drawing import Colour
from ike_tools.report.html import fill

# Units of the picture; the page scales it to its column, a little more or less than a pixel each.
WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 390, 8, 184  # of the plot
_PLACES = dict(width=WIDTH, height=HEIGHT, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM)
MOST_DOTS = 30  # a curve of more points is drawn without dots


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), in the order of x."""

    name: str
    colour: Colour
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """Values low..high, along the picture from start to end; ticks are values."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Where ``value`` is in the picture."""
        along = (self.end - self.start) * (value - self.low) / (self.high - self.low)
        return round(self.start + along, 2)


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_name: str,
    *,
    y_range: tuple[float, float] | None = None,
) -> Markup:
    """A <figure> with heading, curves and legend; empty where no line has a point to show.

    ``y_range`` are the ends of the y axis; None: from 0 to the highest point.
    """
    kept = [
        replace(line, points=[point for point in line.points if math.isfinite(point[1])])
        for line in lines
    ]
    kept = [line for line in kept if line.points]
    if not kept:
        return Markup("")
    x = _x_axis([x for line in kept for x, _ in line.points])
    values = [y for line in kept for _, y in line.points]
    y = _y_axis(y_range or (0.0, max(values)))
    ends = (
        f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}" for line in kept
    )
    return fill(
        "chart.html",
        title=title,
        ends="; ".join(ends),
        x_name=x_name,
        x_ticks=[(x.place(v), f"{v:.4g}") for v in x.ticks],
        y_ticks=[(y.place(v), f"{v:.4g}") for v in y.ticks],
        origin=x.place(0),
        step=f"{x.place(1) - x.place(0):.4f}",
        curves=[(line, [(x.place(px), y.place(py)) for px, py in line.points]) for line in kept],
        most_dots=MOST_DOTS,
        **_PLACES,
    )


def _x_axis(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return Axis(low, high, LEFT, RIGHT, nice_ticks(low, high, 8, smallest=1))


def _y_axis(ends: tuple[float, float]) -> Axis:
    low, high = ends
    if low == high:
        high = low + 1
    ticks = nice_ticks(low, high, 5)
    step = ticks[1] - ticks[0]
    high = low + step * math.ceil((high - low) / step - 1e-9)
    return Axis(low, high, BOTTOM, TOP, nice_ticks(low, high, 5))


def nice_ticks(low: float, high: float, most: int, smallest: float = 0.0) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high; at most ``most`` + 1."""
    rough = max((high - low) / most, smallest)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
