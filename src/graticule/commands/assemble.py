"""From a checked configuration to the things that it names: split, data, task."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graticule.commands.kinds import kind_of
from graticule.conf.parts import is_spherical, make_net
from graticule.conf.tree import Config, SplitConfig
from graticule.data.datamodule import DataModule
from graticule.data.sample_labels import sample_labels
from graticule.data.splits import Assignment, assign
from graticule.data.store import Store
from graticule.errors import CheckpointError, ConfigError, nearest
from graticule.grids import HealpixGrid
from graticule.models.healpix import OnHealpix
from graticule.objectives.probes import few_shot
from graticule.runs import Run
from graticule.schema import target_from_dict
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import Task
from graticule.training.exported import WEIGHTS, is_exported


def split(config: SplitConfig, store: Store) -> Assignment:
    """The split that the configuration asks for."""
    options = config.model_dump(exclude={"allow_leaks", "train_share"})
    assignment = assign(store, **options)
    return assignment if config.train_share == 1 else _with_share(config, store, assignment)


def _with_share(config: SplitConfig, store: Store, assignment: Assignment) -> Assignment:
    """The split with a share of its training samples: of each class, where there are classes."""
    rows = assignment.samples("train")
    target = next((target for target in store.targets if target.is_categorical), None)
    labels = np.zeros(len(rows), np.int64) if target is None else sample_labels(store, assignment, "train", target)
    return assignment.with_train(rows[few_shot(labels, config.train_share, config.seed)])


def build_net(config: dict[str, Any], in_channels: int, out_channels: int, trusted: Collection[str] = ()) -> nn.Module:
    """The net of a configuration that travelled in a checkpoint; planar nets are adapted to HEALPix cells."""
    name, faces = config["model"]["name"], config.get("base_pixels")
    spherical = is_spherical(name, trusted)
    if spherical and config["grid_kind"] != "healpix":
        raise ConfigError(
            f"model '{name}' works on HEALPix and the store is a {config['grid_kind']}; "
            "prepare it with source.grid=healpix:<nside>, or use model=swin_unet."
        )
    told = config.get("targets")
    targets = None if told is None else [target_from_dict(target) for target in told]
    net: nn.Module = make_net(config["model"], in_channels, out_channels, trusted, faces, targets)
    return OnHealpix(net, len(faces or [0])) if config["grid_kind"] == "healpix" and not spherical else net


def base_pixels_of(store: Store) -> list[int] | None:
    """The base pixels that every sample of a store covers; None where a sample is the cells of one parent.

    Raises:
        ConfigError: if samples cover several parents, but not the same base pixels.
    """
    if len(store.space) != 1:
        return None
    some = store.grid(0)
    assert isinstance(some, HealpixGrid)
    if some.parents is not None and len(some.parents) == 1:
        return None
    grids = {store.grid(number) for number in range(len(store))}
    covered = {grid.parents or tuple(range(12)) for grid in grids if isinstance(grid, HealpixGrid)}
    if len(covered) > 1 or any(getattr(grid, "parent_nside", 1) != 1 for grid in grids):
        raise ConfigError(
            f"samples of {store.path} cover several parents that differ ({len(covered)} kinds); "
            "prepare samples that all cover the same base pixels, or windows under one parent."
        )
    return list(covered.pop())


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> DataModule:
    """Batches of the store's parts, as the configuration's task needs them."""
    made: DataModule = kind_of(config).make_datamodule(config, store, assignment)
    return made


def make_task(config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> Task:
    """The task with new nets, all of whose first weights are a function of the run's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        made: Task = kind_of(config).make_task(config, datamodule, trusted)
    return made


def load_run_task(path: Path, config: Config, trusted: Collection[str] = ()) -> DensePrediction:
    """The task of a run's checkpoint with its weights; its net is the run's, built by name, never by code in the file.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or is of another model than the run's.
        ConfigError: if it is of a task that predicts no maps.
    """
    task = kind_of(config).load_task(path, config, trusted)
    if not isinstance(task, DensePrediction):
        raise ConfigError(
            f"{path} is of a run with task.name={config.task.name}, which predicts no maps; "
            "give a run that was trained to predict."
        )
    return task


def checkpoint_path(run: Run, which: str) -> Path:
    """The checkpoint `best` (the last where none is ranked), `last`, an epoch's, or the file of that path or name.

    An exported model has one, the best.

    Raises:
        CheckpointError: if there is none; of epochs only the best are kept (`callbacks.checkpoint.top_k`).
    """
    best = run.checkpoints / "best.ckpt"
    if which == "best" and is_exported(run.folder):
        return run.folder / WEIGHTS
    if which == "best":
        return best if best.exists() else run.last_checkpoint
    if which == "last":
        return run.last_checkpoint
    if which.isdigit():
        of_epoch = sorted(run.checkpoints.glob(f"epoch={int(which):03d}-step=*.ckpt"))
        if of_epoch:
            return of_epoch[-1]
    for path in (Path(which), run.checkpoints / which):
        if path.is_file():
            return path
    names = [path.name for path in run.checkpoints.glob("*.ckpt")] if run.checkpoints.is_dir() else []
    raise CheckpointError(f"there is no checkpoint {which}; {nearest(which, ['best', 'last', *names])}")


def best_threshold(task: DensePrediction) -> float:
    """The threshold of the first binary target that scored best in the validation of the task's checkpoint.

    Raises:
        ConfigError: if the checkpoint knows none.
    """
    for place, target in enumerate(task.targets):
        found = task.val_metrics.get(f"val/{target.name}/best_threshold" if place else "val/best_threshold")
        if target.kind == "binary" and found is not None:
            return found
    raise ConfigError(
        "the checkpoint knows no best threshold: it has no binary target, or was not validated; give a number."
    )


def device_of(config: Config) -> str:
    """The device for evaluation and prediction, as torch names it."""
    wanted = config.trainer.accelerator
    if wanted in ("auto", "gpu") and torch.cuda.is_available():
        return "cuda"
    return "mps" if wanted == "mps" else "cpu"
