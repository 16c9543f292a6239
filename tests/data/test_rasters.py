"""A folder of GeoTIFFs with label rasters becomes a store, or is refused with one clear line."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from graticule.data.loader import BatchReader
from graticule.data.prepare import prepare
from graticule.data.sources.rasters import RasterFile, RastersSource
from graticule.errors import SourceError
from graticule.schema import IGNORE, SEEN


def write(path, array, *, crs="EPSG:32719", nodata=None, origin=(500_000, 5_000_000)):
    """A GeoTIFF of [bands, h, w] at 10 m."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = array.shape
    options = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", crs=crs, transform=from_origin(*origin, 10, 10), nodata=nodata, **options) as file:
        file.write(array)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two images in two regions; the label is 1 where the first band is above 100, and unknown in the first row."""
    for number, name in enumerate(["north/a", "south/b"]):
        x = np.random.default_rng(number).integers(1, 200, (2, 40, 50)).astype(np.uint16)
        x[:, :, 0] = 0
        label = (x[:1] > 100).astype(np.uint8)
        label[:, 0] = IGNORE
        write(tmp_path / "images" / f"{name}.tif", x, nodata=0, origin=(500_000, 5_000_000 - 10_000 * number))
        write(tmp_path / "labels" / f"{name}.tif", label, origin=(500_000, 5_000_000 - 10_000 * number))
    return tmp_path


def source(folder, **options):
    given = {"classes": ["low", "high"], "window": 32} | options
    return RastersSource(str(folder / "images"), str(folder / "labels"), **given)


def test_a_folder_becomes_a_store_with_its_regions_labels_and_places(folder):
    store = prepare(source(folder), folder / "store", progress=False)
    assert len(store) == 2 * 4
    assert store.metadata.region.tolist() == ["north"] * 4 + ["south"] * 4
    assert store.metadata[["row", "col"]].iloc[:4].to_numpy().tolist() == [[0, 0], [0, 18], [8, 0], [8, 18]]
    read = store.read([0])
    assert (read["y"][0, 0] == IGNORE).all(), "no label is known in the first row"
    assert (read["y"][0, :, 0] == IGNORE).all(), "the image has nodata in the first column"
    np.testing.assert_array_equal(read["y"][0, 1:, 1:], (read["x"][0, 0, 1:, 1:] > 100).astype(np.uint8))
    assert store.grid(3) == store.scenes["north/a"].window(8, 18, 32, 32)


def test_heights_are_values_with_a_unit_and_nan(folder):
    for name in ("north/a", "south/b"):
        height = np.full((1, 40, 50), 7.5, np.float32)
        height[0, 5, 5] = np.nan
        path = folder / "labels" / f"{name}.tif"
        origin = (500_000, 5_000_000 - (10_000 if name == "south/b" else 0))
        write(path, height, nodata=np.nan, origin=origin)
    store = prepare(source(folder, kind="height", unit="m", classes=()), folder / "store", progress=False)
    values = store.read([0])["height"][0]
    assert np.isnan(values[5, 5])
    assert np.isnan(values[0, 0]), "the image has nodata there"
    assert values[6, 6] == 7.5
    assert store.targets[0].unit == "m"


def test_a_window_beyond_the_file_is_not_seen(folder):
    x, seen = RasterFile(folder / "images" / "north" / "a.tif").read(-2, 45, 10, 10)
    assert x.shape == (2, 10, 10)
    assert not seen[:2].any()
    assert not seen[:, 5:].any()
    assert seen[2:, :5].all()


def test_what_the_file_calls_nodata_is_not_seen_in_training(folder):
    store = prepare(source(folder), folder / "store", progress=False)
    assert [band.nodata for band in store.bands] == [0, 0]
    batch = BatchReader(store)([(0, 0, 0)])
    expected = store.read([0])["x"][0].all(axis=0)
    assert np.array_equal(batch[SEEN][0], expected)
    assert not expected[:, 0].any()


def named(folder, *names):
    for path in (folder / "images").rglob("*.tif"):
        with rasterio.open(path, "r+") as file:
            file.descriptions = names


def test_bands_mean_what_their_names_and_the_options_say(folder):
    named(folder, "nir", "snow_depth")
    told = {"snow_depth": {"kind": "other", "unit": "m", "scale": 0.01, "valid_range": [0, 5]}}
    store = prepare(source(folder, meanings=told), folder / "store", progress=False)
    nir, depth = store.bands
    assert (nir.kind, nir.valid_range, nir.scale, nir.nodata) == ("optical", (-0.1, 0.5), 1.0, 0.0)
    assert (depth.kind, depth.unit, depth.valid_range, depth.scale) == ("other", "m", (0, 5), 0.01)
    again = RastersSource(**store.config["source_options"])
    assert again.bands == store.bands


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"nirr": {}}, r"source\.meanings tells of band 'nirr', which the images lack; did you mean 'nir'\?"),
        ({"nir": {"kind": "optic"}}, r"says that band 'nir' is of kind 'optic'; did you mean 'optical'\?"),
        ({"nir": {"range": [0, 1]}}, r"source\.meanings does not fit: Band has unknown entries \['range'\]"),
        ({"nir": {"valid_range": [1, 0]}}, r"does not fit: band 'nir' has valid_range \(1, 0\)"),
    ],
)
def test_meanings_that_do_not_fit_are_refused(folder, told, message):
    named(folder, "nir", "red")
    with pytest.raises(SourceError, match=message):
        source(folder, meanings=told)


def test_missing_floats_stay_missing_in_the_store(folder):
    """The first band lacks a column as NaN and a row as the file's nodata; the second has all values."""
    for name in ("north/a", "south/b"):
        x = np.random.default_rng(0).random((2, 40, 50)).astype(np.float32)
        x[0, :, 3], x[0, 5] = np.nan, -9999
        origin = (500_000, 5_000_000 - (10_000 if name == "south/b" else 0))
        write(folder / "images" / f"{name}.tif", x, nodata=-9999, origin=origin)
    store = prepare(source(folder), folder / "store", progress=False)
    expected = np.ones((32, 32), bool)
    expected[:, 3], expected[5] = False, False
    assert np.array_equal(BatchReader(store)([(0, 0, 0)])[SEEN][0], expected)
    assert BatchReader(store, bands=[1])([(0, 0, 0)])[SEEN].all()
    assert np.array_equal(
        store.read([0])["y"][0, 1:], RasterFile(folder / "labels/north/a.tif").read(1, 0, 31, 32)[0][0]
    )


def test_truth_is_the_label_of_the_whole_scene(folder):
    truth = source(folder).truth("north/a")["y"]
    assert truth.shape == (40, 50)
    assert set(np.unique(truth)) == {0, 1, IGNORE}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: write(f / "images/north/a.tif", np.ones((2, 40, 50), np.uint16), crs=None), "has no coordinate ref"),
        (lambda f: (f / "labels/north/a.tif").unlink(), r"a\.tif has no labels; they must be in"),
        (lambda f: write(f / "labels/north/a.tif", np.ones((1, 20, 50), np.uint8)), "the two must be the same grid"),
        (lambda f: write(f / "labels/north/a.tif", np.full((1, 40, 50), 7, np.uint8)), "has label 7; the 2 classes"),
        (lambda f: write(f / "images/south/b.tif", np.ones((3, 40, 50), np.uint16)), "has 3 bands; it must have 2"),
        (lambda f: (f / "images/north/a.tif").write_bytes(b"II*\0 not a raster"), "cannot be read as a raster"),
    ],
    ids=["no CRS", "no label", "another grid", "label outside the legend", "band count", "damaged"],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(folder, spoil, message):
    spoil(folder)
    with pytest.raises(SourceError, match=message):
        prepare(source(folder), folder / "store", progress=False)
    assert not (folder / "store").exists()


def test_an_empty_folder_says_what_to_give(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(SourceError, match=r"has no \*\.tif file; give the folder of the images as source\.images"):
        prepare(source(tmp_path), tmp_path / "store", progress=False)
