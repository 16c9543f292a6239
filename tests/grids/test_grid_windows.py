from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graticule.errors import GridError
from graticule.grids import (
    HealpixGrid,
    healpix_halo,
    healpix_windows,
    morton,
    morton_inverse,
    partition,
    ramp,
    raster_windows,
    starts,
)

sizes = st.integers(1, 64)


@given(st.integers(1, 300), sizes, st.integers(0, 63))
def test_windows_cover_the_axis_and_overlap_enough(length, size, overlap):
    assume(overlap < size)
    places = starts(length, size, overlap)
    assert places[0] == 0
    assert places == sorted(set(places))
    assert all(after <= before + size - overlap for before, after in pairwise(places))
    assert places[-1] + size == max(length, size)


def test_windows_known_on_paper():
    assert starts(10, 4, 1) == [0, 3, 6]
    assert starts(11, 4, 1) == [0, 3, 6, 7]
    assert starts(8, 4, 0) == [0, 4]
    assert starts(3, 4, 0) == [0]
    assert raster_windows((5, 8), (4, 4), 0) == [(0, 0), (0, 4), (1, 0), (1, 4)]
    assert healpix_windows(HealpixGrid(2), 4) == list(range(0, 48, 4))
    assert healpix_windows(HealpixGrid(4, (3, 9), 1), 4) == list(range(0, 32, 4))


@given(st.integers(1, 300), sizes, st.integers(0, 63))
@settings(deadline=None)
def test_blending_weights_add_to_exactly_one_and_are_never_zero(length, size, overlap):
    assume(overlap < size)
    places, weights = starts(length, size, overlap), partition(length, size, overlap)
    for order in (1, -1):  # in float32 and in either order
        total = np.zeros(max(length, size), np.float32)
        for start, own in list(zip(places, weights, strict=True))[::order]:
            total[start : start + size] += own.astype(np.float32)
        np.testing.assert_array_equal(total, 1)
    assert min(own.min() for own in weights) > 0


def test_blending_weights_fall_linearly():
    np.testing.assert_allclose(ramp(6, 2, False, False), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3])
    np.testing.assert_allclose(ramp(4, 3, True, False), [1, 3 / 4, 1 / 2, 1 / 4])
    np.testing.assert_array_equal(ramp(3, 2, True, True), 1)
    first, last = partition(8, 5, 2)
    np.testing.assert_allclose(first, [1, 1, 1, 2 / 3, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(last, first[::-1], atol=2e-6)


@pytest.mark.parametrize("given", [(10, 4, 4), (10, 4, -1), (10, 0, 0), (0, 4, 1)])
def test_windows_that_cannot_advance_are_refused(given):
    with pytest.raises(GridError, match=r"cannot cover .* pixels; the overlap must be at least 0 and less than"):
        starts(*given)


def test_healpix_windows_must_be_cells():
    with pytest.raises(GridError, match="not one cell's children"):
        healpix_windows(HealpixGrid(8), 32)


@pytest.mark.parametrize("side", [1, 2, 8, 128])
def test_the_square_and_nested_order_are_inverse(side):
    window = np.arange(3 * side * side).reshape(3, -1)
    square = window[:, morton(side)]
    np.testing.assert_array_equal(square.reshape(3, -1)[:, morton_inverse(side)], window)


@given(st.integers(0, 8191), st.integers(0, 8191))
def test_nested_order_takes_bits_in_turn(row, column):
    row, column = row % 512, column % 512
    bits = "".join(y + x for y, x in zip(f"{row:013b}", f"{column:013b}", strict=True))
    assert morton(512)[row, column] == int(bits, 2)


def test_a_square_of_four():
    np.testing.assert_array_equal(morton(2), [[0, 1], [2, 3]])
    with pytest.raises(GridError, match="6 cells wide; the side must be a power of two"):
        morton(6)


@pytest.mark.parametrize(("nside", "side"), [(1, 1), (2, 1), (4, 2), (4, 4), (8, 2)])
def test_a_halo_of_one_is_every_cell_s_neighbours(nside, side):
    healpy = pytest.importorskip("healpy")
    for start in range(0, 12 * nside**2, side**2):
        halo = healpix_halo(nside, start, side, 1)
        around = [halo[r : r + side, c : c + side] for r, c in
                  ((1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1), (0, 0))]  # SW W NW N NE E SE S  # fmt: skip
        expected = healpy.get_all_neighbours(nside, halo[1:-1, 1:-1], nest=True)
        np.testing.assert_array_equal(np.stack(around), expected)


@given(st.integers(1, 4), st.integers(0, 10**6), st.integers(0, 3), st.integers(1, 16))
@settings(max_examples=80, deadline=None)
def test_cells_side_by_side_in_a_halo_are_neighbours_on_the_sphere(depth, start, window_depth, halo):
    healpy = pytest.importorskip("healpy")
    nside, side = 2**depth, 2 ** min(window_depth, depth)
    halo = min(halo, nside)
    start = start % (12 * nside**2 // side**2) * side**2
    square = healpix_halo(nside, start, side, halo)
    np.testing.assert_array_equal(square[halo : halo + side, halo : halo + side].ravel()[morton_inverse(side)],
                                  start + np.arange(side**2))  # fmt: skip
    inside = square[square >= 0]
    for one, other in ((square[:, 1:], square[:, :-1]), (square[1:], square[:-1])):
        both = (one >= 0) & (other >= 0)
        edges = healpy.get_all_neighbours(nside, one[both], nest=True)[::2]  # SW, NW, NE, SE: those that share an edge
        assert (edges == other[both]).any(0).all()
    # A cell may come twice only where the halo goes round a pole to meet itself.
    if halo + side <= nside:
        assert len(np.unique(inside)) == len(inside)


def test_missing_corners_are_whole_blocks_where_three_base_pixels_meet():
    # The base pixel 4 on the equator meets only two others at its north and its south corner.
    square = healpix_halo(4, 4 * 16, 4, 2)
    missing = np.zeros((8, 8), bool)
    missing[:2, :2] = missing[-2:, -2:] = True
    np.testing.assert_array_equal(square < 0, missing)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((4, 1, 2, 1), "no window of 2 x 2 cells starts at cell 1 of nside 4"),
        ((4, 192, 2, 1), "no window of 2 x 2 cells starts at cell 192 of nside 4"),
        ((4, 0, 8, 1), "no window of 8 x 8 cells starts at cell 0 of nside 4"),
        ((4, 0, 4, 5), "a halo of 5 cells is wider than a base pixel of 4; it must be from 0 to nside."),
    ],
)
def test_halos_that_do_not_exist_are_refused(given, message):
    with pytest.raises(GridError) as error:
        healpix_halo(*given)
    assert str(error.value).startswith(message)
