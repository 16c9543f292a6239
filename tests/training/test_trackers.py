import json
import sys
import zipfile

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from graticule.errors import ConfigError
from graticule.runs import Run, create_run
from graticule.training.trackers import Card, make_trackers
from graticule.training.trackers.csv import HEADER, kept_lines
from graticule.training.trackers.tracker import flat
from worlds import raster_world


def draw(batch, predicted):
    return np.full((4, 6, 3), 9, np.uint8)


@pytest.fixture
def store(tmp_path):
    return raster_world(tmp_path / "store", degrees=15.0, side=4, per_parent=1).path


def new_run(tmp_path):
    return create_run(tmp_path / "runs", "tern", seed=1)


def train(store, run, names, **options):
    return tiny.train(store, run.folder, names=names, draw=draw, epochs=2, **options)


def test_tensorboard_gets_metrics_pictures_config_and_the_place_of_the_checkpoint(store, tmp_path):
    run = new_run(tmp_path)
    outcome = train(store, run, ["tensorboard"])
    events = EventAccumulator(str(run.folder / "tensorboard"), {"images": 0}).Reload()
    scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert [step for step, _ in scalars["train/loss"]] == [3, 6]
    assert scalars["val/accuracy"][-1][1] == pytest.approx(outcome.metrics["val/accuracy"])
    assert [image.step for image in events.Images("val/examples")] == [3, 6]
    texts = {name: events.Tensors(name)[-1].tensor_proto.string_val[0] for name in events.Tags()["tensors"]}
    assert b'"width": 8' in texts["config/text_summary"]
    assert texts["checkpoint/text_summary"].decode() == str(outcome.checkpoint)
    assert texts["state/text_summary"] == b"finished"


def test_tensorboard_forgets_what_is_later_than_the_checkpoint(tmp_path):
    run = new_run(tmp_path)
    for start, steps in ((0, (1, 2, 3, 4)), (2, (3,))):
        (_, tracker) = make_trackers(["tensorboard"])
        tracker.start(Card(run, "tern", "a1"), start)
        for step in steps:
            tracker.log(step, 0, {"value": float(10 * start + step)})
        tracker.finish("preempted")
    found = EventAccumulator(str(run.folder / "tensorboard")).Reload().Scalars("value")
    assert [(event.step, event.value) for event in found] == [(1, 1.0), (2, 2.0), (3, 23.0)]


def test_csv_is_always_there_and_any_number_go_together():
    assert [type(t).__name__ for t in make_trackers([])] == ["CsvTracker"]
    assert [type(t).__name__ for t in make_trackers(["tensorboard", "csv"])] == ["CsvTracker", "TensorBoardTracker"]


@given(steps=st.lists(st.integers(0, 9), max_size=12), at=st.integers(0, 9), cut=st.integers(0, 8))
def test_a_log_is_cut_off_after_the_step_of_the_checkpoint(steps, at, cut):
    steps = sorted(steps)
    lines = [f'{step},0,"a, b",{0.1 * step!r}\n' for step in steps]
    torn = "7,0,val/io"[:cut]
    assert kept_lines(HEADER + "".join(lines) + torn, at) == HEADER + "".join(
        line for step, line in zip(steps, lines, strict=True) if step <= at
    )


@pytest.mark.parametrize(("name", "library"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("comet", "comet_ml")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, name, library):
    monkeypatch.delitem(sys.modules, f"graticule.training.trackers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError) as caught:
        make_trackers([name])
    assert f"run `pip install graticule[{name}]` or leave '{name}' out of tracker.names" in str(caught.value)


def test_a_config_becomes_one_level():
    assert flat({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}


def test_wandb_works_offline(store, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for variable in ("WANDB_SILENT", "WANDB_DISABLE_GIT", "WANDB_DISABLE_CODE"):
        monkeypatch.setenv(variable, "true")
    run = new_run(tmp_path)
    train(store, run, ["wandb"])
    (folder,) = (run.folder / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    assert run.read_manifest()["id"] in file.name
    for word in (b"train/loss", b"val/iou", b"width", b"model-"):
        assert word in content, word
    assert list(folder.rglob("val/examples*.png"))


def test_mlflow_works_on_sqlite_and_goes_on_with_its_run(store, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = new_run(tmp_path)
    outcome = train(store, run, ["mlflow"])
    train(store, run, ["mlflow"], resume=True)
    client = mlflow.MlflowClient(f"sqlite:///{run.folder.parent / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "graticule"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("tern", "FINISHED")
    assert found.data.params["width"] == "8"
    assert found.data.metrics["val/accuracy"] == pytest.approx(outcome.metrics["val/accuracy"])
    assert [m.step for m in client.get_metric_history(found.info.run_id, "train/loss")] == [3, 6]
    files = [
        file.path for folder in ("checkpoints", "pictures") for file in client.list_artifacts(found.info.run_id, folder)
    ]
    assert files == ["checkpoints/best.ckpt", "pictures/val-examples-000003.png", "pictures/val-examples-000006.png"]


def test_comet_works_offline(store, tmp_path):
    pytest.importorskip("comet_ml")
    run = new_run(tmp_path)
    train(store, run, ["comet"])
    (archive,) = (run.folder / "comet").glob("*.zip")
    with zipfile.ZipFile(archive) as content:
        told = "".join(content.read(name).decode(errors="replace") for name in content.namelist() if "json" in name)
    for word in ("train/loss", "val/iou", "width", "val/examples", "best"):
        assert word in told, word


def test_a_failed_run_is_closed_as_such(store, tmp_path):
    run = new_run(tmp_path)

    def fail(batch, predicted):
        raise RuntimeError("no paper")

    with pytest.raises(RuntimeError, match="no paper"):
        tiny.train(store, run.folder, draw=fail)
    assert json.loads(run.manifest.read_text())["state"] == "failed"
    assert Run(run.folder).metrics.exists()


def test_mlflow_puts_runs_under_their_cross_validation_and_study(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    for number in range(2):
        run = create_run(tmp_path, f"alps-cv0-run-f{number}s42", seed=42, cv_name="alps-cv0", tune_name="alps")
        (_, tracker) = make_trackers(["mlflow"])
        tracker.start(Card(run, run.folder.name, f"id{number}", offline=True, group="alps", job="alps-cv0"), 0)
        tracker.finish("finished")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'alps' / 'mlflow.db'}")
    (experiment,) = [own for own in client.search_experiments() if own.name == "graticule"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    above = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert len(runs) == 4
    assert above.pop("alps") is None
    assert above.pop("alps-cv0") == runs["alps"].info.run_id
    assert set(above.values()) == {runs["alps-cv0"].info.run_id}
