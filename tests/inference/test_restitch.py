import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from sklearn.metrics import f1_score, roc_auc_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score, MulticlassJaccardIndex

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.prepare import prepare
from graticule.data.sources.dfc2021 import LEGEND, DFC2021Source
from graticule.data.splits import assign
from graticule.errors import ConfigError, GridError
from graticule.grids import RasterGrid
from graticule.inference.canvases import Canvases
from graticule.inference.evaluate import EvaluateOptions, evaluate
from graticule.inference.exchange import Canvas
from graticule.inference.options import PredictOptions, on_whole_cells
from graticule.inference.pictures import overview_grid
from graticule.inference.restitch import Restitch, Restitched, grid_of_cells, of_cells
from graticule.inference.samples import Samples
from graticule.reporting.scenes import draw_scene
from graticule.schema import SEEN, TARGETS, VALID, Target, X
from tile_world import SIDE, small_tiles

NAMES = [entry.name for entry in LEGEND]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three small tiles in sub-tiles of 4 x 4 cells: one each to train, validate and test; augmented in training."""
    folder = tmp_path_factory.mktemp("restitch")
    source = DFC2021Source(
        str(small_tiles(folder / "tiles", tiles=3)), size=SIDE, bands={"sentinel2": ["04", "03", "02"]}, dates=1
    )
    store = prepare(source, folder / "store", progress=False)
    assignment = assign(store, method="random", by=0.34, total_folds=2)
    return source, DataModule(store, assignment, batch_size=3, augment=Augment(d4=True, brightness=0.4), seed=1)


class FromX(torch.nn.Module):
    """Probabilities of cells that are a function of the input alone, a different one at each cell."""

    grid_kind, base_pixels = "raster", None

    def __init__(self, datamodule):
        super().__init__()
        self.bands, self.targets = datamodule.bands, datamodule.targets

    def predict(self, x, seen=None):
        mean = torch.nn.functional.avg_pool2d(x[:, :3], 5)
        logits = 9 * torch.cat([mean, mean.sum(1, keepdim=True) - 1], 1)
        return {"settlements": logits.softmax(1).repeat_interleave(5, -1).repeat_interleave(5, -2)}


def draw(scene: Restitched) -> np.ndarray:
    return draw_scene(scene.name, scene.rgb, scene.truth, scene.prediction, scene.target)


@pytest.fixture(scope="module")
def evaluated(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    source, datamodule = data
    task = FromX(datamodule)
    restitch = Restitch(folder / "predictions", datamodule.bands, draw)
    options = EvaluateOptions(bootstrap=0, progress=False)
    found = evaluate(task, datamodule, "val", folder / "store", options, restitch=restitch)
    scene = evaluate(task, datamodule, "val", folder / "scene", EvaluateOptions("scene", bootstrap=0, progress=False))
    (name,) = {datamodule.store.metadata["parent"].iat[row] for row in datamodule.assignment.samples("val")}
    return source, datamodule, task, folder / "predictions", name, found, scene


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset


def test_a_round_trip_through_sub_tiles_is_exact(data):
    """Cut, predicted, put together: the input, the truth and the probabilities of the whole tile, to the last bit."""
    source, datamodule = data
    task, samples = FromX(datamodule), Samples(datamodule, "val", datamodule.targets)
    canvases, found = Canvases(samples, range(3)), {}
    for batch, predictions in samples.predicted(task.predict, "", False):
        for row, canvas in canvases.add(batch, predictions):
            found[samples.scene(row)] = canvas
    (name,) = found
    canvas = found[name]
    assert (canvas.blended() == 1).all()
    whole = source.read_scene(name).read(0, 0, SIDE, SIDE)[0]
    np.testing.assert_array_equal(canvas.x, whole)
    np.testing.assert_array_equal(canvas.truth["settlements"], source.truth(name)["y"])
    by_tile = {
        place: task.predict(torch.from_numpy(whole[None, :, place[0] : place[0] + 20, place[1] : place[1] + 20].copy()))
        for place in [(row, col) for row in range(0, SIDE, 20) for col in range(0, SIDE, 20)]
    }
    for (row, col), window in by_tile.items():
        np.testing.assert_array_equal(
            canvas.fields["settlements"][:, row : row + 20, col : col + 20], window["settlements"][0].numpy()
        )


def test_the_maps_are_16_by_16_with_truth_prediction_and_error(evaluated):
    source, _, task, folder, name, *_ = evaluated
    truth, dataset = read(folder / f"{name}-settlements-truth.tif")
    np.testing.assert_array_equal(truth[0], source.tiles[name].labels())
    assert dataset.transform[0] == 500
    x = torch.from_numpy(source.read_scene(name).read(0, 0, SIDE, SIDE)[0])[None]
    expected = task.predict(x)["settlements"][0].argmax(0).numpy()[2::5, 2::5]
    prediction, dataset = read(folder / f"{name}-settlements.tif")
    np.testing.assert_array_equal(prediction[0], expected)
    with rasterio.open(folder / f"{name}-settlements.tif") as opened:
        assert opened.tags()["CLASS_0"] == "settlements without electricity"
        assert opened.colormap(1)[2] == (255, 255, 0, 255)
    error, _ = read(folder / f"{name}-settlements-error.tif")
    np.testing.assert_array_equal(error[0], truth[0] != prediction[0])
    rgb, dataset = read(folder / f"{name}-rgb.tif")
    assert rgb.shape == (3, SIDE, SIDE)
    assert dataset.transform[0] == 100
    red = x[0, 0].numpy()
    assert np.corrcoef(rgb[0].ravel(), red.ravel())[0, 1] > 0.9


def test_the_picture_shows_four_panels(evaluated):
    *_, folder, name, _, _ = evaluated
    picture = np.asarray(Image.open(folder / f"{name}_restitched.png"))
    assert picture.shape[1] > 3 * picture.shape[0] > 1000
    for colour in [(255, 0, 0), (0, 0, 255), (255, 255, 0), (178, 102, 255), (0xD0, 0x3B, 0x2B), (0xD9, 0xDD, 0xDF)]:
        assert (picture == colour).all(-1).sum() > 100, colour


def test_evaluation_sees_the_samples_as_they_are(data):
    """Training turns and brightens; validation and test never do."""
    _, datamodule = data
    for part in ("val", "test"):
        batch = next(iter(datamodule.part_dataloader(part)))
        stored = datamodule.store.read(batch["index"].tolist())
        np.testing.assert_array_equal(batch[X], stored["x"])
        np.testing.assert_array_equal(batch[TARGETS]["settlements"], stored["y"])
        assert batch[SEEN].all()
        assert batch[VALID]["settlements"].all()


def test_all_metrics_of_the_course_agree_with_torchmetrics_and_scikit_learn(evaluated):
    source, _, task, _, name, found, _ = evaluated
    x = torch.from_numpy(source.read_scene(name).read(0, 0, SIDE, SIDE)[0])[None]
    scores = task.predict(x)["settlements"][0, :, 2::5, 2::5].reshape(4, -1).T
    truth = torch.from_numpy(source.tiles[name].labels().astype(np.int64)).reshape(-1)
    entry = found["targets"]["settlements"]
    assert entry["pixels"] == 256
    got = entry["metrics"]
    options = {"num_classes": 4}
    np.testing.assert_allclose(
        got["accuracy"], MulticlassAccuracy(**options, average="micro")(scores, truth), atol=1e-6
    )
    for key, kind in (("recall", MulticlassAccuracy), ("f1", MulticlassF1Score), ("iou", MulticlassJaccardIndex)):
        np.testing.assert_allclose(got[key], kind(**options, average="macro")(scores, truth), atol=1e-6)
        single = kind(**options, average=None)(scores, truth)
        np.testing.assert_allclose([got[f"{key}/{own}"] for own in NAMES], single, atol=1e-6)
    # Areas under curves are those of scores in 256 steps.
    steps = (scores * 256).floor().clamp(max=255) / 256
    np.testing.assert_allclose(got["auroc"], MulticlassAUROC(**options, average="macro")(steps, truth), atol=1e-6)
    for label, own in enumerate(NAMES):
        np.testing.assert_allclose(got[f"auroc/{own}"], roc_auc_score(truth == label, steps[:, label]), atol=1e-6)
    contest = f1_score(truth == 0, scores.argmax(1) == 0)
    np.testing.assert_allclose(got["f1/settlements without electricity"], contest, atol=1e-6)


def test_windows_and_scenes_count_the_same_cells(evaluated):
    *_, found, scene = evaluated
    first, second = (result["targets"]["settlements"] for result in (found, scene))
    assert first["pixels"] == second["pixels"] == 256
    np.testing.assert_allclose(first["confusion"], second["confusion"], rtol=1e-6)


def test_tiles_without_a_place_are_not_brought_onto_the_earth(data, tmp_path):
    _, datamodule = data
    options = EvaluateOptions("healpix:16", bootstrap=0, progress=False)
    with pytest.raises(GridError, match=r"scene 'Tile1' has no place on the Earth.*take evaluate.grid=store"):
        evaluate(FromX(datamodule), datamodule, "val", tmp_path, options)


def test_values_are_drawn_and_written_too(tmp_path):
    target = Target("height", "height", unit="m")
    grid = RasterGrid(8, 8, (10.0, 0.0, 5e5, 0.0, -10.0, 4e6), "EPSG:32633")
    truth = np.arange(64, dtype=np.float32).reshape(8, 8)
    truth[0, 0] = np.nan
    canvas = Canvas(grid, (8, 8), (target,), overlaps=False)
    x, seen = np.random.default_rng(0).random((3, 8, 8), np.float32), np.ones((8, 8), bool)
    canvas.add((0, 0), {"height": np.full((8, 8), 30, np.float32)}, {"height": truth}, seen, 0, x)
    files = Restitch(tmp_path, [], draw).add("a/b", canvas)
    assert sorted(path.name for path in files) == [
        "a-b-height-error.tif", "a-b-height-truth.tif", "a-b-height.tif", "a-b-rgb.tif", "a-b_restitched.png",
    ]  # fmt: skip
    error, dataset = read(tmp_path / "a-b-height-error.tif")
    np.testing.assert_array_equal(error[0], 30 - truth)
    assert dataset.crs.to_epsg() == 32633


def test_scenes_of_parts_of_cells_are_refused():
    target = Target("y", "classes", LEGEND, cell=4)
    grid = RasterGrid.local(10, 8, 1.0)
    with pytest.raises(ConfigError, match="a scene of 10 x 8 pixels is not one of whole cells"):
        grid_of_cells(grid, target)
    with pytest.raises(GridError, match="a scene of 10 x 8 pixels is not one of whole cells"):
        on_whole_cells(PredictOptions(), [target], grid)
    np.testing.assert_array_equal(of_cells(np.arange(16).reshape(4, 4), target), [[10]])


def test_windows_of_a_prediction_are_of_whole_cells():
    target, grid = Target("y", "classes", LEGEND, cell=50), RasterGrid.local(800, 800, 10.0)
    found = on_whole_cells(PredictOptions(reflection=10), [target], grid)
    assert (found.window, found.overlap, found.reflection) == (300, 50, 50)
    plain = PredictOptions()
    assert on_whole_cells(plain, [Target("y", "classes", LEGEND)], grid) is plain


def test_the_overview_of_a_raster_without_a_place_is_on_its_own_pixels():
    found = overview_grid(RasterGrid.local(800, 800, 10.0))
    assert found.is_local
    assert found.shape == (267, 267)
    assert found.transform[0] == 30.0
