"""`graticule train`: a store is split, audited, learnt and evaluated; all that is known of it lands in a run folder."""

import argparse
import shutil
from pathlib import Path

from graticule.commands.assemble import make_datamodule, make_task, split
from graticule.commands.console import copied_to, tell
from graticule.commands.evaluate import evaluate_run
from graticule.commands.launching import launch
from graticule.commands.pictures import draw
from graticule.commands.ranks import forget_run, is_first, shared_run
from graticule.commands.resume import resume
from graticule.commands.stores import open_store, with_store
from graticule.conf.compose import Request, compose, trusted_by, write_config
from graticule.data.audit import audit
from graticule.errors import GraticuleError
from graticule.runs import Run, create_run, write_json
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
    config = compose(request)
    store = open_store(config, request.words)
    config = with_store(config, store)
    assignment = split(config.split, store)
    leaks = audit(store, assignment)
    if not config.split.allow_leaks:
        leaks.refuse()
    datamodule = make_datamodule(config, store, assignment)
    task = make_task(config, datamodule, trusted_by(request))

    root = config.run.output_root
    run, again = shared_run(request, lambda: create_run(Path(root), config.run.name, seed=config.run.seed))
    if again:
        resume(run, Request(trusted=tuple(trusted_by(request))))
        forget_run(request)
        return run
    with copied_to(run.console_log):
        try:
            if is_first():
                write_config(run.config, config)
                assignment.save(run.assignment)
                write_json(run.audit, leaks.to_dict())
            parts = ", ".join(f"{len(assignment.samples(part))} {part}" for part in ("train", "val", "test"))
            tell(f"Run {run.folder.name}: {config.model.name} on {store.path.name}; samples: {parts}. {leaks.summary}.")
            options = config.to_dict()
            fit(
                task, datamodule, run, seed=config.run.seed, trainer=options["trainer"],
                callbacks=options["callbacks"], tracker=options["tracker"], draw=draw(task.bands, task.targets),
            )  # fmt: skip
        except GraticuleError:
            if not run.last_checkpoint.exists() and is_first():
                shutil.rmtree(run.folder, ignore_errors=True)  # a run that never began is no run
            raise
        if config.evaluate.after_train and is_first():
            evaluate_run(run, config, datamodule)
        if is_first():
            print(run.folder)
    forget_run(request)
    return run
