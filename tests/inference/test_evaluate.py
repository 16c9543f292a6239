import json

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

import worlds
from graticule.data.datamodule import DataModule
from graticule.data.splits import assign
from graticule.errors import GridError
from graticule.grids import RasterGrid
from graticule.inference.evaluate import EvaluateOptions, evaluate
from graticule.inference.summary import group_labels
from graticule.inference.tally import codes_of

GRIDS = ["store", "scene", "healpix:4", "healpix:16", "raster:5deg", "raster:15deg"]


def options(grid="store", **given):
    return EvaluateOptions(grid=grid, progress=False, **{"bootstrap": 20, **given})


class Says:
    """A task that says something known: the truth (which the world's input tells), a constant, or noise."""

    grid_kind, base_pixels = "raster", None
    bands = ()

    def __init__(self, targets, saying, label=0, value=0.0):
        self.targets, self.saying, self.label, self.value = targets, saying, label, value

    def predict(self, x, seen=None):
        labels, height = x[:, 0].long() % 3, x[:, 1].clone()
        if self.saying == "constant":
            labels, height = torch.full_like(labels, self.label), torch.full_like(height, self.value)
        probabilities = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
        if self.saying == "noise":
            noise = torch.sin(x[:, 1:] * torch.arange(1, 4)[:, None, None])
            probabilities = torch.softmax(probabilities + noise, 1)
            height = height + torch.sin(x[:, 0])
        return {"landcover": probabilities, "height": height}


def telling_world(make, path, space, **given):
    """A world whose input tells the truth: the class is the first band modulo 3, the height the second band."""

    def x(number):
        return np.random.default_rng(number).integers(0, 200, (2, *space)).astype(np.uint8)

    def y(number):
        labels = (x(number)[0] % 3).astype(np.uint8)
        labels[x(number)[1] < 20] = 255
        return labels

    return make(path, x=x, y=y, height=lambda number: x(number)[1].astype(np.float32), **given)


@pytest.fixture(scope="module", params=["raster", "healpix"])
def store(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "world"
    if request.param == "raster":
        return telling_world(worlds.raster_world, path, (6, 6))
    return telling_world(worlds.healpix_world, path, (16,))


@pytest.fixture(scope="module", params=["random", "block"])
def datamodule(request, store):
    return DataModule(store, assign(store, method=request.param, by=30.0 if request.param == "block" else 0.3, seed=1))


@pytest.mark.parametrize("area_weighted", [True, False])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_perfect_predictor_is_perfect_on_any_grid(datamodule, grid, area_weighted, tmp_path):
    said = evaluate(
        Says(datamodule.targets, "truth"), datamodule, "test", tmp_path, options(grid, area_weighted=area_weighted)
    )
    cover, height = said["targets"]["landcover"], said["targets"]["height"]
    for name in ("accuracy", "iou", "f1", "kappa"):
        assert cover["metrics"][name] == pytest.approx(1.0), name
    # Exchanged probabilities are shares of area: right, but not sure.
    if grid in ("store", "scene"):
        assert cover["metrics"]["auroc"] == pytest.approx(1.0)
        assert cover["metrics"]["calibration_error"] == pytest.approx(0.0, abs=1e-6)
    assert height["metrics"]["rmse"] == pytest.approx(0.0, abs=1e-4)
    assert cover["intervals"]["iou"] == pytest.approx([1.0, 1.0])
    assert np.trace(cover["confusion"]) == pytest.approx(np.sum(cover["confusion"]))
    assert said["pixels"] > 0


@pytest.mark.parametrize("grid", GRIDS)
def test_a_constant_predictor_is_the_baseline(datamodule, grid, tmp_path):
    label = int(datamodule.statistics.pixels["landcover"].sum(0).argmax())
    mean = next(t.mean for t in datamodule.targets if t.name == "height")
    said = evaluate(Says(datamodule.targets, "constant", label, mean), datamodule, "test", tmp_path, options(grid))
    for name, baseline in (("landcover", "majority"), ("height", "mean")):
        own, base = said["targets"][name]["metrics"], said["targets"][name]["baseline"][baseline]
        assert own.keys() == base.keys()
        for key, value in own.items():
            same = value is None and base[key] is None
            assert same or value == pytest.approx(base[key], rel=1e-5, abs=1e-5), key
    assert said["baseline"] == said["targets"]["landcover"]["baseline"]


def test_numbers_agree_with_scikit_learn(datamodule, tmp_path):
    store, rows = datamodule.store, datamodule.assignment.samples("test").tolist()
    task = Says(datamodule.targets, "noise")
    said = evaluate(task, datamodule, "test", tmp_path, options())
    truth, predicted, weight, error = [], [], [], []
    for row in rows:
        read = store.read([row])
        mask = datamodule.assignment.mask(store, row, "test")
        mask = np.ones(store.space, bool) if mask is None else mask
        # A pixel's answer depends on that pixel alone here, so that the layout does not matter.
        flat = torch.from_numpy(read["x"].astype(np.float32)).reshape(1, 2, 1, -1)
        answer = task.predict(flat)
        known = (read["y"][0] != 255) & mask
        truth.append(read["y"][0][known])
        predicted.append(answer["landcover"][0].argmax(0).numpy().reshape(store.space)[known])
        weight.append(store.grid(row).areas()[known])
        distance = np.abs(answer["height"][0].numpy().reshape(store.space) - read["height"][0])
        error.append(np.stack([distance, store.grid(row).areas()])[:, mask])
    truth, predicted, weight = (np.concatenate(parts) for parts in (truth, predicted, weight))
    found = said["targets"]["landcover"]["metrics"]
    assert said["pixels"] == len(truth)
    assert 0.3 < found["accuracy"] < 0.99
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted, sample_weight=weight))
    assert found["iou"] == pytest.approx(
        sklearn_metrics.jaccard_score(truth, predicted, average="macro", sample_weight=weight), rel=1e-5
    )
    distance, area = np.concatenate(error, axis=1)
    assert said["targets"]["height"]["metrics"]["mae"] == pytest.approx(np.average(distance, weights=area), rel=1e-5)


def test_groups_add_up_to_the_whole(datamodule, tmp_path):
    said = evaluate(Says(datamodule.targets, "noise"), datamodule, "test", tmp_path, options())
    entry, sums = said["targets"]["landcover"], np.load(tmp_path / "sums.npz", allow_pickle=False)
    total = sums["landcover/confusion"].sum((0, 1, 2))
    assert np.sum(entry["confusion"]) == pytest.approx(total)
    for axis, table in (("parent", "by_parent"), ("region", "by_region"), ("latitude", "by_latitude")):
        names = sums[f"landcover/{axis}"]
        assert set(entry[table]) == set(names)
        weights = {n: sums["landcover/confusion"][names == n].sum() for n in set(names)}
        mean = sum(entry[table][n]["accuracy"] * weights[n] for n in weights) / total
        assert mean == pytest.approx(entry["metrics"]["accuracy"])
    metadata, rows = datamodule.store.metadata, datamodule.assignment.samples("test").tolist()
    assert set(sums["landcover/parent"]) <= set(metadata["parent"].iloc[rows])
    low, high = entry["intervals"]["accuracy"]
    assert low < entry["metrics"]["accuracy"] < high


def test_area_does_not_depend_on_the_grid(datamodule, tmp_path):
    # What is known covers the same ground wherever it is summed, but for pixels that reach over coasts of the part.
    areas = {}
    for grid in ("store", "raster:5deg", "healpix:16"):
        said = evaluate(Says(datamodule.targets, "truth"), datamodule, "test", tmp_path, options(grid, bootstrap=0))
        areas[grid] = np.sum(said["targets"]["landcover"]["confusion"])
    assert areas["raster:5deg"] == pytest.approx(areas["store"], rel=0.15)
    assert areas["healpix:16"] == pytest.approx(areas["store"], rel=0.15)


def test_the_folder_of_an_evaluation(datamodule, tmp_path):
    said = evaluate(Says(datamodule.targets, "noise"), datamodule, "val", tmp_path / "e", options(), checkpoint="last")
    written = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(said))
    assert "NaN" not in (tmp_path / "e" / "metrics.json").read_text()
    assert (written["part"], written["grid"], written["checkpoint"]) == ("val", "store", "last")
    assert set(written["targets"]["landcover"]["calibration"]) == {"bins", "confidence", "accuracy", "weight"}
    assert written["targets"]["height"]["unit"] == "m"
    examples = np.load(tmp_path / "e" / "examples.npz", allow_pickle=False)
    side = round(np.prod(datamodule.store.space) ** 0.5)
    n = len(examples["sample_id"])
    assert 1 <= n <= 8
    assert examples["rgb"].shape == (n, side, side, 3)
    for name in ("landcover", "height"):
        assert examples[f"{name}/truth"].shape == examples[f"{name}/prediction"].shape == (n, side, side)
    assert examples["landcover/truth"].dtype == np.uint8
    assert set(np.unique(examples["landcover/truth"])) <= {0, 1, 2, 255}


def test_turned_windows_give_the_same_where_pixels_speak_for_themselves(datamodule, tmp_path):
    task = Says(datamodule.targets, "noise")
    plain = evaluate(task, datamodule, "test", tmp_path, options())
    turned = evaluate(task, datamodule, "test", tmp_path, options(tta=True))
    found, wanted = (said["targets"]["landcover"]["metrics"]["iou"] for said in (turned, plain))
    assert found == pytest.approx(wanted, abs=1e-6)


def test_overlapping_samples_count_each_pixel_of_the_scene_once(tmp_path):
    grid = RasterGrid(8, 12, (5.0, 0, 0, 0, -5.0, 20), "EPSG:4326")
    places = [(0, 0), (0, 4), (0, 6), (2, 2)]
    world = np.random.default_rng(0).integers(0, 200, (2, 8, 12)).astype(np.uint8)
    cut = [world[:, r : r + 6, c : c + 6] for r, c in places]
    samples = [("s", place, f"p{n}", "all") for n, place in enumerate(places)]
    store = worlds.write_store(
        tmp_path / "w", {"s": grid}, samples, (6, 6), x=lambda n: cut[n], y=lambda n: (cut[n][0] % 3).astype(np.uint8),
        height=lambda n: cut[n][1].astype(np.float32),
    )  # fmt: skip
    datamodule = DataModule(store, assign(store, method="none", fold_method="none"))
    task = Says(datamodule.targets, "noise")
    by_sample = evaluate(task, datamodule, "test", tmp_path / "a", options(area_weighted=False))
    by_scene = evaluate(task, datamodule, "test", tmp_path / "b", options("scene", area_weighted=False))
    covered = np.zeros((8, 12), bool)
    for r, c in places:
        covered[r : r + 6, c : c + 6] = True
    assert by_sample["pixels"] == 4 * 36
    assert by_scene["pixels"] == covered.sum()
    answer = task.predict(torch.from_numpy(world.astype(np.float32))[None])["landcover"][0].argmax(0).numpy()
    right = (answer == world[0] % 3)[covered].mean()
    assert by_scene["targets"]["landcover"]["metrics"]["accuracy"] == pytest.approx(right)


def test_groups_name_parent_region_and_latitude():
    codes = codes_of(np.array([0, 1, -1, 1]), np.array([-90.0, 89.9, 0.0, np.nan]))
    assert codes[2] == -1
    labels = group_labels(codes[[0, 1, 3]], [("p0", "a"), ("p1", "b")])
    assert labels["parent"].tolist() == ["p0", "p1", "p1"]
    assert labels["region"].tolist() == ["a", "b", "b"]
    assert labels["latitude"].tolist() == ["-90..-75", "75..90", "unknown"]


def test_a_grid_that_does_not_exist_is_refused(datamodule, tmp_path):
    with pytest.raises(GridError):
        evaluate(Says(datamodule.targets, "truth"), datamodule, "test", tmp_path, options("hexagons:7"))
    assert list(tmp_path.iterdir()) == []
