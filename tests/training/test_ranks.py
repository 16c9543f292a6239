"""Two processes (CPU, gloo) train as one with twice the batch does."""

import json
import multiprocessing
import os
import signal
import socket

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from lightning.pytorch import Callback
from test_exact_resume import Kill, assert_same_run, run_apart

from graticule.runs import Run
from graticule.training.checkpoints import read_checkpoint
from worlds import raster_world

ONE = {"batch": 4, "norm": False, "dropout": 0.0, "repeats": 2, "epochs": 2}
TWO = ONE | {"batch": 2, "devices": 2, "strategy": "ddp"}


class Note(Callback):
    """Writes down which samples each process was given."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        with (self.folder / f"rank{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(batch["index"].tolist()) + "\n")

    def read(self, rank):
        return [json.loads(line) for line in (self.folder / f"rank{rank}.jsonl").read_text().splitlines()]


def run_rank(rank, port, train, arguments, options):
    """One of two processes, told its place as torchrun does."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": port}
    os.environ.update({name: str(value) for name, value in (place | meeting).items()})
    train(*arguments, **options)


def run_two(*arguments, train=tiny.train, **options):
    """Train in two processes; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork").Process
    processes = [fork(target=run_rank, args=(rank, port, train, arguments, options)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    height = np.random.default_rng(0).normal(0, 100, (18, 4, 4)).astype(np.float32)
    height[::3, :2] = np.nan  # so that the processes' batches differ in how many pixels count
    store = raster_world(folder / "store", degrees=15.0, side=4, per_parent=1, height=lambda n: height[n]).path
    for name in ("one", "two"):
        (folder / name).mkdir()
    assert run_apart(store, folder / "one", further=[Note(folder / "one")], **ONE) == 0
    assert run_two(store, folder / "two", further=[Note(folder / "two")], **TWO) == [0, 0]
    return folder


def test_two_ranks_walk_the_same_order_as_one_with_twice_the_batch(runs):
    one = Note(runs / "one").read(0)
    two = zip(Note(runs / "two").read(0), Note(runs / "two").read(1), strict=True)
    assert one == [first + second for first, second in two]
    assert len(one) == 12


def test_two_ranks_log_the_same_metrics(runs):
    one, two = (pd.read_csv(Run(runs / name).metrics) for name in ("one", "two"))
    assert one[["step", "epoch", "name"]].equals(two[["step", "epoch", "name"]])
    assert {"train/loss", "val/loss", "val/iou", "val/height/mae"} <= set(one["name"])
    np.testing.assert_allclose(two["value"], one["value"], rtol=1e-5, atol=1e-5)


def test_two_ranks_learn_the_same_weights(runs):
    one, two = (read_checkpoint(Run(runs / name).last_checkpoint)["state_dict"] for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)


def test_two_ranks_resume_exactly(runs, tmp_path):
    # Both are killed: one alone would leave the other waiting.
    options = TWO | {"dropout": 0.3, "every": 2}
    assert run_two(runs / "store", tmp_path / "straight", **options) == [0, 0]
    kill = Kill("on_train_batch_start", 6)
    assert run_two(runs / "store", tmp_path / "killed", further=[kill], **options) == [-signal.SIGKILL] * 2
    assert read_checkpoint(Run(tmp_path / "killed").last_checkpoint)["global_step"] == 4
    assert run_two(runs / "store", tmp_path / "killed", True, **options) == [0, 0]
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_sigterm_to_one_rank_ends_all_after_saving(runs, tmp_path):
    class TermSecond(Kill):
        def count(self, trainer, *_, **__):
            if trainer.global_rank == 1:
                super().count()

    term = TermSecond("on_train_batch_start", 3, signal.SIGTERM)
    assert run_two(runs / "store", tmp_path, further=[term], **TWO) == [75, 75]
    assert read_checkpoint(Run(tmp_path).last_checkpoint)["global_step"] == 3
    assert Run(tmp_path).read_manifest()["state"] == "preempted"
