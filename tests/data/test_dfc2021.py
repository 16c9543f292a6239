import shutil
from datetime import date

import numpy as np
import pytest
import rasterio
from PIL import Image

from graticule.data.audit import audit
from graticule.data.prepare import prepare
from graticule.data.sources.dfc2021 import MAXIMUM, DFC2021Source
from graticule.data.sources.dfc2021_files import SENSORS, file_name, parse_name
from graticule.data.sources.dfc2021_values import (
    gamma_correct,
    maximum_projection,
    minmax_scale,
    preprocess,
    quantile_clip,
    smooth,
    to_db,
)
from graticule.data.splits import assign
from graticule.errors import ConfigError, SourceError
from tile_world import SIDE, flat_tile, small_tiles

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
CHECKERS = (np.indices((16, 16)).sum(axis=0) % 4 + 1).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_tiles(tmp_path_factory.mktemp("dfc") / "tiles", tiles=3)


def source_of(root, **options):
    return DFC2021Source(str(root), size=SIDE, **options)


@pytest.mark.parametrize(("name", "sensor", "day", "band"), [
    ("S1A_IW_GRDH_20200804_VV.tif", "sentinel1", date(2020, 8, 4), "VV"),
    ("L2A_20200816_B01.tif", "sentinel2", date(2020, 8, 16), "B01"),
    ("L2A_20200816_B8A.tif", "sentinel2", date(2020, 8, 16), "B8A"),
    ("LC08_L1TP_2020-08-30_B9.tif", "landsat", date(2020, 8, 30), "B9"),
    ("DNB_VNP46A1_A2020221.tif", "viirs", date(2020, 8, 8), ""),
])  # fmt: skip
def test_published_names_are_read_and_written(name, sensor, day, band):
    found = parse_name(name)
    assert (found[0].name, found[1], found[2]) == (sensor, day, band)
    assert file_name(*found) == name


def test_other_names_are_no_images():
    assert parse_name("groundTruth.tif") is None
    assert parse_name("L2A_20200816_B01.tif.aux.xml") is None


def test_the_published_numbers_of_images():
    assert [sensor.dates * len(sensor.bands) for sensor in SENSORS] == [8, 48, 33, 9]


def test_a_generated_tile_has_the_published_files_shapes_and_types(root):
    files = list((root / "Train" / "Tile1").iterdir())
    assert len(files) == 100
    images = [path for path in files if parse_name(path.name)]
    assert len(images) == 98
    for path in images:
        with rasterio.open(path) as dataset:
            assert (dataset.count, dataset.shape, dataset.crs) == (1, (SIDE, SIDE), None)
            assert dataset.dtypes[0] == parse_name(path.name)[0].dtype
    with rasterio.open(root / "Train" / "Tile1" / "groundTruth.tif") as dataset:
        labels = dataset.read(1)
    assert labels.shape == (16, 16)
    assert set(np.unique(labels)) <= {1, 2, 3, 4}
    colours = np.asarray(Image.open(root / "Train" / "Tile1" / "groundTruthRGB.png"))
    assert (colours[labels == 1] == (255, 0, 0)).all()


def test_the_same_seed_gives_the_same_files_and_another_one_others(root, tmp_path):
    again = small_tiles(tmp_path / "again", tiles=1)
    other = small_tiles(tmp_path / "other", tiles=1, seed=1)
    for path in sorted((root / "Train" / "Tile1").iterdir()):
        assert (again / "Train" / "Tile1" / path.name).read_bytes() == path.read_bytes()
    name = "Train/Tile1/groundTruth.tif"
    assert (other / name).read_bytes() != (again / name).read_bytes()


def test_both_halves_of_a_label_can_be_seen(root):
    """Roofs in the optical image and lamps in that of the night, to the eye of a threshold."""
    source = source_of(root, preprocess="none", bands={"sentinel2": ["B04"], "viirs": [], "sentinel1": ["VH"]})
    names = [band.name for band in source.bands]
    for name in source.tiles:
        x, labels = source._values(name), source.truth(name)["y"][2::5, 2::5]
        roofs = x[names.index("S1_1_VH")].reshape(16, 5, 16, 5).max(axis=(1, 3))
        lamps = x[[n.startswith("VIIRS") for n in names]].mean(0).reshape(16, 5, 16, 5).mean(axis=(1, 3))
        settled, lit = np.isin(labels, (0, 2)), np.isin(labels, (2, 3))
        assert roofs[settled].mean() > 1.5 * roofs[~settled].mean()
        assert lamps[lit].mean() > 3 * lamps[~lit].mean()


def test_the_99_channels_are_sensor_by_sensor_date_by_date(tmp_path):
    """Every image is constant, so that a channel's value says which file it came from."""
    code = {"sentinel1": 1, "sentinel2": 2, "landsat": 3, "viirs": 4}
    bands = {sensor.name: sensor.bands for sensor in SENSORS}

    def value(sensor, when, band):
        return 1000 * code[sensor] + 100 * when + bands[sensor].index(band)

    flat_tile(tmp_path / "Tile7", value, CHECKERS)
    source = source_of(tmp_path, preprocess="none")
    (x, arrays, row), *rest = source.samples()
    assert len(rest) == 15
    assert x.shape == (99, 20, 20)
    named = dict(zip((band.name for band in source.bands), x[:, 0, 0].tolist(), strict=True))
    assert list(named)[:3] == ["S1_1_VV", "S1_1_VH", "S1_2_VV"]
    assert named["S1_4_VH"] == 1301
    assert named["S2_2_B8A"] == 2108
    assert named["L8_3_B11"] == 3210
    assert named["VIIRS_9"] == named["VIIRS_max"] == 4800
    assert row["sample_id"] == "Tile7_0_0"
    assert (row["parent"], row["place"]) == ("Tile7", (0, 0))
    np.testing.assert_array_equal(arrays["y"][::5, ::5], CHECKERS[:4, :4] - 1)


@pytest.mark.parametrize(("options", "cells", "count"), [
    ({}, (4, 4), 16),
    ({"tile_size_gt": 8}, (8, 8), 4),
    ({"tile_size_gt": 16}, (16, 16), 1),
    ({"slice_size": [4, 4]}, (4, 4), 16),
    ({"slice_size": [2, 2]}, (8, 8), 4),
    ({"slice_size": [1, 4]}, (16, 4), 4),
])  # fmt: skip
def test_both_meanings_of_sub_tiling(root, options, cells, count):
    source = source_of(root, **options)
    assert source.space == tuple(5 * side for side in cells)
    assert source.n_samples == 3 * count
    assert source.targets[0].cell == 5


def test_sub_tiles_put_together_are_the_tile(root):
    source = source_of(root, bands={"sentinel2": ["02"]}, slice_size=[2, 4])
    whole = np.zeros((len(source.bands), SIDE, SIDE), np.float32)
    labels = np.full((SIDE, SIDE), 255, np.uint8)
    for x, arrays, row in source.samples_of("Tile2"):
        here = tuple(slice(start, start + side) for start, side in zip(row["place"], source.space, strict=True))
        whole[:, *here], labels[here] = x, arrays["y"]
    reader = source.read_scene("Tile2")
    np.testing.assert_array_equal(whole, reader.read(0, 0, SIDE, SIDE)[0])
    np.testing.assert_array_equal(labels, source.truth("Tile2")["y"])
    x, seen = reader.read(-5, 70, 20, 20)
    assert seen.sum() == 15 * 10
    np.testing.assert_array_equal(x[:, 5:, :10], whole[:, :15, 70:])
    assert not x[:, ~seen].any()


def test_the_first_dates_are_scaled_as_all_are(root):
    chosen = {"sentinel2": ["B04", "B03"], MAXIMUM: []}
    few, many = source_of(root, bands=chosen, dates=1), source_of(root, bands=chosen)
    assert [band.name for band in few.bands] == ["S2_1_B04", "S2_1_B03", "VIIRS_max"]
    picked = [[band.name for band in many.bands].index(band.name) for band in few.bands]
    np.testing.assert_array_equal(few._values("Tile1"), many._values("Tile1")[picked])


@pytest.mark.parametrize(("options", "text"), [
    ({"tile_size_gt": 5}, "source.tile_size_gt is 5; .* do not divide the 16 of a tile: give 1, 2, 4, 8 or 16"),
    ({"slice_size": [3, 4]}, r"source.slice_size is \[3, 4\]; .* do not divide the 16 cells"),
    ({"tile_size_gt": 4, "slice_size": [4, 4]}, "say the same in two ways; give one"),
    ({"bands": {"sentinel3": []}}, "names the sensor 'sentinel3'; did you mean 'sentinel"),
    ({"bands": {"sentinel2": ["B10"]}}, "source.bands.sentinel2 has no band 'B10'; did you mean 'B1"),
    ({"bands": {"viirs": ["B1"]}}, "source.bands.viirs has no band 'B1'; it has one band; give an empty list"),
    ({"bands": {}}, "source.bands names no sensor"),
    ({"dates": 0}, "source.dates is 0; give the number of dates"),
])  # fmt: skip
def test_options_that_do_not_fit_are_one_line(root, options, text):
    with pytest.raises(ConfigError, match=text) as caught:
        source_of(root, **options)
    assert "\n" not in str(caught.value)


def remove_a_band(tile):
    (tile / "L2A_20200816_B03.tif").unlink()


def remove_a_date(tile):
    for path in tile.glob("S1A_IW_GRDH_20200804_*.tif"):
        path.unlink()


def crop_an_image(tile):
    Image.fromarray(np.zeros((79, SIDE), np.uint16)).save(tile / "L2A_20200816_B03.tif")


def put_a_wrong_label(tile):
    labels = CHECKERS.copy()
    labels[3, 5] = 7
    Image.fromarray(labels).save(tile / "groundTruth.tif")


def truncate(tile):
    path = tile / "LC08_L1TP_2020-08-16_B4.tif"
    path.write_bytes(path.read_bytes()[:5000])


def remove_the_truth(tile):
    (tile / "groundTruth.tif").unlink()


@pytest.mark.parametrize(("break_it", "text"), [
    (remove_a_band, r"Tile2 has no L2A_20200816_B03.tif \(sentinel2, 2020-08-16\); a tile has 12 bands of each date"),
    (remove_a_date, "Tile2 has 3 dates of sentinel1; there must be 4"),
    (crop_an_image, "L2A_20200816_B03.tif has 79 x 80 pixels; it must have 80 x 80"),
    (put_a_wrong_label, "groundTruth.tif has label 7; labels are 1, 2, 3 and 4"),
    (truncate, r"LC08_L1TP_2020-08-16_B4.tif cannot be read as a raster \(.*\); give a whole GeoTIFF"),
    (remove_the_truth, "Tile2 has no groundTruth.tif, so it can be predicted but not prepared"),
])  # fmt: skip
def test_a_broken_tile_is_one_line_and_leaves_no_store(root, tmp_path, break_it, text):
    shutil.copytree(root / "Train" / "Tile1", tmp_path / "Tile2")
    break_it(tmp_path / "Tile2")
    with pytest.raises(SourceError, match=text) as caught:
        prepare(source_of(tmp_path), tmp_path / "store", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()


def test_tiles_without_labels_can_be_read_for_prediction(root, tmp_path):
    shutil.copytree(root / "Train" / "Tile1", tmp_path / "Tile61")
    (tmp_path / "Tile61" / "groundTruth.tif").unlink()
    source = source_of(tmp_path, bands={"viirs": []})
    assert source.truth("Tile61") is None
    assert source.read_scene("Tile61").read(0, 0, SIDE, SIDE)[0].shape == (9, SIDE, SIDE)


def test_a_folder_without_tiles_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"has no folder Tile1, Tile2, ...; give the unpacked Train folder"):
        source_of(tmp_path)


def test_a_store_keeps_the_cell_and_a_split_by_tiles_shares_no_parent(root, tmp_path):
    store = prepare(source_of(root, bands={"viirs": []}), tmp_path / "store", progress=False)
    assert store.targets[0].cell == 5
    assert store.bands[0].kind == "other"
    assert store.metadata.geometry.is_empty.all()
    assignment = assign(store, method="random", by=0.34, total_folds=2)
    found = audit(store, assignment)
    assert not found.leaks
    assert all(len(assignment.samples(part)) == 16 for part in ("train", "val", "test"))
    leaking = audit(store, assign(store, method="none"))
    assert leaking.pairs["train", "val"].parents == 3


RNG = np.random.default_rng(5)
STACK = RNG.gamma(2.0, 1.0, (3, 2, 6, 7)).astype(np.float32)


def test_quantiles_are_the_inner_neighbours():
    """Of 0..9 the 15 % quantile lies between 1 and 2: the higher, 2; the 85 % one between 7 and 8: the lower, 7."""
    ramp = np.arange(10, dtype=np.float32).reshape(1, 1, 2, 5)
    np.testing.assert_array_equal(quantile_clip(ramp, 0.15).ravel(), [2, 2, 2, 3, 4, 5, 6, 7, 7, 7])


@pytest.mark.parametrize("group_by_time", [True, False])
def test_clipping_and_scaling_by_band_or_by_date_and_band(group_by_time):
    clipped, scaled = (
        quantile_clip(STACK, 0.1, group_by_time=group_by_time),
        minmax_scale(STACK, group_by_time=group_by_time),
    )
    for band in range(2):
        groups = [STACK[:, band]] if group_by_time else list(STACK[:, band])
        found = [[array[:, band]] if group_by_time else list(array[:, band]) for array in (clipped, scaled)]
        for values, cut, zero_to_one in zip(groups, *found, strict=True):
            ends = np.quantile(values, 0.1, method="higher"), np.quantile(values, 0.9, method="lower")
            np.testing.assert_array_equal(cut, np.clip(values, *ends))
            expected = (values - values.min()) / (values.max() - values.min())
            np.testing.assert_allclose(zero_to_one, expected, rtol=1e-6)


def test_a_constant_band_becomes_ones():
    assert (minmax_scale(np.full((2, 1, 3, 3), 7, np.float32)) == 1).all()


def test_decibels_of_zero_are_the_lowest_value_and_hide_nothing():
    stack = STACK.copy()
    stack[0, 0, 0, 0] = 0
    clipped = quantile_clip(to_db(stack), 0.01)
    assert np.isfinite(clipped).all()
    assert clipped[0, 0, 0, 0] == clipped[:, 0].min()
    np.testing.assert_allclose(to_db(STACK), np.log10(STACK), rtol=1e-6)
    dark = preprocess("sentinel1", np.zeros((2, 2, 4, 4), np.float32), "course")
    assert (dark == 1).all()


def test_the_pipelines_of_the_course():
    expected = minmax_scale(smooth(quantile_clip(np.log10(STACK), 0.01)))
    np.testing.assert_allclose(preprocess("sentinel1", STACK, "course"), expected, atol=1e-6)
    np.testing.assert_array_equal(
        preprocess("sentinel2", STACK, "course"), minmax_scale(gamma_correct(quantile_clip(STACK, 0.05), 2.2))
    )
    for method, share in (("course", 0.01), ("course_w2024", 0.05)):
        np.testing.assert_array_equal(
            preprocess("landsat", STACK, method), minmax_scale(gamma_correct(quantile_clip(STACK, share), 2.2))
        )
    np.testing.assert_array_equal(preprocess("viirs", STACK, "course"), minmax_scale(quantile_clip(STACK, 0.05)))
    assert preprocess("viirs", STACK, "none") is STACK


def test_the_maximum_over_nights_in_both_ways():
    nights = STACK[:, :1]
    first = preprocess("viirs", nights, "course").max(axis=0)
    np.testing.assert_array_equal(maximum_projection(nights, "course")[0], first)
    clipped = quantile_clip(nights, 0.01, group_by_time=False).max(axis=0)
    scaled = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    np.testing.assert_allclose(maximum_projection(nights, "course_w2024")[0], scaled, rtol=1e-6)
    np.testing.assert_array_equal(maximum_projection(nights, "none")[0], nights.max(axis=0))
