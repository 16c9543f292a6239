import json
import sqlite3

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
import torch
from PIL import Image
from scipy import ndimage

from graticule.errors import CheckpointError, OutputError
from graticule.files import remove_partial
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference.options import PredictOptions
from graticule.inference.predict import predict_scene
from graticule.inference.stac import Model, fingerprint, whole_products
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction

SLUMP = Target("slump", "binary", (LegendClass(0, "none", "#ffffff"), LegendClass(1, "slump", "#ff0000")))
COVER = Target("cover", "classes", tuple(LegendClass(k, f"class {k}", f"#{k}{k}{k}{k}{k}{k}") for k in range(3)))
NORTH = RasterGrid(60, 50, (10.0, 0.0, 5e5, 0.0, -10.0, 7e6), "EPSG:32633")
ROTATED = RasterGrid(60, 50, (8.0, 3.0, 5e5, 2.0, -11.0, 7e6), "EPSG:32633")
DEGREES = RasterGrid(60, 50, (0.002, 0.0, 12.0, 0.0, -0.001, 70.0), "EPSG:4326")
ALL = PredictOptions(window=16, overlap=4, progress=False, overview=False, products=None, probabilities="uint8")
MODEL = Model("mossy-fjord-27-ab12cd34", "best.ckpt", "0" * 64, {"model": {"name": "pixel"}})


class Slumps:
    """Band 0 is the logit of a slump: what is predicted is known. Some pixels are unseen, some of low quality."""

    bands = (Band("red", mean=0.0, std=1.0), Band("green", mean=0.0, std=1.0))

    def __init__(self, grid):
        self.grid = grid
        self.logit = np.full(grid.shape, -4.0, np.float32)
        self.logit[10:30, 10:20] = 2.0  # across windows and strips
        self.logit[15:20, 13:16] = -1.0  # with a hole
        self.logit[40, 40] = self.logit[41, 41] = 1.0  # a diagonal pair
        self.logit[0:4, 44:] = 3.0  # on the edge
        self.seen = np.ones(grid.shape, bool)
        self.seen[50:, :8] = False
        self.grade = np.full(grid.shape, 2, np.uint8)
        self.grade[35:38, 0:5] = 1
        self.grade[~self.seen] = 0

    def read(self, row, col, height, width):
        rows = slice(row, row + height), slice(col, col + width)
        return np.stack([self.logit[rows], -self.logit[rows]]), self.seen[rows]

    def quality(self, row, col, height, width):
        return self.grade[row : row + height, col : col + width]

    @property
    def mask(self):
        return (self.logit >= 0) & self.seen


def task(*targets, scale=1.0, bands=Slumps.bands):
    class First(torch.nn.Module):
        def forward(self, x):
            channels = [x[:, :1] * scale if t.kind == "binary" else torch.cat([x, x[:, :1] * 0], 1) for t in targets]
            return torch.cat(channels, dim=1)

    return DensePrediction(First(), bands, targets)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    files = predict_scene(task(SLUMP), Slumps(NORTH), folder, ALL, name="north/a", models=[MODEL])
    return folder, [file.name for file in files]


def test_all_products_are_there_and_nothing_else(made):
    folder, files = made
    assert files == [
        "north-a-slump.tif", "north-a-slump-probabilities.tif", "north-a-slump-objects.parquet",
        "north-a-slump-objects.gpkg", "north-a-extent.parquet", "north-a-extent.gpkg", "north-a-thumbnail.png",
        "north-a.json",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "north-a-slump.tif.aux.xml"])


def test_map_objects_and_extent_agree(made):
    folder, _ = made
    scene = Slumps(NORTH)
    with rasterio.open(folder / "north-a-slump.tif") as dataset:
        labels = dataset.read(1)
    assert np.array_equal(labels == 1, scene.mask)
    assert np.array_equal(labels == 255, ~scene.seen)
    objects = gpd.read_parquet(folder / "north-a-slump-objects.parquet")
    wanted, count = ndimage.label(scene.mask, np.ones((3, 3)))
    assert sorted(objects.pixels) == sorted(np.bincount(wanted.ravel())[1:])
    assert count == 3
    large = objects.loc[objects.pixels.idxmax()]
    assert (large.pixels, large["class"], large.touches_edge) == (185, "slump", False)
    assert large.geometry.area == 18500.0
    assert large.area_m2 == pytest.approx(18500.0 / 0.9996**2, rel=1e-4)
    assert large["mean"] == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-6)
    extent = gpd.read_parquet(folder / "north-a-extent.parquet")
    assert extent.geometry[0].area == 100.0 * scene.seen.sum()
    assert extent.share[0] == pytest.approx(scene.seen.mean())


def test_geopackage_and_geoparquet_hold_the_same(made):
    folder, _ = made
    for name in ("north-a-slump-objects", "north-a-extent"):
        one, other = gpd.read_parquet(folder / f"{name}.parquet"), gpd.read_file(folder / f"{name}.gpkg")
        assert one.crs == other.crs == "EPSG:32633"
        assert one.geometry.geom_equals(other.geometry).all()
        for column in set(one.columns) - {"geometry"}:
            assert one[column].tolist() == other[column].tolist()
    with sqlite3.connect(folder / "north-a-slump-objects.gpkg") as package:
        (kind,) = package.execute("select geometry_type_name from gpkg_geometry_columns").fetchone()
    assert kind == "MULTIPOLYGON"


def test_the_stac_item_is_valid_and_says_where_all_came_from(made):
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("jsonschema")
    folder, files = made
    item = pystac.Item.from_file(folder / "north-a.json")
    plain = pystac.Item.from_dict(item.to_dict() | {"stac_extensions": []})  # their schemas lie in the network
    assert plain.validate()
    assert {asset.href.rpartition("/")[2] for asset in item.assets.values()} == set(files) - {"north-a.json"}
    said = item.properties
    assert said["proj:code"] == "EPSG:32633"
    assert said["proj:shape"] == [60, 50]
    assert said["proj:transform"][:6] == list(NORTH.transform)
    assert said["graticule:models"][0]["sha256"] == "0" * 64
    assert said["graticule:models"][0]["config"] == {"model": {"name": "pixel"}}
    assert said["graticule:options"]["binarization_threshold"] == 0.5
    assert said["graticule:source"] == {"scene": "north/a"}
    classes = item.assets["slump"].extra_fields["classification:classes"]
    assert [entry["color_hint"] for entry in classes] == ["FFFFFF", "FF0000"]
    west, south, east, north = item.bbox
    assert 14.9 < west < east < 15.1
    assert 62.9 < south < north < 63.2


def test_tags_of_a_map_say_where_it_came_from(made):
    folder, _ = made
    with rasterio.open(folder / "north-a-slump.tif") as dataset:
        tags = dataset.tags()
    assert tags["SCENE"] == "north/a"
    assert tags["MODELS"] == "mossy-fjord-27-ab12cd34/best.ckpt"
    assert tags["WEIGHTS_SHA256"] == "0" * 64
    assert json.loads(tags["OPTIONS"])["window"] == 16


def test_the_thumbnail_shows_scene_and_map(made):
    folder, _ = made
    picture = np.asarray(Image.open(folder / "north-a-thumbnail.png"))
    assert picture.shape == (60, 50 + 8 + 50, 3)
    right = picture[:, 58:]
    assert np.array_equal((right == (255, 0, 0)).all(-1), Slumps(NORTH).mask)
    assert (right[50:, :8] == 0).all()


@pytest.mark.parametrize("grid", [NORTH, ROTATED, DEGREES], ids=["north", "rotated", "degrees"])
@pytest.mark.parametrize("reflection", [0, 5])
def test_a_map_lies_exactly_over_its_scene(tmp_path, grid, reflection):
    source = tmp_path / "source.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": grid.crs, "transform": grid.affine}
    with rasterio.open(source, "w", height=60, width=50, **profile) as dataset:
        dataset.write(Slumps(grid).logit, 1)
    options = PredictOptions(window=16, overlap=4, reflection=reflection, progress=False, products=("objects",))
    files = predict_scene(task(SLUMP), Slumps(grid), tmp_path, options)
    with rasterio.open(source) as over, rasterio.open(files[0]) as dataset:
        assert dataset.crs == over.crs
        assert dataset.transform == over.transform
        assert dataset.shape == over.shape
        assert dataset.bounds == over.bounds
        assert dataset.nodata == 255
        labels = dataset.read(1)
        objects = gpd.read_parquet(tmp_path / "scene-slump-objects.parquet")
        painted = rasterio.features.rasterize(objects.geometry, (60, 50), transform=over.transform)
    assert np.array_equal(labels == 1, Slumps(grid).mask)
    assert np.array_equal(painted == 1, labels == 1)
    assert shapely.area(objects.geometry.values).sum() == pytest.approx(
        (labels == 1).sum() * abs(grid.affine.determinant)
    )


def test_masks_erosion_threshold_and_small_objects(tmp_path):
    options = PredictOptions(
        window=16, overlap=4, progress=False, overview=False, products=("objects", "extent"), quality_level=2,
        mask_erosion_size=2, edge_erosion_size=1, min_object_size=3, binarization_threshold=0.8,
    )  # fmt: skip
    files = predict_scene(task(SLUMP), Slumps(NORTH), tmp_path, options)
    scene = Slumps(NORTH)
    y, x = np.mgrid[-2:3, -2:3]
    holds = ndimage.binary_erosion(scene.grade >= 2, y**2 + x**2 <= 4, border_value=1)
    holds[[0, -1]] = holds[:, [0, -1]] = False
    with rasterio.open(files[0]) as dataset:
        labels = dataset.read(1)
    assert np.array_equal(labels == 255, ~holds)
    assert np.array_equal(labels == 1, holds & (scene.logit >= 2.0))  # p = 0.88, 0.95; the pair has 0.73
    assert gpd.read_parquet(files[1]).pixels.tolist() == [15, 185]
    assert gpd.read_parquet(files[3]).pixels.tolist() == [holds.sum()]


def test_classes_have_objects_if_asked_for(tmp_path):
    asked = PredictOptions(window=16, overlap=4, progress=False, overview=False, products=("objects",))
    files = predict_scene(task(COVER, SLUMP), Slumps(NORTH), tmp_path, asked)
    assert [file.name for file in files][2:] == [
        f"scene-{target}-objects.{kind}" for target in ("cover", "slump") for kind in ("parquet", "gpkg")
    ]
    found = gpd.read_parquet(files[2])
    assert found.groupby("class").pixels.sum().sum() == Slumps(NORTH).seen.sum()


def test_a_scene_without_objects_or_without_input_has_empty_tables(tmp_path):
    scene = Slumps(NORTH)
    scene.seen[:] = False
    files = predict_scene(task(SLUMP), scene, tmp_path, ALL)
    assert gpd.read_parquet(tmp_path / "scene-slump-objects.parquet").empty
    assert gpd.read_file(tmp_path / "scene-slump-objects.gpkg").empty
    assert gpd.read_file(tmp_path / "scene-extent.gpkg").empty
    assert files[-1].exists()


def test_a_plane_of_unknown_place_has_all_products_too(tmp_path):
    files = predict_scene(task(SLUMP), Slumps(RasterGrid.local(60, 50, 2.0)), tmp_path, ALL)
    item = json.loads(files[-1].read_text())
    assert item["geometry"] is None
    assert "bbox" not in item
    objects = gpd.read_parquet(tmp_path / "scene-slump-objects.parquet")
    assert objects.area_m2.tolist() == pytest.approx((objects.pixels * 4.0).tolist())


def test_an_ensemble_reads_the_bands_of_all_and_takes_the_mean(tmp_path):
    first, second = task(SLUMP, bands=Slumps.bands[:1]), task(SLUMP, bands=Slumps.bands[1:])
    options = PredictOptions(window=16, overlap=4, probabilities="float32", progress=False, overview=False)
    files = predict_scene([first, second], Slumps(NORTH), tmp_path, options)
    with rasterio.open(files[1]) as dataset:
        mean = dataset.read(1)
    # The second sees the negative of the first, so that the mean of p and 1 - p is a half.
    assert np.allclose(mean[Slumps(NORTH).seen], 0.5, atol=1e-6)
    with pytest.raises(CheckpointError, match=r"predict different targets, slump \(none, slump\) and cover \(class 0"):
        predict_scene([first, task(COVER)], Slumps(NORTH), tmp_path, options)


def test_products_are_whole_if_all_are_there_with_the_same_weights_and_options(made):
    folder, files = made
    mark = fingerprint([MODEL], ALL.told(), "north/a")
    assert [path.name for path in whole_products(folder / "north-a.json", mark)] == files
    assert whole_products(folder / "north-a.json", fingerprint([], ALL.told(), "north/a")) is None
    (folder / "north-a-extent.gpkg").rename(folder / "away")
    assert whole_products(folder / "north-a.json", mark) is None
    (folder / "away").rename(folder / "north-a-extent.gpkg")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    mine = [".a-slump-0123abcd.partial.tif", ".a-slump-0123abcd.partial.strips.tif"]
    others = [".a-slump-b-0123abcd.partial.tif", "a-slump.tif", ".a-slump.tif"]
    for name in (*mine, *others):
        (tmp_path / name).write_text("x")
    remove_partial(tmp_path / "a-slump.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_products_that_do_not_fit(tmp_path):
    height = DensePrediction(torch.nn.Conv2d(2, 1, 1), Slumps.bands, [Target("height", "height", unit="m")])
    with pytest.raises(OutputError, match="objects need classes, and height has none; leave objects out"):
        predict_scene(height, Slumps(NORTH), tmp_path, PredictOptions(products=("objects",)))

    class Sphere:
        grid, bands = HealpixGrid(8), Slumps.bands

    with pytest.raises(OutputError, match="products on HEALPix can only be stac, not extent"):
        predict_scene(task(SLUMP), Sphere(), tmp_path, PredictOptions(products=("extent",)))
    assert list(tmp_path.iterdir()) == []
