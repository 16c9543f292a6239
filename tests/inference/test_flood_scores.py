"""Masks of water against labels of where it cannot, must and may stand: from photographs to what is shown."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from graticule.cli import main
from graticule.data.datamodule import DataModule
from graticule.data.prepare import prepare
from graticule.data.sources.photos import PhotosSource
from graticule.data.splits import assign
from graticule.data.town_files import write_town
from graticule.inference.evaluate import EvaluateOptions, evaluate


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """The folder of five small photographs of each domain, prepared."""
    folder = tmp_path_factory.mktemp("town")
    write_town(folder / "streets", images=5, height=16, width=16, seed=1)
    for domain in ("s", "r"):
        lists = {part: str(folder / "streets" / f"{part}_{domain}.json") for part in ("train", "val", "test")}
        source = PhotosSource(**lists, size=(16, 16), depth_code="unity")
        prepare(source, folder / f"store-{domain}", progress=False)
    return folder


class Floods:
    """Says that water is where it must be, and in one column more."""

    grid_kind, base_pixels, bands = "raster", None, ()

    def __init__(self, targets, labels):
        self.targets, self.labels = targets, labels

    def predict(self, x, seen=None):
        must = self.labels[: len(x)] == 1
        must[..., 0] = True
        return {"mask": torch.from_numpy(must[:, None].astype(np.float32))}


def test_the_test_part_is_scored_image_by_image_and_pooled(town, tmp_path):
    from graticule.data.store import Store

    store = Store.open(town / "store-r")
    split = assign(store, method="published")
    assert [len(split.samples(part)) for part in ("train", "val", "test")] == [3, 1, 1]
    data = DataModule(store, split, targets=["mask"])
    own = Store.open(town / "store-s")
    data.like = DataModule(own, assign(own, method="published"), targets=["mask"])  # r's train part has no labels
    labels = store.read(split.samples("test"), arrays=["must_may"])["must_may"]
    content = evaluate(
        Floods(data.targets, labels), data, "test", tmp_path, EvaluateOptions(bootstrap=0, progress=False)
    )
    flood = content["targets"]["mask"]["flood"]
    false = (labels[..., 0] == 0).sum()
    assert flood["images"] == 1
    assert flood["pooled"]["missed"] == 0
    assert flood["pooled"]["error"] == pytest.approx(false / labels.size, abs=1e-6)
    assert flood["pooled"]["false"] == pytest.approx(false / (labels == 0).sum(), abs=1e-6)
    assert set(flood["by_image"]) == {"r/x/00004"}
    means = [entry["false"] for entry in flood["by_image"].values()]
    assert flood["mean"]["false"] == pytest.approx(np.mean(means), abs=1e-6)
    assert json.loads((tmp_path / "metrics.json").read_text())["targets"]["mask"]["flood"] == flood


def test_a_run_on_simulated_streets_is_evaluated_on_the_other_domain(town, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "source=photos", f"source.train={town}/streets/train_s.json", f"data.store={town}/store-s", "split=published",
        "model=pixel", "data.targets=[mask]", "data.batch_size=3", "trainer=cpu", "trainer.max_epochs=1",
        "callbacks=quiet", "evaluate.bootstrap=0", "evaluate.examples=1",
    ]  # fmt: skip
    assert main(["train", *words]) == 0
    run = capsys.readouterr().out.strip().splitlines()[-1]
    assert main(["evaluate", run, f"data.store={town}/store-r"]) == 0
    shown = capsys.readouterr().out
    assert "flood edge_coherence" in shown
    folder = tmp_path / run / "evaluation" / "test-store-store-r"
    assert str(shown.strip().splitlines()[-1]).endswith("test-store-store-r")
    flood = json.loads((folder / "metrics.json").read_text())["targets"]["mask"]["flood"]
    assert flood["images"] == 1
    assert main(["report", run]) == 0
    assert "Where water cannot, must and may be" in (tmp_path / run / "report.html").read_text()
    own = json.loads((tmp_path / run / "evaluation" / "test-store" / "metrics.json").read_text())
    assert "flood" not in own["targets"]["mask"], "its own store has no such labels"

    Image.new("RGB", (37, 21), (90, 120, 90)).save(tmp_path / "lane.jpg")
    assert main(["predict", run, "lane.jpg", "s/x/00000"]) == 0
    assert np.asarray(Image.open(tmp_path / run / "predictions" / "lane-mask.png")).shape == (21, 37)
    assert (tmp_path / run / "predictions" / "s-x-00000-mask-colour.png").is_file()
    capsys.readouterr()
    assert main(["predict", run, "s/x/0000"]) == 2
    assert "the source photos has no photograph 's/x/0000'; did you mean" in capsys.readouterr().err
