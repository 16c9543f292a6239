"""Losses without labels: values on paper, and gradients, which the predecessor's had not."""

import pytest
import torch

from graticule.objectives.unsupervised import entropy_map, ground_intersection, min_entropy, shares_of, total_variation


def test_entropy_is_one_where_nothing_is_known_and_zero_where_all_is():
    even, sure = torch.full((1, 4, 2, 3), 0.25), torch.eye(4)[None, :, :2, None].expand(1, 4, 2, 3)
    torch.testing.assert_close(entropy_map(even).sum(1), torch.ones(1, 2, 3))
    assert entropy_map(sure).abs().max() == 0
    assert min_entropy(even).item() == pytest.approx(1)
    half = torch.cat([even, sure], -1)
    assert min_entropy(half).item() == pytest.approx(0.5)
    assert min_entropy(half, variance=0.1).item() == pytest.approx(0.5 + 0.1 * 0.25)


def test_a_mask_gets_its_complement():
    logits = torch.tensor([[[[0.0, 30.0, -30.0]]]])
    shares = shares_of(logits)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 1, 3))
    torch.testing.assert_close(entropy_map(shares).sum(1)[0, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    assert shares_of(torch.zeros(1, 3, 2, 2)).shape == (1, 3, 2, 2)


def test_min_entropy_makes_surer_and_is_finite_at_certainty():
    logits = torch.tensor([[[[0.5, -0.5, 200.0, -200.0]]]], requires_grad=True)
    min_entropy(shares_of(logits), variance=0.1).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[..., 0] < 0 < logits.grad[..., 1]


def test_total_variation_on_paper():
    """A single 1 of 3 x 3 in the middle: each way two of six steps are 1."""
    values = torch.zeros(2, 1, 3, 3)
    values[:, :, 1, 1] = 1
    assert total_variation(values).item() == pytest.approx(2 * (2 / 6 + 2 / 6))
    assert total_variation(values[..., :1, :1]).item() == 0
    assert total_variation(values[..., 1:2, :]).item() == pytest.approx(2)


def test_the_ground_pulls_the_mask_up_and_only_where_it_is_missing():
    ground = torch.tensor([[[[1.0, 1.0, 0.0, 0.9]]]])
    mask = torch.tensor([[[[0.1, 0.9, 0.0, 0.6]]]], requires_grad=True)
    loss = ground_intersection(ground, mask)
    assert loss.item() == pytest.approx(0.4 / 4)
    loss.backward()
    assert mask.grad.flatten().tolist() == [-0.25, 0, 0, 0]
