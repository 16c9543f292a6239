"""`graticule train`: a store is split, audited, learnt and evaluated; all that is known of it lands in a run folder."""

import argparse
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from graticule.commands.assemble import make_datamodule, make_task, split
from graticule.commands.console import copied_to, tell
from graticule.commands.going_on import run_to_go_on_with
from graticule.commands.kinds import kind_of
from graticule.commands.launching import launch
from graticule.commands.ranks import forget_run, is_first, shared_run
from graticule.commands.resume import resume
from graticule.commands.ssl4rs import add_names
from graticule.commands.stores import open_store, with_store
from graticule.conf.compose import Request, compose, trusted_by, write_config
from graticule.conf.overrides import wishes
from graticule.conf.tree import Config
from graticule.data.audit import LeakReport, audit
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.errors import GraticuleError
from graticule.runs import Run, create_run, write_json
from graticule.tasks.task import Task
from graticule.training.fit import fit


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    launch(train, arguments)


def train(request: Request) -> Run:
    """Train what the request asks for and return its run.

    Raises:
        ConfigError: for a wrong word.
        StoreError: if there is no store, or it does not fit.
        SplitError: if the split is empty, or leaks.
        OutputError: if the run folder cannot be written.
    """
    config = _with_experiment(compose(request), request)
    store = open_store(config, request.words)
    config = with_store(config, store)
    assignment = split(config.split, store)
    training = prepare_training(config, store, assignment, audit(store, assignment), trusted_by(request))
    earlier = run_to_go_on_with(config)
    run, again = (earlier, True) if earlier is not None else shared_run(request, lambda: _new_run(config))
    if again:
        resume(run, Request(trusted=tuple(trusted_by(request))))
    else:
        learn(training, run)
    forget_run(request)
    return run


def _with_experiment(config: Config, request: Request) -> Config:
    """The configuration with the name of the chosen experiment, where that names a folder."""
    if config.run.layout != "ssl4rs" or config.run.experiment is not None:
        return config
    chosen = wishes(request.words).groups.get("experiment")
    return config.model_copy(update={"run": config.run.model_copy(update={"experiment": chosen or "default"})})


def _new_run(config: Config) -> Run:
    told = config.run
    context = {"layout": told.layout, "experiment": told.experiment} if told.layout == "ssl4rs" else {}
    return create_run(Path(told.output_root), told.name, seed=told.seed, **context)


@dataclass(frozen=True)
class Training:
    """All that a training needs, made before it has a folder, so that what is wrong leaves none behind."""

    config: Config
    assignment: Assignment
    leaks: LeakReport
    datamodule: DataModule
    task: Task


def prepare_training(
    config: Config, store: Store, assignment: Assignment, leaks: LeakReport, trusted: Collection[str] = ()
) -> Training:
    """The data and the new net of a configuration.

    Raises:
        SplitError: if the parts leak and the configuration does not allow it.
        ConfigError: if the net cannot be made, and the like.
    """
    if not config.split.allow_leaks:
        leaks.refuse()
    datamodule = make_datamodule(config, store, assignment)
    return Training(config, assignment, leaks, datamodule, make_task(config, datamodule, trusted))


def learn(training: Training, run: Run) -> None:
    """Train, evaluate, and leave all that is known in the run folder; tell its path."""
    config, task = training.config, training.task
    with copied_to(run.console_log):
        try:
            if is_first():
                write_config(run.config, config)
                training.assignment.save(run.assignment)
                write_json(run.audit, training.leaks.to_dict())
                if config.run.layout == "ssl4rs":
                    add_names(run, config, task)
            parts = ", ".join(f"{len(training.assignment.samples(p))} {p}" for p in ("train", "val", "test"))
            store = training.datamodule.store.path.name
            told = f"{config.model.name} on {store}; samples: {parts}. {training.leaks.summary}."
            tell(f"Run {run.folder.name}: {told}")
            options, kind = config.to_dict(), kind_of(config)
            fit(
                task, training.datamodule, run, seed=config.run.seed, trainer=options["trainer"],
                callbacks=options["callbacks"], tracker=options["tracker"], draw=kind.draw(task),
            )  # fmt: skip
        except GraticuleError:
            if not run.last_checkpoint.exists() and is_first():
                shutil.rmtree(run.folder, ignore_errors=True)  # a run that never began is no run
            raise
        if config.evaluate.after_train and is_first():
            kind.finish(run, config, training.datamodule)
        if is_first():
            print(run.folder)
