"""Shifted windows over true neighbours: one window round every corner at which unshifted windows meet.

On the sphere most corners have four windows around them, so that a shifted window takes a quarter of each. At eight
corners only three base pixels meet: those windows have an empty quarter. At a pole four base pixels meet, each turned
by a quarter against the next. Where the net does not cover a neighbour, what is left of several windows shares one,
and does not see each other. (The published net cuts the sphere along such seams instead.)
"""

from collections import defaultdict

import numpy as np
from jaxtyping import Bool, Int64

from graticule.grids.windows import cells_across_seams, morton, morton_inverse, turned_square
from graticule.models.swin.windows import Cut, square_places

Quarters = Int64[np.ndarray, "windows 4"]


def exact_shift(nside: int, faces: tuple[int, ...], side: int) -> Cut:
    """Windows of `side` x `side` tokens shifted by half of that along both axes.

    Args:
        nside: of the tokens.
        faces: the base pixels covered, in the order in which their tokens follow one another.
        side: a power of two from 2 to nside.
    """
    pieces, turns = _round_corners(2 * nside // side, faces)
    poles = (pieces >= 0).all(1) & ((turns == [0, 1, 3, 2]).all(1) | (turns == [2, 3, 1, 0]).all(1))
    whole = (pieces >= 0).all(1)
    packed = _packed(pieces[~whole])
    chosen = np.concatenate([np.flatnonzero(whole), np.full(len(packed), -1)])
    every = np.concatenate([pieces[whole], np.where(packed >= 0, pieces[~whole][packed, range(4)], -1)])
    turned = np.concatenate([turns[whole], np.where(packed >= 0, turns[~whole][packed, range(4)], 0)])
    groups = np.concatenate([np.zeros((whole.sum(), 4), np.int64), _first_of(packed)])
    half = side // 2
    inner = np.stack([_turned_tokens(half, turn) for turn in range(4)])
    tokens = np.where(every[..., None] >= 0, every[..., None] * half**2 + inner[turned], -1)
    rows, columns = square_places(side**2)
    return Cut(
        tokens=tokens.reshape(len(tokens), -1),
        rows=rows,
        columns=columns,
        groups=np.repeat(groups, half**2, axis=1),
        poles=(chosen >= 0) & poles[chosen],
    )


def _round_corners(nside: int, faces: tuple[int, ...]) -> tuple[Quarters, Quarters]:
    """The four cells of `nside` round each even corner, as offsets among `faces` (-1: none), and their turns.

    A corner on a seam is seen from several base pixels. The one whose axes go on straight into all others counts;
    between two that are turned against each other always the one on the same side, so that the choice turns with the
    sphere.
    """
    corner = np.arange(nside // 2 + 1)
    face, row, column = (a.reshape(-1, 1) for a in np.meshgrid(np.array(faces), corner, corner, indexing="ij"))
    y, x = 2 * row + np.array([-1, -1, 0, 0]), 2 * column + np.array([-1, 0, -1, 0])
    ids, turns = cells_across_seams(nside, np.broadcast_to(face, y.shape), y, x)
    offsets = np.full(12, -1)
    offsets[list(faces)] = np.arange(len(faces))
    there = np.where(ids >= 0, offsets[ids // nside**2], -1)
    pieces = np.where(there >= 0, there * nside**2 + ids % nside**2, -1)
    own = np.where(pieces >= 0, pieces, pieces.max() + 1).min(1)
    straight = (np.where(pieces >= 0, turns, 0) == 0).all(1)
    other_side = np.where(face < 4, row == nside // 2, column == 0)[:, 0]
    order = np.lexsort((other_side, ~straight, own))
    first = order[np.unique(own[order], return_index=True)[1]]
    return pieces[first], np.where(pieces >= 0, turns, 0)[first]


def _packed(pieces: Quarters) -> Int64[np.ndarray, "shared 4"]:
    """Which incomplete windows share one: for each quarter the window that it is taken from, -1 for none.

    Every quarter stays where it is in its window, so that positions keep their meaning.
    """
    waiting: dict[tuple[bool, ...], list[tuple[int, ...]]] = defaultdict(list)
    for number, there in enumerate((pieces >= 0).tolist()):
        waiting[tuple(there)].append(tuple(number if own else -1 for own in there))
    done: list[tuple[int, ...]] = []
    while waiting:
        there = max(waiting, key=lambda pattern: (sum(pattern), pattern))
        hosts = waiting.pop(there)
        fits = [other for other in waiting if not any(a and b for a, b in zip(there, other, strict=True))]
        if not fits or all(there):
            done += hosts
            continue
        guests = waiting[max(fits, key=lambda pattern: (sum(pattern), pattern))]
        for host in hosts:
            if guests:
                shared = tuple(map(max, host, guests.pop()))
                waiting[tuple(number >= 0 for number in shared)].append(shared)
            else:
                waiting[there].append(host)
        waiting = defaultdict(list, {pattern: entries for pattern, entries in waiting.items() if entries})
    return np.array(done, np.int64).reshape(-1, 4)


def _first_of(packed: Quarters) -> Quarters:
    """For each quarter the first one of the same origin: small numbers that tell origins apart."""
    same: Bool[np.ndarray, "windows 4 4"] = packed[:, :, None] == packed[:, None, :]
    return same.argmax(2)


def _turned_tokens(side: int, turn: int) -> Int64[np.ndarray, " tokens"]:
    """For each place of a quarter, in Morton order of the window, the token of a quarter that is turned against it."""
    rows, columns = np.divmod(morton_inverse(side), side)
    turned: Int64[np.ndarray, " tokens"] = morton(side)[turned_square(side, np.full(rows.shape, turn), rows, columns)]
    return turned
