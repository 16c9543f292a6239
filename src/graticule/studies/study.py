"""A study: trials of one search space, shared by any number of runners through a database."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from graticule.errors import ConfigError, nearest
from graticule.studies.leases import Heartbeat, Leases
from graticule.studies.samplers import make_pruner, make_sampler
from graticule.studies.scoring import Direction, Scoring
from graticule.studies.space import Space
from graticule.studies.storage import Database

NOTES = "graticule"
"""User attribute of the study that holds its plan, and of a trial that holds what is known beside its values."""
TRIAL = "trial-{}"
"""Name of the lease of a trial."""


@dataclass(frozen=True)
class Plan:
    """What a study is about; kept in its database, so that a runner needs nothing but the address and the name.

    Attributes:
        config: the configuration that all trials share, as plain data.
        space: the search space.
        scoring: makes the score of a trial; its metrics are the objectives where `objectives` is "metrics".
        objectives: "score" for one objective, "metrics" for one per scoring metric.
        sampler: how hyperparameters are chosen.
        pruner: how bad trials are given up.
        startup: complete trials before the median prunes.
        seed: of what is drawn.
        max_trials: trials of the study, by all runners together; None is no limit.
        retrain: train and test once more with the best.
    """

    config: Mapping[str, Any]
    space: Space
    scoring: Scoring
    objectives: str = "score"
    sampler: str = "random"
    pruner: str = "none"
    startup: int = 5
    seed: int = 42
    max_trials: int | None = None
    retrain: bool = False

    @property
    def directions(self) -> list[Direction]:
        """Of the objectives."""
        if self.objectives == "metrics":
            return [metric.direction for metric in self.scoring.metrics]
        return [self.scoring.direction]

    @property
    def limit(self) -> int | None:
        """How many trials there will be; a grid has as many as combinations."""
        if self.sampler != "grid":
            return self.max_trials
        size = self.space.grid_size
        return size if self.max_trials is None else min(size, self.max_trials)

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ConfigError: in one line.
        """
        make_sampler(self.sampler, self.space, self.seed, 0, self.directions)
        make_pruner(self.pruner, self.startup, self.directions)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        told = {key: value for key, value in asdict(self).items() if key not in ("space", "scoring", "config")}
        scoring = {"metrics": [str(metric) for metric in self.scoring.metrics], "strategy": self.scoring.strategy}
        return told | {"space": self.space.describe(), "scoring": scoring, "config": dict(self.config)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_dict`."""
        scoring = Scoring.parse(told["scoring"]["metrics"], told["scoring"]["strategy"])
        return cls(**{**told, "space": Space.from_description(told["space"]), "scoring": scoring})


@dataclass
class Job:
    """A trial that this runner works at: new, or taken over from a runner that died."""

    number: int
    values: dict[str, Any]
    trial: Trial
    taken_over: bool
    takers: int = 1
    reported: dict[int, float] = field(default_factory=dict)


class Study:
    """One study in a database, as one runner sees it.

    Args:
        database: where it is.
        name: its name, which is also its id.
        plan: what it is about; None reads it from the database.
        grace: seconds without a heartbeat after which a trial is taken over.
        interval: seconds between two heartbeats.

    Raises:
        ConfigError: if a study of that name exists and a plan is given, or none exists and none is given.
    """

    def __init__(
        self, database: Database, name: str, plan: Plan | None = None, *, grace: float = 120.0, interval: float = 15.0
    ) -> None:
        self.database, self.name, self.interval = database, name, interval
        self._storage = database.storage
        if plan is not None:
            plan.check()
            self._create(plan)
        study_id = self._id()
        told = database.surely(lambda: self._storage.get_study_user_attrs(study_id))
        if NOTES not in told:
            raise ConfigError(f"the study '{name}' was not made by `graticule tune`; choose another tune.name.")
        self.plan = Plan.from_dict(told[NOTES])
        self.optuna = database.surely(lambda: optuna.load_study(study_name=name, storage=self._storage))
        self.optuna.pruner = make_pruner(self.plan.pruner, self.plan.startup, self.plan.directions)
        self.leases = Leases(database, name, grace)

    def _create(self, plan: Plan) -> None:
        try:
            made = optuna.create_study(study_name=self.name, storage=self._storage, directions=plan.directions)
        except DuplicatedStudyError as error:
            raise ConfigError(
                f"there is a study '{self.name}' already; join it with --sweep-id {self.name}, or choose another "
                "tune.name."
            ) from error
        made.set_user_attr(NOTES, plan.to_dict())
        names = [metric.name for metric in plan.scoring.metrics] if plan.objectives == "metrics" else ["score"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            made.set_metric_names(names)

    def _id(self) -> int:
        try:
            return int(self.database.surely(lambda: self._storage.get_study_id_from_name(self.name)))
        except KeyError as error:
            known = [study.study_name for study in self._storage.get_all_studies()]
            hint = nearest(self.name, known) if known else "it has none."
            raise ConfigError(f"the database has no study '{self.name}'; {hint}") from error

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in one of the states (all if none is named), by number."""
        chosen = states or None
        return self.database.surely(lambda: self.optuna.get_trials(deepcopy=False, states=chosen))

    def next_job(self, *, new: bool = True) -> Job | None:
        """A trial for this runner: one that a dead runner has left, or else a new one; None where there is neither.

        Args:
            new: whether a new one may be started.
        """
        with self.leases.alone("ask"):
            left = self._left_over()
            if left is not None:
                return self._job(*left, taken_over=True)
            limit, begun = self.plan.limit, len(self.trials())
            if not new or (limit is not None and begun >= limit):
                return None
            trial = self.database.surely(lambda: self._ask(begun))
            self.leases.take(TRIAL.format(trial.number))
            return self._job(trial, 1, taken_over=False)

    def _left_over(self) -> tuple[Trial, int] | None:
        leases = self.leases.all()
        for frozen in self.trials(TrialState.RUNNING):
            lease = leases.get(TRIAL.format(frozen.number))
            if self.leases.is_free(lease) and self.leases.take(TRIAL.format(frozen.number)):
                self._set_sampler(frozen.number)
                trial = self.database.surely(lambda: Trial(self.optuna, frozen._trial_id))  # noqa: B023
                return trial, 1 + (lease.takers if lease else 0)
        return None

    def _ask(self, number: int) -> Trial:
        self._set_sampler(number)
        made = self.optuna.get_trials(deepcopy=False)
        if len(made) > number:
            # Asked before, and the answer was lost with the connection.
            return Trial(self.optuna, made[number]._trial_id)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self.optuna.ask()

    def _set_sampler(self, number: int) -> None:
        plan = self.plan
        self.optuna.sampler = make_sampler(plan.sampler, plan.space, plan.seed, number, plan.directions)

    def _job(self, trial: Trial, takers: int, *, taken_over: bool) -> Job:
        """Draw what has not been drawn yet; what a dead runner has drawn stays."""
        values = {}
        for key, dimension in self.plan.space.dimensions.items():
            name, distribution = dimension.drawn_as(key), dimension.distribution
            drawn = self.database.surely(lambda: _drawn(trial, name, distribution))  # noqa: B023
            values[key] = dimension.value(drawn)
        self.note(trial, values=values)
        reported = dict(trial._cached_frozen_trial.intermediate_values)
        return Job(trial.number, values, trial, taken_over, takers, reported)

    def note(self, trial: Trial, **entries: Any) -> None:
        """Add to what is kept of a trial beside its values."""
        kept = {**trial.user_attrs.get(NOTES, {}), **entries}
        self.database.surely(lambda: trial.set_user_attr(NOTES, kept))

    @contextlib.contextmanager
    def beating(self, job: Job) -> Iterator[Heartbeat]:
        """Keep the trial ours while it lasts; afterwards give it free, finished or not."""
        name = TRIAL.format(job.number)
        try:
            with Heartbeat(self.leases, name, self.interval) as heart:
                yield heart
        finally:
            self.leases.give_back(name)

    def report(self, job: Job, step: int, value: float) -> bool:
        """Note the score after so many runs; whether the trial should be given up."""
        if len(self.plan.directions) > 1:
            return False
        if step not in job.reported:
            self.database.surely(lambda: job.trial.report(value, step))
            job.reported[step] = value
        return bool(self.database.surely(job.trial.should_prune))

    def complete(self, job: Job, values: Sequence[float], **notes: Any) -> None:
        """The trial has ended with these objectives."""
        self.note(job.trial, **notes)
        self._end(job, TrialState.COMPLETE, [float(value) for value in values])

    def prune(self, job: Job, **notes: Any) -> None:
        """The trial is given up; its last score stays as its value."""
        self.note(job.trial, **notes)
        last = job.reported[max(job.reported)] if job.reported else math.nan
        self._end(job, TrialState.PRUNED, [float(last)] if not math.isnan(last) else None)

    def fail(self, job: Job, why: str) -> None:
        """The trial cannot be done."""
        self.note(job.trial, reason=why[:500])
        self._end(job, TrialState.FAIL, None)

    def _end(self, job: Job, state: TrialState, values: list[float] | None) -> None:
        def call() -> None:
            # Told before, if the answer was lost; nobody else can have told: the trial is ours.
            with contextlib.suppress(UpdateFinishedTrialError):
                self._storage.set_trial_state_values(job.trial._trial_id, state, values)

        self.database.surely(call)

    def waits_for(self) -> float | None:
        """Seconds until a trial would be stale whose runner has missed a beat; None where none has."""
        leases = self.leases.all()
        ages = []
        for frozen in self.trials(TrialState.RUNNING):
            lease = leases.get(TRIAL.format(frozen.number))
            if lease is None or self.leases.is_free(lease):
                return 0.0
            if lease.age > 2 * self.interval:
                ages.append(self.leases.grace - lease.age)
        return min(ages) + 0.1 if ages else None

    @property
    def is_finished(self) -> bool:
        """Whether no trial is open and no further one is planned."""
        trials, limit = self.trials(), self.plan.limit
        if any(not trial.state.is_finished() for trial in trials):
            return False
        return limit is None or len(trials) >= limit


def _drawn(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """The value of a hyperparameter, drawn now or before."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    raise TypeError(f"no way to draw from {distribution}")
