"""What the planar nets share: padding to a size that the net can halve, and the choice of a norm."""

from collections.abc import Callable
from math import gcd
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError, nearest

Norm = Literal["batch", "group", "none"]
Image = Float[Tensor, "b c h w"]
Logits = Float[Tensor, "b k h w"]


def on_padded(net: Callable[[Tensor], Tensor], x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Apply `net` to x padded below and to the right to multiples of `multiple`; the output cropped back.

    Args:
        net: maps [b, c, h, w] to [b, k, h, w].
        x: any h, w >= 1.
        multiple: what the net needs its height and width to be divisible by.
        least: the smallest padded height and width.
    """
    h, w = x.shape[-2:]
    return net(padded(x, multiple, least))[..., :h, :w]


def padded(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Pad [b, c, h, w] below and to the right to multiples of `multiple`, and to `least` pixels.

    The padding mirrors the image where it is large enough for that and repeats its last row and column where not.
    """
    if torch.compiler.is_exporting():
        return x  # a program for any size takes sizes that need no padding
    h, w = x.shape[-2:]
    below, right = (max(-(-size // multiple) * multiple, least) - size for size in (h, w))
    if not below and not right:
        return x
    mirrors = below < h and right < w
    return F.pad(x, (0, right, 0, below), mode="reflect" if mirrors else "replicate")


def make_norm(name: str, channels: int) -> nn.Module:
    """A normalisation layer: "batch", "group" (at most 8 groups of at least 4 channels) or "none"."""
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(1 if channels % 4 else gcd(8, channels // 4), channels)
        case "none":
            return nn.Identity()
    raise ConfigError(f"no norm is named '{name}'; {nearest(name, ('batch', 'group', 'none'))}")


def convolution(inputs: int, outputs: int, norm: str, kernel_size: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, padding="same", dilation=dilation, bias=norm == "none"),
        make_norm(norm, outputs),
        nn.ReLU(inplace=True),
    )
