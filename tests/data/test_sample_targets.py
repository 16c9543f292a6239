"""Targets known once per sample, through the store, the loader, the losses, the sums and the answers of a net."""

import numpy as np
import pytest
import torch

from graticule.data.augment import Augment
from graticule.data.datamodule import DataModule
from graticule.data.loader import BatchReader
from graticule.data.sample_labels import sample_labels
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.data.store_writer import StoreWriter
from graticule.errors import ConfigError, StoreError
from graticule.grids import RasterGrid
from graticule.models.healpix import OnHealpix
from graticule.models.small_cnn import SmallCNN
from graticule.models.unet import UNet
from graticule.schema import IGNORE, TARGETS, VALID, Band, LegendClass, Target, X, target_from_dict, target_to_dict
from graticule.tasks.dense import DensePrediction
from worlds import raster_world

LEGEND = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(3))
TARGET = Target("class", "classes", LEGEND, per="sample")
LABELS = [0, 1, 2, IGNORE, 1, 0, 2, 2]


def world(path, grid=None, codec="none"):
    """Windows of 4 x 4 pixels, whose values are their number, labelled `LABELS`."""
    grid = grid or RasterGrid.local(4, 4, 1.0)
    declared = {"bands": [Band("a")], "targets": [TARGET], "scenes": {"one": grid}, "window": {}, "source": "world",
                "source_options": {}, "space": (4, 4), "dtype": np.uint8, "codec": codec}  # fmt: skip
    with StoreWriter(path, **declared) as writer:
        for number, label in enumerate(LABELS):
            row = {"sample_id": f"s{number}", "scene": "one", "parent": f"p{number}", "region": "all",
                   "place": (0, 4 * number if grid.width > 4 else 0)}  # fmt: skip
            writer.append(np.full((1, 4, 4), number + 1, np.uint8), {"label": np.array(label, np.uint8)}, row)
    return Store.open(path)


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_store_keeps_one_label_of_each_sample(tmp_path, codec):
    store = world(tmp_path / "store", codec=codec)
    assert store.targets == (TARGET,)
    assert store.read([6, 3, 0])["label"].tolist() == [2, IGNORE, 0]
    assert target_from_dict(target_to_dict(TARGET)) == TARGET


def test_labels_outside_the_legend_and_values_of_samples_are_refused(tmp_path):
    with StoreWriter(
        tmp_path / "store", bands=[Band("a")], targets=[TARGET], scenes={"one": RasterGrid.local(4, 4, 1.0)},
        window={}, source="world", source_options={}, space=(4, 4), dtype=np.uint8,
    ) as writer:  # fmt: skip
        row = {"sample_id": "s", "scene": "one", "parent": "p", "region": "all", "place": (0, 0)}
        x = np.ones((1, 4, 4), np.uint8)
        with pytest.raises(StoreError, match="target 'class' has label 3; its legend has"):
            writer.append(x, {"label": np.array(3, np.uint8)}, row)
        with pytest.raises(StoreError, match=r"array 'label' is uint8 \[4, 4\]; it must be uint8 \[\]"):
            writer.append(x, {"label": np.zeros((4, 4), np.uint8)}, row)
        writer.append(x, {"label": np.array(0, np.uint8)}, row)
    with pytest.raises(StoreError, match="only classes and binary ones without cells"):
        Target("height", "height", unit="m", per="sample")


def test_a_batch_has_one_label_of_each_sample_whatever_is_augmented(tmp_path):
    store = world(tmp_path / "store")
    for augment in (None, Augment(d4=True, crop=2, brightness=0.2)):
        batch = BatchReader(store, augment=augment)([(0, n, n) for n in range(8)] + [(0, 8, -1)])
        assert batch[VALID]["class"].tolist() == [label != IGNORE for label in LABELS] + [False]
        assert batch[TARGETS]["class"][batch[VALID]["class"]].tolist() == [v for v in LABELS if v != IGNORE]
        assert batch[X].shape[1:] == ((1, 4, 4) if augment is None else (1, 2, 2))


def test_a_window_on_the_border_of_parts_has_a_label_in_neither(tmp_path):
    grid = RasterGrid(4, 32, (1.0, 0.0, -14.0, 0.0, -1.0, 2.0), "EPSG:4326")
    store = world(tmp_path / "store", grid)
    split = assign(store, method="block", by=5.0, shares=(0.34, 0.33, 0.33), seed=0)
    whole_ones = 0
    for part in ("train", "val", "test"):
        reader = BatchReader(store, mask=lambda index, part=part: split.mask(store, index, part))
        for row in split.samples(part):
            whole = split.mask(store, int(row), part) is None
            whole_ones += whole
            assert bool(reader([(0, 0, int(row))])[VALID]["class"][0]) == (whole and LABELS[row] != IGNORE)
    assert whole_ones == 3


def test_rare_classes_are_drawn_alike_and_all_are_counted(tmp_path):
    store = world(tmp_path / "store")
    split = assign(store, method="none")
    data = DataModule(store, split, batch_size=8, balance=1.0, repeats=40)
    assert data.statistics.pixels["class"].sum(0).tolist() == [2, 2, 3]
    drawn = torch.cat([batch[TARGETS]["class"][batch[VALID]["class"]] for batch in data.train_loader])
    counts = np.bincount(drawn.numpy())
    assert counts.min() > 0.8 * counts.max()
    assert sample_labels(store, split, "train", TARGET).tolist() == LABELS


def test_the_label_of_a_window_is_that_of_most_of_its_pixels(tmp_path):
    def known(number):
        labels = np.full((6, 6), IGNORE, np.uint8)
        labels[0, :3], labels[1, :2] = number % 3, (number + 1) % 3
        return labels if number else np.full((6, 6), IGNORE, np.uint8)

    store = raster_world(tmp_path / "store", degrees=30.0, y=known)
    found = sample_labels(store, assign(store, method="none"), "train", store.targets[0])
    assert found.tolist() == [IGNORE, *(number % 3 for number in range(1, len(store)))]


def task(net, targets=(TARGET,), **options):
    return DensePrediction(net, [Band("a", mean=4.0, std=2.0)], targets, **options)


def test_a_net_answers_once_for_a_sample(tmp_path):
    batch = BatchReader(world(tmp_path / "store"))([(0, n, n) for n in range(8)])
    torch.manual_seed(0)
    made = task(SmallCNN(1, 3, channels=4), losses={"class": [{"name": n} for n in ("cross_entropy", "focal", "dice")]})
    made.eval()
    losses, masses = made.loss_of(made(batch[X], batch["seen"]), batch)
    assert masses.tolist() == [7]
    assert losses["class"].ndim == 0
    said = made.predict(batch[X], batch["seen"])["class"]
    assert said.shape == (8, 3)
    torch.testing.assert_close(said.sum(1), torch.ones(8))
    sums = made.sums_of({"class": said}, batch)["class"]
    right = (said.argmax(1) == batch[TARGETS]["class"]) & batch[VALID]["class"]
    assert int(sums["confusion"].diagonal(dim1=-2, dim2=-1).sum()) == int(right.sum())
    assert made.monitor == ("val/accuracy", "max")


def test_nets_and_targets_that_do_not_go_together_are_named():
    x, seen = torch.ones(2, 1, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool)
    with pytest.raises(ConfigError, match="known once for a sample; choose model=classifier"):
        task(UNet(1, 3, channels=4))(x, seen)
    of_pixels = Target("cover", "classes", LEGEND)
    with pytest.raises(ConfigError, match="known for every pixel; choose model=unet"):
        task(SmallCNN(1, 3, channels=4), (of_pixels,))(x, seen)
    with pytest.raises(ConfigError, match="'class' is known once per sample and 'cover' per pixel"):
        task(SmallCNN(1, 6, channels=4), (TARGET, of_pixels))


def test_on_the_sphere_a_net_answers_by_the_squares_of_its_cells():
    torch.manual_seed(0)
    net = SmallCNN(1, 3, channels=4, dropout=0.0).eval()
    cells = torch.randn(2, 1, 3 * 16)
    together = OnHealpix(net, 3)(cells)
    apart = torch.stack([OnHealpix(net)(part) for part in cells.split(16, dim=-1)]).mean(0)
    torch.testing.assert_close(together, apart)
