import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.errors import GridError
from graticule.grids import HealpixGrid, grid_from_dict, parse_grid

SOME = HealpixGrid(16, (37, 5, 47, 0), 2)
GRIDS = [HealpixGrid(1), HealpixGrid(8), SOME, SOME.window(64, 16)]


@st.composite
def healpix_grids(draw):
    """The sphere, or up to five parents in any order."""
    depth = draw(st.integers(0, 5))
    if draw(st.booleans()):
        return HealpixGrid(2**depth)
    above = draw(st.integers(0, depth))
    parents = draw(st.lists(st.integers(0, 12 * 4**above - 1), min_size=1, max_size=5, unique=True))
    return HealpixGrid(2**depth, tuple(parents), 2**above)


@given(healpix_grids())
@settings(max_examples=60, deadline=None)
def test_laws_of_any_healpix_grid(grid):
    np.testing.assert_array_equal(grid.locate(*grid.lonlat()), np.arange(grid.size))
    np.testing.assert_array_equal(grid.offsets(grid.cell_ids()), np.arange(grid.size))
    assert grid.areas().sum() == pytest.approx(4 * np.pi * grid.size / (12 * grid.nside**2))
    assert grid_from_dict(grid.to_dict()) == grid
    assert hash(grid_from_dict(grid.to_dict())) == hash(grid)
    assert grid.shape == (grid.size,) == grid.cell_ids().shape


@pytest.mark.parametrize("nside", [1, 4, 256])
def test_cells_agree_with_healpy(nside):
    healpy = pytest.importorskip("healpy")
    grid = HealpixGrid(nside)
    lon, lat = healpy.pix2ang(nside, np.arange(grid.size), nest=True, lonlat=True)
    np.testing.assert_allclose(grid.directions(), healpy.ang2vec(lon, lat, lonlat=True), atol=1e-12)
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(-360, 720, 10_000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 10_000)))
    np.testing.assert_array_equal(grid.locate(lon, lat), healpy.ang2pix(nside, lon, lat, nest=True, lonlat=True))


def test_the_largest_nside_has_windows():
    grid = HealpixGrid(8192).window(4096 * 77, 4096)
    assert grid == HealpixGrid(8192, (77,), 128)
    np.testing.assert_array_equal(grid.cell_ids(), 4096 * 77 + np.arange(4096))
    np.testing.assert_array_equal(grid.locate(*grid.lonlat()), np.arange(4096))


def test_cells_outside_and_points_nowhere():
    lon, lat = HealpixGrid(16).lonlat()
    where = SOME.locate(lon, lat)
    assert (where >= 0).sum() == SOME.size
    np.testing.assert_array_equal(np.flatnonzero(where >= 0), np.sort(SOME.cell_ids()))
    np.testing.assert_array_equal(HealpixGrid(4).locate([np.nan, 0.0, 0.0], [0.0, np.nan, 91.0]), -1)
    np.testing.assert_array_equal(SOME.offsets(np.array([-1])), -1)


def test_windows_follow_the_grid_order():
    for start in range(0, SOME.size, 16):
        np.testing.assert_array_equal(SOME.window(start, 16).cell_ids(), SOME.cell_ids()[start : start + 16])
    assert SOME.window(64, 64) == HealpixGrid(16, (5,), 2)
    assert HealpixGrid(4).window(16, 16) == HealpixGrid(4, (1,), 1)


@pytest.mark.parametrize(
    ("start", "size", "message"),
    [
        (0, 8, "a window of 8 cells from 0 is not one cell's children; the size must be a power of four up to 256"),
        (8, 16, "a window of 16 cells from 8 is not one cell's children"),
        (0, 0, "a window of 0 cells from 0 is not one cell's children"),
        (256, 16, "the window of 16 cells from 256 leaves the grid; it must lie in 256 cells, under one parent of 64."),
        (256, 64, "the window of 64 cells from 256 leaves the grid"),
        (-16, 16, "the window of 16 cells from -16 leaves the grid"),
    ],
)
def test_what_is_not_a_window_is_refused(start, size, message):
    with pytest.raises(GridError) as error:
        SOME.window(start, size)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("nside", [1, 2, 8, 256])
def test_bilinear_weights_are_those_of_healpy(nside):
    healpy = pytest.importorskip("healpy")
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(-180, 180, 3000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 3000)))
    lat[:4] = [90, -90, 89.999, -89.999]
    values = rng.normal(size=12 * nside**2)
    index, weights = HealpixGrid(nside).neighbours_weights(lon, lat)
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    expected, expected_weights = healpy.get_interp_weights(nside, lon, lat, nest=True, lonlat=True)
    np.testing.assert_allclose((values[index] * weights).sum(-1), (values[expected] * expected_weights).sum(0))


@pytest.mark.parametrize("nside", [8, 32, 128])
def test_bilinear_errors_fall_with_the_square_of_the_cells_width(nside):
    grid = HealpixGrid(nside)
    lon, lat = HealpixGrid(64, (0, 4, 11, 7), 2).lonlat()
    index, weights = grid.neighbours_weights(lon, lat)
    wrong = (np.sin(np.deg2rad(grid.lonlat()[1]))[index] * weights).sum(-1) - np.sin(np.deg2rad(lat))
    assert np.sqrt((wrong**2).mean()) < 0.1 * grid.areas()[0]


def test_bilinear_weights_at_the_border_of_a_set_of_parents_add_to_one():
    index, weights = SOME.neighbours_weights(*SOME.lonlat())
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    assert (index < 0).any()
    assert (weights[index < 0] == 0).all()
    outside = np.setdiff1d(np.arange(HealpixGrid(16).size), SOME.cell_ids())
    lon, lat = (axis[outside] for axis in HealpixGrid(16).lonlat())
    index, weights = SOME.neighbours_weights(lon, lat)
    assert (index == -1).all()
    assert (weights == 0).all()


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("per_side", [1, 2, 4])
def test_samples_lie_in_their_cell_and_share_its_area(grid, per_side):
    some = np.arange(0, grid.size, 3)
    lon, lat, share = grid.samples(per_side, some)
    assert share.shape == (len(some), per_side**2)
    np.testing.assert_array_equal(grid.locate(lon, lat), np.broadcast_to(some[:, None], share.shape))
    np.testing.assert_array_equal(share.sum(-1), 1.0)


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_footprints_of_all_cells_tile_the_world(nside):
    whole = HealpixGrid(nside)
    footprints = [HealpixGrid(nside, (cell,), nside).footprint() for cell in range(whole.size)]
    assert all(footprint.is_valid for footprint in footprints)
    # Straight edges between 8 points a side leave slivers, no more.
    assert sum(footprint.area for footprint in footprints) == pytest.approx(360 * 180, rel=2e-3)
    assert shapely.union_all(footprints).area == pytest.approx(360 * 180, rel=4e-3)
    lon, lat = whole.lonlat()
    assert all(footprint.covers(shapely.Point(lon[i], lat[i])) for i, footprint in enumerate(footprints))
    assert whole.footprint().area == 360 * 180


def test_equal_grids_are_equal_however_written():
    assert HealpixGrid(4, (3,), 1) == HealpixGrid(4, (3,))
    assert HealpixGrid(4, None, 2) == HealpixGrid(4)
    assert parse_grid("healpix:64") == HealpixGrid(64)
    assert repr(HealpixGrid(64)) == "HealpixGrid(64)"
    assert repr(SOME) == "HealpixGrid(16, 4 parents at nside 2: 37, 5, 47, 0)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0,), "nside is 0; it must be a power of two from 1 to 8192."),
        ((100,), "nside is 100; it must be a power of two from 1 to 8192."),
        ((16384,), "nside is 16384; it must be a power of two from 1 to 8192."),
        ((4, (0,), 8), "parent_nside is 8; it must not exceed nside, which is 4."),
        (
            (4, (12,), 1),
            "the HEALPix grid has parent 12; parents must be different ids from 0 to 11 at parent_nside 1.",
        ),
        ((4, (1, 1), 1), "the HEALPix grid has a parent given twice; parents must be different ids"),
        ((4, (), 1), "the HEALPix grid has no parents; parents must be different ids"),
    ],
)
def test_what_is_not_a_healpix_grid_is_refused(given, message):
    with pytest.raises(GridError) as error:
        HealpixGrid(*given)
    assert str(error.value).startswith(message)
