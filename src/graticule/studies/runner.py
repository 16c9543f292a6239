"""A runner: takes trials from a study, one after another, until there is nothing left for it."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graticule.errors import CheckpointError, ConfigError, SplitError, StoreError
from graticule.runs import finite
from graticule.studies.scoring import Score
from graticule.studies.study import Job, Study


class Pruned(Exception):  # noqa: N818
    """Raised out of a trial's work when the study gives it up."""


@dataclass(frozen=True)
class Result:
    """What the work on a trial comes to: its score, the scores by metric alone, and what else is to be kept."""

    score: Score
    each: Sequence[Score]
    notes: dict[str, Any] = field(default_factory=dict)


Report = Callable[[int, float], None]
"""(runs that have ended, score so far): raises `Pruned` where the study gives the trial up."""

Work = Callable[[Job, Report], Result]
"""Does a trial, or goes on with it in the folder of its number."""


class Runner:
    """Works at a study.

    Args:
        study: the study.
        work: does one trial.
        n_trials: trials that this runner starts; those that it takes over do not count.
        max_takers: runners that may die on one trial before it counts as failed.
        after_each: called after each trial.
        tell: what happens, for the console.
    """

    def __init__(
        self, study: Study, work: Work, *, n_trials: int | None, max_takers: int = 10,
        after_each: Callable[[], None] = lambda: None, tell: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.study, self.work, self.n_trials, self.max_takers = study, work, n_trials, max_takers
        self.after_each, self.tell = after_each, tell
        self.started = 0

    def run(self) -> None:
        """Do trials until there is none left to start or to take over.

        Raises:
            GraticuleError: if what is wrong concerns all trials (the disk is full, the database is gone); the trial
                that was under way is free for others.
        """
        while True:
            job = self.study.next_job(new=self.n_trials is None or self.started < self.n_trials)
            if job is None:
                patience = self.study.waits_for()
                if patience is None:
                    return
                time.sleep(max(0.1, min(patience, 5.0)))
                continue
            self.started += not job.taken_over
            self._do(job)
            self.after_each()

    def _do(self, job: Job) -> None:
        study = self.study
        what = "Taking over trial" if job.taken_over else "Trial"
        self.tell(f"{what} {job.number}: " + ", ".join(f"{key}={value}" for key, value in job.values.items()))
        with study.beating(job) as heart:
            if job.takers > self.max_takers:
                study.fail(job, f"{job.takers - 1} runners ended while they worked at it")
                self.tell(f"Trial {job.number} is given up: {job.takers - 1} runners ended while they worked at it.")
                return
            try:
                result = self.work(job, lambda step, value: self._report(job, step, value))
            except Pruned:
                study.prune(job)
                self.tell(f"Trial {job.number} is pruned after {max(job.reported)} runs.")
            except (ConfigError, SplitError, StoreError, CheckpointError) as error:
                # These values do not go together; others may.
                study.fail(job, str(error))
                self.tell(f"Trial {job.number} failed: {error}")
            else:
                if not heart.is_lost:
                    self._tell(job, result)

    def _report(self, job: Job, step: int, value: float) -> None:
        if not math.isnan(value) and self.study.report(job, step, value):
            raise Pruned

    def _tell(self, job: Job, result: Result) -> None:
        score = result.score
        if score.trust == 0:
            self.study.fail(job, "no run ended with usable metrics")
            self.tell(f"Trial {job.number} failed: no run ended with usable metrics.")
            return
        notes = {"score": finite(score.value), "trust": score.trust, **result.notes}
        scores = result.each if self.study.plan.objectives == "metrics" else [score]
        self.study.complete(job, [one.value for one in scores], **notes)
        trust = "" if score.trust == 1 else f", from {score.trust:.0%} of its runs"
        self.tell(f"Trial {job.number} is complete: score {score.value:.5g}{trust}.")
