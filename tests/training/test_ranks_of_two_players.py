"""Two players in two processes: all have the same weights, and those that one process with twice the batch learns."""

import duel
import pytest
import torch
from lightning.pytorch import Callback
from test_ranks import run_two

from graticule.runs import Run
from graticule.training.checkpoints import read_checkpoint


class Keep(Callback):
    """Keeps the weights of each process."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, module):
        torch.save(module.state_dict(), self.folder / f"rank{trainer.global_rank}.pt")

    def read(self, rank):
        return torch.load(self.folder / f"rank{rank}.pt", weights_only=True)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return duel.worlds(tmp_path_factory.mktemp("worlds"))


@pytest.mark.parametrize(("kind", "extra"), [("painter", False), ("plain masker", False), ("plain masker", True)])
def test_all_processes_have_the_same_weights(stores, tmp_path, kind, extra):
    keep = Keep(tmp_path)
    options = {"train": duel.train, "devices": 2, "extra": extra, "further": [keep]}
    assert run_two(kind, stores, tmp_path / "two", **options) == [0, 0]
    first, second = keep.read(0), keep.read(1)
    assert any(name.startswith("discriminators.") for name in first)
    for name, weight in first.items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.equal(second[name], weight), name


def test_they_learn_what_one_process_with_twice_the_batch_does(stores, tmp_path):
    assert run_two("plain masker", stores, tmp_path / "two", train=duel.train, devices=2) == [0, 0]
    duel.train("plain masker", stores, tmp_path / "one", batch=4)
    one, two = (read_checkpoint(Run(tmp_path / name).last_checkpoint)["state_dict"] for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5)
