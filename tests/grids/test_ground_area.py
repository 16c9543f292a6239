import numpy as np
import pytest
import shapely
from pyproj import Geod, Transformer

from graticule.grids import RasterGrid
from graticule.grids.ground_area import GroundArea

GEOD = Geod(ellps="WGS84")
EARTH = 510_065_621_724_089.0
"""Surface of the WGS 84 ellipsoid in m² (NIMA TR8350.2)."""


def geodesic_area(grid, row, column, size):
    """m² of a block of pixels, by geodesics between many points of its outline."""
    t = np.linspace(0, size, 200)
    columns = np.concatenate([column + t, np.full(200, column + size), column + size - t, np.full(200, column)])
    rows = np.concatenate([np.full(200, row), row + t, np.full(200, row + size), row + size - t])
    x, y = grid.affine @ (columns, rows) if hasattr(grid.affine, "__matmul__") else grid.affine * (columns, rows)
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
    return abs(GEOD.geometry_area_perimeter(shapely.Polygon(zip(lon, lat, strict=True)))[0])


@pytest.mark.parametrize(
    "grid",
    [
        RasterGrid(300, 400, (30.0, 0, 4e5, 0, -30.0, 5e6), "EPSG:32633"),
        RasterGrid(300, 400, (25.0, 14.0, 4e5, 9.0, -28.0, 5e6), "EPSG:32633"),
        RasterGrid(300, 400, (200.0, 0, -4e6, 0, -100.0, 3e6), "EPSG:3413"),
        RasterGrid(300, 400, (0.01, 0, 12.0, 0, -0.02, 70.0), "EPSG:4326"),
        RasterGrid(300, 400, (1000.0, 0, 1e6, 0, -1000.0, 8e6), "EPSG:3857"),
        RasterGrid(300, 400, (100.0, 0, 6e5, 0, -100.0, 1e5), "EPSG:2263"),
    ],
)
def test_the_area_of_a_block_is_that_between_geodesics(grid):
    areas = GroundArea(grid).rows(100, 150)
    assert areas.shape == (150, 400)
    for row, column, size in ((100, 0, 50), (170, 333, 60)):
        block = areas[row - 100 : row - 100 + size, column : column + size].sum()
        assert block == pytest.approx(geodesic_area(grid, row, column, size), rel=2e-5)


def test_the_whole_earth():
    assert GroundArea(RasterGrid.global_(1.0)).rows(0, 180).sum() == pytest.approx(EARTH, rel=3e-5)


def test_a_plane_of_unknown_place_keeps_its_metres():
    assert np.array_equal(GroundArea(RasterGrid.local(4, 5, 3.0)).rows(1, 2), np.full((2, 5), 9.0))
