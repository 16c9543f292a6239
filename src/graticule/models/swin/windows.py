"""How the tokens of one level are cut into windows: plain data, made once per size and kept."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from graticule.grids.windows import morton_inverse

_KEPT = 32
NOBODY = 255
"""The group of a slot in which there is no token."""


class Windows(NamedTuple):
    """One way to cut the tokens of a level into windows of equal size; tensors, on the device of the net.

    Windows whose tokens all see each other come first. Of the others each token has a group, and sees those of its own
    only: one byte for each token instead of a matrix for each window.
    """

    size: int
    """Slots in a window."""
    into: Tensor | None
    """The token in each slot, int32 [slots]; None where the tokens already lie in their windows."""
    back: Tensor | None
    """The slot of each token, int32 [tokens]."""
    pads: Tensor | None
    """The slots without a token, int64; None if all have one."""
    plain: int
    """Slots that lie in windows without groups."""
    groups: Tensor | None
    """Of the tokens in the other windows, uint8 [windows, size]."""
    poles: int
    """How many windows at the end lie round a pole, where rows and columns have no natural direction."""
    hidden: float
    """What is added to the logit of a token in another group."""
    pairs: Tensor
    """Row of the table of relative positions for each pair in a window, int32 [size * size]."""
    places: Tensor
    """Row and column of each slot in its window, float32 [2, size]."""
    quarter: Tensor
    """The slot at which each slot of a square window arrives when it is turned by a quarter, int64 [size]."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A cut as numpy arrays, before it is put in order.

    Attributes:
        tokens: the token in each slot, [windows, size]; -1 where there is none.
        groups: of each slot, [windows, size], below 255; None if all are one.
        rows: of each slot in its window, [size].
        columns: likewise.
        faces: of each slot, [size], where one window spans base pixels without a common plane.
        poles: which windows lie round a pole, bool [windows]; None for none.
        hidden: what is added to the logit of a token in another group.
    """

    tokens: Int64[np.ndarray, "windows size"]
    rows: Int64[np.ndarray, " size"]
    columns: Int64[np.ndarray, " size"]
    groups: Int64[np.ndarray, "windows size"] | None = None
    faces: Int64[np.ndarray, " size"] | None = None
    poles: np.ndarray | None = None
    hidden: float = float("-inf")


def square_places(size: int) -> tuple[Int64[np.ndarray, " size"], Int64[np.ndarray, " size"]]:
    """Row and column of each slot of a window in Morton order; of a window of 2 · 4^k, of its square to be."""
    side = 1 << ((size - 1).bit_length() + 1) // 2
    rows, columns = np.divmod(morton_inverse(side)[:size], side)
    return rows, columns


def ordered(cut: Cut, extent: tuple[int, int]) -> Windows:
    """Put windows with groups last, and say where each token went.

    Args:
        cut: what to order.
        extent: height and width of the largest window, which the table of relative positions is made for.
    """
    tokens = cut.tokens
    empty = tokens < 0
    groups = np.where(empty, NOBODY, 0 if cut.groups is None else cut.groups)
    poles = np.zeros(len(tokens), bool) if cut.poles is None else cut.poles
    masked = (groups != groups[:, :1]).any(1) | poles
    order = np.argsort(masked.astype(np.int8) + poles, kind="stable")
    into = tokens[order].reshape(-1)
    real = np.flatnonzero(into >= 0)
    back = np.empty(len(real), np.int32)
    back[into[real]] = real
    still = len(real) == len(into) and bool((into == np.arange(len(into))).all())
    plain = int((~masked).sum())
    size = tokens.shape[1]
    return Windows(
        size=size,
        into=None if still else torch.from_numpy(np.maximum(into, 0).astype(np.int32)),
        back=None if still else torch.from_numpy(back),
        pads=None if len(real) == len(into) else torch.from_numpy(np.flatnonzero(into < 0)),
        plain=plain * size,
        groups=torch.from_numpy(groups[order][plain:].astype(np.uint8)) if plain < len(tokens) else None,
        poles=int(poles.sum()),
        hidden=cut.hidden,
        pairs=torch.from_numpy(_pairs(cut, extent)),
        places=torch.from_numpy(np.stack([cut.rows, cut.columns]).astype(np.float32)),
        quarter=torch.from_numpy(_quarter(cut)),
    )


def _pairs(cut: Cut, extent: tuple[int, int]) -> np.ndarray:
    """(row difference, column difference) as one number; the last row of the table where there is no common plane."""
    height, width = extent
    rows, columns = (values[:, None] - values for values in (cut.rows, cut.columns))
    pairs = (rows + height - 1) * (2 * width - 1) + columns + width - 1
    if cut.faces is not None:
        pairs = np.where(cut.faces[:, None] == cut.faces, pairs, (2 * height - 1) * (2 * width - 1))
    return pairs.reshape(-1).astype(np.int32)


def _quarter(cut: Cut) -> np.ndarray:
    side = isqrt(len(cut.rows))
    if cut.faces is not None or side * side != len(cut.rows) or max(cut.rows.max(), cut.columns.max()) >= side:
        return np.arange(len(cut.rows))
    slots = np.empty((side, side), np.int64)
    slots[cut.rows, cut.columns] = np.arange(side * side)
    return slots[cut.columns, side - 1 - cut.rows]


Plan = tuple[tuple[Windows, Windows], ...]
"""For each level the windows of even blocks, and the shifted ones of odd blocks."""


def to_device(plan: Plan, device: torch.device) -> Plan:
    """The plan with its tensors on another device."""

    def moved(windows: Windows) -> Windows:
        tensors: dict[str, Any] = {name: t.to(device) for name, t in windows._asdict().items() if isinstance(t, Tensor)}
        return windows._replace(**tensors)

    return tuple((moved(straight), moved(shifted)) for straight, shifted in plan)


class Plans:
    """The plans of one net by the shape of its input and the device; made at the first use, some of them kept."""

    def __init__(self, build: Callable[..., Plan]) -> None:
        self.build = build
        self.kept: dict[tuple[tuple[int, ...], torch.device], Plan] = {}

    def __deepcopy__(self, memo: object) -> "Plans":
        return Plans(self.build)

    def find(self, shape: tuple[int, ...], device: torch.device) -> Plan:
        """The plan of a shape."""
        if (shape, device) not in self.kept:
            self._make(shape, device)
        return self.kept[shape, device]

    @torch.compiler.disable
    def _make(self, shape: tuple[int, ...], device: torch.device) -> None:
        if len(self.kept) == _KEPT:
            del self.kept[next(iter(self.kept))]
        self.kept[shape, device] = to_device(self.build(*shape), device)
