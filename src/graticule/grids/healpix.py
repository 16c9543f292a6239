"""The HEALPix sphere (Górski et al. 2005) in nested order: the whole of it, or the children of some parent cells.

The geometry (cell of a direction, centre and outline of a cell) is the library healpix-geo's, on the sphere.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from healpix_geo import nested
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from shapely.geometry.base import BaseGeometry

from graticule.errors import GridError
from graticule.grids.rings import ring_stencil
from graticule.grids.sphere import outline, unit_vectors, wrap_longitude

MAX_NSIDE = 8192


def _check_nside(nside: int, name: str = "nside") -> None:
    if nside < 1 or nside > MAX_NSIDE or nside & (nside - 1):
        raise GridError(f"{name} is {nside}; it must be a power of two from 1 to {MAX_NSIDE}.")


@dataclasses.dataclass(frozen=True, repr=False)
class HealpixGrid:
    """Cells of the HEALPix sphere in nested order.

    Attributes:
        nside: cells along a side of a base pixel; a power of two up to 8192. The sphere has 12·nside² cells.
        parents: nested ids at `parent_nside` of the cells covered, in the order in which their children follow one
            another; None for the whole sphere.
        parent_nside: the nside of the parents.

    Raises:
        GridError: for an nside that does not exist, or parents outside the sphere or given twice.
    """

    nside: int
    parents: tuple[int, ...] | None = None
    parent_nside: int = 1

    def __post_init__(self) -> None:
        _check_nside(self.nside)
        _check_nside(self.parent_nside, "parent_nside")
        if self.parent_nside > self.nside:
            raise GridError(f"parent_nside is {self.parent_nside}; it must not exceed nside, which is {self.nside}.")
        if self.parents is None:
            object.__setattr__(self, "parent_nside", 1)
            return
        parents = tuple(int(parent) for parent in self.parents)
        wrong = [parent for parent in parents if not 0 <= parent < 12 * self.parent_nside**2]
        if wrong or not parents or len(set(parents)) != len(parents):
            what = f"parent {wrong[0]}" if wrong else "a parent given twice" if parents else "no parents"
            raise GridError(
                f"the HEALPix grid has {what}; parents must be different ids from 0 to {12 * self.parent_nside**2 - 1} "
                f"at parent_nside {self.parent_nside}."
            )
        object.__setattr__(self, "parents", parents)

    def __repr__(self) -> str:
        if self.parents is None:
            return f"HealpixGrid({self.nside})"
        some = ", ".join(map(str, self.parents[:4])) + (", …" if len(self.parents) > 4 else "")
        return f"HealpixGrid({self.nside}, {len(self.parents)} parents at nside {self.parent_nside}: {some})"

    @property
    def depth(self) -> int:
        """log2(nside)."""
        return self.nside.bit_length() - 1

    @property
    def children(self) -> int:
        """Cells under one parent (under one base pixel, for the whole sphere)."""
        return (self.nside // self.parent_nside) ** 2

    @property
    def size(self) -> int:
        """The number of cells."""
        return (12 if self.parents is None else len(self.parents)) * self.children

    @property
    def shape(self) -> tuple[int]:
        """(cells,)."""
        return (self.size,)

    def cell_ids(self) -> Int64[np.ndarray, " cells"]:
        """The nested ids of the cells, in the grid's order."""
        if self.parents is None:
            return np.arange(self.size, dtype=np.int64)
        starts = np.asarray(self.parents, dtype=np.int64) * self.children
        return (starts[:, None] + np.arange(self.children)).reshape(-1)

    def window(self, start: int, size: int) -> HealpixGrid:
        """The grid of the `size` cells from offset `start` of this grid: the children of one cell, or whole parents.

        Raises:
            GridError: if the run is not inside the grid, or neither of these.
        """
        whole = start % self.children == 0 and size % self.children == 0
        if whole and 0 <= start < start + size <= self.size:
            first, last = start // self.children, (start + size) // self.children
            parents = range(first, last) if self.parents is None else self.parents[first:last]
            return self if size == self.size else HealpixGrid(self.nside, tuple(parents), self.parent_nside)
        side = round(size**0.5)
        if side < 1 or side * side != size or side & (side - 1) or start % size or side > self.nside:
            raise GridError(
                f"a window of {size} cells from {start} is not one cell's children; the size must be a power of four "
                f"up to {self.nside**2} and the start a multiple of it."
            )
        if start < 0 or start + size > self.size or size > self.children:
            raise GridError(
                f"the window of {size} cells from {start} leaves the grid; it must lie in {self.size} cells, "
                f"under one parent of {self.children}."
            )
        run, offset = divmod(start, self.children)
        first = (run if self.parents is None else self.parents[run]) * self.children + offset
        return HealpixGrid(self.nside, (first // size,), self.nside // side)

    def lonlat(self) -> tuple[Float64[np.ndarray, " cells"], Float64[np.ndarray, " cells"]]:
        """Longitude in [-180, 180) and latitude of the cell centres, in degrees."""
        lon, lat = nested.healpix_to_lonlat(self.cell_ids().astype(np.uint64), self.depth)
        return wrap_longitude(lon), lat

    def directions(self) -> Float64[np.ndarray, "cells 3"]:
        """Unit vectors to the cell centres."""
        return unit_vectors(*self.lonlat())

    def areas(self) -> Float64[np.ndarray, " cells"]:
        """Steradians: 4π / (12·nside²) for every cell (read-only)."""
        return np.broadcast_to(np.float64(np.pi / (3 * self.nside**2)), self.shape)

    @cached_property
    def _sorted_parents(self) -> tuple[np.ndarray, np.ndarray]:
        """Parent ids in ascending order, and the run that each has in this grid."""
        order = np.argsort(self.parents or ())
        return np.asarray(self.parents or (), dtype=np.int64)[order], order.astype(np.int64)

    def offsets(self, ids: Int64[np.ndarray, "*points"]) -> Int64[np.ndarray, "*points"]:
        """The offset in this grid of nested cell ids, -1 for cells that it does not cover (and for -1)."""
        if self.parents is None:
            return np.where((ids >= 0) & (ids < self.size), ids, -1)
        parents, runs = self._sorted_parents
        parent, child = np.divmod(ids, self.children)
        place = np.minimum(np.searchsorted(parents, parent), len(parents) - 1)
        return np.where((parents[place] == parent) & (ids >= 0), runs[place] * self.children + child, -1)

    def locate(self, lon: ArrayLike, lat: ArrayLike) -> Int64[np.ndarray, "*points"]:
        """Offset in this grid of the cell in which each point lies, -1 outside."""
        lon, lat, real = _real_points(lon, lat)
        ids = nested.lonlat_to_healpix(lon.reshape(-1), lat.reshape(-1), self.depth).astype(np.int64).reshape(lon.shape)
        return self.offsets(np.where(real, ids, -1))

    def neighbours_weights(
        self, lon: ArrayLike, lat: ArrayLike
    ) -> tuple[Int64[np.ndarray, "*points 4"], Float64[np.ndarray, "*points 4"]]:
        """The two cells on the ring north of each point and the two on the ring south of it, as healpy has it.

        At the border of a set of parents the weights of the cells that exist are raised to add to 1.
        """
        lon, lat, real = _real_points(lon, lat)
        ids, weights = ring_stencil(self.nside, lon.reshape(-1), lat.reshape(-1))
        outside = ~real | (self.locate(lon, lat) < 0)
        index = np.where(outside[..., None], -1, self.offsets(ids.reshape(*lon.shape, 4)))
        weights = np.where(index >= 0, weights.reshape(*lon.shape, 4), 0.0)
        total = weights.sum(axis=-1, keepdims=True)
        return index, np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)

    def samples(
        self, per_side: int, pixels: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"]]:
        """Longitude, latitude and share of the cell's area of the `per_side²` descendants of some cells."""
        n = per_side**2
        run, child = np.divmod(pixels, self.children)
        first = child + self.children * (run if self.parents is None else np.asarray(self.parents)[run])
        ids = first[:, None] * n + np.arange(n)
        lon, lat = nested.healpix_to_lonlat(ids.reshape(-1).astype(np.uint64), self.depth + per_side.bit_length() - 1)
        return lon.reshape(ids.shape), lat.reshape(ids.shape), np.full(ids.shape, 1.0 / n)

    def footprint(self) -> BaseGeometry:
        """The union of the parents' outlines in longitude and latitude (8 points a side), cut at the antimeridian."""
        if self.parents is None:
            return shapely.box(-180.0, -90.0, 180.0, 90.0)
        parents = np.asarray(self.parents, dtype=np.uint64)
        lon, lat = nested.vertices(parents, self.parent_nside.bit_length() - 1, step=8)
        return shapely.union_all([outline(wrap_longitude(lon[i]), lat[i]) for i in range(len(parents))])

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `grid_from_dict` is the inverse."""
        whole = {"kind": "healpix", "order": "nested", "nside": self.nside}
        if self.parents is None:
            return whole
        return whole | {"parent_nside": self.parent_nside, "parents": list(self.parents)}


def _real_points(lon: ArrayLike, lat: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points with those that are nowhere (NaN, beyond a pole) moved to (0, 0), and which were real."""
    lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    real = np.asarray(np.isfinite(lon) & (np.abs(lat) <= 90.0))
    return np.where(real, lon, 0.0), np.where(real, lat, 0.0), real
