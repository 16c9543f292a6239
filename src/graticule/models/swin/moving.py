"""Tokens into their windows and back: one gather each way, whose gradient is the other gather."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graticule.models.swin.windows import Windows


class _Gather(torch.autograd.Function):
    """x[:, index], of which each entry of x is taken once, or stands in for nothing in one of the `pads`.

    The gradient of `index_select` adds entry by entry; the inverse gather is three times as fast.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor, pads: Tensor | None, widens: bool) -> Tensor:
        """Gather [b, n, c] -> [b, m, c]; `widens` where the pads are in the result and not in x."""
        ctx.saved, ctx.widens = (index, inverse, pads), widens
        return x.index_select(1, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gather the gradient back; nothing flows out of an empty slot."""
        _, inverse, pads = ctx.saved
        back = grad.index_select(1, inverse)
        if pads is not None and not ctx.widens:
            back.index_fill_(1, pads, 0)
        return back, None, None, None, None


def into_windows(x: Tensor, windows: Windows) -> Tensor:
    """Tokens [b, tokens, c] in the order of the slots [b, slots, c]."""
    if windows.into is None:
        return x
    out: Tensor = _Gather.apply(x, windows.into, windows.back, windows.pads, True)
    return out


def out_of_windows(x: Tensor, windows: Windows) -> Tensor:
    """The inverse: what the slots [b, slots, c] hold, in the order of the tokens [b, tokens, c]."""
    if windows.back is None:
        return x
    out: Tensor = _Gather.apply(x, windows.back, windows.into, windows.pads, False)
    return out
