"""`graticule render`: photographs in files, pictures of events in files; bad ones among good ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered import pixels, told_by

from graticule.cli import main
from graticule.inference.rendering import Smog, Wildfire, infer_all

RNG = np.random.default_rng(0)
SHAPE = (23, 31)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with two photographs, of which each has depth and labels (the sky is class 13)."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "depth", "labels"):
        Path(folder).mkdir()
    for name in ("a", "b"):
        Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3), np.uint8)).save(f"photos/{name}.png")
        np.save(f"depth/{name}.npy", RNG.uniform(1, 99, SHAPE).astype(np.float32))
        labels = np.full(SHAPE, 3, np.uint8)
        labels[:7] = 13
        Image.fromarray(labels).save(f"labels/{name}-semantics.png")
    return tmp_path


ALL = ["--depth", "depth", "--segmentation", "labels", "--sky", "13"]


def test_all_events_of_a_folder_are_those_of_python(desk, capsys):
    words = ["render", "all", "photos", *ALL, "--seed", "3", "--visibility", "60", "--out", "made"]
    assert main(words) == 0
    written, err = told_by(capsys)
    ends = [f"made/{name}_{end}.png" for name in "ab" for end in ("wildfire", "smog", "events")]
    assert written == ends
    assert "render: 2 of 2" in err
    assert [line.split()[0] for line in err.splitlines()[-4:]] == ["read", "wildfire", "smog", "write"]
    for name in "ab":
        expected = infer_all(
            pixels(f"photos/{name}.png"), [Wildfire(seed=3, sky=13), Smog(60.0)],
            depth=np.load(f"depth/{name}.npy"), segmentation=pixels(f"labels/{name}-semantics.png"),
        )  # fmt: skip
        for event, picture in expected.items():
            assert np.array_equal(pixels(f"made/{name}_{event}.png"), picture)
    before = {path: Path(path).read_bytes() for path in ends}
    assert main(words) == 0
    assert {path: Path(path).read_bytes() for path in ends} == before


def test_one_photograph_with_a_file_of_another_name(desk, capsys):
    shutil.copy("depth/a.npy", "metres.npy")
    Image.open("photos/a.png").convert("L").save("grey.jpg", quality=99)
    assert main(["render", "smog", "grey.jpg", "--depth", "metres.npy"]) == 0
    assert told_by(capsys)[0] == ["rendered/grey_smog.png"]
    expected = infer_all(pixels("grey.jpg"), depth=np.load("metres.npy"))["smog"]
    assert np.array_equal(pixels("rendered/grey_smog.png"), expected)


def test_depth_in_millimetres_disparity_and_the_skys_colour(desk, capsys):
    metres = np.load("depth/a.npy")
    Image.fromarray((metres * 100).astype(np.uint16)).save("a-depth.png")
    assert main(["render", "smog", "photos/a.png", "--depth", "a-depth.png", "--depth-unit", "0.01"]) == 0
    expected = infer_all(pixels("photos/a.png"), depth=metres)["smog"].astype(int)
    assert np.abs(pixels("rendered/a_smog.png") - expected).max() <= 1
    Image.fromarray((1000 / metres).astype(np.uint16)).save("a_disparity.png")
    assert main(["render", "smog", "photos/a.png", "--disparity", "a_disparity.png", "--out", "other"]) == 0
    known = {"disparity": (1000 / metres).astype(int)}
    assert np.array_equal(pixels("other/a_smog.png"), infer_all(pixels("photos/a.png"), **known)["smog"])
    painted = np.where(pixels("labels/a-semantics.png")[..., None] == 13, (8, 19, 49), (9, 9, 9)).astype(np.uint8)
    Image.fromarray(painted).save("a.png")
    assert main(["render", "wildfire", "photos/a.png", "--segmentation", "a.png", "--sky", "#081331"]) == 0
    labels = pixels("labels/a-semantics.png")
    expected = infer_all(pixels("photos/a.png"), [Wildfire(sky=13)], segmentation=labels)["wildfire"]
    assert np.array_equal(pixels("rendered/a_wildfire.png"), expected)


def test_an_unreadable_photograph_is_named_and_the_others_are_rendered(desk, capsys):
    Path("photos/ab.png").write_bytes(Path("photos/a.png").read_bytes()[:500])
    np.save("depth/ab.npy", np.ones(SHAPE))
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save("photos/c.png")
    shutil.copy("depth/a.npy", "depth/c.npy")
    assert main(["render", "smog", "photos", "--depth", "depth"]) == 2
    written, err = told_by(capsys)
    assert written == ["rendered/a_smog.png", "rendered/b_smog.png"]
    assert [path.name for path in sorted(Path("rendered").iterdir())] == ["a_smog.png", "b_smog.png"]
    assert "photos/c.png: depth has 23 x 31 pixels and the photograph 9 x 9; it must have the same" in err
    assert err.splitlines()[-1].startswith(
        "graticule: error: 2 of 4 photographs failed, the first of them photos/ab.png: photos/ab.png cannot be read as "
    )
    assert err.splitlines()[-1].endswith("The pictures of the others are in rendered.")


def test_a_photograph_without_a_layer_has_the_events_of_the_others(desk, capsys):
    Path("depth/b.npy").unlink()
    assert main(["render", "all", "photos", *ALL]) == 0
    written, err = told_by(capsys)
    assert [Path(path).name for path in written] == [
        "a_wildfire.png", "a_smog.png", "a_events.png", "b_wildfire.png", "b_events.png",
    ]  # fmt: skip
    assert "photos/b.png has no depth or disparity, so no smog" in err
    assert main(["render", "smog", "photos", "--depth", "depth"]) == 2
    assert "photos/b.png: it has no file of depth or disparity, which smog needs." in told_by(capsys)[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["smog"], "no photograph was given; name files or folders: graticule render smog IMAGES."),
        (["smog", "none.png"], "there is no photograph none.png; check the path."),
        (["smog", "photos/a.png"],
         "smog needs how far away everything is: add --depth FILES (metres), --disparity FILES, or --run "
         "MASKER."),
        (["wildfire", "photos/a.png", "--depth", "depth"],
             "wildfire needs to know the sky: add --segmentation FILES, or --run MASKER."),
        (["all", "photos"],
         "nothing is known of the pixels: add --depth FILES (metres) for smog, --segmentation FILES for wildfire, "
         "--mask FILES and --painter RUN for a flood, or --run MASKER for all."),
        (["smog", "photos/a.png", "--depth", "labels"],
         "no file of depth in labels belongs to photos/a.png; name it a.npy, .npz or .png."),
        (["smog", "photos/a.png", "--depth", "depth", "--disparity", "depth"],
         "both --depth and --disparity were given; give one."),
        (["smog", "photos/a.png", "--depth", "labels/a-semantics.png"],
         "labels/a-semantics.png holds whole numbers, whose unit is unknown; add --depth-unit METRES (0.001 for "
         "millimetres), or give it as --disparity."),
        (["smog", "photos/a.png", "--depth", "depth", "--visibility", "-3"],
         "the visibility is -3; it must be a distance above 0 m."),
        (["smog", "photos/a.png", "--depth", "depth", "--depth-unit", "0"],
         "--depth-unit is 0; it must be metres above 0, such as 0.001."),
        (["wildfire", "photos/a.png", "--segmentation", "labels", "--seed", "-1"],
         "the seed is -1; it must be a whole number from 0 to 2^63 - 1."),
        (["wildfire", "photos/a.png", "--segmentation", "labels", "--sky", "blue"],
         "--sky is 'blue'; it must be a class number such as 9, or a colour such as '#081331'."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(words, line, desk, capsys):
    assert main(["render", *words]) == 2
    out, err = told_by(capsys)
    assert out == []
    assert err.splitlines()[-1] == f"graticule: error: {line}"
    assert not Path("rendered").exists()


def test_an_event_that_there_is_not_is_told_with_those_that_there_are(desk, capsys):
    assert main(["render", "frost", "photos"]) == 2
    assert "argument EVENT: invalid choice: 'frost' (choose from " in told_by(capsys)[1]


def test_a_folder_that_cannot_be_written_stops_at_once(desk, capsys):
    Path("rendered").touch()
    assert main(["render", "all", "photos", *ALL]) == 2
    err = told_by(capsys)[1]
    assert err.splitlines()[-1].startswith("graticule: error: cannot write rendered/a_wildfire.png: ")
    assert "photographs failed" not in err
