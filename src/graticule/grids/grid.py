"""What every grid can say: where its pixels are, how large they are, and where any direction falls in it."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike


@runtime_checkable
class Grid(Protocol):
    """An immutable, hashable value that says where the pixels of an array lie.

    Positions are degrees of longitude and latitude on WGS 84. Directions and areas are those of the unit sphere on
    which that longitude and latitude are spherical coordinates: one convention for rasters and for HEALPix, so that
    areas of exchanged grids agree (against the ellipsoid, areas differ by up to 0.7 %).

    A pixel that lies nowhere (beyond a pole, outside a projection's domain) has the position NaN and the area 0.
    The arrays may be read-only views.
    """

    def __hash__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The axes of an array on this grid: (height, width), or (cells,)."""
        ...

    @property
    def size(self) -> int:
        """The number of pixels."""
        ...

    def lonlat(self) -> tuple[Float64[np.ndarray, "*space"], Float64[np.ndarray, "*space"]]:
        """Longitude in [-180, 180) and latitude of the pixel centres, in degrees."""
        ...

    def directions(self) -> Float64[np.ndarray, "*space 3"]:
        """Unit vectors to the pixel centres: x to (0°, 0°), y to (90°E, 0°), z to the north pole."""
        ...

    def areas(self) -> Float64[np.ndarray, "*space"]:
        """Area of each pixel on the unit sphere, in steradians."""
        ...

    def locate(self, lon: ArrayLike, lat: ArrayLike) -> Int64[np.ndarray, "*points"]:
        """Flat index of the pixel in which each point lies, -1 for points outside the grid."""
        ...

    def neighbours_weights(
        self, lon: ArrayLike, lat: ArrayLike
    ) -> tuple[Int64[np.ndarray, "*points 4"], Float64[np.ndarray, "*points 4"]]:
        """The bilinear stencil of each point: flat indices of four pixels and weights that add to 1.

        An index of -1 has the weight 0; where a point is outside the grid all four have.
        """
        ...

    def samples(
        self, per_side: int, pixels: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"]]:
        """The `per_side²` equal parts of some pixels (flat indices), for sums over areas.

        Returns longitude (of any turn) and latitude of each part's centre, and its share of the pixel's area; the
        shares of a pixel add to 1. `per_side` is a power of two.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists) from which `grid_from_dict` makes an equal grid."""
        ...
