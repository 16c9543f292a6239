"""CMA-ES over the numeric hyperparameters; its state is worked out anew from the finished trials, never stored."""

import math
from typing import Any

import numpy as np
from cmaes import CMA
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

GENERATION = "graticule:generation"
"""System attribute of a trial: the generation that it was drawn for."""


class CmaSampler(BaseSampler):
    """Draws the numeric hyperparameters together, from the normal distribution that the generations so far have shaped.

    Optuna's own sampler keeps a pickled optimiser in the database, which every runner would execute; here the finished
    generations are told to a fresh one, which takes milliseconds. Hansen and Ostermeier (2001).

    Args:
        seed: of what is drawn.
        others: draws what has no order: choices.
    """

    def __init__(self, seed: int, others: BaseSampler) -> None:
        self.seed, self.others = seed, others
        self.space: dict[str, BaseDistribution] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The numeric hyperparameters of the study's first trial that has all of its own."""
        for finished in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            numeric: dict[str, BaseDistribution] = {
                name: own for name, own in finished.distributions.items()
                if isinstance(own, FloatDistribution | IntDistribution) and not own.single()
            }  # fmt: skip
            return numeric if len(numeric) > 1 else {}
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point of the newest generation."""
        if not search_space:
            return {}
        names = sorted(search_space)
        optimizer = CMA(np.full(len(names), 0.5), 1 / 4, bounds=np.tile([0.0, 1.0], (len(names), 1)), seed=self.seed)
        finished: dict[int, list[tuple[np.ndarray, float]]] = {}
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if (
                GENERATION in other.system_attrs
                and other.value is not None
                and search_space.keys() <= other.params.keys()
            ):
                point = np.array([to_unit(search_space[name], other.params[name]) for name in names])
                finished.setdefault(other.system_attrs[GENERATION], []).append((point, sign * other.value))
        generation, size = 0, optimizer.population_size
        while len(finished.get(generation, ())) >= size:
            optimizer.tell(finished[generation][:size])
            generation += 1
        optimizer.reseed_rng(int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0]))
        study._storage.set_trial_system_attr(trial._trial_id, GENERATION, generation)
        point = optimizer.ask()
        return {name: of_unit(search_space[name], float(u)) for name, u in zip(names, point, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What has no order, and everything of the first trial."""
        return self.others.sample_independent(study, trial, param_name, param_distribution)


def to_unit(distribution: BaseDistribution, value: float) -> float:
    """Where in [0, 1] a value lies, on the scale of its distribution."""
    low, high, log = _ends(distribution)
    return ((math.log(value) if log else value) - low) / (high - low)


def of_unit(distribution: BaseDistribution, u: float) -> float | int:
    """The value at u in [0, 1]: the inverse of `to_unit`, on the steps of the distribution."""
    low, high, log = _ends(distribution)
    value = low + u * (high - low)
    value = math.exp(value) if log else value
    first, last = distribution.low, distribution.high  # type: ignore[attr-defined]
    step = distribution.step  # type: ignore[attr-defined]
    if step is not None and not log:
        value = first + round((value - first) / step) * step
    value = min(max(value, first), last)
    return round(value) if isinstance(distribution, IntDistribution) else value


def _ends(distribution: BaseDistribution) -> tuple[float, float, bool]:
    low, high, log = distribution.low, distribution.high, distribution.log  # type: ignore[attr-defined]
    return (math.log(low), math.log(high), True) if log else (float(low), float(high), False)
