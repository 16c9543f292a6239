"""Exported models and those of DARTS: equal answers, safe reading, one clear line for what does not fit."""

import json
import pickle
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import segmentation_models_pytorch as smp
import torch
from rasterio.transform import from_origin

from graticule.cli import main
from graticule.commands.convert import convert
from graticule.commands.export import export, space_of
from graticule.conf.compose import Request, compose
from graticule.errors import CheckpointError, ConfigError, OutputError
from graticule.models.unet import UNet
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction
from graticule.training.checkpoints import load_task
from graticule.training.exported import MODEL, WEIGHTS, is_exported, predicting, read_exported
from graticule.training.foreign import begin_with, read_foreign
from graticule.training.programs import Whole, example, trace, write_program

BANDS = [
    Band("red", scale=1e-4, mean=0.2, std=0.1),
    Band("dem", "m", "elevation", mean=300.0, std=90.0, nodata=-9999.0),
]
LEGEND = (LegendClass(0, "ground", "#444444"), LegendClass(1, "slump", "#d95f02"))
TARGETS = [Target("slump", "binary", LEGEND), Target("height", "height", unit="m", mean=10.0, std=4.0)]
WORDS = ["model=unet", "model.channels=4", "model.levels=2"]


def make_task(*, ema=None):
    config = compose(Request(WORDS)).to_dict() | {"grid_kind": "raster", "base_pixels": None}
    torch.manual_seed(1)
    return DensePrediction(UNet(2, 2, channels=4, levels=2), BANDS, TARGETS, config=config, ema_decay=ema).eval()


def build(config, in_channels, out_channels):
    return UNet(in_channels, out_channels, channels=4, levels=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with all three formats."""
    folder = tmp_path_factory.mktemp("export") / "model"
    export(folder, make_task(), compose(Request(WORDS)), {"run": "r"}, ["onnx", "torch"], 128)
    return folder


def test_the_weights_come_back_as_they_were(exported):
    task, again = make_task(), load_task(exported / WEIGHTS, build)
    x = example(task, (32, 32))
    for name, values in task.predict(torch.nan_to_num(x)).items():
        assert values.equal(again.predict(torch.nan_to_num(x))[name])
    assert is_exported(exported)
    assert not list(exported.glob("*.partial*"))


def test_the_folder_says_what_the_model_is(exported):
    told = json.loads((exported / MODEL).read_text())
    assert [band["name"] for band in told["bands"]] == ["red", "dem"]
    assert told["bands"][0]["scale"] == 1e-4
    assert told["targets"][0]["legend"][1]["name"] == "slump"
    assert (told["grid_kind"], told["origin"]) == ("raster", {"run": "r"})
    assert told["input"]["scale"] == pytest.approx([1e-3, 1 / 90])
    assert len(told["weights_sha256"]) == 64
    assert {"graticule", "torch", "python"} <= told["versions"].keys()
    for file in ("model.onnx", "model.pt2"):
        program = told["programs"][file]
        assert program["largest_difference"] <= 1e-5
        assert program["free"] == ["batch", "height", "width"]
        assert program["outputs"] == ["slump", "height"]


@pytest.mark.parametrize("size", [(1, 64, 192), (3, 128, 64)])
def test_onnx_answers_as_the_task_does_for_stored_values_with_holes(exported, size):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    task, (batch, *space) = make_task(), size
    x = example(task, tuple(space), batch=batch, seed=9)
    x[:, 1, 5:9, 5:9] = -9999.0
    given = session.run(None, {"x": x.numpy()})
    seen = torch.isfinite(x).all(1) & (x[:, 1] != -9999.0)
    wanted = task.predict(torch.nan_to_num(x), seen)
    np.testing.assert_allclose(given[0], wanted["slump"].detach(), atol=1e-5)
    np.testing.assert_allclose(given[1], wanted["height"].detach(), atol=4e-5)
    assert 0 <= given[0].min() <= given[0].max() <= 1


def test_a_program_of_torch_runs_without_our_classes(exported):
    program = torch.export.load(exported / "model.pt2")
    task = make_task()
    x = example(task, (64, 64), batch=1)
    answers = program.module()(x)
    for answer, wanted in zip(answers, Whole(task)(x), strict=True):
        torch.testing.assert_close(answer, wanted, atol=1e-5, rtol=0)


def test_the_running_mean_is_what_is_exported(tmp_path):
    task = make_task(ema=0.9)
    with torch.no_grad():
        next(task.shadow.parameters()).add_(1.0)
    export(tmp_path / "m", task, compose(Request(WORDS)), {})
    again, x = load_task(tmp_path / "m" / WEIGHTS, build), torch.zeros(1, 2, 32, 32)
    assert again.shadow is None
    assert again.predict(x)["slump"].equal(task.predict(x)["slump"])
    assert task.shadow is not None, "the run's own task stays as it was"


class Awkward(torch.nn.Module):
    """Asks for the values of its input, which no tracer knows."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.inner(x) * (2.0 if float(x.detach().numpy().sum()) > 0 else 1.0)


def test_a_net_that_cannot_be_traced_is_one_line_and_leaves_nothing(tmp_path):
    task = make_task()
    task.net = Awkward()
    with pytest.raises(ConfigError, match=r"^the net cannot be traced into a program \(.*\); export it with"):
        trace(predicting(task), (64, 64))


def test_a_program_that_answers_otherwise_is_refused(tmp_path):
    traced, task = trace(predicting(make_task()), (64, 64)), predicting(make_task())
    with torch.no_grad():
        task.net.get_parameter(next(name for name, _ in task.net.named_parameters())).add_(0.5)
    with pytest.raises(OutputError, match=r"the torch program answers otherwise than the model \(by "):
        write_program("torch", tmp_path, task, traced, (64, 64))


def test_damage_is_found_by_the_hash(exported, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is damaged, or not the file that model.json describes"):
        read_exported(copy / WEIGHTS)
    (copy / MODEL).write_text("{}")
    with pytest.raises(CheckpointError, match="describes no model"):
        read_exported(copy / WEIGHTS)


def test_shapes_of_examples():
    config, task = compose(Request(WORDS)), make_task()
    assert space_of(task, config, None) == (128, 128)
    task.grid_kind = "healpix"
    assert space_of(task, config, 16) == (256,)
    with pytest.raises(ConfigError, match="--size is 3; it must be at least 8"):
        space_of(task, config, 3)


# Checkpoints of DARTS ------------------------------------------------------------------------------------------------

NAMES = ["red", "green", "slope"]


def darts_net(bands=3, classes=1):
    torch.manual_seed(3)
    return smp.create_model("Linknet", "mobilenet_v2", encoder_weights=None, in_channels=bands, classes=classes).eval()


def lightning(net, **changes):
    """A checkpoint as Lightning saves DARTS's training."""
    model = {"arch": "Linknet", "encoder_name": "mobilenet_v2", "encoder_weights": None, "in_channels": 3, "classes": 1}
    told = {
        "config": {"bands": NAMES, "model": model}, "learning_rate": 1e-3, "gamma": 0.9, "focal_loss_alpha": None,
        "focal_loss_gamma": 2.0, "model_version": "2", "run_id": "ab12cd34", "run_name": "calm-bay-1",
        "cv_name": "none", "random_seed": 42, "datetime": datetime(2025, 11, 2, 3, 4), "model_framework": "smp",
    }  # fmt: skip
    state = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    content = {"epoch": 3, "pytorch-lightning_version": "2.5.5", "state_dict": state, "hyper_parameters": told}
    return content | {"callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.5)}}} | changes


def converted(net, **config):
    """A checkpoint as DARTS converts it."""
    model = {"arch": "Linknet", "encoder_name": "mobilenet_v2", "in_channels": 3, "classes": 1}
    told = {"bands": NAMES, "model": model, "time": datetime(2025, 1, 1), "name": "rts", "model_framework": "smp"}
    return {"config": told | config, "statedict": net.state_dict()}


def saved(content, path=Path("darts.ckpt")):
    torch.save(content, path)
    return path


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(values):
    """Physical values of NAMES as they are stored: reflectance x 10 000, degrees x 100."""
    return values / torch.tensor([1e-4, 1e-4, 0.01]).view(1, 3, 1, 1)


@pytest.mark.parametrize("form", [lightning, converted])
def test_the_answer_is_that_of_the_net_in_darts(desk, form):
    net = darts_net()
    task = convert(saved(form(net)), Path("model"))
    physical = torch.rand(1, 3, 64, 64) * torch.tensor([0.8, 0.8, 120.0]).view(1, 3, 1, 1) - 0.2
    low, span = torch.tensor([-0.1, -0.1, 0.0]), torch.tensor([0.6, 0.6, 90.0])
    given = ((physical - low.view(1, 3, 1, 1)) / span.view(1, 3, 1, 1)).clamp(0, 1)
    with torch.no_grad():
        wanted, found = net(given).sigmoid(), task.predict(stored(physical))["slump"]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    told = json.loads(Path("model/model.json").read_text())
    assert told["normalisation"] == "range"
    assert told["origin"]["form"] == f"DARTS, {form.__name__}"


def test_older_files_name_factors(desk):
    config = {"input_combination": NAMES, "norm_factors": {"red": 1 / 3000, "green": 1 / 3000, "slope": 1 / 90}}
    content = converted(net := darts_net(), **config)
    del content["config"]["bands"]
    task = convert(saved(content), Path("model"))
    x = torch.rand(1, 3, 64, 64) * torch.tensor([4000.0, 4000.0, 100.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        wanted = net((x / torch.tensor([3000.0, 3000.0, 90.0]).view(1, 3, 1, 1)).clamp(0, 1)).sigmoid()
        torch.testing.assert_close(task.predict(x)["slump"], wanted, atol=1e-5, rtol=0)


def test_a_converted_model_predicts_a_scene(desk):
    assert main(["convert", str(saved(lightning(darts_net()))), "--out", "model", "--target", "rts"]) == 0
    values = np.random.default_rng(0).integers(500, 3000, (3, 70, 80)).astype(np.uint16)
    profile = {"driver": "GTiff", "height": 70, "width": 80, "count": 3, "dtype": "uint16", "crs": "EPSG:32607"}
    with rasterio.open("scene.tif", "w", transform=from_origin(5e5, 7.7e6, 3, 3), **profile) as file:
        file.write(values)
        file.descriptions = NAMES
    assert main(["predict", "model", "scene.tif", "predict.window=64"]) == 0
    with rasterio.open("model/predictions/scene-rts.tif") as file:
        assert file.read(1).shape == (70, 80)
        assert set(np.unique(file.read(1))) <= {0, 1}


def refusal(content):
    with pytest.raises((CheckpointError, ConfigError)) as error:
        convert(saved(content), Path("model"))
    assert not Path("model").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_does_not_fit_is_said(desk):
    net = darts_net()
    no_config = lightning(net, hyper_parameters={})
    assert refusal(no_config).startswith("darts.ckpt has no config of its net (model.arch, model.encoder_name)")
    assert (
        "first convolution 'encoder.features.0.0.weight' takes 4 bands and its config names 3: red, green, slope"
        in refusal(lightning(darts_net(bands=4)))
    )
    model = converted(net)["config"]["model"]
    assert "no encoder is named 'mobilenet_v7'" in refusal(
        converted(net, model=model | {"encoder_name": "mobilenet_v7"})
    )
    assert "no architecture is named 'unit'; did you mean 'unet'?" in refusal(
        converted(net, model=model | {"arch": "Unit"})
    )
    assert "does not fit linknet with encoder efficientnet-b0: it lacks" in refusal(
        converted(net, model=model | {"encoder_name": "efficientnet-b0"})
    )
    assert "band 'moisture' of the checkpoint has no known range" in refusal(
        converted(net, bands=["red", "green", "moisture"])
    )
    assert refusal({"weights": 1}).startswith("darts.ckpt has neither `state_dict` nor `statedict` (it has: weights)")
    assert refusal([1, 2]).startswith("darts.ckpt holds a list")
    broken = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    broken["segmentation_head.0.bias"][:] = torch.nan
    assert "'segmentation_head.0.bias' of the checkpoint holds NaN" in refusal(converted(net) | {"statedict": broken})


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("was_run"),))


def test_code_in_a_checkpoint_is_not_run(desk, capsys):
    torch.save(lightning(darts_net()) | {"extra": Evil()}, "evil.ckpt", pickle_module=pickle)
    assert main(["convert", "evil.ckpt", "--out", "model"]) == 2
    told = capsys.readouterr().err
    assert "evil.ckpt holds more than tensors and plain data, or is damaged; nothing in it was run" in told
    assert not Path("was_run").exists()
    Path("text.ckpt").write_text("no checkpoint at all")
    assert main(["convert", "text.ckpt", "--out", "model"]) == 2
    assert main(["convert", "missing.ckpt", "--out", "model"]) == 2
    assert main(["convert", "text.ckpt"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "no folder was given for the model" in told


def test_a_training_begins_with_other_weights(exported, desk):
    task, other = make_task(ema=0.5), make_task()
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.zero_()
    begin_with(task, exported)
    for name, tensor in other.net.state_dict().items():
        assert task.net.state_dict()[name].equal(tensor)
        assert task.shadow.state_dict()[name].equal(tensor)
    wider = DensePrediction(UNet(2, 2, channels=8, levels=2), BANDS, TARGETS)
    with pytest.raises(CheckpointError, match="of another model"):
        begin_with(wider, exported / WEIGHTS)
    theirs = DensePrediction(torch.nn.ModuleDict({"net": darts_net()}), [replace(BANDS[0], name=n) for n in NAMES],
                             TARGETS[:1])  # fmt: skip
    begin_with(theirs, saved(lightning(net := darts_net())))
    assert (
        theirs.net["net"]
        .state_dict()["encoder.features.0.0.weight"]
        .equal(net.state_dict()["encoder.features.0.0.weight"])
    )
    assert read_foreign(Path("darts.ckpt")).told["datetime"] == "2025-11-02T03:04:00"
