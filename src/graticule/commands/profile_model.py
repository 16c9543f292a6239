"""`graticule profile model`: training steps of a configuration's net, on its store or on noise."""

import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graticule.commands.assemble import build_net, device_of, make_datamodule, make_task, split
from graticule.commands.console import tell
from graticule.commands.profile_folder import head_of, write_profile
from graticule.commands.profile_tables import show_model
from graticule.commands.stores import open_store, with_store
from graticule.conf.compose import Request, compose, trusted_by
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.profile import entries_of, pace, waits, with_entries
from graticule.data.sampler import BatchSampler
from graticule.errors import ConfigError
from graticule.reporting.profile_words import advice_on_model
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.dense import DensePrediction
from graticule.training.profile import PARTS, Batch, Steps, flops, parameters, trace, write_trace
from graticule.training.profile_memory import largest_batch, memory


def profile_model(request: Request) -> Path:
    """Measure training steps of a configuration's net; returns the folder of the profile.

    Raises:
        ConfigError: for a wrong word, or a net that does not fit.
        StoreError: if there is no store, or it does not fit.
        OutputError: if the folder cannot be written.
    """
    config = compose(request)
    trusted = trusted_by(request)
    datamodule: DataModule | None = None
    batch: Batch
    if config.profile.shape is None:
        store = open_store(config, request.words)
        config = with_store(config, store)
        datamodule = make_datamodule(config, store, split(config.split, store))
        made = make_task(config, datamodule, trusted)
        if not isinstance(made, DensePrediction):
            raise ConfigError(f"task.name={config.task.name} cannot be profiled; profile its net with task.name=dense.")
        task, batch = made, next(iter(datamodule.train_loader))
    else:
        task, batch = made_up(config, trusted)
    finish = partial(datamodule.on_after_batch_transfer, dataloader_idx=0) if datamodule else _as_it_is
    rows, name = parameters(task.net), config.model.name
    steps = Steps(task, device_of(config), config.trainer.precision, finish)
    tell(f"{config.profile.steps} steps of {name} on {steps.device.type}, batches of {len(batch[X])}")
    found = _measured_model(config, steps, batch, rows) | _epoch_of(config, steps, datamodule)
    found = _with_epoch(found, config.trainer.max_epochs) | {"advice": []}
    found["advice"] = advice_on_model(found)
    traced = trace(steps, batch) if config.profile.trace else None
    from graticule.reporting.profile_charts import draw_model_profile  # matplotlib takes a second to import

    folder = write_profile(config, found, draw_model_profile, partial(write_trace, traced) if traced else None)
    show_model(found)
    print(folder)
    return folder


def _as_it_is(batch: Any) -> Any:
    return batch


def _measured_model(config: Config, steps: Steps, batch: Batch, rows: list[dict[str, Any]]) -> dict[str, Any]:
    work, used = flops(steps, batch), memory(steps, batch)
    largest = largest_batch(steps, batch) if config.profile.largest_batch else None
    steps.task.configure_model()
    began = time.perf_counter()
    steps.step(batch)
    first = time.perf_counter() - began
    times = np.array([steps.step(batch) for _ in range(config.profile.steps + 2)][2:])  # two warm up
    whole = times.sum(axis=1)
    samples = len(batch[X])
    told = [row | {"flops": work["modules"].get(row["module"], 0)} for row in rows]
    return head_of("model", config, steps.device.type) | {
        "model": config.model.name,
        "precision": config.trainer.precision,
        "batch": {"samples": samples, "shape": list(batch[X].shape[1:])},
        "parameters": sum(row["parameters"] for row in rows),
        "trained": sum(row["trained"] for row in rows),
        "modules": [row for row in told if row["parameters"] or row["flops"]],
        "flops": {
            "forward_per_sample": work["forward"] / samples, "training_per_sample": work["training"] / samples,
            "per_second": work["training"] / float(np.median(whole)),
        },
        "memory": used | {"largest_batch": largest},
        "step": {
            "seconds": dict(zip(PARTS, np.median(times, axis=0).tolist(), strict=True)),
            "median": float(np.median(whole)), "p95": float(np.percentile(whole, 95)), "first": first,
            "samples_per_second": samples / float(np.median(whole)),
        },
    }  # fmt: skip


def _epoch_of(config: Config, steps: Steps, datamodule: DataModule | None) -> dict[str, Any]:
    """How fast data come, and what an epoch has; nothing without a store."""
    if datamodule is None:
        return {}
    loader, workers, size = datamodule.train_loader, config.data.num_workers, config.data.batch_size
    assert isinstance(loader.sampler, BatchSampler)
    entries = entries_of(loader.sampler, max(config.profile.steps, 2 * workers + 2))
    timed = with_entries(loader, entries, workers)
    waits(timed)  # once for files and areas to be known
    rate = pace([waits(timed) for _ in range(3)], size)["samples_per_second"]
    part = datamodule.val_dataloader()
    val = len(part) if len(datamodule.assignment.samples("val")) else 0
    found: dict[str, Any] = {
        "loader": {"num_workers": workers, "samples_per_second": rate},
        "epoch": {"steps": _limited(len(loader), config.trainer.limit_train_batches),
                  "val_batches": _limited(val, config.trainer.limit_val_batches)},
    }  # fmt: skip
    if val:
        batch = next(iter(part))
        found["epoch"]["val_batch_seconds"] = float(np.median([steps.evaluation(batch) for _ in range(3)]))
    return found


def _limited(count: int, limit: float | None) -> int:
    """Batches of an epoch under `trainer.limit_..._batches`, as Lightning counts them."""
    if limit is None:
        return count
    return min(count, limit) if isinstance(limit, int) else int(count * limit)


def _with_epoch(found: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The profile with the seconds of an epoch: without threads data and steps follow, with them the slower counts."""
    if "epoch" not in found:
        return found
    step, loader, epoch = found["step"]["median"], found["loader"], found["epoch"]
    data = found["batch"]["samples"] / loader["samples_per_second"]
    each = max(step, data) if loader["num_workers"] else step + data
    train, val = epoch["steps"] * each, epoch["val_batches"] * epoch.get("val_batch_seconds", 0.0)
    told = {"train_seconds": train, "val_seconds": val, "epochs": epochs, "all_seconds": epochs * (train + val)}
    return found | {"epoch": epoch | told}


def made_up(config: Config, trusted: Collection[str] = ()) -> tuple[DensePrediction, Batch]:
    """A task and a batch of noise of the shape that `profile.shape` tells: no store is needed.

    Raises:
        ConfigError: if the net does not fit the shape.
    """
    asked = config.profile
    assert asked.shape is not None
    bands, *space = asked.shape
    kind = "healpix" if len(space) == 1 else "raster"
    plain = config.to_dict() | {"grid_kind": kind, "base_pixels": asked.base_pixels}
    net = build_net(plain, bands, asked.outputs, trusted)
    legend = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(max(2, asked.outputs)))
    target = Target("classes", "binary" if asked.outputs == 1 else "classes", legend)
    task = DensePrediction(
        net, [Band(f"band {number}", mean=0.0, std=1.0) for number in range(bands)], [target],
        optimizer=plain["optim"]["optimizer"], schedule=plain["optim"]["schedule"], ema_decay=config.task.ema_decay,
        area_weighted=config.task.area_weighted, grid_kind=kind, config=plain, compile_net=config.trainer.compile,
    )  # fmt: skip
    size = (config.data.batch_size, *space)
    some = torch.Generator().manual_seed(config.run.seed)
    everywhere = torch.ones(size, dtype=torch.bool)
    batch: Batch = {
        X: torch.randn((size[0], bands, *space), generator=some),
        SEEN: everywhere,
        TARGETS: {"classes": torch.randint(0, len(legend), size, generator=some)},
        VALID: {"classes": everywhere},
        AREA: torch.ones(size),
        INDEX: torch.arange(size[0]),
    }
    try:
        with torch.no_grad():
            task(batch[X][:1], batch[SEEN][:1])
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model '{config.model.name}' cannot take profile.shape={asked.shape} ({reason}).") from error
    return task, batch
