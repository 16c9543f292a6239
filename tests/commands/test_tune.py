"""`graticule tune` on the tiny Earth: real trainings, real databases, every line of the guide's table."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny_earth import TINY

from graticule.cli import main
from graticule.conf.compose import Request, compose

SHORT = ["split.total_folds=2", "crossval.n_folds=1", "crossval.n_randoms=1", "callbacks.progress=false",
         "trainer.limit_val_batches=1", "callbacks.pictures.every_n_validations=9", "evaluate.examples=0",
         "evaluate.bootstrap=0", "trainer.limit_train_batches=1"]  # fmt: skip
TUNE = ["tune", *TINY, *SHORT]


@pytest.fixture
def files(here):
    """Search spaces of each kind of file."""
    Path("search.yaml").write_text(
        "hyperparameters:\n  learning_rate: {low: 1e-4, high: 1e-2, distribution: loguniform}\n"
    )
    Path("search.toml").write_text("[hyperparameters]\nchannels = [2, 4]\n")
    Path("sweep.yaml").write_text(
        "method: grid\nname: swept\nmetric: {name: val_loss, goal: minimize}\nprogram: train.py\n"
        "parameters:\n  learning_rate: {values: [0.001, 0.01]}\n  batch_size: {value: 16}\n"
    )
    Path("whole.yaml").write_text("hyperparameters:\n  model.channels: [2, 3]\nrun:\n  seed: 7\n")


def last_error(capsys):
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("graticule: error: ")
    return told[-1]


def test_the_table_of_the_guide(files, capsys):
    words = [*TUNE, "--hpconfig", "search.yaml", "tune.name=alps", "tune.n_trials=1"]
    # Neither: the study is created and no trial is run.
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == "alps"
    assert Path("runs/alps/study.db").exists()
    assert not list(Path("runs/alps").glob("alps-cv*"))
    # A sweep id without a device is an error.
    assert main(["tune", "--sweep-id", "alps"]) == 2
    assert "--sweep-id alps joins a study, and no --device says where to run; add --device 0" in last_error(capsys)
    # Both: join and run n_trials, with nothing else said.
    assert main(["tune", "--sweep-id", "alps", "--device", "cpu", "tune.n_trials=1"]) == 0
    assert [path.name for path in Path("runs/alps").glob("alps-cv*")] == ["alps-cv0"]
    # ... or with the same words again.
    assert main([*words, "--sweep-id", "alps", "--device", "cpu"]) == 0
    (run,) = Path("runs/alps/alps-cv1").glob("alps-cv1-run-f0s42-*")
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["tune_name"], manifest["cv_name"]) == ("alps", "alps-cv1")
    table = pd.read_parquet("runs/alps/trials.parquet")
    assert list(table["state"]) == ["complete", "complete"]
    infos = pd.read_parquet("runs/alps/alps-cv1/run_infos.parquet")
    assert table["score"][1] == pytest.approx(infos["val/iou"].mean())
    rate = yaml.safe_load((run / "config.yaml").read_text())["optim"]["optimizer"]["lr"]
    assert table["hp/optim.optimizer.lr"][1] == rate

    # Only a device: create and run. This is another study.
    capsys.readouterr()
    assert main([*words[:-2], "tune.name=dunes", "tune.n_trials=1", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "runs/dunes"
    assert list(pd.read_parquet("runs/dunes/trials.parquet")["score"]) == [table["score"][0]], "the same seed, the same"
    assert main(["report", "runs/dunes"]) == 0
    # The best configuration is an experiment to run.
    best = compose(Request(config_file=Path("runs/alps/best.yaml")))
    assert best.optim.optimizer.lr in set(table["hp/optim.optimizer.lr"])
    assert best.evaluate.parts == ["test"]


def test_a_sweep_of_wandb_is_a_grid_that_minimises_and_retrains(files, capsys):
    words = [*TUNE, "--sweep-file", "sweep.yaml", "--device", "cpu", "tune.retrain_and_test=true"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "'program' has no meaning here" in told.err
    table = pd.read_parquet("runs/swept/trials.parquet")
    assert list(table["hp/optim.optimizer.lr"]) == [0.001, 0.01]
    assert list(table["hp/data.batch_size"]) == [16, 16]
    best = json.loads(Path("runs/swept/summary.json").read_text())
    assert (best["directions"], best["best"][0]) == (["minimize"], int(table["score"].idxmin()))
    (run,) = Path("runs/swept/_runs").glob("swept-retrain-*")
    assert (run / "evaluation/test-store/metrics.json").exists()
    parts = pd.read_parquet(run / "assignment.parquet").groupby("part")["sample"].apply(set)
    assert parts["train"] == parts["val"]


def test_the_space_may_stand_in_the_configuration_and_a_grid_in_toml(files):
    assert main([*TUNE, "--config", "whole.yaml", "tune.name=inside"]) == 0
    told = json.loads(Path("runs/inside/study.json").read_text())
    assert told["space"] == {"model.channels": {"choices": [2, 3]}}
    assert main([*TUNE, "--hpconfig", "search.toml", "tune.n_trials=grid", "tune.name=toml"]) == 0
    told = json.loads(Path("runs/toml/study.json").read_text())
    assert (told["sampler"], told["space"]) == ("grid", {"model.channels": {"choices": [2, 4]}})


BAD = [
    (["--hpconfig", "a.yaml"], "learnin_rate: 0.1", "no hyperparameter is named 'learnin_rate'; did you mean"),
    (["--hpconfig", "a.yaml"], "lr: {distribution: unifrom, low: 1, high: 2}", "'unifrom'; did you mean 'uniform'?"),
    (["--hpconfig", "a.yaml", "tune.n_trials=grid"], "lr: {low: 0.1, high: 0.2}", "a grid search cannot count the"),
    (["--hpconfig", "a.yaml"], "batch_size: [4, -1]", "'data.batch_size' cannot be -1: data.batch_size is -1; it must"),
    (["--hpconfig", "a.yaml"], "model: [unet, unett]", "'model' cannot be 'unett': no model is named 'unett'; did you"),
    (["--hpconfig", "a.yaml"], "run.seed: [1, 2]", "means run.seed, which all trials of a study share"),
    (["--hpconfig", "none.yaml"], "lr: 1", "there is no file none.yaml; check the path."),
    ([], "lr: 1", "there is no search space; give --hpconfig FILE, or `hyperparameters` in the file of --config."),
    (["--hpconfig", "a.yaml", "--storage", "mysql://me:geheim@db/x"], "lr: 0.1", "a database of kind 'mysql'; use"),
    (["--hpconfig", "a.yaml", "--storage", "postgresql://me:geheim@127.0.0.1:9/x"], "lr: 0.1", "cannot be reached"),
    (["--hpconfig", "a.yaml", "--device", "gpu0x"], "lr: 0.1", "--device is 'gpu0x'; give the number of a GPU"),
    (["--hpconfig", "a.yaml", "tune.grace=1"], "lr: 0.1", "tune.grace is 1; it must be at least twice"),
    (["--sweep-id", "nope", "--device", "cpu"], "lr: 1", "there is no study 'nope' in runs;"),
    (["--hpconfig", "a.yaml", "split.total_folds=9999", "split=random"], "lr: 0.1", "9999 folds need as many parents"),
]


@pytest.mark.parametrize(("words", "space", "told"), BAD)
def test_what_cannot_be_tuned_is_said_in_one_line(here, capsys, words, space, told):
    Path("a.yaml").write_text(f"hyperparameters:\n  {space}\n")
    before = sorted(Path("runs").rglob("*"))
    assert main([*TUNE, "tune.name=bad", *words]) == 2
    error = last_error(capsys)
    assert told in error
    assert "geheim" not in error
    assert sorted(Path("runs").rglob("*")) == before, "something half-written was left"


def test_a_study_of_another_space_is_not_joined(files, capsys):
    assert main([*TUNE, "--hpconfig", "search.yaml", "tune.name=first"]) == 0
    Path("b.yaml").write_text("hyperparameters:\n  learning_rate: [0.1, 0.2]\n")
    join = ["--sweep-id", "first", "--device", "cpu"]
    assert main([*TUNE, "--hpconfig", "b.yaml", *join]) == 2
    told = "the study 'first' has another search space: hyperparameter 'optim.optimizer.lr' is 0.0001 to 0.01 log there"
    assert told in last_error(capsys)
    assert main([*TUNE, "model.channels=2", "--hpconfig", "search.yaml", *join]) == 2
    assert "the study 'first' was created with model.channels=4, now it is 2; leave the" in last_error(capsys)
    assert main([*TUNE, "--hpconfig", "search.yaml", "tune.name=first"]) == 2
    assert "there is a study in runs/first already; join it with --sweep-id first, or choose" in last_error(capsys)


def test_no_password_is_written_anywhere(here, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["graticule", "train", "tune.storage=postgresql://me:geheim@db/x"])
    assert main(["train", *TINY, "run.name=secret", "tune.storage=postgresql://me:geheim@db/x"]) == 0
    (run,) = Path("runs/_runs").glob("secret-*")
    for path in run.rglob("*"):
        assert not path.is_file() or b"geheim" not in path.read_bytes(), path
    assert (
        main(["tune", *TINY, "--print-config", "--hpconfig", "a.yaml", "tune.storage=postgresql://me:geheim@db/x"]) == 0
    )
    shown = capsys.readouterr().out
    assert "geheim" not in shown
    assert "storage: postgresql://me:***@db/x" in shown


def test_the_dashboard_reads_the_study(files):
    dashboard = pytest.importorskip("optuna_dashboard")
    assert main([*TUNE, "--hpconfig", "search.yaml", "tune.name=seen"]) == 0
    wsgi = dashboard.wsgi("sqlite:///runs/seen/study.db")
    told = {}
    answer = b"".join(
        wsgi(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "QUERY_STRING": "", "wsgi.errors": None,
             "wsgi.input": None, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http"},
            lambda status, headers, error=None: told.update(status=status),
        )
    )  # fmt: skip
    assert told["status"].startswith("200")
    assert [study["study_name"] for study in json.loads(answer)["study_summaries"]] == ["seen"]
