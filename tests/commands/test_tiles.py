"""The way of the course on small simulated tiles, by the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from graticule.cli import main
from tile_world import SIDE

SMALL = [
    "experiment=dfc2021", f"source.size={SIDE}",
    "source.bands={sentinel2: [B04, B03, B02], viirs: []}", "source.dates=2",
    "trainer.max_epochs=1", "trainer.accelerator=cpu",
    "callbacks.progress=false", "evaluate.bootstrap=20", "split.total_folds=2",
]  # fmt: skip
NETS = {
    "unet": ["model.channels=4", "model.levels=2"],
    "segmentation_cnn": ["model=course_cnn", "model.pool_sizes=[5,1]", "model.embedding_size=4"],
}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A folder with three simulated tiles and their store."""
    folder = tmp_path_factory.mktemp("tiles")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DATA_ROOT", "OUTPUT_ROOT", "SLURM_JOB_ID", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
            patch.delenv(name, raising=False)
        assert main(["generate", "dfc2021", "--root", "tiles", "--tiles", "3", "--size", str(SIDE)]) == 0
        assert main(["prepare", *SMALL]) == 0
    return folder


@pytest.fixture
def here(tiles, monkeypatch):
    monkeypatch.chdir(tiles)
    return tiles


@pytest.mark.parametrize("net", NETS)
def test_each_net_leaves_restitched_tiles_and_the_metrics_of_the_course(here, net):
    assert main(["train", *SMALL, *NETS[net], f"run.name={net}"]) == 0
    (run,) = Path("runs/_runs").glob(f"{net}-*")
    audit = json.loads((run / "leak_audit.json").read_text())
    assert not audit["leaks"]
    assert all(pair["parents"] == 0 for pair in audit["pairs"].values())
    metrics = json.loads((run / "evaluation" / "test-store" / "metrics.json").read_text())["targets"]["settlements"]
    assert metrics["pixels"] == 256
    for name in ("accuracy", "auroc", "f1", "iou", "recall"):
        assert metrics["metrics"][name] is not None
    assert "f1/settlements without electricity" in metrics["metrics"]
    folder = run / "predictions" / net
    pictures = sorted(path.name for path in folder.glob("*.png"))
    assert len(pictures) == 2
    tile = pictures[0].removesuffix("_restitched.png")
    with rasterio.open(folder / f"{tile}-settlements.tif") as prediction:
        assert prediction.shape == (16, 16)
        assert prediction.read(1).max() <= 3
    with rasterio.open(folder / f"{tile}-settlements-truth.tif") as dataset:
        restitched = dataset.read(1)
    np.testing.assert_array_equal(restitched, np.asarray(Image.open(f"tiles/Train/{tile}/groundTruth.tif")) - 1)


def test_a_whole_tile_is_predicted_in_windows_of_whole_cells(here):
    (run,) = Path("runs/_runs").glob("unet-*")
    assert main(["predict", str(run), "Tile2", "predict.window=33", "predict.overlap=7"]) == 0
    with rasterio.open(run / "predictions" / "Tile2-settlements.tif") as dataset:
        labels = dataset.read(1)
    assert labels.shape == (SIDE, SIDE)
    np.testing.assert_array_equal(labels, labels[2::5, 2::5].repeat(5, 0).repeat(5, 1))


@pytest.mark.parametrize(("words", "text"), [
    (["generate", "dfc2021"], "name the one to make: graticule generate dfc2021 --root FOLDER"),
    (["generate", "dfc2021", "--root", "x", "--tiles", "0"], "0 tiles cannot be made; give --tiles 1 or more"),
    (["generate", "dfc2021", "--root", "x", "--size", "81"], "images of 81 pixels do not hold 16 cells a side"),
    (["generate", "dfc2021", "--root", "x", "--size", "8x8"], "--size is '8x8'; it must be the side of the images"),
    (["prepare", *SMALL, "source.tile_size_gt=5", "data.store=x"], "source.tile_size_gt is 5; sub-tiles of so many"),
    (["prepare", *SMALL, "source.preprocess=best", "data.store=x"], "source.preprocess is 'best'"),
    (["prepare", *SMALL, "source.tile_size_gt=8"], "was prepared with source.tile_size_gt=4"),
    (["train", *SMALL, "data.augment.crop=7"], "give a multiple of 5 as side of windows, overlaps and crops"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(here, capsys, words, text):
    assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("graticule: error: ")
    assert text in said
    assert not Path("x").exists()


def test_a_truncated_image_is_one_line_and_leaves_no_store(here, capsys, tmp_path):
    shutil.copytree("tiles", tmp_path / "tiles")
    path = tmp_path / "tiles" / "Train" / "Tile2" / "DNB_VNP46A1_A2020217.tif"
    path.write_bytes(path.read_bytes()[:3000])
    assert main(["prepare", *SMALL, f"source.root={tmp_path / 'tiles'}", f"data.store={tmp_path / 'store'}"]) == 2
    assert f"{path} cannot be read as a raster" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
