"""Drawings as inline SVG: learning curves, whiskers, reliability. Complete without scripts; those add the hover."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graticule.reporting.markup import Html, join, tag
from graticule.reporting.words import number

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 30
POINTS = 320


@dataclass(frozen=True)
class Line:
    """One curve: its name, its places and values, and the number (1..8) of its colour in the page's palette."""

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: int = 1
    faint: bool = False


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round places between two ends, about `count` of them (steps of 1, 2 or 5 times a power of ten)."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def thin(line: Line, points: int = POINTS) -> Line:
    """The curve with at most `points` points, each the mean of its neighbours."""
    if len(line.x) <= points:
        return line
    groups = np.array_split(np.arange(len(line.x)), points)
    x = np.array([line.x[group].mean() for group in groups])
    y = np.array([line.y[group].mean() for group in groups])
    return Line(line.name, x, y, line.colour, line.faint)


def line_chart(
    title: str, lines: Sequence[Line], *, x_name: str, log: bool = False, from_zero: bool = False, ends: bool = True
) -> Html:
    """Curves over one axis, as a figure with a legend. The values go along for the page's script to show on hover.

    `ends` puts the last value of each curve beside its name.
    """
    lines = [thin(line) for line in lines if len(line.x)]
    if log:
        lines = [Line(a.name, a.x[a.y > 0], a.y[a.y > 0], a.colour, a.faint) for a in lines if (a.y > 0).any()]
    if not lines:
        return Html("")
    x_ends = _ends(np.concatenate([line.x for line in lines]), pad=0.0)
    heights = np.concatenate([line.y for line in lines])
    y_ends = _ends(np.log10(heights) if log else heights, pad=0.06)
    if from_zero and y_ends[0] > 0:
        y_ends = (0.0, y_ends[1])
    place = _Place(x_ends, y_ends, log)
    marks = [_grid(place, x_name), *(_curve(line, place) for line in lines)]
    data = {
        "plot": [LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM],
        "x": x_name,
        "lines": [_hover(line, place) for line in lines],
    }
    cursor = tag("line", class_="cursor", x1=0, x2=0, y1=TOP, y2=HEIGHT - BOTTOM)
    picture = tag(
        "svg", *marks, cursor, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=_describe(title, lines),
        tabindex="0", class_="curves", data_curves=json.dumps(data, separators=(",", ":")),
    )  # fmt: skip
    return tag("figure", tag("figcaption", title), picture, _legend(lines, ends), class_="chart")


def reliability(confidence: Sequence[float], accuracy: Sequence[float], weight: Sequence[float]) -> Html:
    """The reliability diagram: accuracy over confidence per bin, with the share of pixels below."""
    side, foot, left, top = 240, 46, 44, 10
    total = sum(weight) or 1.0
    marks = [_diagonal(left, top, side)]
    for c, a, w in zip(confidence, accuracy, weight, strict=True):
        if w <= 0 or not (math.isfinite(c) and math.isfinite(a)):
            continue
        x, y = left + c * side, top + (1 - a) * side
        tip = f"confidence {number(c)} · accuracy {number(a)} · {w / total:.1%} of the area"
        marks.append(tag("line", x1=x, x2=x, y1=top + (1 - c) * side, y2=y, class_="gap"))
        marks.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=4.5, class_="dot c1", data_tip=tip))
        bar = foot * (w / max(weight)) * 0.9
        low = top + side + 34 + foot
        marks.append(
            tag(
                "rect",
                x=f"{x - 3.5:.1f}",
                width=7,
                y=f"{low - bar:.1f}",
                height=f"{bar:.1f}",
                class_="weight",
                data_tip=tip,
            )
        )
    label = "Reliability diagram: how often the prediction is right at each level of confidence."
    names = [
        tag("text", "confidence", x=left + side / 2, y=top + side + 30, class_="axis mid"),
        tag("text", "accuracy", x=0, y=0, class_="axis mid", transform=f"translate(11 {top + side / 2}) rotate(-90)"),
        tag("text", "share", x=left - 6, y=top + side + 34 + foot, class_="axis end"),
    ]
    size = f"0 0 {left + side + 14} {top + side + 40 + foot}"
    return tag("svg", *marks, *names, viewBox=size, role="img", aria_label=label, class_="reliability")


def whiskers(rows: Sequence[tuple[str, float, tuple[float, float] | None, bool]], ends: tuple[float, float]) -> Html:
    """Values with their intervals on one axis, one row each: (name, value, interval, whether it is a baseline)."""
    pieces = []
    low, high = ends

    def share(value: float) -> float:
        return 100 * min(max((value - low) / ((high - low) or 1), 0), 1)

    for name, value, bounds, is_baseline in rows:
        tip = f"{name}: {number(value)}" + (
            f" (95 % interval {number(bounds[0])} to {number(bounds[1])})" if bounds else ""
        )
        whisker = None
        if bounds:
            left, right = share(bounds[0]), share(bounds[1])
            whisker = tag("i", class_="whisker", style=f"left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%")
        dot = tag("i", class_="point", style=f"left:{share(value):.2f}%")
        kind = "strip baseline" if is_baseline else "strip"
        track = tag("div", whisker, dot, class_="track")
        pieces.append(tag("div", tag("span", name), track, tag("b", number(value)), class_=kind, data_tip=tip))
    return join(pieces)


@dataclass(frozen=True)
class _Place:
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    log: bool

    def x(self, value: np.ndarray | float) -> np.ndarray | float:
        low, high = self.x_ends
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: np.ndarray | float) -> np.ndarray | float:
        low, high = self.y_ends
        height = np.log10(value) if self.log else value
        return TOP + (high - height) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _ends(values: np.ndarray, pad: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low - 0.5, high + 0.5
    return low - pad * (high - low), high + pad * (high - low)


def _hover(line: Line, place: _Place) -> dict[str, object]:
    across, down = np.round(place.x(line.x), 1), np.round(place.y(line.y), 1)
    return {
        "name": line.name, "colour": line.colour, "px": np.asarray(across).tolist(), "py": np.asarray(down).tolist(),
        "x": [float(f"{value:.6g}") for value in line.x], "y": [float(f"{value:.5g}") for value in line.y],
    }  # fmt: skip


def _grid(place: _Place, x_name: str) -> Html:
    marks = []
    for value in _height_ticks(place):
        y = float(place.y(value))
        marks.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        marks.append(tag("text", _tick(value), x=LEFT - 6, y=f"{y + 3.5:.1f}", class_="axis end"))
    for value in ticks(*place.x_ends, count=5):
        marks.append(tag("text", _tick(value), x=f"{float(place.x(value)):.1f}", y=HEIGHT - 14, class_="axis mid"))
    marks.append(tag("text", x_name, x=WIDTH - RIGHT, y=HEIGHT - 2, class_="axis end"))
    return join(marks)


def _height_ticks(place: _Place) -> list[float]:
    low, high = place.y_ends
    if not place.log:
        return ticks(low, high)
    powers = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    return powers if len(powers) > 1 else ticks(10**low, 10**high)


def _tick(value: float) -> str:
    if abs(value) >= 10000:
        return f"{value / 1000:g}k"
    return f"{value:.0e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:g}"


def _curve(line: Line, place: _Place) -> Html:
    points = zip(np.atleast_1d(place.x(line.x)), np.atleast_1d(place.y(line.y)), strict=True)
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    kind = f"line c{line.colour}" + (" faint" if line.faint else "")
    end = tag("circle", cx=f"{float(place.x(line.x[-1])):.1f}", cy=f"{float(place.y(line.y[-1])):.1f}", r=2.6,
              class_=f"dot c{line.colour}")  # fmt: skip
    return join(tag("path", d=path, class_=kind), end)


def _legend(lines: Sequence[Line], ends: bool) -> Html:
    entries = [
        tag("li", tag("i", class_=f"key c{line.colour}" + (" faint" if line.faint else "")), line.name,
            tag("b", number(float(line.y[-1]))) if ends else None) for line in lines
    ]  # fmt: skip
    return tag("ul", entries, class_="keys")


def _describe(title: str, lines: Sequence[Line]) -> str:
    ends = "; ".join(f"{a.name} from {number(float(a.y[0]))} to {number(float(a.y[-1]))}" for a in lines)
    return f"{title}: {ends}"


def _diagonal(left: int, top: int, side: int) -> Html:
    marks = [tag("line", x1=left, x2=left + side, y1=top + side, y2=top, class_="ideal")]
    for value in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + value * side, top + (1 - value) * side
        marks.append(tag("line", x1=left, x2=left + side, y1=y, y2=y, class_="grid"))
        marks.append(tag("text", f"{value:g}", x=left - 6, y=y + 3.5, class_="axis end"))
        marks.append(tag("text", f"{value:g}", x=x, y=top + side + 15, class_="axis mid"))
    return join(marks)


def bars(shares: Mapping[str, float]) -> Html:
    """One bar cut into named shares that add to one, such as the parts of a split."""
    pieces = [
        tag("i", class_=f"c-{name}", style=f"flex:{max(share, 0):.4f}", data_tip=f"{name}: {share:.1%}")
        for name, share in shares.items()
    ]
    label = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return tag("div", pieces, class_="stack", role="img", aria_label=label)
