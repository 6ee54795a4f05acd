"""Small line drawings as SVG text; colours come from the style sheet, so that they follow light and dark."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Series:
    """One line. ``points`` are (x, y) with None where the figure is undefined: the line is interrupted there."""

    name: str
    points: Sequence[tuple[float, float | None]]
    style: str


@dataclass(frozen=True)
class Band:
    """A shaded stretch of the x axis."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """``reference`` is a horizontal line such as chance; ``mark`` a vertical one such as the best round."""

    series: Sequence[Series]
    x_max: int
    description: str
    bands: Sequence[Band] = ()
    mark: int | None = None
    reference: float | None = None
    limits: tuple[float, float] = field(default=(-math.inf, math.inf))

    width, height = 460, 270
    left, right, top, bottom = 44, 12, 26, 34

    def draw(self) -> Markup:
        values = [y for line in self.series for _, y in line.points if y is not None]
        if self.reference is not None and values:
            values.append(self.reference)
        ticks = nice_ticks(min(values), max(values), self.limits) if values else [0.0, 1.0]
        parts = [self._bands(), self._axes(ticks)]
        if self.reference is not None and ticks[0] <= self.reference <= ticks[-1]:
            parts.append(self._horizontal(self.reference, ticks, "reference"))
        if self.mark is not None:
            x = self._x(self.mark)
            parts.append(_line(x, self.top, x, self.height - self.bottom, "mark"))
        parts.extend(self._path(line, ticks) for line in self.series)
        if not values:
            parts.append(
                text(self.width / 2, self.height / 2, "No figure is defined.", "tick", anchor="middle"),
            )
        return svg(self.width, self.height, self.description, Markup("").join(parts))

    @property
    def frame(self) -> dict[str, float]:
        """Where the curves lie in the drawing, for the report's script."""
        return {
            "width": self.width,
            "left": self.left,
            "right": self.width - self.right,
            "top": self.top,
            "bottom": self.height - self.bottom,
            "last": self.x_max,
        }

    def _x(self, value: float) -> float:
        return self.left + (self.width - self.left - self.right) * value / self.x_max

    def _y(self, value: float, ticks: Sequence[float]) -> float:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return self.height - self.bottom - (self.height - self.top - self.bottom) * share

    def _bands(self) -> Markup:
        parts = []
        for index, band in enumerate(self.bands):
            start, end = self._x(band.start), self._x(band.end)
            box_height = self.height - self.top - self.bottom
            parts.append(
                Markup('<rect class="band{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                    index % 2, start, self.top, end - start, box_height
                )
            )
            fits = len(band.label) * 6.2 < end - start
            label = band.label if fits else str(index + 1)
            parts.append(text((start + end) / 2, self.top - 8, label, "tick", anchor="middle"))
        return Markup("").join(parts)

    def _axes(self, ticks: Sequence[float]) -> Markup:
        parts = []
        decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
        if round((ticks[1] - ticks[0]) * 10**decimals, 6) % 1:
            decimals += 1
        for tick in ticks:
            parts.append(self._horizontal(tick, ticks, "grid"))
            parts.append(text(self.left - 6, self._y(tick, ticks) + 4, f"{tick:.{decimals}f}", "tick", anchor="end"))
        step = max(1, math.ceil(self.x_max / 10))
        for number in range(0, self.x_max + 1, step):
            parts.append(text(self._x(number), self.height - self.bottom + 16, str(number), "tick", anchor="middle"))
        parts.append(text((self.left + self.width - self.right) / 2, self.height - 3, "round", "tick", anchor="middle"))
        return Markup("").join(parts)

    def _horizontal(self, value: float, ticks: Sequence[float], style: str) -> Markup:
        y = self._y(value, ticks)
        return _line(self.left, y, self.width - self.right, y, style)

    def _path(self, line: Series, ticks: Sequence[float]) -> Markup:
        commands, alone, pen_down = [], [], False
        for index, (x, y) in enumerate(line.points):
            if y is None:
                pen_down = False
                continue
            place = f"{self._x(x):.1f} {self._y(y, ticks):.1f}"
            commands.append(f"{'L' if pen_down else 'M'}{place}")
            next_y = line.points[index + 1][1] if index + 1 < len(line.points) else None
            if not pen_down and next_y is None:
                alone.append(place.split())
            pen_down = True
        dots = Markup("").join(
            Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format(f"dot {line.style}", x, y) for x, y in alone
        )
        path = Markup('<path class="{}" d="{}"/>').format(f"line {line.style}", "".join(commands)) if commands else ""
        group = Markup('<g data-series="{}" data-name="{}"><title>{}</title>{}{}</g>')
        return group.format(line.style, line.name, line.name, path, dots)


def nice_ticks(low: float, high: float, limits: tuple[float, float] = (-math.inf, math.inf)) -> list[float]:
    """Four to seven round numbers that enclose ``low`` to ``high`` and stay within ``limits`` where these are round."""
    if high - low < 1e-9:
        low, high = max(limits[0], low - 0.05), min(limits[1], high + 0.05)
    raw = (high - low) / 4
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def svg(
    width: float,
    height: float,
    description: str,
    content: Markup,
    style: str = "plot",
    data: Mapping[str, str] | None = None,
) -> Markup:
    """A drawing that scales with the page; ``description`` is what a screen reader says instead of it, ``data`` is for
    the report's script."""
    attributes = Markup("").join(Markup(' data-{}="{}"').format(*pair) for pair in (data or {}).items())
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}</svg>').format(
        style, width, height, description, attributes, content
    )


def text(x: float, y: float, content: str, style: str, anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, x, y, anchor, escape(content)
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)
