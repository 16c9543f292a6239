"""The painter: fills the hole that a mask leaves in a photograph, by SPADE-normalised layers from coarse to fine."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import on_padded
from graticule.models.spade import SLOPE, Spade, SpadeBlock, bounded, doubled, resized

Photo = Float[Tensor, "b 3 h w"]
Mask = Float[Tensor, "b 1 h w"]


class Painter(nn.Module):
    """The generator of GauGAN (Park et al. 2019, arXiv:1903.07291), told the photograph around the hole at every layer.

    Args:
        latent: channels of the coarsest layer.
        ups: how often the size is doubled; photographs are padded to multiples of 2^ups pixels, at least two of these.
        noise: begin with a latent picture that the caller gives, and not with the photograph made small.
        norm: of the SPADE layers, "instance" or "batch".
        final_shortcut: tell the last layer its own features in place of the photograph.

    Raises:
        ConfigError: if `latent` cannot be halved so often.
    """

    def __init__(
        self,
        latent: int = 640,
        ups: int = 7,
        noise: bool = False,
        norm: Literal["instance", "batch"] = "instance",
        final_shortcut: bool = False,
    ) -> None:
        super().__init__()
        if ups < 3 or latent % 2 ** (ups - 2):
            raise ConfigError(
                f"a painter with latent={latent} and ups={ups} halves its channels {max(ups - 2, 0)} times; give "
                f"ups of 3 or more and a latent that is a multiple of {2 ** max(ups - 2, 1)}."
            )
        self.latent, self.ups, self.noise = latent, ups, noise
        self.multiple = 2**ups
        self.start = None if noise else nn.Conv2d(3, latent, 3, padding=1)
        widths = [latent] * 3 + [latent >> at for at in range(1, ups - 1)]
        self.blocks = nn.ModuleList(
            [SpadeBlock(inputs, outputs, 3, norm) for inputs, outputs in zip([latent, *widths], widths, strict=False)]
        )
        last = widths[-1]
        self.shortcut = None
        if final_shortcut:
            self.shortcut = nn.Sequential(bounded(last, last, 1), nn.BatchNorm2d(last), nn.LeakyReLU(SLOPE))
        self.final_norm = Spade(last, last if final_shortcut else 3, norm)
        self.final = nn.Conv2d(last, 3, 3, padding=1)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Of the latent picture of one photograph of that size."""
        rows, columns = (max(2, -(-size // self.multiple)) for size in (height, width))
        return self.latent, rows, columns

    def forward(self, photo: Photo, mask: Mask, latent: Float[Tensor, "b z zh zw"] | None = None) -> Photo:
        """Pictures, -1 to 1, of any size; what the photograph holds under the mask has no influence.

        Args:
            photo: -1 to 1.
            mask: 1 where the hole is, 0 elsewhere, and what is between for a soft border.
            latent: of `latent_shape`, where the painter begins with noise.

        Raises:
            ConfigError: if a latent picture is missing, too many, or of another shape.
        """
        expected = (len(photo), *self.latent_shape(*photo.shape[-2:])) if self.noise else None
        found = None if latent is None else tuple(latent.shape)
        if found != expected:
            raise ConfigError(f"the painter got a latent picture of shape {found}; it must be {expected}.")
        # Not the product alone: what is not a number under the mask must not spread.
        shown = torch.where(mask < 1, photo * (1 - mask), 0)
        return on_padded(lambda padded: self._paint(padded, latent), shown, self.multiple, 2 * self.multiple)

    def _paint(self, shown: Tensor, latent: Tensor | None) -> Tensor:
        if self.start is not None:
            size = [side // self.multiple for side in shown.shape[-2:]]
            x = self.start(F.interpolate(shown, size, mode="nearest"))
        else:
            assert latent is not None
            x = latent
        for place, block in enumerate(self.blocks):
            x = block(doubled(x) if place else x, shown)
        told = shown if self.shortcut is None else self.shortcut(x)
        painted: Tensor = torch.tanh(self.final(F.leaky_relu(self.final_norm(x, resized(told, x)), SLOPE)))
        return painted
