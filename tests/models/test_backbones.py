"""A backbone is handed on as a folder that loads strictly, in a fresh process, into timm and SMP; outputs are equal."""

import json
import subprocess
import sys

import pytest
import torch

from graticule.errors import CheckpointError, ConfigError
from graticule.models.backbones import Backbone, load_backbone, save_backbone
from graticule.models.classifier import Classifier
from graticule.models.pretrained import DESCRIPTION, TENSORS
from graticule.models.smp import SMP
from graticule.schema import Band

SMALL = {"channels": [8, 8, 8, 16], "stem_width": 8}

FRESH = """
import json, sys, pathlib, torch, timm, safetensors.torch, segmentation_models_pytorch as smp
for folder in map(pathlib.Path, sys.argv[1:]):
    told = json.loads((folder / "backbone.json").read_text())
    state = safetensors.torch.load_file(folder / "backbone.safetensors")
    bands = len(told["bands"])
    expected = torch.load(folder / "expected.pt", weights_only=True)
    net = timm.create_model(told["encoder"], in_chans=bands, num_classes=0, **told["options"])
    net.load_state_dict(state, strict=True)
    encoder = smp.encoders.get_encoder(told["encoder"], in_channels=bands, weights=None)
    encoder.load_state_dict(state, strict=True)
    for module in (net, encoder):
        module.eval()
    with torch.inference_mode():
        x = expected["x"]
        assert torch.equal(net(x), expected["features"])
        assert torch.allclose(encoder(x)[-1], expected["map"], atol=1e-6)
    assert "graticule" not in sys.modules
print("equal")
"""


def saved(folder, bands=3, encoder="resnet10t", options=SMALL):
    torch.manual_seed(bands)
    net = Backbone(bands, encoder=encoder, options=options).eval()
    numbers = {"method": "statistics", "scale": [1.0] * bands, "shift": [0.0] * bands, "empty": [0.0] * bands}
    told = [Band(f"B{number}", mean=1.0, std=2.0) for number in range(bands)]
    save_backbone(folder, net.encoder, told, encoder=encoder, options=options, normalisation=numbers, method="simclr")
    return net


def test_it_loads_strictly_in_a_fresh_process_that_knows_nothing_of_this_package(tmp_path):
    folders = []
    for bands in (3, 13):
        folders.append(str(tmp_path / str(bands)))
        net = saved(tmp_path / str(bands), bands, "resnet18", {})
        x = torch.randn(2, bands, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = {"x": x, "features": net(x), "map": net.encoder.forward_features(x)}
        torch.save(expected, tmp_path / str(bands) / "expected.pt")
    done = subprocess.run([sys.executable, "-c", FRESH, *folders], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.parametrize("bands", [3, 13])
def test_every_way_of_loading_gives_the_same_features(tmp_path, bands):
    net, folder = saved(tmp_path / "b", bands), tmp_path / "b"
    x = torch.randn(2, bands, 64, 64)
    loaded, told = load_backbone(folder)
    assert (told["encoder"], told["width"], told["method"]) == ("resnet10t", 16, "simclr")
    assert [band["name"] for band in told["bands"]] == [f"B{number}" for number in range(bands)]
    further = Backbone(bands, encoder="resnet10t", encoder_weights=str(folder), options=SMALL).eval()
    classifier = Classifier(bands, 4, "resnet10t", str(folder), options=SMALL).eval()
    smp = SMP(bands, 2, "unet", "tu-resnet10t", str(folder), {**SMALL, "decoder_channels": [8] * 5}).eval()
    with torch.inference_mode():
        for module in (loaded, further, classifier.encoder):
            assert torch.equal(module(x), net(x))
        torch.testing.assert_close(smp.net.encoder(x)[-1], net.encoder.forward_features(x))
    assert further.begun


def test_levels_that_timm_names_otherwise_are_found(tmp_path):
    options = {"dims": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    net = saved(tmp_path / "b", 3, "convnext_atto", options)
    x = torch.randn(1, 3, 64, 64)
    decoder = {"decoder_channels": [8] * 5}
    smp = SMP(3, 2, "unet", "tu-convnext_atto", str(tmp_path / "b"), options | decoder).eval()
    with torch.inference_mode():
        torch.testing.assert_close(smp.net.encoder(x)[-1], net.encoder.forward_features(x))


def test_another_number_of_bands_another_encoder_and_damage_are_refused_in_one_line(tmp_path):
    folder = tmp_path / "b"
    saved(folder)
    with pytest.raises(CheckpointError, match=r"was trained on 3 bands \(B0, B1, B2\) and the data has 4; choose the"):
        Backbone(4, encoder="resnet10t", encoder_weights=str(folder), options=SMALL)
    with pytest.raises(CheckpointError, match="is a 'resnet10t' and the encoder is 'tu-resnet18'; set the encoder"):
        SMP(3, 2, "unet", "tu-resnet18", str(folder))
    with pytest.raises(CheckpointError, match=r"must be \[.*give the weights of this very net"):
        Backbone(3, encoder="resnet10t", encoder_weights=str(folder))
    with pytest.raises(ConfigError, match="model 'backbone' gives features and no maps, and the task needs 2 outputs"):
        Backbone(3, 2)
    with pytest.raises(CheckpointError, match="holds no backbone"):
        load_backbone(tmp_path)
    told = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(told | {"options": {}}))
    with pytest.raises(CheckpointError, match="does not hold the weights that it describes"):
        load_backbone(folder)
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_backbone(folder)
    (folder / DESCRIPTION).write_text(json.dumps(told))
    (folder / TENSORS).write_bytes(b"no")
    with pytest.raises(CheckpointError, match="truncated or no weights file"):
        load_backbone(folder)
