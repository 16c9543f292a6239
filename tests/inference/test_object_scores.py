"""Objects of an evaluation: whole on scenes, in pieces on windows."""

import numpy as np
import pytest
import torch

import worlds
from graticule.data.datamodule import DataModule
from graticule.data.splits import assign
from graticule.inference.evaluate import EvaluateOptions, evaluate


class Says:
    """Tells the truth that the first band holds, with 0.8 for yes and 0.3 for no."""

    grid_kind, base_pixels, bands = "raster", None, ()

    def __init__(self, targets, kind="binary"):
        self.targets, self.kind = targets, kind

    def predict(self, x, seen=None):
        yes = torch.where(x[:, :1] > 0, 0.8, 0.3)
        return {"spot": yes if self.kind == "binary" else torch.cat([1 - yes, yes], 1)}


@pytest.fixture(scope="module")
def datamodule(tmp_path_factory):
    store = worlds.spotted_world(tmp_path_factory.mktemp("spots") / "store")
    return DataModule(store, assign(store, method="region", by=["r1"], seed=0, total_folds=2))


def said(datamodule, folder, **options):
    options = EvaluateOptions(**{"bootstrap": 20, "examples": 0, "progress": False, **options})
    return evaluate(Says(datamodule.targets), datamodule, "test", folder, options)


def test_objects_are_whole_on_scenes_and_cut_on_windows(datamodule, tmp_path):
    scene, window = (said(datamodule, tmp_path, grid=grid)["targets"]["spot"]["objects"] for grid in ("scene", "store"))
    assert (scene["on"], window["on"]) == ("scenes", "windows")
    assert (scene["boundary_pixels"], scene["connectivity"], scene["threshold"]) == (1, 8, 0.5)
    whole, cut = scene["classes"]["spot"], window["classes"]["spot"]
    assert whole["metrics"]["truths"] == 2 * 3  # two scenes of region r1
    assert cut["metrics"]["truths"] == 2 * (4 + 1 + 1)
    for told in (whole, cut):
        assert told["metrics"]["f1@0.3"] == told["metrics"]["average_precision@0.5"] == 1
        assert told["intervals"]["f1@0.5"] == [1, 1]
        assert told["by_region"]["r1"]["truths"] == told["metrics"]["truths"]
        assert told["curve"]["0.5"] == {"recall": [1], "precision": [1]}


def test_a_threshold_that_takes_all_makes_one_object_of_a_scene(datamodule, tmp_path):
    told = said(datamodule, tmp_path, grid="scene", threshold=0.2)
    entry = told["targets"]["spot"]
    assert entry["objects"]["classes"]["spot"]["metrics"]["predictions"] == 2
    assert entry["threshold"] == entry["objects"]["threshold"] == 0.2
    assert entry["metrics"]["recall"] == 1
    assert entry["metrics"]["precision"] == pytest.approx(19 / 576, rel=0.01)
    assert entry["confusion"][0][0] == entry["confusion"][1][0] == 0
    # The best threshold does not depend on the one that was asked for.
    assert 0.3 < entry["metrics"]["best_threshold"] <= 0.8
    assert entry["metrics"]["best_f1"] == 1


def test_curves_and_names_of_darts_are_in_the_result(datamodule, tmp_path):
    told = said(datamodule, tmp_path, grid="scene")
    curve = told["targets"]["spot"]["curves"]
    assert len(curve["recall"]) == len(curve["threshold"]) == 257
    assert np.interp(0.5, curve["false_positive_rate"], curve["recall"]) == 1
    assert told["darts"]["test/JaccardIndex"] == told["darts"]["test/InstanceF1Score"] == 1


def test_no_objects_where_they_are_not_wanted_or_would_be_exchanged(datamodule, tmp_path):
    assert "objects" not in said(datamodule, tmp_path, objects=False)["targets"]["spot"]
    assert "objects" not in said(datamodule, tmp_path, grid="raster:10deg")["targets"]["spot"]
