import numpy as np
import pytest

from graticule.errors import GridError
from graticule.grids import RasterGrid
from graticule.grids.resample import build_resampler
from graticule.grids.warp import covering, warp

FINE = RasterGrid(96, 80, (10, 0, 500_100, 0, -10, 7_800_000), "EPSG:32633")
COARSE = RasterGrid(60, 50, (20, 0, 500_000, 0, -20, 7_800_100), "EPSG:32633")


def _polar() -> RasterGrid:
    """A polar stereographic raster round `FINE`, whose up is far from its north."""
    from pyproj import Transformer

    x, y = Transformer.from_crs(FINE.crs, "EPSG:3413", always_xy=True).transform(500_500, 7_799_500)
    return RasterGrid(120, 120, (32, 0, x - 1920, 0, -32, y + 1920), "EPSG:3413")


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("source", [COARSE, _polar()], ids=["same CRS", "polar"])
def test_agrees_with_exact_resampling(source, method):
    rows, columns = np.mgrid[: source.height, : source.width]
    values = (np.sin(rows / 9) + columns / 30).astype(np.float32)[None]
    values[0, 20:25, 20:30] = np.nan
    expected, _ = build_resampler(source, FINE, method).values(values)
    found = warp(values, source, FINE, method)
    same = np.isclose(found, expected, atol=2e-3, equal_nan=True)
    # Centres on the border between two pixels may fall to either.
    assert same.mean() > (0.995 if method == "nearest" else 0.9999)
    assert np.isfinite(found).any()


def test_a_plane_stays_a_plane_where_pixels_become_wider():
    wide = RasterGrid(20, 16, (50, 0, 500_100, 0, -50, 7_800_000), "EPSG:32633")
    rows, columns = np.mgrid[: FINE.height, : FINE.width]
    east = 500_100 + 10 * (columns + 0.5)
    noise = np.where((rows + columns) % 2, 100.0, -100.0)
    found = warp((east + noise)[None].astype(np.float64), FINE, wide)[0]
    want = 500_100 + 50 * (np.arange(16) + 0.5)
    assert np.abs(found[1:-2, 1:-1] - want[1:-1]).max() < 5  # the checkerboard is averaged away


def test_only_the_pixels_that_are_needed():
    row, column, height, width = covering(COARSE, FINE.window(0, 0, 10, 10))
    assert 2 <= row <= 4
    assert 2 <= column <= 4
    window = COARSE.window(row, column, height, width)
    values = np.random.default_rng(0).random((1, *COARSE.shape), np.float32)
    part = warp(values[:, row : row + height, column : column + width], window, FINE.window(0, 0, 10, 10))
    assert np.allclose(part, warp(values, COARSE, FINE)[:, :10, :10])
    assert height < 15
    far = RasterGrid(5, 5, (10, 0, 800_000, 0, -10, 7_000_000), "EPSG:32633")
    assert covering(COARSE, far) is None
    assert np.isnan(warp(values, COARSE, far)).all()


def test_values_of_another_shape_are_refused():
    with pytest.raises(GridError, match="do not lie on the grid"):
        warp(np.zeros((1, 3, 3), np.float32), COARSE, FINE)
