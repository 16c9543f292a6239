"""One training of a cross-validation or study: its fold, its seed, its folder; new, or going on."""

import contextlib
import gc
import itertools
import math
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from graticule.commands.assemble import split
from graticule.commands.resume import resume
from graticule.commands.train import learn, prepare_training
from graticule.conf.compose import Request
from graticule.conf.tree import Config
from graticule.data.audit import LeakReport, audit
from graticule.data.loader import pick_targets
from graticule.data.splits import PARTS, Assignment, Part
from graticule.data.store import Store
from graticule.errors import ConfigError, SplitError
from graticule.objectives.metrics import metrics
from graticule.objectives.sums import binary_sums, class_sums, value_sums
from graticule.runs import Run, create_run
from graticule.schema import IGNORE, Target
from graticule.studies.crossval import Planned, Train, plan, seeds
from graticule.studies.scoring import Scoring

_SAMPLES_AT_ONCE = 32


class Folds:
    """The folds of a store, each split and audited once however often it is trained on."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._made: dict[str, tuple[Assignment, LeakReport]] = {}

    def of(self, config: Config) -> tuple[Assignment, LeakReport]:
        """The parts of a configuration's fold, and what they share."""
        key = repr(config.split)
        if key not in self._made:
            assignment = split(config.split, self.store)
            self._made[key] = assignment, audit(self.store, assignment)
        return self._made[key]

    def check(self, config: Config) -> None:
        """Make all folds that are to be run, so that what is wrong with one is known before the first is trained.

        Raises:
            SplitError: if a fold cannot be made, leaks, or has nothing positive to learn from or to validate on.
        """
        targets = [target for target in pick_targets(self.store, config.data.targets) if target.is_categorical]
        for fold in range(folds_of(config)):
            assignment, leaks = self.of(with_fold(config, fold))
            if not config.split.allow_leaks:
                leaks.refuse()
            for part, target in itertools.product(PARTS[:2], targets):
                if not self._has_positive(assignment, part, target):
                    raise SplitError(
                        f"fold {fold} of {config.split.total_folds} has no positive pixel of {target.name} in its "
                        f"{part} part; lower split.total_folds or set split.fold_method to 'stratified'."
                    )

    def _has_positive(self, assignment: Assignment, part: Part, target: Target) -> bool:
        """Whether any pixel of a part has another class than 0; most often the first few samples tell."""
        rows = assignment.samples(part)
        for chosen in np.array_split(rows, max(1, math.ceil(len(rows) / _SAMPLES_AT_ONCE))):
            labels = self.store.read(chosen, arrays=[target.array])[target.array]
            for row, own in zip(chosen, labels, strict=True):
                mask = assignment.mask(self.store, int(row), part)
                inside = own if mask is None or target.is_of_sample else own[mask]
                if ((inside > 0) & (inside != IGNORE)).any():
                    return True
        return False


def folds_of(config: Config) -> int:
    """How many folds are run."""
    return config.crossval.n_folds or config.split.total_folds


def for_folds(config: Config) -> Config:
    """The configuration of a cross-validation: blocks fold by block, and what validates is what is evaluated.

    Raises:
        ConfigError: if a name is given that belongs to single runs, or one training would take several devices.
    """
    if config.run.name is not None:
        raise ConfigError(
            f"run.name is '{config.run.name}', but the runs of a cross-validation are named after it; "
            "give crossval.name (or tune.name) instead."
        )
    devices = config.trainer.devices
    several = devices not in (1, "auto") and not (isinstance(devices, list) and len(devices) == 1)
    if several or config.trainer.num_nodes > 1 or config.trainer.strategy != "auto":
        raise ConfigError(
            "the runs of a cross-validation take one device each; set trainer.devices=1 and trainer.strategy=auto, "
            "and start a runner of `graticule tune` for each device."
        )
    by_block = config.split.method == "block" and config.split.fold_method == "kfold"
    options = config.split.model_copy(update={"fold_method": "block"} if by_block else {})
    trainer = config.trainer.model_copy(update={"devices": 1} if devices == "auto" else {})
    evaluation = config.evaluate.model_copy(update={"after_train": True, "parts": ["val"]})
    return config.model_copy(update={"split": options, "evaluate": evaluation, "trainer": trainer})


def with_fold(config: Config, fold: int) -> Config:
    """The configuration with another fold that validates."""
    return config.model_copy(update={"split": config.split.model_copy(update={"fold": fold})})


def runs_of(config: Config, name: str) -> list[Planned]:
    """The runs of a cross-validation of that name."""
    return plan(name, folds_of(config), seeds(config.crossval.n_randoms, config.run.seed))


def scoring_of(config: Config, store: Store) -> Scoring:
    """The scoring, checked against what the runs will log.

    Raises:
        ConfigError: for a metric that is not logged, and the like.
    """
    targets = pick_targets(store, config.data.targets)
    wished = config.crossval.scoring_metric
    if wished is None:
        of_classes = "val/accuracy:higher" if targets[0].is_of_sample else "val/iou:higher"
        wished = of_classes if targets[0].is_categorical else "val/mae:lower"
    scoring = Scoring.parse(wished, config.crossval.multi_score_strategy)
    scoring.check(logged_names(targets))
    return scoring


def logged_names(targets: Sequence[Target]) -> list[str]:
    """The names under which a validation of these targets is logged."""
    names = ["val/loss", *([f"val/loss/{target.name}" for target in targets] if len(targets) > 1 else [])]
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    for place, target in enumerate(targets):
        prefix = "val/" if place == 0 else f"val/{target.name}/"
        if target.is_categorical:
            count = class_sums if target.kind == "classes" else binary_sums
            sums = count(torch.zeros(1, target.channels, 1), torch.zeros(1, 1, dtype=torch.int64), nothing)
        else:
            sums = value_sums(torch.zeros(1, 1), torch.zeros(1, 1), nothing)
        found = metrics(target.kind, {name: value.numpy() for name, value in sums.items()},
                        [entry.name for entry in target.legend])  # fmt: skip
        names += [f"{prefix}{name}" for name in found]
    return names


def trainer_of(
    config: Config, folds: Folds, root: Path, trusted: Collection[str], *, cv_name: str, tune_name: str | None = None
) -> Train:
    """What trains one run of a cross-validation."""

    def train(planned: Planned, begun: Run | None) -> Run:
        own = with_fold(config, planned.fold)
        section = own.run.model_copy(update={"name": planned.name, "seed": planned.seed})
        own = own.model_copy(update={"run": section})
        # The folders of the single runs are no result of this command.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                if begun is not None and begun.assignment.exists():
                    return resume(begun, Request(trusted=tuple(trusted)))
                training = prepare_training(own, folds.store, *folds.of(own), trusted)
                context = {"cv_name": cv_name, "fold": planned.fold} | ({"tune_name": tune_name} if tune_name else {})
                run = create_run(root, planned.name, seed=planned.seed, **context)
                learn(training, run)
                return run
            finally:
                _free_memory()

    return train


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
