"""A cross-validation: runs over folds and seeds, in one folder, finished whatever happens in between."""

import contextlib
import fcntl
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from graticule.errors import GraticuleError, OutputError
from graticule.files import whole_file
from graticule.runs import Crossval, Run, finite, write_json
from graticule.studies.outcome import read_outcome
from graticule.studies.pooling import pooled
from graticule.studies.scoring import Score, Scoring

END = "@end"
"""Ending of the columns with metrics at the end of a run; those at its best checkpoint have the metric's name."""

FIRST_SEEDS = (42, 21, 69)
_ABOUT = ("fold", "seed", "run_name", "run_id", "state", "reason", "duration", "checkpoint", "step", f"step{END}")
_JUDGED = ("is_unstable", "score", "score_is_unstable")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """One run that is to be done."""

    fold: int
    seed: int
    name: str


def seeds(n: int, first: int = FIRST_SEEDS[0]) -> list[int]:
    """The seeds of n repetitions: `first`, 21, 69, then drawn ones; the first few of more are always the same."""
    chosen = list(dict.fromkeys((first, *FIRST_SEEDS)))
    drawn = np.random.Generator(np.random.Philox(key=FIRST_SEEDS[0]))
    while len(chosen) < n:
        seed = int(drawn.integers(10_000))
        if seed not in chosen:
            chosen.append(seed)
    return chosen[:n]


def plan(cv_name: str, folds: int, repetitions: Sequence[int]) -> list[Planned]:
    """All runs of a cross-validation: every fold with the first seed, then with the next."""
    return [Planned(fold, seed, f"{cv_name}-run-f{fold}s{seed}") for seed in repetitions for fold in range(folds)]


Train = Callable[[Planned, Run | None], Run]
"""Trains one run, or goes on with the one given, and evaluates its val part; returns it when it is finished."""

Note = Callable[[int], None]
"""(number of runs that have ended): called after each run; may raise to end the cross-validation early."""


@dataclass
class CrossValidation:
    """The state of a cross-validation and how its files are kept.

    Args:
        folder: with its files.
        planned: the runs to do, in this order.
        scoring: makes the score.
        bootstrap: draws for the intervals of pooled metrics.
        seed: of these draws.
    """

    folder: Crossval
    planned: Sequence[Planned]
    scoring: Scoring
    bootstrap: int = 1000
    seed: int = 42
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.folder.run_infos.exists():
            names = {run.name for run in self.planned}
            kept = pd.read_parquet(self.folder.run_infos).drop(columns=list(_JUDGED)).to_dict("records")
            self.rows = [row for row in kept if row["run_name"] in names]

    def go(self, train: Train, note: Note | None = None, *, patience: float = 0.0) -> Score:
        """Do the runs that are not done yet, in order, and return the score.

        A run that was interrupted goes on at its last checkpoint. One that fails by an error counts as failed and the
        others go on; what the user can mend ends the whole, to be started again. Another process that works in the
        folder is waited for as long as `patience` says, in seconds.

        Raises:
            GraticuleError: if the configuration cannot be used, the disk is full, and the like.
        """
        with alone_in(self.folder.folder, patience):
            for ended, run in enumerate(self.planned, 1):
                if run.name not in {row["run_name"] for row in self.rows}:
                    self.rows.append(self._one(run, train))
                    self._write()
                if note is not None:
                    note(ended)
            # The scoring may be another one than when the last row was written.
            self._write()
            write_json(self.folder.summary, self.summary())
        return self.score()

    @property
    def is_open(self) -> bool:
        """Whether there are runs to do."""
        return len(self.rows) < len(self.planned)

    def forget_failures(self) -> None:
        """Let the runs that failed be done again, from their last checkpoints."""
        self.rows = [row for row in self.rows if row["state"] != "failed"]

    def score(self) -> Score:
        """The score of all planned runs; those that are missing or failed lower it, and its trust."""
        return self.scoring.of_runs(self.metrics(), len(self.planned))

    def metrics(self) -> list[dict[str, float]]:
        """The metrics at the best checkpoint of each run that has ended, in the planned order."""
        return [metrics_of(row) for row in self._ordered()]

    def table(self) -> pd.DataFrame:
        """One row per run that has ended, as `run_infos.parquet` keeps it."""
        rows = self._ordered()
        score = self.score()
        judged = [
            row | {"is_unstable": math.isnan(self.scoring.of_run(metrics_of(row))), "score": score.value,
                   "score_is_unstable": score.is_unstable}
            for row in rows
        ]  # fmt: skip
        metrics = list(dict.fromkeys(key for row in rows for key in row if key not in _ABOUT))
        return pd.DataFrame(judged, columns=[*_ABOUT, *metrics, *_JUDGED])

    def _ordered(self) -> list[dict[str, Any]]:
        order = {run.name: number for number, run in enumerate(self.planned)}
        return sorted(self.rows, key=lambda row: order[row["run_name"]])

    def _one(self, planned: Planned, train: Train) -> dict[str, Any]:
        begun = self.folder.run_of(planned.name)
        before = begun.read_manifest().get("trained_seconds", 0.0) if begun else 0.0
        started = time.monotonic()
        about: dict[str, Any] = {"fold": planned.fold, "seed": planned.seed, "run_name": planned.name}
        try:
            run = train(planned, begun)
            found = read_outcome(run)
        except GraticuleError:
            raise
        except Exception as error:
            log.warning("%s failed:\n%s", planned.name, traceback.format_exc())
            failed = self.folder.run_of(planned.name)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            run_id = failed.read_manifest()["id"] if failed else ""
            seconds = before + time.monotonic() - started
            nothing = {"checkpoint": "", "step": -1, f"step{END}": -1}
            return about | {"run_id": run_id, "state": "failed", "reason": reason, "duration": seconds} | nothing
        except BaseException:
            # Killed by a signal that can be caught: what was spent so far counts in the duration.
            if interrupted := self.folder.run_of(planned.name):
                interrupted.update_manifest(trained_seconds=before + time.monotonic() - started)
            raise
        about |= {"run_id": run.read_manifest()["id"], "state": "finished", "reason": ""}
        about |= {"duration": before + time.monotonic() - started, "step": found.step}
        about |= {f"step{END}": _last_step(run), "checkpoint": str(found.checkpoint.relative_to(self.folder.folder))}
        return about | found.best | {f"{name}{END}": value for name, value in found.end.items()}

    def _write(self) -> None:
        with whole_file(self.folder.run_infos) as temporary:
            self.table().to_parquet(temporary, index=False)

    def summary(self) -> dict[str, Any]:
        """The score with its trust, each metric over the runs, and the metrics pooled over the folds."""
        score, rows = self.score(), self._ordered()
        runs = [run for row in rows if row["state"] == "finished" and (run := self.folder.run_of(row["run_name"]))]
        evaluations = [path for run in runs for path in run.evaluations() if path.name.startswith("val-")]
        return {
            "score": finite(score.value),
            "direction": score.direction,
            "trust": score.trust,
            "is_unstable": score.is_unstable,
            "metrics": [str(metric) for metric in self.scoring.metrics],
            "strategy": self.scoring.strategy,
            "planned": len(self.planned),
            "failed": [row["run_name"] for row in rows if row["state"] == "failed"],
            "unstable": [row["run_name"] for row in rows if math.isnan(self.scoring.of_run(metrics_of(row)))],
            "over_runs": _over_runs([metrics_of(row) for row in rows]),
            "pooled": pooled(evaluations, draws=self.bootstrap, seed=self.seed),
        }


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics at the best checkpoint in a row of the table; none for a run that failed."""
    if row["state"] != "finished":
        return {}
    return {key: float(row[key]) for key in row if key not in (*_ABOUT, *_JUDGED) and not key.endswith(END)}


def _over_runs(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | int]]:
    table = {}
    for name in dict.fromkeys(name for values in runs for name in values):
        known = [values[name] for values in runs if math.isfinite(values.get(name, math.nan))]
        if known:
            spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
            table[name] = {
                "mean": float(np.mean(known)), "std": spread, "min": min(known), "max": max(known), "runs": len(known),
            }  # fmt: skip
    return table


def _last_step(run: Run) -> int:
    return int(pd.read_csv(run.metrics, usecols=["step"])["step"].max())


@contextlib.contextmanager
def alone_in(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """While it lasts no other process works in the folder; a process that dies gives it free.

    Raises:
        OutputError: if another process is at work there, still after `patience` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience
    with (folder / ".lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= until:
                    raise OutputError(
                        f"another process is at work in {folder}; wait for it, or choose another name."
                    ) from error
                time.sleep(0.2)
        yield
