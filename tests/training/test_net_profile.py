"""Parameters, operations and memory of nets that are known on paper."""

import numpy as np
import pytest
import torch
from torch import nn

from graticule.models.healpix import OnHealpix
from graticule.models.pixel import PixelNet
from graticule.models.unet import UNet
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.dense import DensePrediction
from graticule.training.profile import PARTS, Steps, flops, parameters, top_modules, trace, write_trace
from graticule.training.profile_memory import LiveBytes, largest_batch, memory, peak_of_step, resized

COVER = Target("cover", "classes", tuple(LegendClass(value, str(value), "#808080") for value in range(4)))
PIXELS = 6 * 8


def steps_of(net, **options):
    task = DensePrediction(net, [Band(name, mean=0.0, std=1.0) for name in "abc"], [COVER], **options)
    return Steps(task, "cpu")


def batch_of(samples, space=(6, 8)):
    size = (samples, *space)
    return {
        X: torch.randn(samples, 3, *space), SEEN: torch.ones(size, dtype=torch.bool),
        TARGETS: {"cover": torch.randint(0, 4, size)}, VALID: {"cover": torch.ones(size, dtype=torch.bool)},
        AREA: torch.ones(size), INDEX: torch.arange(samples),
    }  # fmt: skip


def test_a_pixel_net_on_paper():
    steps = steps_of(PixelNet(3, 4, channels=8, layers=1))
    rows = parameters(steps.task.net)
    assert {row["module"]: row["parameters"] for row in rows if row["parameters"]} == {
        "layers.0": 3 * 8 + 8,
        "layers.3": 8 * 4 + 4,
    }
    found = flops(steps, batch_of(5))
    # A product and a sum are two. Backward: gradients of both weights, and of the second layer's input.
    assert found["forward"] == 2 * (3 * 8 + 8 * 4) * PIXELS * 5
    assert found["training"] == found["forward"] + 2 * (3 * 8 + 2 * 8 * 4) * PIXELS * 5
    assert found["modules"]["layers.0"] == 2 * 3 * 8 * PIXELS * 5
    assert found["modules"]["layers.3"] == 2 * 8 * 4 * PIXELS * 5
    assert all(weight.grad is None for weight in steps.task.parameters())


@pytest.mark.parametrize("sphere", [False, True])
def test_a_unet_on_paper(sphere):
    planar = UNet(3, 4, channels=2, levels=2, norm="none")
    space = (64,) if sphere else (8, 8)
    steps = steps_of(OnHealpix(planar) if sphere else planar)
    prefix = "net." if sphere else ""
    work = flops(steps, batch_of(1, space))["modules"]
    # Two convolutions of 3 x 3 at 8 x 8, two at 4 x 4; up: on the joined 4 channels; a head of 1 x 1.
    down = 2 * 9 * ((3 * 2 + 2 * 2) * 64 + (2 * 4 + 4 * 4) * 16)
    assert work[f"{prefix}down"] == down
    assert work[f"{prefix}lift"] == 2 * 4 * 2 * 16
    assert work[f"{prefix}up"] == 2 * 9 * (4 * 2 + 2 * 2) * 64
    assert work[f"{prefix}head"] == 2 * 2 * 4 * 64
    assert sum(work.values()) == flops(steps, batch_of(1, space))["forward"]


def test_modules_that_share_weights_count_them_once():
    layer = nn.Linear(3, 3)
    net = nn.Module()
    net.one, net.other, net.places = layer, nn.Sequential(layer, nn.Linear(3, 2)), nn.Parameter(torch.zeros(5))
    net.other[1].weight.requires_grad_(False)
    rows = parameters(net)
    assert rows == [
        {"module": "one", "parameters": 12, "trained": 12},
        {"module": "other", "parameters": 8, "trained": 2},
        {"module": "(outside)", "parameters": 5, "trained": 5},
    ]
    assert list(top_modules(nn.Linear(2, 2))) == ["net"]


def test_live_bytes_are_those_of_tensors_that_live():
    there = torch.zeros(100)
    with LiveBytes([there]) as live:
        there.add_(1)
        there.view(10, 10)
        assert live.now == 0
        one = torch.zeros(1000)
        other = one.view(10, 100) + 1
        assert live.now == live.peak == 8000
        del one
        assert (live.now, live.peak) == (4000, 8000)
        del other
        assert live.now == 0


def test_memory_of_a_step():
    net = PixelNet(3, 4, channels=8, layers=1, dropout=0.0)
    steps = steps_of(net, optimizer={"name": "adamw", "lr": 1e-3})
    found = memory(steps, batch_of(5))
    weights = 4 * (3 * 8 + 8 + 8 * 4 + 4)
    scaling = 4 * (3 + 3 + 3 + 1 + 1)
    assert found["weights"] == weights + scaling
    assert found["gradients"] == weights
    assert found["optimiser"] == 2 * weights + 4 * 4, "two moments of each weight, a counter of each of four tensors"
    # Of every pixel: 3 normalised bands, 8 hidden values, and 4 outputs in the loss, at least.
    assert found["kept_for_backward"] >= 4 * (3 + 8 + 4) * PIXELS * 5
    assert found["step_peak"] > found["kept_for_backward"]


def test_the_largest_batch_fits_and_a_larger_one_does_not():
    steps = steps_of(PixelNet(3, 4, channels=8, layers=1, dropout=0.0))
    batch, free = batch_of(4), 3_000_000
    steps.step(batch)
    found = largest_batch(steps, batch, free)
    assert found["how"] == "estimated"
    fits = found["samples"]
    assert peak_of_step(steps, resized(batch, fits)) <= free
    assert peak_of_step(steps, resized(batch, fits + 2 + fits // 50)) > free
    assert largest_batch(steps, batch)["samples"] > fits, "what the machine has is more"


def test_resized_repeats_and_leaves_out():
    batch = batch_of(3) | {"draws": {"element": np.arange(3)}}
    assert resized(batch, 4)["draws"]["element"].tolist() == [0, 1, 2, 0]
    assert resized(batch, 7)[INDEX].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert resized(batch, 2)[TARGETS]["cover"].equal(batch[TARGETS]["cover"][:2])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_a_step_trains_and_times_its_parts(precision):
    task = DensePrediction(
        PixelNet(3, 4, channels=8), [Band(name, mean=0.0, std=1.0) for name in "abc"], [COVER], ema_decay=0.5,
        optimizer={"name": "sgd", "lr": 0.5},
    )  # fmt: skip
    steps, batch = Steps(task, "cpu", precision), batch_of(4)
    shadow = [weight.clone() for weight in task.shadow.parameters()]
    before = steps.loss(batch).item()
    seconds = [steps.step(batch) for _ in range(10)]
    assert all(len(parts) == len(PARTS) and min(parts) >= 0 for parts in seconds)
    assert steps.loss(batch).item() < before
    assert not all(one.equal(other) for one, other in zip(shadow, task.shadow.parameters(), strict=True))
    assert steps.evaluation(batch) > 0
    assert task.training


def test_the_trace_names_operators(tmp_path):
    steps = steps_of(PixelNet(3, 4, channels=8, layers=1))
    write_trace(trace(steps, batch_of(2), 1), tmp_path)
    assert '"traceEvents"' in (tmp_path / "trace.json").read_text()
    assert "aten::addmm" in (tmp_path / "trace.txt").read_text()
