"""`graticule resume`: a run goes on at its last checkpoint, as if it had never been interrupted."""

import argparse
import shutil
from pathlib import Path

from graticule.commands.assemble import checkpoint_path, make_datamodule, make_task
from graticule.commands.console import copied_to, tell
from graticule.commands.kinds import kind_of
from graticule.commands.naming import named_run
from graticule.commands.ranks import is_first
from graticule.commands.stores import open_store
from graticule.conf.compose import Request, compose_from, write_config
from graticule.conf.config_files import read_run_module
from graticule.conf.run_modules import ResumeRun
from graticule.data.splits import Assignment
from graticule.errors import ConfigError
from graticule.runs import Crossval, Run, create_run, record_environment
from graticule.training.fit import fit

CHANGEABLE = ("callbacks", "data", "evaluate", "tracker", "trainer")
"""Sections of the configuration that words may change; all else would make it another run."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    word, which = arguments.run, arguments.checkpoint
    if arguments.config is not None:
        asked = read_run_module(arguments.config)
        if not isinstance(asked, ResumeRun):
            raise ConfigError(f"{arguments.config} asks for no run to resume; it must have get_resume_run_config().")
        word, which = asked.run, which or str(asked.epoch)
    request = Request(arguments.words, arguments.config, arguments.trust)
    if Crossval(Path(word)).manifest.is_file():
        from graticule.commands.crossval import resume_crossval  # it resumes runs by this module

        resume_crossval(Path(word), request)
        return
    run = named_run(word)
    resume(run if which in (None, "last") else fork(run, which), request)


def fork(run: Run, which: str) -> Run:
    """A new run that begins at a checkpoint of another one, with its configuration and split; that one stays as it is.

    Args:
        run: the other one.
        which: the checkpoint: `best`, the number of an epoch, or a path.

    Raises:
        CheckpointError: if there is none such.
    """
    checkpoint, manifest = checkpoint_path(run, which), run.read_manifest()
    new = create_run(
        run.folder.parents[2 if "layout" in manifest else 1],
        manifest["name"],
        seed=manifest["seed"],
        forked_from=run.folder.name,
        forked_at=which,
    )
    new.checkpoints.mkdir(parents=True)
    for old, copy in (
        (checkpoint, new.last_checkpoint), (run.config, new.config), (run.assignment, new.assignment),
        (run.audit, new.audit), (run.metrics, new.metrics),
    ):  # fmt: skip
        if old.is_file():
            shutil.copyfile(old, copy)
    return new


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
        if request.words or request.config_file:
            write_config(run.config, config)
    with copied_to(run.console_log):
        tell(f"Resuming {run.folder.name} at {'its last checkpoint' if run.last_checkpoint.exists() else 'the start'}.")
        options, kind = config.to_dict(), kind_of(config)
        fit(
            task, datamodule, run, seed=config.run.seed, trainer=options["trainer"], callbacks=options["callbacks"],
            tracker=options["tracker"], resume=True, draw=kind.draw(task),
        )  # fmt: skip
        if config.evaluate.after_train and is_first():
            kind.finish(run, config, datamodule)
        if is_first():
            print(run.folder)
    return run
