"""A backbone with a linear layer: one answer for a whole image."""

import inspect
from collections.abc import Mapping
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError, nearest
from graticule.models.encoders import OWN, make_own
from graticule.models.layers import Image
from graticule.models.pretrained import encoder_weights_of, from_hub, load_into

Answer = Float[Tensor, "b k"]


class Classifier(nn.Module):
    """Any backbone of timm, or an own encoder, on any number of bands, its pooled features, dropout, a linear layer.

    Args:
        in_channels: bands.
        out_channels: channels of the output: classes, or 1 for a binary target.
        encoder: name of a timm model (resnet18, convnext_atto, vit_small_patch16_224 ...); or unet, swin_unet,
            heal_swin for the encoder of that net.
        encoder_weights: None; "imagenet" for timm's own from their hub; the folder of a backbone that a pretraining
            exported; or the path of a .safetensors or .pth file.
        dropout: probability of dropping a feature before the last layer.
        options: further arguments of the timm model or the net, such as {"img_size": 64}.

    Raises:
        ConfigError: for a name or option that does not exist.
        CheckpointError: if the weights cannot be had or do not fit.
    """

    def __init__(
        self, in_channels: int, out_channels: int, encoder: str = "resnet18", encoder_weights: str | None = None,
        dropout: float = 0.0, options: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        on_hub = encoder_weights == "imagenet"
        self.encoder: nn.Module = from_hub(
            lambda: make_backbone(encoder, in_channels, pretrained=on_hub, options=options),
            f"'{encoder_weights}' of encoder '{encoder}'",
        )
        if encoder_weights is not None and not on_hub:
            load_into(self.encoder, encoder_weights_of(encoder_weights, encoder, in_channels), encoder_weights)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features_of(self.encoder), out_channels)

    def forward(self, x: Image) -> Answer:
        """Map [b, in_channels, h, w] to [b, out_channels], any h, w that the backbone takes."""
        answer: Tensor = self.head(self.dropout(self.encoder(x)))
        return answer


def make_backbone(
    name: str, in_channels: int, *, pretrained: bool = False, options: Mapping[str, Any] | None = None
) -> nn.Module:
    """A timm model without its last layer, or an own encoder: [b, in_channels, h, w] -> pooled features [b, d].

    A model that can be told so takes images of any size.

    Raises:
        ConfigError: for a name or an option that does not exist.
    """
    if not is_backbone(name):
        raise ConfigError(f"no encoder is named '{name}'; {nearest(name, [*OWN, *timm.list_models()])}")
    if name in OWN:
        return _own(name, in_channels, pretrained, options or {})
    with torch.device("meta"):
        known = inspect.signature(type(timm.create_model(name)).__init__).parameters
    flexible = {"dynamic_img_size": True, "dynamic_img_pad": True, "strict_img_size": False}
    given = {key: value for key, value in flexible.items() if key in known} | dict(options or {})
    try:
        made: nn.Module = timm.create_model(name, pretrained=pretrained, in_chans=in_channels, num_classes=0, **given)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"encoder '{name}' cannot be made ({reason}); change model.options or the encoder."
        ) from error
    return made


def is_backbone(name: str) -> bool:
    """Whether it is the name of an own encoder or of a timm model."""
    return name in OWN or bool(timm.is_model(name))


def _own(name: str, in_channels: int, pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    if pretrained:
        raise ConfigError(f"encoder '{name}' has no published weights; give the folder of an exported backbone.")
    try:
        return make_own(name, in_channels, options)
    except TypeError as error:
        raise ConfigError(f"encoder '{name}' cannot be made ({error}); change model.options.") from error


def features_of(backbone: nn.Module) -> int:
    """How many features a backbone gives."""
    count = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    return int(count)  # type: ignore[arg-type]
