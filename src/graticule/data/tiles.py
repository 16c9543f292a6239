"""A simulated stretch of land seen by four sensors: towns on fields, some of them lit at night.

A stand-in with the layout of IEEE GRSS DFC2021 DSE, for tests and for trying; nothing in it was observed. Roofs are
bright in the optical bands and in radar, lamps in the images of the night, so that both halves of a label can be seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy.random import Generator, Philox
from scipy.ndimage import gaussian_filter, uniform_filter

from graticule.data.sources.dfc2021_files import CELLS, SENSORS, Sensor

_WORLD, _SENSOR = 201, 202
_FIRST_DAY = date(2020, 8, 4)
_LIT = 0.06
"""Light, as a share of that over the middle of a dense town, from which a place counts as lit."""

# Reflectance of leaves, bare soil and roofs, by Sentinel-2's bands; then by Landsat 8's first nine.
_S2 = (
    (0.03, 0.03, 0.06, 0.04, 0.10, 0.25, 0.30, 0.33, 0.34, 0.32, 0.18, 0.09),
    (0.08, 0.10, 0.13, 0.18, 0.21, 0.23, 0.25, 0.27, 0.29, 0.29, 0.36, 0.32),
    (0.20, 0.24, 0.26, 0.28, 0.29, 0.30, 0.30, 0.31, 0.31, 0.31, 0.34, 0.33),
)
_L8 = (
    (0.03, 0.03, 0.06, 0.04, 0.33, 0.18, 0.09, 0.05, 0.002),
    (0.08, 0.10, 0.13, 0.18, 0.28, 0.36, 0.32, 0.15, 0.002),
    (0.20, 0.24, 0.26, 0.28, 0.31, 0.34, 0.33, 0.27, 0.003),
)
# Metres of the pixels of each Sentinel-2 band; backscatter (VV, VH) and warmth (kelvin) of the three surfaces.
_S2_METRES = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20)
_RADAR = ((0.08, 0.05, 0.60), (0.020, 0.008, 0.080))
_WARMTH = (299.0, 306.0, 310.0)


@dataclass(frozen=True)
class Land:
    """What is on the ground, at 10 m pixels (fewer where the tile is made smaller).

    Attributes:
        surfaces: share of leaves, soil and roofs in each pixel.
        light: by night, 1 over the middle of a dense town.
        labels: 1..4 of each cell, as published: settlement without electricity, neither, settlement with electricity,
            light without settlement.
    """

    surfaces: Float32[np.ndarray, "3 side side"]
    light: Float32[np.ndarray, "side side"]
    labels: UInt8[np.ndarray, "16 16"]


def make_land(seed: int, number: int, side: int) -> Land:
    """The land of one tile: a function of the seed and of the tile's number."""
    rng = Generator(Philox(key=[seed, _WORLD], counter=[0, 0, 0, number]))
    cell = side // CELLS
    roofs, lamps = _towns(rng, side)
    light = gaussian_filter(lamps, 0.45 * cell, mode="constant")
    light = np.clip(light / max(float(light.max()), 1e-9), 0, 1).astype(np.float32)
    field = gaussian_filter(rng.normal(size=(side, side)), 0.8 * cell, mode="wrap")
    leaves = np.clip(0.5 + 0.25 * field / field.std(), 0.05, 0.95)
    bare = ~roofs
    surfaces = np.stack([leaves * bare, (1 - leaves) * bare, roofs]).astype(np.float32)
    settled = _any(roofs, cell)
    lit = _any(light > _LIT, cell)
    labels = np.where(settled, np.where(lit, 3, 1), np.where(lit, 4, 2)).astype(np.uint8)
    return Land(surfaces, light, labels)


def _towns(rng: Generator, side: int) -> tuple[Bool[np.ndarray, "side side"], Float32[np.ndarray, "side side"]]:
    """Where roofs are, and how many lamps: towns with and without electricity, farms, and a lit road."""
    cell = side // CELLS
    roofs, lamps = np.zeros((side, side), np.bool_), np.zeros((side, side), np.float32)
    towns = int(rng.integers(5, 9))
    for town in range(towns):
        middle = rng.uniform(0.08, 0.92, 2) * side
        radius = rng.uniform(0.6, 1.3) * cell
        houses = middle + rng.normal(0, radius, (int(40 * (radius / cell) ** 2) + 12, 2))
        _build(rng, roofs, lamps if town % 2 else None, houses, cell)
    _build(rng, roofs, None, rng.uniform(0, side, (10, 2)), cell)
    ends = rng.uniform(0.1, 0.9, (2, 2)) * side
    road = np.linspace(ends[0], ends[1], side).astype(int)
    lamps[road[:, 0], road[:, 1]] += np.float32(6 / cell)
    return roofs, lamps


def _build(rng: Generator, roofs: np.ndarray, lamps: np.ndarray | None, houses: np.ndarray, cell: int) -> None:
    """Put houses of 20 to 50 metres (at least a pixel) at places [n, 2]; lamps where there is electricity."""
    for row, column in houses:
        height, width = (max(1, round(size * cell / 50)) for size in rng.uniform(2, 5, 2))
        place = (slice(max(0, int(row)), max(0, int(row) + height)), slice(max(0, int(column)), int(column) + width))
        if row < 0 or column < 0:
            continue
        roofs[place] = True
        if lamps is not None:
            lamps[place] += np.float32(1 / (height * width))


def _any(mask: np.ndarray, cell: int) -> Bool[np.ndarray, "16 16"]:
    found = mask.reshape(CELLS, cell, CELLS, cell).any(axis=(1, 3))
    return np.asarray(found)


def see(land: Land, seed: int, number: int) -> Iterator[tuple[Sensor, date, str, np.ndarray]]:
    """All images of a tile: sensor, day, band, and pixels of the sensor's type."""
    rng = Generator(Philox(key=[seed, _SENSOR], counter=[0, 0, 0, number]))
    see_by = {"sentinel1": _radar, "sentinel2": _sentinel2, "landsat": _landsat, "viirs": _night}
    for sensor in SENSORS:
        for when in range(sensor.dates):
            day = _FIRST_DAY + timedelta(days=12 * when if sensor.dates < 9 else 3 * when)
            for band, pixels in zip(sensor.bands, see_by[sensor.name](land, rng, when), strict=True):
                yield sensor, day, band, pixels.astype(sensor.dtype)


def _mixed(land: Land, values: tuple[float, ...] | np.ndarray) -> np.ndarray:
    return np.tensordot(np.asarray(values, np.float32), land.surfaces, axes=1)


def _noise(rng: Generator, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    return rng.standard_normal(shape, np.float32) * np.float32(deviation)


def _radar(land: Land, rng: Generator, when: int) -> Iterator[np.ndarray]:
    """Backscatter with speckle of about four looks."""
    for values in _RADAR:
        power = _mixed(land, values)
        yield power * rng.standard_gamma(4.4, power.shape, np.float32) / np.float32(4.4)


def _sentinel2(land: Land, rng: Generator, when: int) -> Iterator[np.ndarray]:
    """Reflectance times 10 000; later dates are drier, and each has its own haze."""
    haze, dry = rng.uniform(0, 0.02), 1 + 0.1 * when
    for place, metres in enumerate(_S2_METRES):
        leaf, soil, roof = (surface[place] for surface in _S2)
        values = _coarser(_mixed(land, (leaf * dry, soil, roof)), metres / 10)
        yield np.clip(1e4 * (values + haze + _noise(rng, values.shape, 0.006)), 1, 65535).round()


def _landsat(land: Land, rng: Generator, when: int) -> Iterator[np.ndarray]:
    """Reflectance of bands 1 to 9 at 30 m (the eighth, panchromatic, at 15 m); kelvin of bands 10 and 11 at 100 m."""
    haze = rng.uniform(0, 0.03)
    for place in range(9):
        values = _coarser(_mixed(land, tuple(surface[place] for surface in _L8)), 1.5 if place == 7 else 3)
        yield values + np.float32(haze) + _noise(rng, values.shape, 0.004)
    for cooler in (0.0, 1.5):
        values = _coarser(_mixed(land, _WARMTH), 10) - np.float32(cooler + when)
        yield values + _noise(rng, values.shape, 0.2)


def _night(land: Land, rng: Generator, when: int) -> Iterator[np.ndarray]:
    """Counts of light in pixels as large as a cell, with borders elsewhere; clouds dim some nights."""
    side = len(land.light)
    cell = side // CELLS
    place = (np.arange(side) + int(rng.integers(cell))) // cell
    sums = np.zeros((place[-1] + 1,) * 2)
    np.add.at(sums, (place[:, None], place[None]), land.light)
    areas = np.bincount(place)
    seen = sums / (areas[:, None] * areas) * rng.uniform(0.6, 1.0)
    counts = 40 + 4000 * seen + rng.normal(0, 4, seen.shape)
    yield np.clip(counts, 0, 65535).round()[place[:, None], place[None]]


def _coarser(values: np.ndarray, pixels: float) -> np.ndarray:
    """As a sensor with pixels of so many pixels of 10 m would see it."""
    return values if pixels <= 1 else uniform_filter(values, max(2, round(pixels)), mode="nearest")
