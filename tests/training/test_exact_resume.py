"""Killed with kill -9 and resumed, a training leaves the same bits as one never killed."""

import multiprocessing
import os
import signal

import pytest
import tiny
import torch
from lightning.pytorch import Callback

from graticule.errors import CheckpointError
from graticule.runs import Run
from graticule.training.checkpoints import read_checkpoint
from worlds import raster_world

SHAPE = {"repeats": 3, "every": 4, "epochs": 2}


class Kill(Callback):
    """SIGKILL at a hook, the n-th time that it is called."""

    def __init__(self, hook, times, number=signal.SIGKILL):
        self.left, self.number = times, number
        setattr(self, hook, self.count)

    def count(self, *_, **__):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return raster_world(tmp_path_factory.mktemp("world") / "store", degrees=15.0, side=4, per_parent=1).path


def run_apart(*arguments, **options):
    """Train in a process of its own; its exit code (-9: killed)."""
    process = multiprocessing.get_context("fork").Process(target=tiny.train, args=arguments, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same_run(a, b):
    a, b = Run(a), Run(b)
    assert a.metrics.read_bytes() == b.metrics.read_bytes()
    names = [sorted(path.name for path in run.checkpoints.iterdir()) for run in (a, b)]
    assert names[0] == names[1]
    for name in names[0]:
        first, second = (read_checkpoint(run.checkpoints / name) for run in (a, b))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "global_step", "epoch"):
            assert same(first[part], second[part]), (name, part)


@pytest.fixture(scope="module")
def undisturbed(store, tmp_path_factory):
    folders = {}

    def folder(**options):
        key = tuple(sorted(options.items()))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("undisturbed")
            tiny.train(store, folders[key], **(SHAPE | options))
        return folders[key]

    return folder


@pytest.mark.parametrize(
    ("hook", "times", "before", "after", "options"),
    [
        ("on_train_batch_start", 2, 0, 0, {}),  # before the first checkpoint
        ("on_train_batch_end", 4, 0, 2, {}),  # just before one is saved
        ("on_train_batch_start", 5, 2, 0, {}),  # just after
        ("on_train_batch_end", 7, 2, 2, {}),
        ("on_validation_batch_end", 1, 0, 0, {}),
        ("on_train_epoch_end", 1, 0, 2, {}),  # the last of an epoch is logged, but not saved
        ("on_train_epoch_start", 2, 2, 0, {}),  # saved at the end of an epoch
        ("on_train_batch_end", 12, 0, 0, {"ema": 0.9}),
        ("on_train_batch_end", 11, 0, 2, {"accumulate": 2, "every": 2}),
        ("on_train_epoch_start", 2, 0, 0, {"patience": 1, "epochs": 5}),
        ("on_train_end", 1, 0, 0, {"patience": 1, "epochs": 5}),  # stopped early, saved, not yet finished
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(store, undisturbed, tmp_path, hook, times, before, after, options):
    killed = run_apart(store, tmp_path, further=[Kill(hook, times)], workers=before, **(SHAPE | options))
    assert killed == -signal.SIGKILL
    tiny.train(store, tmp_path, resume=True, workers=after, **(SHAPE | options))
    assert_same_run(tmp_path, undisturbed(**options))


def test_patience_ends_a_run_early(undisturbed):
    assert read_checkpoint(Run(undisturbed(patience=1, epochs=5)).last_checkpoint)["global_step"] < 5 * 9


def test_a_run_killed_again_and_again_is_still_the_same(store, undisturbed, tmp_path):
    for times in (7, 6, 5):
        assert run_apart(store, tmp_path, True, [Kill("on_train_batch_end", times)], **SHAPE) == -signal.SIGKILL
    tiny.train(store, tmp_path, resume=True, **SHAPE)
    assert_same_run(tmp_path, undisturbed())


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(store, undisturbed, tmp_path, monkeypatch):
    flush = os.fsync
    calls = []

    def kill_in_the_third_checkpoint(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if sum(name.endswith(".partial.ckpt") for name in calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", kill_in_the_third_checkpoint)
        assert run_apart(store, tmp_path, **SHAPE) == -signal.SIGKILL
    assert read_checkpoint(Run(tmp_path).last_checkpoint)["global_step"] == 8
    assert list(Run(tmp_path).checkpoints.glob(".*.partial.ckpt"))
    tiny.train(store, tmp_path, resume=True, **SHAPE)
    assert_same_run(tmp_path, undisturbed())


def test_sigterm_saves_at_the_step_and_asks_to_be_requeued(store, undisturbed, tmp_path):
    term = Kill("on_train_batch_start", 6, signal.SIGTERM)
    assert run_apart(store, tmp_path, further=[term], **SHAPE) == 75
    assert Run(tmp_path).read_manifest()["state"] == "preempted"
    assert read_checkpoint(Run(tmp_path).last_checkpoint)["global_step"] == 6
    tiny.train(store, tmp_path, resume=True, **SHAPE)
    assert Run(tmp_path).read_manifest()["state"] == "finished"
    assert_same_run(tmp_path, undisturbed())


def test_a_finished_run_has_nothing_to_resume(store, undisturbed, tmp_path):
    first = tiny.train(store, tmp_path, **SHAPE)
    again = tiny.train(store, tmp_path, resume=True, **SHAPE)
    assert (again.steps, again.score) == (first.steps, first.score)
    assert_same_run(tmp_path, undisturbed())


def test_a_run_resumes_only_with_as_many_samples_per_batch(store, tmp_path):
    tiny.train(store, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="saved with 4 samples per batch over all processes, now there are 6"):
        tiny.train(store, tmp_path, resume=True, epochs=2, batch=6)
