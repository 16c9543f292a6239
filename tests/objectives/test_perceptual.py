"""VGG19's features: the right layers, the right normalisation, nothing trained, nothing in checkpoints."""

import pytest
import torch
import torchvision
from torch import nn

from graticule.errors import CheckpointError
from graticule.models.vgg import vgg19_features
from graticule.objectives.perceptual import Perceptual


@pytest.fixture(scope="module")
def features():
    torch.manual_seed(0)
    return vgg19_features(None)


def test_it_is_torchvisions_net_on_imagenets_normalisation(features):
    loss = Perceptual(features)
    made, real = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    whole = nn.Sequential(*features)
    expected, weights = 0.0, {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1}
    normal = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for place, weight in weights.items():
        assert isinstance(features[place], nn.ReLU)
        one, two = (whole[: place + 1](normal(picture)) for picture in (made, real))
        expected += weight * (one - two).abs().mean().item()
    assert loss(2 * made - 1, 2 * real - 1).item() == pytest.approx(expected, rel=1e-4)
    assert loss(real, real).item() == 0


def test_its_gradient_reaches_what_was_made_and_nothing_else(features):
    loss, made = Perceptual(features).train(), torch.zeros(1, 3, 20, 17, requires_grad=True)
    loss(made, torch.ones(1, 3, 20, 17)).backward()
    assert made.grad.abs().sum() > 0
    assert not list(loss.parameters())
    assert not loss.state_dict()
    assert all(p.grad is None for p in features.parameters())
    assert loss.double()(made.double(), made.double()).dtype == torch.float64
    loss.float()


def test_small_pictures_and_weights_by_file(features, tmp_path):
    assert Perceptual(features)(torch.zeros(1, 3, 3, 5), torch.ones(1, 3, 3, 5)) > 0
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, tmp_path / "vgg.pth")
    loaded = vgg19_features(str(tmp_path / "vgg.pth"))
    assert all(torch.equal(a, b) for a, b in zip(features.parameters(), loaded.parameters(), strict=True))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth have no|other\.pth is .* and must be"):
        vgg19_features(str(tmp_path / "other.pth"))
