"""A simulated street: boxes on a plane under a sky, seen along rays, with exact labels and exact depth.

A stand-in with the layout and the lenses of real data, for tests and for trying; nothing in it was photographed.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from numpy.random import Generator, Philox

SKY_METRES = 1000.0
"""Depth of the sky, as SynWoodScape stores it."""

_WORLD, _SENSOR = 101, 102
_SUN = np.array([0.35, 0.45, 0.82])
_FOG_METRES = 120.0

# Name in SynWoodScape's legend → colour of the surface.
_PAINT = {
    "building": (0.62, 0.50, 0.42), "pedestrian": (0.45, 0.25, 0.30), "pole": (0.45, 0.45, 0.47),
    "road line": (0.92, 0.92, 0.88), "road": (0.30, 0.30, 0.32), "sidewalk": (0.58, 0.55, 0.52),
    "vegetation": (0.20, 0.38, 0.16), "four-wheeler vehicle": (0.55, 0.15, 0.15), "traffic sign": (0.85, 0.75, 0.10),
    "sky": (0.55, 0.70, 0.92), "traffic light": (0.15, 0.45, 0.20), "terrain": (0.36, 0.42, 0.22),
    "two-wheeler vehicle": (0.12, 0.16, 0.45), "ego-vehicle": (0.12, 0.12, 0.14),
}  # fmt: skip
SURFACES = tuple(_PAINT)

Box = tuple[str, tuple[float, float, float], tuple[float, float, float]]
"""Name in `SURFACES`, and two opposite corners: the low and the high one."""


@dataclass(frozen=True)
class Street:
    """Boxes parallel to the axes of the vehicle (x ahead, y left, z up; metres), and stripes of ground.

    Attributes:
        low: corners of the boxes, [n, 3].
        high: the opposite corners.
        surface: position of each box's name in `SURFACES`.
        tint: brightness of each box.
        road: y of the right and of the left edge of the road.
        kerb: width of the sidewalks.
        dashes: where along x the dashes of the middle line begin, modulo 6 m.
    """

    low: Float64[np.ndarray, "n 3"]
    high: Float64[np.ndarray, "n 3"]
    surface: Int64[np.ndarray, " n"]
    tint: Float64[np.ndarray, " n"]
    road: tuple[float, float]
    kerb: float
    dashes: float


@dataclass(frozen=True)
class View:
    """What rays meet: colours uint8 [*rays, 3], positions in `SURFACES` uint8 [*rays], metres along the ray."""

    colour: UInt8[np.ndarray, "*rays 3"]
    surface: UInt8[np.ndarray, "*rays"]
    depth: Float32[np.ndarray, "*rays"]


def make_street(seed: int, number: int) -> Street:
    """The street of one instant: a function of the seed and of the instant's number."""
    rng = Generator(Philox(key=[seed, _WORLD], counter=[0, 0, 0, number]))
    right, left = -float(rng.uniform(3.0, 5.5)), float(rng.uniform(3.0, 8.0))
    kerb = float(rng.uniform(1.5, 3.5))
    boxes: list[Box] = [("ego-vehicle", (-0.7, -0.72, 0.25), (3.4, 0.72, 0.9))]
    for side, edge in ((-1, right), (1, left)):
        x = -45.0
        while x < 60.0:
            length, gap, height = rng.uniform(8, 18), rng.uniform(0, 6), rng.uniform(4, 16)
            near = edge + side * (kerb + rng.uniform(0.5, 4))
            least, most = sorted((near, near + side * 8))
            boxes.append(("building", (x, least, 0.0), (x + length, most, height)))
            x += length + gap
        boxes += _furniture(rng, side, edge, kerb)
    boxes += _traffic(rng, right, left)
    low, high = (np.array([box[corner] for box in boxes], np.float64) for corner in (1, 2))
    surface = np.array([SURFACES.index(name) for name, _, _ in boxes], np.int64)
    tint = rng.uniform(0.6, 1.4, len(boxes))
    return Street(low, high, surface, tint, (right, left), kerb, float(rng.uniform(0, 6)))


def _furniture(rng: Generator, side: int, edge: float, kerb: float) -> list[Box]:
    """What stands on one sidewalk."""
    found: list[Box] = []
    for x in np.arange(-30, 45, 9.0) + rng.uniform(0, 5):
        y = edge + side * 0.4
        kind = rng.choice(["traffic sign", "traffic light", "vegetation", "pole"])
        found.append(("pole", (x, y, 0.0), (x + 0.12, y + 0.12, 3.0)))
        if kind == "traffic sign":
            found.append((kind, (x - 0.05, y - 0.3, 2.2), (x, y + 0.42, 2.9)))
        elif kind == "traffic light":
            found.append((kind, (x - 0.15, y - 0.1, 2.6), (x + 0.15, y + 0.22, 3.5)))
        elif kind == "vegetation":
            found.append((kind, (x - 1.0, y - 1.0, 2.0), (x + 1.1, y + 1.1, 4.5)))
    for x in rng.uniform(-15, 25, 5):
        y = edge + side * rng.uniform(0.5, max(0.6, kerb - 0.3))
        found.append(("pedestrian", (x, y - 0.25, 0.0), (x + 0.35, y + 0.25, rng.uniform(1.5, 1.9))))
    return found


def _traffic(rng: Generator, right: float, left: float) -> list[Box]:
    """What moves on the road, and what is parked beside the kerbs."""
    found: list[Box] = []
    for x in rng.choice(np.arange(-28, 40, 7.0), 5, replace=False):
        if abs(x) < 8:
            continue
        y = rng.uniform(right + 1.2, left - 1.2)
        found.append(("four-wheeler vehicle", (x, y - 0.9, 0.15), (x + 4.2, y + 0.9, rng.uniform(1.4, 2.2))))
    for x in rng.choice([-14.0, -8.5, 5.5, 12.0, 18.0], 3, replace=False):
        y = left - 1.0 if rng.random() < 0.5 else right + 1.0
        found.append(("four-wheeler vehicle", (x, y - 0.8, 0.15), (x + 4.0, y + 0.8, 1.5)))
    for x in rng.uniform(-12, 20, 2):
        y = right + 0.5
        found.append(("two-wheeler vehicle", (x, y - 0.3, 0.05), (x + 1.8, y + 0.3, 1.2)))
    return found


def look(
    street: Street, origin: tuple[float, float, float], rays: Float64[np.ndarray, "*rays 3"], *, seed: int = 0,
    number: int = 0,
) -> View:  # fmt: skip
    """What rays from one point meet first.

    Args:
        street: the world.
        origin: of the rays, in metres.
        rays: unit vectors; NaN rays see nothing (black, sky).
        seed: of the sensor's noise, with
        number: of the photograph.
    """
    shape, rays = rays.shape[:-1], rays.reshape(-1, 3)
    start, seen = np.array(origin), np.isfinite(rays).all(axis=1)
    rays = np.where(seen[:, None], rays, (0.0, 0.0, 1.0))
    depth, surface, normal, tint = _ground(street, start, rays)
    for number_of_box in range(len(street.low)):
        _meet_box(street, number_of_box, start, rays, depth, surface, normal, tint)
    colour = _shade(street, start, rays, depth, surface, normal, tint)
    noise = Generator(Philox(key=[seed, _SENSOR], counter=[0, 0, 0, number])).normal(0, 2.5, colour.shape)
    colour = np.clip(np.rint(colour * 255 + noise), 0, 255) * seen[:, None]
    return View(
        colour.astype(np.uint8).reshape(*shape, 3), surface.reshape(shape), depth.astype(np.float32).reshape(shape)
    )


def _ground(
    street: Street, start: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Depth, surface, axis of the normal and tint where rays meet the plane z = 0, or the sky."""
    down = rays[:, 2] < -1e-6
    depth = np.full(len(rays), SKY_METRES)
    depth[down] = np.minimum(-start[2] / rays[down, 2], SKY_METRES)
    down &= depth < SKY_METRES
    x, y = (start[axis] + depth * rays[:, axis] for axis in (0, 1))
    right, left = street.road
    surface = np.full(len(rays), SURFACES.index("terrain"), np.uint8)
    surface[(y > right - street.kerb) & (y < left + street.kerb)] = SURFACES.index("sidewalk")
    on_road = (y > right) & (y < left)
    surface[on_road] = SURFACES.index("road")
    middle = (np.abs(y - (right + left) / 2) < 0.09) & ((x - street.dashes) % 6 < 3)
    edges = (np.abs(y - right - 0.3) < 0.07) | (np.abs(y - left + 0.3) < 0.07)
    surface[on_road & (middle | edges)] = SURFACES.index("road line")
    surface[~down] = SURFACES.index("sky")
    return depth, surface, np.full(len(rays), 2), np.ones(len(rays))


def _meet_box(
    street: Street, box: int, start: np.ndarray, rays: np.ndarray, depth: np.ndarray, surface: np.ndarray,
    normal: np.ndarray, tint: np.ndarray,
) -> None:  # fmt: skip
    """Replace what rays meet where they meet a box before it (slabs; Kay and Kajiya 1986)."""
    low, high = street.low[box] - start, street.high[box] - start
    # Few rays can meet the ball round a box: one product tells, where slabs take a dozen.
    middle, radius = (low + high) / 2, float(np.linalg.norm(high - low) / 2)
    distance = float(np.linalg.norm(middle))
    along = rays @ middle
    reach = -1.0 if distance <= radius else np.sqrt(distance**2 - radius**2)
    some = np.flatnonzero(along >= reach * (1 - 1e-9)) if reach > 0 else np.arange(len(rays))
    if not len(some):
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = low / rays[some], high / rays[some]
    near, far = np.fmin(one, other), np.fmax(one, other)
    axis = near.argmax(axis=1)
    enter, leave = near.max(axis=1), far.min(axis=1)
    hit = (enter > 0) & (enter <= leave) & (enter < depth[some])
    found = some[hit]
    depth[found], normal[found] = enter[hit], axis[hit]
    surface[found], tint[found] = street.surface[box], street.tint[box]


def _shade(
    street: Street, start: np.ndarray, rays: np.ndarray, depth: np.ndarray, surface: np.ndarray, normal: np.ndarray,
    tint: np.ndarray,
) -> Float64[np.ndarray, "n 3"]:  # fmt: skip
    """Colours from 0 to 1: paint, light by the direction of the face, texture by place, haze by distance."""
    paint = np.array([_PAINT[name] for name in SURFACES])[surface]
    facing = -np.sign(np.take_along_axis(rays, normal[:, None], 1)[:, 0]) * _SUN[normal]
    light = 0.55 + 0.45 * np.clip(facing, 0, 1)
    point = start + depth[:, None] * rays
    across = np.where(normal == 0, point[:, 1], point[:, 0])
    texture = 1 + 0.07 * np.sin(7.3 * across + 1.7 * point[:, 2]) * np.sin(5.1 * point[:, 1] + 0.6 * point[:, 0])
    window = (across % 2.4 > 1.2) & (point[:, 2] % 3.0 > 1.3) & (surface == SURFACES.index("building"))
    texture = np.where(window, 0.45, texture)
    lit = paint * (light * texture * np.clip(tint, 0.5, 1.5))[:, None]
    haze = 1 - np.exp(-depth / _FOG_METRES)[:, None]
    horizon = np.array(_PAINT["sky"]) * (1 - 0.25 * np.clip(rays[:, 2:], 0, 1))
    sky = (surface == SURFACES.index("sky"))[:, None]
    return np.where(sky, horizon, lit * (1 - haze) + horizon * haze)
