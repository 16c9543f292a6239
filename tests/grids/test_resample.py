import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

from graticule.errors import GridError
from graticule.grids import HealpixGrid, RasterGrid, resampler

GLOBE = RasterGrid.global_(2.0)
SPHERE = HealpixGrid(32)
WHOLE = [GLOBE, RasterGrid.global_(5.0), SPHERE, HealpixGrid(8), RasterGrid.global_(1.5)]
UTM = RasterGrid(40, 60, (500.0, 0.0, 500_000.0, 0.0, -500.0, 5_500_000.0), "EPSG:32633")
METHODS = ["nearest", "bilinear", "area"]
whole_grids = st.sampled_from(WHOLE)


@given(whole_grids, whole_grids, st.sampled_from(METHODS), st.floats(-1e3, 1e3))
@settings(max_examples=60, deadline=None)
def test_a_constant_stays_constant(source, target, method, constant):
    values, valid = resampler(source, target, method).values(np.full((2, *source.shape), constant))
    assert valid.all()
    assert values.shape == (2, *target.shape)
    np.testing.assert_allclose(values, constant, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("source", WHOLE, ids=repr)
@pytest.mark.parametrize("target", WHOLE, ids=repr)
def test_area_weights_add_to_the_sphere(source, target):
    made = resampler(source, target, "area")
    # Not exact where some target pixels are cut into parts and others collect parts of the source.
    assert made.total.sum() == pytest.approx(4 * np.pi, rel=5e-3)
    assert made.total.min() > 0


@pytest.mark.parametrize(
    "target", [RasterGrid.global_(6.0), RasterGrid.global_(2.0), RasterGrid.global_(45.0)], ids=repr
)
def test_area_means_of_blocks_are_exact(target):
    """Pixels that fall into blocks of 3, 1 and 22.5 pixels: the mean of each band of latitude is known."""
    values = np.random.default_rng(0).normal(size=GLOBE.shape)
    areas = GLOBE.areas()
    found, _ = resampler(GLOBE, target, "area").values(values)
    if target == GLOBE:
        np.testing.assert_array_equal(found, values)
    elif target.height == 30:
        mean = (values * areas).reshape(30, 3, 60, 3).sum((1, 3)) / areas.reshape(30, 3, 60, 3).sum((1, 3))
        np.testing.assert_allclose(found, mean, rtol=1e-12)
    assert (found * target.areas()).sum() == pytest.approx((values * areas).sum(), abs=0.05)


def test_area_between_nested_spheres_is_exact_both_ways():
    coarse, fine = HealpixGrid(4), HealpixGrid(32)
    values = np.random.default_rng(0).normal(size=fine.size)
    found, _ = resampler(fine, coarse, "area").values(values)
    np.testing.assert_allclose(found, values.reshape(coarse.size, -1).mean(1))
    np.testing.assert_array_equal(resampler(coarse, fine, "area").values(found)[0], np.repeat(found, 64))


COARSER = [
    (GLOBE, HealpixGrid(8)),
    (GLOBE, RasterGrid.global_(12.0)),
    (SPHERE, HealpixGrid(4)),
    (SPHERE, HealpixGrid(2)),
]


@given(st.integers(0, 10**6), st.sampled_from(COARSER))
@settings(max_examples=30, deadline=None)
def test_area_keeps_the_integral(seed, grids):
    source, target = grids
    values = np.random.default_rng(seed).uniform(0, 1, source.shape)
    made = resampler(source, target, "area")
    found, _ = made.values(values)
    assert (found.ravel() * made.total).sum() == pytest.approx((values * source.areas()).sum(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pair", [(GLOBE, SPHERE), (SPHERE, GLOBE)], ids=repr)
def test_smooth_fields_come_through(method, pair):
    """z is smooth: off by at most the distance to the pixel's centre, and far less when interpolated."""
    source, target = pair
    found, _ = resampler(source, target, method).values(source.directions()[..., 2])
    wrong = np.abs(found - target.directions()[..., 2])
    bound = {"nearest": 0.03, "bilinear": 1.5e-3, "area": 0.03}[method]
    assert wrong.max() < bound
    assert wrong.mean() < bound / 2


def test_a_round_trip_of_labels_comes_home():
    lon, lat = RasterGrid.global_(1.0).lonlat()
    labels = ((lon > 0) + 2 * (lat > 20)).astype(np.uint8)
    there = resampler(RasterGrid.global_(1.0), HealpixGrid(128), "area").labels(labels)
    back = resampler(HealpixGrid(128), RasterGrid.global_(1.0), "area").labels(there)
    assert (back == labels).mean() > 0.99


def test_bilinear_agrees_with_gdal():
    x, y = np.meshgrid(np.arange(60.0), np.arange(40.0))
    values = (0.3 * x**2 + np.sin(y)).astype(np.float32)
    target = RasterGrid(70, 90, (0.005, 0.0, 14.9, 0.0, -0.004, 49.7), "EPSG:4326")
    expected = np.full(target.shape, np.nan, np.float32)
    reproject(values, expected, src_transform=UTM.affine, src_crs=UTM.crs, dst_transform=target.affine,
              dst_crs=target.crs, resampling=Resampling.bilinear, tolerance=0, dst_nodata=np.nan)  # fmt: skip
    found, valid = resampler(UTM, target, "bilinear").values(values)
    assert 0.3 < valid.mean() < 1
    inner = valid & np.isfinite(expected)
    assert inner.sum() > 0.95 * valid.sum()
    np.testing.assert_allclose(found[inner], expected[inner], atol=0.06)  # of 36 a pixel


def test_nearest_keeps_type_and_says_where_nothing_is():
    target = UTM.window(-5, 0, 10, 60)
    values = np.arange(2400, dtype=np.uint16).reshape(40, 60)
    found, valid = resampler(UTM, target, "nearest").values(values)
    assert found.dtype == np.uint16
    assert not valid[:5].any()
    assert (found[:5] == 0).all()
    np.testing.assert_array_equal(found[5:], values[:5])
    found, _ = resampler(UTM, target, "nearest").values(values.astype(np.float32))
    assert np.isnan(found[:5]).all()


@pytest.mark.parametrize("target", [SPHERE, HealpixGrid(4), HealpixGrid(128), GLOBE], ids=repr)
@pytest.mark.parametrize("method", ["bilinear", "area"])
def test_means_are_float32_of_everything_but_float64(method, target):
    made = resampler(GLOBE, target, method)
    assert made.values(np.ones(GLOBE.shape, np.uint8))[0].dtype == np.float32
    assert made.values(np.ones(GLOBE.shape, np.float32))[0].dtype == np.float32
    assert made.values(np.ones(GLOBE.shape))[0].dtype == np.float64


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pair", [(GLOBE, HealpixGrid(8)), (HealpixGrid(8), GLOBE)], ids=repr)
def test_invalid_pixels_count_nowhere(method, pair):
    """Half the sphere is invalid and full of NaN: what remains is the constant of the other half."""
    source, target = pair
    north = source.lonlat()[1] > 0
    made = resampler(source, target, method)
    for values, valid in ((np.where(north, 7.0, 1e9), north), (np.where(north, 7.0, np.nan), None)):
        found, there = made.values(values, valid)
        np.testing.assert_allclose(found[there], 7.0, rtol=1e-12)
        assert np.isnan(found[~there]).all()
        lat = target.lonlat()[1]
        assert there[lat > 8].all()
        assert not there[lat < -8].any()


def test_validity_of_one_channel_is_that_of_all():
    values = np.ones((2, *GLOBE.shape))
    values[0, :45] = np.nan
    found, there = resampler(GLOBE, HealpixGrid(8), "area").values(values)
    assert found.shape == (2, 768)
    assert np.isnan(found[:, ~there]).all()
    assert np.allclose(found[:, there], 1, rtol=1e-12)


def test_majority_is_by_area_not_by_count():
    """Of nine pixels from 90° to 0°, the five north of 40° have 36 % of the area."""
    source = RasterGrid(9, 1, (10.0, 0.0, 0.0, 0.0, -10.0, 90.0), "EPSG:4326")
    made = resampler(source, RasterGrid(1, 1, (10.0, 0.0, 0.0, 0.0, -90.0, 90.0), "EPSG:4326"), "area")
    assert made.total.item() == pytest.approx(np.deg2rad(10.0))
    labels = np.array([1] * 5 + [2] * 4, np.uint8)[:, None]
    assert made.labels(labels).item() == 2
    assert made.labels(np.where(labels == 2, np.uint8(255), labels)).item() == 1
    assert made.labels(labels, ignore=2).item() == 1
    assert made.labels(np.full((9, 1), 255, np.uint8)).item() == 255
    mean, _ = made.values(labels.astype(np.float64))
    assert mean.item() == pytest.approx(2 - (1 - np.sin(np.deg2rad(40.0))))


def test_equal_shares_go_to_the_smaller_class():
    made = resampler(HealpixGrid(2), HealpixGrid(1), "area")
    labels = np.tile(np.array([9, 4, 9, 4], np.uint8), 12)
    np.testing.assert_array_equal(made.labels(labels), 4)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_labels_take_the_nearest_pixel(method):
    labels = np.random.default_rng(0).integers(0, 250, GLOBE.shape).astype(np.uint8)
    found = resampler(GLOBE, SPHERE, method).labels(labels)
    np.testing.assert_array_equal(found, labels.ravel()[GLOBE.locate(*SPHERE.lonlat())])
    part = resampler(UTM, SPHERE, method).labels(np.zeros(UTM.shape, np.uint8))
    assert set(np.unique(part)) <= {0, 255}
    assert (part == 255).mean() > 0.99


def test_a_window_is_resampled_like_the_whole():
    window = SPHERE.window(1024, 256)
    values = np.random.default_rng(0).normal(size=GLOBE.shape)
    for method in METHODS:
        whole = resampler(GLOBE, SPHERE, method).values(values)[0]
        np.testing.assert_allclose(resampler(GLOBE, window, method).values(values)[0], whole[1024:1280])


def test_a_map_is_built_once_and_kept():
    made = resampler(GLOBE, SPHERE, "area")
    assert resampler(RasterGrid.global_(2.0), HealpixGrid(32), "area") is made
    assert resampler(GLOBE, SPHERE, "nearest") is not made


def test_wrong_shapes_and_methods_are_refused():
    made = resampler(GLOBE, SPHERE, "nearest")
    with pytest.raises(GridError, match=r"values have the shape \(90, 10\); it must end with the grid's, \(90, 180\)"):
        made.values(np.zeros((90, 10)))
    with pytest.raises(GridError, match=r"labels have the shape \(180,\)"):
        made.labels(np.zeros(180, np.uint8))
