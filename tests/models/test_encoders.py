"""The encoders of this project's own nets: features without a decoder, handed on to the whole net and nothing lost."""

import re

import pytest
import torch
from torch import nn

from graticule.errors import CheckpointError, ConfigError, GridError
from graticule.models.backbones import Backbone, load_backbone, save_backbone
from graticule.models.classifier import Classifier
from graticule.models.encoders import OWN
from graticule.models.fcn import FCNResNet101
from graticule.models.healpix import as_cells
from graticule.schema import Band

SWIN = {"embed_dim": 8, "depths": [2, 1], "num_heads": [2, 4]}
OPTIONS = {"unet": {"channels": 4, "levels": 3}, "swin_unet": SWIN | {"window_size": 4}, "heal_swin": SWIN}
BANDS = [Band(name) for name in ("red", "green", "blue", "height")]
NORMALISATION = {"method": "statistics", "scale": [1.0] * 4, "shift": [0.0] * 4, "empty": [0.0] * 4}


def exported(folder, name, options):
    torch.manual_seed(1)
    made = Backbone(4, encoder=name, options=options)
    save_backbone(folder, made.encoder, BANDS, encoder=name, options=options, normalisation=NORMALISATION)
    return made.eval()


@pytest.mark.parametrize("name", OWN)
def test_the_whole_net_takes_every_weight_of_the_encoder_and_sees_the_same(tmp_path, name):
    made = exported(tmp_path / "backbone", name, OPTIONS[name])
    image = torch.randn(2, 4, 16, 16)
    whole = OWN[name](4, 3, encoder_weights=str(tmp_path / "backbone"), **OPTIONS[name]).eval()
    features = whole.features(as_cells(image) if name == "heal_swin" else image)
    assert features.shape == (2, made.width)
    assert torch.equal(features, made(image))
    again, told = load_backbone(tmp_path / "backbone")
    assert torch.equal(again(image), made(image))
    assert told["width"] == made.width


@pytest.mark.parametrize("name", OWN)
def test_a_backbone_has_no_decoder_and_all_that_it_has_learns(name):
    made = Backbone(4, encoder=name, options=OPTIONS[name])
    made(torch.randn(2, 4, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None for weight in made.parameters())
    whole = OWN[name](4, 3, **OPTIONS[name])
    kept = [weight for weight, _ in whole.named_parameters() if weight.startswith(whole.ENCODER)]
    assert [weight.removeprefix("encoder.net.") for weight, _ in made.named_parameters()] == kept


def test_features_of_the_sphere_are_those_of_its_cells():
    made = Backbone(1, encoder="heal_swin", options=SWIN).eval()
    cells = torch.arange(256.0).view(1, 1, 256)
    image = torch.empty(1, 1, 16, 16)
    for cell in range(256):  # the even bits of a nested cell are its column, the odd ones its row
        column, row = (sum((cell >> (2 * bit + odd) & 1) << bit for bit in range(4)) for odd in (0, 1))
        image[0, 0, row, column] = cell
    assert torch.equal(as_cells(image), cells)
    assert torch.equal(made(image), made.encoder.net.features(cells))


def test_a_classifier_stands_on_it_and_learns_deep_layers_slower(tmp_path):
    exported(tmp_path / "backbone", "unet", OPTIONS["unet"])
    net = Classifier(4, 5, encoder="unet", encoder_weights=str(tmp_path / "backbone"), options=OPTIONS["unet"])
    assert net(torch.randn(3, 4, 8, 8)).shape == (3, 5)


def test_an_fcn_takes_a_resnet_of_timm(tmp_path):
    made = exported(tmp_path / "backbone", "resnet101", None)
    net = FCNResNet101(4, 2, encoder_weights=str(tmp_path / "backbone"))
    theirs = made.encoder.state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in net.net.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (lambda folder: OWN["swin_unet"](4, 2, encoder_weights=folder, **OPTIONS["swin_unet"]), "is a 'unet' and the"),
        (lambda folder: OWN["unet"](3, 2, encoder_weights=folder, **OPTIONS["unet"]), "4 bands (red, green, blue, hei"),
        (lambda folder: OWN["unet"](4, 2, channels=8, levels=3, encoder_weights=folder), "give the weights of this ve"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, wish, says):
    exported(tmp_path / "backbone", "unet", OPTIONS["unet"])
    with pytest.raises(CheckpointError, match=re.escape(says)):
        wish(str(tmp_path / "backbone"))


def test_what_no_own_encoder_can_do_is_refused():
    with pytest.raises(ConfigError, match=r"change model\.options"):
        Backbone(4, encoder="unet", options={"depth": 3})
    with pytest.raises(ConfigError, match="no published weights"):
        Classifier(4, 2, encoder="unet", encoder_weights="imagenet")
    with pytest.raises(GridError, match="12 x 12 pixels; a net of nested cells needs"):
        Backbone(1, encoder="heal_swin", options=SWIN)(torch.zeros(1, 1, 12, 12))
    assert isinstance(Backbone(1, encoder="unet"), nn.Module)
