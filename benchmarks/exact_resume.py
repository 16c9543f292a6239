"""Kills a training 20 times at random moments with kill -9 and compares it, bit for bit, with one never killed.

Trains a small U-Net with dropout, augmentation and a running mean of the weights on the built-in Earth at 1°, with
another number of reading threads after each kill. Each kill strikes from outside, at a random moment of a random step.
Ends with status 1 if a single bit of the final checkpoint or of metrics.csv differs.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.prepare import prepare
from graticule.data.sources.earth import EarthSource
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.models.healpix import OnHealpix
from graticule.models.unet import UNet
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction
from graticule.training.checkpoints import read_checkpoint
from graticule.training.fit import fit

WORKERS = (0, 2, 1)


class Tell(Callback):
    """Says through a pipe which step begins."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        """Send the number of steps done."""
        self.pipe.send(trainer.global_step)


def train(store: Path, folder: Path, workers: int, epochs: int, pipe: Connection | None = None) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    opened = Store.open(store)
    module = DataModule(
        opened, assign(opened, method="block", seed=1529), batch_size=16, num_workers=workers, augment=Augment(d4=True),
    )  # fmt: skip
    torch.manual_seed(0)
    net = UNet(len(module.bands), sum(target.channels for target in module.targets), 8, 2, dropout=0.2)
    task = DensePrediction(
        OnHealpix(net) if len(opened.space) == 1 else net, module.bands, module.targets, ema_decay=0.99,
        area_weighted=True, schedule={"name": "cosine", "warmup_steps": 10},
    )  # fmt: skip
    fit(
        task, module, Run(folder), resume=True, trainer={"max_epochs": epochs, "accelerator": "cpu", "devices": 1,
        "accumulate_grad_batches": 2, "log_every_n_steps": 3}, further=[Tell(pipe)] if pipe else [],
        callbacks={"checkpoint": {"every_n_steps": 2, "top_k": 2}},
    )  # fmt: skip


def launch(*arguments: Any) -> tuple[Any, Connection]:
    """Start a training in a process of its own."""
    listening, telling = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=train, args=(*arguments, telling))
    process.start()
    telling.close()
    return process, listening


def kill_at_random(chooser: random.Random, *arguments: Any) -> int | None:
    """Start a training and kill it in the midst of a step; the step, or None if it came to its end before."""
    process, listening = launch(*arguments)
    step, since, length = None, time.monotonic(), 0.1
    try:
        for _ in range(chooser.randint(1, 12)):
            step = listening.recv()
            length, since = time.monotonic() - since, time.monotonic()
        time.sleep(chooser.uniform(0, length))
        while listening.poll():
            step = listening.recv()
    except EOFError:
        process.join()
        return None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    # It may have come to its end while we waited.
    return step if process.exitcode == -signal.SIGKILL else None


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ, bit for bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [place for key in a for place in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [place for n, pair in enumerate(zip(a, b, strict=True)) for place in differences(*pair, f"{path}/{n}")]
    return [] if a == b else [path]


def tensors(content: Any) -> int:
    if isinstance(content, torch.Tensor):
        return 1
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list | tuple) else ()
    return sum(map(tensors, values))


def compare(killed: Run, straight: Run) -> bool:
    """Print what was compared and whether it is equal."""
    names = [sorted(file.name for file in run.checkpoints.iterdir()) for run in (killed, straight)]
    equal = names[0] == names[1]
    print(f"checkpoints kept: {', '.join(names[1])}: {'the same' if equal else f'differ: {names[0]}'}")
    # Lightning's loop counters of interrupted validations differ by design; where it goes on is in `global_step`.
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "global_step", "epoch", "graticule")
    for name in names[1] if equal else ["last.ckpt"]:
        first, second = ({part: read_checkpoint(run.checkpoints / name)[part] for part in parts}
                         for run in (killed, straight))  # fmt: skip
        found = differences(first, second)
        equal &= not found
        told = f"differ at {found[:3]}" if found else "equal, bit for bit"
        print(f"{name}: {tensors(second)} tensors (weights, mean weights, optimiser) and all counters {told}")
    logs = [run.metrics.read_bytes() for run in (killed, straight)]
    equal &= logs[0] == logs[1]
    print(
        f"metrics.csv: {len(logs[1].splitlines())} lines {'equal, byte for byte' if logs[0] == logs[1] else 'differ'}"
    )
    return equal


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--grid", default="raster:1deg", help="of the built-in Earth; also healpix:64")
    arguments.add_argument("--epochs", type=int, default=12)
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    chooser = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(EarthSource(chosen.grid), folder / "store", progress=False)
        straight, killed = Run(folder / "straight"), Run(folder / "killed")
        process, _ = launch(folder / "store", straight.folder, 0, chosen.epochs)
        process.join()
        kills = 0
        while kills < chosen.kills:
            workers = WORKERS[kills % len(WORKERS)]
            step = kill_at_random(chooser, folder / "store", killed.folder, workers, chosen.epochs)
            if step is None:
                sys.exit(f"the training ended after {kills} kills; give more --epochs.")
            kills += 1
            saved = read_checkpoint(killed.last_checkpoint)["global_step"] if killed.last_checkpoint.exists() else 0
            print(f"kill {kills:2}: in step {step + 1}, {workers} reading threads; saved: step {saved}", flush=True)
        process, _ = launch(folder / "store", killed.folder, 2, chosen.epochs)
        process.join()
        equal = compare(killed, straight)
    print(f"exact resume after {kills} times kill -9: {'pass' if equal else 'miss'}")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
