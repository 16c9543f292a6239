"""Convolutions of bounded gain, and normalisation whose scale and shift are a function of a picture (SPADE)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2
"""Of the leaky ReLUs of all generators and discriminators here."""

_HIDDEN = 128


def bounded(
    inputs: int, outputs: int, kernel: int, *, pad: Literal["zeros", "reflect"] = "zeros", bias: bool = True
) -> nn.Conv2d:
    """A convolution that keeps the size, whose kernel is divided by its largest singular value.

    That value is followed by one power iteration at each training step and stands still in evaluation (Miyato et al.
    2018, arXiv:1802.05957).
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode=pad, bias=bias)
    spectral_norm(convolution)
    return convolution


class Spade(nn.Module):
    """Normalised features times (1 + gamma) plus beta, both computed at every pixel from a condition.

    Park et al. 2019, arXiv:1903.07291.

    Args:
        channels: of the features.
        condition: channels of the condition.
        norm: "instance" (each picture by itself) or "batch".
    """

    def __init__(self, channels: int, condition: int, norm: Literal["instance", "batch"] = "instance") -> None:
        super().__init__()
        kind = nn.InstanceNorm2d if norm == "instance" else nn.BatchNorm2d
        self.norm = kind(channels, affine=False)
        self.shared = nn.Conv2d(condition, _HIDDEN, 3, padding=1)
        self.gamma = nn.Conv2d(_HIDDEN, channels, 3, padding=1)
        self.beta = nn.Conv2d(_HIDDEN, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"], condition: Float[Tensor, "b k _h _w"]) -> Float[Tensor, "b c h w"]:
        """The features, normalised; the condition may be of any size."""
        hidden = F.relu(self.shared(resized(condition, x)))
        return torch.addcmul(self.beta(hidden), self.norm(x), 1 + self.gamma(hidden))


class SpadeBlock(nn.Module):
    """A residual block of two SPADE-normalised convolutions; a third on the way past where the channels change.

    Args:
        inputs: channels of the features that come.
        outputs: of those that go.
        condition: channels of the condition.
        norm: see `Spade`.
    """

    def __init__(
        self, inputs: int, outputs: int, condition: int, norm: Literal["instance", "batch"] = "instance"
    ) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.first, self.second = bounded(inputs, middle, 3), bounded(middle, outputs, 3)
        self.first_norm, self.second_norm = Spade(inputs, condition, norm), Spade(middle, condition, norm)
        self.past = self.past_norm = None
        if inputs != outputs:
            self.past, self.past_norm = bounded(inputs, outputs, 1, bias=False), Spade(inputs, condition, norm)

    def forward(self, x: Float[Tensor, "b c h w"], condition: Float[Tensor, "b k _h _w"]) -> Float[Tensor, "b d h w"]:
        """Map the features; the condition may be of any size."""
        past = x if self.past is None or self.past_norm is None else self.past(self.past_norm(x, condition))
        hidden = self.first(F.leaky_relu(self.first_norm(x, condition), SLOPE))
        made: Tensor = past + self.second(F.leaky_relu(self.second_norm(hidden, condition), SLOPE))
        return made


def resized(x: Float[Tensor, "b c h w"], like: Float[Tensor, "b2 d h2 w2"]) -> Float[Tensor, "b c h2 w2"]:
    """`x` at the size of another: the nearest pixel of each."""
    size = like.shape[-2:]
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")


def doubled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Each pixel made four."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
