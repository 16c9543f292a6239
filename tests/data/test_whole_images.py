"""Sources of labelled images: folders by class, MNIST, fMoW, torchgeo; every fault is named."""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import rasterio
from PIL import Image

from graticule.data.digits import draw_digit, write_digits
from graticule.data.land_images import CLASSES, write_images
from graticule.data.prepare import Source, prepare
from graticule.data.sampler import generator
from graticule.data.sources.fmow import FmowSource
from graticule.data.sources.images import ImagesSource
from graticule.data.sources.mnist import MnistSource, read_idx, write_idx
from graticule.data.sources.torchgeo import TorchgeoSource
from graticule.data.sources.whole_images import fitted
from graticule.errors import ConfigError, SourceError
from graticule.schema import IGNORE

RED, GREEN = (200, 20, 10), (10, 180, 40)


def folders(root, sizes=((6, 8), (6, 8)), suffix=".png"):
    """Two classes of two images of one colour each; the second of each class may have another size."""
    for name, colour in (("forest", GREEN), ("roof", RED)):
        (root / name).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            picture = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))
            Image.fromarray(picture).save(root / name / f"{name}_{number}{suffix}")
    return root


def digits(root):
    x = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    for part, (first, last) in {"train": (0, 3), "t10k": (3, 5)}.items():
        write_idx(root / f"{part}-images-idx3-ubyte", x[first:last])
        write_idx(root / f"{part}-labels-idx1-ubyte.gz", np.arange(first, last, dtype=np.uint8))
    return root


def fmow(root):
    """Two places of two categories; the pixels tell their column and row."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(60), np.arange(40)[:, None]
    for part, category, boxes in (
        ("train", "airport", [{"ID": 0, "category": "airport", "box": [20, 10, 20, 10]}]),
        ("val", "port", [{"ID": 1, "category": "port", "box": [0, 0, 10, 10]},
                         {"ID": 2, "category": "false_detection", "box": [30, 20, 5, 5]}]),
    ):  # fmt: skip
        for time in range(2):
            stem = root / part / category / f"{category}_0" / f"{category}_0_{time}_rgb"
            stem.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(stem.with_suffix(".png"))
            told = {"gsd": 0.5, "country_code": "FIN", "bounding_boxes": boxes}
            stem.with_suffix(".json").write_text(json.dumps(told))
    return root


class Towns:
    """What a data set of torchgeo looks like."""

    splits = ("train", "val")
    classes = ("town", "wood")

    def __init__(self, root, split="train", bands=()):
        self.split, self.bands = split, bands

    def __len__(self):
        return 3 if self.split == "train" else 1

    def __getitem__(self, number):
        return {"image": np.full((4, 6, 6), number, np.float32), "label": np.array(number % 2)}


@pytest.fixture
def torchgeo(monkeypatch):
    module = types.ModuleType("torchgeo.datasets")
    module.Towns = Towns
    monkeypatch.setitem(sys.modules, "torchgeo", types.ModuleType("torchgeo"))
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", module)


def make(name, root):
    if name == "images":
        return ImagesSource(str(folders(root / "images")))
    if name == "mnist":
        return MnistSource(str(digits(root)))
    if name == "fmow":
        return FmowSource(str(fmow(root)), size=8)
    return TorchgeoSource("Towns", str(root))


@pytest.mark.parametrize("name", ["images", "mnist", "fmow", "torchgeo"])
@pytest.mark.usefixtures("torchgeo")
def test_every_source_of_images_fills_a_store_that_says_how_to_make_it_again(name, tmp_path):
    source = make(name, tmp_path)
    assert isinstance(source, Source)
    store = prepare(source, tmp_path / "store", progress=False)
    assert len(store) == source.n_samples
    (target,) = store.targets
    assert target.is_of_sample
    read = store.read(range(len(store)))
    assert read["label"].shape == (len(store),)
    assert read["x"].shape == (len(store), len(source.bands), *source.space)
    again = type(source)(**store.config["source_options"])
    for (x, arrays, row), (other, others, told) in zip(source.samples(), again.samples(), strict=True):
        np.testing.assert_array_equal(x, other)
        np.testing.assert_array_equal(arrays["label"], others["label"])
        assert row == told
    assert store.metadata["parent"].nunique() > 1
    with pytest.raises(SourceError, match="single images and no scene"):
        source.read_scene("image")


def test_folders_are_classes_and_a_lone_folder_is_stepped_into(tmp_path):
    source = ImagesSource(str(folders(tmp_path / "2750").parent))
    assert [entry.name for entry in source.targets[0].legend] == ["forest", "roof"]
    found = list(source.samples())
    assert [int(arrays["label"]) for _, arrays, _ in found] == [0, 0, 1, 1]
    np.testing.assert_array_equal(found[3][0][:, 2, 3], RED)
    assert [band.name for band in source.bands] == ["red", "green", "blue"]


def test_folders_of_parts_are_the_published_split(tmp_path):
    for part in ("train", "test"):
        folders(tmp_path / part)
    rows = [row for _, _, row in ImagesSource(str(tmp_path)).samples()]
    assert len(rows) == 8
    assert all(row["published"] == row["sample_id"].split("/")[0] for row in rows)


def test_images_of_several_sizes_need_one(tmp_path):
    folders(tmp_path, sizes=((6, 8), (9, 9)))
    with pytest.raises(SourceError, match=r"forest_1.png has 9 x 9 pixels .* as source.size"):
        list(ImagesSource(str(tmp_path)).samples())
    xs = [x for x, _, _ in ImagesSource(str(tmp_path), size=[4, 4]).samples()]
    assert {x.shape for x in xs} == {(3, 4, 4)}
    np.testing.assert_array_equal(xs[1][:, 0, 0], GREEN)


def test_resizing_takes_the_middle_and_means():
    x = np.arange(8, dtype=np.uint8).repeat(4).reshape(1, 8, 4).transpose(0, 2, 1) * 10
    np.testing.assert_array_equal(fitted(x, (4, 4))[0, 0], [20, 30, 40, 50])
    shrunk = fitted(np.array([[[0, 100], [100, 200]]], np.uint8), (1, 1))
    assert shrunk.item() == 100


def test_tiffs_of_many_bands_keep_them_and_tell_their_region(tmp_path):
    for name in ("crop", "lake"):
        (tmp_path / name).mkdir()
        profile = {"driver": "GTiff", "height": 5, "width": 5, "count": 13, "dtype": "uint16", "crs": "EPSG:32633",
                   "transform": rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)}  # fmt: skip
        with rasterio.open(tmp_path / name / "one.tif", "w", **profile) as file:
            file.write(np.full((13, 5, 5), 1000, np.uint16))
    source = ImagesSource(str(tmp_path))
    (x, _, row), _ = source.samples()
    assert x.shape == (13, 5, 5)
    assert x.dtype == np.uint16
    assert row["region"] == "+45+015"


def test_a_corrupt_image_is_named_and_skipped_only_when_asked(tmp_path):
    bad = folders(tmp_path) / "forest" / "forest_0.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(SourceError, match=r"forest_0.png cannot be read as an image .* source.skip_corrupt=true"):
        ImagesSource(str(tmp_path))
    source = ImagesSource(str(tmp_path), skip_corrupt=True)
    store = prepare(source, tmp_path / "store", progress=False)
    assert len(store) == 3
    assert [which for which, _, _ in source.remarks()] == [str(bad)]


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(SourceError, match="there is no folder"):
        ImagesSource(str(tmp_path / "none"))
    with pytest.raises(SourceError, match=r"is empty; it must hold a folder of images for each class"):
        ImagesSource(str(tmp_path))
    folders(tmp_path)
    (tmp_path / "water").mkdir()
    with pytest.raises(SourceError, match=r"class folder .*water has no image .*; put its images there, or remove it"):
        ImagesSource(str(tmp_path))


def test_idx_files_are_read_as_published(tmp_path):
    digits(tmp_path)
    np.testing.assert_array_equal(read_idx(tmp_path / "t10k-labels-idx1-ubyte.gz"), [3, 4])
    rows = list(MnistSource(str(tmp_path)).samples())
    assert [int(arrays["label"]) for _, arrays, _ in rows] == [0, 1, 2, 3, 4]
    assert [row["published"] for _, _, row in rows] == ["train"] * 3 + ["test"] * 2
    np.testing.assert_array_equal(rows[4][0][0].ravel(), np.arange(64, 80))


def test_damaged_idx_files_are_named(tmp_path):
    path = digits(tmp_path) / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(SourceError, match=r"has 45 values and must have 48"):
        list(MnistSource(str(tmp_path)).samples())
    path.write_bytes(b"text")
    with pytest.raises(SourceError, match="is no idx file"):
        MnistSource(str(tmp_path))
    path.unlink()
    with pytest.raises(SourceError, match="graticule generate mnist"):
        MnistSource(str(tmp_path))


def test_drawn_digits_are_a_function_of_the_seed_and_differ(tmp_path):
    assert write_digits(tmp_path / "a", images=20, seed=3) == 30
    write_digits(tmp_path / "b", images=20, seed=3)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    ones = [draw_digit(1, generator(0, 51, number)) for number in range(3)]
    assert not np.array_equal(ones[0], ones[1])
    assert all(0.02 < (one > 100).mean() < 0.3 for one in ones)


def test_drawn_land_has_a_folder_for_each_class(tmp_path):
    assert write_images(tmp_path / "land", images=2, side=16) == 2 * len(CLASSES)
    source = ImagesSource(str(tmp_path / "land"))
    assert [entry.name for entry in source.targets[0].legend] == sorted(CLASSES)


def test_boxes_are_cut_out_with_their_surroundings(tmp_path):
    source = FmowSource(str(fmow(tmp_path)), size=[10, 20], context=1.0)
    x, arrays, row = next(source.samples())
    np.testing.assert_array_equal(x[0, 0], np.arange(20, 40))
    np.testing.assert_array_equal(x[1, :, 0], np.arange(10, 20))
    assert row["parent"].endswith("train/airport/airport_0")
    assert (row["region"], row["published"], row["gsd"]) == ("FIN", "train", 0.5)
    assert int(arrays["label"]) == 0
    labels = [int(arrays["label"]) for _, arrays, _ in source.samples()]
    assert labels == [0, 0, 1, IGNORE, 1, IGNORE]
    assert len(FmowSource(str(tmp_path), pick="first").boxes) == 3


def test_boxes_can_be_cut_at_one_ground_distance(tmp_path):
    source = FmowSource(str(fmow(tmp_path)), size=10, gsd=1.0)
    x, _, _ = next(source.samples())
    # 20 pixels of half a metre around the middle of the box (30, 15), two by two.
    np.testing.assert_allclose(x[0, 0], np.arange(20, 40).reshape(10, 2).mean(1), atol=1)
    edge = next(x for x, _, row in source.samples() if row["sample_id"].endswith("port_0_0_rgb-1"))
    assert (edge[:, 0, 0] == 0).all()


def test_damaged_boxes_are_named(tmp_path):
    with pytest.raises(SourceError, match="has no image with boxes"):
        FmowSource(str(tmp_path))
    path = next(fmow(tmp_path).rglob("*.json"))
    path.write_text(json.dumps({"gsd": 1, "bounding_boxes": [{"category": "a", "box": [0, 0, 0, 1]}]}))
    with pytest.raises(SourceError, match="does not tell gsd and bounding_boxes"):
        FmowSource(str(tmp_path))
    with pytest.raises(ConfigError, match="context"):
        FmowSource(str(tmp_path), context=0.5)


def test_torchgeo_is_asked_for_where_it_is_missing(tmp_path):
    if importlib.util.find_spec("torchgeo"):
        pytest.skip("torchgeo is installed")
    with pytest.raises(SourceError, match=r"needs torchgeo, which is not installed .* Python 3.12 or newer"):
        TorchgeoSource("EuroSAT", str(tmp_path))


@pytest.mark.usefixtures("torchgeo")
def test_a_data_set_that_torchgeo_lacks_is_named(tmp_path):
    with pytest.raises(SourceError, match="did you mean 'Towns'"):
        TorchgeoSource("Town", str(tmp_path))
