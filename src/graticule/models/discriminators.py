"""Discriminators: of entropy maps, to tell domains apart; and of photographs at several scales."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from graticule.models.spade import SLOPE

_LEAST = 32


class EntropyDiscriminator(nn.Module):
    """Says from which domain a map of entropies comes (Vu et al. 2019, arXiv:1811.12833).

    Args:
        channels: of the map: classes, or 2 for a mask and its complement.
        width: channels of the first layer.
        spectral: bound the gain of each layer, for an unbounded loss such as Wasserstein's.
    """

    def __init__(self, channels: int, width: int = 64, *, spectral: bool = False) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 8 * width, 1]
        layers = [nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList([spectral_norm(layer) if spectral else layer for layer in layers])

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 _h _w"]:
        """Logits at a thirty-second of the size; maps below 32 pixels a side are repeated at their edges."""
        below, right = (max(_LEAST - side, 0) for side in maps.shape[-2:])
        x = F.pad(maps, (0, right, 0, below), mode="replicate") if below or right else maps
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.layers[-1](x)
        return logits


class _Patches(nn.Module):
    """Judges patches of a picture (Isola et al. 2017, arXiv:1611.07004); gives the features of every layer."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        widths = [channels, *(width << min(at, 3) for at in range(layers)), width << 3, 1]
        strides = [2] * layers + [1, 1]
        self.convolutions = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(a, b, 4, stride=stride, padding=2))
                for (a, b), stride in zip(pairwise(widths), strides, strict=True)
            ]
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        found = []
        for place, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if place + 1 < len(self.convolutions):
                x = F.leaky_relu(F.instance_norm(x) if place else x, SLOPE)
            found.append(x)
        return found


class MultiScaleDiscriminator(nn.Module):
    """Judges photographs and their masks at several scales (Wang et al. 2018, arXiv:1711.11585).

    Args:
        width: channels of the first layer.
        layers: that halve the size, four at most widen.
        scales: how many; each sees the picture at half the size of the one before.
        local: judge the whole photograph, and the part under the mask by itself, in place of both together.
    """

    def __init__(self, width: int = 64, layers: int = 4, scales: int = 3, *, local: bool = False) -> None:
        super().__init__()
        self.local = local
        views = 2 if local else 1
        self.scales = nn.ModuleList([_Patches(3 if local else 4, width, layers) for _ in range(views * scales)])

    def forward(self, photo: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> list[list[Tensor]]:
        """The features of every layer at every scale, of which the last are logits of patches.

        Give real and painted photographs in one batch, so that both are seen alike.

        Args:
            photo: -1 to 1.
            mask: 1 where water is.
        """
        views: Sequence[Tensor] = (photo, photo * mask) if self.local else (torch.cat([mask, photo], 1),)
        found: list[list[Tensor]] = []
        each = len(self.scales) // len(views)
        for number, view in enumerate(views):
            x = view
            for place in range(each):
                if place:
                    x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
                features: list[Tensor] = self.scales[number * each + place](x)
                found.append(features)
        return found
