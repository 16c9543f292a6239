import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.data.audit import audit
from graticule.data.splits import PARTS, Assignment, assign
from graticule.errors import SplitError
from graticule.grids import HealpixGrid, RasterGrid, raster_windows
from worlds import healpix_world, raster_world, write_store

PAIRS = [("train", "val"), ("train", "test"), ("val", "test")]
UTM = RasterGrid(64, 64, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), "EPSG:32633")


def assigned(parts):
    """An assignment by hand: the parts of sample 0, 1, ..."""
    table = pd.DataFrame({"sample": [f"s{i}" for i in range(len(parts))], "part": parts}, index=range(len(parts)))
    return Assignment(table)


def windows(path, scene, places, side=16, **options):
    samples = [("scene", place, f"p{number}", "r") for number, place in enumerate(places)]
    return write_store(path, {"scene": scene}, samples, (side, side), **options)


@pytest.fixture(scope="module")
def worlds_of_both_kinds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return raster_world(folder / "raster", side=12), healpix_world(folder / "sphere", parent_nside=1, per_parent=1)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), degrees=st.sampled_from([15.0, 20.0, 45.0]), kind=st.integers(0, 1))
def test_block_splits_share_no_ground(worlds_of_both_kinds, seed, degrees, kind):
    """Though windows straddle the blocks and are then in several parts."""
    store = worlds_of_both_kinds[kind]
    found = assign(store, method="block", by=degrees, seed=seed, shares=(0.4, 0.3, 0.3))
    assert found.table.index.duplicated().any()
    report = audit(store, found)
    assert not report.leaks
    assert all(shared.ground_pixels == 0 for shared in report.pairs.values())


def test_whole_windows_that_straddle_blocks_do_share_ground(worlds_of_both_kinds):
    """The fault that masks prevent: the same parts, each window whole in each of them."""
    for store in worlds_of_both_kinds:
        found = assign(store, method="block", by=15)
        whole = audit(store, Assignment(found.table))
        count = sum(len({*found.samples("train")} & {*found.samples(part)}) for part in ("val", "test"))
        shared = sum(whole.pairs["train", part].ground_pixels for part in ("val", "test"))
        assert shared == count * np.prod(store.space) > 0


@settings(max_examples=12, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60)), min_size=2, max_size=8),
    parts=st.lists(st.sampled_from(PARTS), min_size=8, max_size=8),
)
def test_a_planted_overlap_is_found_to_the_pixel(tmp_path_factory, places, parts):
    """Windows anywhere over a scene, also reaching outside it; the sets of their pixels are the oracle."""
    store = windows(tmp_path_factory.mktemp("world") / "store", UTM, places)
    report = audit(store, assigned(parts[: len(places)]))
    ground = {part: set() for part in PARTS}
    for (row, column), part in zip(places, parts, strict=False):
        inside = {(r, c) for r in range(row, row + 16) for c in range(column, column + 16)}
        ground[part] |= {(r, c) for r, c in inside if 0 <= r < 64 and 0 <= c < 64}
    for first, second in PAIRS:
        assert report.pairs[first, second].ground_pixels == len(ground[first] & ground[second])


def test_windows_over_the_antimeridian_share_ground(tmp_path):
    store = windows(tmp_path / "store", RasterGrid.global_(5.0), [(3, 68), (3, -8), (3, 0), (20, 30)], side=8)
    report = audit(store, assigned(["train", "val", "test", "train"]))
    assert report.pairs["train", "val"].ground_pixels == 8 * 4
    assert report.pairs["train", "test"].ground_pixels == 8 * 4
    assert report.pairs["val", "test"].ground_pixels == 0


def test_scenes_of_one_nside_are_compared_cell_by_cell(tmp_path):
    scenes = {"a": HealpixGrid(16, (0, 1), 2), "b": HealpixGrid(16, (1, 2), 2)}
    samples = [("a", (0,), "p0", "r"), ("a", (64,), "p1", "r"), ("b", (0,), "p2", "r"), ("b", (64,), "p3", "r")]
    store = write_store(tmp_path / "store", scenes, samples, (64,))
    report = audit(store, assigned(["train", "train", "val", "test"]))
    assert [report.pairs[pair].ground_pixels for pair in PAIRS] == [64, 0, 0]


def test_scenes_on_different_lattices_are_compared_by_footprint(tmp_path):
    """The second scene lies 40 columns east of the first in half pixels; a third only touches it."""
    a, b, c, d, e, f = UTM.transform
    scenes = {
        "one": UTM,
        "shifted": RasterGrid(64, 64, (a, b, c + 405.0, d, e, f), UTM.crs),
        "next": RasterGrid(64, 64, (a, b, c, d, e, f + 645.0 - 5.0), UTM.crs),
    }
    samples = [(name, (0, 0), name, "r") for name in scenes]
    store = write_store(tmp_path / "store", scenes, samples, (64, 64))
    report = audit(store, assigned(["train", "val", "test"]))
    assert report.pairs["train", "val"].ground_pixels == pytest.approx(23.5 * 64, abs=2)
    assert report.pairs["train", "test"].ground_pixels == 0
    assert audit(store, assigned(["train", "test", "train"])).pairs["train", "val"].ground_pixels == 0


def test_equal_content_is_found_and_plain_content_told_apart(tmp_path):
    """Samples 0 and 3 are copies, 1 and 4 are open sea, 2 and 5 differ in one value."""

    def content(number):
        if number in (1, 4):
            return np.full((2, 16, 16), 7, np.uint8)
        values = np.random.default_rng(number % 3).integers(0, 200, (2, 16, 16)).astype(np.uint8)
        values[1, 3, 5] += number == 5
        return values

    store = windows(tmp_path / "store", UTM, raster_windows((64, 64), (16, 16), 0)[:6], x=content)
    shared = audit(store, assigned(["train"] * 3 + ["test"] * 3)).pairs["train", "test"]
    assert (shared.content_samples, shared.content_pixels, shared.plain_samples) == (1, 256, 1)
    assert shared.examples == ("s0",)
    assert shared.leaks
    assert not audit(store, assigned(["train", "train", "train", "train", "test", "test"])).leaks


def test_samples_without_values_are_plain(tmp_path):
    def content(number):
        values = np.full((2, 16, 16), np.nan, np.float32)
        values[0, 0, 0] = 1.0
        return values

    store = windows(tmp_path / "store", UTM, [(0, 0), (16, 16)], x=content, dtype=np.float32)
    report = audit(store, assigned(["train", "val"]))
    assert report.pairs["train", "val"].plain_samples == 1
    assert not report.leaks


def test_shared_parents_leak_where_the_parent_is_the_unit(worlds_of_both_kinds):
    store = worlds_of_both_kinds[0]
    parts = ["train", "val", *["train"] * (len(store) - 3), "test"]
    report = audit(store, assigned(parts))
    assert [report.pairs[pair].parents for pair in PAIRS] == [1, 1, 0]
    assert report.pairs["train", "val"].examples == ("p000",)
    assert audit(store, assign(store, method="random", by=0.3)).leaks is False


def test_a_leak_is_told_in_one_line_and_refused(worlds_of_both_kinds):
    store = worlds_of_both_kinds[0]
    clean = audit(store, assign(store))
    assert clean.summary == "no two parts share ground, content or a parent"
    clean.refuse()
    report = audit(store, assign(store, method="none"))
    told = "train and val share 2592 pixels of ground, 18 equal samples, 9 parents (such as p000)"
    assert report.summary.startswith(told)
    with pytest.raises(SplitError, match=r"^the split leaks: train and val .* with split.allow_leaks=true"):
        report.refuse()
    plain = report.to_dict()
    assert plain["leaks"] is True
    assert plain["pairs"]["train and test"]["ground_pixels"] == 2592
