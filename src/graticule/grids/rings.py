"""Bilinear interpolation on the HEALPix sphere, along its rings of equal latitude.

Interpolating in the plane of nested rows and columns is off by up to 0.4 cells along the seams between polar base
pixels, where that plane is bent. Rings have no seams: the error stays below 0.23 cells at the poles themselves and
falls with the square of the cells' width elsewhere.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from healpix_geo import ring
from jaxtyping import Float64, Int64


@dataclass(frozen=True, eq=False)
class Rings:
    """The rings from north to south; ring i of Górski et al. 2005 (section 5.1) is entry i - 1.

    Attributes:
        count: cells on the ring.
        start: id, in ring order, of the ring's first cell.
        shift: longitude of the first cell's centre, in cells.
        colatitude: in degrees.
    """

    count: Int64[np.ndarray, " rings"]
    start: Int64[np.ndarray, " rings"]
    shift: Float64[np.ndarray, " rings"]
    colatitude: Float64[np.ndarray, " rings"]


@lru_cache(maxsize=8)
def rings(nside: int) -> Rings:
    """The 4·nside - 1 rings of a sphere."""
    i = np.arange(1, 4 * nside, dtype=np.int64)
    from_pole = np.minimum(i, 4 * nside - i)
    count = 4 * np.minimum(from_pole, nside)
    polar = from_pole < nside
    cap = 2.0 * np.arcsin(np.minimum(from_pole / (np.sqrt(6.0) * nside), 1.0))
    belt = np.arccos(np.clip((2.0 - i / nside) * 2.0 / 3.0, -1.0, 1.0))
    colatitude = np.where(polar, np.where(i < 2 * nside, cap, np.pi - cap), belt)
    shift = np.where(polar | ((i + nside) % 2 == 0), 0.5, 0.0)
    return Rings(count, np.cumsum(count) - count, shift, np.rad2deg(colatitude))


def _rings_above(nside: int, colatitude: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """How many rings lie north of, or at, each colatitude (degrees): from 0 to 4·nside - 1."""
    return np.searchsorted(rings(nside).colatitude, colatitude, side="right")


def ring_stencil(
    nside: int, lon: Float64[np.ndarray, " n"], lat: Float64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, "n 4"], Float64[np.ndarray, "n 4"]]:
    """Nested ids and weights of the two cells on the ring to the north and the two on the ring to the south.

    Between a pole and its first ring, the pole has the mean of that ring's four cells.
    """
    table = rings(nside)
    colatitude = 90.0 - lat
    above = _rings_above(nside, colatitude)
    last = len(table.count) - 1
    north, south = np.maximum(above - 1, 0), np.minimum(above, last)
    top = np.where(above == 0, 0.0, table.colatitude[north])
    bottom = np.where(above > last, 180.0, table.colatitude[south])
    down = (colatitude - top) / (bottom - top)
    ids = np.empty((len(lon), 4), dtype=np.int64)
    weights = np.empty((len(lon), 4))
    for pair, (which, weight) in enumerate(((north, 1.0 - down), (south, down))):
        count = table.count[which]
        place = lon / 360.0 * count - table.shift[which]
        west = np.floor(place)
        across, west = place - west, west.astype(np.int64)
        ids[:, 2 * pair] = table.start[which] + west % count
        ids[:, 2 * pair + 1] = table.start[which] + (west + 1) % count
        weights[:, 2 * pair], weights[:, 2 * pair + 1] = weight * (1.0 - across), weight * across
    for beyond, pole, first in ((above == 0, 0, 2), (above > last, 2, 0)):
        _share_pole(ids, weights, beyond, pole, first)
    return ring.to_nested(ids.astype(np.uint64), nside.bit_length() - 1).astype(np.int64), weights


def _share_pole(ids: np.ndarray, weights: np.ndarray, beyond: np.ndarray, pole: int, first: int) -> None:
    """Turn the pair of columns from `pole` into the other two cells of the first ring, and share the pole's weight."""
    if not beyond.any():
        return
    quarter = weights[beyond, pole : pole + 2].sum(axis=1, keepdims=True) / 4
    start = ids[beyond].min(axis=1, keepdims=True) // 4 * 4
    around = ids[beyond, first : first + 2] - start
    ids[beyond, pole : pole + 2] = start + (around + 2) % 4
    weights[beyond, pole : pole + 2] = quarter
    weights[beyond, first : first + 2] += quarter
