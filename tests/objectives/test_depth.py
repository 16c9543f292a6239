"""Losses of relative depth: what must not matter, and what must."""

import pytest
import torch

from graticule.errors import ConfigError
from graticule.objectives.depth import berhu, sigm


def batch(b=2, h=24, w=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(b, h, w, generator=generator) * 5 + 1
    values = torch.rand(b, 1, h, w, generator=generator)
    return values, target, torch.rand(b, h, w, generator=generator) > 0.1


def test_the_same_data_four_times_gives_the_same():
    """The predecessor gave 85.4 in place of 5.85."""
    one = batch()
    for loss in (sigm, berhu):
        four = [part.repeat(4, *[1] * (part.ndim - 1)) for part in one]
        torch.testing.assert_close(loss(*four), loss(*one))


def test_neither_a_factor_nor_an_offset_of_a_picture_matters():
    values, target, valid = batch()
    changed = values * torch.tensor([3.0, 0.2])[:, None, None, None] + torch.tensor([-1.0, 7.0])[:, None, None, None]
    torch.testing.assert_close(sigm(changed, target, valid), sigm(values, target, valid), rtol=1e-4, atol=1e-5)
    assert sigm(2 * target[:, None] - 3, target, valid) < 1e-4
    assert sigm(-target[:, None], target, valid) > 1


def test_a_constant_prediction_has_a_finite_loss_and_gradient():
    values, target, valid = batch()
    for loss in (sigm, berhu):
        flat = torch.full_like(values, 3.0).requires_grad_()
        made = loss(flat, target, valid)
        made.backward()
        assert made.isfinite()
        assert flat.grad.isfinite().all()
        assert flat.grad.abs().sum() > 0
    assert sigm(values, torch.ones_like(target), valid).isfinite()


def test_sigm_on_paper():
    """A step of one column of 8: medians 0, mean distances 1/8 and 1/4; without edges half the mean of |R|."""
    values, target = torch.zeros(1, 1, 8, 8), torch.zeros(1, 8, 8)
    values[..., 7], target[..., 6:] = 1.0, 1.0
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    # relative: 8 in the last column; 4 in the last two. The difference is -4 in column 6 and 4 in column 7.
    assert sigm(values, target, valid, gradient=0.0).item() == pytest.approx(0.5 * (4 + 4) / 8)
    # Sobel across windows with centres 5 and 6: 4 * (-4) and 4 * 4 of six centres.
    assert sigm(values, target, valid, gradient=1.0, scales=1).item() == pytest.approx(0.5 + (16 + 16) / 6)


def test_edges_cost_more_than_the_same_error_spread_smoothly():
    smooth = torch.linspace(-1, 1, 64).expand(1, 64, 64)
    rough = smooth[..., torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    target, valid = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1)), torch.ones(1, 64, 64) > 0
    plain = [sigm(v[:, None], target * 0 + smooth.mT, valid, gradient=0.0) for v in (smooth, rough)]
    edged = [sigm(v[:, None], target * 0 + smooth.mT, valid) for v in (smooth, rough)]
    torch.testing.assert_close(*plain)
    assert edged[1] > 2 * edged[0]


def test_sigm_wants_pictures_and_takes_small_ones():
    values, target, valid = batch(1, 2, 2)
    assert sigm(values, target, valid).isfinite()
    with pytest.raises(ConfigError, match="'sigm' compares neighbours in pictures, and got 1-dimensional space"):
        sigm(values.flatten(2), target.flatten(1), valid.flatten(1))


def test_berhu_on_paper():
    """Errors 0.1, 1 and 5: c = 1; |e| for the first two, (25 + 1) / 2 for the last."""
    values = torch.tensor([[[0.1, 1.0, 5.0]]])
    valid = torch.ones(1, 3, dtype=torch.bool)
    assert berhu(values, torch.zeros(1, 3), valid).item() == pytest.approx((0.1 + 1 + 13) / 3)
