"""A training step through `graticule.training.fit`, whole loop, against the same net in a bare PyTorch loop.

Both read the same batches in memory, normalise, step and step the schedule; ours also seeds each step, counts losses,
logs and looks after checkpoints, as always. They take turns, epoch by epoch, so that a busy machine hits both alike.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule

from figures import report
from graticule.models.unet import UNet
from graticule.objectives.losses import cross_entropy
from graticule.runs import Run
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.dense import DensePrediction
from graticule.training.fit import fit

BANDS = [Band(name, mean=120.0, std=60.0) for name in ("red", "green", "blue")]
COVER = Target("cover", "classes", tuple(LegendClass(value, str(value), "#808080") for value in range(10)))


class InMemory:
    """A loader of the same few batches."""

    def __init__(self, batches: list[dict[str, Any]], count: int) -> None:
        self.batches, self.count = batches, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        return (self.batches[number % len(self.batches)] for number in range(self.count))

    def set_position(self, epoch: int, start_batch: int) -> None:
        """All epochs are the same."""


class Data(LightningDataModule):
    """Batches in memory for the trainer."""

    def __init__(self, loader: InMemory) -> None:
        super().__init__()
        self.train_loader, self.batch_size = loader, len(loader.batches[0][X])

    def train_dataloader(self) -> InMemory:
        """The batches in memory."""
        return self.train_loader


class Clock(Callback):
    """Seconds of each epoch, from its start to that of the next, with all that Lightning and we do in it.

    Before each epoch, the bare loop runs one of its own.
    """

    def __init__(self, bare: Callable[[], float]) -> None:
        self.bare, self.ours, self.theirs = bare, [], []
        self.began = 0.0

    def on_train_epoch_start(self, trainer, module) -> None:
        """End the epoch before, run the bare loop, begin."""
        self.on_train_end(trainer, module)
        self.theirs.append(self.bare())
        self.began = time.perf_counter()

    def on_train_end(self, trainer, module) -> None:
        """End the last epoch."""
        if self.began:
            self.ours.append(time.perf_counter() - self.began)


def make_batches(side: int, size: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    return [
        {
            X: torch.randint(0, 255, (size, 3, side, side), dtype=torch.uint8),
            SEEN: torch.ones(size, side, side, dtype=torch.bool),
            TARGETS: {"cover": torch.randint(0, 10, (size, side, side))},
            VALID: {"cover": torch.ones(size, side, side, dtype=torch.bool)},
            AREA: torch.ones(size, side, side),
            INDEX: torch.arange(size),
        }
        for _ in range(4)
    ]


def bare_loop(net: torch.nn.Module, loader: InMemory, device: str):
    """One epoch of what one writes by hand, as a function that returns its seconds."""
    net = net.to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))

    def epoch() -> float:
        began = time.perf_counter()
        for batch in loader:
            x, truth = batch[X].to(device), batch[TARGETS]["cover"].to(device)
            seen, valid = batch[SEEN].to(device), batch[VALID]["cover"].to(device)
            x = torch.where(seen[:, None], (x.float() - 120) / 60, 0)
            optimizer.zero_grad()
            loss = cross_entropy(net(x), truth, valid)
            loss.backward()
            optimizer.step()
            schedule.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return epoch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--side", type=int, default=96)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--channels", type=int, default=16)
    arguments.add_argument("--steps", type=int, default=12)
    arguments.add_argument("--epochs", type=int, default=9)
    chosen = arguments.parse_args()
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = InMemory(make_batches(chosen.side, chosen.batch), chosen.steps)
    bare = bare_loop(UNet(3, 10, chosen.channels), loader, device)
    clock = Clock(bare)
    task = DensePrediction(UNet(3, 10, chosen.channels), BANDS, [COVER])
    options = {"max_epochs": chosen.epochs, "accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1}
    with tempfile.TemporaryDirectory() as folder:
        fit(
            task, Data(loader), Run(Path(folder)), trainer=options, further=[clock],
            callbacks={"progress": False, "checkpoint": {"every_n_steps": None, "monitor": "train/loss"}},
        )  # fmt: skip
    # The first epoch warms up.
    ours, theirs = (statistics.median(seconds[1:]) for seconds in (clock.ours, clock.theirs))
    name = f"training step / bare PyTorch loop, {device}, U-Net {chosen.channels}, [{chosen.batch}, 3, {chosen.side}²]"
    print(f"ours {1e3 * ours / chosen.steps:.2f} ms per step, bare {1e3 * theirs / chosen.steps:.2f} ms per step")
    report(name, ours / theirs, 1.1, "lower")


if __name__ == "__main__":
    main()
