"""Runs as Python modules, evaluations of the guide, names of runs, and command lines of containers."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from graticule.cli import main
from graticule.commands.containers import container_command
from graticule.commands.evaluations import jobs_of
from graticule.commands.mlflow import server_command
from graticule.conf.run_modules import verb_of
from graticule.conf.tree import EvaluateConfig
from graticule.data.store import Store
from graticule.errors import ConfigError, GraticuleError

TRAIN = """#!/usr/bin/env python
#SBATCH --time=1:00:00
from graticule.conf.run_modules import TrainRun
from graticule.conf.tree import *

def get_train_run_config():
    return TrainRun(
        run=RunConfig(name="module"), model=NetConfig(name="unet", channels=4, levels=2),
        data=DataConfig(store="store", batch_size=4), callbacks=CallbacksConfig(checkpoint=CheckpointConfig(top_k=2)),
        split=SplitConfig(method="random", total_folds=2), evaluate=EvaluateConfig(bootstrap=0, examples=0),
        choices={"task": "semantics"},
    )

def get_pl_config():
    return TrainerConfig(max_epochs=2, accelerator="cpu", devices=1)

if __name__ == "__main__":
    from graticule.cli import start
    start(__file__)
"""
RUN = """import os
from graticule.conf.run_modules import EvaluateRun, ResumeRun
from graticule.conf.tree import EvaluateConfig, TrainerConfig
"""
EVALUATE = f"""{RUN}
def get_eval_run_config():
    return EvaluateRun(os.environ["RUN_ID"], evaluate=EvaluateConfig(grid="all", parts=["val"], bootstrap=0))
"""
RESUME = f"""{RUN}
def get_resume_run_config():
    return ResumeRun(os.environ["RUN_ID"], epoch=0)
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A folder with a store of photographs and the run of a module that was started by itself, without its suffix."""
    folder = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DATA_ROOT", "OUTPUT_ROOT", "SLURM_ARRAY_TASK_ID"):
            patch.delenv(name, raising=False)
        assert main(["generate", "fisheye", "--root", "street", "--images", "12", "--size", "32x40"]) == 0
        words = ["source=synwoodscape", "source.root=street", "source.grid=camera:16x20", "data.store=store"]
        assert main(["prepare", *words]) == 0
        # Slurm keeps a job script under this name.
        Path("slurm_script").write_text(TRAIN)
        subprocess.run([sys.executable, "slurm_script", "trainer.log_every_n_steps=1"], check=True, capture_output=True)
        for name, text in (("train.py", TRAIN), ("evaluate.py", EVALUATE), ("resume.py", RESUME)):
            Path(name).write_text(text)
    return folder


@pytest.fixture
def run(there, monkeypatch):
    monkeypatch.chdir(there)
    (folder,) = (path for path in Path("runs/_runs").glob("module-*") if "forked_from" not in _manifest(path))
    monkeypatch.setenv("RUN_ID", folder.name.rsplit("-", 1)[1])
    return folder


def _manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_module_trains_and_its_values_are_those_of_the_run(run):
    told = (run / "config.yaml").read_text()
    for line in ("max_epochs: 2", "name: unet", "class_weights: prevalence", "log_every_n_steps: 1"):
        assert line in told


def test_the_number_of_an_array_picks_one_evaluation_and_without_it_all_are_made(run, monkeypatch, capsys):
    shutil.rmtree(run / "evaluation")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")
    assert main(["evaluate", "--config_path=evaluate.py"]) == 0
    assert [path.name for path in (run / "evaluation").iterdir()] == ["val-store-masked"]
    assert "val_hp_masked_iou = " in capsys.readouterr().out
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    assert main(["evaluate", "--config", "evaluate.py"]) == 2
    assert "has the evaluations 0 to 4: submit the job array as 0-4." in capsys.readouterr().err
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    assert main(["evaluate", "--config", "evaluate.py"]) == 0
    told = capsys.readouterr().out
    for name in ("val_iou_global", "val_iou_projected_to_hp", "val_hp_masked_iou", "train_iou_global"):
        assert f"\n{name} = " in told
    pictures = [path.name for path in (run / "evaluation" / "val-store" / "pictures").iterdir()]
    assert any(name.startswith("base-01") for name in pictures)
    assert any(name.startswith("best-1") for name in pictures)


def test_a_run_goes_on_at_an_epoch_as_a_new_run(run, capsys):
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert main(["resume", "--config", "resume.py"]) == 0
    new = Path(capsys.readouterr().out.splitlines()[-1])
    assert _manifest(new)["forked_from"] == run.name
    # A function of configuration and data alone, so the second epoch comes out the same.
    assert (new / "metrics.csv").read_text() == (run / "metrics.csv").read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before
    assert main(["resume", str(run), "--checkpoint", "7"]) == 2
    assert "there is no checkpoint 7" in capsys.readouterr().err
    shutil.rmtree(new)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def get_train_run_config():\n    return 3\n", "get_train_run_config() returns int; it must return TrainRun."),
        (TRAIN.replace("batch_size=4", "batch_sise=4"), "raised ValidationError in line 9: 1 validation error"),
        (EVALUATE, "asks for no run to resume; it must have get_resume_run_config()."),
    ],
)
def test_a_wrong_module_is_one_line(run, tmp_path, capsys, text, told):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    verb = "resume" if "eval_run" in text else "train"
    assert main([verb, "--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert verb_of(path) == ("evaluate" if "eval_run" in text else "train")


def test_runs_that_are_not_there(run, capsys):
    without = "is an id at MLflow, which is not installed; pip install graticule[mlflow]."
    at_mlflow = "MLflow keeps no runs at sqlite://" if find_spec("mlflow") else without
    for name, told in (("zzzzzzzz", "there is no run zzzzzzzz"), ("0" * 32, at_mlflow)):
        assert main(["evaluate", name]) == 2
        assert told in capsys.readouterr().err


def test_mlflow_finds_a_run_by_its_id(run, capsys, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    tags = {"graticule_id": os.environ["RUN_ID"]}
    made = client.create_run(client.create_experiment("x"), tags=tags).info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["evaluate", made, "evaluate.bootstrap=0"]) == 0
    assert str(run) in capsys.readouterr().out


def test_the_guides_evaluations_by_number(run):
    store = Store.open("store")
    classes = store.targets
    numbers = [jobs_of(EvaluateConfig(grid="all"), store, classes, {"SLURM_ARRAY_TASK_ID": str(k)}) for k in range(5)]
    assert [[(job.part, job.grid) for job in jobs] for jobs in numbers] == [
        [("test", "store")], [("test", "store")], [("train", "store")], [("test", "healpix:256")],
        [("test", "store:masked")],
    ]  # fmt: skip
    assert numbers[0][0].pictures == 10
    assert numbers[1][0].top_k == 5
    everything = jobs_of(EvaluateConfig(grid="all"), store, classes)
    assert len(everything) == 4
    assert everything[0].pictures == 10
    assert everything[0].top_k == 5


def test_command_lines_of_containers(tmp_path):
    words = ["train", "--env", "singularity", "--dry-run", "data.batch_size=2"]
    environment = {"OUTPUT_ROOT": "/out", "WANDB_API_KEY": "secret", "GRATICULE_IMAGE": "/i.sif"}
    told = container_command("singularity", words, environment, gpu=True, here=tmp_path)
    assert told[1:] == [
        "exec", "--nv", "--pwd", str(tmp_path), "--bind", str(tmp_path), "--bind", "/out", "/i.sif", "graticule",
        "train", "data.batch_size=2",
    ]  # fmt: skip
    told = container_command("docker", ["train", "--env=docker"], environment, gpu=False, here=tmp_path)
    assert told[:5] == ["docker", "run", "--rm", "--ipc", "host"]
    assert told[-3:] == ["/i.sif", "graticule", "train"]
    assert told[told.index("WANDB_API_KEY") - 1 :][:2] == ["--env", "WANDB_API_KEY"]
    assert "secret" not in " ".join(told)
    assert container_command("local", words, {}) == ["graticule", "train", "data.batch_size=2"]


def test_a_dry_run_prints_the_command_and_a_missing_image_is_one_line(run, monkeypatch, capsys):
    monkeypatch.delenv("GRATICULE_IMAGE", raising=False)
    assert main(["train", "--config", "train.py", "--env", "singularity", "--dry-run"]) == 0
    assert capsys.readouterr().out.strip().endswith("containers/graticule.sif graticule train --config train.py")
    assert main(["train", "--env", "singularity"]) == 2
    assert "there is no image containers/graticule.sif; build it: apptainer build" in capsys.readouterr().err


def test_the_server_listens_on_this_machine(tmp_path):
    with pytest.raises(GraticuleError, match=r"there is no .*mlflow\.db; train with tracker=mlflow first"):
        server_command(tmp_path, "sqlite", "127.0.0.1", 5000, 1)
    (tmp_path / "mlflow.db").touch()
    told = server_command(tmp_path, "sqlite", "127.0.0.1", 5000, 1)
    assert told[told.index("--host") + 1] == "127.0.0.1"
    assert f"sqlite:///{tmp_path / 'mlflow.db'}" in told
    with pytest.raises(ConfigError, match="is no Python module"):
        verb_of(tmp_path / "none.py")
