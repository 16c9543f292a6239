"""One law for all losses: only valid pixels count; each loss against an answer on paper or of another library."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graticule.errors import ConfigError
from graticule.objectives.losses import (
    CLASS_LOSSES,
    VALUE_LOSSES,
    cross_entropy,
    dice,
    focal,
    gaussian,
    huber,
    l1,
    l2,
    lovasz,
    make_loss,
    silog,
)
from graticule.schema import LegendClass, Target

LEGEND = tuple(LegendClass(value, f"class {value}", "#000000") for value in range(3))
CLASSES = Target("cover", "classes", LEGEND)
BINARY = Target("mask", "binary", LEGEND[:2])
HEIGHT = Target("height", "height", unit="m")

CASES = [(name, channels) for name in CLASS_LOSSES for channels in (1, 3)] + [(name, 0) for name in VALUE_LOSSES]
RARE_OPTIONS = [("cross_entropy", 3, {"class_weights": [1.0, 2.0, 0.5], "label_smoothing": 0.1})]
RARE_OPTIONS += [("focal", 3, {"class_weights": [1.0, 2.0, 0.5]}), ("focal", 1, {"class_weights": [0.3, 0.7]})]
ALL = [(name, channels, {}) for name, channels in CASES] + RARE_OPTIONS
PIXEL_BY_PIXEL = [case for case in ALL if case[0] != "sigm"]
"""Those to which neighbours mean nothing."""


def _batch(channels: int, seed: int = 0, size: tuple[int, ...] = (4, 5)) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, target, valid and weight of two samples; channels 0 means values and their log-variances."""
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(2, channels or 2, *size, generator=generator)
    if channels:
        target = torch.randint(0, max(channels, 2), (2, *size), generator=generator)
    else:
        target = torch.rand(2, *size, generator=generator) * 3 + 0.1
    valid = torch.rand(2, *size, generator=generator) > 0.3
    weight = torch.rand(2, *size, generator=generator) + 0.1
    return output, target, valid, weight


def _loss(name: str, options: dict[str, object]) -> Callable[..., Tensor]:
    def loss(*given: Tensor) -> Tensor:
        return (CLASS_LOSSES | VALUE_LOSSES)[name](*given, **options)

    return loss


def _value_and_gradient(loss: Callable[..., Tensor], output: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
    output = output.clone().requires_grad_()
    value = loss(output, *rest)
    (gradient,) = torch.autograd.grad(value, output)
    return value.detach(), gradient


@pytest.mark.parametrize(("name", "channels", "options"), ALL)
def test_what_stands_at_invalid_pixels_changes_nothing(name: str, channels: int, options: dict[str, object]):
    output, target, valid, weight = _batch(channels)
    loss = _loss(name, options)
    value, gradient = _value_and_gradient(loss, output, target, valid, weight)
    assert value > 0
    for junk in (math.nan, 1e30, -math.inf):
        dirty = output.masked_fill(~valid[:, None], junk)
        dirty_target = target.masked_fill(~valid, 255 if channels else junk)
        dirty_weight = weight.masked_fill(~valid, junk)
        dirty_value, dirty_gradient = _value_and_gradient(loss, dirty, dirty_target, valid, dirty_weight)
        assert torch.equal(value, dirty_value)
        assert torch.equal(gradient, dirty_gradient)
    assert (gradient.masked_select(~valid[:, None]) == 0).all()


@pytest.mark.parametrize(("name", "channels", "options"), ALL)
def test_a_batch_without_valid_pixels_gives_zero_and_zero_gradients(
    name: str, channels: int, options: dict[str, object]
):
    output, target, valid, weight = _batch(channels)
    value, gradient = _value_and_gradient(_loss(name, options), output * math.nan, target, valid & False, weight)
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize(("name", "channels", "options"), ALL)
def test_only_the_ratios_of_weights_matter(name: str, channels: int, options: dict[str, object]):
    output, target, valid, weight = _batch(channels)
    loss = _loss(name, options)
    torch.testing.assert_close(loss(output, target, valid, weight), loss(output, target, valid, weight * 1e-9))
    torch.testing.assert_close(loss(output, target, valid), loss(output, target, valid, torch.full_like(weight, 7.0)))


@pytest.mark.parametrize(("name", "channels", "options"), PIXEL_BY_PIXEL)
def test_a_pixel_of_weight_two_counts_like_two_pixels(name: str, channels: int, options: dict[str, object]):
    output, target, valid, _ = _batch(channels)
    twice = [torch.cat([part, part[..., :1, :]], dim=-2) for part in (output, target, valid)]
    weight = torch.ones(target.shape)
    weight[:, 0] = 2
    loss = _loss(name, options | ({"smooth": 0.0} if name == "dice" else {}))
    torch.testing.assert_close(loss(output, target, valid, weight), loss(*twice), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "channels", "options"), PIXEL_BY_PIXEL)
def test_losses_take_nested_windows_and_half_precision(name: str, channels: int, options: dict[str, object]):
    output, target, valid, weight = _batch(channels)
    loss = _loss(name, options)
    plain = loss(output, target, valid, weight)
    cells = [part.flatten(-2) for part in (output, target, valid, weight)]
    torch.testing.assert_close(loss(*cells), plain)
    coarse = loss(output.bfloat16(), target, valid, weight)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, plain, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("name", "channels"), CASES)
def test_gradients_agree_with_finite_differences(name: str, channels: int):
    output, target, valid, weight = _batch(channels, seed=3, size=(2, 3))
    loss = _loss(name, {})
    _, gradient = _value_and_gradient(loss, output, target, valid, weight)
    step = 1e-2
    for place in torch.nonzero(valid[:, None].expand_as(output))[:6].tolist():
        up, down = output.clone(), output.clone()
        up[tuple(place)] += step
        down[tuple(place)] -= step
        slope = (loss(up, target, valid, weight) - loss(down, target, valid, weight)) / (2 * step)
        torch.testing.assert_close(gradient[tuple(place)], slope, rtol=0.05, atol=2e-3)


@given(seed=st.integers(0, 10_000), weighted=st.booleans(), smoothing=st.sampled_from([0.0, 0.2]))
@settings(max_examples=25, deadline=None)
def test_cross_entropy_is_that_of_torch_on_the_valid_pixels(seed: int, weighted: bool, smoothing: float):
    output, target, valid, _ = _batch(3, seed)
    weights = [0.2, 1.0, 3.0] if weighted else None
    ours = cross_entropy(output, target, valid, class_weights=weights, label_smoothing=smoothing)
    theirs = torch.nn.functional.cross_entropy(
        output.movedim(1, -1)[valid],
        target[valid],
        weight=torch.tensor(weights) if weights else None,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(ours, theirs)


def test_binary_cross_entropy_is_that_of_torch_on_the_valid_pixels():
    output, target, valid, weight = _batch(1)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(output[:, 0][valid], target[valid].float())
    torch.testing.assert_close(cross_entropy(output, target, valid), theirs)
    sides = torch.where(target == 1, 3.0, 1.0) * weight
    weighed = cross_entropy(output, target, valid, weight, class_weights=[1.0, 3.0])
    torch.testing.assert_close(weighed, cross_entropy(output, target, valid, sides))


def test_focal_without_focus_is_cross_entropy():
    for channels in (1, 3):
        output, target, valid, weight = _batch(channels)
        torch.testing.assert_close(
            focal(output, target, valid, weight, gamma=0.0), cross_entropy(output, target, valid, weight)
        )


def test_focal_takes_the_sigmoid_once():
    """At logit z of a positive pixel the loss is (1 - p)^2 (-log p) with p = sigmoid(z): no floor, a full gradient."""
    target, valid = torch.ones(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, dtype=torch.bool)
    for z in (-6.0, 0.0, 4.0):
        p = 1 / (1 + math.exp(-z))
        value, gradient = _value_and_gradient(focal, torch.full((1, 1, 1, 1), z), target, valid)
        assert value.item() == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-4)
        assert gradient.item() == pytest.approx((1 - p) ** 2 * (2 * p * math.log(p) - (1 - p)), rel=1e-4)


def test_alpha_is_the_weight_of_the_positive_class():
    """A missed positive at a logit of -6 keeps a gradient of about alpha; a second sigmoid would leave 1/1400 of it."""
    output, target, valid, weight = _batch(1)
    given = focal(output, target, valid, weight, alpha=0.9)
    torch.testing.assert_close(given, focal(output, target, valid, weight, class_weights=[0.1, 0.9]))
    one, seen = torch.ones(1, 1, 1, dtype=torch.long), torch.ones(1, 1, 1, dtype=torch.bool)
    loss = partial(focal, alpha=0.9, gamma=2.0)
    _, gradient = _value_and_gradient(loss, torch.full((1, 1, 1, 1), -6.0), one, seen)
    assert 0.85 < -gradient.item() < 1.0
    value, _ = _value_and_gradient(loss, torch.full((1, 1, 1, 1), 12.0), one, seen)
    assert value < 1e-9  # no floor


@pytest.mark.parametrize(
    ("classes", "options", "text"),
    [
        (3, {"alpha": 0.5}, "got alpha, which weighs the positive class of a binary target"),
        (2, {"alpha": 0.5, "class_weights": [1.0, 2.0]}, "or one of the two"),
        (2, {"alpha": 1.5}, "alpha of loss 'focal' is 1.5; it must be between 0 and 1."),
    ],
)
def test_an_alpha_that_does_not_fit_is_told(classes, options, text):
    legend = tuple(LegendClass(value, str(value), "#000000") for value in range(classes))
    target = Target("slump", "binary" if classes == 2 else "classes", legend)
    with pytest.raises(ConfigError, match=text):
        make_loss(target, "focal", **options)


def test_the_scale_of_focal_does_not_depend_on_the_share_of_ignored_pixels():
    output, target, valid = torch.zeros(1, 3, 10, 10), torch.zeros(1, 10, 10, dtype=torch.int64), torch.zeros(1, 10, 10)
    some = valid.bool()
    some[:, :1] = True
    torch.testing.assert_close(focal(output, target, some), focal(output, target, ~valid.bool()))


def test_focal_is_finite_where_the_net_is_certain():
    output = torch.tensor([200.0, -200.0, 0.0]).view(1, 3, 1, 1)
    for label in range(3):
        target, valid = torch.full((1, 1, 1), label), torch.ones(1, 1, 1, dtype=torch.bool)
        value, gradient = _value_and_gradient(lambda *given: focal(*given, gamma=0.5), output, target, valid)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_dice_on_paper():
    """Two of four pixels are positive, the net says 1/2 everywhere: 2 * 1 / (2 + 2) = 1/2."""
    target, valid = torch.tensor([[[1, 1, 0, 0]]]), torch.ones(1, 1, 4, dtype=torch.bool)
    assert dice(torch.zeros(1, 1, 1, 4), target, valid, smooth=0.0).item() == pytest.approx(0.5)
    # The third class is absent: it is no part of the mean. Logits of 50 are certainties, and right.
    certain = 50 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert dice(certain, target, valid).item() == pytest.approx(0, abs=1e-6)


def test_dice_is_pooled_over_the_batch():
    """A sample without the class does not count as a failure of its own."""
    target = torch.tensor([[[1, 1]], [[0, 0]]])
    certain = 50 * (2.0 * target[:, None] - 1)
    assert dice(certain, target, torch.ones_like(target, dtype=torch.bool), smooth=0.0).item() == pytest.approx(0)


def test_lovasz_of_certain_predictions_is_one_minus_iou():
    target = torch.tensor([[[0, 0, 1, 1, 2, 2]]])
    predicted = torch.tensor([[[0, 1, 1, 1, 2, 0]]])
    certain = 100 * torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()
    valid = torch.ones_like(target, dtype=torch.bool)
    iou = (1 / 3 + 2 / 3 + 1 / 2) / 3
    assert lovasz(certain, target, valid).item() == pytest.approx(1 - iou, abs=1e-6)
    # Weight 0 takes both mistakes out of the sets.
    weight = (target == predicted).float()
    assert lovasz(certain, target, valid, weight).item() == pytest.approx(0, abs=1e-6)


def test_lovasz_hinge_on_paper():
    """Errors 1 - z s = (3, 0.5) for a missed positive (z = -2) and a weak negative (z = -0.5): 3 * 1/1 + 0.5 * 0."""
    logits, target = torch.tensor([[[[-2.0, -0.5]]]]), torch.tensor([[[1, 0]]])
    assert lovasz(logits, target, torch.ones(1, 1, 2, dtype=torch.bool)).item() == pytest.approx(3.0)


def test_value_losses_on_paper():
    values, target = torch.tensor([[[[1.0, 5.0, 7.0]]]]), torch.tensor([[[2.0, 2.0, math.nan]]])
    valid = torch.tensor([[[True, True, False]]])
    assert l1(values, target, valid).item() == pytest.approx((1 + 3) / 2)
    assert l2(values, target, valid).item() == pytest.approx((1 + 9) / 2)
    assert huber(values, target, valid, delta=2.0).item() == pytest.approx((0.5 + 2 * (3 - 1)) / 2)
    first, second = math.log(1 / 2), math.log(5 / 2)
    paper = (first**2 + second**2) / 2 - 0.5 * ((first + second) / 2) ** 2
    assert silog(values, target, valid).item() == pytest.approx(paper, rel=1e-5)


def test_gaussian_on_paper_and_its_minimum_is_the_mean_squared_error():
    errors, variance = torch.tensor([3.0, -1.0]), 5.0  # mean square (9 + 1) / 2 = 5
    valid = torch.ones(1, 1, 2, dtype=torch.bool)

    def loss(log_variance: float) -> float:
        output = torch.stack([errors, torch.full((2,), log_variance)])[None, :, None]
        return gaussian(output, torch.zeros(1, 1, 2), valid).item()

    assert loss(math.log(2.0)) == pytest.approx((2 * math.log(2.0) + 9 / 2 + 1 / 2) / 4)
    best = loss(math.log(variance))
    assert best < min(loss(math.log(variance) + 0.1), loss(math.log(variance) - 0.1))


def test_silog_fully_invariant_does_not_see_a_common_factor():
    _, target, valid, weight = _batch(0)
    assert silog(5 * target[:, None], target, valid, weight, invariance=1.0).item() == pytest.approx(0, abs=1e-5)


def test_silog_lifts_a_negative_prediction_and_skips_targets_without_a_logarithm():
    values, target = torch.tensor([[[[-3.0, 1.0]]]]), torch.tensor([[[2.0, -1.0]]])
    value, gradient = _value_and_gradient(silog, values, target, torch.ones(1, 1, 2, dtype=torch.bool))
    assert torch.isfinite(value)
    assert gradient[0, 0, 0, 0] < 0
    assert gradient[0, 0, 0, 1] == 0


@pytest.mark.parametrize("target", [CLASSES, BINARY, HEIGHT], ids=lambda target: target.kind)
def test_make_loss_binds_the_named_loss(target: Target):
    losses = CLASS_LOSSES if target.is_categorical else VALUE_LOSSES
    channels = target.channels if target.is_categorical else 0
    batch = _batch(channels)
    for name, loss in losses.items():
        taught = replace(target, uncertainty=True) if name == "gaussian" else target
        torch.testing.assert_close(make_loss(taught, name)(*batch), loss(*batch))
    assert make_loss(HEIGHT, "huber", delta=0.1)(*_batch(0)) < make_loss(HEIGHT, "huber")(*_batch(0))


@pytest.mark.parametrize(
    ("target", "name", "options", "message"),
    [
        (CLASSES, "focall", {}, "no loss is named 'focall' for the classes target 'cover'; did you mean 'focal'?"),
        (
            HEIGHT,
            "dice",
            {},
            "no loss is named 'dice' for the height target 'height'; the known ones are: berhu, gaussian",
        ),
        (CLASSES, "focal", {"gama": 1}, "loss 'focal' has no option 'gama'; did you mean 'gamma'?"),
        (HEIGHT, "gaussian", {}, "does not predict; set task.values.height.uncertainty=true."),
        (HEIGHT, "l1", {"gamma": 1}, "loss 'l1' has no option 'gamma'; it takes none."),
        (CLASSES, "focal", {"class_weights": [1, 2]}, "got 2 class weights; give 3, one per class of its legend."),
    ],
)
def test_what_does_not_fit_is_named(target: Target, name: str, options: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        make_loss(target, name, **options)
    assert message in str(caught.value)
