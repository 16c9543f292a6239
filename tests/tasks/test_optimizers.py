import copy

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
    stepwise = make_schedule({"name": "stepwise", "epochs": 2, "gamma": 0.5}, 100, 10)
    assert [stepwise(step) for step in (0, 19, 20, 40)] == [1.0, 1.0, 0.5, 0.25]
    milestones = make_schedule({"name": "stepwise", "milestones": [1, 5], "gamma": 0.1}, 100, 10)
    assert [milestones(step) for step in (9, 10, 49, 50)] == pytest.approx([1.0, 0.1, 0.1, 0.01])
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


def turn(optimizers, players, *, extrapolate=False):
    """One step of both players of min over a, max over b of a b, each with the gradient where both are now."""
    a, b = players
    for player, gradient in ((a, b.detach().clone()), (b, -a.detach().clone())):
        player.grad = gradient
    for optimizer in optimizers:
        optimizer.step(extrapolate=extrapolate)


def game(learning_rate=0.05):
    players = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    options = {"name": "extra_adam", "lr": learning_rate, "betas": (0.0, 0.99)}
    return players, [make_optimizer([player], options) for player in players]


def test_extragradient_comes_to_rest_where_simultaneous_steps_go_round():
    players, optimizers = game()
    for _ in range(400):
        turn(optimizers, players, extrapolate=True)
        turn(optimizers, players)
    assert max(abs(player.item()) for player in players) < 0.01
    round_about, plain = game()
    for _ in range(400):
        turn(plain, round_about)
    assert max(abs(player.item()) for player in round_about) > 1.0


def test_extragradient_steps_from_where_it_was():
    players, optimizers = game(0.1)
    turn(optimizers, players, extrapolate=True)
    # The first step of Adam is of the length of its rate, whatever the gradient.
    assert [player.item() for player in players] == pytest.approx([0.9, 1.1], abs=1e-5)
    turn(optimizers, players)
    moments = 0.01 * 1.0**2, 0.99 * 0.01 + 0.01 * 1.1**2
    step = 0.1 * 1.1 / (moments[1] / (1 - 0.99**2)) ** 0.5
    assert players[0].item() == pytest.approx(1 - step, abs=1e-5)


def test_extragradient_is_saved_between_its_two_steps():
    players, optimizers = game()
    turn(optimizers, players, extrapolate=True)
    others, again = game()
    for player, other, optimizer, resumed in zip(players, others, optimizers, again, strict=True):
        other.data = player.data.clone()
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    turn(optimizers, players)
    turn(again, others)
    assert [p.item() for p in players] == [p.item() for p in others]


def test_extra_adam_without_a_step_ahead_is_adam():
    weights = [torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    for weight, name in zip(weights, ("extra_adam", "adam"), strict=True):
        optimizer = make_optimizer([weight], {"name": name, "lr": 0.01})
        for _ in range(5):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
    assert torch.equal(*weights)
