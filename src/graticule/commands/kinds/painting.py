"""Painting: what photographs look like under a mask."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graticule.commands.assemble import checkpoint_path, device_of
from graticule.commands.console import tell
from graticule.commands.kinds.dense import data_options
from graticule.conf.parts import find_class
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.errors import CheckpointError, ConfigError, nearest
from graticule.inference.likeness import likeness
from graticule.models.discriminators import MultiScaleDiscriminator
from graticule.models.painter import Painter
from graticule.models.vgg import vgg19_features
from graticule.objectives.perceptual import Perceptual
from graticule.runs import Run, write_json
from graticule.schema import VALID, X, band_from_dict, target_from_dict
from graticule.tasks.painting import Painting
from graticule.tasks.task import Task, check_weights
from graticule.training.checkpoints import read_checkpoint

__all__ = ["draw", "finish", "load_task", "make_datamodule", "make_task"]

_ROWS = 4


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> DataModule:
    """Photographs and their masks.

    Raises:
        ConfigError: if the store has no target of that name.
    """
    mask, known = config.painting.target, [target.name for target in store.targets]
    if mask not in known:
        raise ConfigError(f"painting.target is '{mask}', and {store.path} has no such target; {nearest(mask, known)}")
    return DataModule(store, assignment, **data_options(config) | {"targets": [mask]})


def make_task(config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> Painting:
    """The task with new nets.

    Raises:
        ConfigError: if `model` is no painter, or an option does not fit.
    """
    return _task(config, datamodule.bands, datamodule.targets, config.to_dict())


def _task(config: Config, bands: Any, targets: Any, plain: Mapping[str, Any], *, teaching: bool = True) -> Painting:
    asked, judge = config.painting, config.painting.discriminator
    if config.model.name != "painter":
        raise ConfigError(
            f"task.name=painting trains a painter, and the model is {config.model.name}; set model=painter."
        )
    painter: Painter = find_class("model", "painter")(**config.model.options())
    discriminator = MultiScaleDiscriminator(judge.width, judge.layers, judge.scales, local=judge.local)
    losses, perceptual = asked.losses.model_dump(), None
    if losses["perceptual"] and not teaching:
        losses["perceptual"] = 0.0
    if losses["perceptual"] and asked.perceptual_weights is not None:
        perceptual = Perceptual(vgg19_features(asked.perceptual_weights))
    return Painting(
        painter, discriminator, bands, targets, mask=asked.target, objective=asked.objective, losses=losses,
        perceptual=perceptual, augment=asked.augment, soft=asked.soft_labels, flip=asked.flipped_labels,
        paste=asked.paste, optimizer=plain["optim"]["optimizer"], schedule=plain["optim"]["schedule"],
        parts={name: part.model_dump(exclude_none=True) for name, part in asked.parts.items()},
        opponent={"optimizer": judge.optimizer, "schedule": judge.schedule}, seed=config.run.seed, config=plain,
        compile_net=config.trainer.compile,
    )  # fmt: skip


def load_task(path: Path, config: Config, trusted: Collection[str] = ()) -> Painting:
    """The task of a run's checkpoint with its weights, in eval mode on the CPU.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or is of another task or model than the run's.
    """
    content = read_checkpoint(path)
    told = content["graticule"]
    if told.get("task") != "painting":
        raise CheckpointError(f"{path} is of a task '{told.get('task')}', not of a painter; give a run of a painter.")
    bands = [band_from_dict(band) for band in told["bands"]]
    targets = [target_from_dict(target) for target in told["targets"]]
    task = _task(config, bands, targets, told["config"], teaching=False)
    check_weights(task, content["state_dict"])
    task.load_state_dict(content["state_dict"])
    task.val_metrics = dict(told.get("validation", {}))
    return task.eval()


def draw(task: Task) -> Callable[..., np.ndarray]:
    """Pictures of windows: the photograph with its hole, as it is painted, and as it was."""
    assert isinstance(task, Painting)

    def picture(batch: Mapping[str, Any], predictions: Mapping[str, Tensor]) -> np.ndarray:
        columns = [column.cpu() for column in _painted(task, batch)]
        rows = torch.cat([torch.cat(list(column[:_ROWS]), 1) for column in columns], 2)
        image: np.ndarray = (rows.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        return image

    return picture


@torch.no_grad()
def _painted(task: Painting, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Photographs of 0 to 1: with the hole, painted, and as they were; on the task's device."""
    on = {key: batch[key].to(task.device) for key in (X,)}
    on |= {key: {task.mask: batch[key][task.mask].to(task.device)} for key in ("targets", VALID)}
    photo, mask = task.examples(on)
    photo = (photo + 1) / 2
    return photo * (1 - mask) + 0.5 * mask, task.paint(photo, mask, task.seed), photo


def finish(run: Run, config: Config, datamodule: DataModule) -> None:
    """Measures of the best painter on the val part, in `painting.json` in the run: L1 under the mask, FID and KID."""
    task = load_task(checkpoint_path(run, "best"), config)
    found: dict[str, Any] = dict(task.val_metrics)
    weights = config.painting.inception_weights
    if weights is None:
        tell(
            "FID and KID were not computed: their Inception has no weights here; give painting.inception_weights=FILE."
        )
    else:
        device = torch.device(device_of(config))
        found |= {
            f"val/{name}": value for name, value in likeness(_pairs(task.to(device), datamodule), weights).items()
        }
    write_json(run.folder / "painting.json", found)


def _pairs(task: Painting, datamodule: DataModule) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in datamodule.part_dataloader("val"):
        _, painted, photo = _painted(task, batch)
        yield photo, painted
