from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.splits import PARTS, assign
from graticule.data.statistics import Moments, moments
from graticule.errors import ConfigError, StoreError
from graticule.schema import INDEX, SEEN, TARGETS, VALID, X
from worlds import healpix_world, raster_world


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    return raster_world(folder / "raster"), healpix_world(folder / "sphere", per_parent=1)


@pytest.mark.parametrize("method", ["random", "block"])
def test_bands_and_targets_are_measured_on_the_train_pixels(stores, method):
    for store in stores:
        found = assign(store, method=method)
        stored = store.read(range(len(store)))
        scaled = [replace(band, scale=0.5, offset=-3.0) for band in store.bands]
        inside = np.zeros((len(store), *store.space), bool)
        for index in found.samples("train"):
            mask = found.mask(store, int(index), "train")
            inside[index] = True if mask is None else mask
        measured = [DataModule(store, found, num_workers=workers) for workers in (0, 2)]
        for c, band in enumerate(measured[0].bands):
            assert band.mean == pytest.approx(stored["x"][:, c][inside].mean(), rel=1e-12)
            assert band.std == pytest.approx(stored["x"][:, c][inside].std(), rel=1e-12)
        height = measured[0].targets[1]
        assert height.mean == pytest.approx(stored["height"][inside].astype(np.float64).mean(), rel=1e-9)
        assert height.std == pytest.approx(stored["height"][inside].astype(np.float64).std(), rel=1e-9)
        pixels = measured[0].statistics.pixels["landcover"]
        assert pixels.sum(axis=0).tolist() == np.bincount(stored["y"][inside], minlength=3).tolist()
        assert measured[0].bands == measured[1].bands, "to the bit, with any number of threads"
        assert measured[0].targets == measured[1].targets
        store.bands, before = tuple(scaled), store.bands
        physical = DataModule(store, found).bands[0]
        store.bands = before
        assert physical.mean == pytest.approx(0.5 * measured[0].bands[0].mean - 3, rel=1e-12)
        assert physical.std == pytest.approx(0.5 * measured[0].bands[0].std, rel=1e-12)


def test_moments_of_parts_add_to_those_of_the_whole():
    values = np.random.default_rng(0).normal(1e6, 1e-2, 1000)
    parts = [moments(part) for part in np.split(values, [0, 10, 11, 600])]
    total = sum(parts, start=Moments(0, 0.0, 0.0))
    assert total.count == 1000
    assert total.mean == pytest.approx(values.mean(), rel=1e-14)
    assert total.std == pytest.approx(values.std(), rel=1e-6)
    assert moments(np.full(5, 3.0)).std == 1.0


def test_every_part_is_read_with_its_own_pixels(stores):
    """Over all parts of a block split each pixel of the Earth is valid exactly once."""
    for store in stores:
        data = DataModule(store, assign(store, method="block", by=15), eval_batch_size=7)
        seen = np.zeros((len(store), *store.space), int)
        for part in PARTS:
            for batch in data.part_dataloader(part):
                seen[batch[INDEX].numpy()] += batch[SEEN].numpy()
                assert torch.equal(batch[VALID]["landcover"], batch[SEEN])
        assert (seen == 1).all()


def test_a_balanced_epoch_draws_classes_alike(tmp_path):
    """Class 2 is one pixel in one of 72 windows; with balance every third sample is that window, centred on it."""

    def label(number):
        labels = np.full((6, 6), number % 2, np.uint8)
        if number == 5:
            labels[4, 4] = 2
        return labels

    store = raster_world(tmp_path / "store", y=label)
    found = assign(store, method="parent", by="p030")
    assert 5 in found.samples("train")
    augment = Augment(crop=2, balance=True)
    data = DataModule(store, found, batch_size=64, augment=augment, balance=True, repeats=20)
    batches = list(data.train_dataloader())
    index = torch.cat([batch[INDEX] for batch in batches])
    assert (index == 5).float().mean().item() == pytest.approx(1 / 3, abs=0.05)
    labels = torch.cat([batch[TARGETS]["landcover"] for batch in batches])[index == 5]
    assert (labels == 2).flatten(1).any(1).float().mean().item() == pytest.approx(1 / 2, abs=0.1)


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "val": []}

    def training_step(self, batch, number):
        self.seen["train"].append((self.current_epoch, number, batch[INDEX].tolist(), batch[X].sum().item()))
        return self.weight * batch[X].float().mean()

    def validation_step(self, batch, number):
        self.seen["val"] += batch[INDEX].tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data, epochs):
    recorder = Recorder()
    pl.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    ).fit(recorder, datamodule=data)  # fmt: skip
    return recorder.seen


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_walks_the_order_of_each_epoch(stores):
    store = stores[0]
    found = assign(store)
    seen = [fit(DataModule(store, found, batch_size=5, num_workers=w, augment=Augment(), seed=3), 3) for w in (0, 2)]
    assert seen[0] == seen[1]
    data = DataModule(store, found, batch_size=5, seed=3)
    expected = [
        (epoch, number, [index for _, _, index in data.train_loader.sampler.batch(epoch, number)])
        for epoch in range(3)
        for number in range(len(data.train_loader))
    ]
    assert [line[:3] for line in seen[0]["train"]] == expected
    assert seen[0]["val"] == found.samples("val").tolist() * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": ["b7"]}, r"has no band 'b7' \(in data.bands\); the known"),
        ({"batch_size": 0}, r"data.batch_size is 0; it must be at least 1"),
        ({"repeats": 0}, r"data.repeats is 0; it must be at least 1"),
        ({"num_workers": -1}, r"data.num_workers is -1; it must be 0 or more"),
        ({"balance": True, "targets": ["height"]}, r"data.balance needs a target of classes"),
        ({"augment": Augment(crop=96)}, r"data.augment.crop is 96; the windows are 6 x 6"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_training(stores, options, message):
    with pytest.raises(ConfigError, match=message):
        DataModule(stores[0], assign(stores[0]), **options)


def test_a_target_without_any_value_in_train_is_one_clear_line(tmp_path):
    def unknown(number):
        return np.full((6, 6), np.nan, np.float32)

    store = raster_world(tmp_path / "store", degrees=10.0, height=unknown)
    data = DataModule(store, assign(store))
    with pytest.raises(StoreError, match="target 'height' is known at no pixel of the train part"):
        _ = data.targets
    assert DataModule(store, assign(store), targets=["landcover"]).targets[0].name == "landcover"
