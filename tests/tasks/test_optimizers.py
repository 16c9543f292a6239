import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graticule.tasks.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_goes_downhill(name):
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer([weight], {"name": name, "lr": 0.01, "weight_decay": 0.0})
    for _ in range(20):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert weight.item() < 1.0


@pytest.mark.parametrize("name", SCHEDULES)
@given(step=st.integers(0, 2000), steps=st.integers(1, 1000), epoch=st.integers(1, 100), warmup=st.integers(0, 50))
def test_every_schedule_is_a_factor_between_0_and_1_also_beyond_its_end(name, step, steps, epoch, warmup):
    factor = make_schedule({"name": name, "warmup_steps": warmup}, steps, epoch)(step)
    assert 0 <= factor <= 1
    assert factor == make_schedule({"name": name, "warmup_steps": warmup}, steps, epoch)(step)


def test_schedules_have_the_values_known_on_paper():
    cosine = make_schedule({"name": "cosine", "warmup_steps": 4, "final_factor": 0.2}, 104, 10)
    assert [cosine(step) for step in (0, 1, 2, 3)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [cosine(4), cosine(54), cosine(104)] == pytest.approx([1.0, 0.6, 0.2])
    exponential = make_schedule({"name": "exponential", "gamma": 0.5}, 100, 10)
    assert [exponential(step) for step in (0, 9, 10, 29)] == [1.0, 1.0, 0.5, 0.25]
    one = make_schedule({"name": "one_cycle", "start_factor": 0.1, "final_factor": 0.0}, 100, 10)
    assert [one(0), one(15), one(30), one(65), one(100)] == pytest.approx([0.1, 0.55, 1.0, 0.5, 0.0])


def test_one_cycle_is_that_of_torch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    # torch rises over 0.3 * 100 - 1 steps and ends at step 99.
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=31 / 101, cycle_momentum=False
    )  # fmt: skip
    ours = make_schedule({"name": "one_cycle", "final_factor": 4e-6}, 100, 10)
    for step in range(101):
        assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        if step < 100:
            torchs.step()
