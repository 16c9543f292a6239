"""A plain U-Net."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits, Norm, convolution, on_padded, padded
from graticule.models.pretrained import load_encoder


class UNet(nn.Module):
    """Encoder and decoder with skip connections (Ronneberger et al. 2015, arXiv:1505.04597), size-preserving.

    Each of `levels` - 1 steps down halves the size and doubles the channels; each step up undoes it, by bilinear
    upsampling and a convolution, and joins what the encoder saw at that size. Every level has two 3 x 3 convolutions.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        channels: of the first level; level i has channels * 2^i.
        levels: sizes that the net works on, 1 or more; it sees about 2^levels * 4 pixels to each side.
        norm: "batch", "group" (does not depend on the batch) or "none".
        dropout: probability of dropping a channel at the deepest level.
        encoder_weights: None; the folder of a backbone that a pretraining of this encoder exported; or the path of a
            .safetensors or .pth file.

    Attributes:
        num_features: of `features`.

    Raises:
        ConfigError: if the levels do not make a net.
        CheckpointError: if the weights do not fit.
    """

    ENCODER = ("down.",)
    """How the names begin of what makes the features."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 32,
        levels: int = 4,
        norm: Norm = "batch",
        dropout: float = 0.0,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ConfigError(f"a UNet cannot have {levels} levels; give 1 or more.")
        widths = [channels * 2**level for level in range(levels)]
        self.multiple = 2 ** (levels - 1)
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(_double(i, o, norm) for i, o in zip(inputs, widths, strict=True))
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.lift = nn.ModuleList(nn.Conv2d(deep, shallow, 1) for deep, shallow in steps)
        self.up = nn.ModuleList(_double(2 * shallow, shallow, norm) for _, shallow in steps)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels, out_channels, 1)
        self.num_features = widths[-1]
        load_encoder(self, self.ENCODER, "unet", encoder_weights, in_channels)

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1."""
        # Two pixels at the deepest level, so that a batch norm has something to average even for one tiny image.
        return on_padded(self._walk, x, self.multiple, least=2 * self.multiple)

    def features(self, x: Image) -> Float[Tensor, "b d"]:
        """The mean over the image of what the deepest level sees."""
        return self._down(padded(x, self.multiple, least=2 * self.multiple))[-1].mean((-2, -1))

    def _down(self, x: Tensor) -> list[Tensor]:
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skips.append(x)
        return skips

    def _walk(self, x: Tensor) -> Tensor:
        skips = self._down(x)
        x = self.dropout(skips.pop())
        for lift, block in zip(self.lift, self.up, strict=True):
            # A 1 x 1 convolution commutes with the upsampling and costs a quarter before it.
            x = nn.functional.interpolate(lift(x), scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([skips.pop(), x], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _double(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs, norm), convolution(outputs, outputs, norm))
