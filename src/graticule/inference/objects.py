"""Objects of a whole scene: pixels of one class that touch, also at corners; with outline and statistics.

The scene comes in strips. Objects that go on in the next strip are joined at the end, so that none is ever cut. What is
kept grows with the number of objects and the length of their outlines, not with the scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64, UInt8
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from graticule.grids import RasterGrid
from graticule.grids.ground_area import GroundArea
from graticule.inference.outlines import Outlines
from graticule.schema import LegendClass, Target

EIGHT = np.ones((3, 3), np.int8)
"""Which neighbours belong to an object: all eight, corners too."""
_STEPS = 10_000
"""The median of a probability is told to half of 1 / _STEPS."""


def object_classes(target: Target) -> tuple[LegendClass, ...]:
    """The classes whose objects are told apart: class 1 of a binary target, all of others."""
    return target.legend[1:] if target.kind == "binary" else target.legend


class Objects:
    """Finds the objects of a target while its map passes in strips.

    Args:
        grid: of the scene.
        target: classes or binary.
    """

    def __init__(self, grid: RasterGrid, target: Target) -> None:
        self.grid, self.target = grid, target
        self.area = GroundArea(grid)
        self.of_class = {entry.value: _OfClass(grid) for entry in object_classes(target)}

    def add(
        self, row: int, labels: UInt8[np.ndarray, "rows width"], probabilities: Float[np.ndarray, "k rows width"]
    ) -> None:
        """Take the rows from `row` on: the map, and the probability of each class (of class 1 if binary)."""
        area: np.ndarray | None = None
        for value, found in self.of_class.items():
            mask = labels == value
            if mask.any() and area is None:
                area = self.area.rows(row, len(labels))
            own = probabilities[0 if self.target.kind == "binary" else value]
            found.add(row, mask, own, area)

    def table(self) -> gpd.GeoDataFrame:
        """One row per object, class by class and from the top, with its outline as a MultiPolygon.

        `object_id`, `class`, `class_value`, `pixels`, `area_m2` (on the ellipsoid); `min`, `max`, `mean`, `median` and
        `std` of the probability of its class; and whether it reaches the edge of the scene (`touches_edge`), beyond
        which it may go on.
        """
        tables = []
        for entry in object_classes(self.target):
            own = self.of_class[entry.value].table()
            own.insert(0, "class", entry.name)
            own.insert(1, "class_value", entry.value)
            tables.append(own)
        joined = pd.concat(tables, ignore_index=True)
        joined.insert(0, "object_id", np.arange(1, len(joined) + 1))
        return gpd.GeoDataFrame(joined, geometry="geometry", crs=self.grid.crs)


@dataclass
class _Sums:
    """Of the pieces of objects in one strip, the first of which has the number `first`."""

    first: int
    pixels: Int64[np.ndarray, " n"]
    area: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    edge: Bool[np.ndarray, " n"]
    counts: tuple[np.ndarray, np.ndarray, np.ndarray] = field(repr=False)
    """Piece, step of the probability, and how many pixels have it."""


class _OfClass:
    """The objects of one class."""

    def __init__(self, grid: RasterGrid) -> None:
        self.grid, self.outlines = grid, Outlines(grid)
        self.sums: list[_Sums] = []
        self.pairs: list[np.ndarray] = []
        self.count = 0
        self.above = np.zeros(grid.width, np.int64)

    def add(self, row: int, mask: np.ndarray, probability: np.ndarray, area: np.ndarray | None) -> None:
        labels, found = ndimage.label(mask, EIGHT)
        if found == 0 or area is None:
            self.above = np.zeros_like(self.above)
            return
        numbers = np.where(labels > 0, labels + self.count, 0).astype(np.int64)  # 1 is the first piece of all
        self._join(self.above, numbers[0])
        if self.grid.wraps:
            self._join_round(numbers)
        self.sums.append(self._summed(row, labels, found, probability, area))
        self.outlines.add(row, labels, self.count)
        self.above = numbers[-1]
        self.count += found

    def _join(self, above: np.ndarray, below: np.ndarray) -> None:
        """Note which pieces touch across the border of two strips, the neighbours at corners included."""
        for by in (-1, 0, 1):
            other = np.roll(above, by)
            if by and not self.grid.wraps:
                other[0 if by == 1 else -1] = 0
            self._note(other, below)

    def _join_round(self, numbers: np.ndarray) -> None:
        """Note which pieces touch where the last column borders the first."""
        first, last = numbers[:, 0], numbers[:, -1]
        for left, right in ((last, first), (last[1:], first[:-1]), (last[:-1], first[1:])):
            self._note(left, right)

    def _note(self, some: np.ndarray, others: np.ndarray) -> None:
        touch = (some > 0) & (others > 0)
        self.pairs.append(np.unique(np.stack([some[touch], others[touch]], axis=1) - 1, axis=0))

    def _summed(self, row: int, labels: np.ndarray, found: int, probability: np.ndarray, area: np.ndarray) -> _Sums:
        mask = labels > 0
        piece, p = labels[mask].astype(np.int64) - 1, probability[mask].astype(np.float64)
        low, high = np.full(found, np.inf), np.full(found, -np.inf)
        np.minimum.at(low, piece, p)
        np.maximum.at(high, piece, p)
        key = piece * (_STEPS + 1) + np.rint(np.clip(p, 0, 1) * _STEPS).astype(np.int64)
        keys, counts = np.unique(key, return_counts=True)
        edge = np.zeros(found + 1, np.bool_)
        if row == 0:
            edge[labels[0]] = True
        if row + len(labels) == self.grid.height:
            edge[labels[-1]] = True
        if not self.grid.wraps:
            edge[labels[:, 0]] = edge[labels[:, -1]] = True
        return _Sums(
            self.count, np.bincount(piece, minlength=found), np.bincount(piece, area[mask], found),
            np.bincount(piece, p, found), np.bincount(piece, p * p, found), low, high, edge[1:],
            (keys // (_STEPS + 1), keys % (_STEPS + 1), counts),
        )  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Join the pieces of all strips."""
        count, group = 0, np.empty(0, np.int64)
        if self.count:
            one, other = np.concatenate([np.empty((0, 2), np.int64), *self.pairs]).T
            touching = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(self.count, self.count))
            count, group = connected_components(touching, directed=False)
            group = group.astype(np.int64)
        pixels, area, total, squares = (
            np.bincount(group, self._all(name), count) for name in ("pixels", "area", "total", "squares")
        )
        low, high, edge = np.full(count, np.inf), np.full(count, -np.inf), np.zeros(count, np.bool_)
        np.minimum.at(low, group, self._all("low"))
        np.maximum.at(high, group, self._all("high"))
        np.logical_or.at(edge, group, self._all("edge").astype(np.bool_))
        mean = total / pixels
        return pd.DataFrame(
            {
                "pixels": pixels.astype(np.int64), "area_m2": area, "min": low, "max": high, "mean": mean,
                "median": self._medians(group, pixels.astype(np.int64)),
                "std": np.sqrt(np.maximum(squares / pixels - mean**2, 0)), "touches_edge": edge,
                "geometry": self.outlines.multipolygons(count, lambda numbers: group[numbers]),
            }
        )  # fmt: skip

    def _all(self, name: str) -> np.ndarray:
        return np.concatenate([np.empty(0), *(getattr(sums, name) for sums in self.sums)])

    def _medians(self, group: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        pieces: Sequence[np.ndarray] = [sums.counts[0] + sums.first for sums in self.sums]
        owner = group[np.concatenate([np.empty(0, np.int64), *pieces])]
        step, count = (np.concatenate([np.empty(0, np.int64), *(s.counts[n] for s in self.sums)]) for n in (1, 2))
        order = np.lexsort((step, owner))
        upto, begins = np.cumsum(count[order]), np.cumsum(pixels) - pixels
        middle = [
            step[order][np.searchsorted(upto, begins + at, side="right")] for at in ((pixels - 1) // 2, pixels // 2)
        ]
        return (middle[0] + middle[1]) / (2 * _STEPS)
