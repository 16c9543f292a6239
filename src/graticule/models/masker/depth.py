"""Decoders of depth: a plain one, and one whose features lend themselves to the other decoders (DADA)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.models.spade import SLOPE, doubled

High = Float[Tensor, "b high h8 w8"]
Depth = Float[Tensor, "b k _h _w"]


def block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, leaky ReLU; mirrored at the edges."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect", bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
    )


class DadaDepth(nn.Module):
    """Depth from a bottleneck that is also sent back to the channels of the encoder (Vu et al. 2019, arXiv:1904.01886).

    Args:
        high: channels of the deep features.
        outputs: channels of the depth.
        lends: whether other decoders take the features that are sent back.
    """

    def __init__(self, high: int, outputs: int, *, lends: bool) -> None:
        super().__init__()
        self.narrow = nn.Sequential(block(high, 512, 1), block(512, 512, 3), block(512, 128, 1))
        self.lent = nn.Conv2d(128, high, 1) if lends else None
        self.fine = block(128, 32, 3)
        self.last = nn.Conv2d(32, outputs, 1)

    def forward(self, high: High) -> tuple[Depth, High | None]:
        """Depth at twice the size of the features; and features to be multiplied with the encoder's, or None."""
        narrow = self.narrow(high)
        lent = None if self.lent is None else F.leaky_relu(self.lent(narrow), SLOPE)
        return self.last(self.fine(doubled(narrow))), lent


class PlainDepth(nn.Module):
    """Depth by one residual block and upsampling to the input's size.

    Args:
        high: channels of the deep features.
        outputs: channels of the depth.
    """

    def __init__(self, high: int, outputs: int) -> None:
        super().__init__()
        self.narrow = block(high, 32, 1)
        self.residual = nn.Sequential(block(32, 32, 3), block(32, 32, 3))
        self.up = nn.ModuleList([block(32, 16, 3), block(16, 8, 3), block(8, 4, 3)])
        self.last = nn.Conv2d(4, outputs, 3, padding=1)

    def forward(self, high: High) -> tuple[Depth, None]:
        """Depth at eight times the size of the features."""
        x = self.narrow(high)
        x = x + self.residual(x)
        for step in self.up:
            x = step(doubled(x))
        return self.last(x), None
