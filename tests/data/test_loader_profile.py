"""Times of batches: statistics known on paper, and loaders of small stores."""

import time

import numpy as np
import pytest

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.profile import (
    STEPS,
    bytes_per_sample,
    compare,
    disk_bytes_per_second,
    entries_of,
    pace,
    step_seconds,
    waits,
    with_entries,
)
from graticule.data.sampler import BatchSampler
from graticule.data.splits import assign
from worlds import healpix_world, raster_world


def module(store, **options):
    return DataModule(store, assign(store, method="random", shares=(0.8, 0.1, 0.1)), batch_size=4, **options)


def test_pace_of_known_times():
    # 100 batches of 1 .. 100 ms, then the same in half of the time, then in twice.
    times = [number / 1000 for number in range(1, 101)]
    found = pace([times, [time / 2 for time in times], [time * 2 for time in times]], samples=8)
    assert found["rounds"] == pytest.approx([5.05, 2.525, 10.1])
    assert found["samples_per_second"] == pytest.approx(800 / 5.05)
    assert found["best_samples_per_second"] == pytest.approx(800 / 2.525)
    alone = pace([times], samples=1)
    assert alone["batch_p50"] == pytest.approx(0.0505)
    assert alone["batch_p95"] == pytest.approx(0.09505)


def test_waits_are_the_times_between_batches():
    def slow():
        for seconds in (0.02, 0.06):
            time.sleep(seconds)
            yield seconds

    first, second = waits(slow())
    assert first >= 0.02
    assert second >= 0.06
    assert waits([]) == []


def test_entries_go_on_into_the_next_epoch():
    sampler = BatchSampler(np.arange(8), 4, seed=1)
    found = entries_of(sampler, 5)
    assert [batch[0][0] for batch in found] == [0, 0, 1, 1, 2]
    assert found[3] == sampler.batch(1, 1)


@pytest.mark.parametrize("world", [raster_world, healpix_world])
def test_every_number_of_threads_is_timed_on_the_same_batches(world, tmp_path):
    data = module(world(tmp_path / "store"))
    loader = data.train_loader
    entries = entries_of(loader.sampler, 3)
    loaded, bare = compare(loader, [0, 2], entries, rounds=2)
    assert set(loaded) == {0, 2}
    assert set(bare) == {"bare_reads", "memcpy"}
    for rounds in [*loaded.values(), *bare.values()]:
        assert [len(times) for times in rounds] == [3, 3]
        assert min(map(min, rounds)) > 0
    one, other = (list(with_entries(loader, entries, number)) for number in (0, 2))
    assert all((a["x"] == b["x"]).all() for a, b in zip(one, other, strict=True))


def test_steps_add_up_to_the_time_of_a_batch(tmp_path):
    data = module(raster_world(tmp_path / "store"), augment=Augment(d4=True, crop=4, brightness=0.1))
    loader = data.train_loader
    entries, lit = entries_of(loader.sampler, 4), []
    found = step_seconds(loader, entries, lambda batch: lit.append(batch) or batch)
    assert set(found) == {"read", *STEPS.values(), "rest", "light"}
    assert len(lit) == 4
    assert all(len(seconds) == 4 and min(seconds) >= 0 for seconds in found.values())
    assert min(found["read"]) > 0
    # The loader that was profiled is as before.
    assert "read" not in vars(loader.reader.store)
    assert not set(STEPS) & set(vars(loader.reader))


def test_a_slow_step_is_named(tmp_path, monkeypatch):
    loader = module(raster_world(tmp_path / "store")).train_loader
    entries, read = entries_of(loader.sampler, 2), loader.reader.store.read
    waits(with_entries(loader, entries, 0))  # areas are known after that
    monkeypatch.setattr(loader.reader.store, "read", lambda *words: time.sleep(0.03) or read(*words))
    found = step_seconds(loader, entries, lambda batch: batch)
    assert max(found, key=lambda step: sum(found[step])) == "read"
    assert sum(found["read"]) >= 0.06
    assert "augment" not in found, "nothing is varied, so that step is not taken"


def test_bytes_and_disk(tmp_path):
    store = raster_world(tmp_path / "store")
    # Two bands and the labels of one byte, heights of four, in 6 x 6 pixels; then one band and the labels.
    assert bytes_per_sample(module(store).train_loader) == (2 + 1 + 4) * 36
    assert bytes_per_sample(module(store, bands=["b1"], targets=["landcover"]).train_loader) == 2 * 36
    speed = disk_bytes_per_second(store)
    assert speed is None or speed > 0
