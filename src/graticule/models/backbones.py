"""Backbones that are pretrained, and the folder in which one is handed on: safetensors beside its description."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import CheckpointError, ConfigError
from graticule.files import whole_folder
from graticule.models.classifier import features_of, is_backbone, make_backbone
from graticule.models.layers import Image
from graticule.models.pretrained import (
    BACKBONE_FORMAT,
    DESCRIPTION,
    TENSORS,
    encoder_weights_of,
    load_into,
    read_backbone,
)
from graticule.schema import Band, band_to_dict


class Backbone(nn.Module):
    """Any timm model without its last layer, or an own encoder, on any number of bands: images -> pooled features.

    Args:
        in_channels: bands.
        out_channels: 0; a backbone has no outputs of its own.
        encoder: name of a timm model (resnet18, convnext_atto, vit_tiny_patch16_224 ...); or unet, swin_unet,
            heal_swin for the encoder of that net.
        encoder_weights: None, the folder of an exported backbone, or the path of a .safetensors or .pth file.
        options: further arguments of the timm model or the net, such as {"output_stride": 8} or
            {"img_size": 32, "patch_size": 4}.

    Attributes:
        width: number of features.
        least: the smallest side of an image that it can take.
        begun: whether it has weights from elsewhere.

    Raises:
        ConfigError: for a name or option that does not exist, or outputs asked for.
        CheckpointError: if the weights do not fit, or were trained on another number of bands.
    """

    def __init__(
        self, in_channels: int, out_channels: int = 0, encoder: str = "resnet18", encoder_weights: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if out_channels:
            raise ConfigError(
                f"model 'backbone' gives features and no maps, and the task needs {out_channels} outputs; use "
                "task.name=pretraining, or another model with model.encoder_weights."
            )
        self.encoder = make_backbone(encoder, in_channels, options=options)
        self.width, self.least = features_of(self.encoder), _least(self.encoder)
        self.begun = encoder_weights is not None
        if encoder_weights is not None:
            load_into(self.encoder, encoder_weights_of(encoder_weights, encoder, in_channels), encoder_weights)

    def forward(self, x: Image) -> Float[Tensor, "b d"]:
        """Pooled features of images of any size that the encoder takes."""
        features: Tensor = self.encoder(x)
        return features


def _least(encoder: nn.Module) -> int:
    """The smallest side: so many pixels become one in the last feature map."""
    info = getattr(encoder, "feature_info", None)
    levels = list(info) if info is not None else []
    return max((int(level["reduction"]) for level in levels), default=1)


def save_backbone(
    folder: Path, backbone: nn.Module, bands: Sequence[Band], *, encoder: str, options: Mapping[str, Any] | None,
    normalisation: Mapping[str, Any], **further: Any,
) -> None:  # fmt: skip
    """Write a backbone as a folder that describes itself; whole or not at all.

    Args:
        folder: to write; it replaces an older one.
        backbone: as `make_backbone` makes it.
        bands: of its input, in order, with what their stored values mean.
        encoder: its name.
        options: its further arguments.
        normalisation: how stored values become its input: `method`, and for each band `scale`, `shift` and `empty`.
        further: what else is to be told: method, epochs, steps ...
    """
    told = {
        "format": BACKBONE_FORMAT, "encoder": encoder, "options": dict(options or {}), "width": features_of(backbone),
        "bands": [band_to_dict(band) for band in bands], "normalisation": dict(normalisation), **further,
        "versions": {name: version(name) for name in ("graticule", "timm", "torch")},
    }  # fmt: skip
    with whole_folder(folder, overwrite=True) as temporary:
        state = {name: value.detach().cpu().contiguous() for name, value in backbone.state_dict().items()}
        safetensors.torch.save_file(state, temporary / TENSORS, metadata={"encoder": encoder})
        (temporary / DESCRIPTION).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def load_backbone(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The backbone of an exported folder, and its description.

    Returns:
        A module in eval mode: normalised images [b, c, h, w] -> pooled features [b, d]; and what the folder tells:
        encoder, options, width, bands, normalisation, method ...

    Raises:
        CheckpointError: if the folder is none, is damaged, or does not hold all tensors of its encoder and no other.
    """
    told, state = read_backbone(folder)
    if not is_backbone(told["encoder"]):
        name = told["encoder"]
        raise CheckpointError(
            f"{folder} holds a '{name}', which is not known here; install the versions that it names."
        )
    made = make_backbone(told["encoder"], len(told["bands"]), options=told["options"])
    try:
        made.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder} does not hold the weights that it describes ({reason}); export it again."
        ) from error
    return made.eval(), told
