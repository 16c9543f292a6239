"""Photographs and layers from files of every kind; pictures side by side."""

import re

import numpy as np
import pytest
from PIL import Image

from graticule.errors import ConfigError, SourceError
from graticule.inference.event_files import (
    contact_sheet,
    layer_files,
    list_photos,
    read_depth,
    read_disparity,
    read_photo,
    read_segmentation,
)

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = PHOTO[..., 0]


def test_a_photograph_is_upright_as_its_exif_says(tmp_path):
    turned = {1: PHOTO, 3: PHOTO[::-1, ::-1], 6: np.rot90(PHOTO), 8: np.rot90(PHOTO, -1), 2: PHOTO[:, ::-1]}
    for orientation, stored in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
        assert np.array_equal(read_photo(tmp_path / "a.png"), PHOTO), orientation


def test_grey_palette_sixteen_bits_and_transparency(tmp_path):
    path = tmp_path / "a.png"
    grey = np.repeat(GREY[..., None], 3, axis=-1)
    Image.fromarray(GREY).save(path)
    assert np.array_equal(read_photo(path), grey)
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    assert np.array_equal(read_photo(path), grey)
    Image.fromarray(PHOTO).quantize(54).save(path)
    assert np.array_equal(read_photo(path), np.asarray(Image.open(path).convert("RGB")))
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[2:4] = 0
    expected = np.where(alpha == 0, 255, PHOTO)
    for mode, kept in (("RGBA", expected), ("LA", np.where(alpha == 0, 255, grey))):
        Image.fromarray(np.dstack([kept if mode == "RGBA" else grey, alpha])).convert(mode).save(path)
        told = read_photo(path)
        assert told.shape == (6, 9, 3)
        assert (told[2:4] == 255).all()
        assert mode == "LA" or np.array_equal(told, kept)


def unreadable(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(PHOTO).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:100])
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "float.tif")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], object))
    np.savez(tmp_path / "two.npz", a=GREY, b=GREY)
    np.savez(tmp_path / "pickled.npz", depth=np.array([{"a": 1}], object))
    np.save(tmp_path / "deep.npy", np.ones((2, 3, 4)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "whole.npy", np.ones((9, 9)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:200])
    (tmp_path / "no.npz").write_bytes(b"PK")
    Image.fromarray(PHOTO).save(tmp_path / "colours.png")
    Image.fromarray(GREY).save(tmp_path / "whole-numbers.png")


READ = {
    "photo": read_photo, "depth": lambda path: read_depth(path, None), "disparity": read_disparity,
    "segmentation": lambda path: read_segmentation(path, 9, 9),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("photo", "text.png", "cannot be read as a picture (its format is unknown); give another file."),
        ("photo", "empty.png", "cannot be read as a picture (its format is unknown)"),
        ("photo", "cut.png", "cannot be read as a picture ("),
        ("photo", "none.png", "cannot be read as a picture (No such file or directory)"),
        ("photo", "float.tif", "has pixels of 32 bits, whose white is unknown; save it with 8 or 16 bits."),
        ("depth", "pickled.npy", "cannot be read as depth (it holds pickled objects, which are not opened)"),
        ("depth", "pickled.npz", "cannot be read as depth (it holds pickled objects, which are not opened)"),
        (
            "depth",
            "two.npz",
            "(it has the arrays a, b, and none is 'depth'); give a .npy, .npz or .png file of numbers.",
        ),
        ("depth", "cut.npy", "cannot be read as depth ("),
        ("depth", "no.npz", "cannot be read as depth ("),
        (
            "depth",
            "whole-numbers.png",
            "holds whole numbers, whose unit is unknown; add --depth-unit METRES (0.001 for",
        ),
        ("depth", "colours.png", "holds uint8 of the shape (6, 9, 3); depth must be one number per pixel."),
        ("disparity", "deep.npy", "holds float64 of the shape (2, 3, 4); disparity must be one number per pixel."),
        ("disparity", "text.npy", "holds <U1 of the shape (1, 1); disparity must be one number per pixel."),
        ("segmentation", "colours.png", "one number per pixel, or name the sky's colour: --sky '#rrggbb'."),
        ("segmentation", "text.png", "cannot be read as segmentation (its format is unknown)"),
    ],
)
def test_what_cannot_be_read_is_one_line(kind, name, told, tmp_path):
    unreadable(tmp_path)
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        READ[kind](tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_depth_of_every_file(tmp_path):
    metres = GREY / np.float32(10)
    np.save(tmp_path / "a.npy", metres[None])
    np.savez(tmp_path / "one.npz", anything=metres)
    np.savez(tmp_path / "two.npz", depth=metres.astype(np.float16), rays=PHOTO)
    Image.fromarray((GREY * 100.0).astype(np.uint16)).save(tmp_path / "a.png")
    for name, unit in (("a.npy", None), ("one.npz", None), ("two.npz", None), ("a.png", 0.001)):
        told = read_depth(tmp_path / name, unit)
        assert told.dtype == np.float32
        np.testing.assert_allclose(told, metres, rtol=1e-3)
    assert np.array_equal(read_disparity(tmp_path / "a.png"), GREY * 100.0)


def test_a_segmentation_by_numbers_a_palette_or_the_skys_colour(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    assert np.array_equal(read_segmentation(path, 9, 9), GREY)
    picture = Image.fromarray(GREY)
    picture.putpalette([7] * 768)
    picture.save(path)
    assert np.array_equal(read_segmentation(path, 9, 9), GREY)
    painted = PHOTO.copy()
    painted[:2] = 8, 19, 49
    Image.fromarray(painted).save(path)
    assert np.array_equal(read_segmentation(path, "#081331", 9) == 9, np.arange(6)[:, None] + np.zeros(9) < 2)


def test_photographs_of_files_and_folders(tmp_path):
    for name in ("b.png", "a.jpg", "notes.txt", "in/c.PNG", "a-depth.png", "b_segmentation.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.name for path in list_photos([tmp_path, tmp_path / "in/c.PNG", tmp_path / "a.jpg"])]
    assert names == ["a.jpg", "b.png", "c.PNG"]
    (tmp_path / "in/b.jpg").touch()
    with pytest.raises(ConfigError, match=r"b\.png and .*in/b\.jpg would be written as the same files"):
        list_photos([tmp_path, tmp_path / "in"])
    with pytest.raises(SourceError, match=r"there is no photograph .*none\.png; check the path\."):
        list_photos([tmp_path / "none.png"])
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceError, match=r"bare holds no photographs; they must be files \.png, \.jpg"):
        list_photos([tmp_path / "bare"])


def test_files_belong_to_the_photograph_of_their_name(tmp_path):
    one, two = tmp_path / "1.jpg", tmp_path / "2.png"
    made = ["1-depth.npy", "1-depth-colour.png", "1-semantics.png", "2.png", "2_depth.npz", "20.npy"]
    for name in ("1.jpg", *made):
        (tmp_path / name).touch()
    found = layer_files("depth", [tmp_path], [one, two])
    assert found == {one: tmp_path / "1-depth.npy", two: tmp_path / "2_depth.npz"}
    assert layer_files("segmentation", [tmp_path], [one, two]) == {one: tmp_path / "1-semantics.png"}
    assert layer_files("disparity", [tmp_path], [one, two]) == {}
    other = tmp_path / "20.npy"
    assert layer_files("depth", [other], [one]) == {one: other}, "of one photograph and one file there is no doubt"
    assert layer_files("depth", [other], [one, two]) == {}
    (tmp_path / "1.npy").touch()
    with pytest.raises(ConfigError, match=r"1\.jpg has 2 files of depth, .*1\.npy and .*1-depth\.npy; give one\."):
        layer_files("depth", [tmp_path], [one])
    with pytest.raises(SourceError, match=r"there is no depth .*nowhere; check the path"):
        layer_files("depth", [tmp_path / "nowhere"], [one])


def test_a_contact_sheet_has_the_photograph_and_every_picture():
    photo = np.full((900, 1200, 3), 40, np.uint8)
    sheet = contact_sheet(photo, {"smog": np.full_like(photo, 90), "wildfire": np.full_like(photo, 200)})
    assert sheet.shape == (360 + 28 + 8, 3 * (480 + 8) + 8, 3)
    assert [int(sheet[200, 8 + 488 * number + 240, 0]) for number in range(3)] == [40, 90, 200]
    assert contact_sheet(photo[:1, :1], {}).shape == (1 + 28 + 8, 17, 3)
