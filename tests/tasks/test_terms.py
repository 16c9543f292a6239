"""Values as a net learns them: transforms, scaling, uncertainty, and terms that come and go with the epochs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from graticule.errors import ConfigError
from graticule.schema import Band, Target, target_from_dict, target_to_dict
from graticule.tasks.dense import DensePrediction
from graticule.tasks.terms import Scale, entries_of, terms_of

DEPTH = Target("depth", "depth", unit="m", mean=1.0, std=2.0, low=-1.0, high=3.0)
KINDS = [(t, scaling) for t in ("none", "log", "inverse") for scaling in ("standardise", "min_max", "none")]


def scale_of(target: Target) -> Scale:
    return Scale(target, *(torch.tensor(number) for number in target.zero_and_unit))


@pytest.mark.parametrize(("transform", "scaling"), KINDS)
@given(metres=st.lists(st.floats(0.05, 5000), min_size=1, max_size=5))
def test_what_is_learnt_comes_back_in_metres(transform, scaling, metres):
    scale = scale_of(replace(DEPTH, transform=transform, scaling=scaling))
    truth = torch.tensor([metres])
    learnt, valid = scale.learnt(truth, torch.ones_like(truth, dtype=torch.bool))
    assert valid.all()
    torch.testing.assert_close(scale.value(learnt), truth, rtol=1e-3, atol=1e-3)


def test_scaling_on_paper():
    truth = torch.tensor([[math.e**2]])
    valid = torch.ones_like(truth, dtype=torch.bool)
    for scaling, paper in (("standardise", (2 - 1) / 2), ("min_max", (2 + 1) / 4), ("none", 2.0)):
        learnt, _ = scale_of(replace(DEPTH, transform="log", scaling=scaling)).learnt(truth, valid)
        assert learnt.item() == pytest.approx(paper)


@pytest.mark.parametrize("transform", ["log", "inverse"])
def test_zero_and_less_have_no_logarithm_and_no_inverse_and_do_not_count(transform):
    truth = torch.tensor([[0.0, -3.0, 2.0]])
    learnt, valid = scale_of(replace(DEPTH, transform=transform)).learnt(truth, torch.ones(1, 3, dtype=torch.bool))
    assert valid.tolist() == [[False, False, True]]
    assert torch.isfinite(learnt).all()


def test_whatever_a_net_gives_is_a_finite_value():
    wild = torch.tensor([-1e30, -1.0, 0.0, 1e30])
    for transform in ("log", "inverse"):
        assert torch.isfinite(scale_of(replace(DEPTH, transform=transform)).value(wild)).all()


def test_the_deviation_is_in_the_unit():
    output = torch.tensor([0.5, 2 * math.log(0.25)]).view(1, 2, 1)
    assert scale_of(DEPTH).deviation(output).item() == pytest.approx(0.25 * 2)
    # Of a logarithm: (e^(2 + 0.5) - e^(2 - 0.5)) / 2
    logarithmic = scale_of(replace(DEPTH, transform="log")).deviation(output).item()
    assert logarithmic == pytest.approx((math.exp(2.5) - math.exp(1.5)) / 2)


def test_a_task_predicts_the_deviation_beside_the_value_and_stops_at_no_scale():
    target = replace(DEPTH, uncertainty=True)
    assert target.channels == 2
    task = DensePrediction(nn.Identity(), [Band("a"), Band("b")], [target], losses={"depth": [{"name": "gaussian"}]})
    found = task.predict(torch.tensor([0.5, 0.0]).view(1, 2, 1, 1))
    assert found["depth"].item() == pytest.approx(2.0)
    assert found["depth-uncertainty"].item() == pytest.approx(2.0)


def test_a_target_comes_back_from_plain_data():
    target = replace(DEPTH, transform="log", scaling="min_max", uncertainty=True)
    assert target_from_dict(target_to_dict(target)) == target
    assert set(target_to_dict(Target("depth", "depth", unit="m"))) == {"name", "kind", "unit", "legend"}


def test_terms_count_in_their_epochs():
    first, second = terms_of(
        replace(DEPTH, uncertainty=True), [{"name": "l2", "until_epoch": 3}, {"name": "gaussian", "from_epoch": 3}]
    )
    assert [first.counts(epoch) for epoch in (0, 2, 3)] == [True, True, False]
    assert [second.counts(epoch) for epoch in (0, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(
    ("entries", "epoch"),
    [
        ([{"name": "l1", "from_epoch": 2}], 0),
        ([{"name": "l1", "until_epoch": 2}], 2),
        ([{"name": "l1", "until_epoch": 2}, {"name": "l2", "from_epoch": 3}], 2),
    ],
)
def test_an_epoch_without_a_loss_is_refused(entries, epoch):
    with pytest.raises(ConfigError, match=f"target 'depth' has no loss from epoch {epoch} on"):
        terms_of(DEPTH, entries)


def test_entries_of_no_target_are_refused():
    with pytest.raises(ConfigError, match=r"task\.losses has an entry for 'dept', which is no target"):
        entries_of({"dept": [{"name": "l1"}]}, [DEPTH])
    assert entries_of(None, [DEPTH]) == {"depth": [{"name": "l1"}]}


def test_statistics_are_those_of_what_is_learnt():
    from graticule.data.statistics import _measured_target, moments

    values = np.array([1.0, math.e, math.e**2])
    target = Target("depth", "depth", unit="m", transform="log", scaling="min_max")
    measured = _measured_target(target, moments(target.transformed(values, np.log)))
    assert (measured.mean, measured.low, measured.high) == pytest.approx((1.0, 0.0, 2.0))
    assert measured.zero_and_unit == pytest.approx((0.0, 2.0))
    assert measured.typical == pytest.approx(math.e)
    assert Target("height", "height", unit="m", mean=-3.0).typical == -3.0
