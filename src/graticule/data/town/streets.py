"""One street of the simulated town: what stands where, drawn from a seed."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox

from graticule.data.town.solids import Point, Profile, Solid, ball, box, hull, turned

Kind = Literal["town", "suburb"]
_STREET = 111

_WALLS = (
    (0.62, 0.55, 0.45), (0.55, 0.30, 0.22), (0.70, 0.68, 0.62), (0.50, 0.45, 0.40), (0.66, 0.52, 0.30),
    (0.38, 0.42, 0.48), (0.60, 0.38, 0.30), (0.72, 0.66, 0.50), (0.42, 0.50, 0.42),
)  # fmt: skip
_ROOFS = ((0.30, 0.12, 0.08), (0.16, 0.16, 0.18), (0.24, 0.17, 0.12), (0.34, 0.18, 0.12), (0.20, 0.22, 0.25))
_CARS = (
    (0.55, 0.04, 0.04), (0.03, 0.10, 0.30), (0.60, 0.60, 0.60), (0.05, 0.05, 0.06), (0.70, 0.70, 0.68),
    (0.28, 0.29, 0.31), (0.08, 0.20, 0.12), (0.55, 0.35, 0.05), (0.20, 0.28, 0.40),
)  # fmt: skip
_LEAVES = ((0.07, 0.17, 0.03), (0.11, 0.22, 0.04), (0.05, 0.13, 0.04), (0.16, 0.22, 0.04))
_CLOTHES = ((0.35, 0.05, 0.06), (0.05, 0.08, 0.25), (0.04, 0.04, 0.05), (0.5, 0.48, 0.42), (0.12, 0.25, 0.12))


@dataclass(frozen=True)
class Street:
    """A street along x.

    Attributes:
        solids: all that stands on it.
        ground: road, kerbs, pavements and gardens across the street; the road is at height 0.
        right: y of the right edge of the road.
        left: y of the left one.
        pavement: width of the pavements.
        dashes: where along x the middle line's dashes begin, modulo 6 m.
        crossing: x of the near edge of a zebra crossing.
    """

    solids: tuple[Solid, ...]
    ground: Profile
    right: float
    left: float
    pavement: float
    dashes: float
    crossing: float


def make_street(seed: int, number: int, *, houses: float = 1.0, trees: float = 1.0) -> Street:
    """The street of one photograph: a function of the seed and the photograph's number.

    Args:
        seed: of the town.
        number: of the photograph.
        houses: scale of the houses' heights; above 1 they are those of a town.
        trees: how many of them, as a multiple.
    """
    rng = Generator(Philox(key=[seed, _STREET], counter=[0, 0, 0, number]))
    right, left = -float(rng.uniform(2.6, 4.2)), float(rng.uniform(2.8, 5.0))
    pavement, garden = float(rng.uniform(1.4, 2.8)), float(rng.uniform(1.0, 6.0))
    rises = rng.uniform(-0.1, 1.0, 2)
    ground = Profile(
        (
            right - pavement - garden, right - pavement, right - 0.02, right, left, left + 0.02, left + pavement,
            left + pavement + garden,
        ),
        (0.12 + rises[0], 0.12, 0.12, 0.0, 0.0, 0.12, 0.12, 0.12 + rises[1]),
    )  # fmt: skip
    solids: list[Solid] = []
    for side, edge in ((-1, right), (1, left)):
        kerb = edge + side * pavement
        solids += _row_of_houses(rng, side, kerb + side * garden, ground, houses)
        solids += _on_pavement(rng, side, edge, pavement, ground, trees)
        solids += _garden(rng, side, kerb, garden, ground, trees)
    solids += _traffic(rng, right, left)
    solids += _horizon(rng)
    crossing = float(rng.uniform(9, 22)) if rng.random() < 0.35 else -100.0
    return Street(tuple(solids), ground, right, left, pavement, float(rng.uniform(0, 6)), crossing)


def _pick(rng: Generator, colours: tuple[Point, ...]) -> Point:
    chosen = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.85, 1.15)
    return tuple(float(part) for part in chosen)  # type: ignore[return-value]


def _row_of_houses(rng: Generator, side: int, front: float, ground: Profile, scale: float) -> list[Solid]:
    found: list[Solid] = []
    x = -12.0 - rng.uniform(0, 8)
    while x < 95:
        wide, deep = rng.uniform(7, 13), rng.uniform(7, 10)
        floors = int(rng.integers(1, 3) * scale + rng.uniform(0, 1))
        near = front + side * rng.uniform(0, 1.5)
        low, high = sorted((near, near + side * deep))
        base = ground.at(near)
        eaves = base + 0.3 + 2.8 * max(floors, 1)
        wall = "brick" if rng.random() < 0.4 else "plaster"
        found.append(box(wall, (x, low, -0.5), (x + wide, high, eaves), _pick(rng, _WALLS)))
        if scale < 1.6 or rng.random() < 0.5:
            found.append(_roof(rng, (x, low, eaves), (x + wide, high), float(rng.uniform(1.5, 3.2))))
            chimney = x + rng.uniform(1, wide - 2)
            middle = (low + high) / 2
            found.append(
                box("brick", (chimney, middle, eaves), (chimney + 0.6, middle + 0.7, eaves + 3.4), (0.32, 0.14, 0.1))
            )
        x += wide + (rng.uniform(0.0, 5.0) if rng.random() < 0.75 / scale else 0.02)
    return found


def _roof(rng: Generator, low: Point, high: tuple[float, float], rise: float) -> Solid:
    """A gable roof over a house from `low` to `high`, its ridge along or across the street."""
    over = 0.35
    x0, x1, y0, y1, z = low[0] - over, high[0] + over, low[1] - over, high[1] + over, low[2] - 0.1
    if rng.random() < 0.6:
        ridge = [(x0, (y0 + y1) / 2, z + rise), (x1, (y0 + y1) / 2, z + rise)]
        faces = [(0, 1, 4), (3, 2, 5), (0, 3, 4), (1, 2, 5), (0, 1, 2)]
    else:
        ridge = [((x0 + x1) / 2, y0, z + rise), ((x0 + x1) / 2, y1, z + rise)]
        faces = [(0, 1, 4), (3, 2, 5), (0, 3, 4), (1, 2, 5), (0, 1, 2)]
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z), *ridge]
    return hull("roof", corners, faces, _pick(rng, _ROOFS))


def _on_pavement(rng: Generator, side: int, edge: float, pavement: float, ground: Profile, trees: float) -> list[Solid]:
    """Lamps, signs, traffic lights, trees of the street, benches and people."""
    found: list[Solid] = []
    y, z = edge + side * 0.35, ground.at(edge + side * 0.35)
    for x in np.arange(5, 70, 13.0) + rng.uniform(0, 9):
        kind = rng.choice(["lamp", "sign", "light"])
        found += {"lamp": _lamp, "sign": _sign, "light": _light}[kind](x, y, z, side)
    for x in np.arange(7, 80, 9.0 / max(trees, 0.1)) + rng.uniform(0, 8):
        if rng.random() < 0.45:
            found += _tree(rng, float(x), edge + side * 0.6, z, float(rng.uniform(0.7, 1.2)))
    for x in rng.uniform(4, 45, int(rng.integers(1, 6))):
        found += _person(rng, float(x), edge + side * rng.uniform(0.5, max(0.6, pavement - 0.2)), z)
    if rng.random() < 0.5:
        x = float(rng.uniform(5, 25))
        middle = edge + side * (pavement - 0.35)
        found.append(box("wood", (x, middle - 0.2, z + 0.38), (x + 1.6, middle + 0.2, z + 0.46), (0.25, 0.14, 0.07)))
        for leg in (0.1, 1.4):
            found.append(
                box("wood", (x + leg, middle - 0.18, z), (x + leg + 0.1, middle + 0.18, z + 0.4), (0.1, 0.1, 0.1))
            )
    return found


def _lamp(x: float, y: float, z: float, side: int) -> list[Solid]:
    steel = (0.22, 0.24, 0.25)
    over = y - side * 1.3
    return [
        box("steel", (x, y - 0.06, z), (x + 0.12, y + 0.06, 5.6), steel),
        box("steel", (x + 0.02, min(y, over), 5.5), (x + 0.1, max(y, over), 5.6), steel),
        ball("steel", (x + 0.06, over, 5.48), (0.18, 0.4, 0.1), (0.6, 0.6, 0.55)),
    ]


def _sign(x: float, y: float, z: float, side: int) -> list[Solid]:
    return [
        box("steel", (x, y - 0.035, z), (x + 0.07, y + 0.035, z + 2.5), (0.4, 0.4, 0.42)),
        ball("sign", (x - 0.05, y, z + 2.3), (0.03, 0.34, 0.34), (0.6, 0.03, 0.03)),
    ]


def _light(x: float, y: float, z: float, side: int) -> list[Solid]:
    lamps = ((0.7, 0.03, 0.02), (0.5, 0.3, 0.02), (0.03, 0.45, 0.12))
    return [
        box("steel", (x, y - 0.05, z), (x + 0.1, y + 0.05, z + 2.3), (0.12, 0.14, 0.12)),
        box("steel", (x - 0.1, y - 0.15, z + 2.3), (x + 0.15, y + 0.15, z + 3.2), (0.04, 0.05, 0.04)),
        *(
            ball("sign", (x - 0.1, y, z + 3.05 - 0.29 * place), (0.04, 0.1, 0.1), lamp)
            for place, lamp in enumerate(lamps)
        ),
    ]


def _tree(rng: Generator, x: float, y: float, z: float, size: float) -> list[Solid]:
    """A trunk and a crown: of round parts, or for a conifer of flat ones over each other."""
    trunk = float(rng.uniform(1.6, 2.6)) * size
    leaves = _pick(rng, _LEAVES)
    width = 0.13 * size
    found = [box("bark", (x - width, y - width, z - 0.3), (x + width, y + width, z + trunk + 1.0), (0.12, 0.08, 0.05))]
    if rng.random() < 0.25:
        for layer in range(5):
            reach = size * (1.9 - 0.36 * layer)
            found.append(
                ball("leaves", (x, y, z + 1.3 * size + 1.15 * size * layer), (reach, reach, 0.95 * size), leaves, 0.5)
            )
        return found
    middle = z + trunk + 1.3 * size
    found.append(ball("leaves", (x, y, middle), (1.5 * size, 1.5 * size, 1.5 * size), leaves, 0.45))
    for angle in np.arange(5) * 1.257 + rng.uniform(0, 1):
        off = float(rng.uniform(0.7, 1.1)) * size
        place = (x + off * np.cos(angle), y + off * np.sin(angle), middle + float(rng.uniform(-0.6, 0.8)) * size)
        reach = float(rng.uniform(0.8, 1.25)) * size
        shade = float(rng.uniform(0.85, 1.15))
        colour = (leaves[0] * shade, leaves[1] * shade, leaves[2] * shade)
        found.append(ball("leaves", place, (reach, reach, reach * 0.85), colour, 0.5))
    return found


def _person(rng: Generator, x: float, y: float, z: float) -> list[Solid]:
    tall = float(rng.uniform(1.5, 1.9))
    return [
        box("cloth", (x - 0.1, y - 0.16, z), (x + 0.1, y - 0.02, z + 0.5 * tall), _pick(rng, _CLOTHES)),
        box("cloth", (x + 0.0, y + 0.02, z), (x + 0.2, y + 0.16, z + 0.5 * tall), _pick(rng, _CLOTHES)),
        ball("cloth", (x + 0.04, y, z + 0.65 * tall), (0.17, 0.25, 0.24 * tall), _pick(rng, _CLOTHES)),
        ball("skin", (x + 0.04, y, z + 0.93 * tall), (0.11, 0.1, 0.13), (0.48, 0.30, 0.2)),
    ]


def _garden(rng: Generator, side: int, kerb: float, garden: float, ground: Profile, trees: float) -> list[Solid]:
    """Hedges and fences at the pavement, shrubs and trees behind them."""
    found: list[Solid] = []
    x = rng.uniform(-4, 4)
    while x < 70:
        length, what = rng.uniform(3, 9), rng.random()
        low, high = sorted((kerb + side * 0.1, kerb + side * 0.55))
        if what < 0.35:
            top = float(rng.uniform(0.7, 1.5))
            found.append(box("hedge", (x, low, 0.0), (x + length, high, top), _pick(rng, _LEAVES)))
        elif what < 0.55:
            colour = (0.5, 0.5, 0.48) if rng.random() < 0.5 else (0.2, 0.13, 0.08)
            found.append(box("fence", (x, low, 0.0), (x + length, low + 0.08, 1.0), colour))
        x += length + rng.uniform(1, 5)
    for x in rng.uniform(6, 55, int(6 * trees)):
        y = kerb + side * rng.uniform(0.3, 1.0) * garden
        if rng.random() < 0.5 and garden > 2.5:
            found += _tree(rng, float(x), float(y), ground.at(float(y)), float(rng.uniform(0.8, 1.5)))
        else:
            reach = float(rng.uniform(0.3, 0.8))
            centre = (float(x), float(y), ground.at(float(y)) + reach * 0.5)
            found.append(ball("shrub", centre, (reach, reach, reach), _pick(rng, _LEAVES), 0.4))
    return found


def _traffic(rng: Generator, right: float, left: float) -> list[Solid]:
    """Cars parked at the kerbs and driving on the road."""
    found: list[Solid] = []
    for side, edge in ((-1, right), (1, left)):
        x = rng.uniform(4.5, 12)
        while x < 60:
            if rng.random() < 0.5:
                found += _car(rng, float(x), edge - side * 1.0, float(rng.normal(0, 0.02)))
            x += rng.uniform(5.5, 12)
    for lane in (-1, 1):
        if rng.random() < 0.6:
            y = (left + right) / 2 + lane * min(1.6, (left - right) / 4) * 0.6
            found += _car(rng, float(rng.uniform(14, 45)), float(y), float(rng.normal(0, 0.04)))
    return found


def _car(rng: Generator, x: float, y: float, angle: float) -> list[Solid]:
    """A body, a cabin of glass with a roof, and wheels; `x` is its back, along +x."""
    paint = _pick(rng, _CARS)
    long, wide, tall = float(rng.uniform(3.9, 4.7)), float(rng.uniform(0.84, 0.93)), float(rng.uniform(1.42, 1.75))
    waist, begin, end = 0.88, 0.25 if tall > 1.6 else 0.65, long - 1.15
    body = [(a, s * wide, c) for a, c in ((0.0, 0.3), (0.03, waist), (long - 0.08, waist - 0.14), (long, 0.3))
            for s in (-1, 1)]  # fmt: skip
    faces = [(0, 1, 2), (6, 7, 4), (0, 2, 4), (1, 3, 5), (0, 1, 6), (2, 3, 4)]
    cabin = [
        (a, s * b * wide, c)
        for a, b, c in ((begin, 0.96, waist - 0.06), (begin + 0.35, 0.8, tall), (end - 0.75, 0.8, tall),
                        (end, 0.96, waist - 0.1))
        for s in (-1, 1)
    ]  # fmt: skip
    top = [(begin + 0.33, -0.8 * wide, tall - 0.03), (begin + 0.33, 0.8 * wide, tall - 0.03),
           (end - 0.73, -0.8 * wide, tall - 0.03), (end - 0.73, 0.8 * wide, tall - 0.03)]  # fmt: skip
    parts = [
        hull("car", body, faces, paint),
        hull("window", cabin, faces, (0.03, 0.04, 0.05)),
        box("car", top[0], (top[3][0], top[3][1], tall + 0.03), paint),
    ]
    wheels = [
        ball("tyre", (a, s * (wide - 0.08), 0.32), (0.33, 0.12, 0.33), (0.02, 0.02, 0.02))
        for a in (0.8, long - 0.8)
        for s in (-1, 1)
    ]
    moved = [_shifted(turned(part, angle, (0.0, 0.0)), x, y) for part in parts]
    return [*moved, *(_shifted(_turned_ball(wheel, angle), x, y) for wheel in wheels)]


def _turned_ball(solid: Solid, angle: float) -> Solid:
    """A wheel carried round the origin; itself it stays along the axes, which small angles hide."""
    middle, reach = (solid.low + solid.high) / 2, (solid.high - solid.low) / 2
    sine, cosine = np.sin(angle), np.cos(angle)
    carried = np.array([cosine * middle[0] - sine * middle[1], sine * middle[0] + cosine * middle[1], middle[2]])
    return Solid(solid.kind, carried - reach, carried + reach, colour=solid.colour)


def _shifted(solid: Solid, x: float, y: float) -> Solid:
    by = np.array([x, y, 0.0])
    return Solid(
        solid.kind, solid.low + by, solid.high + by, solid.normals, solid.offsets + solid.normals @ by, solid.colour,
        solid.ragged,
    )  # fmt: skip


def _horizon(rng: Generator) -> list[Solid]:
    """Trees and a house where the street ends."""
    found = [box("plaster", (105.0, -9.0, -0.5), (115.0, 8.0, 7.0), _pick(rng, _WALLS))]
    for y in np.arange(-60, 60, 9.0) + rng.uniform(-3, 3, 14)[: len(np.arange(-60, 60, 9.0))]:
        reach = float(rng.uniform(4, 7))
        found.append(ball("leaves", (100.0, float(y), 3.0), (reach, reach, reach * 0.9), _pick(rng, _LEAVES), 0.25))
    return found
