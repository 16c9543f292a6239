"""Measures of collapse on features whose spread is known on paper."""

import pytest
import torch

from graticule.objectives.collapse import alignment, rank_me, spread, uniformity


def test_all_alike_has_no_spread_and_one_direction() -> None:
    same = torch.ones(20, 4)
    assert float(spread(same)) == pytest.approx(0)
    assert float(rank_me(same)) == pytest.approx(1, abs=1e-3)
    assert float(uniformity(same)) == pytest.approx(0)


def test_random_directions_spread_evenly() -> None:
    features = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    assert float(spread(features)) == pytest.approx(1, abs=0.02)
    assert float(rank_me(features)) == pytest.approx(8, abs=0.05)


def test_features_in_a_plane_have_rank_two() -> None:
    plane = torch.zeros(6, 5)
    plane[:3, 0] = plane[3:, 1] = 7.0
    assert float(rank_me(plane)) == pytest.approx(2, abs=1e-3)


def test_alignment_and_uniformity_on_paper() -> None:
    """Opposite and perpendicular unit vectors are 4 and 2 apart, squared."""
    one, other = torch.tensor([[2.0, 0], [0, 1]]), torch.tensor([[-1.0, 0], [5, 0]])
    assert float(alignment(one, other)) == pytest.approx((4 + 2) / 2)
    assert float(uniformity(one)) == pytest.approx(-4)
