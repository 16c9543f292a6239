"""Many scenes by one command: some damaged, some done already, some killed; by several checkpoints; on Dask."""

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from graticule.cli import main
from graticule.grids import RasterGrid
from graticule.inference.predict import PredictOptions, predict_scene
from graticule.schema import Band, LegendClass, Target

GRID = RasterGrid(20, 30, (1.0, 0.0, 10.0, 0.0, -1.0, 50.0), "EPSG:4326")
FAST = ["predict.window=16", "predict.overlap=4"]


def write_scene(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (3, *GRID.shape)).astype(np.uint8)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": GRID.crs, "transform": GRID.affine}
    with rasterio.open(path, "w", height=20, width=30, **profile) as dataset:
        dataset.write(pixels)
        for number, name in enumerate(("red", "green", "blue"), 1):
            dataset.set_band_description(number, name)
    return str(path)


@pytest.fixture
def scenes(run, tmp_path):
    """Three scenes, of which `b` is cut short."""
    paths = [write_scene(tmp_path / f"{name}.tif", seed) for seed, name in enumerate("abc")]
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[: len(whole) // 2])
    return paths


def results(folder):
    return pd.read_parquet(folder / "results.parquet").set_index("scene")


def test_a_damaged_scene_is_named_and_the_others_are_done_and_then_kept(run, scenes, tmp_path, capsys):
    out = tmp_path / "maps"
    words = ["predict", str(run), *scenes, *FAST, f"predict.output={out}"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert f"1 of 3 scenes failed, the first of them {scenes[1]}" in told
    assert "cannot be read as a raster" in told
    assert results(out).status.tolist() == ["done", "failed", "done"]
    assert "cannot be read" in results(out).why[scenes[1]]
    assert not list(out.glob("b-*"))
    assert not list(out.glob(".*"))

    before = {path: path.stat().st_mtime_ns for path in out.glob("[ac]-*")}
    (tmp_path / "b.tif").unlink()
    write_scene(tmp_path / "b.tif", 1)
    assert main(words) == 0
    assert results(out).status.tolist() == ["kept", "done", "kept"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert f"{out}/a-landcover.tif" in capsys.readouterr().out

    assert main([*words, "predict.quality_level=0"]) == 0
    assert results(out).status.tolist() == ["done"] * 3  # other options
    assert main([*words, "predict.quality_level=none", "--overwrite"]) == 0
    assert results(out).status.tolist() == ["done"] * 3


def test_the_item_names_the_weights_and_the_configuration(run, scenes, tmp_path):
    out = tmp_path / "maps"
    assert main(["predict", str(run), scenes[0], *FAST, f"predict.output={out}"]) == 0
    said = json.loads((out / "a.json").read_text())["properties"]
    (model,) = said["graticule:models"]
    assert (model["run"], model["checkpoint"]) == (run.name, "best.ckpt")
    assert len(model["sha256"]) == 64
    assert model["config"]["model"]["name"] == "unet"
    assert said["graticule:source"] == {"scene": "a", "path": scenes[0]}
    assert {"graticule", "torch", "gdal"} <= set(said["graticule:versions"])


def test_checkpoints_and_runs_make_an_ensemble(run, scenes, tmp_path):
    other = tmp_path / "other-run"
    shutil.copytree(run, other)
    out = tmp_path / "maps"
    ensemble = ["predict", str(run), str(other), scenes[0], "--checkpoint", "best", "--checkpoint", "last"]
    assert main([*ensemble, *FAST, f"predict.output={out}", "predict.probabilities=float32"]) == 0
    models = json.loads((out / "a.json").read_text())["properties"]["graticule:models"]
    assert [(model["run"], model["checkpoint"]) for model in models] == [
        (name, which) for name in (run.name, "other-run") for which in ("best.ckpt", "last.ckpt")
    ]
    with rasterio.open(out / "a-landcover-probabilities.tif") as dataset:
        assert np.allclose(dataset.read().sum(axis=0), 1, atol=1e-5)


def test_scenes_of_one_name_are_refused(run, scenes, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    twin = write_scene(tmp_path / "more/a.tif", 7)
    assert main(["predict", str(run), scenes[0], twin]) == 2
    assert "would be written as the same files" in capsys.readouterr().err


def test_a_cluster_that_is_there_does_the_work(run, scenes, tmp_path, capsys):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "maps"
    options = {"processes": False, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(protocol="tcp", host="127.0.0.1", **options) as cluster:
        words = [f"predict.dask={cluster.scheduler_address}", "predict.devices=[cpu,cpu]", f"predict.output={out}"]
        assert main(["predict", str(run), *scenes, *FAST, *words]) == 2
    assert results(out).status.tolist() == ["done", "failed", "done"]
    assert main(["predict", str(run), scenes[0], *FAST, f"predict.output={tmp_path / 'alone'}"]) == 0
    names = "a-landcover.tif", "a.json"
    one, other = ((folder / names[0]).read_bytes() for folder in (out, tmp_path / "alone"))
    assert one == other
    marks = [json.loads((f / names[1]).read_text())["properties"]["graticule:fingerprint"] for f in (out, out)]
    assert marks[0] == marks[1]
    assert main(["predict", str(run), *scenes, "predict.dask=tcp://127.0.0.1:1"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err


class Killer:
    """A task whose process is killed at its third step."""

    bands, grid_kind, base_pixels = (Band("red"),), "raster", None
    targets = (Target("flood", "binary", (LegendClass(0, "dry", "#ffffff"), LegendClass(1, "wet", "#0000ff"))),)

    def __init__(self, steps):
        self.steps = steps

    def predict(self, x, seen=None):
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"flood": torch.full((len(x), 1, *x.shape[-2:]), 0.75)}


class Red:
    grid, bands = GRID, (Band("red"),)

    def read(self, row, col, height, width):
        return np.ones((1, height, width), np.uint8), np.ones((height, width), bool)


def test_a_killed_prediction_leaves_no_product_and_the_next_one_its_place_clean(tmp_path):
    options = PredictOptions(window=8, overlap=2, batch_size=1, products=None, progress=False, overview=False)
    child = multiprocessing.get_context("fork").Process(
        target=predict_scene, args=(Killer(3), Red(), tmp_path, options), kwargs={"name": "a"}
    )
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    assert list(tmp_path.glob(".*"))
    predict_scene(Killer(1000), Red(), tmp_path, options, name="a")
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "a.json").exists()
