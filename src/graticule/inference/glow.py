"""How the light of a burning sky spreads over a photograph: widened by a rectangle and blurred, one axis at a time.

Both are products of a band matrix with the rows and one with the columns. At 640 x 640 pixels that takes a hundredth of
the multiplications of a direct convolution with 281 x 281 weights, and a matrix product is what machines do fastest.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

SIDE = 640
"""Photographs whose shorter side has more pixels get their glow from a smaller picture; see `glow`."""

_LOWEST = 2 / 3
_WIDENED = 0.18
_RADIUS, _SIGMA = 140 / 640, 140.5 / 640


def glow(sky: Bool[Tensor, "*b h w"]) -> Float32[Tensor, "*b h w"]:
    """The share of a fire's light that each pixel gets, 0 to 1: the sky, widened and blurred.

    What is called sky in the lowest third is no sky. Lengths are shares of the shorter side: the sky is widened by 0.18
    of it less a pixel, and blurred by a Gaussian of 0.22 that is cut off at as much, mirrored at the borders. Of large
    photographs this is worked out with a shorter side of `SIDE` pixels, where the blur is wide enough for the
    difference to lie below a step of 8 bits (strips longer than eight times as much become smaller still).

    Args:
        sky: where the sky is.

    Source: figures of ClimateGAN (Schmidt et al., 2022), made for 640 x 640 pixels.
    """
    height, width = sky.shape[-2:]
    flat = sky.reshape(-1, 1, height, width).float()
    flat[:, :, torch.arange(height, device=sky.device) >= _LOWEST * height] = 0
    scale = min(1.0, SIDE / min(height, width), 8 * SIDE / max(height, width))
    small = max(1, round(height * scale)), max(1, round(width * scale))
    if small != (height, width):
        flat = (F.interpolate(flat, small, mode="area") >= 0.5).float()
    side = min(small)
    spread = blurred(widened(flat, max(0, int(_WIDENED * side) - 1)), round(_RADIUS * side), _SIGMA * side)
    if small != (height, width):
        spread = F.interpolate(spread, (height, width), mode="bilinear", align_corners=False)
    return spread.clamp(0, 1).reshape(sky.shape)


def widened(mask: Float[Tensor, "*b h w"], reach: int) -> Float[Tensor, "*b h w"]:
    """1 wherever a square of 2 `reach` + 1 pixels round the pixel holds a 1 of the mask, which is 0 or 1; else 0."""
    rows, columns = (_near(size, reach).to(mask) for size in mask.shape[-2:])
    # Counts of ones are whole numbers, so half a one tells none from some, whatever the precision.
    return (rows @ mask @ columns > 0.5).to(mask.dtype)


def blurred(mask: Float[Tensor, "*b h w"], radius: int, sigma: float) -> Float[Tensor, "*b h w"]:
    """Blurred by a Gaussian of standard deviation `sigma` pixels, cut off beyond `radius`, mirrored at the borders.

    The border pixel itself is not repeated; where the radius exceeds the picture, it is mirrored again and again.
    """
    rows, columns = (_gaussian(size, radius, sigma).to(mask) for size in mask.shape[-2:])
    return rows @ mask @ columns.T


def _near(size: int, reach: int) -> Bool[Tensor, "n n"]:
    place = torch.arange(size)
    return (place[:, None] - place).abs() <= reach


def _gaussian(size: int, radius: int, sigma: float) -> Float[Tensor, "n n"]:
    """The blur along one axis as a matrix whose rows sum to 1."""
    step = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (step.double() / max(sigma, 1e-9)) ** 2)
    period = max(1, 2 * size - 2)
    place = (torch.arange(size)[:, None] + step) % period
    place = torch.minimum(place, period - place) if size > 1 else torch.zeros_like(place)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, place, (weights / weights.sum()).expand(size, -1))
