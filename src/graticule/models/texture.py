"""A net that looks at colour and texture: local means and deviations at several scales, then a decision per pixel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits

_LEAST_DEVIATION = 0.02
"""Added to a deviation before its logarithm: below a fiftieth of a band's own deviation all is smooth."""
_USUAL_LOG = -2.0
"""Taken from the logarithm, so that features lie about 0. No norm does this: the statistics of a batch of few windows
tell which windows they are, and a net comes to lean on that."""


class TextureNet(nn.Module):
    """Mean and log standard deviation of each band in squares of several sizes, then 1 x 1 convolutions.

    It sees no further than the largest square and no shapes at all, so it cannot learn a place by heart: where few
    regions must stand for the whole Earth, it generalises better than a deep net with a wide view, at a tenth of the
    cost. Statistics are over the pixels that exist: neither beyond the edge, nor where all bands are exactly 0, which
    is how a task marks pixels without input.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        sides: of the squares, in pixels, odd.
        channels: of the hidden layers.
        layers: how many hidden layers.
        dropout: probability of dropping a hidden channel of a whole window.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        sides: Sequence[int] = (3, 9, 27),
        channels: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if layers < 1 or not sides or any(side < 3 or side % 2 == 0 for side in sides):
            raise ConfigError(
                f"a TextureNet with sides {list(sides)} and {layers} layers cannot be built; "
                "give odd sides of 3 or more, such as [3,9,27], and at least one layer."
            )
        self.sides = tuple(sides)
        features = in_channels * (1 + 2 * len(self.sides))
        hidden: list[nn.Module] = []
        for layer in range(layers):
            inputs = channels if layer else features
            hidden += [nn.Conv2d(inputs, channels, 1), nn.ReLU(inplace=True), nn.Dropout2d(dropout)]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1."""
        features: Tensor = self.head(self.hidden(self.texture(x)))
        return features

    def texture(self, x: Image) -> Float[Tensor, "b features h w"]:
        """[b, bands, h, w] → [b, bands * (1 + 2 * sides), h, w]: the bands, then mean and log deviation per side."""
        # Sums of squares need the digits of float32, whatever the precision of the rest.
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            exists = (values != 0).any(dim=1, keepdim=True).float()
            parts = torch.cat([values, values.square(), exists], dim=1)
            layers = [values]
            for side in self.sides:
                sums = _square_sums(parts, side)
                number = sums[:, -1:].clamp(min=1)
                mean, square = (sums[:, :-1] / number).chunk(2, dim=1)
                variance = (square - mean.square()).clamp(min=0)
                layers += [mean, (variance + _LEAST_DEVIATION**2).log() / 2 - _USUAL_LOG]
            return torch.cat(layers, dim=1)


def _square_sums(x: Tensor, side: int) -> Tensor:
    """Sum over the square round each pixel, nothing beyond the edge: rows first, then columns."""
    return _line_sums(_line_sums(x, side, dim=-1), side, dim=-2)


def _line_sums(x: Tensor, side: int, dim: int) -> Tensor:
    """Differences of a running sum, whose cost does not depend on the side; in float64, so that they stay exact."""
    length, half = x.shape[dim], side // 2
    running = F.pad(x.double().cumsum(dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
    pixel = torch.arange(length, device=x.device)
    above = running.index_select(dim, (pixel + half + 1).clamp(max=length))
    return (above - running.index_select(dim, (pixel - half).clamp(min=0))).to(x.dtype)
