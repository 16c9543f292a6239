import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.data import splits
from graticule.data.splits import PARTS, Assignment, BlockParts, assign
from graticule.errors import SplitError
from worlds import healpix_world, raster_world


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """72 windows of 6 x 6 pixels, 36 parents of two, in three regions of twelve parents; parents of r0 are empty."""

    def label(number):
        return np.full((6, 6), 255 if number // 2 % 3 == 0 else 1, np.uint8)

    def no_height(number):
        return np.full((6, 6), np.nan, np.float32)

    return raster_world(tmp_path_factory.mktemp("world") / "store", y=label, height=no_height)


@pytest.fixture(scope="module")
def sphere(tmp_path_factory):
    return healpix_world(tmp_path_factory.mktemp("world") / "store", per_parent=1)


def parents(store, assignment, part):
    return set(store.metadata["parent"].to_numpy()[assignment.samples(part)])


def regions(store, assignment, part):
    return set(store.metadata["region"].to_numpy()[assignment.samples(part)])


METHODS = [
    ("random", None), ("random", 0.3), ("random", (0.5, 0.2, 0.3)), ("region", "r1"), ("sample", ["s3", "s40"]),
    ("parent", ["p001", "p020"]),
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    choice=st.sampled_from(METHODS),
    folds=st.sampled_from(["kfold", "stratified", "shuffle", "region", "region-stratified"]),
    seed=st.integers(0, 2**31),
    fold=st.integers(0, 1),
)
def test_no_parent_is_in_two_parts_and_no_sample_is_lost(raster, choice, folds, seed, fold):
    method, by = choice
    fold = 0 if isinstance(by, tuple) else fold
    found = assign(raster, method=method, by=by, seed=seed, fold_method=folds, total_folds=2, fold=fold)
    train, val, test = (parents(raster, found, part) for part in PARTS)
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert sorted(np.concatenate([found.samples(part) for part in PARTS])) == list(range(72))
    assert set(found.table.columns) == {"sample", "part"}


def test_random_takes_the_share_given_as_that_of_the_test_part(raster):
    for share in (0.25, 0.5):
        found = assign(raster, method="random", by=share)
        assert len(found.samples("test")) == share * 72


def test_three_shares_are_drawn_at_once(raster):
    found = assign(raster, method="random", by=(0.5, 0.25, 0.25))
    assert [len(found.samples(part)) for part in PARTS] == [36, 18, 18]
    with pytest.raises(SplitError, match="gives three shares, so there is no fold 1; give the test share alone"):
        assign(raster, method="random", by=(0.5, 0.25, 0.25), fold=1)


def test_the_order_of_samples_in_the_store_does_not_matter(raster, tmp_path):
    metadata = raster.metadata
    order = np.random.default_rng(0).permutation(72)
    shuffled = object.__new__(type(raster))
    shuffled.path, shuffled.metadata = raster.path, metadata.iloc[order].reset_index(drop=True)
    for folds in ("kfold", "shuffle", "region"):
        one, two = (assign(store, fold_method=folds, total_folds=3) for store in (raster, shuffled))
        for part in PARTS:
            assert parents(raster, one, part) == parents(shuffled, two, part)


def test_named_regions_parents_and_samples_are_the_test_part(raster):
    assert regions(raster, assign(raster, method="region", by="r1"), "test") == {"r1"}
    assert parents(raster, assign(raster, method="parent", by=["p004", "p030"]), "test") == {"p004", "p030"}
    found = assign(raster, method="sample", by=["s9"])
    assert list(found.samples("test")) == [8, 9], "the other window of its parent goes with it"


@pytest.mark.parametrize("folds", ["kfold", "stratified", "region", "region-stratified"])
def test_every_sample_beside_the_test_part_validates_in_exactly_one_fold(raster, folds):
    total = 3
    found = [assign(raster, by=0.2, fold_method=folds, total_folds=total, fold=fold) for fold in range(total)]
    validated = np.concatenate([each.samples("val") for each in found])
    assert len(validated) == len(set(validated)) == 72 - len(found[0].samples("test"))
    for each in found:
        assert set(each.samples("test")) == set(found[0].samples("test"))
        if folds.startswith("region"):
            assert not regions(raster, each, "val") & regions(raster, each, "train")


def test_stratified_folds_have_the_same_share_of_empty_samples(raster):
    empty = raster.metadata["empty"].to_numpy()
    assert empty.mean() == pytest.approx(1 / 3)
    for fold in range(4):
        found = assign(raster, method="region", by="r1", fold_method="stratified", total_folds=4, fold=fold)
        assert empty[found.samples("val")].mean() == 0.5


def test_shuffle_draws_one_part_in_total_folds_and_keeps_the_strata(raster):
    empty = raster.metadata["empty"].to_numpy()
    drawn = [assign(raster, method="region", by="r1", fold_method="shuffle", total_folds=4, fold=f) for f in range(4)]
    for found in drawn:
        assert len(found.samples("val")) == 48 / 4
        assert empty[found.samples("val")].mean() == 0.5
    assert any(set(drawn[0].samples("val")) & set(other.samples("val")) for other in drawn[1:])


def test_no_split_and_no_folds_share_samples_on_purpose(raster):
    nothing = assign(raster, method="none")
    assert all(len(nothing.samples(part)) == 72 for part in PARTS)
    folds = assign(raster, method="region", by="r0", fold_method="none")
    assert list(folds.samples("train")) == list(folds.samples("val"))
    assert not set(folds.samples("train")) & set(folds.samples("test"))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), degrees=st.sampled_from([15.0, 30.0, 45.0, 60.0]), on=st.sampled_from("rs"))
def test_block_masks_part_the_pixels(raster, sphere, seed, degrees, on):
    """Every pixel of the Earth is in exactly one part, that of its block, whatever window it is seen through."""
    store = raster if on == "r" else sphere
    try:
        found = assign(store, method="block", by=degrees, seed=seed, shares=(0.4, 0.3, 0.3))
    except SplitError:  # at 60 degrees there are 18 blocks: now and then none of them tests
        return
    codes = np.random.RandomState(seed).choice(3, size=(int(180 / degrees), int(360 / degrees)), p=[0.4, 0.3, 0.3])
    members = {part: set(found.samples(part)) for part in PARTS}
    for index in range(0, len(store), 7):
        lon, lat = store.grid(index).lonlat()
        expected = codes[((90 - lat) // degrees).astype(int), ((lon + 180) // degrees).astype(int)]
        for code, part in enumerate(PARTS):
            assert (index in members[part]) == bool((expected == code).any())
            if index in members[part]:
                mask = found.mask(store, index, part)
                assert np.array_equal(np.ones(store.space, bool) if mask is None else mask, expected == code)


def test_the_blocks_of_the_published_figures(raster):
    """Row 0 is north, column 0 begins at 180°W, and the draw is RandomState(seed).choice."""
    found = assign(raster, method="block", by=15, seed=1529)
    codes = np.random.RandomState(1529).choice(3, size=(12, 24), p=[0.7, 0.15, 0.15])
    lat, lon = np.meshgrid(90 - 15 * np.arange(12) - 7.5, -180 + 15 * np.arange(24) + 7.5, indexing="ij")
    assert np.array_equal(found.blocks.at(lon, lat), codes)


def test_block_positions_at_the_edges():
    blocks = BlockParts(90.0, ((0, 1, 2, 0), (1, 1, 2, 2)))
    lon = np.array([-180.0, -90.0, 179.9, 180.0, 0.0, np.nan, -180.0])
    lat = np.array([90.0, 0.1, 0.0, 45.0, -90.0, 0.0, np.inf])
    assert list(blocks.at(lon, lat)) == [0, 1, 2, 0, 2, 255, 255]


def test_blocks_without_folds_train_and_validate_on_all_that_does_not_test(raster, tmp_path):
    drawn = assign(raster, method="block", by=30)
    found = assign(raster, method="block", by=30, fold_method="none")
    found.save(tmp_path / "assignment.parquet")
    found = Assignment.load(tmp_path / "assignment.parquet")
    assert list(found.samples("val")) == list(found.samples("train"))
    assert list(found.samples("test")) == list(drawn.samples("test"))
    for row in found.samples("train"):
        parts = [assignment.mask(raster, int(row), part) for assignment, part in (
            (found, "train"), (found, "val"), (drawn, "train"), (drawn, "val"))]  # fmt: skip
        train, val, first, second = (np.ones(raster.space, bool) if mask is None else mask for mask in parts)
        assert np.array_equal(train, val)
        assert np.array_equal(train, first | second)


def test_folds_of_blocks_validate_every_block_once(raster):
    found = [assign(raster, method="block", by=30, fold_method="block", total_folds=3, fold=fold) for fold in range(3)]
    codes = np.array([each.blocks.parts for each in found])
    assert np.array_equal((codes == 1).sum(axis=0), codes[0] != 2)
    assert np.array_equal((codes == 2).sum(axis=0), 3 * (codes[0] == 2))
    with pytest.raises(SplitError, match=r"there is no fold 1; set split.fold_method to 'block'"):
        assign(raster, method="block", fold=1)


def test_an_assignment_survives_its_file(raster, tmp_path):
    for method in ("random", "block"):
        found = assign(raster, method=method)
        found.save(tmp_path / "assignment.parquet")
        again = Assignment.load(tmp_path / "assignment.parquet")
        assert again.blocks == found.blocks
        assert again.table.equals(found.table)
        index = int(found.samples("train")[0])
        one, two = found.mask(raster, index, "train"), again.mask(raster, index, "train")
        assert np.array_equal(one, two) if one is not None else two is None


def test_a_damaged_assignment_is_one_clear_line(tmp_path):
    path = tmp_path / "assignment.parquet"
    with pytest.raises(SplitError, match=r"assignment.parquet is no readable assignment table .*; train again"):
        Assignment.load(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(SplitError, match="is no readable assignment table"):
        Assignment.load(path)


def test_a_parent_belongs_to_the_region_of_most_of_its_samples(tmp_path):
    store = raster_world(tmp_path / "store", degrees=15.0, side=6, per_parent=4)
    metadata = store.metadata
    assert len(store) == 8
    metadata["region"] = ["r0", "r0", "r0", "r1", "r1", "r1", "r1", "r0"]
    found = assign(store, method="region", by="r1", fold_method="none")
    assert list(found.samples("test")) == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "region", "by": "r11"}, r"the store has no region 'r11' \(in split.by\); did you mean 'r1'\?"),
        ({"method": "sample", "by": ["s3", "t"]}, r"the store has no sample 't' \(in split.by\); the known ones are"),
        ({"method": "parent", "by": []}, r"with split.method 'parent' give one name or a list of names"),
        ({"method": "parent", "by": 0.2}, r"split.by is 0.2; with split.method 'parent' give one name"),
        ({"method": "random", "by": 1.2}, r"split.by is 1.2; a random split takes the test share, between 0 and 1"),
        ({"method": "random", "by": [0.2]}, r"the shares are \[0.2\]; give three"),
        ({"shares": (0.7, 0.7, -0.4)}, r"give three \(train, val, test\), not negative, adding to 1"),
        ({"total_folds": 1}, r"split.total_folds is 1; it must be at least 2"),
        ({"fold": 5}, r"split.fold is 5; with 5 folds it must be 0 to 4"),
        ({"total_folds": 60}, r"60 folds need as many parents beside the test part, and there are 31; lower"),
        ({"fold_method": "region"}, r"5 folds need as many regions beside the test part, and there are 3; lower"),
        ({"method": "region", "by": ["r0", "r1", "r2"]}, r"leaves no sample to train on, all are in the test part"),
        ({"method": "block", "by": 7}, r"split.by is 7; a block split takes the side of a block in degrees"),
        ({"method": "block", "shares": (0.9, 0.1, 0.0)}, r"the test part is empty; change split.by, split.shares or"),
        ({"fold_method": "block"}, r"split.fold_method is 'block', which needs split.method 'block'"),
    ],
)  # fmt: skip
def test_impossible_splits_are_one_clear_line(raster, options, message):
    with pytest.raises(SplitError, match=message) as caught:
        assign(raster, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "fold_method", "message"),
    [
        ("regoin", "kfold", r"split.method 'regoin' does not exist; did you mean 'region'\?"),
        ("block", "kfolds", r"split.fold_method 'kfolds' does not exist; did you mean 'kfold'\?"),
    ],
)
def test_unknown_methods_are_one_clear_line(method, fold_method, message):
    # The tests' type checker would refuse the name before `assign` could.
    with pytest.raises(SplitError, match=message):
        splits._check_choices(method, fold_method, (0.7, 0.15, 0.15), 5, 0)


def test_a_stratum_of_one_parent_cannot_be_shuffled(tmp_path):
    store = raster_world(tmp_path / "store", degrees=15.0, side=6, per_parent=1)
    store.metadata["empty"] = [True] + [False] * 7
    with pytest.raises(SplitError, match=r"split.fold_method 'shuffle' is impossible here \(.*\); choose 'kfold'"):
        assign(store, method="sample", by="s7", fold_method="shuffle", total_folds=2)
