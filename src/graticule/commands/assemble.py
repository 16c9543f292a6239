"""From a checked configuration to the things that it names: store, split, data, task."""

import os
import shlex
from collections.abc import Collection, Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graticule.conf.parts import make_net
from graticule.conf.tree import Config, SourceConfig, SplitConfig
from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.splits import Assignment, assign
from graticule.data.store import Store
from graticule.errors import CheckpointError, StoreError, nearest
from graticule.models.healpix import OnHealpix
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction
from graticule.training.checkpoints import load_task


def store_path(config: Config) -> Path:
    """Where the store of a configuration is: `data.store`, else `<source>-<grid>` in the folder of stores."""
    if config.data.store:
        return Path(config.data.store)
    names = [config.source.name, *([grid] if (grid := config.source.options().get("grid")) else [])]
    return Path(os.environ.get("DATA_ROOT", "stores")) / "-".join(names).replace(":", "-")


def open_store(config: Config, words: Sequence[str] = ()) -> Store:
    """The store of a configuration.

    Raises:
        StoreError: if there is none (the line says how to prepare it, with the same `words`), or if it was prepared
            from another source than the configuration's.
    """
    path = store_path(config)
    if not path.is_dir():
        command = shlex.join(["graticule", "prepare", *words])
        raise StoreError(f"there is no store at {path}; write it first: {command}")
    store = Store.open(path)
    if not config.data.store:
        check_source(store, config)
    return store


def check_source(store: Store, config: Config) -> None:
    """Refuse a store that another source, or the same with other options, has written."""
    told = config.source.model_dump(mode="json")
    found = {"name": store.config["source"], **store.config["source_options"]}
    for key, value in found.items():
        if told.get(key) is not None and told[key] != value:
            raise StoreError(
                f"{store.path} was prepared with source.{key}={value}, and the configuration has {told[key]}; "
                "prepare it again with --overwrite, or name another folder as data.store."
            )


def with_store(config: Config, store: Store) -> Config:
    """The configuration with what only the store knows: its folder and source, and what fits its windows."""
    source = {"name": store.config["source"], **store.config["source_options"]}
    crop, side = config.data.augment.crop, min(store.space) if len(store.space) == 2 else isqrt(store.space[0])
    if crop is not None and len(store.space) == 1:
        # A crop of nested cells has a power of two as its side.
        crop = min(1 << (crop.bit_length() - 1), side)
    if crop is not None and crop >= side:
        crop = None
    augment = config.data.augment.model_copy(update={"crop": crop})
    data = config.data.model_copy(update={"store": str(store.path.resolve()), "augment": augment})
    return config.model_copy(update={"source": SourceConfig.model_validate(source), "data": data})


def split(config: SplitConfig, store: Store) -> Assignment:
    """The split that the configuration asks for."""
    options = config.model_dump(exclude={"allow_leaks"})
    return assign(store, **options)


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> DataModule:
    """Batches of the store's parts."""
    data = config.data
    augment = Augment(balance=data.balance and data.augment.crop is not None, **data.augment.model_dump())
    return DataModule(
        store, assignment, batch_size=data.batch_size, eval_batch_size=data.eval_batch_size,
        num_workers=data.num_workers, bands=data.bands, targets=data.targets, augment=augment, balance=data.balance,
        repeats=data.repeats, seed=config.run.seed,
    )  # fmt: skip


def build_net(config: dict[str, Any], in_channels: int, out_channels: int, trusted: Collection[str] = ()) -> nn.Module:
    """The net of a configuration that travelled in a checkpoint; planar nets are adapted to HEALPix windows."""
    net: nn.Module = make_net(config["model"], in_channels, out_channels, trusted)
    return OnHealpix(net) if config["grid_kind"] == "healpix" else net


def make_task(config: Config, datamodule: DataModule, trusted: Collection[str] = ()) -> DensePrediction:
    """The task with a new net, whose first weights are a function of the run's seed."""
    kind = "healpix" if len(datamodule.store.space) == 1 else "raster"
    plain = config.to_dict() | {"grid_kind": kind}
    channels = sum(target.channels for target in datamodule.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        net = build_net(plain, len(datamodule.bands), channels, trusted)
    task, optim = plain["task"], plain["optim"]
    return DensePrediction(
        net, datamodule.bands, datamodule.targets, losses=task["losses"], optimizer=optim["optimizer"],
        schedule=optim["schedule"], area_weighted=task["area_weighted"], ema_decay=task["ema_decay"], grid_kind=kind,
        config=plain, compile_net=config.trainer.compile,
    )  # fmt: skip


def checkpoint_path(run: Run, which: str) -> Path:
    """The checkpoint `best` (the last where none is ranked), `last`, or the file of that path or name."""
    best = run.checkpoints / "best.ckpt"
    if which == "best":
        return best if best.exists() else run.last_checkpoint
    if which == "last":
        return run.last_checkpoint
    for path in (Path(which), run.checkpoints / which):
        if path.is_file():
            return path
    names = [path.name for path in run.checkpoints.glob("*.ckpt")] if run.checkpoints.is_dir() else []
    raise CheckpointError(f"there is no checkpoint {which}; {nearest(which, ['best', 'last', *names])}")


def load_net_task(path: Path, trusted: Collection[str] = ()) -> DensePrediction:
    """The task of a checkpoint with its weights; its net is built by name, never by code in the file."""

    def build(config: dict[str, Any], in_channels: int, out_channels: int) -> nn.Module:
        if not isinstance(config.get("model"), dict) or "name" not in config["model"]:
            raise CheckpointError(f"{path} does not name its net; give a checkpoint that `graticule train` wrote.")
        return build_net(offline(config), in_channels, out_channels, trusted)

    return load_task(path, build)


def offline(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without first weights: those of a checkpoint replace them, so none need be fetched."""
    first = {key: None for key in ("weights", "encoder_weights") if key in config["model"]}
    return config | {"model": config["model"] | first}


def device_of(config: Config) -> str:
    """The device for evaluation and prediction, as torch names it."""
    wanted = config.trainer.accelerator
    if wanted in ("auto", "gpu") and torch.cuda.is_available():
        return "cuda"
    return "mps" if wanted == "mps" else "cpu"
