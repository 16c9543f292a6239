"""Dense prediction: a value of each target at every pixel."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import nn

from graticule.commands.assemble import base_pixels_of, build_net
from graticule.commands.evaluate import evaluate_run as finish
from graticule.commands.pictures import draw as draw_windows
from graticule.conf.tree import Config
from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.data.statistics import class_weights
from graticule.data.store import Store
from graticule.errors import CheckpointError
from graticule.schema import target_to_dict
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import Task
from graticule.tasks.terms import entries_of
from graticule.training.checkpoints import load_task as read_task
from graticule.training.foreign import begin_with
from graticule.training.record import Draw

__all__ = ["draw", "finish", "load_task", "make_datamodule", "make_task"]


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> DataModule:
    """Batches of the store's parts."""
    return DataModule(store, assignment, **data_options(config))


def data_options(config: Config) -> dict[str, Any]:
    """The further arguments of `DataModule`."""
    data = config.data
    return {
        "batch_size": data.batch_size, "eval_batch_size": data.eval_batch_size, "num_workers": data.num_workers,
        "bands": data.bands, "targets": data.targets, "balance": data.balance, "repeats": data.repeats,
        "augment": Augment(balance=data.balance if data.augment.crop else 0.0, **data.augment.model_dump()),
        "values": {name: value.model_dump() for name, value in config.task.values.items()}, "seed": config.run.seed,
    }  # fmt: skip


def make_task(config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> DensePrediction:
    """The task with a new net."""
    net, options = net_and_options(config, datamodule, trusted)
    made = DensePrediction(net, datamodule.bands, datamodule.targets, **options)
    if config.task.weights_from_checkpoint:
        begin_with(made, Path(config.task.weights_from_checkpoint))
    return made


def net_and_options(
    config: Config, datamodule: DataModule, trusted: Collection[str] = ()
) -> tuple[nn.Module, dict[str, Any]]:
    """A new net, and the further arguments of `DensePrediction`."""
    kind = "healpix" if len(datamodule.store.space) == 1 else "raster"
    told = [target_to_dict(target) for target in datamodule.targets]
    faces = base_pixels_of(datamodule.store)
    plain = config.to_dict() | {"grid_kind": kind, "base_pixels": faces, "targets": told}
    channels = sum(target.channels for target in datamodule.targets)
    net = build_net(plain, len(datamodule.bands), channels, trusted)
    task, optim = plain["task"], plain["optim"]
    asked = None if task["losses"] is None else entries_of(task["losses"], datamodule.targets)
    losses = _weighed(asked, datamodule)
    return net, {
        "losses": losses, "optimizer": optim["optimizer"], "schedule": optim["schedule"], "grid_kind": kind,
        "area_weighted": task["area_weighted"], "ema_decay": task["ema_decay"], "cell_pool": task["cell_pool"],
        "layer_decay": optim["layer_decay"], "freeze": task["freeze"], "freeze_epochs": task["freeze_epochs"],
        "normalisation": task["normalisation"], "config": plain, "compile_net": config.trainer.compile,
    }  # fmt: skip


def _weighed(losses: dict[str, Any] | None, datamodule: DataModule) -> dict[str, Any] | None:
    """The losses with class weights "prevalence" as numbers, measured on the train part."""
    if losses is None:
        return None
    pixels = datamodule.statistics.pixels
    return {
        target: [
            entry | {"class_weights": class_weights(pixels[target].sum(axis=0))}
            if entry.get("class_weights") == "prevalence" and target in pixels
            else entry
            for entry in entries
        ]
        for target, entries in losses.items()
    }


def load_task(path: Path, config: Config, trusted: Collection[str] = ()) -> DensePrediction:
    """The task of a run's checkpoint with its weights; its net is the run's, built by name, never by code in the file.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or is of another model than the run's.
    """

    def build(told: dict[str, Any], in_channels: int, out_channels: int) -> nn.Module:
        model = config.to_dict()["model"]
        other = told.get("model")
        if other != model:
            named = other.get("name") if isinstance(other, dict) else None
            raise CheckpointError(
                f"{path} is of another model ({named}) than the run ({model['name']}), or has other options; "
                "give a checkpoint of this run."
            )
        # Those of the checkpoint replace the first weights, so none need be fetched.
        first = {"encoder_weights": None} if "encoder_weights" in model else {}
        return build_net(told | {"model": model | first}, in_channels, out_channels, trusted)

    return read_task(path, build)


def draw(task: Task) -> Draw:
    """Pictures of windows: input, truth and prediction."""
    return draw_windows(task.bands, task.targets)
