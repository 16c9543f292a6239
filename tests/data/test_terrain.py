"""The shape of the ground: planes and parabolas known on paper, direct convolution, and laws under turning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from graticule.data.augment import turn
from graticule.data.features.terrain import aspect, curvature, hillshade, relative_elevation, slope
from graticule.errors import GridError
from graticule.grids.ground import pixel_size, true_north
from worlds import GROUND_GRIDS, plane

FLAT = (1.0, 1.0)


def hills(shape=(40, 50), seed=0):
    noise = np.random.default_rng(seed).normal(0, 100, shape)
    return (ndimage.gaussian_filter(noise, 3) + 1500).astype(np.float32)


@pytest.mark.parametrize("azimuth", [0, 90, 215])
@pytest.mark.parametrize("name", GROUND_GRIDS)
def test_a_plane_has_its_slope_and_faces_where_it_falls_wherever_it_lies(name, azimuth):
    """Also in the last row, in a corner and beside a hole; north is true north on every map."""
    grid = GROUND_GRIDS[name]
    dem = plane(grid, -0.3, azimuth)
    dem[20:24, 30:33] = np.nan
    known = ~np.isnan(dem)
    steep = slope(dem, pixel_size(grid))
    assert np.array_equal(np.isnan(steep), ~known)
    assert np.abs(steep[known] - np.rad2deg(np.arctan(0.3))).max() < 0.05
    sine, cosine = aspect(dem, pixel_size(grid), true_north(grid))
    found = np.stack([sine, cosine])[:, known]
    expected = np.sin(np.deg2rad(azimuth)), np.cos(np.deg2rad(azimuth))
    assert np.abs(found - np.array(expected)[:, None]).max() < 4e-3
    assert np.isnan(sine[~known]).all()


@pytest.mark.parametrize("name", GROUND_GRIDS)
def test_the_sun_lights_the_slope_that_faces_it(name):
    grid = GROUND_GRIDS[name]
    size, north = pixel_size(grid), true_north(grid)
    facing = plane(grid, -1.0, 135)  # 45 degrees towards the south-east
    light = [hillshade(facing, size, north, azimuth=sun, elevation=45).mean() for sun in (135, 315, 45)]
    assert light == pytest.approx([1, 0, 0.5], abs=5e-3)


def test_level_ground_faces_nowhere():
    dem = np.full((5, 6), 7, np.float32)
    assert (slope(dem, FLAT) == 0).all()
    for part in aspect(dem, FLAT, 0.0):
        assert (part == 0).all()
    assert hillshade(dem, FLAT, 0.0, elevation=30) == pytest.approx(0.5)


def test_slope_is_that_of_horn():
    """The oracle: scipy's Sobel operator is Horn's difference, times 8."""
    dem, (down, right) = hills(), (3.0, 2.0)
    expected = np.hypot(
        ndimage.sobel(dem.astype(float), 0) / (8 * down), ndimage.sobel(dem.astype(float), 1) / (8 * right)
    )
    found = slope(dem, (down, right))
    assert np.abs(found - np.rad2deg(np.arctan(expected)))[1:-1, 1:-1].max() < 1e-3


def test_what_has_too_few_neighbours_has_no_slope():
    dem = np.full((5, 7), np.nan, np.float32)
    dem[2, 2] = 1
    dem[2, 4:7] = 1  # on one line
    assert np.isnan(slope(dem, FLAT)).all()


def test_a_parabola_has_its_curvature_up_to_the_border():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    dem = 0.01 * (2 * x) ** 2 - 0.03 * (5 * y) ** 2
    dem[8, 9:11] = np.nan
    found = curvature(dem, (5.0, 2.0))
    assert np.array_equal(np.isnan(found), np.isnan(dem))
    assert found[~np.isnan(dem)] == pytest.approx(-100 * (0.02 - 0.06), abs=2e-2)


def direct(dem, ring):
    known = np.isfinite(dem)
    total = ndimage.convolve(np.where(known, dem, 0).astype(float), ring, mode="constant")
    number = ndimage.convolve(known.astype(float), ring, mode="constant")
    return np.where(known & (number > 0), dem - total / np.maximum(number, 1), np.nan)


@pytest.mark.parametrize(("outer", "inner"), [(20, 0), (20, 11), (7, 7 / 2), (200, 0), (90, 80)])
@pytest.mark.parametrize("holes", [False, True])
def test_relative_elevation_is_that_of_direct_convolution(outer, inner, holes):
    """Also at borders and holes, and with rings larger than the raster."""
    dem = hills((30, 45))
    if holes:
        dem[np.random.default_rng(1).random(dem.shape) < 0.3] = np.nan
        dem[10:22, 15:30] = np.nan
    y, x = np.mgrid[-29:30, -44:45]
    away = np.hypot(y * 5.0, x * 3.0)
    expected = direct(dem, ((away <= outer) & (away >= inner)).astype(float))
    found = relative_elevation(dem, (5.0, 3.0), outer, inner)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_relative_elevation_of_strips_is_that_of_the_whole(monkeypatch):
    dem = hills()
    whole = relative_elevation(dem, (5.0, 3.0), 25)
    monkeypatch.setattr("graticule.data.features.terrain._STRIP", 7)
    np.testing.assert_allclose(relative_elevation(dem, (5.0, 3.0), 25), whole, atol=2e-4)


def test_the_disc_is_in_metres_where_pixels_grow_from_row_to_row():
    """Pixels twice as wide at the bottom: there half as many columns make the same disc."""
    dem = hills((200, 61))
    right = np.linspace(5, 10, 200, dtype=np.float32)[:, None]
    found = relative_elevation(dem, (10.0, right), 60)
    y, x = np.mgrid[-6:7, -12:13]
    for row in (20, 100, 180):
        ring = np.hypot(y * 10.0, x * right[row, 0]) <= 60
        expected = direct(dem, ring.astype(float))[row]
        assert np.abs(found[row] - expected).mean() < 0.1 * np.abs(expected).mean()


def test_a_ring_without_a_pixel_is_refused():
    with pytest.raises(GridError, match="a ring of 3 to 4 m holds no pixel, whose size is 10 x 10 m; widen it"):
        relative_elevation(hills(), (10.0, 10.0), 4, 3)
    with pytest.raises(GridError, match="a ring of 5 to 5 m is empty; its outer radius must be the larger"):
        relative_elevation(hills(), (10.0, 10.0), 5, 5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), element=st.integers(0, 7), north=st.floats(-180, 180), holes=st.booleans())
def test_turning_the_ground_turns_its_features(seed, element, north, holes):
    """Features of the turned heights are the turned features; the aspect turns as a vector does, too.

    A flip makes a mirror image of the world, on which north lies to the other side.
    """
    dem = hills((12, 12), seed)
    if holes:
        dem[np.random.default_rng(seed).random(dem.shape) < 0.2] = np.nan
    other, size = np.ascontiguousarray(turn(dem, element)), (3.0, 3.0)
    for feature in (slope, curvature, lambda z, s: relative_elevation(z, s, 10)):
        np.testing.assert_allclose(feature(other, size), turn(feature(dem, size), element), atol=2e-3)
    sine, cosine = (turn(part, element) for part in aspect(dem, size, north))
    angle = np.deg2rad(90 * (element % 4))  # anticlockwise
    sine, cosine = sine * np.cos(angle) - cosine * np.sin(angle), sine * np.sin(angle) + cosine * np.cos(angle)
    flipped = element >= 4
    found = aspect(other, size, -north if flipped else north)
    np.testing.assert_allclose(found, [-sine if flipped else sine, cosine], atol=2e-3)
