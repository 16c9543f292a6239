"""What every tracker does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from graticule.runs import Run


@dataclass(frozen=True)
class Card:
    """What a tracker is told of a run.

    `group` and `job` are the study and the cross-validation that the run belongs to, where it does.
    """

    run: Run
    name: str
    id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    project: str = "graticule"
    entity: str | None = None
    offline: bool = False
    group: str | None = None
    job: str | None = None


@runtime_checkable
class Tracker(Protocol):
    """Called on the first process only, in the order start, (log, picture, flush) ..., checkpoint, finish."""

    def start(self, card: Card, step: int) -> None:
        """Begin, or go on with, the run of that id at `step`; forget what is later than it, where that can be."""

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Note values of a step."""

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Note a picture [h, w, 3] uint8 of a step."""

    def flush(self) -> None:
        """Make safe what was noted: a checkpoint is about to be saved that counts on it."""

    def checkpoint(self, path: Path) -> None:
        """Take a copy of, or note, the best checkpoint."""

    def finish(self, state: str) -> None:
        """End with `state`: finished, preempted, interrupted or failed."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of plain data as one level: {"optim.optimizer.lr": 0.001}."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves
