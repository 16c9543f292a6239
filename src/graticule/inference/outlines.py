"""Outlines of pixels that come strip by strip, never cut where strips meet."""

from collections.abc import Callable

import numpy as np
import shapely
from affine import Affine
from jaxtyping import Int
from rasterio.features import shapes

from graticule.grids import RasterGrid


class Outlines:
    """Collects the outlines of numbered pixels; what is kept is the outlines, not the pixels.

    Pixels that touch at a corner only are two parts of one outline, which is so always valid.

    Args:
        grid: of the scene.
    """

    def __init__(self, grid: RasterGrid) -> None:
        self.grid = grid
        self.parts: list[shapely.Polygon] = []
        self.numbers: list[int] = []
        self.strips: list[int] = []

    def add(self, row: int, labels: Int[np.ndarray, "rows width"], first: int = 0) -> None:
        """Take rows from `row` on: a label n above 0 marks pixels of the number `first` + n - 1."""
        if not labels.any():
            return
        at = Affine.translation(0, row)
        for outline, label in shapes(labels.astype(np.int32), mask=labels > 0, connectivity=4, transform=at):
            rings = outline["coordinates"]
            self.parts.append(shapely.Polygon(rings[0], rings[1:]))
            self.numbers.append(first + int(label) - 1)
            self.strips.append(row)

    def multipolygons(self, count: int, group_of: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """One MultiPolygon in the coordinates of the grid's CRS for each of `count` groups.

        Args:
            count: of groups; each must have a pixel.
            group_of: numbers in, the group of each out (0 ... count - 1); they are the groups themselves if None.
        """
        numbers = np.asarray(self.numbers, dtype=np.int64)
        groups = numbers if group_of is None else group_of(numbers)
        order = np.argsort(groups, kind="stable")
        parts, groups, strips = np.asarray(self.parts, dtype=object)[order], groups[order], np.array(self.strips)[order]
        whole = shapely.multipolygons(parts, indices=groups) if len(parts) else np.empty(0, dtype=object)
        starts = np.searchsorted(groups, np.arange(count + 1))
        many = np.flatnonzero(starts[1:] - starts[:-1] > 1)
        for group in many[strips[starts[many]] != strips[starts[many + 1] - 1]]:
            # In whole numbers of pixels, so that borders of strips vanish exactly.
            joined = shapely.simplify(shapely.union_all(parts[starts[group] : starts[group + 1]]), 0)
            whole[group] = shapely.multipolygons(list(getattr(joined, "geoms", [joined])))
        wrong = ~shapely.is_valid(whole)
        whole[wrong] = shapely.make_valid(whole[wrong])
        return shapely.transform(whole, self._in_crs)

    def _in_crs(self, pixels: np.ndarray) -> np.ndarray:
        a, b, c, d, e, f = self.grid.transform
        column, row = pixels.T
        return np.stack([a * column + b * row + c, d * column + e * row + f], axis=1)
