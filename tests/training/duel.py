"""Trainings of two players small enough to be killed and resumed: a masker with AdvEnt, and a painter."""

from pathlib import Path

import torch
from torch import nn

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.domains import DomainDataModule
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.models.discriminators import MultiScaleDiscriminator
from graticule.models.painter import Painter
from graticule.runs import Run
from graticule.tasks.adaptation import DomainAdaptation
from graticule.tasks.painting import Painting
from graticule.training.fit import fit
from worlds import photo_world

EXTRA = {"name": "extra_adam", "lr": 1e-3, "betas": [0.5, 0.99]}
ADAM = {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.99]}
TERMS = {
    "mask": [
        {"name": "min_entropy", "weight": 0.1, "variance": 0.1},
        {"name": "adversarial", "weight": 0.1, "width": 4, "objective": "wgan_gp"},
        {"name": "total_variation", "weight": 0.1, "labelled": True},
        {"name": "ground_intersection", "weight": 0.1, "from_epoch": 1},
    ],
    "semantics": [{"name": "adversarial", "weight": 0.1, "width": 4, "spectral": True}],
}


PLAIN = {"mask": [{"name": "min_entropy", "weight": 0.1}, {"name": "adversarial", "weight": 0.1, "width": 4}]}
"""Terms that are means over a batch and draw nothing."""


class TinyNet(nn.Module):
    """An encoder and a head, each a part; with batch norm and dropout, which have a state and draw, unless plain."""

    def __init__(self, channels: int, plain: bool = False) -> None:
        super().__init__()
        further = [] if plain else [nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.1)]
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), *further)
        self.head = nn.Conv2d(6, channels, 3, padding=1)

    def forward(self, x):
        return self.head(self.encoder(x))


def worlds(folder: Path) -> tuple[Path, Path]:
    """Two stores: with labels, and of another look with none."""
    return (
        photo_world(folder / "s", seed=1).path,
        photo_world(folder / "r", seed=2, labelled=False).path,
    )


def masker_data(stores, batch=2, workers=0) -> DomainDataModule:
    main, other = (Store.open(path) for path in stores)
    return DomainDataModule(
        main, assign(main, method="random", seed=1), domains={"r": (other, assign(other, method="random", seed=1))},
        batch_size=batch, num_workers=workers, augment=Augment(horizontal_flip=True), seed=5,
    )  # fmt: skip


def masker(module, optimizer=ADAM, terms=TERMS, plain=False, **options) -> DomainAdaptation:
    torch.manual_seed(0)
    channels = sum(target.channels for target in module.targets)
    return DomainAdaptation(
        TinyNet(channels, plain), module.bands, module.targets, domains=["r"], terms=terms, optimizer=optimizer,
        schedule={"name": "cosine", "warmup_steps": 2}, parts={"head": {"lr": 3e-3}},
        opponent={"optimizer": optimizer, "schedule": {"name": "stepwise", "epochs": 1}}, seed=5, ema_decay=0.9,
        losses={"mask": [{"name": "cross_entropy"}], "semantics": [{"name": "cross_entropy"}]}, **options,
    )  # fmt: skip


def painter_data(store, batch=2, workers=0) -> DataModule:
    opened = Store.open(store)
    return DataModule(
        opened, assign(opened, method="random", seed=1), batch_size=batch, num_workers=workers, targets=["mask"],
        augment=Augment(horizontal_flip=True), seed=5,
    )  # fmt: skip


def painter(module, optimizer=ADAM, **options) -> Painting:
    torch.manual_seed(0)
    return Painting(
        Painter(latent=8, ups=3, noise=True), MultiScaleDiscriminator(4, 2, 2), module.bands, module.targets,
        optimizer=optimizer, opponent={"optimizer": optimizer, "schedule": {"name": "constant"}}, seed=5,
        schedule={"name": "cosine"},
        **{"objective": "gan", "soft": 0.2, "flip": 0.3, "augment": ("brightness", "translation", "cutout")} | options,
    )  # fmt: skip


def train(
    kind: str, stores, folder: Path, resume: bool = False, further=(), workers: int = 0, extra: bool = False,
    devices: int = 1, batch: int = 2,
):  # fmt: skip
    if kind == "painter":
        module = painter_data(stores[0], batch, workers)
        task = painter(module, EXTRA if extra else ADAM)
    else:
        module, plain = masker_data(stores, batch, workers), kind == "plain masker"
        task = masker(module, EXTRA if extra else ADAM, PLAIN if plain else TERMS, plain)
    trainer = {
        "max_epochs": 2, "accelerator": "cpu", "devices": devices, "log_every_n_steps": 2, "gradient_clip_val": 1.0,
    }  # fmt: skip
    return fit(
        task, module, Run(folder), seed=11, trainer=trainer, callbacks={"checkpoint": {"every_n_steps": 2}},
        resume=resume, further=further,
    )  # fmt: skip
