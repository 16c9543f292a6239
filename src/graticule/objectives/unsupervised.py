"""Losses that need no label: certainty, smoothness, agreement with a mask of the ground."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Scalar = Float[Tensor, ""]
Shares = Float[Tensor, "b k h w"]


def shares_of(logits: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n h w"]:
    """Probabilities that add to one at every pixel; one logit is that of a mask, which gets its complement."""
    if logits.shape[1] > 1:
        return logits.softmax(1)
    return torch.cat([logits.sigmoid(), (-logits).sigmoid()], 1)


def entropy_map(shares: Shares) -> Shares:
    """What each class adds to the entropy of each pixel, so scaled that a pixel's sum is 0 (sure) to 1 (no idea).

    The self-information map of AdvEnt (Vu et al. 2019, arXiv:1811.12833), whose discriminators judge it.
    """
    # p log p has the gradient log p, which is endless at 0.
    return -shares * shares.clamp(min=1e-8).log() / math.log(shares.shape[1])


def min_entropy(shares: Shares, variance: float = 0.0) -> Scalar:
    """Mean entropy of a pixel, 0 to 1, and `variance` times how much it varies between pixels."""
    per_pixel = entropy_map(shares).sum(1)
    mean = per_pixel.mean()
    return mean + variance * (per_pixel - mean).square().mean()


def total_variation(values: Float[Tensor, "b k h w"]) -> Scalar:
    """Twice the mean squared step down plus that to the right; 0 where there is but one row or column."""
    down, right = values.diff(dim=-2), values.diff(dim=-1)
    return 2 * sum((step.square().mean() for step in (down, right) if step.numel()), start=values.new_zeros(()))


def ground_intersection(
    ground: Float[Tensor, "b 1 h w"], mask: Float[Tensor, "b 1 h w"], margin: float = 0.5
) -> Scalar:
    """Mean of how much less than the ground, less `margin`, a flood mask covers: the ground is what can be flooded.

    Args:
        ground: probability of ground, from labels or from predicted classes.
        mask: probability of water.
        margin: by which the mask may be lower at no cost. Counting the pixels beyond it, as ClimateGAN does, has no
            gradient; this has one wherever that count is above 0.
    """
    return F.relu(ground - mask - margin).mean()
