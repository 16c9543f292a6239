import json

import numpy as np
import pytest
import rasterio
import torch
import zarr

from graticule.data.sources.earth import EarthSource
from graticule.errors import GridError, OutputError, SourceError
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference.pictures import display_bands, overview_grid, to_rgb
from graticule.inference.predict import PredictOptions, pick_bands, predict_scene, predictor
from graticule.models import healpix
from graticule.models.healpix import OnHealpix
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction

LEGEND = tuple(LegendClass(k, f"class {k}", "#102030") for k in range(3))
TARGETS = (Target("cover", "classes", LEGEND), Target("height", "height", unit="m", mean=100.0, std=50.0))
BANDS = (Band("red", mean=0.0, std=1.0), Band("green", mean=0.0, std=1.0))
QUIET = PredictOptions(window=8, overlap=2, batch_size=3, progress=False)


class OnePixel(torch.nn.Module):
    """Logits are the bands and their difference; height is the first band: the answer for each pixel is known."""

    def forward(self, x):
        return torch.cat([x, x[:, :1] - x[:, 1:], x[:, :1]], dim=1)


class Scene:
    bands = BANDS

    def __init__(self, grid, seen=None):
        self.grid = grid
        self.x = np.random.default_rng(0).integers(0, 9, (2, *grid.shape)).astype(np.uint8)
        self.seen = np.ones(grid.shape, bool) if seen is None else seen

    def read(self, row, col, height, width):
        return self.x[:, row : row + height, col : col + width], self.seen[row : row + height, col : col + width]

    def cells(self, ids):
        return np.where(ids >= 0, self.x[:, ids], np.uint8(0))

    def answer(self):
        red, green = self.x.astype(np.float32)
        return np.argmax([red, green, red - green], axis=0), red * 50 + 100


def make_task(kind="raster", bands=BANDS):
    net = OnePixel() if kind == "raster" else OnHealpix(OnePixel())
    return DensePrediction(net, bands, TARGETS, grid_kind=kind)


@pytest.mark.parametrize("kind", ["raster", "healpix"])
def test_a_raster_scene_is_predicted_pixel_by_pixel_by_tasks_of_either_grid(tmp_path, kind):
    grid = RasterGrid(37, 23, (10.0, 0.0, 5e5, 0.0, -10.0, 4.2e6), "EPSG:32719")
    seen = np.ones(grid.shape, bool)
    seen[3, 4] = seen[30:, :5] = False
    scene = Scene(grid, seen)
    files = predict_scene(make_task(kind), scene, tmp_path, QUIET, name="a/b")
    assert [file.name for file in files] == ["a-b-cover.tif", "a-b-height.tif", "overview.npz"]
    labels, height = scene.answer()
    with rasterio.open(files[0]) as dataset:
        assert np.array_equal(dataset.read(1), np.where(seen, labels, 255))
    with rasterio.open(files[1]) as dataset:
        assert np.allclose(dataset.read(1)[seen], height[seen], rtol=1e-6)
        assert np.isnan(dataset.read(1)[~seen]).all()


@pytest.mark.parametrize("kind", ["raster", "healpix"])
def test_a_sphere_is_predicted_cell_by_cell_by_tasks_of_either_grid(tmp_path, kind):
    scene = Scene(HealpixGrid(8))
    files = predict_scene(make_task(kind), scene, tmp_path, QUIET, name="earth", truth={"y": scene.x[0] % 3})
    assert [file.name for file in files] == [
        "earth-cover.zarr", "earth-cover.fits", "earth-height.zarr", "earth-height.fits", "overview.npz"
    ]  # fmt: skip
    labels, height = scene.answer()
    assert np.array_equal(zarr.open_group(files[0], mode="r")["cover"][:], labels)
    assert np.allclose(zarr.open_group(files[2], mode="r")["height"][:], height)
    overview = np.load(files[-1], allow_pickle=False)
    grid = RasterGrid.global_(0.5)
    place = scene.grid.locate(*grid.lonlat())
    assert np.array_equal(overview["cover/prediction"], labels[place])
    assert np.array_equal(overview["cover/truth"], (scene.x[0] % 3)[place])
    assert json.loads(str(overview["grid"]))["width"] == 720


def test_turning_windows_and_several_tasks_change_nothing_where_they_agree(tmp_path):
    scene = Scene(HealpixGrid(8))
    options = PredictOptions(window=8, tta=True, progress=False, formats=("zarr",), overview=False)
    files = predict_scene([make_task("healpix"), make_task("raster")], scene, tmp_path, options)
    assert np.array_equal(zarr.open_group(files[0], mode="r")["cover"][:], scene.answer()[0])
    assert len(files) == 2


def test_probabilities_and_their_mean_over_an_ensemble(tmp_path):
    scene = Scene(RasterGrid.global_(10.0))
    first, second = make_task(), make_task()
    second.out_mean += 20.0
    options = PredictOptions(window=8, overlap=2, probabilities="float32", progress=False)
    files = predict_scene([first, second], scene, tmp_path, options)
    assert [f.name for f in files][:3] == ["scene-cover.tif", "scene-cover-probabilities.tif", "scene-height.tif"]
    red, green = scene.x.astype(np.float64)
    logits = np.stack([red, green, red - green])
    wanted = np.exp(logits) / np.exp(logits).sum(0)
    with rasterio.open(files[1]) as dataset:
        assert np.allclose(dataset.read(), wanted, atol=1e-6)
    with rasterio.open(files[2]) as dataset:
        assert np.allclose(dataset.read(1), scene.answer()[1] + 10.0, rtol=1e-6)


def test_a_net_that_has_predicted_can_still_train():
    healpix._orders.cache_clear()
    target = Target("depth", "depth", unit="m")
    task = DensePrediction(OnHealpix(torch.nn.Conv2d(1, 1, 3, padding=1)), [Band("a")], [target], grid_kind="healpix")
    predictor(task)(torch.ones(1, 1, 16), torch.ones(1, 16, dtype=torch.bool))
    task(torch.ones(1, 1, 16))["depth"].sum().backward()
    assert torch.isfinite(task.net.net.weight.grad).all()


def test_bands_are_found_by_name(tmp_path):
    scene = Scene(RasterGrid.global_(10.0))
    scene.bands = (Band("infrared"), Band("green"), Band("red"))
    scene.x = np.stack([np.full(scene.grid.shape, 250, np.uint8), scene.x[1], scene.x[0]])
    files = predict_scene(make_task(), scene, tmp_path, QUIET)
    red, green = scene.x[2].astype(np.float32), scene.x[1].astype(np.float32)
    with rasterio.open(files[0]) as dataset:
        assert np.array_equal(dataset.read(1), np.argmax([red, green, red - green], axis=0))
    with pytest.raises(SourceError, match="the scene has no band 'red', which the model was trained on"):
        pick_bands((Band("rad"), Band("green")), BANDS)


def test_pixels_that_are_not_finite_are_not_seen(tmp_path):
    scene = Scene(RasterGrid.global_(10.0))
    scene.x = scene.x.astype(np.float32)
    scene.x[1, 7, 9] = np.nan
    files = predict_scene(make_task(), scene, tmp_path, QUIET)
    with rasterio.open(files[0]) as dataset:
        assert np.argwhere(dataset.read(1) == 255).tolist() == [[7, 9]]


def test_pixels_that_lack_a_band_of_the_model_are_not_seen(tmp_path):
    """Nodata counts per band, and only of bands that the model takes; on the sphere too."""
    scene = Scene(RasterGrid.global_(10.0))
    scene.bands = (Band("infrared", nodata=0.0), Band("green", nodata=200.0), Band("red"))
    scene.x = np.stack([np.zeros(scene.grid.shape, np.uint8), scene.x[1], scene.x[0]])
    scene.x[1, 7, 9] = scene.x[2, 1, 1] = 200
    with rasterio.open(predict_scene(make_task(), scene, tmp_path, QUIET)[0]) as dataset:
        assert np.argwhere(dataset.read(1) == 255).tolist() == [[7, 9]]
    sphere = Scene(HealpixGrid(8))
    sphere.bands = (Band("red"), Band("green", nodata=200.0))
    sphere.x[1, 77] = 200
    path = predict_scene(make_task("healpix"), sphere, tmp_path / "sphere", QUIET)[0]
    assert np.flatnonzero(zarr.open_group(path, mode="r")["cover"][:] == 255).tolist() == [77]


def test_wishes_that_cannot_be_met(tmp_path):
    with pytest.raises(OutputError, match="HEALPix cannot be written as cog; choose among: zarr, fits"):
        predict_scene(make_task(), Scene(HealpixGrid(8)), tmp_path, PredictOptions(formats=("cog",)))
    with pytest.raises(OutputError, match="a raster cannot be written as fits; choose among: cog"):
        predict_scene(make_task(), Scene(RasterGrid.global_(10.0)), tmp_path, PredictOptions(formats=("fits",)))
    with pytest.raises(GridError, match="it must be a power of two"):
        predict_scene(make_task(), Scene(HealpixGrid(8)), tmp_path, PredictOptions(window=12))
    assert list(tmp_path.iterdir()) == []


def test_the_built_in_earth_from_end_to_end(tmp_path, capfd):
    source = EarthSource("raster:1deg")
    task = DensePrediction(torch.nn.Conv2d(3, 11, 3, padding=1), source.bands, source.targets)
    options = PredictOptions(window=64, overlap=16)
    files = predict_scene(
        task, source.read_scene("earth"), tmp_path, options, name="earth", truth=source.truth("earth")
    )
    overview = np.load(files[-1], allow_pickle=False)
    assert overview["rgb"].shape == (360, 720, 3)
    assert np.array_equal(overview["landcover/truth"][::2, ::2], source.truth("earth")["y"])
    with rasterio.open(files[0]) as dataset:
        assert np.array_equal(overview["landcover/prediction"][::2, ::2], dataset.read(1))
    assert "Predicting earth: 4 of 4" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("grid", "shape"),
    [
        (RasterGrid.global_(0.25), (360, 720)),
        (HealpixGrid(16), (360, 720)),
        (RasterGrid(1000, 2000, (0.01, 0, 5, 0, -0.01, 50), "EPSG:4326"), (360, 720)),
        (RasterGrid(1000, 500, (0.01, 0, 5, 0, -0.01, 50), "EPSG:4326"), (360, 180)),
    ],
)
def test_an_overview_is_small_and_holds_the_scene(grid, shape):
    small = overview_grid(grid)
    assert small.shape == shape
    assert small.footprint().buffer(1e-6).contains(grid.footprint())


def test_pictures_take_the_bands_of_colour_by_name():
    sentinel = [Band(name) for name in ("B02", "B03", "B04", "B08")]
    assert display_bands(sentinel) == [2, 1, 0]
    assert display_bands([Band("blue"), Band("red"), Band("green")]) == [1, 2, 0]
    assert display_bands([Band("vv"), Band("vh")]) == [0, 1, 1]


def test_pictures_stretch_what_is_not_bytes():
    x = np.linspace(0, 4000, 3 * 20 * 20).reshape(3, 20, 20).astype(np.float32)
    seen = np.ones((20, 20), bool)
    seen[0, 0] = False
    rgb = to_rgb(x, seen)
    assert rgb.shape == (20, 20, 3)
    assert (rgb[0, 0] == 0).all()
    assert rgb[..., 1].min() == 0
    assert rgb[..., 1].max() == 255
    bytes_ = np.random.default_rng(0).integers(0, 255, (3, 4, 4)).astype(np.uint8)
    assert np.array_equal(to_rgb(bytes_, np.ones((4, 4), bool)), bytes_.transpose(1, 2, 0))
