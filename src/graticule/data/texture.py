"""Texture as bands: what a pixel's surroundings look like, computed once, from whole scenes.

For each band and each of several squares round a pixel, its mean and the logarithm of its standard deviation. They are
taken from the scene and not from a window, so a window's border is no border to them, and a net that sees one pixel at
a time knows its surroundings. Sides are told in the units of the grid, so that texture means the same on any grid.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, UInt8

from graticule.data.prepare import HealpixScene, RasterScene
from graticule.errors import SourceError
from graticule.grids import HealpixGrid, RasterGrid
from graticule.grids.windows import healpix_halo, morton_inverse
from graticule.schema import Band

_LOG_STEP = 0.02
"""Of the stored log deviations: those of bytes, 0 to 4.85, fill the values of a byte."""
_TILE = 64
"""Side of the squares in which a sphere's texture is computed and kept."""


def texture_bands(bands: Sequence[Band], sides: Iterable[float]) -> tuple[Band, ...]:
    """The bands, and for each side the mean and the log deviation of each."""
    made = list(bands)
    for side in sides:
        made += [Band(f"{band.name}_mean_{side:g}", band.unit, band.kind, band.scale, band.offset) for band in bands]
        made += [Band(f"{band.name}_deviation_{side:g}", "ln", "other", _LOG_STEP) for band in bands]
    return tuple(made)


def squares_on(grid: RasterGrid | HealpixGrid, sides: Sequence[float]) -> dict[float, int]:
    """The sides that mean something on a grid, each with the odd number of pixels that comes nearest.

    Sides are in the units of the grid (degrees on the sphere). One of less than two pixels holds one pixel only, whose
    mean is itself: it is left out.

    Raises:
        SourceError: if no side is left, two are the same number of pixels, or one is wider than the grid (on HEALPix,
            than a base pixel).
    """
    if isinstance(grid, HealpixGrid):
        step = float(np.rad2deg(np.sqrt(4 * np.pi / (12 * grid.nside**2))))
    else:
        step = abs(grid.transform[4])
    odd = {side: 2 * round((side / step - 1) / 2) + 1 for side in sides if side >= 2 * step}
    limit = grid.nside if isinstance(grid, HealpixGrid) else max(grid.shape)
    if not odd or len(set(odd.values())) < len(odd) or max(odd.values()) > limit:
        raise SourceError(
            f"texture={list(sides)} makes squares of {list(odd.values())} pixels on this grid, whose pixels are "
            f"{step:.3g} wide; give sides that make different squares of 3 to {limit} pixels."
        )
    return odd


def texture(
    x: UInt8[np.ndarray, "c h w"], exists: Bool[np.ndarray, "h w"], sides: Sequence[int]
) -> UInt8[np.ndarray, "bands inner_h inner_w"]:
    """The bands and their texture, without a margin of half the largest side.

    Only pixels that exist count. A mean is rounded; a deviation is stored as ln √(variance + 1) in steps of 0.02. Sums
    are exact: differences of running sums of integers, whose cost does not depend on the side.

    Args:
        x: the bands, with the margin.
        exists: where they have input.
        sides: of the squares in pixels, odd.
    """
    values, margin = np.where(exists, x, np.uint8(0)).astype(np.int64), max(sides) // 2
    parts = np.concatenate([values, values * values, exists[None].astype(np.int64)])
    running = np.pad(parts.cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    height, width = x.shape[1] - 2 * margin, x.shape[2] - 2 * margin
    layers = [x[:, margin : margin + height, margin : margin + width]]
    for side in sides:
        low, high = margin - side // 2, margin + side // 2 + 1
        above, below = running[:, low : low + height], running[:, high : high + height]
        sums = below[..., high : high + width] - below[..., low : low + width]
        sums -= above[..., high : high + width] - above[..., low : low + width]
        number = np.maximum(sums[-1], 1)
        mean, square = (part / number for part in np.split(sums[:-1], 2))
        variance = np.maximum(square - mean * mean, 0)
        layers += [np.rint(mean).astype(np.uint8), np.rint(np.log1p(variance) / (2 * _LOG_STEP)).astype(np.uint8)]
    return np.concatenate(layers)


class TexturedRaster:
    """A raster scene of bytes, with the texture of its bands as further bands.

    Args:
        scene: what is read.
        sides: of the squares, in the units of the grid.

    Raises:
        SourceError: if the sides do not fit the grid.
    """

    def __init__(self, scene: RasterScene, sides: Sequence[float]) -> None:
        squares = squares_on(scene.grid, sides)
        self.grid, self.bands, self._scene = scene.grid, texture_bands(scene.bands, squares), scene
        self._sides = tuple(squares.values())

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x uint8 [bands, height, width], and where the scene has input."""
        margin = max(self._sides) // 2
        x, seen = self._scene.read(row - margin, col - margin, height + 2 * margin, width + 2 * margin)
        inner = seen[margin : margin + height, margin : margin + width]
        return np.where(inner, texture(x, seen, self._sides), np.uint8(0)), inner


class TexturedSphere:
    """A scene of bytes on HEALPix, with the texture of its bands as further bands.

    Squares are of cells along the axes of a base pixel, and go on over its seams.

    Args:
        scene: what is read.
        sides: of the squares, in degrees.

    Raises:
        SourceError: if the sides do not fit the grid.
    """

    def __init__(self, scene: HealpixScene, sides: Sequence[float]) -> None:
        squares = squares_on(scene.grid, sides)
        self.grid, self.bands, self._scene = scene.grid, texture_bands(scene.bands, squares), scene
        self._sides = tuple(squares.values())
        self._nside = scene.grid.nside
        self._tile = lru_cache(maxsize=256)(self._compute)

    def cells(self, ids: np.ndarray) -> np.ndarray:
        """The input x uint8 [bands, *ids.shape] of the nested cells `ids`; 0 where an id is -1."""
        flat, size = ids.reshape(-1), min(_TILE, self._nside) ** 2
        x = np.zeros((len(self.bands), flat.size), np.uint8)
        tiles = np.where(flat >= 0, flat // size, -1)
        for tile in np.unique(tiles[tiles >= 0]):
            here = tiles == tile
            x[:, here] = self._tile(int(tile))[:, flat[here] % size]
        return x.reshape(-1, *ids.shape)

    def _compute(self, tile: int) -> UInt8[np.ndarray, "bands cells"]:
        """All bands of one tile, in nested order."""
        side = min(_TILE, self._nside)
        ids = healpix_halo(self._nside, tile * side * side, side, max(self._sides) // 2)
        made = texture(self._scene.cells(ids), ids >= 0, self._sides)
        return made.reshape(len(made), -1)[:, morton_inverse(side)]
