"""Pictures of what lies on a sphere: as a globe, as a Mollweide map, and back on the photograph."""

import numpy as np
from jaxtyping import Float64, UInt8

from graticule.grids import CameraGrid, Grid
from graticule.grids.rotation import matrix

Axes = Float64[np.ndarray, "3 3"]


def axes_of(camera: CameraGrid) -> Axes:
    """Right, up and ahead of a camera, as rows, in the frame of its sphere: the view from within."""
    right, down, ahead = matrix(camera.rotation).T
    return np.stack([right, -down, ahead])


def axes_at(lon: float, lat: float) -> Axes:
    """East, north and up of a place, as rows: the view from outside, with the place in the middle."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    up = [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    north = [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    return np.array([[-np.sin(lon), np.cos(lon), 0.0], north, up])


def globe(
    grid: Grid, painted: UInt8[np.ndarray, "*space channels"], axes: Axes, size: int = 256
) -> UInt8[np.ndarray, "{size} {size} 4"]:
    """One half of the sphere in orthographic projection, transparent where the grid has no pixel.

    Args:
        grid: where the colours lie.
        painted: RGB or RGBA of each pixel of the grid.
        axes: of the view, from `axes_of` or `axes_at`.
        size: of the picture, in pixels.
    """
    places = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(places, -places)
    on_disc = x * x + y * y < 1
    z = np.sqrt(np.where(on_disc, 1 - x * x - y * y, np.nan))
    return _gather(grid, painted, np.stack([x, y, z], axis=-1) @ axes)


def mollweide(
    grid: Grid, painted: UInt8[np.ndarray, "*space channels"], axes: Axes, height: int = 256
) -> UInt8[np.ndarray, "{height} 2*{height} 4"]:
    """The whole sphere in Mollweide's projection of equal areas (Snyder 1987, p. 251), `axes[2]` in the middle.

    Args:
        grid: where the colours lie.
        painted: RGB or RGBA of each pixel of the grid.
        axes: of the view, from `axes_of` or `axes_at`.
        height: of the picture, which is twice as wide.
    """
    x, y = np.meshgrid(
        (np.arange(2 * height) + 0.5) / height * 2 - 2, 1 - (np.arange(height) + 0.5) / height * 2
    )  # an ellipse of half axes 2 and 1
    on_map = x * x / 4 + y * y < 1
    turned = np.arcsin(np.where(on_map, y, 0.0))
    lat = np.arcsin((2 * turned + np.sin(2 * turned)) / np.pi)
    lon = np.where(on_map, np.pi * x / 2 / np.cos(turned), np.nan)
    directions = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat) + 0 * lon, np.cos(lat) * np.cos(lon)], axis=-1)
    return _gather(grid, painted, directions @ axes)


def on_photo(
    grid: Grid, painted: UInt8[np.ndarray, "*space channels"], camera: CameraGrid, width: int = 320
) -> UInt8[np.ndarray, "height {width} 4"]:
    """Colours of a sphere as the camera sees them, its photograph `width` pixels wide; transparent elsewhere."""
    small = camera.resized(max(1, round(camera.height * width / camera.width)), width)
    return _gather(grid, painted, small.directions())


def _gather(grid: Grid, painted: np.ndarray, directions: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(directions, -1, 0)
    place = grid.locate(np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y))))
    flat = painted.reshape(grid.size, -1)
    if flat.shape[1] == 3:
        flat = np.concatenate([flat, np.full((len(flat), 1), 255, np.uint8)], axis=1)
    return np.where((place >= 0)[..., None], flat[np.maximum(place, 0)], np.uint8(0))
