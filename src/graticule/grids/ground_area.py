"""How large pixels are on the ground: square metres on the ellipsoid, wherever a projection draws them."""

import numpy as np
from jaxtyping import Float64
from pyproj import CRS, Geod, Transformer

from graticule.grids.raster import RasterGrid

_PIXELS, _METRES, _DEGREES = 64, 25_000, 0.25
"""Between pixels that far apart, at most, areas are interpolated: there they hardly change."""


class GroundArea:
    """The area of a raster's pixels in m², on the ellipsoid of its CRS, some rows at a time.

    It is M N cos(lat) dlat dlon, with the radii of curvature M and N at the centre of a pixel and the differences of
    longitude and latitude from one side of the pixel to the other. Rasters of an unknown place have the area of their
    plane. NaN where a projection has no positions.

    Args:
        grid: the raster.
    """

    def __init__(self, grid: RasterGrid) -> None:
        self.grid, crs = grid, CRS.from_user_input(grid.crs)
        self.plane: float | None = None
        side = abs(grid.affine.determinant) ** 0.5
        if grid.is_local:
            self.plane = (side * crs.axis_info[0].unit_conversion_factor) ** 2
            return
        geodetic = crs.geodetic_crs or CRS.from_epsg(4326)
        self.to_lonlat = Transformer.from_crs(crs, geodetic, always_xy=True)
        self.geod = geodetic.get_geod() or Geod(ellps="WGS84")
        far = _METRES / crs.axis_info[0].unit_conversion_factor if crs.is_projected else _DEGREES
        self.step = max(1, min(_PIXELS, int(far / side)))

    def rows(self, first: int, count: int) -> Float64[np.ndarray, "count width"]:
        """The areas of the pixels of `count` rows."""
        if self.plane is not None:
            return np.full((count, self.grid.width), self.plane)
        height, width = np.arange(first, first + count) + 0.5, np.arange(self.grid.width) + 0.5
        down, across = _nodes(height, self.step), _nodes(width, self.step)
        known = self._at(*np.meshgrid(across, down))
        return _between(_between(known.T, down, height).T, across, width)

    def _at(self, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        _, lat = self._lonlat(column, row)
        across, down = (self._step_of(column, row, *half) for half in ((0.5, 0.0), (0.0, 0.5)))
        cells = np.abs(across[0] * down[1] - across[1] * down[0])
        angle, es = np.radians(lat), self.geod.es
        return self.geod.a**2 * (1 - es) * np.cos(angle) / (1 - es * np.sin(angle) ** 2) ** 2 * cells

    def _step_of(self, column: np.ndarray, row: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """Radians of longitude and of latitude from one side of a pixel to the other."""
        (west, south), (east, north) = (self._lonlat(column + sign * x, row + sign * y) for sign in (-1, 1))
        return np.radians((east - west + 180.0) % 360.0 - 180.0), np.radians(north - south)

    def _lonlat(self, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, c, d, e, f = self.grid.transform
        lon, lat = self.to_lonlat.transform(a * column + b * row + c, d * column + e * row + f)
        return np.where(np.isfinite(lon), lon, np.nan), np.where(np.abs(lat) <= 90.0 + 1e-9, lat, np.nan)


def _nodes(places: np.ndarray, step: int) -> np.ndarray:
    """Some of the places: every `step`-th, and the last."""
    return np.unique(np.append(places[::step], places[-1]))


def _between(known: np.ndarray, nodes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Linear interpolation along the last axis from nodes to places."""
    if len(nodes) == 1:
        return np.repeat(known, len(places), axis=-1)
    low = np.clip(np.searchsorted(nodes, places, side="right") - 1, 0, len(nodes) - 2)
    share = (places - nodes[low]) / (nodes[low + 1] - nodes[low])
    return known[..., low] * (1 - share) + known[..., low + 1] * share
