"""Losses of depth: scale-invariant with gradients (SIGM), and reversed Huber (berHu)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from graticule.errors import ConfigError

Values = Float[Tensor, "b *space"]
Scalar = Float[Tensor, ""]

_LEAST = 1e-4
"""Of a spread or a limit; below it a division would only make noise large."""


def sigm(
    values: Float[Tensor, "b k *space"], target: Values, valid: Bool[Tensor, "b *space"], weight: Values | None = None,
    *, gradient: float = 0.5, scales: int = 4,
) -> Scalar:  # fmt: skip
    """Half the mean absolute error and `gradient` times the edges of the error at several scales, of relative depth.

    Prediction and truth are each taken less their median, by their mean distance from it, picture by picture, so that
    neither a factor nor an offset of a picture matters (Ranftl et al. 2019, arXiv:1907.01341). A constant prediction
    has no scale: it counts as 0 throughout. Edges are Sobel's, of the error at each 2^k-th pixel, where all nine pixels
    are valid.

    Raises:
        ConfigError: if the pixels are not those of pictures.
    """
    if values.ndim != 4:
        raise ConfigError(f"loss 'sigm' compares neighbours in pictures, and got {values.ndim - 2}-dimensional space.")
    weight = valid.float() if weight is None else torch.where(valid, weight.float(), 0)
    difference = _relative(values[:, 0].float(), valid) - _relative(target.float(), valid)
    difference = torch.where(valid, difference, 0)
    total = _by_picture(difference.abs(), weight) / 2
    for scale in range(scales):
        step = 2**scale
        at, known = difference[:, None, ::step, ::step], weight[:, ::step, ::step]
        if min(at.shape[-2:]) < 3:
            break
        edges = F.conv2d(at, _SOBEL.to(at)).abs().sum(1)
        # A window counts where its least weight does: as 0 wherever one of its nine pixels is unknown.
        total = total + gradient / 4**scale * _by_picture(edges, -F.max_pool2d(-known, 3, stride=1))
    there = (weight.flatten(1).sum(1) > 0).float()
    return (total * there).sum() / there.sum().clamp(min=1)


_SOBEL = torch.tensor([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]], [[[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]]])


def _relative(values: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Values less the median of the valid ones of their picture, by their mean distance from it."""
    known = torch.where(valid, values, torch.nan).flatten(1)
    middle = known.nanmedian(1).values.nan_to_num()[:, None, None]
    centred = torch.where(valid, values, middle) - middle
    count = valid.flatten(1).sum(1).clamp(min=1)
    spread = centred.abs().flatten(1).sum(1) / count
    return centred / spread.clamp(min=_LEAST)[:, None, None]


def _by_picture(values: Float[Tensor, "b h w"], weight: Float[Tensor, "b h w"]) -> Float[Tensor, " b"]:
    mass = weight.flatten(1).sum(1)
    return (values * weight).flatten(1).sum(1) / torch.where(mass > 0, mass, 1)


def berhu(
    values: Float[Tensor, "b k *space"], target: Values, valid: Bool[Tensor, "b *space"], weight: Values | None = None,
    *, share: float = 0.2,
) -> Scalar:  # fmt: skip
    """Mean of |e| up to c and (e^2 + c^2) / 2c beyond, c being `share` of the batch's largest error.

    Laina et al. 2016, arXiv:1606.00373.
    """
    error = torch.where(valid, values[:, 0].float() - torch.where(valid, target.float(), 0), 0).abs()
    weight = valid.float() if weight is None else torch.where(valid, weight.float(), 0)
    limit = (share * error.detach().amax()).clamp(min=_LEAST) if error.numel() else error.new_ones(())
    per_pixel = torch.where(error <= limit, error, (error.square() + limit.square()) / (2 * limit))
    mass = weight.sum()
    return (per_pixel * weight).sum() / torch.where(mass > 0, mass, 1)
