"""The shape of the ground as bands, from a raster of heights.

Heights are metres, NaN where there is none. Pixel sizes are metres on the ground and north is true north, both from
`graticule.grids.ground`: what comes out means the same on every map, also where up is not north.

Slopes are those of the plane that fits a pixel and its eight neighbours best, with the weights of Horn (1981, doi:
10.1109/PROC.1981.11918). Where neighbours are missing, at borders and holes, the plane is fitted to those that there
are: so a plane has its slope everywhere, up to the last pixel.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Float64
from scipy.signal import fftconvolve

from graticule.errors import GridError
from graticule.grids.ground import Lengths

Heights = Float32[np.ndarray, "h w"]
Feature = Float32[np.ndarray, "h w"]
Size = Lengths | float
"""Metres or degrees that broadcast against a raster [h, w]: one number, a column, or one for each pixel."""

_WEIGHTS = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float64)
_STRIP = 1024
"""Rows that are worked on at once, which bounds the memory."""


def relative_elevation(dem: Heights, resolution: tuple[Size, Size], outer: float, inner: float = 0.0) -> Feature:
    """Height above the mean of the surroundings in metres (the topographic position index, TPI).

    The surroundings are all pixels whose centres are `inner` to `outer` metres away: a disc with the pixel itself, or
    a ring. Pixels without a height do not count, and beyond the border there are none: there the mean is of those that
    exist. To have whole surroundings, give a raster with a margin of `outer`.

    Takes Fourier transforms, so that the time hardly depends on the radius. Where pixels change in size from row to row
    the disc changes with them (to half a pixel).

    Raises:
        GridError: if there is no pixel in such a ring.
    """
    down, right = (_per_row(size, len(dem)) for size in resolution)
    if not 0 <= inner < outer:
        raise GridError(f"a ring of {inner:g} to {outer:g} m is empty; its outer radius must be the larger.")
    known = np.isfinite(dem)
    # Away from zero the sums would lose digits: heights are told from their mean, which falls out again.
    level = float(dem[known].mean()) if known.any() else 0.0
    heights = np.where(known, dem - level, 0).astype(np.float32)
    result = np.full(dem.shape, np.nan, np.float32)
    for rows in _alike(down, right, outer):
        middle = (rows.start + rows.stop) // 2
        ring = _ring(down[middle], right[middle], outer, inner, dem.shape)
        mean = _mean(heights, known, rows, ring)
        result[rows] = np.where(known[rows], heights[rows] - mean, np.nan)
    return result


def slope(dem: Heights, resolution: tuple[Size, Size]) -> Feature:
    """Steepness in degrees: 0 is flat, 90 a wall."""
    up, right = _gradient(dem, resolution)
    return np.rad2deg(np.arctan(np.hypot(up, right)))


def aspect(dem: Heights, resolution: tuple[Size, Size], north: Size) -> tuple[Feature, Feature]:
    """Where a slope faces (downhill): sine and cosine of the angle from true north, clockwise.

    A slope that faces north has (0, 1), one that faces east (1, 0); level ground has (0, 0). These are the components
    to the east and to the north of a vector of length 1, without the jump that an angle has at north.

    Args:
        dem: heights in metres.
        resolution: metres per pixel, (down, right), see `ground.pixel_size`.
        north: degrees from up to true north, clockwise, see `ground.true_north`.
    """
    to_north, to_east = _compass(*_gradient(dem, resolution), north)
    steep = np.hypot(to_east, to_north)
    with np.errstate(invalid="ignore"):
        unit = np.where(steep > 0, -1 / np.where(steep > 0, steep, 1), np.where(np.isnan(steep), np.nan, 0))
    # Adding 0 turns -0 into 0.
    return (to_east * unit + 0).astype(np.float32), (to_north * unit + 0).astype(np.float32)


def hillshade(
    dem: Heights, resolution: tuple[Size, Size], north: Size, azimuth: float = 315.0, elevation: float = 45.0
) -> Feature:
    """How brightly the sun lights the ground: the cosine of the angle at which it falls in, 0 to 1.

    Args:
        dem: heights in metres.
        resolution: metres per pixel, (down, right).
        north: degrees from up to true north, clockwise.
        azimuth: of the sun in degrees, clockwise from true north.
        elevation: of the sun above the horizon in degrees.
    """
    to_north, to_east = _compass(*_gradient(dem, resolution), north)
    round_, high = np.deg2rad([azimuth, elevation])
    east, north_, up = np.cos(high) * np.sin(round_), np.cos(high) * np.cos(round_), np.sin(high)
    shade = (up - east * to_east - north_ * to_north) / np.sqrt(1 + to_east**2 + to_north**2)
    return np.clip(shade, 0, 1).astype(np.float32)


def curvature(dem: Heights, resolution: tuple[Size, Size]) -> Feature:
    """Curvature in 1/100 m: minus 100 times the sum of the second derivatives, above 0 on ridges and below in hollows.

    At borders and holes a pixel takes the second derivative of its neighbour, so that a parabola has its own
    everywhere.
    """
    total = np.zeros(dem.shape, np.float32)
    for axis, size in enumerate(resolution):
        total -= 100 * _bend(np.moveaxis(dem, axis, 0), np.moveaxis(_spread(size), axis, 0)).swapaxes(0, axis)
    return total


def _spread(size: Size) -> Float32[np.ndarray, "#h #w"]:
    """A size as an array of two axes."""
    return np.asarray(size, np.float32).reshape((1, 1)) if np.ndim(size) == 0 else np.asarray(size, np.float32)


def _bend(dem: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The second derivative along the first axis; a pixel that lacks a neighbour takes that of the other one."""
    bend = np.full(dem.shape, np.nan, np.float32)
    bend[1:-1] = dem[2:] - 2 * dem[1:-1] + dem[:-2]
    before, after = (np.full_like(bend, np.nan) for _ in range(2))
    before[1:], after[:-1] = bend[:-1], bend[1:]
    filled = np.where(np.isnan(bend), np.where(np.isnan(before), after, before), bend)
    return np.where(np.isnan(dem), np.nan, filled) / size**2


def _compass(up: np.ndarray, right: np.ndarray, north: Size) -> tuple[np.ndarray, np.ndarray]:
    """The rise to the north and to the east, from that to the picture's top and right."""
    angle = np.deg2rad(np.asarray(north, np.float32))
    sine, cosine = np.sin(angle), np.cos(angle)
    return up * cosine + right * sine, right * cosine - up * sine


def _gradient(dem: Heights, resolution: tuple[Size, Size]) -> tuple[Feature, Feature]:
    """Metres of rise per metre towards the top and the right of the picture; NaN where there is no plane."""
    padded = np.pad(dem, 1, constant_values=np.nan)
    # Horn's weights, one axis at a time; differences come first, where heights have all their digits.
    fall, rise = padded[2:] - padded[:-2], padded[:, 2:] - padded[:, :-2]
    downward = (fall[:, :-2] + 2 * fall[:, 1:-1] + fall[:, 2:]) / 8
    rightward = (rise[:-2] + 2 * rise[1:-1] + rise[2:]) / 8
    # The middle pixel has no part in a difference, but where it is missing there is nothing to tell.
    broken = np.isnan(downward) | np.isnan(rightward) | np.isnan(dem)
    rows, columns = np.nonzero(broken & ~np.isnan(dem))
    downward[broken] = rightward[broken] = np.nan
    for first in range(0, len(rows), 1 << 18):
        some = slice(first, first + (1 << 18))
        downward[rows[some], columns[some]], rightward[rows[some], columns[some]] = _fitted(
            padded, rows[some], columns[some]
        )
    down, right = resolution
    return -downward / down, rightward / right


def _fitted(padded: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rise per row and per column of the best plane through the neighbours that exist; NaN if they are on one line."""
    shift = np.arange(-1, 2)
    z = padded[rows[:, None, None] + 1 + shift[:, None], columns[:, None, None] + 1 + shift].astype(np.float64)
    weight = np.where(np.isnan(z), 0, _WEIGHTS)
    z = np.where(np.isnan(z), 0, z - z[:, 1:2, 1:2])
    y, x = np.broadcast_arrays(shift[:, None], shift)

    def moment(*factors: np.ndarray) -> Float64[np.ndarray, " n"]:
        return np.einsum("nij,nij->n", weight, np.broadcast_to(np.prod(np.broadcast_arrays(*factors), axis=0), z.shape))

    one = np.ones_like(x)
    mass, mean_x, mean_y, mean_z = (moment(v) for v in (one, x, y, z))
    xx, yy, xy = (
        moment(a, b) - m * n / mass
        for a, b, m, n in ((x, x, mean_x, mean_x), (y, y, mean_y, mean_y), (x, y, mean_x, mean_y))
    )
    xz, yz = moment(x, z) - mean_x * mean_z / mass, moment(y, z) - mean_y * mean_z / mass
    determinant = xx * yy - xy * xy
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = np.where(determinant > 1e-9, 1 / determinant, np.nan)
    return (xx * yz - xy * xz) * flat, (yy * xz - xy * yz) * flat


def _per_row(size: Size, height: int) -> Float64[np.ndarray, " h"]:
    """The size of the pixels of each row, whatever it is within the row."""
    sizes = np.abs(_spread(size)).astype(np.float64)
    return np.broadcast_to(np.median(sizes, axis=1), (height,))


def _alike(down: np.ndarray, right: np.ndarray, outer: float) -> Iterator[slice]:
    """Runs of rows on which a disc of that radius is the same to half a pixel."""
    first = 0
    reach = outer / np.minimum(down, right)
    while first < len(down):
        last = min(first + _STRIP, len(down))
        for sizes in (down, right):
            ratio = np.abs(np.log(sizes[first:last] / sizes[first]))
            off = np.flatnonzero(ratio * reach[first:last] > 0.5)
            last = first + max(1, int(off[0])) if len(off) else last
        yield slice(first, last)
        first = last


def _ring(down: float, right: float, outer: float, inner: float, shape: tuple[int, int]) -> np.ndarray:
    """1 at the pixels whose centres lie in the ring, no larger than can matter on a raster of that shape."""
    tall, wide = (min(int(outer / size), n - 1) for size, n in ((down, shape[0]), (right, shape[1])))
    y, x = np.arange(-tall, tall + 1) * down, np.arange(-wide, wide + 1) * right
    away = np.hypot(y[:, None], x)
    ring = (away <= outer) & (away >= inner)
    if not ring.any():
        raise GridError(
            f"a ring of {inner:g} to {outer:g} m holds no pixel, whose size is {down:.3g} x {right:.3g} m; widen it."
        )
    return ring.astype(np.float32)


def _mean(heights: np.ndarray, known: np.ndarray, rows: slice, ring: np.ndarray) -> Float32[np.ndarray, "rows w"]:
    """The mean height over the ring round the pixels of some rows; NaN where nothing is known in it."""
    margin = len(ring) // 2
    first, last = max(rows.start - margin, 0), min(rows.stop + margin, len(heights))
    inner = slice(rows.start - first, rows.stop - first)
    total = fftconvolve(heights[first:last], ring, mode="same")[inner]
    number = _number(known[first:last], ring)[inner]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(number > 0, total / number, np.nan)


def _number(known: np.ndarray, ring: np.ndarray) -> Float32[np.ndarray, "rows w"]:
    """How many known pixels the ring holds round each pixel."""
    width, reach = known.shape[1], ring.shape[1] // 2
    if width <= 2 * ring.shape[1] or not known.all():
        return np.rint(fftconvolve(known.astype(np.float32), ring, mode="same"))
    # Where all is known, only the distance from the borders matters: a narrow strip says it all.
    narrow = np.rint(fftconvolve(np.ones((len(known), 2 * reach + 1), np.float32), ring, mode="same"))
    columns = np.arange(width)
    return narrow[:, np.where(columns <= reach, columns, np.maximum(2 * reach + 1 - width + columns, reach))]
