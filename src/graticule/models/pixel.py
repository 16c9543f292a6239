"""A net that looks at one pixel at a time."""

from torch import nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits


class PixelNet(nn.Module):
    """The bands of each pixel through the same fully connected layers; no pixel sees another one.

    It cannot learn a place or a shape by heart, so where few regions must stand for the whole Earth it generalises
    better than a net with a wide view, at a hundredth of the cost. What it should know of a pixel's surroundings comes
    in as bands (see `graticule.data.texture`).

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        channels: of the hidden layers.
        layers: how many hidden layers.
        dropout: probability of dropping a hidden value.
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: int = 128, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"a PixelNet of {layers} hidden layers cannot be built; give at least one.")
        hidden: list[nn.Module] = []
        for layer in range(layers):
            hidden += [nn.Linear(channels if layer else in_channels, channels), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*hidden, nn.Linear(channels, out_channels))

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1."""
        logits: Logits = self.layers(x.movedim(1, -1)).movedim(-1, 1)
        return logits
