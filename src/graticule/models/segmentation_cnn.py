"""A plain stack of convolutions."""

from collections.abc import Sequence
from math import prod
from typing import Literal

from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits, Norm, convolution, on_padded


class SegmentationCNN(nn.Module):
    """Stages of convolutions with doubling channels and a 1 x 1 head; output at the input's resolution.

    A stage whose pool size is p > 1 ends in p x p max pooling; one with p = 1 keeps the size, and the stages after it
    look twice as far apart (dilation), so that the default (1, 1, 1) sees as far as two poolings by 2 and still
    predicts every pixel by itself. With pooling the logits are computed at stride prod(pool_sizes) and upsampled:
    bilinearly, so that a map is smooth; or to the nearest, so that each cell of that many pixels has one output, as
    labels of cells need it.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        embedding_size: channels of the first stage.
        depth: convolutions per stage.
        pool_sizes: one per stage, such as (5, 5, 2) where labels are known at 1 / 50 of the resolution only.
        kernel_size: of the convolutions, odd.
        norm: "batch", "group" (does not depend on the batch) or "none".
        upsample: "bilinear" or "nearest".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_size: int = 32,
        depth: int = 2,
        pool_sizes: Sequence[int] = (1, 1, 1),
        kernel_size: int = 3,
        norm: Norm = "batch",
        upsample: Literal["bilinear", "nearest"] = "bilinear",
    ) -> None:
        super().__init__()
        if not pool_sizes or min(pool_sizes) < 1:
            raise ConfigError(f"pool_sizes is {list(pool_sizes)}; give one whole number of at least 1 per stage.")
        if kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size is {kernel_size}; it must be odd, so that a pixel stays in the middle.")
        self.stride, self.upsample = prod(pool_sizes), upsample
        stages: list[nn.Module] = []
        inputs, dilation = in_channels, 1
        for stage, pool in enumerate(pool_sizes):
            outputs = embedding_size * 2**stage
            for _ in range(depth):
                stages.append(convolution(inputs, outputs, norm, kernel_size, dilation))
                inputs = outputs
            if pool > 1:
                stages.append(nn.MaxPool2d(pool))
            else:
                dilation *= 2
        self.stages = nn.Sequential(*stages)
        self.head = nn.Conv2d(inputs, out_channels, 1)

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1."""
        return on_padded(self._walk, x, self.stride, least=2 * self.stride)

    def _walk(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(x))
        if self.stride == 1:
            return logits
        if self.upsample == "nearest":
            return nn.functional.interpolate(logits, size=x.shape[-2:], mode="nearest")
        return nn.functional.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
