"""Colours of what rays meet: surfaces with their texture, light and shadow, sky and haze."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from graticule.data.town.look import Look
from graticule.data.town.noise import dice, noise
from graticule.data.town.solids import GROUND, SKY, Hits
from graticule.data.town.streets import Street

# What solids are made of → its class of the eleven.
MATERIALS = {
    "brick": 2, "plaster": 2, "roof": 2, "steel": 3, "sign": 3, "hedge": 4, "shrub": 4, "car": 6, "window": 6,
    "tyre": 6, "bark": 7, "leaves": 7, "cloth": 8, "skin": 8, "wood": 10, "fence": 10,
}  # fmt: skip
ROAD, GARDEN, SKY_CLASS = 1, 5, 9

_NAMES = list(MATERIALS)
_FOLIAGE = ("hedge", "shrub", "leaves")


@dataclass(frozen=True)
class Seen:
    """What the pixels of a picture see, as flat arrays.

    Attributes:
        point: metres, [n, 3].
        ray: from the camera, of unit length, [n, 3].
        normal: [n, 3].
        distance: along the ray.
        pixel: width of a pixel there, across the ray.
    """

    point: Float32[np.ndarray, "n 3"]
    ray: Float32[np.ndarray, "n 3"]
    normal: Float32[np.ndarray, "n 3"]
    distance: Float32[np.ndarray, " n"]
    pixel: Float32[np.ndarray, " n"]

    def at(self, which: np.ndarray) -> "Seen":
        """Some of the pixels."""
        return Seen(*(values[which] for values in vars(self).values()))


def paint(
    street: Street, hits: Hits, start: np.ndarray, rays: Float32[np.ndarray, "h w 3"], shaded: Bool[np.ndarray, "h w"],
    look: Look, focal: float,
) -> Float32[np.ndarray, "h w 3"]:  # fmt: skip
    """Linear colours, 0 to about 1.

    Args:
        street: with its solids.
        hits: what the rays meet.
        start: where they begin.
        rays: see `solids.rays_of`.
        shaded: where the sun is hidden.
        look: light and air.
        focal: of the camera in pixels.
    """
    flat, length = rays.reshape(-1, 3), np.linalg.norm(rays, axis=-1).reshape(-1)
    depth, solid = hits.depth.reshape(-1), hits.solid.reshape(-1)
    point = np.asarray(start + depth[:, None] * flat, np.float32)
    unit = flat / length[:, None]
    seen = Seen(point, unit, hits.normal.reshape(-1, 3), depth * length, depth / focal)
    colour, glossy = _surfaces(street, solid, seen, look)
    lit = _lit(colour, seen, shaded.reshape(-1), look)
    above = sky(unit, look)
    mirrored = unit - 2 * (unit * seen.normal).sum(-1, keepdims=True) * seen.normal
    if glossy.any():
        some = np.flatnonzero(glossy)
        facing = np.abs((unit[some] * seen.normal[some]).sum(-1))
        share = (glossy[some] * (0.25 + 0.75 * (1 - facing) ** 4))[:, None]
        lit[some] = lit[some] * (1 - share) + sky(mirrored[some], look) * share
    clear = np.exp(-seen.distance / look.haze)[:, None]
    lit = lit * clear + np.array(look.horizon, np.float32) * (1 - clear)
    return np.where((solid == SKY)[:, None], above, lit).reshape(rays.shape)


def classes(street: Street, hits: Hits, start: np.ndarray, rays: Float32[np.ndarray, "h w 3"]) -> np.ndarray:
    """The class of each pixel, of the eleven, uint8."""
    table = np.array([MATERIALS[solid.kind] for solid in street.solids] + [SKY_CLASS, ROAD], np.uint8)
    found = table[hits.solid]  # -1 and -2 are the last entries
    y = start[1] + hits.depth * rays[..., 1]
    beyond = (y < street.right - street.pavement) | (y > street.left + street.pavement)
    found[(hits.solid == GROUND) & beyond] = GARDEN
    return found


def sky(ray: Float32[np.ndarray, "n 3"], look: Look) -> Float32[np.ndarray, "n 3"]:
    """The sky in directions of unit length; below the horizon its mirror image."""
    up = np.abs(ray[:, 2:]).clip(0.0, 1.0)
    mix = np.sqrt(up)
    colour = np.array(look.horizon, np.float32) * (1 - mix) + np.array(look.zenith, np.float32) * mix
    far = 1 / (up[:, 0] + 0.12)
    thick = noise(ray[:, 0] * far * 260, ray[:, 1] * far * 260, size=2600, slope=2.9, number=look.pattern)
    cover = np.clip(0.9 * thick + 2.6 * look.clouds - 1.6, 0, 1)[:, None] * np.clip(up * 6, 0, 1)
    body = 0.93 + 0.05 * thick[:, None] if look.clouds < 1 else 0.80 + 0.06 * thick[:, None]
    white = (0.35 + 0.65 * np.array(look.horizon, np.float32)) * body
    colour = colour * (1 - cover) + white * cover
    toward = np.clip(ray @ np.array(look.sun, np.float32), 0, 1)[:, None]
    glow = (0.25 * toward**8 + 0.5 * toward**90) * (1 - 0.8 * look.clouds)
    return np.asarray(colour + glow * np.array(look.sunlight, np.float32), np.float32)


def _lit(colour: np.ndarray, seen: Seen, shaded: np.ndarray, look: Look) -> np.ndarray:
    facing = np.clip(seen.normal @ np.array(look.sun, np.float32), 0, 1) * ~shaded
    # Walls and solids see less of the sky near the ground.
    open_sky = (0.55 + 0.45 * seen.normal[:, 2]) * (0.75 + 0.25 * np.clip(seen.point[:, 2] / 1.5, 0, 1))
    level = seen.normal[:, 2] > 0.9
    open_sky = np.where(level, 0.95, open_sky)
    light = facing[:, None] * np.array(look.sunlight, np.float32)
    light = light + open_sky[:, None] * np.array(look.skylight, np.float32)
    return np.asarray(colour * light, np.float32)


def _surfaces(street: Street, solid: np.ndarray, seen: Seen, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """The colour of each pixel's surface, and how much of the sky is mirrored in it."""
    colours = np.array([one.colour for one in street.solids] + [(0, 0, 0), (0.5, 0.5, 0.5)], np.float32)
    kinds = np.array([_NAMES.index(one.kind) for one in street.solids] + [-2, -1])[solid]
    colour, glossy = colours[solid], np.zeros(len(solid), np.float32)
    ground = np.flatnonzero(solid == GROUND)
    if len(ground):
        colour[ground] = _ground(street, seen.at(ground), look)
    for name in {_NAMES[kind] for kind in np.unique(kinds[kinds >= 0])}:
        which = np.flatnonzero(kinds == _NAMES.index(name))
        some, numbers = seen.at(which), solid[which]
        if name in ("brick", "plaster"):
            colour[which], glossy[which] = _wall(street, numbers, some, colour[which], name, look)
        elif name in _FOLIAGE:
            colour[which] = _leaves(some, colour[which], look)
        elif name == "roof":
            colour[which] = _roof(some, colour[which], look)
        elif name == "car":
            colour[which], glossy[which] = _car(street, numbers, some, colour[which])
        elif name == "window":
            glossy[which] = 0.8
        elif name == "fence":
            colour[which] *= (0.35 + 0.65 * (some.point[:, :1] % 0.16 > 0.03)).astype(np.float32)
        else:
            colour[which] *= 1 + look.grain * 0.12 * _fine(some, look)[:, None]
    return colour, glossy


def _fine(seen: Seen, look: Look) -> np.ndarray:
    """Fine texture of solids, on two planes through them."""
    u, v = seen.point[:, 0] + seen.point[:, 1], seen.point[:, 2] + 0.37 * seen.point[:, 1]
    return noise(u, v, size=6, slope=1.6, number=look.pattern)


def _thin(line: np.ndarray, seen: Seen, width: float) -> np.ndarray:
    """A line's strength, fading where it is narrower than a pixel."""
    return line * np.clip(width / np.maximum(seen.pixel, 1e-6), 0, 1)


def _ground(street: Street, seen: Seen, look: Look) -> np.ndarray:
    x, y = seen.point[:, 0], seen.point[:, 1]
    slant = np.clip(np.abs(seen.ray[:, 2]) * 4, 0.15, 1)
    patchy = noise(x, y, size=90, slope=2.4, number=look.pattern)
    fine = noise(x, y, size=5, slope=0.9, number=look.pattern + 1) * np.clip(0.03 / seen.pixel, 0, 1) * slant
    grey = 0.15 + look.grain * (0.022 * patchy + 0.028 * fine)
    colour = np.stack([grey, grey * 0.99, grey * 0.98], axis=-1)
    width = street.left - street.right
    middle = np.abs(y - (street.left + street.right) / 2) < 0.07
    dash = (x - street.dashes) % 6 < 3
    edge = (np.abs(y - street.right - 0.25) < 0.06) | (np.abs(y - street.left + 0.25) < 0.06)
    zebra = (x > street.crossing) & (x < street.crossing + 3) & (y % 1.0 < 0.5)
    zebra &= np.abs(y - (street.left + street.right) / 2) < width / 2 - 0.4
    worn = np.clip(1.0 + look.grain * (0.35 * patchy + 0.2 * fine - 0.2), 0.25, 1.0)
    marked = ((middle & dash & (street.crossing < -50)) | edge | zebra) * worn
    colour += marked[:, None] * (0.62 - colour)
    beside = (y <= street.right) | (y >= street.left)
    slabs = 0.34 + look.grain * (0.03 * patchy + 0.035 * fine)
    slabs += look.grain * 0.05 * (dice(x / 0.6, y / 0.6) - 0.5) * np.clip(0.2 / seen.pixel, 0, 1)
    seam = _thin((x % 0.6 < 0.025) | (y % 0.6 < 0.025), seen, 0.02) * slant
    slabs *= 1 - 0.35 * seam
    kerb = (np.abs(y - street.right + 0.08) < 0.08) | (np.abs(y - street.left - 0.08) < 0.08)
    slabs = np.where(kerb, slabs * 1.12, slabs)
    colour[beside] = slabs[beside, None] * np.array([1.0, 0.96, 0.90])
    grass = (y < street.right - street.pavement) | (y > street.left + street.pavement)
    blades = np.clip(1 + look.grain * (0.25 * patchy + 0.35 * fine), 0.3, 1.8)
    lawn = np.array([0.10, 0.19, 0.04]) + np.clip(0.03 * patchy, -0.03, 0.06)[:, None] * np.array([1.5, 0.6, 0.2])
    colour[grass] = (blades[:, None] * lawn)[grass]
    return np.asarray(np.clip(colour, 0.01, 1), np.float32)


def _wall(
    street: Street, numbers: np.ndarray, seen: Seen, colour: np.ndarray, name: str, look: Look
) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([one.low for one in street.solids], np.float32)[numbers]
    high = np.array([one.high for one in street.solids], np.float32)[numbers]
    along = (np.abs(seen.normal[:, 1]) > 0.5).astype(np.int64)  # a wall across y runs along x
    axis = 1 - along
    rows = np.arange(len(numbers))
    u, length = seen.point[rows, axis] - low[rows, axis], (high - low)[rows, axis]
    v = seen.point[:, 2] - (low[:, 2] + 0.9)
    stains = noise(u + 13 * numbers, v, size=30, slope=2.6, number=look.pattern)
    colour = colour * (1 + look.grain * (0.10 * stains + 0.06 * _fine(seen, look)))[:, None]
    if name == "brick":
        course = np.floor(v / 0.075)
        joint = ((v % 0.075) < 0.012) | (((u + 0.11 * (course % 2)) % 0.22) < 0.012)
        colour = colour * (1 + _thin(joint, seen, 0.012) * 0.5)[:, None]
        bricks = dice(u / 0.22 + 0.5 * (course % 2), course) - 0.5
        colour = colour * (1 + look.grain * 0.25 * bricks * np.clip(0.05 / seen.pixel, 0, 1))[:, None]
    bays = np.maximum(np.round(length / 2.6), 1)
    bay, place = np.floor(u / length * bays), (u / length * bays) % 1
    floor, rise = np.floor(v / 2.8), (v / 2.8) % 1
    room = (v > 0) & (seen.point[:, 2] < high[:, 2] - 0.5) & (length > 2) & (seen.normal[:, 2] < 0.5)
    door = room & (floor == 0) & (bay == np.floor(bays / 2)) & (np.abs(place - 0.5) < 0.2) & (rise < 0.75)
    frame = room & ~door & (np.abs(place - 0.5) < 0.27) & (rise > 0.26) & (rise < 0.83)
    frame &= ~((floor == 0) & (bay == np.floor(bays / 2)))
    glass = frame & (np.abs(place - 0.5) < 0.235) & (rise > 0.30) & (rise < 0.80)
    glass &= ~(_thin((np.abs(place - 0.5) < 0.012) | (np.abs(rise - 0.62) < 0.01), seen, 0.05) > 0.4)
    inside = dice(bay, floor + 7 * numbers)
    curtain = glass & (inside > 0.45) & (np.abs(place - 0.5) > 0.235 * (inside - 0.3))
    colour[door] = np.array([0.16, 0.08, 0.05]) + 0.2 * dice(numbers, numbers)[door, None] * np.array([0.2, 0.5, 1.0])
    colour[frame] = (0.62, 0.61, 0.58)
    colour[glass] = (0.03, 0.035, 0.04)
    colour[curtain] = (0.42, 0.40, 0.36)
    sill = room & ~door & (np.abs(place - 0.5) < 0.3) & (rise > 0.225) & (rise <= 0.26)
    colour[sill] *= 0.6
    plinth = v < -0.35
    colour[plinth] *= 0.6
    return colour, np.where(glass & ~curtain, 0.9, np.where(glass, 0.25, 0)).astype(np.float32)


def _roof(seen: Seen, colour: np.ndarray, look: Look) -> np.ndarray:
    slope = seen.normal[:, 2]
    u = np.where(np.abs(seen.normal[:, 1]) > np.abs(seen.normal[:, 0]), seen.point[:, 0], seen.point[:, 1])
    v = seen.point[:, 2] / np.sqrt(np.maximum(1 - slope**2, 0.05))
    tiles = _thin((v % 0.3 < 0.06) | (u % 0.25 < 0.03), seen, 0.06)
    patchy = noise(u, v, size=25, slope=2.2, number=look.pattern)
    made = colour * (1 - 0.4 * tiles + look.grain * 0.12 * patchy)[:, None]
    return np.where((np.abs(slope) < 0.2)[:, None], np.float32(0.5) * (1 + 0.08 * patchy[:, None]), made)


def _leaves(seen: Seen, colour: np.ndarray, look: Look) -> np.ndarray:
    # On the plane that the surface faces most, so that nothing is drawn out.
    axis = np.abs(seen.normal).argmax(axis=1)
    rows = np.arange(len(axis))
    u, v = seen.point[rows, (axis + 1) % 3], seen.point[rows, (axis + 2) % 3]
    coarse = noise(u + 3 * axis, v, size=14, slope=1.6, number=look.pattern + 2)
    fine = noise(u, v + 5 * axis, size=6, slope=0.9, number=look.pattern + 3)
    fine = fine * np.clip(0.05 / seen.pixel, 0, 1)
    bright = np.clip(0.9 + (0.4 + look.grain * 0.35) * (0.30 * coarse + 0.40 * fine), 0.15, 2.4)
    # The underside of a crown is in its own shade.
    bright *= 0.8 + 0.2 * np.clip(seen.normal[:, 2] + 0.5, 0, 1)
    tint = np.array([1.0, 1.0, 0.9]) + np.clip(coarse, -1, 2)[:, None] * np.array([0.12, 0.03, -0.02])
    return np.asarray(colour * bright[:, None] * tint, np.float32)


def _car(street: Street, numbers: np.ndarray, seen: Seen, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([one.low for one in street.solids], np.float32)[numbers]
    high = np.array([one.high for one in street.solids], np.float32)[numbers]
    x, y, z = ((seen.point - low) / np.maximum(high - low, 1e-3)).T
    body = (high - low)[:, 2] > 0.3
    colour, side = colour.copy(), np.abs(seen.normal[:, 1]) > 0.7
    colour[body & (z < 0.14)] *= 0.25
    colour[body & side & (_thin((x % 0.28) < 0.006, seen, 0.03) > 0.5) & (x > 0.2) & (x < 0.8)] *= 0.4
    corner = (np.abs(y - 0.5) > 0.30) & (np.abs(y - 0.5) < 0.47) & (z > 0.55) & (z < 0.85) & body
    colour[corner & (seen.normal[:, 0] < -0.7)] = (0.5, 0.02, 0.02)
    colour[corner & (seen.normal[:, 0] > 0.7)] = (0.8, 0.8, 0.75)
    plate = body & (np.abs(y - 0.5) < 0.14) & (z > 0.30) & (z < 0.48) & (np.abs(seen.normal[:, 0]) > 0.7)
    colour[plate] = (0.6, 0.6, 0.55)
    return colour, np.full(len(numbers), 0.35, np.float32)
