"""Windows: where they start, how they blend, and how a nested HEALPix window lies as a square.

A nested window of side² cells is a square: the bits of a cell's offset are those of its column x (even bits) and its
row y (odd bits). Row = y grows to the north-west, column = x to the north-east.
"""

from functools import lru_cache

import numpy as np
from healpix_geo import nested
from jaxtyping import Float64, Int64

from graticule.errors import GridError
from graticule.grids.healpix import HealpixGrid

_UNITS = 2**20
"""Blending weights are whole multiples of 1 / _UNITS, so that their sum is exactly 1 in any order and in float32."""


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Where windows of `size` start so that they cover `length` and overlap by `overlap` or more.

    The last one is shifted to end with the axis. An axis no longer than a window gets one window, from 0.

    Raises:
        GridError: if windows would not advance.
    """
    if length < 1 or size < 1 or not 0 <= overlap < size:
        raise GridError(
            f"windows of {size} with an overlap of {overlap} cannot cover {length} pixels; "
            "the overlap must be at least 0 and less than the window."
        )
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def raster_windows(grid_shape: tuple[int, int], size: tuple[int, int], overlap: int) -> list[tuple[int, int]]:
    """(row, column) of the windows of `size` that cover a raster, row by row."""
    columns = starts(grid_shape[1], size[1], overlap)
    return [(row, column) for row in starts(grid_shape[0], size[0], overlap) for column in columns]


def healpix_windows(grid: HealpixGrid, size_cells: int) -> list[int]:
    """Offsets at which the windows of `size_cells` cells of a grid start; they do not overlap.

    Raises:
        GridError: if the size is not a power of four, or larger than the children of one parent.
    """
    grid.window(0, size_cells)
    return list(range(0, grid.size, size_cells))


def ramp(size: int, overlap: int, first: bool, last: bool) -> Float64[np.ndarray, " size"]:
    """The weights of one window before they are shared out: 1, falling linearly over the overlap, never 0.

    The side at the edge of the scene does not fall (`first`, `last`).
    """
    place = np.arange(1, size + 1, dtype=np.float64) / (overlap + 1)
    ones = np.ones(size)
    return np.minimum(np.minimum(ones if first else place, ones), ones if last else place[::-1])


def partition(length: int, size: int, overlap: int) -> list[Float64[np.ndarray, " size"]]:
    """Blending weights of the windows from `starts`: at every pixel they add to exactly 1, and none is 0.

    The weights are multiples of 2⁻²⁰, so that sums are exact in float32, in any order. Where a window reaches beyond
    a short axis, it has the weight 1 there too.
    """
    places = starts(length, size, overlap)
    if len(places) == 1:
        return [np.ones(size)]
    ramps = [ramp(size, overlap, i == 0, i == len(places) - 1) for i in range(len(places))]
    total = np.zeros(length)
    for start, weights in zip(places, ramps, strict=True):
        total[start : start + size] += weights
    # In whole units; what rounding leaves over goes to the last window that sees the pixel.
    left = np.full(length, _UNITS, dtype=np.int64)
    units = [
        np.maximum(1, np.floor(weights / total[start : start + size] * _UNITS)).astype(np.int64)
        for start, weights in zip(places, ramps, strict=True)
    ]
    for start, own in zip(places, units, strict=True):
        left[start : start + size] -= own
    for start, own in zip(reversed(places), reversed(units), strict=True):
        own += left[start : start + size]
        left[start : start + size] = 0
    return [own / _UNITS for own in units]


def _spread_bits(values: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """Move bit k of numbers below 2¹⁶ to bit 2k."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        values = (values | (values << shift)) & mask
    return values


def _check_side(side: int) -> None:
    if not 1 <= side <= 8192 or side & (side - 1):
        raise GridError(f"a nested window is {side} cells wide; the side must be a power of two up to 8192.")


@lru_cache(maxsize=32)
def morton(side: int) -> Int64[np.ndarray, "{side} {side}"]:
    """Where the cell at (row, column) of a window's square lies in nested order.

    So `values[..., morton(side)]` lays a window [..., side²] out as its square.
    The array is read-only, since it is kept.
    """
    _check_side(side)
    axis = _spread_bits(np.arange(side, dtype=np.int64))
    offsets: np.ndarray = axis[None, :] | (axis[:, None] << 1)
    offsets.flags.writeable = False
    return offsets


@lru_cache(maxsize=32)
def morton_inverse(side: int) -> Int64[np.ndarray, " {side*side}"]:
    """Where each cell of a window, in nested order, lies in its square: row·side + column.

    So `square.reshape(..., side²)[..., morton_inverse(side)]` is the window [..., side²] again.
    """
    inverse = np.empty(side * side, dtype=np.int64)
    inverse[morton(side).reshape(-1)] = np.arange(side * side)
    inverse.flags.writeable = False
    return inverse


@lru_cache(maxsize=1)
def _faces_around() -> Int64[np.ndarray, "12 3 3"]:
    """The base pixel next to each of the twelve, by the step in y and x (0 back, 1 none, 2 on); -1 where none is."""
    south_first = nested.neighbours(np.arange(12, dtype=np.uint64), 0)  # S, SW, W, NW, N, NE, E, SE
    faces = np.empty((12, 3, 3), dtype=np.int64)
    faces[:, 1, 1] = np.arange(12)
    steps = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    for direction, (y, x) in enumerate(steps):
        faces[:, y, x] = south_first[:, direction]
    return faces


@lru_cache(maxsize=1)
def _quarter_turns() -> Int64[np.ndarray, "12 3 3"]:
    """By how many quarter turns the axes of the base pixel next to each are turned, by the step in y and x.

    Only round the poles: there four base pixels meet with the same corner, so that each step from one to the next
    turns the axes once. Everywhere else neighbours have parallel axes.
    """
    turns = np.zeros((12, 3, 3), dtype=np.int64)
    turns[:4, [1, 2, 2], [2, 2, 1]] = 1, 2, 3
    turns[8:, [1, 0, 0], [0, 0, 1]] = 1, 2, 3
    return turns


def turned_square(
    side: int, turns: Int64[np.ndarray, "*shape"], y: Int64[np.ndarray, "*shape"], x: Int64[np.ndarray, "*shape"]
) -> tuple[Int64[np.ndarray, "*shape"], Int64[np.ndarray, "*shape"]]:
    """Row and column in a square of `side` whose axes are turned by quarter turns, of (y, x) along one's own axes."""
    back = side - 1
    rows, columns = [y, back - x, back - y, x], [x, y, back - x, back - y]
    return np.choose(turns, rows), np.choose(turns, columns)


def cells_across_seams(
    nside: int, face: Int64[np.ndarray, "*shape"], y: Int64[np.ndarray, "*shape"], x: Int64[np.ndarray, "*shape"]
) -> tuple[Int64[np.ndarray, "*shape"], Int64[np.ndarray, "*shape"]]:
    """Nested ids of the true cells at (y, x) when the axes of a base pixel go on over its seams.

    Args:
        nside: of the cells.
        face: the base pixel whose axes count.
        y: row, from -nside to 2 nside - 1.
        x: column, likewise.

    Returns:
        The ids, -1 where the sphere has no cell since only three base pixels meet; and by how many quarter turns the
        axes of the base pixel that the cell lies in are turned.
    """
    over_y, over_x = y // nside + 1, x // nside + 1
    turns = _quarter_turns()[face, over_y, over_x]
    row, column = turned_square(nside, turns, y % nside, x % nside)
    there = _faces_around()[face, over_y, over_x]
    ids = there * nside**2 + (_spread_bits(column) | (_spread_bits(row) << 1))
    return np.where(there >= 0, ids, -1), turns


def healpix_halo(
    nside: int, start_cell_id: int, side: int, halo: int
) -> Int64[np.ndarray, "{side}+2*{halo} {side}+2*{halo}"]:
    """Nested ids of a window's cells and of the true neighbours `halo` cells around it, as a square.

    Over the seams of base pixels the neighbours are those on the sphere, laid out as the window's axes go on. Where
    only three base pixels meet, the sphere has no cells for one corner of the square: -1.

    Args:
        nside: of the cells.
        start_cell_id: nested id of the window's first cell, a multiple of side².
        side: cells along a side of the window, a power of two up to nside.
        halo: cells added on each side, at most nside.

    Raises:
        GridError: if there is no such window, or the halo is wider than a base pixel.
    """
    _check_side(side)
    if side > nside or start_cell_id % (side * side) or not 0 <= start_cell_id < 12 * nside**2:
        raise GridError(
            f"no window of {side} x {side} cells starts at cell {start_cell_id} of nside {nside}; "
            "the start must be a multiple of the window's cells, on the sphere."
        )
    if not 0 <= halo <= nside:
        raise GridError(f"a halo of {halo} cells is wider than a base pixel of {nside}; it must be from 0 to nside.")
    face, within = divmod(start_cell_id, nside**2)
    row, column = divmod(int(morton_inverse(nside)[within]), nside)
    steps = np.arange(-halo, side + halo)
    y, x = np.meshgrid(row + steps, column + steps, indexing="ij")
    return cells_across_seams(nside, np.full(y.shape, face), y, x)[0]
