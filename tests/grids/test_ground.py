"""Sizes of pixels on the ground and true north, against geodesics."""

import numpy as np
import pytest
from pyproj import CRS, Proj

from graticule.errors import GridError
from graticule.grids import RasterGrid
from graticule.grids.ground import pixel_size, true_north
from worlds import GROUND_GRIDS, geodesics


@pytest.mark.parametrize("name", GROUND_GRIDS)
def test_pixels_are_as_large_as_geodesics_say_and_north_is_where_they_say(name):
    grid = GROUND_GRIDS[name]
    down, right = (np.broadcast_to(size, grid.shape) for size in pixel_size(grid))
    north = np.broadcast_to(true_north(grid), grid.shape)
    for row, column in ((0, 0), (grid.height - 1, grid.width // 3), (grid.height // 2, grid.width - 1)):
        to_right, azimuth_right = geodesics(grid, (row, column), (row, column + 1))
        to_down, azimuth_down = geodesics(grid, (row, column), (row + 1, column))
        handed = -np.sign(np.sin(np.deg2rad(azimuth_right - azimuth_down)))
        assert right[row, column] == pytest.approx(to_right, rel=2e-4)
        assert down[row, column] == pytest.approx(handed * to_down, rel=2e-4)
        difference = (azimuth_right - (90 - north[row, column]) + 180) % 360 - 180
        assert abs(difference) < 0.05


@pytest.mark.parametrize(("crs", "x", "y"), [("EPSG:3413", -1.9e6, 6e5), ("EPSG:32719", 3e5, 4.2e6)])
def test_north_is_minus_the_meridian_convergence(crs, x, y):
    grid = RasterGrid(70, 70, (10.0, 0.0, x, 0.0, -10.0, y), crs)
    lon, lat = grid.lonlat()
    proj = Proj(CRS.from_user_input(crs))
    expected = -np.asarray(proj.get_factors(lon, lat).meridian_convergence)
    assert np.abs((true_north(grid) - expected + 180) % 360 - 180).max() < 1e-3


def test_round_a_pole_north_is_told_pixel_by_pixel():
    grid = RasterGrid(41, 41, (100.0, 0.0, -2050.0, 0.0, -100.0, 2050.0), "EPSG:3413")
    column, row = np.meshgrid(np.arange(41) - 20, np.arange(41) - 20)
    expected = np.rad2deg(np.arctan2(-column, row))
    away = np.hypot(column, row) > 1
    assert np.abs((true_north(grid) - expected + 180) % 360 - 180)[away].max() < 0.1


def test_a_plain_picture_has_sizes_and_no_north():
    grid = RasterGrid.local(4, 5, 0.5)
    assert [float(size[0, 0]) for size in pixel_size(grid)] == [0.5, 0.5]
    with pytest.raises(GridError, match="has no place on the Earth, so true north is unknown; assign its CRS first"):
        true_north(grid)
