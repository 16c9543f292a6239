"""Targets that are known for cells of several pixels only: one prediction for each cell, counted once.

Predictions stay at the resolution of the pixels, all alike within a cell, so that what cuts, turns and stitches windows
needs to know of no cells; the pixel in the middle of each cell speaks for it.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from graticule.errors import ConfigError
from graticule.schema import Target

Pool = Literal["mean", "max"]
"""How the outputs of a cell's pixels become one: mean of probabilities (of values), or maximum of logits."""


def pool_cells(output: Float[Tensor, "b k *space"], target: Target, how: Pool) -> Float[Tensor, "b k *space"]:
    """The output of a target, one for each cell, at all of the cell's pixels.

    `mean` gives logits whose probabilities are the means of the pixels' probabilities: each pixel counts alike, however
    sure it is. `max` takes the highest logit of each class, as is common in teaching; a single pixel then decides, and
    more of them make every class likelier.

    Raises:
        ConfigError: if the window is not one of whole cells.
    """
    cell = target.cell
    if cell == 1:
        return output
    if output.ndim != 4 or output.shape[-2] % cell or output.shape[-1] % cell:
        shape = " x ".join(str(side) for side in output.shape[2:])
        raise ConfigError(
            f"a window of {shape} pixels is not one of whole cells; target '{target.name}' is known for cells of "
            f"{cell} x {cell} pixels: give a multiple of {cell} as side of windows, overlaps and crops."
        )
    pooled = F.max_pool2d(output, cell) if how == "max" else _mean(output.float(), target)
    return pooled.repeat_interleave(cell, dim=-2).repeat_interleave(cell, dim=-1).to(output.dtype)


def _mean(output: Tensor, target: Target) -> Tensor:
    if target.kind == "classes":
        return _log_mean(output.log_softmax(1), target.cell)
    if target.kind == "binary":
        yes, no = (_log_mean(F.logsigmoid(sign * output), target.cell) for sign in (1, -1))
        return yes - no
    return F.avg_pool2d(output, target.cell)


def _log_mean(logs: Tensor, cell: int) -> Tensor:
    """Logarithm of the mean over cells of what these are the logarithms of."""
    # What is subtracted is the largest of each cell, so that no cell is all zeros.
    top = F.max_pool2d(logs.detach(), cell)
    spread = top.repeat_interleave(cell, dim=-2).repeat_interleave(cell, dim=-1)
    return F.avg_pool2d((logs - spread).exp(), cell).log() + top


def counted(valid: Bool[Tensor, "b *space"], cell: int) -> Bool[Tensor, "b *space"]:
    """Of the valid pixels those in the middle of their cell: each cell once, in the one part that its middle is in."""
    return valid if cell == 1 else valid & middles(tuple(valid.shape[1:]), cell).to(valid.device)


def middles(space: tuple[int, ...], cell: int) -> Bool[Tensor, "h w"]:
    """Which pixels of a raster of whole cells are in the middle of one."""
    down, across = (torch.arange(side) % cell == cell // 2 for side in space)
    return down[:, None] & across
