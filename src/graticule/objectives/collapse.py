"""Whether learnt features have collapsed: how far they spread, over how many directions, and how evenly."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def spread(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over dimensions of the deviation of the normalised features, times sqrt(d): 1 healthy, 0 all the same.

    The deviation of unit vectors that point everywhere alike is 1 / sqrt(d) in each dimension (Chen and He, 2021,
    "Exploring simple Siamese representation learning", section 4.1).
    """
    unit = normalize(features.double(), dim=1)
    return unit.std(0, correction=0).mean() * features.shape[1] ** 0.5


def rank_me(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The effective rank: exp of the entropy of the singular values' shares, from 1 to min(n, d).

    Garrido et al., 2023, "RankMe", equation 2, of features as they are, not centred.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp(min=1e-12) + 1e-12
    return torch.exp(-(shares * shares.log()).sum())


def alignment(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared distance of the normalised features of two views of one sample: 0 if always the same.

    Wang and Isola, 2020, "Understanding contrastive representation learning", equation 3 with alpha = 2.
    """
    return (normalize(one.double(), dim=1) - normalize(other.double(), dim=1)).square().sum(1).mean()


def uniformity(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Logarithm of the mean of exp(-2 distance^2) over pairs of normalised features: 0 all the same, -4 spread evenly.

    Wang and Isola, 2020, equation 4 with t = 2.
    """
    unit = normalize(features.double(), dim=1)
    return torch.pdist(unit).square().mul(-2).exp().mean().log()
