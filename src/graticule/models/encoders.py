"""The encoders of this project's own nets as backbones, so that they too can be pretrained and handed on."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from graticule.models.heal_swin import HealSwin
from graticule.models.healpix import as_cells
from graticule.models.layers import Image
from graticule.models.swin_unet import SwinUNet
from graticule.models.unet import UNet

Net = UNet | SwinUNet | HealSwin
OWN: dict[str, type[UNet] | type[SwinUNet] | type[HealSwin]] = {
    "unet": UNet, "swin_unet": SwinUNet, "heal_swin": HealSwin,
}  # fmt: skip


class OwnEncoder(nn.Module):
    """One of this project's nets as what its encoder makes of images: pooled features.

    A net of nested cells takes a square image of 2^k pixels as the cells of one parent.

    Args:
        net: with or without its decoder, which is not used.

    Attributes:
        num_features: how many.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self.num_features = net.num_features

    def forward(self, x: Image) -> Float[Tensor, "b d"]:
        """Pooled features of images of any size; those for a net of nested cells are squares of 2^k pixels.

        Raises:
            GridError: if they are not.
        """
        return self.net.features(as_cells(x) if isinstance(self.net, HealSwin) else x)


def make_own(name: str, in_channels: int, options: Mapping[str, Any]) -> OwnEncoder:
    """The encoder of a net without its decoder.

    Args:
        name: unet, swin_unet or heal_swin.
        in_channels: bands.
        options: of that net.

    Raises:
        TypeError: for an option that the net does not have.
        ConfigError: for one that does not fit.
    """
    net = OWN[name](in_channels, 1, **options)
    _drop_decoder(net, net.ENCODER)
    return OwnEncoder(net)


def _drop_decoder(net: nn.Module, kept: tuple[str, ...]) -> None:
    """Take out all modules that hold weights, but none of the kept parts."""
    gone: list[str] = []
    for name, module in list(net.named_modules()):
        weights = [weight for weight, _ in module.named_parameters(prefix=name)]
        if weights and not name.startswith(tuple(gone)) and not any(weight.startswith(kept) for weight in weights):
            parent, _, child = name.rpartition(".")
            delattr(net.get_submodule(parent), child)
            gone.append(f"{name}.")
