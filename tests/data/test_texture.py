"""Texture of scenes, against a plain reading of its definition and against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from graticule.data.prepare import prepare
from graticule.data.sources.earth import BANDS, EarthRaster, EarthSource, EarthSphere
from graticule.data.texture import TexturedRaster, TexturedSphere, squares_on, texture, texture_bands
from graticule.errors import SourceError
from graticule.grids import HealpixGrid, RasterGrid, healpix_halo
from graticule.schema import Band

EARTH = RasterGrid.global_(5.0)


def picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, *shape), dtype=np.uint8)


def plain(values):
    """Mean and log deviation of some pixels, by numpy."""
    return np.rint(values.mean()), np.rint(np.log(np.sqrt(values.var() + 1)) / 0.02)


@given(seed=st.integers(0, 2**31), row=st.integers(0, 7), col=st.integers(0, 5))
def test_only_pixels_that_exist_count(seed, row, col):
    x = picture((12, 10), seed)
    exists = np.random.default_rng(seed).random((12, 10)) < 0.7
    found = texture(x, exists, (3, 5))
    assert found.shape == (3 * 5, 8, 6)
    np.testing.assert_array_equal(found[:3], x[:, 2:10, 2:8])
    for number, half in enumerate((1, 2)):
        square = np.s_[row + 2 - half : row + 3 + half, col + 2 - half : col + 3 + half]
        there = exists[square]
        for band in range(3):
            mean, deviation = found[3 + 6 * number + band, row, col], found[6 + 6 * number + band, row, col]
            values = x[band][square][there].astype(float)
            assert (mean, deviation) == (plain(values) if there.any() else (0, 0))


def test_a_raster_goes_on_round_the_earth_and_ends_at_the_poles():
    """The oracle: scipy's filter on the whole Earth, far from the poles where it repeats the last row."""
    x = picture(EARTH.shape)
    scene = TexturedRaster(EarthRaster(EARTH, x), (15.0, 35.0))
    whole, seen = scene.read(0, 0, *EARTH.shape)
    assert seen.all()
    for place, side in ((3, 3), (9, 7)):
        oracle = np.rint(uniform_filter(x[0].astype(float), side, mode=["nearest", "wrap"]))
        assert np.abs(whole[place].astype(float) - oracle)[side:-side].max() <= 1  # a half is rounded either way
    window, seen = scene.read(-2, 70, 10, 6)
    assert not seen[:2].any()
    assert not window[:, :2].any()
    np.testing.assert_array_equal(window[:, 2:], np.roll(whole, 2, axis=2)[:, :8, :6])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_on_the_sphere_cells_have_the_texture_of_their_neighbours_however_they_are_asked_for(seed):
    """Cells well inside a base pixel have the square of cells round them; asking by windows or singly is the same."""
    grid = HealpixGrid(128)
    x = np.random.default_rng(seed).integers(0, 256, (3, grid.size), dtype=np.uint8)
    scene = TexturedSphere(EarthSphere(grid, x), (2.0,))
    assert scene.bands == texture_bands(BANDS, squares_on(grid, (2.0,)))
    ids = np.random.default_rng(seed).integers(0, grid.size, 20)
    together = scene.cells(np.append(ids, -1).reshape(3, 7))
    np.testing.assert_array_equal(together.reshape(9, -1)[:, -1], 0)
    single = np.concatenate([scene.cells(ids[k : k + 1]) for k in range(20)], axis=1)
    np.testing.assert_array_equal(together.reshape(9, -1)[:, :-1], single)
    for number, cell in enumerate(ids):
        square = healpix_halo(128, int(cell), 1, 2)
        values = x[0, square[square >= 0]].astype(float)
        assert (single[3, number], single[6, number]) == plain(values)


def test_sides_are_in_the_units_of_the_grid():
    assert squares_on(RasterGrid.global_(0.1), (0.3, 0.9, 24.3)) == {0.3: 3, 0.9: 9, 24.3: 243}
    assert squares_on(HealpixGrid(256), (0.3, 0.9, 24.3)) == {0.9: 3, 24.3: 107}  # 0.3° is one cell of 0.23°
    metres = RasterGrid(50, 50, (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "EPSG:32633")
    assert squares_on(metres, (30, 90)) == {30: 3, 90: 9}


@pytest.mark.parametrize("sides", [(0.1,), (0.3, 0.31), (4000.0,)])
def test_sides_that_do_not_fit_say_which_do(sides):
    with pytest.raises(SourceError, match=r"give sides that make different squares of 3 to 3600 pixels"):
        EarthSource("raster:0.1deg", texture=sides)


def test_a_store_of_the_earth_has_texture_that_no_window_cuts(tmp_path):
    """The same bands in windows of two sizes; the store says how far they look."""
    stores = [
        prepare(EarthSource("raster:1deg", window=side, texture=(3.0, 9.0)), tmp_path / str(side), progress=False)
        for side in (5, 15)
    ]
    names = [band.name for band in stores[0].bands]
    assert names[3:9] == [f"{c}_{what}_3" for what in ("mean", "deviation") for c in ("red", "green", "blue")]
    assert stores[0].bands[6] == Band("red_deviation_3", "ln", "other", 0.02)
    small, large = (store.read(range(len(store)), arrays=["x"])["x"] for store in stores)
    np.testing.assert_array_equal(small[:, :, 0, 0][0], large[0, :, 0, 0])
    whole = large.reshape(12, 24, 15, 15, 15).transpose(2, 0, 3, 1, 4).reshape(15, 180, 360)
    np.testing.assert_array_equal(whole, small.reshape(36, 72, 15, 5, 5).transpose(2, 0, 3, 1, 4).reshape(15, 180, 360))
    assert stores[0].config["window"]["reach_degrees"] == 4.5
