"""Adversarial losses: values on paper, draws as functions of seed and step, gradients where they belong."""

import math

import pytest
import torch
from torch import nn

from graticule.errors import ConfigError
from graticule.objectives.adversarial import (
    Labels,
    discriminator_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
    soft_labels,
)

REAL, FALSE = [torch.tensor([[2.0, 0.5]]), torch.tensor([[1.0]])], [torch.tensor([[-1.0, 0.0]]), torch.tensor([[3.0]])]


def bce(score, aim):
    share = 1 / (1 + math.exp(-score))
    return -(aim * math.log(share) + (1 - aim) * math.log(1 - share))


PAPER = {
    "gan": (
        (bce(2, 1) + bce(0.5, 1) + bce(-1, 0) + bce(0, 0)) / 8 + (bce(1, 1) + bce(3, 0)) / 4,
        (bce(-1, 1) + bce(0, 1)) / 4 + bce(3, 1) / 2,
    ),
    "lsgan": ((1 + 0.25 + 1 + 0) / 8 + (0 + 9) / 4, (4 + 1) / 4 + 4 / 2),
    "hinge": ((0 + 0.5 + 0 + 1) / 8 + (0 + 4) / 4, (0.5 - 3) / 2),
    "wgan": ((-0.5 - 1.25 + 3 - 1) / 2, (0.5 - 3) / 2),
}


@pytest.mark.parametrize("kind", PAPER)
def test_the_losses_on_paper(kind):
    judged, made = PAPER[kind]
    assert discriminator_loss(kind, REAL, FALSE).item() == pytest.approx(judged, rel=1e-5)
    assert generator_loss(kind, FALSE).item() == pytest.approx(made, rel=1e-5)


@pytest.mark.parametrize("kind", PAPER)
def test_discriminator_and_generator_pull_opposite_ways(kind):
    score = torch.full((1, 1), 0.5, requires_grad=True)
    (down,) = torch.autograd.grad(discriminator_loss(kind, [torch.zeros(1, 1)], [score]), score)
    (up,) = torch.autograd.grad(generator_loss(kind, [score]), score)
    assert down > 0 > up


def test_soft_labels_are_those_of_the_step_alone_and_flip_as_often_as_asked():
    drawn = [soft_labels(7, step) for step in range(2000)]
    assert drawn[5] == soft_labels(7, 5)
    assert drawn[5] != soft_labels(8, 5)
    flipped = [labels for labels in drawn if labels.real < 0.5]
    assert 60 <= len(flipped) <= 140
    assert all(0.8 <= max(labels.real, labels.false) <= 1 and min(labels.real, labels.false) <= 0.2 for labels in drawn)
    assert soft_labels(7, 5, 0.0, 0.0) == Labels(1.0, 0.0)
    with pytest.raises(ConfigError, match=r"the flip of the labels is 0\.5; it must be from 0 to below 0\.5\."):
        soft_labels(0, 0, flip=0.5)


def test_a_flip_counts_for_every_scale_alike():
    """Asked for "real" over three scales the predecessor aimed at 0, 1, 0."""
    same, flipped = [torch.tensor([[1.5]])] * 3, Labels(0.1, 0.9)
    expected = (bce(1.5, 0.1) + bce(1.5, 0.9)) / 2
    assert discriminator_loss("gan", same, same, flipped).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_penalty_of_a_linear_discriminator_is_known():
    """Of the score a . x the gradient is a everywhere; of two pictures alike."""
    weight = torch.tensor([[[[3.0, 0.0], [0.0, 4.0]]]], requires_grad=True)
    found = gradient_penalty(
        lambda x: (x * weight).sum((1, 2, 3))[:, None], torch.rand(2, 1, 2, 2), torch.rand(2, 1, 2, 2), 0, 0
    )
    assert found.item() == pytest.approx((5 - 1) ** 2, rel=1e-5)
    found.backward()
    assert weight.grad.flatten().tolist() == pytest.approx([2 * 4 * 3 / 5, 0, 0, 2 * 4 * 4 / 5])


def test_the_points_of_the_penalty_are_those_of_the_step_and_lie_between():
    seen = []

    def judge(x):
        seen.append(x.detach())
        return x.square().mean((1, 2, 3))[:, None]

    for step in (3, 3, 4):
        with torch.no_grad():
            gradient_penalty(judge, torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2), 1, step)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert bool(((seen[0] >= 0) & (seen[0] <= 1)).all())


def test_matching_features_on_paper_and_where_its_gradient_goes():
    layers = lambda value: [torch.full((2, 3), value), torch.full((1, 4), value), torch.full((1, 1), value)]  # noqa: E731
    real = [[x.requires_grad_() for x in layers(1.0)] for _ in range(3)]
    made = [[x.requires_grad_() for x in layers(value)] for value in (1.0, 2.0, 3.0)]
    loss = feature_matching(real, made)
    assert loss.item() == pytest.approx((0 + 2 + 4) / 3)
    loss.backward()
    assert all(x.grad is None for scale in real for x in scale)
    assert all(scale[-1].grad is None and bool(scale[0].grad.any()) for scale in made[1:])


def test_the_penalty_reaches_the_weights_of_a_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    gradient_penalty(net, torch.rand(2, 2, 8, 8), torch.rand(2, 2, 8, 8), 0, 0).backward()
    assert net[0].weight.grad.abs().sum() > 0
