"""Globes, Mollweide maps and photographs show each direction where it must be."""

import json

import numpy as np
import pytest

from graticule.grids import CameraGrid, HealpixGrid, RasterGrid, morton
from graticule.grids.rotation import turn
from graticule.reporting.spheres import axes_at, axes_of, globe, mollweide, on_photo
from graticule.reporting.windows import sphere_views


def by_direction(grid):
    """Colours that tell a pixel's direction: 0..255 for -1..1 of x, y, z."""
    return np.rint((grid.directions() + 1) * 127.5).astype(np.uint8)


def direction(colour):
    return colour[:3] / 127.5 - 1


SPHERE = HealpixGrid(64)
EARTH = RasterGrid.global_(1.0)


@pytest.mark.parametrize("grid", [SPHERE, EARTH])
def test_a_globe_shows_the_place_in_its_middle_east_to_the_right_and_north_up(grid):
    picture = globe(grid, by_direction(grid), axes_at(0.0, 0.0), 101)
    np.testing.assert_allclose(direction(picture[50, 50]), [1, 0, 0], atol=0.03)
    np.testing.assert_allclose(direction(picture[50, 90]), [np.sqrt(1 - (80 / 101) ** 2), 80 / 101, 0], atol=0.04)
    np.testing.assert_allclose(direction(picture[10, 50]), [np.sqrt(1 - (80 / 101) ** 2), 0, 80 / 101], atol=0.04)
    assert picture[0, 0, 3] == 0
    # The disc has π/4 of the square.
    assert (picture[..., 3] > 0).mean() == pytest.approx(np.pi / 4, abs=0.01)


def test_a_mollweide_map_has_equal_areas_and_the_poles_at_its_ends():
    north = np.zeros((SPHERE.size, 3), np.uint8)
    above = SPHERE.lonlat()[1] > 30
    north[above] = 255
    picture = mollweide(SPHERE, north, axes_at(10.0, 0.0), 200)
    assert picture.shape == (200, 400, 4)
    shown = picture[..., 3] > 0
    assert shown.mean() == pytest.approx(np.pi / 4, abs=0.005)
    assert (picture[shown][:, 0] > 0).mean() == pytest.approx(above.mean(), abs=0.005), "a quarter lies north of 30°"
    colours = mollweide(SPHERE, by_direction(SPHERE), axes_at(0.0, 0.0), 200)
    np.testing.assert_allclose(direction(colours[0, 200]), [0, 0, 1], atol=0.12)
    np.testing.assert_allclose(direction(colours[100, 300]), [0, 1, 0], atol=0.04)


def test_the_view_from_within_is_the_photograph():
    camera = CameraGrid.pinhole(60, 60, 30.0)
    for rotation in ((0.0, 0.0, 0.0, 1.0), turn((0, 0.6, 0.8), 1.2)):
        turned = CameraGrid(60, 60, camera.lens, camera.centre, rotation=rotation)
        colours = by_direction(SPHERE)
        seen = globe(SPHERE, colours, axes_of(turned), 121)
        np.testing.assert_allclose(direction(seen[60, 60]), turned.unproject(np.array(30.0), np.array(30.0)), atol=0.03)
        # A ray 30° to the right of the axis is half way to the globe's rim.
        wanted = turned.unproject(np.array(30 + 30 * np.tan(np.pi / 6)), np.array(30.0))
        np.testing.assert_allclose(direction(seen[60, 90]), wanted, atol=0.04)
        photo = on_photo(SPHERE, colours, turned, 30)
        np.testing.assert_allclose(photo[5, 20, :3] / 127.5 - 1, turned.resized(30, 30).directions()[5, 20], atol=0.04)


def test_cells_that_a_grid_does_not_cover_are_transparent():
    half = HealpixGrid(16, tuple(range(4)))
    picture = globe(half, np.full((half.size, 4), 200, np.uint8), axes_at(0.0, -90.0), 64)
    assert not picture.any()


def test_an_example_kept_as_squares_is_shown_where_its_cells_are():
    grid, camera = HealpixGrid(16, (0, 1, 5)), CameraGrid.fisheye(40, 50, 20.0)
    cells = by_direction(grid)
    squares = cells.reshape(3, 256, 3)[:, morton(16).reshape(-1)].reshape(48, 16, 3)
    arrays = {"grid": np.array([json.dumps(grid.to_dict())]), "camera": np.array([json.dumps(camera.to_dict())])}
    views = dict(sphere_views(arrays, 0, [squares] * 4))
    assert list(views)[:4] == ["input", "truth", "prediction", "error"]
    np.testing.assert_array_equal(views["input"], on_photo(grid, cells, camera))
    np.testing.assert_array_equal(views["prediction, globe"], globe(grid, cells, axes_of(camera)))
    np.testing.assert_array_equal(views["truth, Mollweide"], mollweide(grid, cells, axes_of(camera)))
    flat = {"grid": arrays["camera"], "camera": arrays["camera"]}
    assert sphere_views(flat, 0, [squares] * 4) == []
