import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from graticule.cli import main
from graticule.data.prepare import prepare
from graticule.data.sources.photo_classes import MERGED, MUST_MAY, VKITTI2, coloured
from graticule.data.sources.photos import PhotosSource
from graticule.data.store import Store
from graticule.data.town_files import write_town
from graticule.errors import SourceError

RED = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
"""Four colours, in a row."""


@pytest.fixture
def folder(tmp_path):
    """A photograph of 2 x 4 pixels with everything known of it."""
    photo = np.stack([RED, RED])
    Image.fromarray(photo).save(tmp_path / "x.png")
    Image.fromarray(np.array([[0, 255, 255, 0]] * 2, np.uint8)).save(tmp_path / "m.png")
    Image.fromarray(coloured(np.array([[9, 1, 2, 8]] * 2, np.uint8), MERGED)).save(tmp_path / "s.png")
    Image.fromarray(coloured(np.array([[0, 1, 2, 2]] * 2, np.uint8), MUST_MAY)).save(tmp_path / "l.png")
    np.save(tmp_path / "d.npy", np.array([[1.5, 2, 1000, 0]] * 2, np.float32))
    return tmp_path


def listed(folder, *entries, name="train.json"):
    (folder / name).write_text(json.dumps(list(entries)))
    return str(folder / name)


def read(folder, entry, **options):
    given = {"size": (2, 4), "depth_code": "metres"} | options
    return next(iter(PhotosSource(listed(folder, entry), **given).samples()))


ALL = {"x": "x.png", "m": "m.png", "s": "s.png", "d": "d.npy", "must_may": "l.png"}


def test_a_photograph_and_all_that_is_known_of_it(folder):
    x, arrays, row = read(folder, ALL)
    assert np.array_equal(np.moveaxis(x, 0, -1), np.stack([RED, RED]))
    assert arrays["mask"][0].tolist() == [0, 1, 1, 0]
    assert arrays["semantics"][0].tolist() == [9, 1, 2, 8]
    assert arrays["must_may"][0].tolist() == [0, 1, 2, 2]
    assert arrays["depth"][0].tolist() == pytest.approx([1.5, 2, 1000, np.nan], nan_ok=True)
    assert (row["sample_id"], row["published"], row["region"]) == ("x", "train", "all")


def test_any_subset_is_enough_and_the_rest_is_unknown(folder, tmp_path):
    path = listed(folder, {"x": "x.png"}, {"x": "./x.png", "m": "m.png"}, name="some.yaml")
    with pytest.raises(SourceError, match=r"x.png is named twice in .*some.yaml; leave one of them out"):
        PhotosSource(path)
    Image.open(folder / "x.png").save(folder / "y.png")
    (folder / "some.yaml").write_text(yaml.safe_dump([{"x": "x.png"}, {"x": "y.png", "m": "m.png"}]))
    source = PhotosSource(path, size=(2, 4))
    assert [target.name for target in source.targets] == ["mask"]
    bare, known = (arrays["mask"] for _, arrays, _ in source.samples())
    assert (bare == 255).all()
    assert known[0].tolist() == [0, 1, 1, 0]
    assert PhotosSource(path, size=(2, 4), targets=[]).targets == ()
    store = prepare(
        PhotosSource(listed(folder, ALL), size=(2, 4), depth_code="metres"), tmp_path / "store", progress=False
    )
    assert [target.array for target in Store.open(store.path).targets] == ["mask", "semantics", "depth", "must_may"]


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey.png", lambda path: Image.fromarray(np.array([[0, 50, 100, 255]] * 2, np.uint8)).save(path)),
        ("deep.png", lambda path: Image.fromarray(np.array([[0, 50, 100, 255]] * 2, np.uint16) * 256).save(path)),
        ("grey.npy", lambda path: np.save(path, np.array([[0, 50, 100, 255]] * 2, np.uint8))),
        ("grey.npz", lambda path: np.savez(path, x=np.array([[0, 50, 100, 255]] * 2) / 255)),
        ("grey.pt", lambda path: torch.save(torch.tensor([[0, 50, 100, 255]] * 2, dtype=torch.uint8)[None], path)),
    ],
)
def test_photographs_of_any_kind_become_three_colours(folder, name, save):
    save(folder / name)
    x, _, _ = read(folder, {"x": name})
    assert x.tolist() == [[[0, 50, 100, 255]] * 2] * 3


def test_what_is_transparent_is_white_and_exif_turns(folder):
    ghost = np.dstack([np.stack([RED, RED]), np.array([[255, 255, 0, 0]] * 2, np.uint8)])
    Image.fromarray(ghost).save(folder / "ghost.png")
    x, _, _ = read(folder, {"x": "ghost.png"})
    assert np.moveaxis(x, 0, -1)[0].tolist() == [[255, 0, 0], [0, 255, 0], [255, 255, 255], [255, 255, 255]]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored as a row is a column, from top to bottom
    Image.fromarray(np.stack([RED, RED])).save(folder / "turned.png", exif=exif)
    x, _, _ = read(folder, {"x": "turned.png"}, size=(4, 2))
    assert np.array_equal(np.moveaxis(x, 0, -1)[:, 0], RED)


@pytest.mark.parametrize(
    ("code", "save", "expected"),
    [
        ("millimetres", lambda path: Image.fromarray(np.full((2, 4), 1500, np.uint16)).save(path), 1.5),
        ("vkitti", lambda path: Image.fromarray(np.full((2, 4), 150, np.uint16)).save(path), 1.5),
        ("disparity", lambda path: np.save(path.with_suffix(".npy"), np.full((2, 4), 0.25)), 4.0),
        ("metres", lambda path: torch.save(torch.full((1, 1, 2, 4), 7.0), path.with_suffix(".pt")), 7.0),
    ],
)
def test_depth_in_every_coding(folder, code, save, expected):
    save(folder / "depth.png")
    file = next(folder.glob("depth.*")).name
    assert read(folder, {"x": "x.png", "d": file}, depth_code=code)[1]["depth"] == pytest.approx(expected)


def test_classes_as_numbers_tensors_or_another_palette(folder):
    numbers = np.array([[9, 1, 255, 10]] * 2, np.uint8)
    Image.fromarray(numbers).save(folder / "numbers.png")
    torch.save(torch.from_numpy(numbers.astype(np.int64))[None, None], folder / "numbers.pt")
    for file in ("numbers.png", "numbers.pt"):
        assert np.array_equal(read(folder, {"x": "x.png", "s": file})[1]["semantics"], numbers)
    colours = list(VKITTI2)
    Image.fromarray(np.array([colours[:4]] * 2, np.uint8)).save(folder / "kitti.png")
    assert read(folder, {"x": "x.png", "s": "kitti.png"}, palette="vkitti2")[1]["semantics"][0].tolist() == [5, 9, 7, 4]


def test_an_unknown_colour_has_no_label_and_is_told_once(folder):
    Image.new("RGB", (20, 20), (255, 0, 0)).save(folder / "big.png")
    labels = Image.new("RGB", (20, 20), (255, 0, 0))
    labels.putpixel((3, 2), (1, 2, 3))
    labels.save(folder / "odd.png")
    with pytest.warns(UserWarning, match=r"odd.png has the colour \(1, 2, 3\), which the palette merged does not have"):
        _, arrays, _ = read(folder, {"x": "big.png", "s": "odd.png"}, size=(20, 20))
    assert arrays["semantics"][2, 3] == 255
    assert (arrays["semantics"] == 6).sum() == 399


def test_size_keeps_the_middle_or_squeezes(folder):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(folder / "wide.png")
    Image.fromarray(wide[..., 0]).save(folder / "mask.png")
    entry = {"x": "wide.png", "m": "mask.png"}
    x, arrays, _ = read(folder, entry, size=(4, 4))
    assert (x == 200).all()
    assert (arrays["mask"] == 1).all()
    x, arrays, _ = read(folder, entry, size=(8, 8))
    assert (x[:, :, 1:-1] == 200).all()
    x, arrays, _ = read(folder, entry, size=(4, 12), fit="whole")
    assert arrays["mask"][0].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    x, arrays, _ = read(folder, entry, size=(4, 6), fit="whole")
    assert arrays["mask"][0].tolist() == [0, 0, 1, 1, 0, 0]
    assert (x[0, 0] > 100).tolist() == [False, False, True, True, False, False]


def test_variables_and_a_base(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PHOTOS", str(folder))
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    path = listed(elsewhere, {"x": "$PHOTOS/x.png"}, {"x": "${PHOTOS}/y.png"}, name="v.json")
    Image.open(folder / "x.png").save(folder / "y.png")
    assert PhotosSource(path).n_samples == 2
    assert PhotosSource(listed(elsewhere, {"x": "x.png"}), base="$PHOTOS").n_samples == 1
    with pytest.raises(SourceError, match=r"entry 0 of .* has \$NONE in \$NONE/x.png, and that variable is not set"):
        PhotosSource(listed(elsewhere, {"x": "$NONE/x.png"}))


def broken(folder):
    """What is wrong, the words of the command line, and what the one line says."""
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(folder / "small.png")
    Image.fromarray(np.full((2, 4, 3), (1, 2, 3), np.uint8)).save(folder / "odd.png")
    Image.fromarray(np.full((2, 4), 77, np.uint8)).save(folder / "many.png")
    (folder / "text.jpg").write_text("no picture")
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    torch.save({"depth": torch.zeros(2, 4)}, folder / "dict.pt")
    metres = "source.depth_code=metres"
    return {
        "missing file": ({"x": "gone.png"}, "", "gone.png is missing, which"),
        "other size": ({"x": "x.png", "m": "small.png"}, "", "small.png has 3 x 4 pixels and its photograph"),
        "unknown coding": ({"x": "x.png", "d": "d.npy"}, "", "the lists name depth, and its coding is not known"),
        "wrong coding": (
            {"x": "x.png", "d": "d.npy"}, "source.depth_code=unity",
            "d.npy is no depth in unity: it holds float32 [2, 4]; Unity's code is three bytes of colour; set",
        ),
        "no metres": ({"x": "x.png", "d": "m.png"}, metres, "which the code metres is not written as; set source."),
        "another palette": ({"x": "x.png", "s": "odd.png"}, "", "100% of its pixels are of such colours; set"),
        "class": ({"x": "x.png", "s": "many.png"}, "", "many.png has class 77; semantics has 0..10, and 255 where it"),
        "no picture": ({"x": "text.jpg"}, "", "text.jpg cannot be read (cannot identify image file"),
        "pickle": ({"x": "x.png", "d": "pickled.npy"}, metres, "pickled.npy cannot be read (Object arrays cannot be"),
        "dict": ({"x": "x.png", "d": "dict.pt"}, metres, "dict.pt holds a dict; it must hold one tensor"),
        "key": ({"x": "x.png", "mm": "m.png"}, "", "entry 0 of "),
        "no photo": ({"m": "m.png"}, "", "names no photograph; write {'x': 'photo.jpg', ...}"),
        "target": ({"x": "x.png"}, "source.targets=[mask]", "no entry of the lists has the key 'm'"),
        "misspelt": ({"x": "x.png"}, "source.targets=[maks]", "did you mean 'mask'?"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what",
    ["missing file", "other size", "unknown coding", "wrong coding", "no metres", "another palette", "class",
     "no picture", "pickle", "dict", "key", "no photo", "target", "misspelt"],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(folder, what, capsys):
    entry, word, told = broken(folder)[what]
    store = folder / "store"
    words = ["source=photos", f"source.train={listed(folder, entry)}", "source.size=[2,4]", f"data.store={store}"]
    assert main(["prepare", *words, *([word] if word else [])]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in line
    assert "Traceback" not in line
    assert not store.exists()


def test_a_photograph_or_scene_is_in_one_list(folder):
    train = listed(folder, {"x": "x.png", "parent": "lane"})
    val = listed(folder, {"x": "x.png"}, name="val.json")
    with pytest.raises(SourceError, match=r"x.png is in .*train.json and in .*val.json; leave it out of one"):
        PhotosSource(train, val)
    Image.open(folder / "x.png").save(folder / "y.png")
    val = listed(folder, {"x": "y.png", "parent": "lane"}, name="val.json")
    with pytest.raises(SourceError, match=r"parent 'lane' has photographs in .*; a scene must be in one part"):
        PhotosSource(train, val)


def test_the_town_in_virtual_kittis_layout_is_prepared(tmp_path, capsys):
    write_town(tmp_path / "kitti", images=5, height=24, width=48, kind="vkitti2")
    lists = [f"source.{part}={tmp_path}/kitti/{part}_kitti.json" for part in ("train", "val")]
    words = ["source=photos", *lists, "source.depth_code=vkitti", "source.palette=vkitti2", "source.size=[16,32]"]
    assert main(["prepare", *words, f"data.store={tmp_path / 'store'}"]) == 0
    store = Store.open(capsys.readouterr().out.strip())
    assert store.metadata["published"].tolist() == ["train"] * 4 + ["val"]
    assert store.metadata["parent"].tolist() == ["Scene01"] * 4 + ["Scene06"]
    found = store.read(range(5))
    assert found["depth"][found["semantics"] == 9] == pytest.approx(655.35)
    assert not (found["semantics"] == 255).any()
    assert (found["depth"][found["semantics"] == 1] < 655).all()
    whole = PhotosSource(str(tmp_path / "kitti"), size=(16, 32), depth_code="vkitti", palette="vkitti2")
    for entry, row in zip(whole.samples(), range(5), strict=True):
        assert np.array_equal(entry[0], store.read([row])["x"][0])
        assert entry[2]["published"] == store.metadata["published"][row], "without a list"
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match=r"none has no Scene\*/\*/frames/rgb"):
        PhotosSource(str(tmp_path / "none"))
