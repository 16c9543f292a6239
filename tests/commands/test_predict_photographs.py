"""A photograph in a file, predicted on the photo and on the sphere by nets of both grids."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graticule.cli import main

CALIBRATION = "street/calibration/calibration/00001_RV.json"
NETS = {
    "camera:16x20": ["model=unet", "model.channels=4", "model.levels=2"],
    "healpix:8": [
        "model=heal_swin", "model.embed_dim=6", "model.depths=[2,2]", "model.num_heads=[1,2]", "model.window_size=4",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=list(NETS))
def run(request, tmp_path_factory):
    """A folder with photographs and the run of a net, whose folder is returned."""
    folder = tmp_path_factory.mktemp("photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DATA_ROOT", "OUTPUT_ROOT"):
            patch.delenv(name, raising=False)
        assert main(["generate", "fisheye", "--root", "street", "--images", "12", "--size", "32x40"]) == 0
        where = [f"source.grid={request.param}", "source.targets=[semantics,depth]", "data.store=store"]
        assert main(["prepare", "source=synwoodscape", "source.root=street", *where]) == 0
        words = ["trainer=cpu", "trainer.max_epochs=1", "evaluate.after_train=false", "split.total_folds=2"]
        words += ["task.values.depth={transform: log, uncertainty: true}", "task.losses={depth: [{name: gaussian}]}"]
        assert main(["train", "data.store=store", "split=random", *words, *NETS[request.param]]) == 0
        shutil.copy("street/rgb_images/rgb_images/00001_RV.png", "mine.png")
    (made,) = (folder / "runs/_runs").iterdir()
    return made


@pytest.fixture
def here(run, monkeypatch):
    monkeypatch.chdir(run.parents[2])
    return run


def test_a_file_and_the_sources_photograph_of_that_name_are_predicted_alike(here, capsys):
    assert main(["predict", str(here), "mine.png", "--calibration", CALIBRATION, "predict.nside=8"]) == 0
    written = [Path(line) for line in capsys.readouterr().out.split()]
    ends = [*(f"semantics{end}" for end in (".png", ".zarr", ".fits", "-colour.png"))]
    for layer in ("depth", "depth-uncertainty"):
        ends += [*(f"{layer}{end}" for end in (".npy", ".zarr", ".fits", "-colour.png"))]
    assert [path.name for path in written] == [f"mine-{end}" for end in ends]
    assert all(path.exists() for path in written)
    labels, depth = np.asarray(Image.open(written[0])), np.load(written[4], allow_pickle=False)
    assert labels.shape == depth.shape == (32, 40)
    assert set(np.unique(labels)) <= {*range(12), 255}
    assert np.array_equal(labels != 255, np.isfinite(depth))
    deviation = np.load(written[8], allow_pickle=False)
    assert np.array_equal(np.isfinite(depth), np.isfinite(deviation))
    assert np.nanmin(depth) > 0
    assert np.nanmin(deviation) > 0
    assert main(["predict", str(here), "00001_RV", "predict.nside=8"]) == 0
    named = [Path(line) for line in capsys.readouterr().out.split()]
    assert np.array_equal(labels, np.asarray(Image.open(named[0])))
    assert np.array_equal(depth, np.load(named[4], allow_pickle=False), equal_nan=True)


def test_the_deviation_of_depth_is_measured_too(here):
    words = ["evaluate.parts=[val]", "evaluate.bootstrap=0", "evaluate.examples=0"]
    for grid in ("store", "camera:16x20"):
        assert main(["evaluate", str(here), f"evaluate.grid={grid}", *words]) == 0
        (told,) = here.glob(f"evaluation/val-{grid.replace(':', '-')}/metrics.json")
        metrics = json.loads(told.read_text())["targets"]["depth"]["metrics"]
        assert metrics["mean_std"] > 0
        assert 0 <= metrics["within_std"] <= 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mine.png"], r"mine\.png needs the calibration of its camera; add --calibration FILE\.json\."),
        (["mine.png", "--calibration", "no.json"], r"there is no calibration no\.json"),
        (["none.png", "--calibration", CALIBRATION], r"none\.png cannot be read \(No such file"),
        (["small.png", "--calibration", CALIBRATION], r"small\.png has 16 x 20 pixels and its calibration 32 x 40"),
        (["00009_FV"], r"the source 'synwoodscape' has no photograph '00009_FV'; did you mean"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(here, capsys, words, told):
    Image.open("mine.png").resize((20, 16)).save("small.png")
    assert main(["predict", str(here), *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(told, line)
