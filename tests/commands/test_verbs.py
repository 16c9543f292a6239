import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import yaml
from tiny_earth import TINY

from graticule.cli import main


def last_line(captured):
    return captured.out.strip().splitlines()[-1]


def test_prepare_keeps_a_store_that_is_there_and_prints_its_path(here, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path("stores").rglob("*")}
    assert main(["prepare", *TINY]) == 0
    assert last_line(capsys.readouterr()) == "stores/earth-raster-3deg"
    assert {path: path.stat().st_mtime_ns for path in Path("stores").rglob("*")} == before


def test_a_store_of_other_options_is_not_taken_for_the_one(here, capsys):
    words = [*TINY, "source.window=1", "data.store=null"]
    assert main(["train", *words]) == 2
    assert "was prepared with source.window=5, and the configuration has 1" in capsys.readouterr().err


def test_train_leaves_a_whole_run_folder(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"] == {
        "name": "unet", "channels": 4, "levels": 2, "norm": "batch", "dropout": 0.0, "encoder_weights": None,
    }  # fmt: skip
    audit = json.loads((run / "leak_audit.json").read_text())
    assert audit["leaks"] is False
    assert json.loads((run / "manifest.json").read_text())["state"] == "finished"
    names = {path.name.split(".")[0] for path in run.iterdir()}
    assert {"assignment", "checkpoints", "console", "installed_pkgs", "metrics", "runtime_tags", "evaluation"} <= names
    metrics = json.loads((run / "evaluation/test-store/metrics.json").read_text())
    assert 0 <= metrics["targets"]["landcover"]["metrics"]["accuracy"] <= 1


def test_the_console_is_copied(run):
    told = (run / "console.log").read_text()
    assert "Run tiny-" in told
    assert "foreground_accuracy" in told
    assert "\x1b" not in told


def test_evaluate_on_another_grid(run, capsys):
    assert main(["evaluate", str(run), "evaluate.grid=healpix:16", "--checkpoint", "last"]) == 0
    folder = Path(last_line(capsys.readouterr()))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["grid"], metrics["checkpoint"]) == ("healpix:16", "last.ckpt")


def test_predict_writes_the_whole_earth(run, capsys):
    assert main(["predict", str(run), "predict.window=32", "predict.overlap=8"]) == 0
    written = capsys.readouterr().out.split()
    (tif,) = [path for path in written if path.endswith(".tif")]
    with rasterio.open(tif) as dataset:
        assert dataset.shape == (60, 120)
        assert dataset.crs.to_epsg() == 4326
        assert (dataset.read(1) < 10).all()
    assert (run / "predictions/overview.npz").exists()


def test_predict_on_another_grid_of_the_source(run, capsys):
    assert main(["predict", str(run), "source.grid=healpix:16", "predict.window=16", "predict.formats=[fits]"]) == 0
    assert "predictions/earth-landcover.fits" in capsys.readouterr().out


def test_predict_a_file(run, capsys, tmp_path):
    path = tmp_path / "scene.tif"
    transform = rasterio.transform.from_origin(10, 50, 0.1, 0.1)
    options = {"width": 20, "height": 12, "count": 3, "dtype": "uint8", "crs": "EPSG:4326", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **options) as dataset:
        dataset.write(np.random.default_rng(0).integers(0, 255, (3, 12, 20), np.uint8))
        dataset.descriptions = ("red", "green", "blue")
    assert main(["predict", str(run), str(path), "predict.window=8", "predict.overlap=2"]) == 0
    with rasterio.open(run / "predictions/scene-landcover.tif") as dataset:
        assert dataset.bounds == rasterio.coords.BoundingBox(10, 48.8, 12, 50)


def test_predict_names_the_nearest_scene(run, capsys):
    assert main(["predict", str(run), "eart"]) == 2
    assert "has no scene 'eart'; did you mean 'earth'?" in capsys.readouterr().err


def test_report_of_a_run(run, capsys):
    assert main(["report", str(run)]) == 0
    page = Path(last_line(capsys.readouterr()))
    assert page == run / "report.html"
    assert "landcover" in page.read_text()


def test_resume_goes_on_and_keeps_what_was_asked(here, run, capsys):
    copy = here / "runs/_runs/longer"
    shutil.copytree(run, copy)
    assert main(["resume", str(copy), "trainer.max_epochs=2", "evaluate.after_train=false"]) == 0
    assert last_line(capsys.readouterr()) == str(copy)
    assert torch.load(copy / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    assert yaml.safe_load((copy / "config.yaml").read_text())["trainer"]["max_epochs"] == 2


@pytest.mark.parametrize("words", [["model.channels=8"], ["split=none"], ["run.seed=1"]])
def test_resume_refuses_what_would_make_another_run(run, capsys, words):
    assert main(["resume", str(run), *words]) == 2
    assert "belongs to the run and cannot change; what can: callbacks" in capsys.readouterr().err


def test_the_same_words_train_on_healpix_but_for_the_grid(here, capsys):
    words = [*TINY, "source.grid=healpix:32", "data.augment.crop=96", "data.balance=true", "run.name=sphere"]
    assert main(["prepare", *words]) == 0
    assert main(["train", *words]) == 0
    folder = Path(last_line(capsys.readouterr()))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["augment"]["crop"] is None, "a crop larger than the window is the window"
    assert main(["predict", str(folder), "predict.window=16"]) == 0
    assert (folder / "predictions/earth-landcover.zarr").is_dir()


def test_a_run_is_trained_again_from_its_own_config(run, capsys):
    assert main(["train", "--config", str(run / "config.yaml"), "run.name=again", "evaluate.after_train=false"]) == 0
    again = Path(last_line(capsys.readouterr()))
    old, new = (torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in (run, again))
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_multirun_runs_every_combination(here, capsys):
    words = [*TINY, "evaluate.after_train=false", "run.seed=1,2", "model.levels=1", "run.name=many"]
    assert main(["train", "-m", *words]) == 0
    folders = capsys.readouterr().out.split()
    configs = [yaml.safe_load((Path(folder) / "config.yaml").read_text()) for folder in folders]
    assert [(c["run"]["seed"], c["model"]["levels"]) for c in configs] == [(1, 1), (2, 1)]


def test_multirun_starts_nothing_if_one_combination_is_wrong(here, capsys):
    before = sorted(Path("runs").rglob("*"))
    assert main(["train", "-m", *TINY, "run.seed=1,-2"]) == 2
    assert "run.seed is -2; it must be at least 0" in capsys.readouterr().err
    assert sorted(Path("runs").rglob("*")) == before


def test_jobs_through_submitit(here, capsys):
    pytest.importorskip("submitit")
    words = [*TINY, "evaluate.after_train=false", "run.name=job", "run.seed=5"]
    assert main(["train", *words, "--launcher", "local", "--slurm", "timeout_min=5"]) == 0
    (folder,) = Path("runs/_runs").glob("job-*")
    assert json.loads((folder / "manifest.json").read_text())["state"] == "finished"


def test_jobs_without_slurm_are_refused(here, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert main(["train", *TINY, "--launcher", "slurm"]) == 2
    assert "jobs cannot be sent" in capsys.readouterr().err


def test_a_net_of_the_users_own_package(here, capsys, monkeypatch):
    Path("mynets.py").write_text(
        "from torch import nn\n\n\nclass Linear(nn.Conv2d):\n"
        "    def __init__(self, in_channels: int, out_channels: int, size: int = 1):\n"
        "        super().__init__(in_channels, out_channels, size, padding=size // 2)\n"
    )
    words = [word for word in TINY if not word.startswith("model")]
    assert main(["train", *words, "model.name=mynets:Linear", "model.size=3", "run.name=own"]) == 0
    folder = last_line(capsys.readouterr())
    assert main(["evaluate", folder]) == 2
    assert "add --trust mynets if you trust it" in capsys.readouterr().err
    assert main(["evaluate", folder, "--trust", "mynets"]) == 0
