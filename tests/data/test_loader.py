import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.data.augment import Augment
from graticule.data.loader import BatchReader, Loader, pick_bands, pick_targets
from graticule.data.sampler import BatchSampler, EvalBatchSampler
from graticule.data.statistics import measure
from graticule.data.store import Store
from graticule.errors import ConfigError, StoreError
from graticule.grids import RasterGrid
from graticule.schema import AREA, DRAWS, INDEX, SEEN, TARGETS, VALID, Band, X
from worlds import healpix_world, raster_world, write_store

AUGMENTS = [None, Augment(), Augment(crop=4, balance=True), Augment(crop=2, brightness=0.2, contrast=0.2)]


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    return raster_world(tmp_path_factory.mktemp("world") / "store", degrees=10.0, bands=3, y=with_unknown)


@pytest.fixture(scope="module")
def sphere(tmp_path_factory):
    return healpix_world(tmp_path_factory.mktemp("world") / "store", per_parent=1)


def with_unknown(number):
    labels = np.random.default_rng(number).integers(0, 3, (6, 6)).astype(np.uint8)
    labels[number % 6] = 255
    return labels


def flat(batch):
    return {
        **{name: batch[name] for name in (X, SEEN, AREA, INDEX)},
        **{f"{field} {name}": values for field in (TARGETS, VALID) for name, values in batch[field].items()},
        **{f"{DRAWS} {name}": torch.from_numpy(values) for name, values in batch.get(DRAWS, {}).items()},
    }


def assert_equal(one, two):
    for name, values in flat(one).items():
        assert values.dtype == flat(two)[name].dtype
        assert torch.equal(values, flat(two)[name]), name


def test_a_batch_is_what_the_store_holds(raster):
    batch = BatchReader(raster)([(0, 0, 4), (0, 1, 2)])
    stored = raster.read([4, 2])
    assert batch[X].dtype == torch.uint8
    assert np.array_equal(batch[X], stored["x"])
    assert batch[SEEN].all()
    assert batch[INDEX].tolist() == [4, 2]
    known = stored["y"] != 255
    assert np.array_equal(batch[VALID]["landcover"], known)
    assert batch[TARGETS]["landcover"].dtype == torch.int8
    assert np.array_equal(batch[TARGETS]["landcover"], np.where(known, stored["y"], 0))
    assert np.array_equal(batch[TARGETS]["height"], stored["height"])
    areas = np.stack([raster.grid(index).areas() for index in (4, 2)])
    assert batch[AREA].dtype == torch.float32
    assert np.allclose(batch[AREA], areas, rtol=1e-6)


def test_legends_of_any_length_keep_their_labels(tmp_path):
    def label(number):
        return np.arange(36, dtype=np.uint8).reshape(6, 6) * 7 + 10

    store = raster_world(tmp_path / "store", degrees=30.0, classes=255, y=label)
    batch = BatchReader(store)([(0, 0, 0)])
    known = label(0) != 255
    assert not known.all()
    assert batch[TARGETS]["landcover"].dtype == torch.int16
    assert np.array_equal(batch[TARGETS]["landcover"][0], np.where(known, label(0), 0))


def test_areas_of_all_samples_add_to_the_sphere(raster, sphere):
    for store in (raster, sphere):
        batch = BatchReader(store)([(0, i, i) for i in range(len(store))])
        assert batch[AREA].double().sum().item() == pytest.approx(4 * np.pi, rel=1e-6)


def test_bands_and_targets_by_name(raster):
    reader = BatchReader(raster, bands=pick_bands(raster, ["b2", "b0"]), targets=pick_targets(raster, ["height"]))
    batch = reader([(0, 0, 3)])
    assert np.array_equal(batch[X], raster.read([3])["x"][:, [2, 0]])
    assert set(batch[TARGETS]) == {"height"}
    assert [band.name for band in reader.bands] == ["b2", "b0"]


def test_unknown_names_are_one_clear_line(raster):
    with pytest.raises(ConfigError, match=r"has no band 'bo' \(in data.bands\); .*b0"):
        pick_bands(raster, ["bo"])
    with pytest.raises(ConfigError, match=r"has no target 'landcovr' \(in data.targets\); did you mean 'landcover'\?"):
        pick_targets(raster, ["landcovr"])


def test_what_is_outside_the_mask_is_neither_input_nor_label(raster):
    mask = np.zeros((6, 6), bool)
    mask[2:, 3:] = True
    reader = BatchReader(raster, mask=lambda index: mask if index == 1 else None)
    batch = reader([(0, 0, 1), (0, 1, 2)])
    assert np.array_equal(batch[SEEN][0], mask)
    assert batch[SEEN][1].all()
    assert np.array_equal(batch[VALID]["height"][0], mask)
    assert np.array_equal(batch[VALID]["landcover"][0], mask & (with_unknown(1) != 255))
    for name in ("landcover", "height"):
        assert (batch[TARGETS][name][~batch[VALID][name]] == 0).all()


def test_pixels_without_a_value_in_any_band_are_not_seen(tmp_path):
    def x(number):
        values = np.random.default_rng(number).random((2, 6, 6)).astype(np.float32)
        values[number % 2, number, :] = np.nan if number else np.inf
        return values

    store = raster_world(tmp_path / "store", degrees=30.0, x=x, dtype=np.float32, classes=2)
    batch = BatchReader(store)([(0, 0, 0), (0, 1, 1)])
    for place in (0, 1):
        expected = np.ones((6, 6), bool)
        expected[place] = False
        assert np.array_equal(batch[SEEN][place], expected)
        assert np.array_equal(batch[VALID]["height"][place], expected)


def test_a_window_beyond_its_scene_is_not_seen_there(tmp_path):
    utm = RasterGrid(8, 8, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), "EPSG:32633")
    around = RasterGrid.global_(10.0)
    samples = [("utm", (-2, 5), "p", "r"), ("utm", (1, 1), "q", "r"), ("earth", (3, 33), "s", "r")]
    store = write_store(tmp_path / "store", {"utm": utm, "earth": around}, samples, (6, 6))
    batch = BatchReader(store)([(0, i, i) for i in range(3)])
    expected = np.zeros((6, 6), bool)
    expected[2:, :3] = True
    assert np.array_equal(batch[SEEN][0], expected)
    assert batch[SEEN][1].all()
    assert batch[SEEN][2].all(), "the Earth goes on beyond 180°"


def test_padding_is_seen_and_valid_nowhere(raster):
    batch = BatchReader(raster)([(0, 0, 3), (0, 1, -1)])
    assert batch[INDEX].tolist() == [3, -1]
    assert not batch[SEEN][1].any()
    assert (batch[AREA][1] == 0).all()
    for name in ("landcover", "height"):
        assert not batch[VALID][name][1].any()
        assert (batch[TARGETS][name][1] == 0).all()
    assert batch[VALID]["height"][0].all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 3), position=st.integers(0, 99), which=st.integers(1, 3))
def test_augmentation_moves_all_fields_together(raster, sphere, seed, epoch, position, which):
    """The stored height is unique per pixel: it tells where each pixel came from, for all other fields."""
    for store in (raster, sphere):
        plain = flat(BatchReader(store)([(0, 0, 5)]))
        moved = flat(BatchReader(store, augment=AUGMENTS[which], seed=seed)([(epoch, position, 5)]))
        source = {value: place for place, value in enumerate(plain["targets height"].flatten().tolist())}
        assert len(source) == np.prod(store.space)
        come_from = [source[value] for value in moved["targets height"].flatten().tolist()]
        assert len(set(come_from)) == len(come_from)
        for name in (SEEN, AREA, "valid height", "valid landcover", "targets landcover"):
            assert torch.equal(moved[name].flatten(), plain[name].flatten()[come_from])
        assert torch.equal(moved[X].flatten(2), plain[X].flatten(2)[:, :, come_from])


def test_an_augmentation_belongs_to_its_place_and_not_to_its_batch(raster):
    reader = BatchReader(raster, augment=AUGMENTS[3], seed=1)
    entries = [(2, position, position % 5) for position in range(12)]
    together = flat(reader(entries))
    for place, entry in enumerate(entries):
        alone = flat(reader([entry]))
        for name, values in alone.items():
            assert torch.equal(values[0], together[name][place])
    assert not torch.equal(together[X][0], together[X][5]), "the same sample at another position"
    assert together["draws brightness"][0] != together["draws brightness"][5]


@pytest.mark.parametrize("augment", AUGMENTS)
def test_threads_do_not_change_the_batches(raster, augment):
    reader = BatchReader(raster, augment=augment, seed=1)
    epochs = []
    for workers in (0, 2, 4):
        loader = Loader(reader, BatchSampler(np.arange(len(raster)), 4, 1, repeats=2), num_workers=workers)
        assert len(loader) == 9
        epochs.append([])
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            epochs[-1] += list(loader)
    for batches in zip(*epochs, strict=True):
        assert_equal(batches[0], batches[1])
        assert_equal(batches[0], batches[2])
    assert not torch.equal(epochs[0][0][INDEX], epochs[0][9][INDEX])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_it_is_told(raster, workers):
    loader = Loader(
        BatchReader(raster, augment=Augment(), seed=1), BatchSampler(np.arange(18), 4, 1), num_workers=workers
    )
    loader.set_epoch(3)
    whole = list(loader)
    loader.set_position(3, 2)
    rest = list(loader)
    assert len(loader) == len(whole) == 5
    assert len(rest) == 3
    for one, two in zip(whole[2:], rest, strict=True):
        assert_equal(one, two)
    assert len(list(loader)) == 5


def test_evaluation_goes_through_the_store(sphere):
    batches = list(Loader(BatchReader(sphere), EvalBatchSampler(np.arange(3, 20), 5), num_workers=2))
    assert [len(batch[INDEX]) for batch in batches] == [5, 5, 5, 2]
    assert torch.cat([batch[INDEX] for batch in batches]).tolist() == list(range(3, 20))


@pytest.mark.parametrize("workers", [0, 2])
def test_leaving_early_ends_the_threads_and_errors_come_through(raster, workers):
    import threading

    loader = Loader(BatchReader(raster), EvalBatchSampler(np.arange(18), 1), num_workers=workers)
    before = threading.active_count()
    batches = iter(loader)
    next(batches)
    del batches
    assert threading.active_count() == before

    def broken(entries):
        raise StoreError("the store went away")

    with pytest.raises(StoreError, match="the store went away"):
        list(Loader(broken, EvalBatchSampler(np.arange(18), 1), num_workers=workers))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_band_without_a_value_hides_the_pixel_only_where_it_is_used(tmp_path, dtype):
    """Band 0 has nodata 7, band 1 nodata -9999 (which bytes cannot hold), band 2 none."""

    def x(number):
        values = np.full((3, 6, 6), 50, dtype)
        values[0, 0], values[2, 3] = 7, 7
        if dtype != np.uint8:
            values[1, 1] = -9999
        if dtype == np.float32:
            values[1, 2] = np.nan
        return values

    bands = [Band("a", nodata=7.0), Band("b", nodata=-9999.0), Band("c")]
    store = raster_world(tmp_path / "store", degrees=30.0, x=x, dtype=dtype, bands=bands, classes=2)
    assert Store.open(store.path).bands[0].nodata == 7
    hidden = {np.uint8: [0], np.int16: [0, 1], np.float32: [0, 1, 2]}[dtype]
    for picked, rows in ((None, hidden), ([0], [0]), ([1, 2], hidden[1:]), ([2], [])):
        batch = BatchReader(store, bands=picked)([(0, 0, 0), (0, 1, -1)])
        expected = np.ones((6, 6), bool)
        expected[rows] = False
        assert np.array_equal(batch[SEEN][0], expected)
        assert np.array_equal(batch[VALID]["height"][0], expected)
        assert not batch[SEEN][1].any()


def test_statistics_do_not_count_nodata(tmp_path):
    def x(number):
        values = np.arange(72, dtype=np.uint16).reshape(2, 6, 6) + 100
        values[0, :, ::2] = 60_000
        return values

    bands = [Band("a", scale=0.1, nodata=60_000.0), Band("b")]
    store = raster_world(tmp_path / "store", degrees=30.0, x=x, dtype=np.uint16, bands=bands, classes=2)
    measured = measure(BatchReader(store), range(len(store)))
    kept = x(0)[:, :, 1::2].reshape(2, -1).astype(float)
    assert measured.bands[0].mean == pytest.approx(0.1 * kept[0].mean())
    assert measured.bands[1].std == pytest.approx(kept[1].std())
    assert measured.bands[0].nodata == 60_000
