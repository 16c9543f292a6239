import io
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from lightning.pytorch import Callback
from rich.console import Console

from graticule.data.datamodule import DataModule
from graticule.data.splits import assign
from graticule.errors import ConfigError
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction
from graticule.training.callbacks import Telling, Throughput, WaitingClock
from graticule.training.checkpoints import load_task, read_checkpoint
from graticule.training.fit import fit
from worlds import healpix_world, raster_world


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return raster_world(tmp_path_factory.mktemp("world") / "store", degrees=15.0, side=4, per_parent=1).path


def logged(run, name):
    table = pd.read_csv(run.metrics)
    return table[table["name"] == name]


def test_a_run_folder_holds_what_was_learnt(store, tmp_path):
    outcome = tiny.train(store, tmp_path, repeats=3, epochs=4)
    run = Run(tmp_path)
    told = run.read_manifest()
    assert told["state"] == "finished"
    assert datetime.fromisoformat(told["finished"]) <= datetime.now(UTC)
    assert (outcome.epochs, outcome.steps) == (4, 36)
    assert outcome.checkpoint == run.checkpoints / "best.ckpt"
    # Every third step, each a mean over three batches; the rate is that which the step was made with.
    losses = logged(run, "train/loss")
    assert losses["step"].tolist() == list(range(3, 37, 3))
    assert losses["value"].iloc[-1] < losses["value"].iloc[0]
    rates = logged(run, "learning_rate").set_index("step")["value"]
    assert rates[3] == pytest.approx(1e-2 * 3 / 4)
    scores = logged(run, "val/iou").set_index("epoch")["value"]
    assert outcome.score == pytest.approx(scores.max(), rel=1e-6)
    kept = {path.name for path in run.checkpoints.iterdir()}
    best = [f"epoch={e:03d}-step={(e + 1) * 9:06d}.ckpt" for e in scores.sort_values(ascending=False).index[:2]]
    assert kept == {"last.ckpt", "best.ckpt", *best}
    assert (run.checkpoints / "best.ckpt").samefile(run.checkpoints / best[0])
    assert read_checkpoint(run.last_checkpoint)["graticule"]["config"] == {"width": 8, "dropout": 0.2, "norm": True}
    speed = pd.read_csv(run.throughput)
    assert speed["epoch"].tolist() == [0, 1, 2, 3]
    assert speed["waiting_share"].between(0, 1).all()
    assert (speed["samples_per_second"] > 0).all()


def test_a_world_with_a_rule_is_learnt_on_any_grid(tmp_path):
    # Class = whether the first band is above 100; the height is the second band. Known on paper: no error is left.
    def x(number, space):
        return np.random.default_rng(number).integers(0, 200, (2, *space)).astype(np.uint8)

    for name, world, space in (("raster", raster_world, (6, 6)), ("sphere", healpix_world, (16,))):
        rule = {
            "x": lambda number, space=space: x(number, space),
            "y": lambda number, space=space: (x(number, space)[0] > 100).astype(np.uint8),
            "height": lambda number, space=space: x(number, space)[1].astype(np.float32),
        }
        store = world(tmp_path / f"{name} store", classes=2, **rule)
        module = DataModule(store, assign(store, method="random"), batch_size=16)
        net = torch.nn.Sequential(PerPixel(2, 24), torch.nn.ReLU(), PerPixel(24, 3))
        task = DensePrediction(net, module.bands, module.targets, optimizer={"name": "adam", "lr": 3e-2})
        outcome = fit(task, module, Run(tmp_path / name), trainer={"max_epochs": 12, "accelerator": "cpu"})
        assert outcome.metrics["val/accuracy"] > 0.97, name
        assert outcome.metrics["val/height/mae"] < 3, name


class PerPixel(torch.nn.Module):
    """A linear map of the channels of each pixel."""

    def __init__(self, inputs, outputs):
        super().__init__()
        torch.manual_seed(inputs)
        self.linear = torch.nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


def test_validation_metrics_are_those_of_all_its_pixels(store, tmp_path):
    tiny.train(store, tmp_path, epochs=1)
    module = tiny.data(store)
    task = load_task(Run(tmp_path).last_checkpoint, tiny.net)
    hits = pixels = errors = 0
    for batch in module.val_dataloader():
        found = task.predict(batch["x"], batch["seen"])
        hits += (found["landcover"].argmax(1) == batch["targets"]["landcover"]).sum().item()
        errors += (found["height"] - batch["targets"]["height"]).abs().sum().item()
        pixels += found["height"].numel()
    assert logged(Run(tmp_path), "val/accuracy")["value"].item() == pytest.approx(hits / pixels)
    assert logged(Run(tmp_path), "val/height/mae")["value"].item() == pytest.approx(errors / pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_as_their_position_says_whatever_the_workers(store, tmp_path, workers):
    class Note(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            seen.append(batch["index"].tolist())

    seen = []
    tiny.train(store, tmp_path, epochs=2, workers=workers, further=[Note()])
    sampler = tiny.data(store).train_loader.sampler
    expected = [[e[2] for e in sampler.batch(epoch, number)] for epoch in (0, 1) for number in range(len(sampler))]
    assert seen == expected


def test_training_stops_after_so_many_steps(store, tmp_path):
    module = tiny.data(store)
    outcome = fit(
        tiny.task(module), module, Run(tmp_path), trainer={"max_epochs": 9, "max_steps": 5, "accelerator": "cpu"}
    )
    assert outcome.steps == 5


@pytest.mark.parametrize(
    "options", [{"precision": "bf16-mixed"}, {"gradient_clip_val": 1e-4}, {"precision": "64-true"}]
)
def test_precision_and_clipping_are_options(store, tmp_path, options):
    module = tiny.data(store)
    before = tiny.task(module)
    after = tiny.task(module)
    outcome = fit(after, module, Run(tmp_path), trainer={"max_epochs": 1, "accelerator": "cpu", **options})
    assert np.isfinite(outcome.metrics["val/loss"])
    moved = [(a - b).abs().max().item() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    assert max(moved) > 0


def test_pictures_are_drawn_by_what_was_handed_in_and_show_the_same_samples_each_epoch(store, tmp_path):
    shown = []

    def draw(batch, predicted):
        assert batch["x"].dtype == torch.uint8
        shown.append(batch["x"])
        shares = predicted["landcover"][0, :, :, :].detach().numpy()
        return np.ascontiguousarray((np.moveaxis(shares, 0, -1) * 255).astype(np.uint8))

    tiny.train(store, tmp_path, epochs=2, draw=draw)
    names = sorted(path.name for path in Run(tmp_path).figures.iterdir())
    assert names == ["val-examples-000003.png", "val-examples-000006.png"]
    assert torch.equal(*shown)


def test_pictures_come_every_so_many_validations(store, tmp_path):
    """Of validations after epochs 2, 4, 6 the first and the third; the steps are 3 per epoch."""
    module = tiny.data(store)
    trainer = {"max_epochs": 6, "val_every_n_epochs": 2, "accelerator": "cpu"}
    fit(
        tiny.task(module), module, Run(tmp_path), trainer=trainer, callbacks={"pictures": {"every_n_validations": 2}},
        draw=lambda batch, predicted: np.zeros((4, 4, 3), np.uint8),
    )  # fmt: skip
    names = sorted(path.name for path in Run(tmp_path).figures.iterdir())
    assert names == ["val-examples-000006.png", "val-examples-000018.png"]


def test_patience_counts_validations_and_not_epochs(store, tmp_path):
    """Nothing is ever better than the first validation, after epoch 2: with a patience of 2 that ends at epoch 6."""
    module = tiny.data(store)
    stopping = {"patience": 2, "monitor": "val/loss", "mode": "min", "min_delta": 1e9}
    outcome = fit(
        tiny.task(module), module, Run(tmp_path), callbacks={"early_stopping": stopping},
        trainer={"max_epochs": 20, "val_every_n_epochs": 2, "accelerator": "cpu"},
    )  # fmt: skip
    assert outcome.epochs == 6


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trainer": {"max_epoch": 3}}, "trainer has no option 'max_epoch'; did you mean 'max_epochs'?"),
        ({"callbacks": {"stopping": {}}}, "callbacks has no option 'stopping'; did you mean 'early_stopping'?"),
        ({"callbacks": {"checkpoint": {"monitr": "x"}}}, "callbacks.checkpoint has no option 'monitr'; did you mean"),
        ({"tracker": {"names": ["tensorbord"]}}, "no tracker is named 'tensorbord'; did you mean 'tensorboard'?"),
        ({"trainer": {"strategy": "fsdp"}, "ema": 0.9}, "task.ema_decay needs whole weights, which fsdp takes apart"),
        ({"trainer": {"accelerator": "quantum"}}, "the trainer cannot be set up: "),
    ],
)
def test_options_that_do_not_fit_are_told(store, tmp_path, options, text):
    module = tiny.data(store)
    task = tiny.task(module, ema=options.get("ema"))
    with pytest.raises(ConfigError) as caught:
        fit(task, module, Run(tmp_path), **{key: value for key, value in options.items() if key != "ema"})
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_progress_is_lines_in_a_pipe_and_a_bar_on_a_terminal(store, tmp_path, capsys):
    screen = Console(file=io.StringIO(), force_terminal=True)
    bar = Telling(Throughput(Run(tmp_path), WaitingClock()), screen)
    tiny.train(store, tmp_path / "pipe", epochs=2, further=[bar])
    told = capsys.readouterr().err
    assert [line.split(" | ")[0] for line in told.splitlines()] == ["epoch 1/2 step 3", "epoch 2/2 step 6"]
    assert "samples/s" in told
    assert "\x1b" not in told
    assert "\x1b[" in screen.file.getvalue()
    assert "epoch 2/2" in screen.file.getvalue()
