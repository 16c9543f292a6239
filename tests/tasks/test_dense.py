from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from graticule.errors import CheckpointError, ConfigError
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.dense import DensePrediction, follow
from graticule.tasks.task import check_weights

BANDS = (Band("red", scale=0.5, offset=1.0, mean=3.0, std=2.0), Band("dem", scale=1.0, mean=-10.0, std=5.0))
LEGEND = tuple(LegendClass(value, name, "#808080") for value, name in enumerate(("water", "land", "ice")))
COVER = Target("cover", "classes", LEGEND)
HEIGHT = Target("height", "height", unit="m", mean=100.0, std=50.0)
MASK = Target("mask", "binary", LEGEND[:2])


class Fixed(nn.Module):
    """A net whose output is given; `seen` is what it was called with."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(torch.as_tensor(output, dtype=torch.float32))

    def forward(self, x):
        self.called_with = x
        return self.output


def batch_of(truth, valid=None, area=None, x=None):
    shape = next(iter(truth.values())).shape
    valid = valid or {name: torch.ones(shape, dtype=torch.bool) for name in truth}
    return {
        X: torch.zeros(shape[0], 2, *shape[1:]) if x is None else x, SEEN: torch.ones(shape, dtype=torch.bool),
        TARGETS: truth, VALID: valid, AREA: torch.ones(shape) if area is None else area, INDEX: torch.arange(shape[0]),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32])
@pytest.mark.parametrize("space", [(2, 3), (4,)])
def test_stored_values_are_scaled_and_standardised_and_what_is_unseen_is_the_mean(dtype, space):
    x = torch.tensor([4, 15]).to(dtype).view(1, 2, *[1] * len(space)).expand(1, 2, *space).clone()
    seen = torch.ones(1, *space, dtype=torch.bool)
    seen[(0,) * (1 + len(space))] = False
    task = DensePrediction(nn.Identity(), BANDS, [HEIGHT])
    found = task.normalise(x, seen)
    # (4 * 0.5 + 1 - 3) / 2 = 0 and (15 + 10) / 5 = 5
    assert found.dtype == torch.float32
    assert (found[:, 0] == 0).all()
    expected = torch.where(seen, 5.0, 0.0)
    assert torch.allclose(found[:, 1], expected)


def test_values_over_their_valid_range_are_clipped_and_holes_are_the_mean():
    bands = (
        Band("red", scale=0.1, offset=-0.1, valid_range=(-0.1, 0.5), mean=0.2),
        Band("dem", valid_range=(-100.0, 300.0)),
    )
    task = DensePrediction(nn.Identity(), bands, [HEIGHT], normalisation="range")
    x = torch.tensor([[[0, 3, 9, 3]], [[0, 300, -200, 7]]], dtype=torch.int16)[None]
    seen = torch.tensor([[[True, True, True, False]]])
    # 0.1 * 3 - 0.1 = 0.2 is half of -0.1..0.5; what lies beyond is clipped; a mean that is not known is 0.
    expected = torch.tensor([[[0, 0.5, 1, 0.5]], [[0.25, 1, 0, 0]]])[None]
    assert torch.allclose(task.normalise(x, seen), expected, atol=1e-6)
    assert task.describe()["normalisation"] == "range"
    with pytest.raises(ConfigError, match=r"task.normalisation is 'range' and band 'nir' has no valid range"):
        DensePrediction(nn.Identity(), (*bands, Band("nir")), [HEIGHT], normalisation="range")


def test_nan_where_nothing_is_seen_reaches_no_net():
    task = DensePrediction(Fixed(torch.zeros(1, 1, 2, 2)), BANDS, [HEIGHT])
    x = torch.full((1, 2, 2, 2), float("nan"))
    task(x, torch.zeros(1, 2, 2, dtype=torch.bool))
    assert (task.net.called_with == 0).all()


def test_predictions_are_probabilities_and_values_in_their_unit():
    output = torch.tensor([0.0, np.log(3.0), 0.0, 2.0, -1.0]).view(1, 5, 1, 1)
    task = DensePrediction(Fixed(output), BANDS, [COVER, HEIGHT, MASK]).eval()
    found = task.predict(torch.zeros(1, 2, 1, 1))
    assert torch.allclose(found["cover"].flatten(), torch.tensor([0.2, 0.6, 0.2]))
    assert found["height"].shape == (1, 1, 1)
    assert found["height"].item() == pytest.approx(2 * 50 + 100)
    assert found["mask"].item() == pytest.approx(1 / (1 + np.e))


def test_values_are_learnt_standardised_except_by_a_loss_that_needs_the_unit():
    truth = {"height": torch.full((1, 1, 1), 200.0)}
    net = Fixed(torch.zeros(1, 1, 1, 1))  # predicts the mean, 100 m
    standardised = DensePrediction(net, BANDS, [HEIGHT], losses={"height": [{"name": "l1"}]})
    physical = DensePrediction(net, BANDS, [HEIGHT], losses={"height": [{"name": "silog", "invariance": 0.0}]})
    assert standardised.training_step(batch_of(truth), 0)["loss"].item() == pytest.approx((200 - 100) / 50)
    assert physical.training_step(batch_of(truth), 0)["loss"].item() == pytest.approx(np.log(2) ** 2, rel=1e-5)


def test_losses_are_added_with_their_weights():
    truth = {"cover": torch.zeros(1, 1, 1, dtype=torch.int64), "height": torch.full((1, 1, 1), 150.0)}
    task = DensePrediction(
        Fixed(torch.zeros(1, 4, 1, 1)), BANDS, [COVER, HEIGHT],
        losses={"height": [{"name": "l1", "weight": 3.0}, {"name": "l2"}], "cover": [{"name": "cross_entropy"}]},
    )  # fmt: skip
    found = task.training_step(batch_of(truth), 0)
    assert found["losses"]["cover"].item() == pytest.approx(np.log(3))
    assert found["losses"]["height"].item() == pytest.approx(3 * 1 + 1)
    assert found["loss"].item() == pytest.approx(np.log(3) + 4)


def test_area_weighting_counts_a_pixel_by_its_area():
    truth = {"height": torch.tensor([[100.0, 200.0]])}
    area = torch.tensor([[3.0, 1.0]])
    net = Fixed(torch.zeros(1, 1, 2))
    for weighted, expected in ((False, 1.0), (True, 0.5)):
        task = DensePrediction(net, BANDS, [HEIGHT], area_weighted=weighted)
        assert task.training_step(batch_of(truth, area=area), 0)["loss"].item() == pytest.approx(expected)
        sums = task.sums_of(task.predict(torch.zeros(1, 2, 2)), batch_of(truth, area=area))["height"]
        assert (sums["absolute"] / sums["weight"]).item() == pytest.approx(expected * 50)


def test_a_batch_without_a_valid_pixel_gives_zero_and_no_gradient():
    truth = {"cover": torch.zeros(1, 2, 2, dtype=torch.int64), "height": torch.full((1, 2, 2), float("nan"))}
    nowhere = {name: torch.zeros(1, 2, 2, dtype=torch.bool) for name in truth}
    task = DensePrediction(Fixed(torch.randn(1, 4, 2, 2)), BANDS, [COVER, HEIGHT])
    loss = task.training_step(batch_of(truth, nowhere), 0)["loss"]
    loss.backward()
    assert loss.item() == 0
    assert (task.net.output.grad == 0).all()


def test_the_shadow_follows_the_weights_and_predicts():
    task = DensePrediction(Fixed(torch.zeros(1, 1, 1, 1)), BANDS, [HEIGHT], ema_decay=0.75)
    with torch.no_grad():
        task.net.output.fill_(4.0)
    follow(task.shadow, task.net, 0.75)
    assert task.shadow.output.item() == 1.0
    assert task.predict(torch.zeros(1, 2, 1, 1))["height"].item() == pytest.approx(150.0)
    assert not task.shadow.output.requires_grad
    assert {"net.output", "shadow.output"} <= set(task.state_dict())


def test_the_shadow_copies_what_is_no_weight():
    task = DensePrediction(nn.BatchNorm2d(2), BANDS, [HEIGHT, replace(HEIGHT, name="h2")], ema_decay=0.5)
    task.net.running_mean.fill_(7.0)
    task.net.num_batches_tracked.fill_(3)
    follow(task.shadow, task.net, 0.5)
    assert task.shadow.running_mean.tolist() == [7.0, 7.0]
    assert task.shadow.num_batches_tracked == 3


def test_another_model_is_refused_by_the_first_weight_that_differs():
    task = DensePrediction(nn.Conv2d(2, 1, 1), BANDS, [HEIGHT])
    weights = task.state_dict()
    with pytest.raises(CheckpointError, match=r"lacks 'net.bias': it is of another model"):
        check_weights(task, {name: value for name, value in weights.items() if name != "net.bias"})
    with pytest.raises(CheckpointError, match=r"has 'net.extra', which the model lacks"):
        check_weights(task, weights | {"net.extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"'net.weight' is \[3, 2, 1, 1\] in the checkpoint and \[1, 2, 1, 1\]"):
        check_weights(task, weights | {"net.weight": torch.zeros(3, 2, 1, 1)})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"losses": {"hight": []}}, "an entry for 'hight', which is no target; did you mean 'height'?"),
        ({"losses": {}}, "names no loss"),
        ({"losses": {"height": [{"name": "L3"}]}}, "no loss is named 'L3'"),
        ({"optimizer": {"name": "adamv"}}, "no optimizer is named 'adamv'; did you mean 'adam"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "has no option 'momentun'; did you mean 'momentum'?"),
        ({"optimizer": {"name": "sgd", "lr": -1.0}}, "optimizer 'sgd' cannot be made: Invalid learning rate"),
        ({"schedule": {"name": "cosin"}}, "no schedule is named 'cosin'; did you mean 'cosine'?"),
        ({"schedule": {"name": "cosine", "warmup": 3}}, "has no option 'warmup'; did you mean 'warmup_steps'?"),
        ({"ema_decay": 1.5}, "task.ema_decay is 1.5; it must be between 0 and 1"),
    ],
)
def test_options_that_do_not_fit_are_told_at_once(options, text):
    with pytest.raises(ConfigError) as caught:
        DensePrediction(nn.Identity(), BANDS, [HEIGHT], **options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_net_with_other_channels_and_an_image_target_are_refused():
    task = DensePrediction(Fixed(torch.zeros(1, 3, 1, 1)), BANDS, [HEIGHT])
    with pytest.raises(ConfigError, match="the net has 3 output channels; the targets need 1"):
        task(torch.zeros(1, 2, 1, 1))
    with pytest.raises(ConfigError, match="target 'rgb' is an image"):
        DensePrediction(nn.Identity(), BANDS, [Target("rgb", "image")], losses={"rgb": [{"name": "l1"}]})
