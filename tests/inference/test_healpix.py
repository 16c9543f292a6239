import numpy as np
import pytest
import torch

from graticule.errors import GridError
from graticule.grids import HealpixGrid, morton, morton_inverse
from graticule.inference.healpix import core_of, on_squares, to_cells, to_squares, walk_sphere
from graticule.models.healpix import OnHealpix


def whole(blocks, name):
    blocks = list(blocks)
    assert [b.start for b in blocks] == np.cumsum([0, *(b.seen.size for b in blocks)])[:-1].tolist()
    return np.concatenate([b.fields[name] for b in blocks], axis=-1)


def reader(values):
    return lambda ids: (np.where(ids >= 0, values[:, ids], 0), ids >= 0)


@pytest.mark.parametrize(
    "grid", [HealpixGrid(4), HealpixGrid(16), HealpixGrid(16, (3, 0, 7), 2), HealpixGrid(16, (40,), 8)]
)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_identity_comes_back_in_the_order_of_the_grid(grid, batch_size):
    values = np.random.default_rng(0).random((2, 12 * grid.nside**2)).astype(np.float32)
    blocks = list(
        walk_sphere(reader(values), grid, lambda x, s: {"t": x, "v": x[:, 1]}, window=8, batch_size=batch_size)
    )
    assert np.array_equal(whole(blocks, "t"), values[:, grid.cell_ids()])
    assert np.array_equal(whole(blocks, "v"), values[1, grid.cell_ids()])
    assert np.array_equal(np.concatenate([b.x for b in blocks], axis=1), values[:, grid.cell_ids()])


def test_a_smoothing_net_sees_true_neighbours_over_every_seam():
    # The mean of a 3 x 3 neighbourhood of z on a fine sphere is close to z itself wherever neighbours are true ones;
    # with windows cut at their edges it would be off by the slope times the width of the seam.
    grid = HealpixGrid(32)
    z = grid.directions()[:, 2].astype(np.float32)[None]
    kernel = torch.full((1, 1, 3, 3), 1.0)

    def smooth(x, seen):
        count = torch.nn.functional.conv2d(seen[:, None].float(), kernel, padding=1)
        return {"t": torch.nn.functional.conv2d(x * seen[:, None], kernel, padding=1) / count.clamp(min=1)}

    out = whole(walk_sphere(reader(z), grid, smooth, window=16), "t")
    spacing = np.sqrt(4 * np.pi / grid.size)
    assert np.abs(out - z).max() < spacing / 2
    # And it does not matter how the sphere was cut into windows.
    other = whole(walk_sphere(reader(z), grid, smooth, window=32), "t")
    assert np.allclose(out, other, atol=1e-6)


def test_squares_of_a_nested_net_are_those_of_its_planar_net():
    torch.manual_seed(0)
    planar = torch.nn.Conv2d(2, 3, 3, padding=1).eval()
    nested = OnHealpix(planar)
    x = torch.rand(2, 2, 8, 8)
    squares = on_squares(lambda x, seen: {"t": nested(x), "one": nested(x)[:, 0], "seen": seen.float()})
    with torch.no_grad():
        answer = squares(x, x[:, 0] > 0.5)
        assert torch.allclose(answer["t"], planar(x), atol=1e-6)
        assert torch.allclose(answer["one"], planar(x)[:, 0], atol=1e-6)
    assert torch.equal(answer["seen"], (x[:, 0] > 0.5).float())


def test_what_the_net_gets_is_a_window_with_its_halo():
    grid = HealpixGrid(8)
    ids = np.arange(grid.size, dtype=np.float32)[None]
    got = []
    list(walk_sphere(reader(ids), grid, lambda x, s: got.append((x, s)) or {"t": x}, window=8, batch_size=4))
    assert {tuple(x.shape[1:]) for x, _ in got} == {(1, 8, 8)}
    first = got[0][0][0, 0, 2:6, 2:6].reshape(-1).numpy()[morton_inverse(4)]
    assert first.tolist() == list(range(16))
    unseen = sum(int((~s).sum()) for _, s in got)
    assert unseen == 8 * 3 * 2 * 2  # at eight points of the sphere only three base pixels meet


@pytest.mark.parametrize(("nside", "window", "expected"), [(256, 64, (32, 16)), (16, 64, (16, 24)), (8, 8, (4, 2))])
def test_core_and_halo_fill_a_power_of_two(nside, window, expected):
    if expected[1] > nside:
        with pytest.raises(GridError, match="too wide for nside 16"):
            core_of(HealpixGrid(nside), window)
    else:
        core, halo = core_of(HealpixGrid(nside), window)
        assert (core, halo) == expected
        assert core + 2 * halo == window


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(GridError, match="a window of 48 cells does not fit the sphere; it must be a power of two"):
        core_of(HealpixGrid(16), 48)
    with pytest.raises(GridError, match="too wide for nside 1"):
        core_of(HealpixGrid(1), 4)


def test_cells_of_several_base_pixels_are_their_squares_one_below_the_other():
    cells = torch.arange(2 * 3 * 64).reshape(2, 192)
    squares = to_squares(cells, 8)
    assert squares.shape == (2, 24, 8)
    for face in range(3):
        own = cells[1, face * 64 : face * 64 + 64]
        assert torch.equal(squares[1, face * 8 : face * 8 + 8], own[torch.from_numpy(morton(8).copy())])
    assert torch.equal(to_cells(squares), cells)


def test_a_net_of_cells_sees_the_same_cells_through_squares():
    weights = torch.rand(128)
    asked = on_squares(lambda x, seen: {"t": x * weights * seen[:, None]})
    x, seen = torch.rand(2, 3, 128), torch.rand(2, 128) > 0.3
    answer = asked(to_squares(x, 8), to_squares(seen, 8))["t"]
    assert torch.equal(to_cells(answer), x * weights * seen[:, None])
    with pytest.raises(GridError, match=r"cannot be turned as one; set evaluate.tta=false"):
        asked(torch.rand(1, 3, 8, 16), torch.ones(1, 8, 16, dtype=torch.bool))
