import numpy as np
import pytest
import torch

from graticule.data.augment import Augment, Placement, resized
from graticule.data.datamodule import DataModule
from graticule.data.domains import DOMAIN, DOMAINS, DomainDataModule
from graticule.data.light import relight
from graticule.data.sources.photos import TARGETS as TARGETS_OF
from graticule.data.splits import assign
from graticule.data.store import Store, StoreWriter
from graticule.errors import ConfigError
from graticule.grids import CameraGrid
from graticule.schema import INDEX, TARGETS, VALID, Band, X
from worlds import healpix_world


def domain(path, count, side=8, labelled=True, number=0):
    """Photographs whose red is their number; a third of them validates."""
    declared = {
        "bands": [Band(name, scale=1 / 255) for name in ("red", "green", "blue")],
        "targets": [TARGETS_OF["mask"]] if labelled else [],
        "scenes": {"photographs": CameraGrid.pinhole(side, side, side)}, "window": {}, "source": "world",
        "source_options": {}, "space": (side, side), "dtype": np.uint8,
    }  # fmt: skip
    with StoreWriter(path, **declared) as writer:
        for sample in range(count):
            rng = np.random.default_rng([number, sample])
            x = rng.integers(0, 256, (3, side, side)).astype(np.uint8)
            x[0] = sample
            arrays = {"mask": (x[1] > 127).astype(np.uint8)} if labelled else {}
            row = {"sample_id": f"p{sample}", "scene": "photographs", "parent": f"p{sample}", "region": "all",
                   "place": (0, 0), "published": "val" if sample % 3 == 2 else "train"}  # fmt: skip
            writer.append(x, arrays, row)
    store = Store.open(path)
    return store, assign(store, method="published", by="val", fold_method="none")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    return {
        "s": domain(folder / "s", 20, number=1), "r": domain(folder / "r", 9, labelled=False, number=2),
        "rf": domain(folder / "rf", 6, number=3),
    }  # fmt: skip


def module(worlds, **options):
    main, others = worlds["s"], {name: worlds[name] for name in ("r", "rf")}
    augment = Augment(d4=False, horizontal_flip=True, crop=6, zoom=0.4, brightness=0.3, saturation=0.4)
    given = {"batch_size": 4, "augment": augment, "seed": 3} | options
    return DomainDataModule(*main, domains=others, **given)


def flat(batch, prefix=""):
    """All tensors and drawn numbers of a batch, by name."""
    found = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[prefix + name] = value if isinstance(value, str) else np.asarray(value)
    return found


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def epochs(data, count=2):
    found = []
    for epoch in range(count):
        data.train_loader.set_position(epoch, 0)
        found += [flat(batch) for batch in data.train_loader]
    return found


def test_every_batch_has_all_domains_and_their_targets(worlds):
    data = module(worlds)
    batches = list(data.train_loader)
    assert len(batches) == len(data.train_loader) == 4
    for batch in batches:
        assert batch[DOMAIN] == "s"
        assert list(batch[DOMAINS]) == ["r", "rf"]
        assert batch[DOMAINS]["r"][X].shape == (4, 3, 6, 6)
        assert batch[DOMAINS]["r"][TARGETS] == {}
        assert batch[DOMAINS]["rf"][VALID]["mask"].all()
        finished = data.on_after_batch_transfer(batch, 0)
        assert finished[DOMAINS]["r"][X].dtype == finished[X].dtype == torch.float32


def test_batches_are_the_same_with_any_threads_and_after_any_start(worlds):
    whole = epochs(module(worlds))
    for one, other in zip(whole, epochs(module(worlds, num_workers=3)), strict=True):
        same(one, other)
    late = module(worlds)
    late.train_loader.set_position(1, 2)
    rest = [flat(batch) for batch in late.train_loader]
    assert len(rest) == 2
    for one, other in zip(rest, whole[6:], strict=True):
        same(one, other)


def test_two_ranks_walk_the_order_of_one(worlds, monkeypatch):
    one = module(worlds, batch_size=4)

    class Rank:
        world_size = 2

        def __init__(self, rank):
            self.global_rank = rank

    ranks = []
    for rank in (0, 1):
        data = module(worlds, batch_size=2)
        data.trainer = Rank(rank)
        ranks.append(data)
    for whole, left, right in zip(epochs(one), epochs(ranks[0]), epochs(ranks[1]), strict=True):
        for name in ("index", "domains/r/index", "domains/rf/index", "x", "domains/r/x", "domains/rf/targets/mask"):
            assert np.array_equal(whole[name], np.concatenate([left[name], right[name]])), name


def test_a_short_domain_begins_anew_and_shows_every_sample(worlds):
    """Of rf 4 photographs train: each batch of 4 is a whole pass, in another order."""
    found = [batch["domains/rf/index"].tolist() for batch in epochs(module(worlds), 4)]
    assert all(sorted(indices) == [0, 1, 3, 4] for indices in found)
    assert len({tuple(indices) for indices in found}) > 3


def test_validation_names_the_domains_that_know_something(worlds):
    found = [(batch[DOMAIN], len(batch[INDEX])) for batch in module(worlds).val_dataloader()]
    assert [name for name, _ in found] == ["s", "s", "rf"]
    assert len(module(worlds).val_dataloader()) == 3
    assert sum(count for _, count in found) == 6 + 2


def test_domains_must_have_names_of_their_own_and_samples(worlds):
    with pytest.raises(ConfigError, match="two domains are named 's'; give each a name of its own"):
        DomainDataModule(*worlds["s"], domains={"s": worlds["r"]})
    store, split = worlds["r"]
    empty = type(split)(split.table[split.table["part"] != "train"])
    with pytest.raises(ConfigError, match=r"domain 'r' .* has no sample to train with; give another split"):
        DomainDataModule(*worlds["s"], domains={"r": (store, empty)})


def test_resizing_is_exact_on_paper():
    line = np.array([[0, 10, 20, 30]], np.uint8)
    assert resized(line, (1, 8), smooth=True).tolist() == [[0, 2, 8, 12, 18, 22, 28, 30]]
    assert resized(line, (1, 8), smooth=False)[0, [0, 7]].tolist() == [0, 30]
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(resized(plane, (3, 4), smooth=True), plane)
    assert np.array_equal(resized(plane, (3, 4), smooth=False), plane)


def test_a_zoomed_crop_keeps_pixels_and_labels_together():
    """A ramp from left to right, and the label of its right half, zoomed and mirrored."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8) * 4, (64, 64))
    label = (ramp >= 128).astype(np.uint8)
    for seed in range(20):
        augment = Augment(d4=False, horizontal_flip=True, crop=32, zoom=0.5)
        placement = augment.draw(np.random.default_rng(seed), (64, 64))
        assert 16 <= placement.height <= 32
        assert placement.row + placement.height <= 64
        x, y = np.empty((32, 32), np.uint8), np.empty((32, 32), np.uint8)
        placement.take(ramp, x, smooth=True)
        placement.take(label, y)
        off = np.abs(x.astype(int) - 126) > 4
        assert np.array_equal(y[off], (x[off] >= 128).astype(np.uint8))
    assert Placement(0, 0, 4, 4, 0).side is None


def test_saturation_moves_colours_from_their_grey():
    """Luma of (0.8, 0.4, 0.2) is 0.4968: at a factor of 0 all are that, at 2 they are twice as far away."""
    bands = [Band(name, scale=1 / 255) for name in ("red", "green", "blue")]
    x = torch.tensor([204.0, 102.0, 51.0]).reshape(1, 3, 1, 1).repeat(2, 1, 1, 1)
    still = {"element": 0, "brightness": 1.0, "contrast": 1.0, "blur": 1, "noise": 0.0, "levels": 0, "seed": 1}
    draws = {name: np.array([value] * 2) for name, value in still.items()} | {"saturation": np.array([0.0, 2.0])}
    made = relight(x, torch.ones(2, 1, 1, dtype=torch.bool), bands, draws) / 255
    grey = 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2
    assert made[0].flatten().tolist() == pytest.approx([grey] * 3, abs=1e-6)
    assert made[1].flatten().tolist() == pytest.approx([2 * colour - grey for colour in (0.8, 0.4, 0.2)], abs=1e-6)


def test_zoom_and_saturation_are_refused_where_they_mean_nothing(tmp_path):
    sphere = healpix_world(tmp_path / "sphere", per_parent=1)
    with pytest.raises(
        ConfigError, match=r"data.augment.zoom resizes rasters, and these samples are cells of a sphere"
    ):
        DataModule(sphere, assign(sphere), augment=Augment(d4=False, zoom=0.2))
    with pytest.raises(ConfigError, match=r"needs the optical bands red, green and blue, and there is no 'red'"):
        DataModule(sphere, assign(sphere), augment=Augment(d4=False, saturation=0.2))
    with pytest.raises(ConfigError, match=r"data.augment.zoom is 1.0; it must be at least 0 and less than 1"):
        Augment(zoom=1.0)
