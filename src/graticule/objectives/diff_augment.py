"""Random changes, with gradients, of what discriminators see (DiffAugment, Zhao et al. 2020, arXiv:2006.10738)."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.random import Generator, Philox
from torch import Tensor

Change = Literal["brightness", "saturation", "contrast", "translation", "cutout"]

_CHANGES = 227
_SHIFT, _CUT = 0.125, 0.5
_DRAWS = 7


def diff_augment(
    pictures: Float[Tensor, "b c h w"], changes: Sequence[Change], seed: int, step: int
) -> Float[Tensor, "b c h w"]:
    """The pictures changed; each of the batch in its own way, a function of seed, step and its place in the batch.

    So real and painted pictures of one step that are given with the same seed are changed alike. In this order:
    brighter by -0.5 to 0.5, saturation times 0 to 2, contrast times 0.5 to 1.5 (of the first three channels); shifted
    by up to an eighth, with 0 where nothing is; a square of half the size set to 0.

    Args:
        pictures: -1 to 1; channels beyond three (a mask) are only moved and cut.
        changes: which.
        seed: of the draws.
        step: of the draws.
    """
    if not changes:
        return pictures
    drawn = Generator(Philox(key=[seed, _CHANGES], counter=[step, 0, 0, 0])).random((len(pictures), _DRAWS))
    draws = torch.as_tensor(drawn, dtype=pictures.dtype, device=pictures.device)
    colours, rest = pictures[:, :3], pictures[:, 3:]
    factor = [draws[:, place, None, None, None] for place in range(3)]
    if "brightness" in changes:
        colours = colours + factor[0] - 0.5
    if "saturation" in changes:
        grey = colours.mean(1, keepdim=True)
        colours = (colours - grey) * (factor[1] * 2) + grey
    if "contrast" in changes:
        mean = colours.mean((1, 2, 3), keepdim=True)
        colours = (colours - mean) * (factor[2] + 0.5) + mean
    changed = torch.cat([colours, rest], 1)
    if "translation" in changes:
        changed = torch.stack([_shifted(one, *at) for one, at in zip(changed, drawn[:, 3:5].tolist(), strict=True)])
    if "cutout" in changes:
        changed = changed * torch.stack(
            [_hole(one, *at) for one, at in zip(changed, drawn[:, 5:7].tolist(), strict=True)]
        )
    return changed


def _shifted(picture: Float[Tensor, "c h w"], down: float, right: float) -> Float[Tensor, "c h w"]:
    """Moved by -1/8 to 1/8 of its size."""
    sides = picture.shape[-2:]
    dy, dx = (round((2 * share - 1) * _SHIFT * side) for share, side in zip((down, right), sides, strict=True))
    padded = F.pad(picture, (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0)))
    top, left = max(-dy, 0), max(-dx, 0)
    return padded[:, top : top + sides[0], left : left + sides[1]]


def _hole(picture: Float[Tensor, "c h w"], down: float, right: float) -> Float[Tensor, "1 h w"]:
    """1, and 0 in a square whose middle is anywhere."""
    h, w = picture.shape[-2:]
    rows = torch.arange(h, device=picture.device) - down * h
    columns = torch.arange(w, device=picture.device) - right * w
    cut = (rows.abs() < _CUT * h / 2)[:, None] & (columns.abs() < _CUT * w / 2)
    return (~cut)[None].to(picture.dtype)
