"""The masker's encoder: any of segmentation_models_pytorch or timm, dilated so that its last features stay fine."""

from typing import Any

import timm
import torch.nn.functional as F
from jaxtyping import Float
from segmentation_models_pytorch.encoders import encoders as SMP_ENCODERS
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from graticule.errors import ConfigError, nearest
from graticule.models.pretrained import from_hub, load_into
from graticule.models.smp import local_weights

STRIDE = 8
"""Of the features that the decoders are given, whatever the encoder's own."""

_REFUSED = (ValueError, KeyError, TypeError, RuntimeError, AssertionError, AttributeError, NotImplementedError)


class Encoder(nn.Module):
    """Deep features at an eighth and shallow ones at a quarter of the input's size.

    Args:
        in_channels: bands.
        name: "mobilenet" (MobileNetV2 without its last layer), or the name of an encoder of
            segmentation_models_pytorch or timm.
        weights: None; the name of weights on the hub; the folder of a backbone that a pretraining exported; or the path
            of a file with the encoder's tensors.
        output_stride: of the encoder's own last features (8, 16, 32); None for 8 of a ResNet (with the rates 1, 2, 4
            in its last stage, as DeepLabV3 has it), 16 of others, 32 of those that cannot be dilated. Coarser ones than
            8 are repeated.

    Attributes:
        channels: of the deep features, and of the shallow ones.
        multiple: what height and width must be divisible by.

    Raises:
        ConfigError: if there is no such encoder, or it cannot be had at that stride.
        CheckpointError: if the weights cannot be had or do not fit.
    """

    def __init__(
        self, in_channels: int, name: str = "resnet101", weights: str | None = None, output_stride: int | None = None
    ) -> None:
        super().__init__()
        local = local_weights(weights, _library_name(name), in_channels)
        hub = None if local else weights
        net: Any = from_hub(
            lambda: _dilated(in_channels, _library_name(name), hub, output_stride), f"'{weights}' of '{name}'"
        )
        if name == "mobilenet":
            net.features, net._out_indexes[-1] = net.features[:-1], len(net.features) - 2
            net._out_channels[-1] = net.features[-1].out_channels
        if local:
            load_into(net, local, str(weights))
        self.net: nn.Module = net
        self.channels: tuple[int, int] = (net.out_channels[-1], net.out_channels[2])
        self.multiple = max(STRIDE, net.output_stride)

    def forward(
        self, x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b high h8 w8"], Float[Tensor, "b low h4 w4"]]:
        """Deep and shallow features of an input whose height and width are multiples of `multiple`."""
        features = self.net(x)
        high, size = features[-1], (x.shape[-2] // STRIDE, x.shape[-1] // STRIDE)
        return high if high.shape[-2:] == size else F.interpolate(high, size, mode="nearest"), features[2]


def _library_name(name: str) -> str:
    """What segmentation_models_pytorch calls the encoder."""
    if name == "mobilenet":
        return "mobilenet_v2"
    if name in SMP_ENCODERS or name.startswith("tu-"):
        return name
    if timm.is_model(name):
        return f"tu-{name}"
    known = ["mobilenet", *SMP_ENCODERS, *timm.list_models()]
    raise ConfigError(f"no encoder is named '{name}'; {nearest(name, known)}")


def _dilated(in_channels: int, name: str, weights: str | None, stride: int | None) -> Any:
    """The library's encoder at the stride, or at the finest that it can be had at."""
    residual = name.startswith("resnet")
    wanted = [stride] if stride else [STRIDE if residual else 2 * STRIDE, 32]
    if weights and name.startswith("tu-"):
        weights = "imagenet"  # the library wants a switch: which weights they are is part of a timm model's name
    for place, at in enumerate(wanted):
        try:
            net = get_encoder(name, in_channels, 5, weights, at)
        except _REFUSED as error:
            if place + 1 < len(wanted):
                continue
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(
                f"encoder '{name}' cannot be had at output_stride={at} ({reason}); give another stride or encoder."
            ) from error
        if residual and at < 32:
            _spread(net.layer4, 32 // at)
        return net
    raise AssertionError


def _spread(stage: nn.Module, rate: int) -> None:
    """Give the blocks of a ResNet's last stage the rates 1, 2, 4 times its own (Chen et al. 2017, arXiv:1706.05587)."""
    for number, block in enumerate(stage.children()):
        for convolution in block.modules():
            if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
                by = rate * 2 ** min(number, 2)
                convolution.dilation = convolution.padding = (by, by)
