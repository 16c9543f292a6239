"""Decoders of classes: those of DeepLabV2 and DeepLabV3+, and a light one for small encoders."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

High = Float[Tensor, "b high h8 w8"]
Low = Float[Tensor, "b low h4 w4"]
Scores = Float[Tensor, "b k _h _w"]

_WIDE, _NARROW = 256, 48


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, batch norm, ReLU. Without the last a decoder would be one affine map."""
    pad = kernel // 2 * dilation
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=pad, dilation=dilation, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Pyramid(nn.Module):
    """Convolutions of several dilations side by side (ASPP), made one; `pooled` adds the mean of the whole picture."""

    def __init__(self, inputs: int, rates: Sequence[int], *, pooled: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_convolution(inputs, _WIDE, 1), *(_convolution(inputs, _WIDE, 3, rate) for rate in rates)]
        )
        self.pooled = None
        if pooled:
            # One value per channel and picture: a batch norm could not train on a batch of one.
            self.pooled = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, _WIDE, 1, bias=False), nn.GroupNorm(1, _WIDE), nn.ReLU()
            )
        self.merge = _convolution((len(rates) + 1 + pooled) * _WIDE, _WIDE, 1)

    def forward(self, high: High) -> Float[Tensor, "b _wide h8 w8"]:
        parts = [branch(high) for branch in self.branches]
        if self.pooled is not None:
            parts.append(self.pooled(high).expand_as(parts[0]))
        merged: Tensor = self.merge(torch.cat(parts, 1))
        return merged


class DeepLabV3Plus(nn.Module):
    """Deep features by several dilations, upsampled and joined with shallow ones (Chen et al. 2018, arXiv:1802.02611).

    Args:
        high: channels of the deep features.
        low: channels of the shallow features.
        classes: channels of the output.
    """

    def __init__(self, high: int, low: int, classes: int) -> None:
        super().__init__()
        self.pyramid = _Pyramid(high, (6, 12, 18), pooled=False)
        self.low = _convolution(low, _NARROW, 1)
        self.join = nn.Sequential(_convolution(_WIDE + _NARROW, _WIDE, 3), _convolution(_WIDE, _WIDE, 3))
        self.last = nn.Conv2d(_WIDE, classes, 1, bias=False)

    def forward(self, high: High, low: Low) -> Scores:
        """Logits at the size of the shallow features."""
        wide = F.interpolate(self.pyramid(high), low.shape[-2:], mode="bilinear")
        scores: Tensor = self.last(self.join(torch.cat([wide, self.low(low)], 1)))
        return scores


class DeepLabV2(nn.Module):
    """Deep features by several dilations and their mean, without shallow ones (Chen et al. 2017, arXiv:1606.00915).

    Args:
        high: channels of the deep features.
        classes: channels of the output.
        dropout: share of channels that are dropped in training.
    """

    def __init__(self, high: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.pyramid = _Pyramid(high, (6, 12, 18), pooled=True)
        self.join = nn.Sequential(
            _convolution(_WIDE, _WIDE, 3), nn.Dropout2d(dropout), _convolution(_WIDE, _WIDE, 3), nn.Dropout2d(dropout)
        )
        self.last = nn.Conv2d(_WIDE, classes, 1)

    def forward(self, high: High, low: Low) -> Scores:
        """Logits at the size of the deep features."""
        scores: Tensor = self.last(self.join(self.pyramid(high)))
        return scores


class LightSegmentation(nn.Module):
    """Two separable convolutions, for small encoders.

    Args:
        high: channels of the deep features.
        classes: channels of the output.
    """

    def __init__(self, high: int, classes: int) -> None:
        super().__init__()
        self.join = nn.Sequential(
            _convolution(high, high, 3, groups=high),
            _convolution(high, _WIDE, 1),
            _convolution(_WIDE, _WIDE, 3, groups=_WIDE),
            _convolution(_WIDE, _WIDE, 1),
        )
        self.last = nn.Conv2d(_WIDE, classes, 1)

    def forward(self, high: High, low: Low) -> Scores:
        """Logits at the size of the deep features."""
        scores: Tensor = self.last(self.join(high))
        return scores
