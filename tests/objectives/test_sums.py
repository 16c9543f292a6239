"""Sums count what is valid, in its group, with its weight; and they add over any partition of the pixels."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graticule.errors import StoreError
from graticule.objectives.metrics import metrics
from graticule.objectives.sums import Sums, binary_sums, class_sums, deviation_sums, merge, value_sums

CHANNELS = {class_sums: 4, binary_sums: 1, value_sums: 0}
KINDS = pytest.mark.parametrize("of", CHANNELS, ids=lambda of: of.__name__)


def _pixels(of: Callable[..., Sums], seed: int = 0, size: tuple[int, ...] = (3, 6, 5)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    channels = CHANNELS[of]
    scores = torch.rand(size[0], max(channels, 1), *size[1:], generator=generator)
    pixels = {
        "scores": scores.softmax(1) if channels > 1 else scores,
        "target": torch.randint(0, max(channels, 2), size, generator=generator),
        "valid": torch.rand(size, generator=generator) > 0.2,
        # Sixteenths add without rounding, so that sums may be compared exactly.
        "weight": torch.randint(1, 16, size, generator=generator) / 16,
        "groups": torch.randint(-1, 3, size, generator=generator),
    }
    if not channels:
        pixels |= {"scores": scores[:, 0] * 9, "target": torch.rand(size, generator=generator) * 9 - 1}
    return pixels


def _sums(of: Callable[..., Sums], pixels: dict[str, Tensor]) -> Sums:
    return of(*pixels.values(), n_groups=3)


def _assert_same(first: Sums, second: Sums) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == torch.float64
        torch.testing.assert_close(first[name], second[name], rtol=1e-12, atol=1e-9, msg=name)


@KINDS
@given(seed=st.integers(0, 1000), part=st.integers(0, 2**30 - 1))
@settings(max_examples=25, deadline=None)
def test_sums_add_over_any_partition_of_the_pixels(of: Callable[..., Sums], seed: int, part: int):
    pixels = _pixels(of, seed, size=(1, 6, 5))
    first = torch.tensor([part >> bit & 1 for bit in range(30)]).view(1, 6, 5).bool()
    whole = _sums(of, pixels)
    parts = [_sums(of, pixels | {"valid": pixels["valid"] & half}) for half in (first, ~first)]
    _assert_same(whole, merge(*parts))


@KINDS
def test_each_group_has_the_sums_of_its_pixels_alone(of: Callable[..., Sums]):
    pixels = _pixels(of)
    whole = _sums(of, pixels)
    for group in range(3):
        alone = of(*list(pixels.values())[:2], pixels["valid"] & (pixels["groups"] == group), pixels["weight"])
        _assert_same({name: value[group : group + 1] for name, value in whole.items()}, alone)


@KINDS
def test_one_group_per_sample_is_that_group_for_all_its_pixels(of: Callable[..., Sums]):
    pixels = _pixels(of)
    by_pixel = torch.tensor([2, -1, 0])[:, None, None].expand(3, 6, 5)
    _assert_same(
        _sums(of, pixels | {"groups": torch.tensor([2, -1, 0])}),
        _sums(of, pixels | {"groups": by_pixel}),
    )


@KINDS
def test_what_stands_at_invalid_pixels_changes_nothing(of: Callable[..., Sums]):
    pixels = _pixels(of)
    invalid = ~pixels["valid"]
    for junk in (float("nan"), 1e30):
        dirty = dict(pixels)
        spread = invalid if not CHANNELS[of] else invalid[:, None]
        dirty["scores"] = pixels["scores"].masked_fill(spread, junk)
        dirty["weight"] = pixels["weight"].masked_fill(invalid, junk)
        dirty["target"] = pixels["target"].masked_fill(invalid, 255 if CHANNELS[of] else junk)
        _assert_same(_sums(of, pixels), _sums(of, dirty))


@KINDS
def test_without_valid_pixels_all_sums_are_zero(of: Callable[..., Sums]):
    pixels = _pixels(of)
    for name, value in _sums(of, pixels | {"valid": pixels["valid"] & False}).items():
        assert value.shape[0] == 3, name
        assert (value == 0).all(), name


@KINDS
def test_nested_windows_have_the_sums_of_their_pixels(of: Callable[..., Sums]):
    pixels = _pixels(of)
    _assert_same(_sums(of, pixels), _sums(of, {name: value.flatten(-2) for name, value in pixels.items()}))


@KINDS
def test_ones_as_weights_are_no_weights(of: Callable[..., Sums]):
    pixels = _pixels(of)
    scores, target, valid, weight, groups = pixels.values()
    ones = torch.ones_like(weight)
    _assert_same(of(scores, target, valid, ones, groups, 3), of(scores, target, valid, None, groups, 3))


def test_class_sums_on_paper():
    # Two classes, bins of a quarter. Pixels: truth 0 at score (0.75, 0.25), truth 1 at (0.5, 0.5): equal, so class 0.
    scores = torch.tensor([[[0.75, 0.5], [0.25, 0.5]]])
    target, valid = torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool)
    sums = class_sums(scores, target, valid, torch.tensor([[1.0, 3.0]]), bins=4)
    assert sums["confusion"].tolist() == [[[1, 0], [3, 0]]]
    assert sums["scores"].tolist() == [[[[0, 0, 3, 0], [0, 0, 0, 1]], [[0, 1, 0, 0], [0, 0, 3, 0]]]]
    assert sums["top"].tolist() == [[[0, 0, 3, 0], [0, 0, 0, 1]]]
    assert sums["top_sums"].tolist() == [[0, 0, 1.5, 0.75]]
    assert sums["pixels"].tolist() == [2]


def test_binary_sums_on_paper():
    scores, target = torch.tensor([[[0.0, 0.5, 1.0, 0.49]]]), torch.tensor([[0, 1, 1, 0]])
    sums = binary_sums(scores, target, torch.ones(1, 4, dtype=torch.bool), bins=4)
    assert sums["scores"].tolist() == [[[1, 1, 0, 0], [0, 0, 1, 1]]]
    assert sums["score_sums"][0].tolist() == pytest.approx([0, 0.49, 0.5, 1])


def test_value_sums_on_paper():
    values, target = torch.tensor([[2.0, -1.0, 5.0]]), torch.tensor([[1.0, 4.0, -5.0]])
    tensors = value_sums(values, target, torch.ones(1, 3).bool(), floor=0.5)
    sums = {name: value.item() for name, value in tensors.items()}
    assert (sums["absolute"], sums["squared"], sums["error"], sums["weight"]) == (16, 126, 6, 3)
    assert (sums["positive"], sums["relative"], sums["truth"], sums["truth_squared"]) == (2, 1 + 5 / 4, 0, 42)
    # Logs of 2 / 1 and of 0.5 / 4; no ratio is below 1.25^3 = 1.95.
    assert sums["log"] == pytest.approx(torch.tensor(2.0).log().item() * (1 - 3))
    assert (sums["delta1"], sums["delta2"], sums["delta3"]) == (0, 0, 0)


@KINDS
def test_a_group_that_was_not_announced_is_refused(of: Callable[..., Sums]):
    pixels = _pixels(of)
    with pytest.raises(ValueError, match="group 3 is not below the 3 groups announced"):
        _sums(of, pixels | {"groups": pixels["groups"] + 1})


@pytest.mark.parametrize(("of", "label"), [(class_sums, 4), (class_sums, -1), (binary_sums, 2)])
def test_a_valid_pixel_with_an_unknown_class_is_refused(of: Callable[..., Sums], label: int):
    pixels = _pixels(of)
    target = pixels["target"].masked_fill(pixels["valid"], label)
    k = max(CHANNELS[of], 2)
    with pytest.raises(
        StoreError, match=rf"a target with {k} classes hold \[{label}\]; they must be 0..{k - 1}, or 255"
    ):
        _sums(of, pixels | {"target": target, "groups": pixels["groups"].clamp_min(0)})


def test_sums_of_different_kinds_are_not_added():
    first, second = _sums(class_sums, _pixels(class_sums)), _sums(value_sums, _pixels(value_sums))
    with pytest.raises(ValueError, match="cannot be added"):
        merge(first, second)


def test_predicted_deviations_on_paper():
    valid = torch.tensor([[True, True, True, False]])
    found = deviation_sums(
        torch.tensor([[1.0, 2.0, 3.0, 9.0]]), torch.tensor([[1.5, 0.0, 0.0, 0.0]]),
        torch.tensor([[0.0, 1.0, -1.0, 0.0]]), valid,
    )  # fmt: skip
    told = metrics("depth", value_sums(torch.zeros(1, 4), torch.ones(1, 4), valid) | found)
    assert told["mean_std"] == pytest.approx(2.0)
    assert told["median_std"] == pytest.approx(2.0, rel=0.02)
    assert told["within_std"] == pytest.approx(2 / 3)  # errors 1.5 > 1, 1 <= 2, 1 <= 3
