"""`graticule evaluate`: prediction plus sums, on parts of a run's split and on any grid."""

import argparse
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from graticule.commands.assemble import (
    best_threshold,
    checkpoint_path,
    device_of,
    load_run_task,
    make_datamodule,
    split,
)
from graticule.commands.console import copied_to, show_guide, show_results
from graticule.commands.evaluations import jobs_of
from graticule.commands.naming import named_run
from graticule.commands.photo_pictures import draw_shown
from graticule.commands.pictures import draw_restitched
from graticule.commands.publish import publish
from graticule.commands.stores import open_store
from graticule.conf.compose import Request, compose_from
from graticule.conf.config_files import read_run_module
from graticule.conf.parts import make_source
from graticule.conf.run_modules import EvaluateRun
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.errors import ConfigError
from graticule.inference.evaluate import EvaluateOptions, evaluate
from graticule.inference.restitch import Restitch
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction

CHANGEABLE = ("data", "evaluate", "source", "tracker", "trainer")
"""Sections of the configuration that words may change."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    word, which = arguments.run, arguments.checkpoint
    if arguments.config is not None:
        asked = read_run_module(arguments.config)
        if not isinstance(asked, EvaluateRun):
            raise ConfigError(f"{arguments.config} asks for no evaluation; it must have get_eval_run_config().")
        word, which = asked.run, which or str(asked.epoch)
    run = named_run(word)
    request = Request(arguments.words, arguments.config, arguments.trust)
    config = compose_from(run.config, request, CHANGEABLE)
    checkpoint = checkpoint_path(run, which or "best")
    task = load_run_task(checkpoint, config, request.trusted)
    store = open_store(config)
    datamodule = _datamodule(run, config, store)
    with copied_to(run.console_log):
        folders = evaluate_task(run, config, datamodule, task, checkpoint, request.trusted, os.environ)
        publish(run, config, task, folders)
        for folder in folders:
            print(folder)


def _datamodule(run: Run, config: Config, store: Store) -> DataModule:
    """The run's data; or another store, split by the same rules."""
    if not is_other(run, store):
        return make_datamodule(config, store, Assignment.load(run.assignment))
    own = compose_from(run.config, Request(), (), kinds=())
    made = make_datamodule(config, store, split(config.split, store))
    made.like = make_datamodule(own, open_store(own), Assignment.load(run.assignment))
    return made


def is_other(run: Run, store: Store) -> bool:
    """Whether a store is another than the one that a run was trained with."""
    own = compose_from(run.config, Request(), (), kinds=()).data.store
    return own is not None and Path(own).resolve() != store.path.resolve()


def evaluate_run(run: Run, config: Config, datamodule: DataModule) -> list[Path]:
    """Evaluate the best checkpoint of a training that has just ended."""
    checkpoint = checkpoint_path(run, "best")
    trusted = {str(config.model.name).split(":")[0].split(".")[0]}
    return evaluate_task(run, config, datamodule, load_run_task(checkpoint, config, trusted), checkpoint, trusted)


def evaluate_task(
    run: Run, config: Config, datamodule: DataModule, task: DensePrediction, checkpoint: Path,
    trusted: Collection[str] = (), environment: Mapping[str, str] | None = None,
) -> list[Path]:  # fmt: skip
    """Evaluate all parts on all grids that the configuration names, show the results, and return their folders.

    Args:
        run: in whose folder the results go.
        config: of the run.
        datamodule: its data.
        task: its task, with the weights.
        checkpoint: where those are from.
        trusted: packages that a source may come from.
        environment: whose number of a job array picks an evaluation (see `evaluations.jobs_of`); None picks none.

    Raises:
        GridError: if `evaluate.grid` is no grid.
        SourceError: if the truth of whole photographs is needed and their files are not there.
        OutputError: if the results cannot be written.
    """
    own = {"after_train", "parts", "grid", "chamfer", "pictures", "top_k", "ranking", "restitch"}
    wanted = config.evaluate.model_dump(exclude=own)
    if wanted["threshold"] == "best":
        wanted["threshold"] = best_threshold(task)
    photos = _Photos(config, trusted)
    restitch = Restitch(run.predictions / str(config.model.name), datamodule.bands, draw_restitched)
    stitched: set[str] = set()
    other = is_other(run, datamodule.store)
    folders, results = [], []
    for job in jobs_of(config.evaluate, datamodule.store, datamodule.targets, environment):
        options = EvaluateOptions(
            **{key: value for key, value in asdict(job).items() if key != "part"}, **wanted, seed=config.run.seed,
            device=device_of(config), progress=config.callbacks.progress,
        )  # fmt: skip
        folder = run.evaluation(job.part, job.grid + (f"-{datamodule.store.path.name}" if other else ""))
        restitches = config.evaluate.restitch and job.part not in stitched
        stitched.add(job.part)
        evaluate(
            task, datamodule, job.part, folder, options, checkpoint=checkpoint.name, truth_of=photos.truth,
            draw=draw_shown, restitch=restitch if restitches else None,
        )  # fmt: skip
        results.append(json.loads((folder / "metrics.json").read_text()))
        folders.append(folder)
    show_results(results)
    show_guide(results)
    return folders


class _Photos:
    """The photographs behind a store; their files are looked for when the first truth is asked for."""

    def __init__(self, config: Config, trusted: Collection[str]) -> None:
        self._config, self._trusted = config, trusted

    @cached_property
    def _source(self) -> Any:
        return make_source(self._config.source.model_dump(), self._trusted)

    def truth(self, name: str) -> Mapping[str, np.ndarray]:
        """The targets' arrays of a whole photograph."""
        found: Mapping[str, np.ndarray] = self._source.photo(name).arrays
        return found
