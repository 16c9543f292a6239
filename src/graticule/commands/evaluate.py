"""`graticule evaluate`: prediction plus sums, on parts of a run's split and on any grid."""

import argparse
import json
from pathlib import Path

from graticule.commands.assemble import checkpoint_path, device_of, load_run_task, make_datamodule
from graticule.commands.console import copied_to, show_results
from graticule.commands.stores import open_store
from graticule.conf.compose import Request, compose_from
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.inference.evaluate import EvaluateOptions, evaluate
from graticule.runs import Run, find_run
from graticule.tasks.dense import DensePrediction

CHANGEABLE = ("data", "evaluate", "trainer")
"""Sections of the configuration that words may change."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    run = find_run(arguments.run)
    request = Request(arguments.words, trusted=arguments.trust)
    config = compose_from(run.config, request, CHANGEABLE)
    checkpoint = checkpoint_path(run, arguments.checkpoint)
    task = load_run_task(checkpoint, config, request.trusted)
    datamodule = make_datamodule(config, open_store(config), Assignment.load(run.assignment))
    with copied_to(run.console_log):
        for folder in evaluate_task(run, config, datamodule, task, checkpoint):
            print(folder)


def evaluate_run(run: Run, config: Config, datamodule: DataModule) -> list[Path]:
    """Evaluate the best checkpoint of a training that has just ended."""
    checkpoint = checkpoint_path(run, "best")
    trusted = {str(config.model.name).split(":")[0].split(".")[0]}
    return evaluate_task(run, config, datamodule, load_run_task(checkpoint, config, trusted), checkpoint)


def evaluate_task(
    run: Run, config: Config, datamodule: DataModule, task: DensePrediction, checkpoint: Path
) -> list[Path]:
    """Evaluate all parts that the configuration names, show the results, and return their folders.

    Raises:
        GridError: if `evaluate.grid` is no grid.
        OutputError: if the results cannot be written.
    """
    wanted = config.evaluate.model_dump(exclude={"after_train", "parts"})
    options = EvaluateOptions(
        **wanted, seed=config.run.seed, device=device_of(config), progress=config.callbacks.progress
    )
    folders, results = [], []
    for part in config.evaluate.parts:
        folder = run.evaluation(part, options.grid)
        evaluate(task, datamodule, part, folder, options, checkpoint=checkpoint.name)
        results.append(json.loads((folder / "metrics.json").read_text()))
        folders.append(folder)
    show_results(results)
    return folders
