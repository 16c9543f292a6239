"""What lies on the ground under a raster: how large its pixels are, and where true north is.

A map projection stretches and turns. Metres of the projection are not metres on the ground (in Web Mercator at 60°N
they are half), and up is north on few maps: on UTM it is off by degrees, on polar stereographic maps by any angle.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from pyproj import CRS, Transformer

from graticule.errors import GridError
from graticule.grids.raster import RasterGrid

_MAJOR, _FLATTENING = 6_378_137.0, 1 / 298.257223563
"""Of the ellipsoid of WGS 84, in metres."""
_STEP = 32
"""Pixels between the points where the ground is measured; between them it is interpolated."""
_TURN = 2.0
"""Degrees by which north may differ between two such points; where it turns faster, every pixel is measured."""

Lengths = Float32[np.ndarray, "#height #width"]
"""Metres per pixel or degrees; one number, a column, or one for each pixel: it broadcasts against the grid's shape."""


def pixel_size(grid: RasterGrid) -> tuple[Lengths, Lengths]:
    """Metres on the ground (the ellipsoid of WGS 84) from a pixel's centre to the next: (down, right).

    Columns [height, 1] on a plate carrée, whose pixels are narrower towards the poles; else [height, width]. `down` is
    negative where the raster is a mirror image of the ground (rows that go north while columns go east).
    """
    return _ground(grid)[:2]


def true_north(grid: RasterGrid) -> Lengths:
    """Degrees from the picture's up, clockwise, to true north.

    0 on a plate carrée with north up; on a projected map minus the meridian convergence. Of a mirrored raster (`down`
    is negative, see `pixel_size`), the picture is the one turned over, so that up is the direction of rows.

    Raises:
        GridError: if the raster's place on the Earth is not known.
    """
    if grid.is_local:
        raise GridError(f"{grid!r} has no place on the Earth, so true north is unknown; assign its CRS first.")
    return _ground(grid)[2]


@lru_cache(maxsize=8)
def _ground(grid: RasterGrid) -> tuple[Lengths, Lengths, Lengths]:
    """(down, right, north) of a grid."""
    if grid.is_local:
        unit = CRS.from_user_input(grid.crs).axis_info[0].unit_conversion_factor
        a, b, _, d, e, _ = grid.transform
        down, right = (np.full((1, 1), unit * np.hypot(*step)) for step in ((b, e), (a, d)))
        return _float32(down), _float32(right), _float32(np.zeros((1, 1)))
    if grid.is_plate:
        rows = np.arange(grid.height) + 0.5
        down, right, turned = _measured(grid, rows[:, None], np.full((1, 1), 0.5))
        return _float32(down), _float32(right), _float32(np.rad2deg(turned))
    for step in (_STEP, 1):
        rows, columns = _nodes(grid.height, step), _nodes(grid.width, step)
        down, right, turned = _measured(grid, rows[:, None] + 0.5, columns[None] + 0.5)
        east, north = np.sin(turned), np.cos(turned)
        if step > 1 and _turns_fast(turned):
            continue
        down, right, east, north = (_between(v, rows, columns, grid.shape) for v in (down, right, east, north))
        break
    return _float32(down), _float32(right), _float32(np.rad2deg(np.arctan2(east, north)))


def _float32(values: np.ndarray) -> Float32[np.ndarray, "..."]:
    return values.astype(np.float32)


def _nodes(size: int, step: int) -> np.ndarray:
    """Positions that are `step` pixels apart at most, from the first pixel to the last."""
    return np.linspace(0, size - 1, -(-(size - 1) // step) + 1)


def _turns_fast(turned: np.ndarray) -> bool:
    limit = np.deg2rad(_TURN)
    steps = (np.angle(np.exp(1j * np.diff(turned, axis=axis))) for axis in (0, 1))
    return any(step.size and not np.abs(step).max() < limit for step in steps)


def _between(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values on nodes, bilinear at all pixels."""
    if values.shape == shape:
        return values
    for axis, (nodes, size) in enumerate(zip((rows, columns), shape, strict=True)):
        if len(nodes) > 1:
            place = np.arange(size) * (len(nodes) - 1) / (size - 1)
            first = np.minimum(place.astype(int), len(nodes) - 2)
            share = (place - first).reshape((-1, 1) if axis == 0 else (1, -1))
            values = values.take(first, axis) * (1 - share) + values.take(first + 1, axis) * share
    return values


def _measured(grid: RasterGrid, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Down and right in metres, and the angle to true north in radians, at pixel positions (centres are at .5)."""
    row, column = np.broadcast_arrays(row, column)
    east_right, north_right = _moved(grid, row, column, 0.0, 0.5)
    east_down, north_down = _moved(grid, row, column, 0.5, 0.0)
    face = -np.sign(east_right * north_down - north_right * east_down)  # 1 face up, -1 mirrored
    down, right = np.hypot(east_down, north_down), np.hypot(east_right, north_right)
    # True north is as far from up as the picture's right is from east.
    return face * down, right, np.arctan2(north_right, east_right)


def _moved(
    grid: RasterGrid, row: np.ndarray, column: np.ndarray, by_row: float, by_column: float
) -> tuple[np.ndarray, np.ndarray]:
    """Metres to the east and to the north from one side of a position to the other."""
    lon, lat = np.deg2rad(_lonlat(grid, row, column))
    start, end = (_on_ellipsoid(*_lonlat(grid, row + s * by_row, column + s * by_column)) for s in (-1, 1))
    x, y, z = end - start
    outward = np.cos(lon) * x + np.sin(lon) * y
    return np.cos(lon) * y - np.sin(lon) * x, np.cos(lat) * z - np.sin(lat) * outward


def _lonlat(grid: RasterGrid, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = grid.transform
    x, y = a * column + b * row + c, d * column + e * row + f
    return np.array([x, y]) if grid.is_plate else np.array(_to_lonlat(grid.crs).transform(x, y))


@lru_cache(maxsize=64)
def _to_lonlat(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _on_ellipsoid(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Geocentric x, y, z in metres of points on the ellipsoid, in degrees."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    squashed = _FLATTENING * (2 - _FLATTENING)
    across = _MAJOR / np.sqrt(1 - squashed * np.sin(lat) ** 2)
    equatorial = across * np.cos(lat)
    return np.array([equatorial * np.cos(lon), equatorial * np.sin(lon), across * (1 - squashed) * np.sin(lat)])
