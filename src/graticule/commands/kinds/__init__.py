"""The kinds of tasks: how the data, the task and what follows a training are made of a configuration."""

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.runs import Run
from graticule.tasks.task import Task

KINDS = {
    "adaptation": "graticule.commands.kinds.adaptation",
    "dense": "graticule.commands.kinds.dense",
    "painting": "graticule.commands.kinds.painting",
    "pretraining": "graticule.commands.kinds.pretraining",
}
"""`task.name` → the module with the functions of `Kind`."""


@runtime_checkable
class Kind(Protocol):
    """The functions that the module of a kind of task has."""

    def make_datamodule(self, config: Config, store: Store, assignment: Assignment) -> DataModule:
        """Batches of the parts."""

    def make_task(self, config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> Task:
        """A new task."""

    def load_task(self, path: Path, config: Config, trusted: Collection[str] = ()) -> Task:
        """The task of a checkpoint, in eval mode."""

    def draw(self, task: Task) -> Callable[..., np.ndarray] | None:
        """What makes the pictures of a validation (see `training.record`); None makes none."""

    def finish(self, run: Run, config: Config, datamodule: DataModule) -> Any:
        """What follows a training, on the first process: evaluation, export ..."""


def kind_of(config: Config) -> Kind:
    """The kind of task that a configuration asks for."""
    return cast(Kind, importlib.import_module(KINDS[config.task.name]))
