"""A backbone is pretrained by the command line, reported, and handed on to a map; what does not fit is one line."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tiny_earth import TINY

from graticule.cli import main

STORE = "data.store=stores/earth-raster-3deg"
SMALL = "{channels:[8,8,8,16],stem_width:8}"
PRETRAIN = [
    "experiment=earth_simclr", STORE, "source.grid=raster:3deg", "source.window=5", f"model.options={SMALL}",
    "data.batch_size=16", "trainer=cpu", "trainer.max_epochs=1", "trainer.val_every_n_epochs=1",
    "trainer.limit_train_batches=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def backbone(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        assert main(["train", *PRETRAIN, "run.name=pre"]) == 0
        (folder,) = Path("runs/_runs").glob("pre-*")
    return folder / "backbone"


def test_the_run_leaves_a_backbone_pictures_and_a_report(here, backbone):
    told = json.loads((backbone / "backbone.json").read_text())
    assert (told["method"], told["encoder"], told["width"], told["steps"]) == ("simclr", "resnet10t", 16, 2)
    assert [band["name"] for band in told["bands"]] == ["red", "green", "blue"]
    assert all(band["std"] > 0 for band in told["bands"])
    assert {"val/knn", "val/linear", "val/rank", "val/alignment"} <= set(told["validation"])
    for name in ("embedding", "neighbours", "val-examples-000002"):
        assert (backbone.parent / "figures" / f"{name}.png").stat().st_size > 1000
    assert main(["report", str(backbone.parent)]) == 0
    page = (backbone.parent / "report.html").read_text()
    assert "resnet10t of 16 features on 3 bands, by simclr" in page
    assert page.count("data:image/") >= 2


def test_a_map_begins_with_it(here, backbone):
    words = [word for word in TINY if not word.startswith("model")]
    options = "{channels:[8,8,8,16],stem_width:8,decoder_channels:[8,8,8,8,8]}"
    smp = ["model=smp", "model.encoder=tu-resnet10t", f"model.encoder_weights={backbone}", f"model.options={options}"]
    assert main(["train", *words, *smp, "run.name=fine", "evaluate.after_train=false"]) == 0


def test_a_net_of_this_project_begins_with_its_own_encoder(here):
    small = [word for word in PRETRAIN if not word.startswith("model.options")]
    own = ["model.encoder=unet", "model.options={channels: 4, levels: 2}", "run.name=own"]
    assert main(["train", *small, *own]) == 0
    (folder,) = Path("runs/_runs").glob("own-*")
    words = [*TINY, f"model.encoder_weights={folder / 'backbone'}", "trainer.limit_train_batches=1"]
    frozen = ["task.freeze=[down]", "run.name=taken", "evaluate.after_train=false"]
    assert main(["train", *words, *frozen]) == 0
    (taken,) = Path("runs/_runs").glob("taken-*")
    learnt = torch.load(taken / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    given = safetensors.torch.load_file(folder / "backbone/backbone.safetensors")
    weights = {name: tensor for name, tensor in given.items() if name.endswith(".weight")}
    assert weights
    assert all(torch.equal(learnt[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.bands=[red,green]", "model.encoder_weights=BACKBONE"], "was trained on 3 bands (red, green, blue)"),
        (["pretraining.views.size=16"], "pretraining.views.size is 16; 32 pixels become one in the last features"),
        (["model=unet"], "a pretraining learns a backbone, and the model is 'unet'; set model=backbone"),
        (["pretraining.probe_target=landcovr"], "pretraining.probe_target is 'landcovr'"),
        (["data.batch_size=1"], "data.batch_size is 1; simclr compares samples of a batch"),
        (["pretraining.method=simclar"], "pretraining.method"),
        (["pretraining.views.scale=[1.0,0.5]"], "pretraining.views.scale is [1.0, 0.5]; give the lower one first"),
    ],
)
def test_what_does_not_fit_ends_in_one_line(here, backbone, capsys, words, line):
    before = set(Path("runs/_runs").iterdir())
    given = [word for word in PRETRAIN if not (word.startswith("model.") and "model=unet" in words)]
    assert main(["train", *given, *(word.replace("BACKBONE", str(backbone)) for word in words)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert line in told
    assert told.startswith("graticule: error: ")
    assert set(Path("runs/_runs").iterdir()) == before


def test_a_backbone_predicts_no_map(here, backbone, capsys):
    assert main(["evaluate", str(backbone.parent)]) == 2
    assert "predicts no maps" in capsys.readouterr().err
