"""Whole images by the command line: prepared, learnt, evaluated, reported, probed, gone on with, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from graticule.cli import main
from graticule.commands.assemble import split
from graticule.conf.tree import SplitConfig
from graticule.data.store import Store
from graticule.runs import Run

WORDS = [
    "source=images", "source.root=land", "split=random", "split.by=0.25", "split.total_folds=3", "model=small_cnn",
    "model.channels=8", "model.stages=2", "data.batch_size=10", "data.augment=[D4]", "optim=one_cycle",
    "trainer=cpu", "callbacks=quiet", "evaluate.bootstrap=20", "run.layout=ssl4rs", "run.experiment=land",
    "run.name=first",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with drawn land, its store, and a run over it."""
    folder = tmp_path_factory.mktemp("land")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DATA_ROOT", raising=False)
        patch.delenv("OUTPUT_ROOT", raising=False)
        assert main(["generate", "images", "--root", "land", "--images", "12", "--size", "16"]) == 0
        assert main(["prepare", *WORDS]) == 0
        assert main(["train", *WORDS, "trainer.max_epochs=5"]) == 0
        yield folder


@pytest.fixture
def run(place, monkeypatch):
    monkeypatch.chdir(place)
    return Run(place / "runs/runs/land/first")


def test_a_run_has_the_files_that_ssl4rs_has(run):
    for name in ("console.log", "ckpts/last.ckpt", "csv/metrics.csv"):
        assert (run.folder / name).is_file()
    for pattern in ("config.*.rank00.log", "installed_pkgs.*.log", "runtime_tags.*.log", "model_info.*.log"):
        assert len(list(run.folder.glob(pattern))) == 1
    assert "parameters" in next(run.folder.glob("model_info.*.log")).read_text()


def test_an_evaluation_tells_each_class_with_intervals(run):
    (folder,) = run.evaluations()
    told = json.loads((folder / "metrics.json").read_text())
    target = told["targets"]["class"]
    assert (told["per"], told["area_weighted"]) == ("sample", False)
    assert np.sum(target["confusion"]) == told["pixels"] == 15
    accuracy = np.trace(target["confusion"]) / 15
    assert target["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert accuracy > 0.5 > target["baseline"]["majority"]["accuracy"]
    low, high = target["intervals"]["accuracy"]
    assert low <= accuracy <= high
    assert {f"recall/{name}" for name in ("fields", "forest", "river", "sea", "town")} <= set(target["metrics"])
    examples = np.load(folder / "examples.npz")
    assert examples["class/truth"].shape == examples["class/prediction"].shape == examples["class/probability"].shape
    assert len(set(examples["class/truth"].tolist())) > 1


def test_a_report_shows_samples_with_what_they_were_taken_for(run):
    assert main(["report", str(run.folder)]) == 0
    page = run.report.read_text()
    assert "what they were taken for" in page
    assert "labelled samples" in page
    assert "Confusion matrix of class" in page


def test_what_has_no_place_is_refused_in_one_line(run, capsys):
    assert main(["predict", str(run.folder)]) == 2
    assert "answers once for a whole sample (target 'class')" in capsys.readouterr().err
    assert main(["evaluate", str(run.folder), "evaluate.grid=raster:1deg"]) == 2
    assert "known once per sample and cannot be brought onto another grid" in capsys.readouterr().err
    plain = [word for word in WORDS if not word.startswith("model")]
    assert main(["train", *plain, "model=unet_small", "run.name=other"]) == 2
    assert "choose model=classifier" in capsys.readouterr().err
    assert main(["test", str(run.folder)]) == 0


def test_the_same_command_goes_on_where_it_was(run, capsys):
    assert main(["train", *WORDS, "trainer.max_epochs=5"]) == 2
    assert "go on with it by run.resume=latest" in capsys.readouterr().err
    assert main(["train", *WORDS, "run.resume=latest", "trainer.max_epochs=6", "evaluate.after_train=false"]) == 0
    assert "Resuming first" in capsys.readouterr().err
    epochs = [line.split(",")[1] for line in run.metrics.read_text().splitlines()[1:]]
    assert sorted({int(epoch) for epoch in epochs}) == list(range(6))
    assert main(["train", *WORDS, "run.resume=latest", "model.hidden=8"]) == 2
    assert "whose model.hidden is 64 and not 8" in capsys.readouterr().err


def test_features_are_probed_beside_a_random_start(run, capsys):
    words = ["probe.seeds=2", "probe.shares=[1]", "probe.cs=[0.1]", "callbacks.progress=false"]
    assert main(["probe", str(run.folder), "stores/images", *words]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    told = json.loads((folder / "probe.json").read_text())
    assert told["split"] == "as the net was trained with"
    assert set(told["results"]) == {"first", "random start"}
    learnt, random = (told["results"][name]["linear"] for name in ("first", "random start"))
    assert learnt[0]["accuracy"] >= 0.5
    assert len(random[0]["by_seed"]) == 2
    assert learnt[0]["by_seed"][0] == learnt[0]["by_seed"][1]  # all labels, and a net that has no seed
    assert (folder / "probe.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-net", "stores/images"], "is no folder of a backbone or of a run, and no model of timm"),
        (["random:resnet18"], "name a net and a store"),
        (["random:resnet18", "stores/images", "model=unet"], "'model' changes nothing of a probe"),
        (["random:resnet18", "stores/none"], "there is no store at stores/none"),
    ],
)
def test_a_probe_says_what_it_lacks(run, words, said, capsys):
    assert main(["probe", *words]) == 2
    assert said in capsys.readouterr().err


def test_few_labels_are_drawn_alike_of_each_class(place):
    store = Store.open(place / "stores/images")
    all_rows = split(SplitConfig(method="random", by=0.25, total_folds=3), store)
    drawn = [split(SplitConfig(method="random", by=0.25, total_folds=3, train_share=s), store) for s in (0.2, 0.5)]
    labels = store.read(range(len(store)), arrays=["label"])["label"]
    for few, share in zip(drawn, (0.2, 0.5), strict=True):
        for part in ("val", "test"):
            np.testing.assert_array_equal(few.samples(part), all_rows.samples(part))
        whole = np.bincount(labels[all_rows.samples("train")], minlength=5)
        counts = np.bincount(labels[few.samples("train")], minlength=5)
        np.testing.assert_array_equal(counts, np.maximum(1, np.floor(share * whole + 0.5)))
    assert set(drawn[0].samples("train")) <= set(drawn[1].samples("train"))
