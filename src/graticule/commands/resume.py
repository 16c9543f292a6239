"""`graticule resume`: a run goes on at its last checkpoint, as if it had never been interrupted."""

import argparse

from graticule.commands.assemble import make_datamodule, make_task
from graticule.commands.console import copied_to, tell
from graticule.commands.evaluate import evaluate_run
from graticule.commands.pictures import draw
from graticule.commands.ranks import is_first
from graticule.commands.stores import open_store
from graticule.conf.compose import Request, compose_from, write_config
from graticule.data.splits import Assignment
from graticule.runs import Crossval, Run, find_run, record_environment
from graticule.training.fit import fit

CHANGEABLE = ("callbacks", "data", "evaluate", "tracker", "trainer")
"""Sections of the configuration that words may change; all else would make it another run."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    request = Request(arguments.words, trusted=arguments.trust)
    if Crossval(arguments.run).manifest.is_file():
        from graticule.commands.crossval import resume_crossval  # it resumes runs by this module

        resume_crossval(arguments.run, request)
    else:
        resume(find_run(arguments.run), request)


def resume(run: Run, request: Request) -> Run:
    """Go on with a run.

    Raises:
        ConfigError: for a wrong word.
        CheckpointError: if the last checkpoint is damaged or of another model.
        StoreError, SplitError: if the store or the run's split is no longer there.
    """
    config = compose_from(run.config, request, CHANGEABLE)
    store = open_store(config)
    datamodule = make_datamodule(config, store, Assignment.load(run.assignment))
    task = make_task(config, datamodule, request.trusted)
    if is_first():
        record_environment(run)
        if request.words:
            write_config(run.config, config)
    with copied_to(run.console_log):
        tell(f"Resuming {run.folder.name} at {'its last checkpoint' if run.last_checkpoint.exists() else 'the start'}.")
        options = config.to_dict()
        fit(
            task, datamodule, run, seed=config.run.seed, trainer=options["trainer"], callbacks=options["callbacks"],
            tracker=options["tracker"], resume=True, draw=draw(task.bands, task.targets),
        )  # fmt: skip
        if config.evaluate.after_train and is_first():
            evaluate_run(run, config, datamodule)
        if is_first():
            print(run.folder)
    return run
