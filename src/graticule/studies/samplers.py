"""How a study chooses the next hyperparameters, and when it gives up on a trial.

What is drawn is a function of (seed, number of the trial, hyperparameter), and for the methods that learn also of what
the study knows at that moment; never of which runner asks, or how often.
"""

import warnings
import zlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from graticule.errors import ConfigError, nearest
from graticule.studies.cma import CmaSampler
from graticule.studies.distributions import label
from graticule.studies.space import Space

Sampler = Literal["random", "grid", "tpe", "cmaes", "gp"]
Pruner = Literal["none", "median", "hyperband", "successive_halving"]


class _Independent(BaseSampler):
    """Draws each hyperparameter alone; subclasses say how."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}


class RandomSampler(_Independent):
    """Every value from a counter-based generator keyed by (seed, trial, name): the same whoever draws it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one hyperparameter."""
        place = np.random.SeedSequence([self.seed, trial.number, zlib.crc32(param_name.encode())])
        return from_unit(param_distribution, float(np.random.Generator(np.random.Philox(place)).random()))


class GridSampler(_Independent):
    """Trial n is combination n of the grid."""

    def __init__(self, space: Space) -> None:
        self.space, self.size = space, space.grid_size
        self._keys = {dimension.drawn_as(key): key for key, dimension in space.dimensions.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one hyperparameter."""
        return label(self.space.grid_values(trial.number % self.size)[self._keys[param_name]])


def from_unit(distribution: BaseDistribution, u: float) -> Any:
    """The value at quantile u in [0, 1) of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"no way to draw from {distribution}")
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    if distribution.log:
        # Whole numbers take the range that rounds to them.
        pad = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        value = float(np.exp(np.log(low - pad) + u * (np.log(high + pad) - np.log(low - pad))))
        value = round(value) if pad else value
    elif step is not None:
        value = low + int(u * (round((high - low) / step) + 1)) * step
    else:
        value = low + u * (high - low)
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def make_sampler(name: str, space: Space, seed: int, number: int, directions: Sequence[str]) -> BaseSampler:
    """The sampler for trial `number` of a study.

    Raises:
        ConfigError: if it does not exist, or does not fit the space or the number of objectives.
    """
    if name not in get_args(Sampler):
        raise ConfigError(f"tune.sampler '{name}' does not exist; {nearest(name, get_args(Sampler))}")
    if name == "random":
        return RandomSampler(seed)
    if name == "grid":
        return GridSampler(space)
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=own, multivariate=True, constant_liar=True)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=own, independent_sampler=RandomSampler(seed))
    if len(directions) > 1:
        raise ConfigError("tune.sampler 'cmaes' takes one objective; choose 'tpe', 'gp' or 'random' for several.")
    return CmaSampler(seed, RandomSampler(seed))


def make_pruner(name: str, startup: int, directions: Sequence[str]) -> optuna.pruners.BasePruner:
    """What compares a trial with the others after each of its runs.

    Args:
        name: `none`; `median` of the other trials after as many runs; `hyperband`; `successive_halving`.
        startup: complete trials before the median prunes.
        directions: of the objectives.

    Raises:
        ConfigError: if it does not exist, or there are several objectives.
    """
    if name not in get_args(Pruner):
        raise ConfigError(f"tune.pruner '{name}' does not exist; {nearest(name, get_args(Pruner))}")
    if name == "none":
        return optuna.pruners.NopPruner()
    if len(directions) > 1:
        raise ConfigError("a trial with several objectives cannot be pruned; set tune.pruner to none.")
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=startup)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.SuccessiveHalvingPruner()
