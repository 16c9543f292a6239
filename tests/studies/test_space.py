"""Search spaces in all of their spellings, from the guide's file and from sweeps of W&B."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graticule.conf.config_files import read_table
from graticule.errors import ConfigError
from graticule.studies.cma import of_unit, to_unit
from graticule.studies.distributions import Choice, Numbers
from graticule.studies.samplers import from_unit
from graticule.studies.space import Space, read_space
from graticule.studies.wandb_sweep import is_sweep, read_sweep

GUIDE = {
    "learning-rate": {"distribution": "loguniform", "low": 1e-5, "high": 1e-3},
    "focal_loss_gamma": {"low": 0.0, "high": 2.0},
    "depth": {"low": 2, "high": 5},
    "gamma": {"distribution": "reversed-loguniform", "low": 0.9, "high": 0.999},
    "momentum": {"distribution": "reversed_loguniform", "low": 1.5, "high": 1.9, "n": 2},
    "augment": [True, False],
    "arch": {"distribution": "choice", "choices": ["Unet", "MAnet"]},
    "batch_size": 6,
    "weights": {"distribution": "value", "value": None},
    "encoder": {"distribution": "constant", "value": "resnet18"},
    "dropout": {"distribution": "uniform", "low": 0, "high": 0.5, "step": 0.1},
    "layers": {"distribution": "intuniform", "low": 1, "high": 9, "step": 2},
    "optim": {"optimizer": {"weight_decay": [0.0, 0.1]}},
}


def test_the_guides_file_is_understood():
    assert dict(read_space(GUIDE).dimensions) == {
        "learning_rate": Numbers(1e-5, 1e-3, log=True),
        "focal_loss_gamma": Numbers(0.0, 2.0),
        "depth": Numbers(2, 5, integer=True),
        "gamma": Numbers(0.9, 0.999, log=True, mirror=1),
        "momentum": Numbers(1.5, 1.9, log=True, mirror=2),
        "augment": Choice((True, False)),
        "arch": Choice(("Unet", "MAnet")),
        "batch_size": Choice((6,)),
        "weights": Choice((None,)),
        "encoder": Choice(("resnet18",)),
        "dropout": Numbers(0, 0.5, step=0.1),
        "layers": Numbers(1, 9, integer=True, step=2),
        "optim.optimizer.weight_decay": Choice((0.0, 0.1)),
    }


def test_a_list_of_named_entries_is_understood_too():
    listed = [{"name": "lr", "low": 0.1, "high": 0.2}, {"name": "arch", "choices": ["a", "b"]}]
    assert read_space(listed) == read_space({"lr": {"low": 0.1, "high": 0.2}, "arch": ["a", "b"]})


def test_yaml_and_toml_say_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "hyperparameters:\n  lr: {low: 1e-4, high: 1e-2, distribution: loguniform}\n  k: [1, 2]\n"
    )
    (tmp_path / "a.toml").write_text(
        "[darts]\nx = 1\n[hyperparameters]\nk = [1, 2]\n"
        "[hyperparameters.lr]\nlow = 1e-4\nhigh = 1e-2\ndistribution = 'loguniform'\n"
    )
    spaces = [read_space(read_table(tmp_path / f"a.{kind}")["hyperparameters"]) for kind in ("yaml", "toml")]
    assert dict(spaces[0].dimensions) == dict(spaces[1].dimensions)


PLANET = """
name: planet-tcvis-large
method: random
metric:
  goal: maximize
  name: val0/JaccardIndex
parameters:
  learning_rate:
    max: !!float 1e-3
    min: !!float 1e-5
    distribution: log_uniform_values
  gamma:
    value: 0.997
  focal_loss_alpha:
    min: 0.8
    max: 0.99
  model_arch:
    values:
      - Unet
      - MAnet
"""


def test_the_guides_sweep_is_understood(tmp_path):
    (tmp_path / "sweep.yaml").write_text(PLANET)
    content = read_table(tmp_path / "sweep.yaml")
    assert is_sweep(content)
    sweep = read_sweep(content)
    assert dict(sweep.space.dimensions) == {
        "learning_rate": Numbers(1e-5, 1e-3, log=True),
        "gamma": Choice((0.997,)),
        "focal_loss_alpha": Numbers(0.8, 0.99),
        "model_arch": Choice(("Unet", "MAnet")),
    }
    assert sweep.settings == {
        "tune.sampler": "random", "tune.name": "planet-tcvis-large",
        "crossval.scoring_metric": "val0/JaccardIndex:higher",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ({"min": 3, "max": 8}, Numbers(3, 8, integer=True)),
        ({"distribution": "int_uniform", "min": 3, "max": 8}, Numbers(3, 8, integer=True)),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, Numbers(0.0, 1.0, step=0.25)),
        ({"distribution": "q_uniform", "min": 8, "max": 64, "q": 8}, Numbers(8, 64, integer=True, step=8)),
        ({"distribution": "log_uniform", "min": -9.0, "max": 0.0}, Numbers(math.exp(-9), 1.0, log=True)),
        ({"distribution": "inv_log_uniform", "min": 0.0, "max": 9.0}, Numbers(1 / math.exp(9), 1.0, log=True)),
        ({"distribution": "inv_log_uniform_values", "min": 0.1, "max": 9.0}, Numbers(0.1, 9.0, log=True)),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 512, "q": 16},
            Numbers(1, 512, log=True, integer=True, quantum=16),
        ),
        ({"distribution": "categorical", "values": [1, "a"]}, Choice((1, "a"))),
        ({"distribution": "constant", "value": 3}, Choice((3,))),
    ],
)
def test_distributions_of_sweeps(told, means):
    assert read_sweep({"method": "bayes", "parameters": {"a": {"parameters": {"b": told}}}}).space.dimensions == {
        "a.b": means
    }


def test_the_settings_of_a_sweep():
    content = {
        "method": "bayes", "run_cap": 7, "program": "train.py", "early_terminate": {"type": "hyperband", "min_iter": 3},
        "metric": {"name": "val_loss", "goal": "minimize"}, "parameters": {"a": {"value": 1}},
    }  # fmt: skip
    sweep = read_sweep(content)
    assert sweep.ignored == ("program",)
    assert sweep.settings == {
        "tune.sampler": "tpe", "tune.max_trials": 7, "tune.pruner": "hyperband",
        "crossval.scoring_metric": "val_loss:lower",
    }  # fmt: skip


@given(st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_lies_in_its_range_and_comes_back(u):
    for name, dimension in read_space(GUIDE).dimensions.items():
        drawn = from_unit(dimension.distribution, u)
        assert dimension.distribution._contains(dimension.distribution.to_internal_repr(drawn)), name
        value = dimension.value(drawn)
        if isinstance(dimension, Numbers):
            assert dimension.low <= value <= dimension.high
            assert isinstance(value, int) == dimension.integer
            assert of_unit(dimension.distribution, to_unit(dimension.distribution, drawn)) == pytest.approx(drawn)
        else:
            assert value in dimension.choices


def test_random_draws_have_the_distribution_that_their_name_says():
    u = (np.arange(2000) + 0.5) / 2000
    log = [from_unit(optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True), each) for each in u]
    assert np.median(log) == pytest.approx(1e-3, rel=0.01)
    whole = [from_unit(optuna.distributions.IntDistribution(1, 4), each) for each in u]
    assert np.bincount(whole).tolist() == [0, 500, 500, 500, 500]
    near_one = [Numbers(0.9, 0.999, log=True, mirror=1).value(d) for d in np.geomspace(0.001, 0.1, 2001)]
    assert np.median(near_one) == pytest.approx(0.99)


def test_choices_of_any_kind_survive_the_database():
    choice = Choice((None, True, 1, "a", [1, 2], {"b": 0.5}))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(20):
        trial = study.ask({"x": choice.distribution})
        assert any(choice.value(trial.params["x"]) is own for own in choice.choices)


def test_a_grid_counts_all_combinations_once():
    space = read_space({"a": [1, 2], "b": {"low": 3, "high": 5}, "c": {"low": 0.0, "high": 0.5, "step": 0.25}, "d": 7})
    assert space.grid_size == 18
    found = {tuple(space.grid_values(n).items()) for n in range(18)}
    assert len(found) == 18
    assert space.grid_values(4) == {"a": 1, "b": 4, "c": 0.25, "d": 7}


def test_a_space_travels_as_plain_data():
    space = read_space(GUIDE)
    assert Space.from_description(space.describe()) == space


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"lr": {"distribution": "logunifrom", "low": 1, "high": 2}}, "'logunifrom'; did you mean 'loguniform'?"),
        ({"lr": {"distribution": "uniform", "low": 1}}, "is 'uniform' and has no 'high'; give low and high."),
        ({"lr": {"low": 2, "high": 1}}, "goes from 2 to 1; the low end must be below the high one."),
        ({"lr": {"distribution": "loguniform", "low": 0, "high": 1}}, "low=0; on a logarithmic scale it must be"),
        ({"g": {"distribution": "reversed-loguniform", "low": 0.5, "high": 1}}, "1 - high=0; on a logarithmic scale"),
        ({"lr": {"low": "1e-5", "high": 1}}, "has low='1e-5'; it must be a number (1e-5 is 1.0e-5 in YAML)."),
        ({"lr": {"low": 0.5, "hihg": 1}}, "has the key 'hihg', which is unknown; did you mean 'high'?"),
        ({"a": []}, "chooses from []; it must be a list with at least one value."),
        ({"a": [1, 1]}, "names 1 twice"),
        ({"n": {"distribution": "intuniform", "low": 0.5, "high": 3}}, "its ends must be whole numbers"),
        ({}, "the search space is empty; name at least one hyperparameter."),
        ("lr", "`hyperparameters` is 'lr'; it must hold names with distributions."),
        ([{"low": 1}], "an entry that has no `name`"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_space_is_said(content, told):
    with pytest.raises(ConfigError) as caught:
        read_space(content)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"methd": "grid", "parameters": {}}, "has the key 'methd', which is unknown; did you mean"),
        ({"method": "baies", "parameters": {}}, "method is 'baies', which does not exist; did you mean"),
        ({"parameters": {"a": {"distribution": "normal", "mu": 0}}}, "of the sweep has the distribution 'normal'; "),
        ({"parameters": {"a": {"distribution": "uniform", "min": 0}}}, "'a' of the sweep is 'uniform' and has no"),
        ({"parameters": {"a": {"vals": [1]}}}, "has the key 'vals'; did you mean 'values'?"),
        ({"parameters": {"a": {"distribution": "log_uniform", "min": 0.001, "max": 1000}}}, "exponent 1000; log_"),
        ({"parameters": {"a": 3}}, "parameter 'a' of the sweep is 3; give `value`, `values`, or `min` and `max`."),
        ({"metric": {"name": "x", "goal": "max"}, "parameters": {}}, "has the goal 'max'; the known ones are: max"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_sweep_is_said(content, told):
    with pytest.raises(ConfigError) as caught:
        read_sweep(content)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
