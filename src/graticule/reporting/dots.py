"""Drawings of many trials as inline SVG: values over an axis, and parallel coordinates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graticule.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.words import number


@dataclass(frozen=True)
class Axis:
    """One axis: its name, and either the ends of numbers or the names of what has no order.

    `log` spaces by orders of magnitude.
    """

    name: str
    ends: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    log: bool = False

    @classmethod
    def of(cls, name: str, values: Sequence[object], *, log: bool = False, pad: float = 0.0) -> "Axis":
        """The axis on which all of the values lie; text, truth values and nothing are names."""
        plain = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(plain) < len(values) or not plain:
            return cls(name, names=tuple(sorted({str(value) for value in values})))
        known = [float(value) for value in plain if math.isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        log = log and low > 0
        if low == high:
            return cls(name, (low / 2, low * 2) if log else (low - 0.5, high + 0.5), log=log)
        extra = pad * (high - low)
        return cls(name, (low, high) if log else (low - extra, high + extra), log=log)

    def share(self, value: object) -> float:
        """Where from 0 to 1 a value lies."""
        if self.names:
            return (self.names.index(str(value)) + 0.5) / len(self.names)
        low, high = self.ends
        here = float(value)  # type: ignore[arg-type]
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(max(here, low))
        return min(max((here - low) / (high - low), 0.0), 1.0)

    def marks(self) -> list[tuple[float, str]]:
        """Places and what stands there."""
        if self.names:
            return [((k + 0.5) / len(self.names), name) for k, name in enumerate(self.names)]
        if self.log:
            low, high = (math.log10(end) for end in self.ends)
            powers = [10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
            if len(powers) > 1:
                return [(self.share(value), f"{value:g}") for value in powers]
            return [(self.share(value), f"{value:.3g}") for value in self.ends]
        return [(self.share(value), f"{value:g}") for value in ticks(*self.ends, count=4)]


@dataclass(frozen=True)
class Dot:
    """One point: place, what is said of it on hover, colour 1..8 of the page's palette, whether it is faint."""

    x: object
    y: float
    tip: str
    colour: int = 1
    faint: bool = False


def scatter(
    title: str, dots: Sequence[Dot], x_axis: Axis, y_name: str, *, line: Sequence[tuple[float, float]] = ()
) -> Html:
    """Dots over an axis; `line` is drawn through the places given in the units of both axes."""
    dots = [dot for dot in dots if math.isfinite(dot.y)]
    if not dots:
        return Html("")
    y_axis = Axis.of(y_name, [dot.y for dot in dots], pad=0.06)
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: object, y: float) -> tuple[str, str]:
        return f"{LEFT + x_axis.share(x) * across:.1f}", f"{TOP + (1 - y_axis.share(y)) * down:.1f}"

    marks = [_height_marks(y_axis, down), *_width_marks(x_axis, across)]
    if len(line) > 1:
        path = "M" + "L".join(" ".join(place(x, y)) for x, y in line)
        marks.append(tag("path", d=path, class_="line c2"))
    for dot in dots:
        x, y = place(dot.x, dot.y)
        kind = f"dot c{dot.colour}" + (" faint" if dot.faint else "")
        marks.append(tag("circle", cx=x, cy=y, r=3.6, class_=kind, data_tip=dot.tip))
    said = f"{title}: {len(dots)} points of {y_name} over {x_axis.name}"
    picture = tag("svg", marks, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=said, class_="dots")
    return tag("figure", tag("figcaption", title), picture, class_="chart")


def _height_marks(axis: Axis, down: float) -> Html:
    marks = []
    for share, text in axis.marks():
        y = f"{TOP + (1 - share) * down:.1f}"
        marks.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        marks.append(tag("text", text, x=LEFT - 6, y=float(y) + 3.5, class_="axis end"))
    return join(*marks)


def _width_marks(axis: Axis, across: float) -> list[Html]:
    marks = [
        tag("text", text[:14], x=f"{LEFT + share * across:.1f}", y=HEIGHT - 14, class_="axis mid")
        for share, text in axis.marks()
    ]
    return [*marks, tag("text", axis.name, x=WIDTH - RIGHT, y=HEIGHT - 2, class_="axis end")]


def parallel(title: str, axes: Sequence[Axis], rows: Sequence[tuple[Sequence[object], float, str]]) -> Html:
    """Parallel coordinates: one line per row across all axes.

    Args:
        title: above.
        axes: from left to right.
        rows: values by axis, how good the row is from 0 (faint) to 1 (strong), and what is said on hover.
    """
    if len(axes) < 2 or not rows:
        return Html("")
    step, top, height = 150, 34, 220
    width = step * (len(axes) - 1) + 120
    marks = []
    for values, good, tip in sorted(rows, key=lambda row: row[1]):
        points = [
            f"{60 + k * step:.1f} {top + (1 - axis.share(value)) * height:.1f}"
            for k, (axis, value) in enumerate(zip(axes, values, strict=True))
        ]
        strength = f"opacity:{0.12 + 0.78 * good**2:.2f}"
        marks.append(tag("path", d="M" + "L".join(points), class_="line c1", style=strength, data_tip=tip))
    for k, axis in enumerate(axes):
        x = 60 + k * step
        marks.append(tag("line", x1=x, x2=x, y1=top, y2=top + height, class_="ideal"))
        marks.append(tag("text", axis.name, x=x, y=16, class_="axis mid"))
        for share, text in axis.marks():
            marks.append(tag("text", text[:12], x=x + 5, y=f"{top + (1 - share) * height + 3.5:.1f}", class_="axis"))
    said = f"{title}: {len(rows)} trials over {', '.join(axis.name for axis in axes)}"
    size = f"min-width:{min(width, 900)}px;max-width:{width}px"
    box = f"0 0 {width} {top + height + 12}"
    picture = tag("svg", marks, viewBox=box, role="img", aria_label=said, class_="dots", style=size)
    return tag("figure", tag("figcaption", title), tag("div", picture, class_="scroll"), class_="chart")


def shares(rows: Sequence[tuple[str, float]]) -> Html:
    """Names with bars of shares of one."""
    cells = []
    for name, value in rows:
        fill = tag("div", tag("i", class_="fill b1", style=f"width:{100 * value:.2f}%"), class_="track")
        bar = tag("div", tag("span", number(value)), fill, class_="bar-row")
        cells.append(tag("tr", tag("th", name, scope="row"), tag("td", bar)))
    return tag("table", tag("tbody", cells), class_="data")
