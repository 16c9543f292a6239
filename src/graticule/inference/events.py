"""What smog, a wildfire or a flood would do to a photograph: pure functions of tensors, of any size.

Photographs are red, green, blue as a display takes them (sRGB), 0 to 1. Every formula has fixed ranges: nothing is
stretched to what a picture happens to hold, a photograph looks the same in every batch, and a flat one is no exception.

Source of formulas and figures: ClimateGAN (Schmidt et al., ICLR 2022); of the smog, HazeRD (Zhang, Ding, Sharma, 2017).
"""

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from graticule.inference.glow import glow

THINNEST, THICKEST = 0.2, 2.0
"""Optical thickness of the smog before what is nearest and farthest; exp(-2) = 14 % of the light comes through."""

CONTRAST_LOSS = 3.912
"""Optical thickness at which 2 % of the contrast is left, which defines visibility (Koschmieder)."""

_AIR = 0.76
_YELLOW, _YELLOW_SHARE = (224 / 255, 192 / 255, 29 / 255), 20 / 255
_SHIFT = (40 / 255, -10 / 255, -20 / 255)
_GREY = (0.2989, 0.587, 0.114)
_CONTRAST, _DIMMED, _DARKENED = 1.5, 0.73, 0.8
_FIRE_SHARE = 200 / 255


def thickness_of_metres(depth: Float[Tensor, "*b h w"], visibility: float) -> Float[Tensor, "*b h w"]:
    """How much smog lies before each pixel: grows with the distance, from `THINNEST` to at most `THICKEST`.

    Args:
        depth: metres, 0 or more; infinite for the sky.
        visibility: metres at which a black object is just seen; the smaller, the thicker the smog.
    """
    return (THINNEST + CONTRAST_LOSS / visibility * depth).clamp(THINNEST, THICKEST)


def thickness_of_disparity(disparity: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
    """How much smog lies before each pixel, from `THICKEST` (disparity 0, far away) to `THINNEST` (1, the nearest).

    Args:
        disparity: one over the distance, in any unit that makes it 0 to 1.
    """
    farness = 1 / (0.3 + 0.7 * disparity.clamp(0, 1))
    return THINNEST + (THICKEST - THINNEST) * (farness - 1) / (1 / 0.3 - 1)


def smog(photo: Float32[Tensor, "*b 3 h w"], thickness: Float[Tensor, "*b h w"]) -> Float32[Tensor, "*b 3 h w"]:
    """A photograph through smog: light fades by exp(-thickness), and grey, slightly yellow air shines in its stead.

    Args:
        photo: 0 to 1.
        thickness: optical thickness before each pixel, 0 or more.
    """
    through = torch.exp(-thickness).unsqueeze(-3)
    seen = from_linear(through * to_linear(photo) + (1 - through) * _AIR)
    return (1 - _YELLOW_SHARE) * seen + _YELLOW_SHARE * _colour(_YELLOW, photo)


def wildfire(
    photo: Float32[Tensor, "*b 3 h w"], sky: Bool[Tensor, "*b h w"], green: float
) -> Float32[Tensor, "*b 3 h w"]:
    """A photograph in the light of a wildfire: warmer, harder and darker throughout, with a sky that glows.

    Args:
        photo: 0 to 1.
        sky: where the sky is; without any, only the colours change.
        green: of the fire's colour (1, green, 0): 0.39 is red, 0.59 yellow.
    """
    warm = (photo + _colour(_SHIFT, photo)).clamp(0, 1)
    mean = (warm * _colour(_GREY, photo)).sum(-3, keepdim=True).mean((-2, -1), keepdim=True)
    dim = _DIMMED * (mean + _CONTRAST * (warm - mean)).clamp(0, 1)
    share = _FIRE_SHARE * glow(sky).unsqueeze(-3)
    return _DARKENED * (share * _colour((1.0, green, 0.0), photo) + (1 - share) * dim)


def flood(
    photo: Float32[Tensor, "*b 3 h w"], painted: Float32[Tensor, "*b 3 h w"], mask: Float[Tensor, "*b h w"]
) -> Float32[Tensor, "*b 3 h w"]:
    """The painted water where the mask is, and the photograph as it was, bit for bit, where it is not.

    Args:
        photo: 0 to 1.
        painted: what the painter made; outside the mask it may be anything, even not a number.
        mask: share of water in each pixel, 0 to 1.
    """
    share = mask.unsqueeze(-3).to(photo.dtype)
    return torch.where(share > 0, share * painted + (1 - share) * photo, photo)


def to_linear(photo: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Amounts of light, 0 to 1, of sRGB values (IEC 61966-2-1)."""
    return torch.where(photo <= 0.04045, photo / 12.92, ((photo + 0.055) / 1.055) ** 2.4)


def from_linear(light: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Values in sRGB of amounts of light, the inverse of `to_linear`."""
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


def _colour(values: tuple[float, float, float], photo: Tensor) -> Tensor:
    return photo.new_tensor(values)[:, None, None]
