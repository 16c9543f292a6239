"""Windows on nested HEALPix tokens, and the published ways to shift them (HEAL-SWIN, arXiv:2307.07313).

The published shifts exist for the first eight base pixels; here each exists for any set of base pixels. Their masks add
-100 to a logit, as published; the exact shift hides for good.
"""

from functools import lru_cache
from math import isqrt
from typing import Literal

import numpy as np
from healpix_geo import nested, ring
from jaxtyping import Int64

from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse
from graticule.models.swin.seams import exact_shift
from graticule.models.swin.windows import Cut, Plan, Windows, ordered, square_places

ShiftStrategy = Literal["exact", "nest_roll", "nest_grid_shift", "ring_shift"]

EIGHT = tuple(range(8))
"""The polar and equatorial base pixels that the published net covers."""

_PUBLISHED = -100.0
_SOUTH_EAST = (5, 6, 7, 4, 0, 1, 2, 3)
"""The base pixel beyond row 0 of each of the eight; of 4 to 7 a stand-in, since their true neighbours are not there."""
_SOUTH_WEST = (4, 5, 6, 7, 0, 1, 2, 3)
"""The base pixel beyond column 0, likewise."""
_LOST_FROM = {4: 7, 5: 4, 6: 5, 7: 6}
"""From which base pixel the ring shift fills the holes of another."""


@lru_cache(maxsize=32)
def sphere_plan(
    nside: int, faces: tuple[int, ...], levels: int, window: int, strategy: ShiftStrategy, shift_size: int
) -> Plan:
    """The windows of all levels, the finest with tokens of `nside`; each coarser one has a quarter of the tokens.

    Args:
        nside: of the finest tokens.
        faces: base pixels in the order of the tokens. One alone stands for any window of 4^k cells of one parent.
        levels: how many.
        window: tokens in a window; fewer where a level has fewer.
        strategy: how odd blocks are shifted.
        shift_size: by how many tokens `nest_roll` and `ring_shift` shift.
    """
    side = 1 << (window.bit_length() - 1) // 2
    extent = (side, side)
    plan = []
    for level in range(levels):
        if nside >> level << level != nside:
            raise ConfigError(
                f"{levels} levels need an nside of tokens that can be halved {levels - 1} times, and it is {nside}; "
                "use fewer levels (depths), smaller patches or a larger nside."
            )
        here = nside >> level
        straight = ordered(_straight(here, faces, window, strategy), extent)
        cut = _shifted(here, faces, straight.size, window, strategy, shift_size)
        shifted = straight if cut is None else ordered(cut, extent)
        plan.append((straight, _sharing(straight, shifted)))
    return tuple(plan)


def _sharing(straight: Windows, shifted: Windows) -> Windows:
    """The shifted windows with the constants of the straight ones, instead of equal copies."""
    return shifted._replace(pairs=straight.pairs, places=straight.places, quarter=straight.quarter)


def _straight(nside: int, faces: tuple[int, ...], window: int, strategy: ShiftStrategy) -> Cut:
    """Runs of tokens; all of them in one window where they are fewer than one holds."""
    n = len(faces) * nside**2
    if n < window and len(faces) > 1:
        rows, columns = square_places(nside**2)
        face = np.repeat(np.arange(len(faces)), nside**2)
        return Cut(np.arange(n)[None], np.tile(rows, len(faces)), np.tile(columns, len(faces)), faces=face)
    size = min(window, n)
    while n % size or (strategy in ("exact", "nest_grid_shift") and size > nside**2):
        size //= 2
    return Cut(np.arange(n).reshape(-1, size), *square_places(size))


def _shifted(
    nside: int, faces: tuple[int, ...], size: int, window: int, strategy: ShiftStrategy, shift_size: int
) -> Cut | None:
    """The shifted windows; None where there is but one window, or one token in each."""
    n = len(faces) * nside**2
    if size >= n or size == 1:
        return None
    if size < window:
        shift_size = min(shift_size, size // 2 if strategy == "nest_roll" else max(1, isqrt(size) // 2))
    match strategy:
        case "nest_roll":
            tokens, groups = _nest_roll(n, size, shift_size)
        case "ring_shift":
            tokens, groups = _ring_shift(nside, faces, shift_size)
        case "nest_grid_shift" if faces == EIGHT:
            tokens, groups = _grid_shift(nside, isqrt(size) // 2)
        case _:
            return exact_shift(nside, faces, isqrt(size))
    return Cut(tokens.reshape(-1, size), *square_places(size), groups=groups.reshape(-1, size), hidden=_PUBLISHED)


def _nest_roll(n: int, size: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The list of tokens rolled; the last window is cut where the roll begins."""
    groups = np.zeros(n, np.int64)
    groups[n - size :] = 1
    groups[n - shift :] = 2
    return np.roll(np.arange(n), -shift), groups


def _grid_shift(nside: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight base pixels shifted by half a window along rows, then along columns.

    What enters at a border without a neighbour is cut off; so is the corner of the polar base pixels, where a
    quarter enters by way of such a border.
    """
    cells = np.arange(8 * nside**2)
    face, within = np.divmod(cells, nside**2)
    row, column = np.divmod(morton_inverse(nside)[within], nside)
    left, low = column < half, row < half
    equatorial = face >= 4
    groups = np.where(equatorial & left, face + 5, np.where(equatorial & low, face + 1, 0))
    groups = np.where(~equatorial & left & low, face + 5, groups)
    column = column - half
    face = np.where(column < 0, np.array(_SOUTH_WEST)[face], face)
    row = row - half
    face = np.where(row < 0, np.array(_SOUTH_EAST)[face], face)
    tokens: Int64[np.ndarray, " tokens"] = face * nside**2 + morton(nside)[row % nside, column % nside]
    return tokens, groups


def _ring_shift(nside: int, faces: tuple[int, ...], shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The sphere as one spiral of rings, rolled. Tokens that leave the net's share fill the holes, and are cut off."""
    depth, area = nside.bit_length() - 1, nside**2
    ids = (np.array(faces)[:, None] * area + np.arange(area)).reshape(-1)
    spiral = (nested.to_ring(ids.astype(np.uint64), depth).astype(np.int64) - shift) % (12 * area)
    source = ring.to_nested(spiral.astype(np.uint64), depth).astype(np.int64)
    offsets = np.full(12, -1)
    offsets[list(faces)] = np.arange(len(faces))
    there = offsets[source // area]
    tokens = np.where(there >= 0, there * area + source % area, -1)
    own = np.repeat(np.arange(len(faces)), area)
    groups = np.where(tokens < 0, own + 1, 0)
    lost = np.setdiff1d(np.arange(len(ids)), tokens)
    if faces == EIGHT:
        left: list[np.ndarray] = []
        for face, giver in _LOST_FROM.items():
            holes = np.flatnonzero((tokens < 0) & (own == face))
            given = lost[lost // area == giver]
            tokens[holes] = given[: len(holes)]
            left.append(given[len(holes) :])
        lost = np.concatenate(left)
    tokens[tokens < 0] = lost
    return tokens, groups
