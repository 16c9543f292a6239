"""A small convolutional net for small images, such as drawn digits."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Norm, convolution


class SmallCNN(nn.Module):
    """Stages of a 3 x 3 convolution and a halving, the mean over what is left, one hidden layer, the answer.

    Args:
        in_channels: bands.
        out_channels: channels of the output: classes, or 1 for a binary target.
        channels: of the first stage; doubled in each.
        stages: how many; each halves the image once (it must not become smaller than a pixel: it is padded instead).
        hidden: width of the hidden layer.
        dropout: probability of dropping one of its values.
        norm: after each convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: int = 16, stages: int = 3, hidden: int = 64,
        dropout: float = 0.1, norm: Norm = "batch",
    ) -> None:  # fmt: skip
        super().__init__()
        if stages < 1:
            raise ConfigError(f"a SmallCNN of {stages} stages cannot be built; give at least one.")
        widths = [in_channels, *(channels * 2**stage for stage in range(stages))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [convolution(before, after, norm), nn.MaxPool2d(2, ceil_mode=True)]
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(widths[-1], hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, out_channels)
        )

    def forward(self, x: Image) -> Float[Tensor, "b k"]:
        """Map [b, in_channels, h, w] to [b, out_channels], any h, w >= 1."""
        answer: Tensor = self.head(self.encoder(x))
        return answer
