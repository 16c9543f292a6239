"""Adaptation and painting from the command line."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from graticule.cli import main
from graticule.commands.assemble import make_datamodule, make_task, split
from graticule.conf.compose import Request, compose
from graticule.data.store import Store
from worlds import photo_world

SMALL = [
    "trainer=cpu", "split=random", "data.batch_size=2", "trainer.log_every_n_steps=1", "callbacks.progress=false",
    "evaluate.bootstrap=5", "evaluate.pictures=0", "tracker=tensorboard", "trainer.max_epochs=2",
]  # fmt: skip
MASKER = [
    "task.name=adaptation", "data.store=s", "adaptation.domains={r: r}", "model=unet", "model.channels=4",
    "model.levels=2", "data.targets=[mask, semantics]", "run.name=masker",
    "adaptation.losses={mask: [{name: min_entropy}, {name: adversarial, width: 4, weight: 0.1}]}",
    "adaptation.pretrain={store: s, epochs: 1}",
]  # fmt: skip
PAINTER = [
    "task.name=painting", "data.store=s", "model=painter", "model.latent=8", "model.ups=3", "run.name=painter",
    "painting.discriminator={width: 4, layers: 2, scales: 1}", "trainer.precision=bf16-mixed",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    photo_world(folder / "s", seed=1)
    photo_world(folder / "r", seed=2, labelled=False)
    photo_world(folder / "judged", seed=3)
    return folder


@pytest.fixture(autouse=True)
def inside(home, monkeypatch):
    monkeypatch.chdir(home)


def last_line(capsys):
    return capsys.readouterr().out.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def masker(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["train", *SMALL, *MASKER]) == 0
    (folder,) = home.glob("runs/*/masker-*")
    return folder


def test_a_masker_is_evaluated_and_exported_as_any_net(masker, capsys):
    assert {path.name.split("-")[0] for path in (masker / "evaluation").iterdir()} == {"test"}
    assert main(["evaluate", str(masker), "data.store=judged"]) == 0
    found = json.loads((Path(last_line(capsys)) / "metrics.json").read_text())
    assert "mask" in json.dumps(found)
    assert main(["export", str(masker)]) == 0
    exported = last_line(capsys)
    weights = safetensors.torch.load_file(Path(exported) / "weights.safetensors")
    assert not any(name.startswith("discriminators.") for name in weights)


def test_few_labels_are_few_of_the_main_store_only():
    config = compose(Request([*SMALL, *MASKER, "split.train_share=0.25"]))
    store = Store.open(Path("s"))
    made = make_datamodule(config, store, split(config.split, store))
    few, all_of_the_other = (len(one.assignment.samples("train")) for one in (made, made.domains["r"]))
    assert few < 4
    assert all_of_the_other == 8


@pytest.mark.parametrize("words", [MASKER, PAINTER], ids=["masker", "painter"])
def test_all_first_weights_are_a_function_of_the_seed(words):
    def weights(state, *further):
        config = compose(Request([*SMALL, *words, *further]))
        store = Store.open(Path("s"))
        torch.manual_seed(state)
        return make_task(config, make_datamodule(config, store, split(config.split, store))).state_dict()

    one, same, other = weights(1), weights(2), weights(1, "run.seed=7")
    assert all(torch.equal(same[name], weight) for name, weight in one.items())
    for part in ("net.", "discriminators."):
        kernels = [name for name, weight in one.items() if name.startswith(part) and weight.ndim == 4]
        assert kernels
        assert not any(torch.equal(other[name], one[name]) for name in kernels)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*MASKER, "adaptation.domains={}", "adaptation.pretrain=null"], "task.name=adaptation has no other domain"),
        ([*MASKER, "adaptation.domains={pretrain: r}"], "adaptation.domains has 'pretrain'"),
        ([*MASKER, "adaptation.pretrain={store: r, epochs: 1}"], "has no target 'mask', which is to be learnt from it"),
        ([*MASKER, "adaptation.losses={mask: [{name: advent}]}"], "advent"),
        ([*MASKER, "optim.layer_decay=0.9"], "optim.layer_decay is for task.name=dense"),
        ([*MASKER, "trainer.accumulate_grad_batches=2"], "two players step at every batch"),
        (["task.name=painting", "data.store=s", "model=unet"], "trains a painter, and the model is unet"),
        ([*PAINTER, "painting.target=water"], "painting.target is 'water'"),
        ([*PAINTER, "painting.losses.perceptual=1.0"], "give painting.perceptual_weights=FILE"),
        ([*PAINTER, "painting.flipped_labels=0.7"], "it must be from 0 to below 0.5"),
    ],
)
def test_what_does_not_fit_ends_in_one_line(words, says, capsys):
    assert main(["train", *SMALL, *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("error") == 1
    assert "Traceback" not in told
