import os
import pickle
import resource
import signal

import pytest
import tiny
import torch
from torch import nn

from graticule.errors import CheckpointError, OutputError
from graticule.runs import Run
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction
from graticule.training.checkpoints import WholeCheckpointIO, load_task, read_checkpoint, same_file
from worlds import raster_world


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    store = raster_world(folder / "store", degrees=15.0, side=4, per_parent=1).path
    tiny.train(store, folder / "run", epochs=1, ema=0.5)
    return Run(folder / "run").last_checkpoint, store


def test_a_task_comes_back_from_its_checkpoint_alone(trained):
    path, store = trained
    task = load_task(path, tiny.net)
    module = tiny.data(store)
    assert (task.bands, task.targets) == (module.bands, module.targets)
    assert not task.training
    weights = read_checkpoint(path)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in task.state_dict().items())
    batch = next(iter(module.val_dataloader()))
    predicted = task.predict(batch["x"], batch["seen"])
    assert predicted["landcover"].shape == (len(batch["index"]), 3, 4, 4)
    # Normalisation came from the checkpoint: a task without it predicts something else.
    task.in_scale.fill_(1.0)
    assert not torch.allclose(task.predict(batch["x"], batch["seen"])["landcover"], predicted["landcover"])


def test_nodata_ranges_and_normalisation_travel_in_the_checkpoint(tmp_path):
    bands = (Band("red", nodata=0.0, valid_range=(-0.1, 0.5), mean=0.1, std=0.2),)
    legend = (LegendClass(0, "no", "#000000"), LegendClass(1, "yes", "#ffffff"))
    task = DensePrediction(nn.Conv2d(1, 1, 1), bands, [Target("y", "binary", legend)], normalisation="range")
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "a.ckpt")
    loaded = load_task(tmp_path / "a.ckpt", lambda config, inputs, outputs: nn.Conv2d(inputs, outputs, 1))
    assert loaded.bands == bands
    x, seen = torch.rand(1, 1, 3, 3), torch.rand(1, 3, 3) > 0.5
    assert torch.equal(loaded.normalise(x, seen), task.normalise(x, seen))
    assert loaded.normalise(x, seen).max() == 1


def test_a_checkpoint_of_another_net_is_refused(trained):
    path, _ = trained
    with pytest.raises(CheckpointError, match=r"which the model lacks|the checkpoint lacks"):
        load_task(path, lambda config, inputs, outputs: nn.Conv2d(inputs, outputs, 1))
    wider = lambda config, inputs, outputs: tiny.net(config | {"width": 9}, inputs, outputs)  # noqa: E731
    with pytest.raises(CheckpointError, match=r"'net.0.weight' is \[8, 2, 3, 3\] in the checkpoint and \[9, 2, 3, 3\]"):
        load_task(path, wider)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_one_clear_line(trained, tmp_path, share):
    content = trained[0].read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(cut)
    assert "\n" not in str(caught.value)
    assert str(cut) in str(caught.value)
    assert "damaged" in str(caught.value)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("how", ["torch", "torch, old", "pickle"])
def test_a_pickle_bomb_does_not_go_off(tmp_path, how):
    bomb, marker = tmp_path / "bomb.ckpt", tmp_path / "was here"
    content = {"state_dict": {}, "graticule": {"version": 1}, "bomb": Bomb(marker)}
    if how == "pickle":
        bomb.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, bomb, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_checkpoint(bomb)
    assert not marker.exists()


def test_what_is_no_checkpoint_of_ours_is_told(trained, tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none.ckpt; give a file from"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"was not written by `graticule train`; give a checkpoint of a run\.$"):
        read_checkpoint(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "graticule": {"version": 99}}, tmp_path / "newer.ckpt")
    with pytest.raises(CheckpointError, match="has format version 99; this version reads 1"):
        read_checkpoint(tmp_path / "newer.ckpt")


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.ckpt"
    WholeCheckpointIO().save_checkpoint({"weight": torch.zeros(3)}, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match=r"pickle|local|lambda"):
        WholeCheckpointIO().save_checkpoint({"weight": lambda: None}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_a_full_disk_is_told_as_such(tmp_path):
    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            WholeCheckpointIO().save_checkpoint({"weight": torch.zeros(100_000)}, tmp_path / "b.ckpt")
        except OutputError as error:
            os.write(write, str(error).encode())
        os._exit(0)

    read, write = os.pipe()
    child = os.fork()
    if not child:
        limited()
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        text = told.read()
    assert text.startswith(f"cannot write {tmp_path / 'b.ckpt'}: ")
    assert os.listdir(tmp_path) == []


def test_two_names_of_a_checkpoint_take_the_place_of_one(tmp_path):
    first, second = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    first.write_text("new")
    same_file(first, second)
    assert second.samefile(first)
    # Saving anew gives the first name to a new file; the second keeps the old.
    WholeCheckpointIO().save_checkpoint({}, first)
    assert second.read_text() == "new"
