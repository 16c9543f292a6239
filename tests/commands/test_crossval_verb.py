"""`graticule crossval` on the tiny Earth: real trainings, real folds."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_earth import TINY

from graticule.cli import main
from worlds import raster_world

CV = [
    "crossval", *TINY, "split.total_folds=3", "crossval.n_folds=2", "callbacks.progress=false",
    "trainer.limit_val_batches=1",
]  # fmt: skip
FOLDER = Path("runs/_cross_validations")


def test_a_cross_validation_is_scored_grows_and_reports(here, capsys):
    words = [*CV, "crossval.name=alps", "crossval.scoring_metric=[val/iou,val/loss:lower]"]
    assert main([*words, "crossval.n_randoms=1"]) == 0
    out = capsys.readouterr().out.strip().splitlines()
    assert out[-1] == str(FOLDER / "alps")
    first = pd.read_parquet(FOLDER / "alps/run_infos.parquet")
    assert list(first["run_name"]) == ["alps-run-f0s42", "alps-run-f1s42"]
    assert "score" in out[-2]

    assert main([*words, "crossval.n_randoms=2"]) == 0
    table = pd.read_parquet(FOLDER / "alps/run_infos.parquet")
    assert list(table["run_name"]) == ["alps-run-f0s42", "alps-run-f1s42", "alps-run-f0s21", "alps-run-f1s21"]
    assert list(table["run_id"][:2]) == list(first["run_id"]), "what was finished is kept"
    combined = 2 / (1 / table["val/iou"] + table["val/loss"])
    assert table["score"][0] == pytest.approx(combined.mean())

    folders = sorted(path.name for path in (FOLDER / "alps").iterdir() if path.is_dir())
    assert folders == sorted(f"{n}-{i}" for n, i in zip(table["run_name"], table["run_id"], strict=True))
    manifest = json.loads((FOLDER / "alps" / folders[0] / "manifest.json").read_text())
    assert (manifest["cv_name"], manifest["fold"], manifest["state"]) == ("alps", 0, "finished")

    summary = json.loads((FOLDER / "alps/summary.json").read_text())
    pooled = summary["pooled"]["landcover"]
    single = [
        json.loads((FOLDER / "alps" / name / "evaluation/val-store/metrics.json").read_text()) for name in folders
    ]
    assert pooled["pixels"] == sum(told["targets"]["landcover"]["pixels"] for told in single)
    low, high = pooled["intervals"]["accuracy"]
    assert low <= pooled["metrics"]["accuracy"] <= high

    # All folds keep the same ground for the test.
    tables = [pd.read_parquet(path) for path in sorted((FOLDER / "alps").glob("alps-run-f*s42-*/assignment.parquet"))]
    assert len(tables) == 2
    assert all({"train", "val", "test"} == set(table["part"]) for table in tables)
    tests = [set(table[table["part"] == "test"]["sample"]) for table in tables]
    assert tests[0] == tests[1]


def test_a_killed_cross_validation_goes_on_by_resume(here, capsys):
    words = [*CV, "crossval.name=dunes", "crossval.n_randoms=1", "trainer.max_epochs=8",
             "callbacks.pictures.every_n_validations=99"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "graticule", *words], stderr=subprocess.PIPE)
    until = time.monotonic() + 90
    while not any((FOLDER / "dunes").glob("*/checkpoints/last.ckpt")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (begun,) = (FOLDER / "dunes").glob("dunes-run-f0s42-*")
    assert not (FOLDER / "dunes/run_infos.parquet").exists()
    assert main(["resume", str(FOLDER / "dunes"), "callbacks.progress=false"]) == 0
    assert "Resuming dunes-run-f0s42" in capsys.readouterr().err
    table = pd.read_parquet(FOLDER / "dunes/run_infos.parquet")
    assert list(table["run_name"]) == ["dunes-run-f0s42", "dunes-run-f1s42"]
    assert table["run_id"][0] == begun.name.rpartition("-")[2]
    assert list(table["step@end"]) == [16, 16]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run.name=x"], "run.name is 'x', but the runs of a cross-validation are named after it; give crossval.name"),
        (["crossval.n_folds=7"], "crossval.n_folds is 7; it must be at most split.total_folds=3."),
        (["crossval.scoring_metric=val/ioo"], "names 'val/ioo', which is not logged; did you mean 'val/iou'?"),
        (["crossval.scoring_metric=val/iou:low"], "a metric ends in ':higher' or ':lower'"),
        (["crossval.multi_score_strategy=mean"], "crossval.multi_score_strategy is 'mean', which does not exist"),
        (["trainer.devices=2"], "the runs of a cross-validation take one device each; set trainer.devices=1"),
        (
            ["split=random", "split.total_folds=400", "crossval.n_folds=null"],
            "400 folds need as many parents beside the test part, and there",
        ),
    ],
)
def test_what_cannot_be_cross_validated_is_said_in_one_line(here, capsys, words, told):
    before = sorted(FOLDER.glob("*")) if FOLDER.exists() else []
    assert main([*CV, *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("graticule: error: ")
    assert told in error
    assert (sorted(FOLDER.glob("*")) if FOLDER.exists() else []) == before, "something half-written was left"


def test_another_configuration_is_not_taken_for_the_one_of_that_name(here, capsys):
    assert main([*CV, "crossval.name=alps", "optim.optimizer.lr=0.5"]) == 2
    assert "'alps' was begun with optim.optimizer.lr=0.001, now it is 0.5; give the same" in capsys.readouterr().err


def test_a_fold_without_positives_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Only the first two of the parents have anything but class 0.
    raster_world(tmp_path / "store", degrees=10, side=6, per_parent=1, regions=1,
                 y=lambda number: np.full((6, 6), number < 2, np.uint8))  # fmt: skip
    words = ["data.store=store", *TINY[1:], "split=random", "split.total_folds=6", "crossval.n_randoms=1"]
    assert main(["crossval", *words]) == 2
    told = capsys.readouterr().err
    assert "of 6 has no positive pixel of landcover in its val part; lower" in told
    assert "lower split.total_folds or set split.fold_method to 'stratified'." in told
    assert not Path("runs").exists()
