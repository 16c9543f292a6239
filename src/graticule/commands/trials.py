"""What a trial of a study is: a cross-validation of one configuration, in the folder of its number."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from graticule.commands.crossval import begin, prepare
from graticule.commands.folds import Folds, for_folds, trainer_of
from graticule.commands.train import learn, prepare_training
from graticule.conf.tree import Config
from graticule.conf.tuned import find_key, with_values
from graticule.conf.verbs import CrossvalConfig, TuneConfig
from graticule.data.audit import LeakReport
from graticule.errors import ConfigError
from graticule.runs import Run, StudyFolder, create_run, crossval_folder
from graticule.studies.runner import Report, Result, Work
from graticule.studies.space import Space
from graticule.studies.study import Job

_PATIENCE = 120.0
"""Seconds that a runner waits for the one whose trial it takes over to let go of the folder."""


def base_of(config: Config) -> Config:
    """The configuration that all trials share, without what belongs to the study."""
    shared = {"tune": TuneConfig(), "hyperparameters": None}
    crossval = config.crossval.model_copy(update={"name": None})
    return for_folds(config).model_copy(update={**shared, "crossval": crossval})


def checked_space(space: Space, base: Config, trusted: Collection[str]) -> Space:
    """The space under the keys of the configuration, every end and choice of it tried in the configuration.

    Raises:
        ConfigError: for a name that is unknown, or a value that the configuration does not take.
    """
    found = space.renamed(lambda name: find_key(name, base))
    for key, dimension in found.dimensions.items():
        for value in dimension.ends:
            try:
                with_values(base, {key: value}, trusted)
            except ConfigError as error:
                raise ConfigError(f"hyperparameter '{key}' cannot be {value!r}: {error}") from error
    return found


class Trials:
    """Does the trials of one study, for one runner.

    Args:
        name: of the study.
        base: the configuration that all trials share, with the device of this runner.
        folds: of the store.
        trusted: packages whose nets may be used.
    """

    def __init__(self, name: str, base: Config, folds: Folds, trusted: Collection[str] = ()) -> None:
        self.name, self.base, self.folds, self.trusted = name, base, folds, tuple(trusted)
        self.root = Path(base.run.output_root)

    @property
    def work(self) -> Work:
        """What does one trial."""
        return self._do

    def _do(self, job: Job, report: Report) -> Result:
        config = with_values(self.base, job.values, self.trusted)
        cv_name = f"{self.name}-cv{job.number}"
        folder = crossval_folder(self.root, cv_name, self.name)
        self.folds.check(config)
        validation = prepare(folder, config, self.folds.store, cv_name)
        begin(folder, config, cv_name, tune_name=self.name, trial=job.number, values=job.values)
        train = trainer_of(config, self.folds, self.root, self.trusted, cv_name=cv_name, tune_name=self.name)

        def note(ended: int) -> None:
            report(ended, validation.scoring.of_runs(validation.metrics()[:ended], ended).value)

        score = validation.go(train, note, patience=_PATIENCE)
        rows = validation.table()
        failed = int((rows["state"] == "failed").sum())
        notes: dict[str, Any] = {"cv_name": cv_name, "duration": float(rows["duration"].sum()), "failed_runs": failed}
        return Result(score, validation.scoring.of_each_metric(validation.metrics(), len(validation.planned)), notes)

    def retrain(self, folder: StudyFolder, values: dict[str, Any]) -> Run:
        """Train once more on all that does not test, with these values, and evaluate the test part.

        What validates is then part of what trains: that leak is meant, any other is refused.
        """
        config = with_values(self.base, values, self.trusted)
        parts = config.split.model_copy(update={"fold_method": "none", "fold": 0})
        name = f"{self.name}-retrain"
        config = config.model_copy(
            update={
                "split": parts,
                "run": config.run.model_copy(update={"name": name}),
                "evaluate": config.evaluate.model_copy(update={"parts": ["test"]}),
                "crossval": CrossvalConfig(),
            }
        )
        assignment, leaks = self.folds.of(config)
        LeakReport({pair: shared for pair, shared in leaks.pairs.items() if "test" in pair}).refuse()
        meant = config.model_copy(update={"split": parts.model_copy(update={"allow_leaks": True})})
        training = prepare_training(meant, self.folds.store, assignment, leaks, self.trusted)
        run = create_run(folder.folder, name, seed=config.run.seed)
        run.update_manifest(tune_name=self.name)
        learn(training, run)
        return run


def check_device(device: str) -> None:
    """Refuse what is no device.

    Raises:
        ConfigError: naming what is.
    """
    if not (_number(device).isdigit() or device in ("cpu", "mps", "auto")):
        raise ConfigError(f"--device is '{device}'; give the number of a GPU, cpu, mps, or auto.")


def _number(device: str) -> str:
    return device.removeprefix("cuda:").removeprefix("gpu:")


def on_device(config: Config, device: str, set_variable: Callable[[str, str], None], visible: str | None) -> Config:
    """The configuration for one device: `cpu`, `mps`, `auto`, or the number of a GPU (`1`, `cuda:1`).

    A GPU becomes the only one that this process sees, so that everything takes it.

    Args:
        config: the configuration.
        device: as the user names it.
        set_variable: sets a variable of the environment.
        visible: CUDA_VISIBLE_DEVICES as it is; a number then counts within it.

    Raises:
        ConfigError: if it is no device.
    """
    check_device(device)
    number = _number(device)
    if number.isdigit():
        seen = [name for name in (visible or "").split(",") if name]
        if visible is not None and int(number) >= len(seen):
            raise ConfigError(
                f"--device is {device}, but CUDA_VISIBLE_DEVICES shows {len(seen)} devices; give another."
            )
        set_variable("CUDA_VISIBLE_DEVICES", seen[int(number)] if seen else number)
    kind = "gpu" if number.isdigit() else device
    trainer = config.trainer.model_copy(update={"accelerator": kind, "devices": 1})
    return config.model_copy(update={"trainer": trainer})
