import json

import numpy as np
import pytest
import torch

from graticule.data.datamodule import DataModule
from graticule.data.prepare import prepare
from graticule.data.sources.synwoodscape import SynWoodScapeSource
from graticule.data.splits import assign
from graticule.data.street_files import write_street
from graticule.errors import ConfigError, GridError
from graticule.grids import HealpixGrid
from graticule.inference.chamfer import chamfer_distance, cloud
from graticule.inference.evaluate import EvaluateOptions, evaluate
from graticule.inference.guide import class_measures, guide_names, value_counts, value_measures
from graticule.inference.photographs import Place, base_pixels_of

CHAMFERS = ["best_chamfer_distance", "best_chamfer_distance_full_res", "best_chamfer_distance_full_res_hp_masked"]


class Knows:
    """A task that says what the store says of the sample that it sees, whichever that is; or one thing."""

    def __init__(self, store, constant=None):
        self.targets, self.bands, self.store, self.constant = store.targets, store.bands, store, constant
        self.grid_kind, self.base_pixels = ("healpix" if len(store.space) == 1 else "raster"), None
        read = store.read(range(len(store)))
        self.known = {read["x"][number].tobytes(): number for number in range(len(store))}
        self.read = read

    def predict(self, x, seen=None):
        rows = [self.known[sample.numpy().astype(np.uint8).tobytes()] for sample in x]
        labels = torch.from_numpy(self.read["y"][rows].astype(np.int64))
        depth = torch.from_numpy(self.read["depth"][rows]).nan_to_num(5.0)
        if self.constant is not None:
            labels, depth = torch.full_like(labels, self.constant), torch.full_like(depth, 5.0)
        classes = self.targets[0].channels
        return {
            "semantics": torch.nn.functional.one_hot(labels.clamp(max=classes - 1), classes).movedim(-1, 1).float(),
            "depth": depth,
        }


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street")
    write_street(folder / "street", images=12, height=48, width=64)
    return folder / "street"


@pytest.fixture(scope="module", params=["camera:24x32", "camera", "healpix:16"])
def world(request, street, tmp_path_factory):
    source = SynWoodScapeSource(str(street), targets=("semantics", "depth"), grid=request.param)
    store = prepare(source, tmp_path_factory.mktemp("store") / "store", progress=False)
    return source, DataModule(store, assign(store, method="random", by=0.3, seed=1, fold_method="none"))


def run(world, folder, grid, task=None, **given):
    source, datamodule = world
    options = EvaluateOptions(grid=grid, progress=False, bootstrap=0, examples=0, **given)
    return evaluate(
        task or Knows(datamodule.store), datamodule, "test", folder, options, checkpoint="best.ckpt",
        truth_of=lambda name: source.photo(name).arrays,
    )  # fmt: skip


def test_each_photograph_is_evaluated_for_itself(world, tmp_path):
    # Photographs of one camera share a scene: were they blended, a perfect predictor would not be perfect.
    for grid in ("store", "scene", "store:masked"):
        said = run(world, tmp_path, grid, chamfer=True)
        assert said["targets"]["semantics"]["metrics"]["accuracy"] == 1.0
        assert said["targets"]["depth"]["metrics"]["rmse"] == pytest.approx(0, abs=1e-4)
        (distance,) = (value for name, value in said["guide"].items() if "chamfer" in name)
        assert distance == pytest.approx(0, abs=1e-9)


def test_a_prediction_on_the_photographs_own_pixels_is_judged_by_the_photograph(world, street, tmp_path):
    """The counts of each grid against the definition, written out pixel by pixel."""
    source, datamodule = world
    store, name = datamodule.store, "semantics"
    task = Knows(store)
    inside = HealpixGrid(1, base_pixels_of(store))
    for grid in ("camera", "camera:20x26", "camera:20x26:masked", "healpix:8"):
        said = run(world, tmp_path, grid, task)
        hit = total = 0
        for row in datamodule.assignment.samples("test").tolist():
            photo = store.metadata["photo"].iat[row]
            camera = source.cameras[store.metadata["scene"].iat[row]]
            place = Place.parse(grid)
            there = place.grid(store.grid(row), camera, base_pixels_of(store))
            lon, lat = there.lonlat()
            truth = source.photo(photo).arrays["y"].reshape(-1)[camera.locate(lon, lat)]
            at = store.grid(row).locate(lon, lat)
            own = task.read["y"][row].reshape(-1)[at].clip(max=11)
            counted = (camera.locate(lon, lat) >= 0) & (truth != 255) & (at >= 0)
            if place.masked:
                counted &= inside.locate(lon, lat) >= 0
            hit, total = hit + int((truth == own)[counted].sum()), total + int(counted.sum())
        assert said["targets"][name]["pixels"] == total, grid
        (accuracy,) = (v for k, v in said["guide"].items() if "acc" in k and "ignored" not in k)
        assert accuracy == pytest.approx(hit / total), grid
        assert accuracy > 0.8


def test_published_names(world, tmp_path):
    on_sphere = world[1].store.space == (8 * 16 * 16,)
    wanted = {"store": "test_iou_global", "healpix:8": "test_iou_projected_to_hp"}
    if on_sphere:
        wanted["camera:20x26:masked"] = "test_back_projected_hp_masked_iou_res_20_26"
        wanted["camera"] = "test_iou_back_projected"
    else:
        wanted["store:masked"] = "test_hp_masked_iou"
    for grid, name in wanted.items():
        said = run(world, tmp_path, grid)
        assert name in said["guide"]
        assert json.loads((tmp_path / "metrics.json").read_text())["guide"][name] == said["guide"][name]
    for grid, name in zip(("store", "camera", "camera:masked"), CHAMFERS, strict=True):
        place = Place.parse(grid)
        told = guide_names({"depth": {"chamfer": 1.0}}, place, part="val", checkpoint="best", on_sphere=True)
        assert told == {name: 1.0}


def test_chamfer_distance_of_true_rays(world, tmp_path):
    """Against every pair of points; the rays from the calibration, not from the store's grid."""
    source, datamodule = world
    store, task = datamodule.store, Knows(datamodule.store, constant=1)
    said = run(world, tmp_path, "camera:masked", task, chamfer=True)
    inside = HealpixGrid(1, base_pixels_of(store))
    for row in datamodule.assignment.samples("test").tolist():
        photo = store.metadata["photo"].iat[row]
        camera = source.cameras[store.metadata["scene"].iat[row]]
        truth = source.photo(photo).arrays["depth"]
        kept = np.isfinite(truth) & (inside.locate(*camera.lonlat()) >= 0)
        first = camera.directions()[kept] * truth[kept][:, None].astype(np.float64)
        own = store.grid(row)
        mask = np.isfinite(task.read["depth"][row]) & (inside.locate(*own.lonlat()) >= 0)
        second = own.directions()[mask] * 5.0
        squared = ((first[:, None] - second[None]) ** 2).sum(-1)
        expected = squared.min(0).mean() + squared.min(1).mean()
        assert said["chamfer"]["depth"][photo] == pytest.approx(expected, rel=1e-6)


def test_chamfer_distance_of_few_points():
    first, second = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 2]])
    assert chamfer_distance(first, second) == pytest.approx((4 + 5) / 2 + 4)
    assert np.isnan(chamfer_distance(first, second[:0]))
    grid = HealpixGrid(1)
    assert len(cloud(grid, np.array([1.0] * 6 + [np.nan] * 3 + [0.0] * 3), np.ones(12, bool))) == 6


def test_class_measures_are_the_published_ones():
    confusion = np.array([[2, 1, 0], [1, 3, 0], [0, 0, 0]])
    found = class_measures(confusion)
    assert found["acc"] == pytest.approx(5 / 7)
    assert found["acc_ignored"] == pytest.approx(3 / 4)
    assert found["iou"] == pytest.approx((2 / 4 + 3 / 5 + 0) / 3)
    assert found["iou_ignored"] == pytest.approx((3 / 5 + 0) / 2)
    assert class_measures(confusion, absent=np.nan)["iou"] == pytest.approx((2 / 4 + 3 / 5) / 2)


def test_value_measures_of_two_pixels():
    found = value_measures(value_counts(np.array([2.0, 2.0]), np.array([1.0, 4.0]), 2.0))
    assert found["mse"] == pytest.approx((1 + 4) / 2)
    assert found["silog"] == pytest.approx(100 * np.log(2))
    assert found["irmse"] == pytest.approx(1000 * np.sqrt((0.25 + 0.0625) / 2))
    assert found["relae"] == pytest.approx(3 / 3)
    assert found["relse"] == pytest.approx(5 / 5)


def test_best_and_worst_photographs_are_drawn(world, tmp_path):
    _, datamodule = world
    options = EvaluateOptions(grid="store", progress=False, bootstrap=0, examples=0, pictures=1, top_k=1, ranking="mse")
    evaluate(
        Knows(datamodule.store, constant=1), datamodule, "test", tmp_path, options, checkpoint="best.ckpt",
        draw=lambda shown: np.zeros((2, 2, 3), np.uint8),
    )  # fmt: skip
    names = sorted(path.stem for path in (tmp_path / "pictures").glob("*.png"))
    assert [name.split("-")[0] for name in names] == ["base", "best", "worst"]
    best, worst = (float(name.rsplit("-", 1)[1]) for name in names[1:])
    assert best < worst


@pytest.mark.parametrize("name", ["camera:0x4", "raster:1deg", "camera:4", "healpix:16:mask"])
def test_a_grid_that_photographs_have_not(name):
    with pytest.raises(GridError, match="is no grid for photographs; write store, camera, camera:HEIGHTxWIDTH"):
        Place.parse(name)


def test_a_ranking_that_no_target_has(world, tmp_path):
    only = [target for target in world[1].store.targets if target.kind == "depth"]
    task = Knows(world[1].store)
    task.targets = only
    with pytest.raises(ConfigError, match=r"evaluate\.ranking is 'iou'"):
        run(world, tmp_path, "store", task, ranking="iou")
