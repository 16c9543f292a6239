"""Windows on the plane (Swin, arXiv:2103.14030): rows and columns rolled, and cut where the roll begins.

Tokens do not lie row by row but in tiles, and within a tile in Morton order, so that the tokens of a window and the
four that are merged follow one another as they do on the nested sphere; the same blocks then serve both.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int64

from graticule.grids.windows import morton, morton_inverse
from graticule.models.swin.windows import Cut, Plan, Windows, ordered

_PUBLISHED = -100.0


@lru_cache(maxsize=32)
def token_order(height: int, width: int, levels: int, window: tuple[int, int]) -> Int64[np.ndarray, "{height} {width}"]:
    """Where the token of each row and column lies.

    The tile is the square under one window of the coarsest level where that divides the plane, so that no unshifted
    window has to be gathered; else the square under one of its tokens.
    """
    tile = 2 ** (levels - 1)
    side = window[0]
    if side == window[1] and side & (side - 1) == 0 and height % (tile * side) == 0 and width % (tile * side) == 0:
        tile *= side
    down, across = height // tile, width // tile
    first = np.arange(down * across).reshape(down, across) * tile**2
    places = first[:, None, :, None] + morton(tile)[None, :, None, :]
    return places.reshape(height, width)


@lru_cache(maxsize=32)
def plane_plan(
    height: int, width: int, levels: int, window: tuple[int, int], shift: tuple[int, int], masks: bool
) -> Plan:
    """The windows of all levels; last the finest tokens row by row, as one window.

    The finest level has `height` x `width` tokens, both multiples of 2^(levels - 1).

    Along an axis that is no longer than a window there is one window, as long as the axis, and no shift. Where windows
    do not divide an axis the last one is not full.

    Args:
        height: rows of tokens.
        width: columns of tokens.
        levels: how many.
        window: rows and columns of a window.
        shift: rows and columns by which odd blocks are shifted.
        masks: whether tokens from opposite borders, which a shift brings together, are hidden from each other.
    """
    plan = []
    finest = token_order(height, width, levels, window)
    for level in range(levels):
        places = finest[:: 2**level, :: 2**level] // 4**level
        own = min(window[0], places.shape[0]), min(window[1], places.shape[1])
        steps = tuple(
            step if size < length else 0 for step, size, length in zip(shift, window, places.shape, strict=True)
        )
        straight = ordered(_cut(places, own, (0, 0), True), window)
        shifted = ordered(_cut(places, own, (steps[0], steps[1]), masks), window) if any(steps) else straight
        shifted = shifted._replace(pairs=straight.pairs, places=straight.places, quarter=straight.quarter)
        plan.append((straight, shifted))
    rows = _row_by_row(finest)
    return (*plan, (rows, rows))


def _row_by_row(places: Int64[np.ndarray, "height width"]) -> Windows:
    """The plane as one window without attention: only where its tokens come from and go to."""
    into = places.reshape(-1)
    back = np.empty(into.size, np.int32)
    back[into] = np.arange(into.size)
    none = torch.empty(0)
    return Windows(
        size=into.size, into=torch.from_numpy(into.astype(np.int32)), back=torch.from_numpy(back), pads=None,
        plain=into.size, groups=None, poles=0, hidden=0.0, pairs=none, places=none, quarter=none,
    )  # fmt: skip


def _cut(
    places: Int64[np.ndarray, "height width"], window: tuple[int, int], shift: tuple[int, int], masks: bool
) -> Cut:
    fill = [(0, -length % size) for length, size in zip(places.shape, window, strict=True)]
    padded = np.pad(places, fill, constant_values=-1)
    tokens = np.roll(padded, (-shift[0], -shift[1]), (0, 1))
    bands = [
        _bands(length, size, step) if masks else np.zeros(length, np.int64)
        for length, size, step in zip(padded.shape, window, shift, strict=True)
    ]
    groups = _windows(bands[0][:, None] * 3 + bands[1], window)
    cut = _windows(tokens, window)
    rows, columns = np.divmod(np.arange(window[0] * window[1]), window[1])
    if window[0] == window[1] and window[0] & (window[0] - 1) == 0:
        rows, columns = np.divmod(morton_inverse(window[0]), window[1])
    slots = rows * window[1] + columns
    first = np.argsort(cut[:, 0], kind="stable")  # in the order of the tokens, so that straight windows lie as they are
    return Cut(cut[first][:, slots], rows, columns, groups=groups[first][:, slots], hidden=_PUBLISHED)


def _windows(values: Int64[np.ndarray, "height width"], window: tuple[int, int]) -> Int64[np.ndarray, "windows size"]:
    """The values of each window, row by row."""
    down, across = values.shape[0] // window[0], values.shape[1] // window[1]
    return values.reshape(down, window[0], across, window[1]).swapaxes(1, 2).reshape(down * across, -1)


def _bands(length: int, size: int, step: int) -> Int64[np.ndarray, " length"]:
    """0 before the last window, 1 in it, 2 for what the roll brought there."""
    bands = np.zeros(length, np.int64)
    if step:
        bands[length - size :] = 1
        bands[length - step :] = 2
    return bands
