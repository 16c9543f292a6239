"""Decoders of the flood mask: a plain one, and one that is told depth, classes and picture at every pixel (SPADE)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.models.spade import SLOPE, SpadeBlock, bounded, doubled, resized

High = Float[Tensor, "b high h8 w8"]
Low = Float[Tensor, "b low h4 w4"]
Logits = Float[Tensor, "b k _h _w"]


class _Residual(nn.Module):
    """Two convolutions and the way past them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (bounded(channels, channels, 3, pad="reflect") for _ in range(2))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        inner: Tensor = self.second(F.leaky_relu(self.first(x), SLOPE))
        return x + inner


class PlainMask(nn.Module):
    """Deep and shallow features joined, residual blocks, and upsampling to the input's size.

    Args:
        high: channels of the deep features.
        low: channels of the shallow features; 0 for none.
        outputs: channels of the mask.
        width: channels at an eighth of the size.
        blocks: how many residual blocks.
    """

    def __init__(self, high: int, low: int, outputs: int, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.high = bounded(high, width, 1)
        self.low = bounded(low, width, 3, pad="reflect") if low else None
        self.merge = bounded(2 * width, width, 1) if low else None
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.up = nn.ModuleList([bounded(width >> at, width >> (at + 1), 3, pad="reflect") for at in range(3)])
        self.last = nn.Conv2d(width >> 3, outputs, 3, padding=1)

    def forward(self, high: High, low: Low) -> Logits:
        """Logits at eight times the size of the deep features."""
        x = F.leaky_relu(self.high(high), SLOPE)
        if self.low is not None and self.merge is not None:
            fine = F.leaky_relu(self.low(low), SLOPE)
            fine = F.interpolate(fine, x.shape[-2:], mode="bilinear")
            x = F.leaky_relu(self.merge(torch.cat([x, fine], 1)), SLOPE)
        x = self.blocks(x)
        for step in self.up:
            x = F.leaky_relu(step(doubled(x)), SLOPE)
        logits: Tensor = self.last(x)
        return logits


class SpadeMask(nn.Module):
    """Features normalised by what depth, classes and the picture itself say at every pixel.

    Args:
        high: channels of the deep features.
        low: channels of the shallow features.
        condition: channels of the condition.
        outputs: channels of the mask.
        width: channels at an eighth of the size.
        steps: how often the size is doubled.
    """

    def __init__(self, high: int, low: int, condition: int, outputs: int, width: int = 128, steps: int = 3) -> None:
        super().__init__()
        self.high, self.low = _normed(high, width // 2), _normed(low, width // 2)
        self.merge = _normed(width, width)
        self.blocks = nn.ModuleList(
            [SpadeBlock(width >> at, width >> (at + 1), condition, "batch") for at in range(steps)]
        )
        self.last = bounded(width >> steps, outputs, 3)

    def forward(self, high: High, low: Low, condition: Float[Tensor, "b told h4 w4"]) -> Logits:
        """Logits at 2^steps times the size of the deep features."""
        fine = self.low(resized(low, high))
        x = self.merge(torch.cat([self.high(high), fine], 1))
        for block in self.blocks:
            x = doubled(block(x, condition))
        logits: Tensor = self.last(F.leaky_relu(x, SLOPE))
        return logits


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(bounded(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE))
