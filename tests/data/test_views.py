"""Views are a function of their place, are cut and turned rightly on any grid, and leave alone what a band forbids."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.data.augment import turn
from graticule.data.pretraining import PretrainingData
from graticule.data.splits import assign
from graticule.data.views import Views, as_square, make_view
from graticule.errors import ConfigError
from graticule.grids.windows import morton_inverse
from graticule.schema import KEPT, SEEN, VIEWS, Band, X
from worlds import healpix_world, raster_world

OPTICAL = [Band(f"b{number}", mean=100.0, std=40.0) for number in range(3)]
MIXED = [
    Band("red", mean=100.0, std=40.0), Band("vv", kind="radar", mean=-10.0, std=5.0),
    Band("height", kind="elevation", mean=500.0, std=300.0), Band("wind_east", kind="direction"),
    Band("wind_north", kind="direction"), Band("green", mean=90.0, std=30.0),
]  # fmt: skip
STILL = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "d4": False}


def drawn(views, entry=(0, 0, 0), view=0, bands=OPTICAL, space=(16, 16), seed=1, **options):
    return views.draw(seed, entry, view, bands, space, **options)


@settings(max_examples=10, deadline=None)
@given(st.tuples(st.integers(0, 99), st.integers(0, 10**6), st.integers(0, 10**6)), st.integers(0, 1))
def test_what_is_drawn_is_a_function_of_seed_epoch_position_sample_and_view(entry, view):
    views = Views(brightness=0.3, tint=0.3, drop=0.3, blur=5, grey=0.5)
    first, again = (drawn(views, entry, view) for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    row, column, height, width = first["box"][0]
    assert min(row, column) >= 0
    assert row + height <= 16 + 1e-9
    assert column + width <= 16 + 1e-9
    assert 0.2 * 256 * 0.74 <= height * width <= 256 + 1e-9, "no side is cut by more than the ratio"
    assert first["kept"].any()
    for other in ((entry[0] + 1, *entry[1:]), (entry[0], entry[1] + 1, entry[2]), (*entry[:2], entry[2] + 1)):
        assert not np.array_equal(drawn(views, other, view)["box"], first["box"])
    assert not np.array_equal(drawn(views, entry, view + 1)["box"], first["box"])
    assert not np.array_equal(drawn(views, entry, view, seed=2)["box"], first["box"])


@pytest.mark.parametrize("element", range(8))
def test_a_whole_view_is_the_window_turned_and_the_same_on_nested_cells(element):
    x = torch.arange(2 * 64).reshape(1, 2, 8, 8).float()
    draws = drawn(Views(size=8, **STILL), bands=OPTICAL[:2], space=(8, 8)) | {"element": np.array([element])}
    seen = torch.ones(1, 8, 8, dtype=torch.bool)
    seen[0, 0, :3] = False
    view, shown, kept = make_view(x, seen, OPTICAL[:2], draws, 8)
    np.testing.assert_array_equal(shown[0], turn(seen[0].numpy(), element))
    expected = turn(x[0].numpy(), element)
    np.testing.assert_allclose(view[0][:, shown[0]], expected[:, shown[0].numpy()], atol=1e-3)
    assert kept.all()
    to_cells = torch.tensor(morton_inverse(8))
    cells = x.flatten(-2)[..., to_cells], seen.flatten(-2)[..., to_cells]
    assert torch.equal(as_square(cells[0]), x)
    assert torch.equal(make_view(*cells, OPTICAL[:2], draws, 8)[0], view)


def test_a_crop_that_halves_takes_the_values_between_pixels():
    x = torch.tensor([[0.0, 2, 4, 6]]).expand(4, 4)[None, None]
    draws = drawn(Views(size=2, **STILL), bands=OPTICAL[:1], space=(4, 4))
    view, _, _ = make_view(x, torch.ones(1, 4, 4, dtype=torch.bool), OPTICAL[:1], draws, 2)
    torch.testing.assert_close(view[0, 0], torch.tensor([[1.0, 5], [1, 5]]))


def test_light_changes_optical_and_radar_bands_and_nothing_else():
    x = torch.rand(1, 6, 8, 8, generator=torch.Generator().manual_seed(0)) * 100
    seen = torch.ones(1, 8, 8, dtype=torch.bool)
    strong = Views(size=8, brightness=0.5, contrast=0.5, tint=0.5, noise=0.5, grey=1.0, **STILL)
    view, _, _ = make_view(x, seen, MIXED, drawn(strong, bands=MIXED, space=(8, 8)), 8)
    plain, _, _ = make_view(x, seen, MIXED, drawn(Views(size=8, **STILL), bands=MIXED, space=(8, 8)), 8)
    changed = [not torch.allclose(view[0, band], plain[0, band], atol=1e-3) for band in range(6)]
    assert changed == [True, True, False, False, False, True]
    # All of a radar band gets one gain and one offset, so that it stays a line of what it was.
    slope = np.polyfit(plain[0, 1].flatten(), view[0, 1].flatten(), 1)
    np.testing.assert_allclose(np.polyval(slope, plain[0, 1].flatten()), view[0, 1].flatten(), atol=1e-3)
    # Grey: both optical bands are as many deviations from their means.
    red, green = ((view[0, band] - MIXED[band].mean) / MIXED[band].std for band in (0, 5))
    torch.testing.assert_close(red, green, atol=1e-4, rtol=1e-4)


def test_directions_turn_with_the_picture():
    x = torch.zeros(1, 6, 4, 4)
    x[:, 3] = 1.0  # to the east
    draws = drawn(Views(size=4, **STILL), bands=MIXED, space=(4, 4)) | {"element": np.array([1])}
    view, _, _ = make_view(x, torch.ones(1, 4, 4, dtype=torch.bool), MIXED, draws, 4)
    torch.testing.assert_close(view[0, 3], torch.zeros(4, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(view[0, 4], torch.ones(4, 4))  # turned to the north


def test_bands_are_left_out_and_groups_are_views_of_one_place():
    dropped = np.concatenate([drawn(Views(drop=0.5), (0, place, 0), bands=MIXED)["kept"] for place in range(300)])
    assert 0.4 < 1 - dropped[:, 0].mean() < 0.6
    assert (dropped[:, 3] == dropped[:, 4]).all(), "the two components of a direction go together"
    views = Views(groups=(("red", "green"), ("vv",)))
    firsts = set()
    for place in range(20):
        one, other = (drawn(views, (0, place, 0), view, bands=MIXED)["kept"][0] for view in (0, 1))
        shown = [[band.name for band, kept in zip(MIXED, some, strict=True) if kept] for some in (one, other)]
        assert sorted(shown) == [["red", "green"], ["vv"]]
        firsts.add(tuple(shown[0]))
    assert len(firsts) == 2


def test_crops_by_the_ground_are_as_high_as_wide_on_it():
    views = Views(size=4, ground=(100.0, 100.0), ratio=(1.0, 1.0))
    box = drawn(views, space=(64, 64), metres=(50.0, 25.0))["box"][0]
    np.testing.assert_allclose(box[2:], [400 / 50, 400 / 25])


def test_batches_have_views_and_positives_of_the_same_parent(tmp_path):
    stores = (
        raster_world(tmp_path / "raster", degrees=15.0, side=4, per_parent=2,
                     x=lambda n: np.full((2, 4, 4), n, np.uint8)),
        healpix_world(tmp_path / "sphere", nside=8, parent_nside=1, per_parent=4,
                      x=lambda n: np.full((2, 16), n, np.uint8)),
    )  # fmt: skip
    for store, group in zip(stores, (2, 4), strict=True):
        views = Views(size=8, local=1, local_size=4, positives="parent")
        module = PretrainingData(store, assign(store, method="random", seed=1), views, batch_size=4)
        batch = module.on_after_batch_transfer(next(iter(module.train_loader)), 0)
        assert [tuple(view[X].shape) for view in batch[VIEWS]] == [(4, 2, 8, 8), (4, 2, 8, 8), (4, 2, 4, 4)]
        assert batch[VIEWS][0][KEPT].all()
        assert batch[VIEWS][0][SEEN].all()
        own, other, third = (view[X][:, 0].mean((1, 2)) for view in batch[VIEWS])
        torch.testing.assert_close(own, batch[X][:, 0].flatten(1)[:, 0].float())
        torch.testing.assert_close(third, own)
        assert ((own // group) == (other // group)).all()
        assert (own != other).all(), "the train part has both windows of these parents"
        assert not batch["targets"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positives": "paren"}, "pretraining.views.positives is 'paren'.*parent"),
        ({"groups": (("b0",), ("b7",))}, "views.groups names band 'b7', which the data lacks; it has b0, b1"),
        ({"groups": (("b0",),)}, "pretraining.views.groups has one group of bands"),
    ],
)
def test_views_that_do_not_fit_the_store_are_refused(tmp_path, options, message):
    store = raster_world(tmp_path / "store", degrees=15.0, side=4)
    with pytest.raises(ConfigError, match=message):
        PretrainingData(store, assign(store, method="random"), Views(**options))


def test_a_sphere_in_one_sample_has_no_views(tmp_path):
    store = healpix_world(tmp_path / "store", nside=2, parent_nside=1, per_parent=1)
    views = Views()
    with pytest.raises(ConfigError, match="a sample has 48 cells, which are no square under one parent"):
        views.check(store.bands, (48,))
