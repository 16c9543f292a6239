"""Losses of discriminators and of the generators that they judge; each a pure function.

What is random (soft labels, flips, points between real and false) is a function of seed and step, never of what was
drawn before, so that a resumed training sees the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.random import Generator, Philox
from torch import Tensor

from graticule.errors import ConfigError

Kind = Literal["gan", "lsgan", "hinge", "wgan"]
Scores = Sequence[Tensor]
"""A discriminator's raw scores at each of its scales."""
Scalar = Float[Tensor, ""]

_LABELS, _BETWEEN = 211, 223


@dataclass(frozen=True)
class Labels:
    """What a discriminator is to say of real and of false pictures, 1 and 0 unless smoothed or flipped."""

    real: float = 1.0
    false: float = 0.0


HARD = Labels()


def soft_labels(seed: int, step: int, shift: float = 0.2, flip: float = 0.05) -> Labels:
    """The labels of one step: up to `shift` away from 1 and 0, and swapped with the probability `flip`.

    One draw counts for the whole step, at all scales. They are for the discriminator; a generator always aims at 1.

    Raises:
        ConfigError: if `shift` or `flip` is not from 0 to below a half.
    """
    for name, value in (("shift", shift), ("flip", flip)):
        if not 0 <= value < 0.5:
            raise ConfigError(f"the {name} of the labels is {value:g}; it must be from 0 to below 0.5.")
    up, down, swap = Generator(Philox(key=[seed, _LABELS], counter=[step, 0, 0, 0])).random(3)
    labels = Labels(1 - shift * up, shift * down)
    return Labels(labels.false, labels.real) if swap < flip else labels


def discriminator_loss(kind: Kind, real: Scores, false: Scores, labels: Labels = HARD) -> Scalar:
    """How badly real and false pictures are told apart; the mean over scales of the mean over both.

    Args:
        kind: "gan" (Goodfellow et al. 2014: cross-entropy), "lsgan" (Mao et al. 2016: squares), "hinge" (Lim and Ye
            2017) or "wgan" (Arjovsky et al. 2017: needs a discriminator of bounded gain or a gradient penalty).
        real: scores of real pictures, one tensor for each scale.
        false: scores of what a generator made, without its graph.
        labels: for the first two kinds.
    """
    if kind in ("gan", "lsgan"):
        distance = _distance(kind)
        pairs = [(distance(r, labels.real) + distance(f, labels.false)) / 2 for r, f in zip(real, false, strict=True)]
    elif kind == "hinge":
        pairs = [(F.relu(1 - r).mean() + F.relu(1 + f).mean()) / 2 for r, f in zip(real, false, strict=True)]
    else:
        pairs = [f.mean() - r.mean() for r, f in zip(real, false, strict=True)]
    return torch.stack(pairs).mean()


def generator_loss(kind: Kind, false: Scores) -> Scalar:
    """How far what was made is from being taken for real; the mean over scales, of the same kind as above."""
    if kind in ("gan", "lsgan"):
        distance = _distance(kind)
        return torch.stack([distance(scores, 1.0) for scores in false]).mean()
    return -torch.stack([scores.mean() for scores in false]).mean()


def _distance(kind: Kind) -> Callable[[Tensor, float], Tensor]:
    if kind == "gan":
        return lambda scores, aim: F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, aim))
    return lambda scores, aim: (scores - aim).square().mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor], real: Float[Tensor, "b c h w"], false: Float[Tensor, "b c h w"],
    seed: int, step: int,
) -> Scalar:  # fmt: skip
    """Mean of (gradient's length - 1)^2 at points between real and false (Gulrajani et al. 2017, arXiv:1704.00028).

    Args:
        discriminator: what is penalised, a function of just what it is trained on (for domains: entropy maps).
        real: of one domain.
        false: of the other, as many.
        seed: of the points.
        step: of the points.
    """
    shares = Generator(Philox(key=[seed, _BETWEEN], counter=[step, 0, 0, 0])).random(len(real))
    share = torch.as_tensor(shares, dtype=real.dtype, device=real.device)[:, None, None, None]
    with torch.enable_grad():
        between = (share * real.detach() + (1 - share) * false.detach()).requires_grad_()
        scores = discriminator(between)
        # The sum over pictures and patches: each picture's gradient is of its own mean score.
        mean = scores.flatten(1).mean(1).sum()
        (gradient,) = torch.autograd.grad(mean, between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def feature_matching(real: Sequence[Scores], false: Sequence[Scores]) -> Scalar:
    """Mean absolute difference of a discriminator's features of real and made pictures (Wang et al. 2018).

    Summed over layers but the last (the scores), mean over scales; the real ones count as given.
    """
    scales = [
        torch.stack([F.l1_loss(f, r.detach()) for r, f in zip(rs[:-1], fs[:-1], strict=True)]).sum()
        for rs, fs in zip(real, false, strict=True)
    ]
    return torch.stack(scales).mean()
