"""Fisheye photographs from the command line: generate, prepare, train, on the camera and on the sphere."""

import json
from pathlib import Path

import pytest

from graticule.cli import main
from graticule.data.store import Store

TRAIN = [
    "model=unet", "model.channels=4", "model.levels=2", "trainer=cpu", "trainer.max_epochs=1", "data.batch_size=2",
    "evaluate.bootstrap=2", "evaluate.examples=1", "split=random", "split.total_folds=2", "run.name=fisheye",
]  # fmt: skip


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A folder with sixteen photographs of four instants."""
    folder = tmp_path_factory.mktemp("street")
    assert main(["generate", "fisheye", "--root", str(folder / "street"), "--images", "16", "--size", "32x40"]) == 0
    return folder


@pytest.mark.parametrize("where", [["source.grid=camera"], ["source.grid=healpix:16", "source.window=16"]])
def test_a_net_trains_on_generated_photographs(street, monkeypatch, capsys, where):
    monkeypatch.chdir(street)
    store = f"data.store=store-{len(where)}"
    words = ["source=synwoodscape", "source.root=street", "source.targets=[semantics,depth]", *where, store]
    assert main(["prepare", *words]) == 0
    assert len(Store.open(Path(store.split("=")[1]))) >= 16
    losses = "task.losses={semantics: [{name: cross_entropy, class_weights: prevalence}], depth: [{name: l2}]}"
    assert main(["train", store, *TRAIN, losses]) == 0
    run = Path(capsys.readouterr().out.splitlines()[-1])
    found = json.loads(next(run.glob("evaluation/test-store/metrics.json")).read_text())
    assert set(found["targets"]) == {"semantics", "depth"}
    assert 0 <= found["targets"]["semantics"]["metrics"]["iou"] <= 1
    leaks = json.loads((run / "leak_audit.json").read_text())["leaks"]
    assert not leaks, "directions shared by two photographs are no shared ground"


def test_a_net_of_the_sphere_sees_all_base_pixels_and_the_report_shows_the_photographs(street, monkeypatch, capsys):
    monkeypatch.chdir(street)
    words = ["source=synwoodscape", "source.root=street", "source.grid=healpix:16", "data.store=store-sphere"]
    assert main(["prepare", *words]) == 0
    net = ["model=heal_swin", "model.embed_dim=6", "model.depths=[2,2]", "model.num_heads=[1,2]", "model.window_size=4"]
    options = [word for word in TRAIN if not word.startswith("model")]
    assert main(["train", "data.store=store-sphere", *options, *net, "task=semantics"]) == 0
    run = capsys.readouterr().out.splitlines()[-1]
    assert main(["report", run]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1]).read_text()
    for kind in ("input", "prediction, globe", "prediction, Mollweide"):
        assert f'alt="{kind} of window 0000' in page


def test_the_published_choices_name_the_published_weights(street, monkeypatch, capsys):
    monkeypatch.chdir(street)
    words = ["source=synwoodscape", "source.root=street", "task=synwoodscape_large_plus_AD", "split=published"]
    assert main(["train", *words, "--print-config"]) == 0
    told = capsys.readouterr().out
    assert "- 2.34624" in told
    assert "method: published" in told
