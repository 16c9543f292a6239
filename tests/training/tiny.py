"""A training small enough to run many times: a store of 5° windows, a net with dropout, a task, a run folder."""

import sys
from pathlib import Path

import torch
from torch import nn

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction
from graticule.training.fit import fit

OPTIONS = {
    "epochs": 3, "workers": 0, "accumulate": 1, "dropout": 0.2, "ema": None, "batch": 4, "every": 5, "repeats": 1,
    "devices": 1, "strategy": "auto", "patience": None, "norm": True,
}  # fmt: skip


def net(config, in_channels, out_channels):
    torch.manual_seed(0)
    width = config["width"]
    norm = nn.BatchNorm2d(width) if config["norm"] else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1), norm, nn.ReLU(), nn.Dropout2d(config["dropout"]),
        nn.Conv2d(width, out_channels, 1),
    )  # fmt: skip


def data(store: Path, **changes) -> DataModule:
    o = OPTIONS | changes
    opened = Store.open(store)
    return DataModule(
        opened, assign(opened, method="random", seed=1), batch_size=o["batch"], num_workers=o["workers"],
        augment=Augment(d4=True), repeats=o["repeats"], seed=7,
    )  # fmt: skip


def task(module: DataModule, **changes) -> DensePrediction:
    o = OPTIONS | changes
    config = {"width": 8, "dropout": o["dropout"], "norm": o["norm"]}
    bands, targets = module.bands, module.targets
    return DensePrediction(
        net(config, len(bands), sum(t.channels for t in targets)), bands, targets, config=config,
        optimizer={"name": "adamw", "lr": 1e-2}, schedule={"name": "cosine", "warmup_steps": 3},
        ema_decay=o["ema"], losses={"landcover": [{"name": "cross_entropy"}], "height": [{"name": "l1"}]},
    )  # fmt: skip


def train(store: Path, folder: Path, resume: bool = False, further=(), draw=None, names=("csv",), **changes):
    o = OPTIONS | changes
    module = data(store, **o)
    trainer = {
        "max_epochs": o["epochs"], "accelerator": "cpu", "devices": o["devices"], "strategy": o["strategy"],
        "accumulate_grad_batches": o["accumulate"], "log_every_n_steps": 3,
    }  # fmt: skip
    callbacks = {"checkpoint": {"every_n_steps": o["every"], "top_k": 2}, "early_stopping": {"patience": o["patience"]}}
    return fit(
        task(module, **o), module, Run(folder), seed=11, trainer=trainer, callbacks=callbacks, resume=resume,
        tracker={"names": list(names)}, further=further, draw=draw,
    )  # fmt: skip


if __name__ == "__main__":
    chosen = dict(argument.split("=") for argument in sys.argv[3:])
    kinds = {key: type(value) if value is not None else int for key, value in OPTIONS.items()}
    resume = chosen.pop("resume", "0") == "1"
    train(Path(sys.argv[1]), Path(sys.argv[2]), resume, **{k: kinds[k](v) for k, v in chosen.items()})
