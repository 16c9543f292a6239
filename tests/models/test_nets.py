"""One conformance test for every net: any size, any bands, finite, deterministic, each sample by itself."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from graticule.errors import ConfigError, GridError
from graticule.grids.windows import morton
from graticule.models.fcn import FCNResNet101
from graticule.models.heal_swin import HealSwin
from graticule.models.healpix import OnHealpix
from graticule.models.masker.masker import Masker
from graticule.models.pixel import PixelNet
from graticule.models.segmentation_cnn import SegmentationCNN
from graticule.models.smp import SMP
from graticule.models.swin_unet import SwinUNet
from graticule.models.unet import UNet
from graticule.schema import LegendClass, Target

Make = Callable[[int, int], nn.Module]
SMALL = {"decoder_channels": [16, 8, 8, 8, 4]}
LITTLE = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2)}
SHALLOW = {"encoder_depth": 3, "decoder_intermediate_channels": [8, 16, 16], "decoder_fusion_channels": 16}

TWO = tuple(LegendClass(value, f"class {value}", "#000000") for value in range(2))
DEPTH, SEMANTICS = Target("depth", "depth", unit="m"), Target("semantics", "classes", TWO)

NETS: dict[str, Make] = {
    "masker": lambda c, k: Masker(c, k, [DEPTH, SEMANTICS][3 - k :], "mobilenet"),
    "cnn": lambda c, k: SegmentationCNN(c, k, embedding_size=8),
    "cnn pooled": lambda c, k: SegmentationCNN(c, k, embedding_size=8, pool_sizes=(5, 5, 2), norm="none"),
    "unet": lambda c, k: UNet(c, k, channels=8),
    "unet one level": lambda c, k: UNet(c, k, channels=8, levels=1),
    "unet group": lambda c, k: UNet(c, k, channels=8, levels=3, norm="group", dropout=0.1),
    "smp unet": lambda c, k: SMP(c, k, "unet", "tu-tf_efficientnet_lite0", options=SMALL),
    "smp deeplabv3plus": lambda c, k: SMP(c, k, "deeplabv3plus", "resnet18"),
    "smp pan": lambda c, k: SMP(c, k, "pan", "tu-test_resnet"),
    "smp segformer": lambda c, k: SMP(c, k, "segformer", "mit_b0"),
    "smp fpn": lambda c, k: SMP(c, k, "fpn", "tu-convnext_atto"),
    "pixel": lambda c, k: PixelNet(c, k, channels=8),
    "smp dpt": lambda c, k: SMP(c, k, "dpt", "tu-test_vit", options=SHALLOW),
    "swin unet": lambda c, k: SwinUNet(c, k, **LITTLE),
    "swin unet rotary": lambda c, k: SwinUNet(c, k, window_size=6, position="rotary", drop_rate=0.1, **LITTLE),
}
SLOW = {"fcn": lambda c, k: FCNResNet101(c, k)}
SPHERES: dict[str, Make] = {
    "heal swin": lambda c, k: HealSwin(c, k, range(12), window_size=16, **LITTLE),
    "heal swin ring": lambda c, k: HealSwin(c, k, range(12), shift_strategy="ring_shift", attn_drop_rate=0.1, **LITTLE),
}
BANDS = dict(zip(NETS, (3, 1, 2, 3, 4, 5, 13, 7, 6, 9, 12, 11, 10, 2, 3), strict=True)) | {"fcn": 3}
BANDS |= {"heal swin": 4, "heal swin ring": 1}
CELLS = {(1, 1): 12, (2, 1): 48, (33, 17): 12 * 16, (64, 45): 12 * 64}
"""What a net of spheres gets in place of an image of some size; 12 * 256 in place of others."""


@pytest.fixture(scope="module", params=[*NETS, *SLOW, *SPHERES])
def case(request: pytest.FixtureRequest) -> tuple[str, nn.Module, int]:
    torch.manual_seed(0)
    name = request.param
    bands = BANDS[name]
    return name, (NETS | SLOW | SPHERES)[name](bands, 3), bands


@pytest.fixture(scope="module", params=[*NETS, *SLOW])
def planar(request: pytest.FixtureRequest) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    bands = BANDS[request.param]
    return (NETS | SLOW)[request.param](bands, 3), bands


def _space(name: str, h: int, w: int) -> tuple[int, ...]:
    return (CELLS.get((h, w), 12 * 256),) if name in SPHERES else (h, w)


def _run(net: nn.Module, x: Tensor) -> Tensor:
    net.eval()
    with torch.no_grad():
        return net(x)


def _assert_near(first: Tensor, second: Tensor) -> None:
    """Equal but for rounding, on the scale of the output (an untrained deep net may have large logits)."""
    assert (first - second).abs().max() <= 1e-3 * first.abs().max()


def _image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (33, 17), (64, 45)])
def test_output_lies_on_the_pixels_of_the_input(case: tuple[str, nn.Module, int], size: tuple[int, int]):
    name, net, bands = case
    space = _space(name, *size)
    y = _run(net, _image(1, bands, *space))
    assert y.shape == (1, 3, *space)
    assert torch.isfinite(y).all()


def test_a_constant_input_gives_a_finite_output_and_gradient(case: tuple[str, nn.Module, int]):
    name, net, bands = case
    net.eval()
    x = torch.zeros(1, bands, *_space(name, 32, 32), requires_grad=True)
    net(x).square().mean().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    net.zero_grad()


def test_evaluation_is_deterministic_and_each_sample_stands_alone(case: tuple[str, nn.Module, int]):
    name, net, bands = case
    x = _image(3, bands, *_space(name, 33, 32))
    together = _run(net, x)
    assert torch.equal(together, _run(net, x))
    _assert_near(together[1:2], _run(net, x[1:2]))


def test_gradients_reach_every_parameter(case: tuple[str, nn.Module, int]):
    name, net, bands = case
    torch.manual_seed(0)
    net.train()
    space = _space(name, 48, 64)
    (net(_image(2, bands, *space)) * _image(2, 3, *space)).sum().backward()
    unreached = [name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    net.zero_grad(set_to_none=True)
    assert not [name for name in unreached if not _unused_by_library(name)]


def _unused_by_library(name: str) -> bool:
    """Layers that the libraries keep but never run for dense output."""
    return name.startswith(("net.encoder.model.norm.", "net.encoder.model.head."))


def test_channels_last_gives_the_same(planar: tuple[nn.Module, int]):
    net, bands = planar
    x = _image(1, bands, 40, 33)
    planar = _run(net, x)
    packed = _run(net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last))
    net.to(memory_format=torch.contiguous_format)
    _assert_near(planar, packed)


def test_healpix_adapter_is_the_planar_net_on_the_morton_square(planar: tuple[nn.Module, int]):
    net, bands = planar
    side = 32
    square = _image(1, bands, side, side)
    cells = torch.empty(1, bands, side * side)
    cells[..., torch.tensor(morton(side).ravel())] = square.flatten(2)
    planar, nested = _run(net, square), _run(OnHealpix(net), cells)
    assert nested.shape == (1, 3, side * side)
    assert torch.equal(nested[..., torch.tensor(morton(side).ravel())], planar.flatten(2))


@pytest.mark.parametrize("name", [*NETS, *SPHERES])
def test_a_state_dict_restores_the_net(name: str):
    torch.manual_seed(1)
    make = (NETS | SPHERES)[name]
    first, second = make(4, 2), make(4, 2)
    second.load_state_dict(first.state_dict())
    x = _image(1, 4, *_space(name, 20, 20))
    assert torch.equal(_run(first, x), _run(second, x))


@pytest.mark.parametrize("bands", range(1, 14))
def test_the_own_nets_take_one_to_thirteen_bands(bands: int):
    for make in (lambda: UNet(bands, 2, channels=4, levels=2), lambda: SegmentationCNN(bands, 2, embedding_size=4)):
        assert _run(make(), _image(2, bands, 7, 5)).shape == (2, 2, 7, 5)


def test_the_plain_cnn_moves_with_its_input():
    """Without pooling a shift of the input by one pixel shifts the output by one pixel, away from the edges."""
    net = SegmentationCNN(2, 3, embedding_size=4, norm="none")
    x = _image(1, 2, 60, 60)
    y, shifted = _run(net, x), _run(net, x.roll(1, dims=-1))
    torch.testing.assert_close(y[..., 20:40, 20:40], shifted[..., 20:40, 21:41])


def test_the_unet_learns_which_pixels_are_bright():
    torch.manual_seed(0)
    net = UNet(1, 1, channels=8, levels=2)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    x = _image(4, 1, 24, 24)
    truth = (x > 0).float()
    for _ in range(40):
        loss = nn.functional.binary_cross_entropy_with_logits(net(x), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((_run(net, x) > 0) == truth.bool()).float().mean() > 0.97


def test_a_window_that_is_no_square_of_cells_is_refused():
    with pytest.raises(GridError, match="a window has 48 cells; a planar net needs 4\\^k nested cells of one parent"):
        OnHealpix(UNet(1, 1, channels=4, levels=1))(torch.zeros(1, 1, 48))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet(1, 1, levels=0), "a UNet cannot have 0 levels"),
        (lambda: SegmentationCNN(1, 1, pool_sizes=()), "pool_sizes is \\[\\]"),
        (lambda: SegmentationCNN(1, 1, kernel_size=4), "kernel_size is 4; it must be odd"),
    ],
)
def test_impossible_nets_are_refused(make: Callable[[], nn.Module], message: str):
    with pytest.raises(ConfigError, match=message):
        make()
