"""`graticule render` with nets: a masker and a painter from their runs; what is not one of them is told."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rendered import pixels, told_by

from graticule.cli import main
from graticule.commands.render_nets import load_masker, load_painter
from graticule.conf.compose import Request, compose, write_config
from graticule.data.sources.photos import BANDS
from graticule.inference.rendering import Flood, Smog, Wildfire, infer_all
from graticule.models.discriminators import MultiScaleDiscriminator
from graticule.models.masker.masker import Masker
from graticule.models.painter import Painter
from graticule.runs import create_run
from graticule.schema import LegendClass, Target, target_to_dict
from graticule.tasks.dense import DensePrediction
from graticule.tasks.painting import Painting

LEGEND = tuple(LegendClass(n, name, "#000000") for n, name in enumerate(("road", "house", "sky")))
TARGETS = (
    Target("depth", "depth", unit="m", mean=20.0, std=5.0),
    Target("semantics", "classes", LEGEND),
    Target("mask", "binary", LEGEND[:2]),
)


def saved(root, name, words, make):
    """A run with the first weights of a net, as a training would leave it."""
    config = compose(Request(["source=photos", "source.train=list.json", *words]))
    run = create_run(root, name, seed=0)
    write_config(run.config, config)
    torch.manual_seed(0)
    task = make(config.to_dict() | {"grid_kind": "raster", "base_pixels": None})
    content = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(content)
    run.checkpoints.mkdir()
    torch.save(content, run.checkpoints / "last.ckpt")
    return str(run.folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")

    def masker(config):
        net = Masker(3, 5, TARGETS, "mobilenet", depth="plain")
        return DensePrediction(net, BANDS, TARGETS, config=config | {"targets": [target_to_dict(t) for t in TARGETS]})

    def painter(config):
        return Painting(Painter(16, 4), MultiScaleDiscriminator(4, 2, 1), BANDS, TARGETS[2:], config=config)

    see = ["model=masker", "model.encoder=mobilenet", "model.depth=plain"]
    fill = ["task.name=painting", "model=painter", "model.latent=16", "model.ups=4"]
    fill += [f"painting.discriminator.{told}" for told in ("width=4", "layers=2", "scales=1")]
    return {"masker": saved(root, "see", see, masker), "painter": saved(root, "paint", fill, painter)}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (40, 56)), ("b", (40, 56)), ("c", (33, 70))):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(f"photos/{name}.png")
    return tmp_path


def test_all_events_are_those_of_python(desk, runs, capsys):
    words = ["render", "all", "photos", "--run", runs["masker"], "--painter", runs["painter"], "--seed", "3"]
    words += ["--batch-size", "2", "--save", "mask", "depth", "segmentation", "--out", "made", "--cloudy"]
    assert main(words) == 0
    written, err = told_by(capsys)
    ends = ("wildfire.png", "smog.png", "flood.png", "events.png", "mask.png", "depth.npy", "segmentation.png")
    assert written == [f"made/{name}_{end}" for name in "abc" for end in ends]
    assert [line.split()[0] for line in err.splitlines()[-6:]] == [
        "read",
        "masker",
        "wildfire",
        "smog",
        "flood",
        "write",
    ]
    masker, paint = load_masker(runs["masker"], "cpu"), load_painter(runs["painter"], "cpu", 3)
    events = [Wildfire(3, sky=2), Smog(), Flood(paint, clouds=3, sky=2)]
    for name in "ac":
        layers = {}
        expected = infer_all(pixels(f"photos/{name}.png"), events, masker=masker, layers=layers)
        for event, picture in expected.items():
            assert np.abs(pixels(f"made/{name}_{event}.png").astype(int) - picture).max() <= 1
        assert np.abs(pixels(f"made/{name}_mask.png") / 255 - layers["mask"]).max() <= 0.003
        np.testing.assert_allclose(np.load(f"made/{name}_depth.npy"), layers["depth"], rtol=1e-4)
        dry = layers["mask"] < 0.49
        assert np.array_equal(pixels(f"made/{name}_flood.png")[dry], pixels(f"photos/{name}.png")[dry])


def test_what_was_saved_is_found_again(desk, runs, capsys):
    see = ["render", "smog", "photos/a.png", "--run", runs["masker"], "--save", "mask", "depth", "--out", "photos"]
    assert main(see) == 0
    assert main(["render", "smog", "photos/a.png", "--depth", "photos", "--out", "again"]) == 0
    assert np.array_equal(pixels("again/a_smog.png"), pixels("photos/a_smog.png"))
    flood = ["render", "flood", "photos/a.png", "--painter", runs["painter"]]
    assert main([*flood, "--mask", "photos", "--threshold", "-1"]) == 0
    soft = pixels("rendered/a_flood.png")
    assert main([*flood, "--mask", "photos", "--threshold", "0"]) == 0
    assert not np.array_equal(pixels("rendered/a_flood.png"), soft)


def test_own_masks_sizes_and_an_unreadable_photograph(desk, runs, capsys):
    Path("photos/broken.png").write_bytes(Path("photos/a.png").read_bytes()[:300])
    Path("masks").mkdir()
    for name, shape in (("a", (20, 28)), ("b", (40, 56)), ("c", (33, 70)), ("broken", (9, 9))):
        half = np.where(np.arange(shape[0])[:, None] >= shape[0] / 2, 255, 0) + np.zeros((1, shape[1]), int)
        Image.fromarray(np.dstack([half] * 3).astype(np.uint8)).save(f"masks/{name}.png")
    words = ["render", "flood", "photos", "--mask", "masks", "--painter", runs["painter"], "--size", "32"]
    assert main(words) == 2
    written, err = told_by(capsys)
    assert written == [f"rendered/{name}_flood.png" for name in "abc"]
    assert "photos/broken.png" in err
    assert err.splitlines()[-1].startswith(
        "graticule: error: 1 of 4 photographs failed, the first of them photos/broken.png:"
    )
    assert {pixels(path).shape for path in written} == {(32, 32, 3)}
    Path("photos/broken.png").unlink()
    assert main([*words, "--keep-ratio"]) == 0
    assert [pixels(path).shape for path in written] == [(32, 45, 3), (32, 45, 3), (32, 68, 3)]


def test_grey_transparent_and_turned_photographs(desk, runs, capsys):
    colour = Image.open("photos/a.png")
    Path("odd").mkdir()
    colour.convert("L").save("odd/grey.jpg")
    colour.convert("RGBA").save("odd/clear.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    colour.save("odd/turned.png", exif=turned)
    assert main(["render", "all", "odd", "--run", runs["masker"], "--painter", runs["painter"]]) == 0
    shapes = {name: pixels(f"rendered/{name}_flood.png").shape for name in ("grey", "clear", "turned")}
    assert shapes == {"grey": (40, 56, 3), "clear": (40, 56, 3), "turned": (56, 40, 3)}


def test_the_rules_of_climategan_name_the_nets(desk, runs, capsys):
    Path("both").mkdir()
    for name in ("masker", "painter"):
        shutil.copytree(runs[name], f"both/{name}")
    told = [["--run", runs["masker"], "--painter", runs["painter"]], ["--load", "pm=both"]]
    told += [["--load", "m=both/masker/checkpoints/last.ckpt", f"p={runs['painter']}"]]
    found = []
    for words in told:
        assert main(["render", "flood", "photos/a.png", *words]) == 0
        found.append(pixels("rendered/a_flood.png"))
    assert all(np.array_equal(one, found[0]) for one in found)
    assert main(["render", "smog", "photos/a.png", "--load", f"m={runs['masker']}"]) == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["flood"], "flood needs a painter: add --painter RUN, trained by task.name=painting."),
        (["flood", "--painter", "PAINTER"],
         "flood needs to know where the water stands: add --mask FILES, or --run MASKER."),
        (["flood", "--run", "PAINTER", "--painter", "PAINTER"],
         "PAINTER is of a run with task.name=painting, which sees nothing in photographs; give a masker as --run and "
         "this as --painter."),
        (["flood", "--run", "MASKER", "--painter", "MASKER"],
         "MASKER is of a run with task.name=dense, which paints no water; give a painter as --painter and this as "
         "--run."),
        (["smog", "--run", "nowhere"], "nowhere is not a run folder (it has no manifest.json)"),
        (["flood", "--load", "p=PAINTER"],
         "load_paths has p and no m, and the masker is needed too; give m, or one path for both as pm."),
        (["smog", "--load", "p=PAINTER", "m=MASKER"],
         "only the masker is loaded, and load_paths also has p; give m alone, or none."),
        (["flood", "--load", "m=MASKER", "--painter", "PAINTER"],
         "--load names masker and painter, and so do --run and --painter; give one or the other."),
        (["smog", "--run", "MASKER", "--threshold", "2"],
         "--threshold is 2; it must be from 0 to 1, or -1 for a soft border."),
        (["smog", "--run", "MASKER", "--size", "0"], "--size is 0; it must be 1 or more."),
        (["smog", "--run", "MASKER", "--masker-size", "-1"],
         "--masker-size is -1; it must be pixels, or 0 for the photograph's own."),
        (["smog", "--run", "MASKER", "--keep-ratio"],
         "--keep-ratio says how --size is meant, which was not given; without both nothing is resized."),
        (["smog", "--run", "MASKER", "--save", "sky"],
         "--save has 'sky'; it can be mask, depth, disparity, segmentation."),
        (["smog", "--run", "MASKER", "--device", "cuda"],
         "--device is cuda and torch finds no GPU; give --device cpu."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(words, line, desk, runs, capsys):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    known = {"MASKER": runs["masker"], "PAINTER": runs["painter"]}
    assert (
        main(
            [
                "render",
                words[0],
                "photos",
                *(re.sub("MASKER|PAINTER", lambda found: known[found[0]], word) for word in words[1:]),
            ]
        )
        == 2
    )
    out, err = told_by(capsys)
    assert out == []
    for name, path in known.items():
        line = line.replace(f"{name} is", f"{path} is")
    assert err.splitlines()[-1].startswith(f"graticule: error: {line}")
    assert not Path("rendered").exists()


def test_a_damaged_checkpoint_is_named(desk, runs, capsys):
    shutil.copytree(runs["masker"], "copy")
    path = Path("copy/checkpoints/last.ckpt")
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["render", "smog", "photos", "--run", "copy"]) == 2
    assert "copy/checkpoints/last.ckpt is truncated or damaged" in told_by(capsys)[1]
