"""A photograph of the simulated town: its picture, depth, classes, and where water would stand."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from numpy.random import Generator, Philox
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial.transform import Rotation

from graticule.data.town.look import Look
from graticule.data.town.noise import noise
from graticule.data.town.paint import classes, paint
from graticule.data.town.solids import GROUND, SKY_METRES, Hits, Point, rays_of, shade, trace
from graticule.data.town.streets import Street
from graticule.grids import CameraGrid

MUST, FLOOD, MAY = 0.2, 0.5, 0.8
"""Metres above the road up to which water must, does and may stand."""

_EYE, _SENSOR = 114, 115


@dataclass(frozen=True)
class Photograph:
    """Everything about one view.

    Attributes:
        x: colours.
        depth: metres along the optical axis; `SKY_METRES` for the sky.
        segmentation: of the eleven classes.
        mask: 1 where the surface of the flood hides what is behind it.
        must_may: 0 where water cannot stand, 1 where it must, 2 where it may.
    """

    x: UInt8[np.ndarray, "h w 3"]
    depth: Float32[np.ndarray, "h w"]
    segmentation: UInt8[np.ndarray, "h w"]
    mask: UInt8[np.ndarray, "h w"]
    must_may: UInt8[np.ndarray, "h w"]


def make_view(seed: int, number: int, height: int, width: int, street: Street) -> tuple[CameraGrid, Point]:
    """A pinhole camera on the road or a pavement, looking along the street: its pixels and where it is."""
    rng = Generator(Philox(key=[seed, _EYE], counter=[0, 0, 0, number]))
    focal = width / 2 / np.tan(np.deg2rad(rng.uniform(35, 50)))
    y = float(rng.uniform(street.right - 0.6 * street.pavement, street.left + 0.6 * street.pavement))
    origin = (0.0, y, street.ground.at(y) + float(rng.uniform(1.5, 2.1)))
    # Look across the road rather than at the nearer wall.
    yaw = float(rng.normal(0, 0.16)) - 0.05 * (y - (street.left + street.right) / 2)
    pitch, roll = float(rng.uniform(-0.02, 0.14)), float(rng.normal(0, 0.012))
    level = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], np.float64)
    turned = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix() @ level
    x, y, z, w = (float(part) for part in Rotation.from_matrix(turned).as_quat())
    return replace(CameraGrid.pinhole(height, width, focal), rotation=(x, y, z, w)), origin


def photograph(
    street: Street, camera: CameraGrid, origin: Point, look: Look, *, flooded: bool = False, seed: int = 0,
    number: int = 0,
) -> Photograph:  # fmt: skip
    """What a camera sees of a street.

    Args:
        street: the world.
        camera: see `make_view`.
        origin: where it is.
        look: light, air and faults of the camera.
        flooded: photographed with the water; depth and classes are those without.
        seed: of the sensor's noise, with
        number: of the photograph.
    """
    rays, start = rays_of(camera), np.array(origin)
    hits = trace(street.solids, street.ground, camera, origin, rays)
    points = np.asarray(start + hits.depth[..., None] * rays, np.float32)
    on_ground = (hits.solid == GROUND) & (hits.depth < 120)
    shaded = shade(street.solids, camera, origin, points, on_ground, look.sun)
    focal = camera.lens.coefficients[0]
    colour = paint(street, hits, start, rays, shaded, look, focal)
    depths = {level: surface(level, origin, rays) for level in (MUST, FLOOD, MAY)}
    wet = {level: depth < hits.depth for level, depth in depths.items()}
    if flooded:
        colour = _with_water(street, hits, camera, origin, rays, colour, depths[FLOOD], wet[FLOOD], look)
    segmentation = classes(street, hits, start, rays)
    must_may = np.where(wet[MUST], 1, np.where(wet[MAY], 2, 0)).astype(np.uint8)
    x = _developed(colour, hits, look, seed, number)
    return Photograph(x, hits.depth, segmentation, wet[FLOOD].astype(np.uint8), must_may)


def surface(level: float, origin: Point, rays: Float32[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h w"]:
    """Depth at which rays meet a level surface of water, infinite where they do not."""
    down = rays[..., 2] < -1e-6
    depth = np.full(down.shape, np.inf)
    depth[down] = (level - origin[2]) / rays[..., 2][down]
    depth[depth > SKY_METRES] = np.inf
    return depth


def _with_water(
    street: Street, hits: Hits, camera: CameraGrid, origin: Point, rays: np.ndarray, colour: np.ndarray,
    depth: np.ndarray, wet: Bool[np.ndarray, "h w"], look: Look,
) -> np.ndarray:  # fmt: skip
    """The picture with muddy water: what is mirrored in it, moved by ripples, over what is seen through it."""
    mirrored = trace(street.solids, street.ground, camera, origin, rays, mirror=FLOOD)
    up = rays * np.array((1, 1, -1), np.float32)
    start = np.array(origin) * (1, 1, -1) + (0, 0, 2 * FLOOD)
    focal = camera.lens.coefficients[0]
    image = paint(street, mirrored, start, up, np.zeros(wet.shape, np.bool_), look, focal)
    rows, columns = np.nonzero(wet)
    far = depth[rows, columns].astype(np.float32)
    ray = rays[rows, columns]
    x, y = origin[0] + far * ray[:, 0], origin[1] + far * ray[:, 1]
    steady = np.clip(6 / (far + 4), 0.03, 1)
    wave_x = noise(x, y * 0.6, size=16, slope=2.4, number=7) + 0.4 * noise(x, y, size=3, slope=2.2, number=8)
    wave_y = noise(x, y, size=16, slope=2.4, number=9)
    strength = 0.018 * focal * steady
    row = np.clip(np.rint(rows + 1.6 * strength * wave_x), 0, wet.shape[0] - 1).astype(np.int64)
    column = np.clip(np.rint(columns + 0.5 * strength * wave_y), 0, wet.shape[1] - 1).astype(np.int64)
    unit = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    facing = np.clip(-unit[:, 2] * (1 + 0.10 * wave_x * steady), 0.0, 1)
    share = (0.03 + 0.97 * (1 - facing) ** 4)[:, None]
    bright = np.array(look.sunlight) * look.sun[2] * 0.6 + np.array(look.skylight)
    mud = np.array([0.21, 0.165, 0.105]) * bright * (1 + 0.12 * noise(x, y, size=40, slope=2.5, number=5)[:, None])
    deep = (hits.depth[rows, columns] - far) * np.linalg.norm(ray, axis=-1)
    through = np.exp(-deep / 0.35)[:, None] * 0.75
    below = colour[rows, columns] * through * np.array([0.85, 0.78, 0.6]) + mud * (1 - through)
    made = below * (1 - share) + image[row, column] * share
    clear = np.exp(-far / look.haze)[:, None]
    result = colour.copy()
    result[rows, columns] = made * clear + np.array(look.horizon) * (1 - clear)
    return result


def _developed(colour: np.ndarray, hits: Hits, look: Look, seed: int, number: int) -> UInt8[np.ndarray, "h w 3"]:
    """Linear colours as a camera gives them."""
    edge = np.zeros(colour.shape[:2], np.bool_)
    for axis in (0, 1):
        differs = np.diff(hits.solid, axis=axis) != 0
        edge |= np.pad(differs, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        edge |= np.pad(differs, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    # Where two things meet in a pixel it shows some of both.
    colour = colour.astype(np.float32)
    colour = np.where(edge[..., None], 0.5 * colour + 0.5 * uniform_filter(colour, (3, 3, 1)), colour)
    if look.blur:
        colour = gaussian_filter(colour, (look.blur, look.blur, 0))
    rng = Generator(Philox(key=[seed, _SENSOR], counter=[0, 0, 0, number]))
    height, width = colour.shape[:2]
    off = np.hypot((np.arange(height) / height - 0.5)[:, None], (np.arange(width) / width - 0.5)[None]) / 0.71
    balance = np.array([look.warmth, 1.0, 1 / look.warmth], np.float32)
    colour = colour * (look.exposure * (1 - look.vignette * off**2)).astype(np.float32)[..., None] * balance
    grey = colour @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    colour = np.clip(grey[..., None] + look.saturation * (colour - grey[..., None]), 0, None)
    # A shoulder keeps the sky from burning out.
    tone = np.where(colour < 0.6, colour, 0.6 + 0.4 * np.tanh((colour - 0.6) / 0.4))
    shown = 255 * np.clip(tone, 0, 1) ** (1 / 2.2)
    if look.noise:
        shown = shown + np.float32(look.noise) * rng.standard_normal(shown.shape, np.float32)
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)
