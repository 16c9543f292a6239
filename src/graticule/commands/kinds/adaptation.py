"""Domain adaptation: dense prediction that also learns from stores whose labels it does not look at."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from graticule.commands.assemble import checkpoint_path, split
from graticule.commands.kinds.dense import data_options, finish, load_task, net_and_options
from graticule.commands.naming import named_run
from graticule.commands.pictures import draw as draw_windows
from graticule.conf.compose import Request, compose_from
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.domains import DomainDataModule
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.errors import ConfigError
from graticule.schema import TARGETS
from graticule.tasks.adaptation import PRETRAIN, DomainAdaptation, PaintLoss
from graticule.tasks.task import Task
from graticule.training.foreign import begin_with

__all__ = ["draw", "finish", "load_task", "make_datamodule", "make_task"]


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> DataModule:
    """Batches of the main store's parts, each with one of every other domain.

    Raises:
        ConfigError: if there is no other domain, or it does not fit.
        StoreError: if a domain's store is not there.
    """
    asked = config.adaptation
    folders = dict(asked.domains)
    if asked.pretrain is not None:
        if PRETRAIN in folders:
            raise ConfigError(f"adaptation.domains has '{PRETRAIN}', the name of what is learnt first; take another.")
        folders[PRETRAIN] = asked.pretrain.store
    if not folders:
        raise ConfigError(
            "task.name=adaptation has no other domain; give adaptation.domains='{r: STORE}', or use task.name=dense."
        )
    opened = {name: Store.open(Path(folder)) for name, folder in folders.items()}
    whole = config.split.model_copy(update={"train_share": 1.0})  # the share is of the labels of the main store
    domains = {name: (one, split(whole, one)) for name, one in opened.items()}
    return DomainDataModule(store, assignment, domains=domains, name=asked.name, **data_options(config))


def make_task(config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> DomainAdaptation:
    """The task with a new net and discriminators.

    Raises:
        ConfigError: if the terms or the pretraining do not fit the targets.
    """
    net, options = net_and_options(config, datamodule, trusted)
    asked = config.adaptation
    first = 0 if asked.pretrain is None else asked.pretrain.epochs
    if first:
        _check_labelled(datamodule)
    terms = config.to_dict()["adaptation"]["losses"]
    made = DomainAdaptation(
        net, datamodule.bands, datamodule.targets, domains=list(asked.domains), main=asked.name, terms=terms,
        parts={name: part.model_dump(exclude_none=True) for name, part in asked.parts.items()},
        opponent=asked.discriminators.model_dump(), pretrain_epochs=first, paint_loss=_paint_loss(asked.painter),
        seed=config.run.seed, **options,
    )  # fmt: skip
    if config.task.weights_from_checkpoint:
        begin_with(made, Path(config.task.weights_from_checkpoint))
    return made


def _check_labelled(datamodule: DataModule) -> None:
    assert isinstance(datamodule, DomainDataModule)
    store = datamodule.domains[PRETRAIN].store
    known = {target.name for target in store.targets}
    for target in datamodule.targets:
        if target.name not in known:
            raise ConfigError(
                f"adaptation.pretrain.store ({store.path}) has no target '{target.name}', which is to be learnt from "
                "it; give a store that has it, or leave it out of data.targets."
            )


def _paint_loss(word: str | None) -> PaintLoss | None:
    """What a frozen painter and its discriminators say of masks."""
    if word is None:
        return None
    from graticule.commands.kinds.painting import load_task as load_painting  # only where a painter is asked for

    run = named_run(word)
    return load_painting(checkpoint_path(run, "best"), compose_from(run.config, Request(), ())).frozen_loss()


def draw(task: Task) -> Callable[..., np.ndarray]:
    """Pictures of windows: input, and truth and prediction of the targets that the batch's domain knows."""

    def picture(batch: Mapping[str, Any], predictions: Mapping[str, Tensor]) -> np.ndarray:
        known = [target for target in task.targets if target.name in batch[TARGETS]]
        return draw_windows(task.bands, known)(batch, predictions)

    return picture
