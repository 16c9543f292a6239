"""Every architecture and encoder of segmentation_models_pytorch."""

import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from graticule.errors import ConfigError, nearest
from graticule.models.layers import Image, Logits, on_padded
from graticule.models.pretrained import State, exported_weights, from_hub, load_into, package_weights, read_weights

ARCHITECTURES: dict[str, type[nn.Module]] = dict(smp.MODEL_ARCHITECTURES_MAPPING)
_OURS = {"encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs"}


class SMP(nn.Module):
    """A net of segmentation_models_pytorch with raw logits or values as output, for any number of bands and any size.

    Args:
        in_channels: bands.
        out_channels: channels of the output.
        architecture: unet, unetplusplus, manet, linknet, fpn, pspnet, deeplabv3, deeplabv3plus, pan, upernet,
            segformer or dpt, in upper or lower case.
        encoder: of segmentation_models_pytorch (resnet34, mit_b0 ...) or `tu-` and the name of a timm model.
        encoder_weights: None; the name of weights on the hub ("imagenet"); "package:efficientnet_lite0"; the folder of
            a backbone that a pretraining exported; or the path of a .safetensors or .pth file with the encoder's (or
            the whole net's) tensors.
        options: further arguments of the architecture, such as {"decoder_channels": [128, 64, 32, 16, 8]}; of the
            encoder too where it is a timm model.

    Raises:
        ConfigError: for a name or option that does not exist, or a combination that the library refuses.
        CheckpointError: if the weights cannot be had or do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        architecture: str = "unet",
        encoder: str = "resnet34",
        encoder_weights: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options, architecture = dict(options or {}), architecture.lower()
        _check_names(architecture, encoder, options)
        local = local_weights(encoder_weights, encoder, in_channels)
        hub_weights = None if local else encoder_weights
        _check_hub_weights(encoder, hub_weights)
        net = from_hub(
            lambda: _build(architecture, encoder, hub_weights, in_channels, out_channels, options),
            f"'{encoder_weights}' of encoder '{encoder}'",
        )
        if local:
            load_into(net.encoder, local, str(encoder_weights))
        self.net: nn.Module = net
        self.stride, self.most = _sizes(net)
        # Global pooling and attention windows need a few pixels at the deepest level; PAN pools that three times more.
        self.least = 128 if architecture == "pan" else max(64, self.stride)

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1.

        Raises:
            ConfigError: if the encoder takes images of one size only, and x is larger.
        """
        if self.most is not None and max(x.shape[-2:]) > self.most:
            raise ConfigError(
                f"the encoder takes images of {self.most} pixels only and got {x.shape[-2]} x {x.shape[-1]}; "
                "use smaller windows or another encoder."
            )
        return on_padded(self.net, x, self.stride, self.least)


def local_weights(encoder_weights: str | None, encoder: str, in_channels: int) -> State | None:
    """The tensors where the weights are a file, an exported backbone's folder, or come in a package.

    None where they are on a hub, or none at all.

    Raises:
        CheckpointError: if they cannot be read; or a backbone is another one, or of another number of bands.
    """
    if encoder_weights is None:
        return None
    if Path(encoder_weights).is_dir():
        return exported_weights(Path(encoder_weights), encoder, in_channels)
    if encoder_weights.startswith("package:"):
        return package_weights(encoder_weights.removeprefix("package:"))
    return read_weights(Path(encoder_weights)) if _is_path(encoder_weights) else None


def _build(
    architecture: str,
    encoder: str,
    weights: str | None,
    in_channels: int,
    out_channels: int,
    options: dict[str, Any],
) -> Any:
    """The library's net; what it refuses becomes a ConfigError that keeps its reason."""
    if encoder.startswith("tu-"):
        options = _flexible(encoder[3:]) | options
    try:
        net = ARCHITECTURES[architecture](
            encoder_name=encoder,
            # For a timm model the library wants a switch; which weights they are is part of the model's name.
            encoder_weights=True if weights and encoder.startswith("tu-") else weights,
            in_channels=in_channels,
            classes=out_channels,
            **options,
        )
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"architecture '{architecture}' and encoder '{encoder}' do not go together ({reason}); "
            "choose another encoder or other options."
        ) from error
    _align_head(net)
    return net


def _align_head(net: Any) -> None:
    """Let the head's upsampling keep pixel centres in place.

    The library aligns corners there, which shifts a map by up to 1.5 pixels at the edges of a window.
    """
    for module in net.segmentation_head.modules():
        if isinstance(module, nn.Upsample) and module.align_corners:
            module.align_corners = False


def _sizes(net: Any) -> tuple[int, int | None]:
    """What height and width must be divisible by, and the largest one where the encoder takes a single size.

    A timm encoder that cannot be told another size needs multiples of its own (MaxViT) or exactly it (CoaT).
    """
    # DPT halves the grid of patches once more.
    stride = int(net.encoder.output_stride) * (2 if isinstance(net, smp.DPT) else 1)
    timm_net = getattr(net.encoder, "model", None)
    if timm_net is None:
        return stride, None
    # Where a dilated or shortened encoder says 8 or 16, a part of it that is not used may still want 32 (HRNet).
    stride = max(stride, 32)
    cfg = getattr(timm_net, "pretrained_cfg", None) or getattr(timm_net, "default_cfg", None) or {}
    if not cfg.get("fixed_input_size") or _flexible(net.encoder.name):
        return stride, None
    size = cfg["input_size"][-1]
    exact = any(getattr(module, "strict_img_size", False) for module in timm_net.modules())
    return max(stride, size), size if exact else None


@cache
def _flexible(name: str) -> dict[str, bool]:
    """The arguments that let a timm model take images of any size, where it has one for that."""
    with torch.device("meta"):
        known = inspect.signature(type(timm.create_model(name)).__init__).parameters
    wanted = {"dynamic_img_size": True, "strict_img_size": False}
    return {option: value for option, value in wanted.items() if option in known}


def _check_names(architecture: str, encoder: str, options: dict[str, Any]) -> None:
    if architecture not in ARCHITECTURES:
        raise ConfigError(f"no architecture is named '{architecture}'; {nearest(architecture, ARCHITECTURES)}")
    from_timm = encoder.startswith("tu-")
    if not (timm.is_model(encoder[3:]) if from_timm else encoder in smp.encoders.encoders):
        known = [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models())]
        raise ConfigError(f"no encoder is named '{encoder}'; {nearest(encoder, known)}")
    known_options = set(inspect.signature(ARCHITECTURES[architecture].__init__).parameters) - _OURS - {"self"}
    for option in options:
        # What the architecture does not know goes to a timm model, which checks it; other encoders would ignore it.
        if option in _OURS or (option not in known_options and not from_timm):
            end = nearest(option, known_options)
            raise ConfigError(f"architecture '{architecture}' has no option '{option}'; {end}")


def _check_hub_weights(encoder: str, weights: str | None) -> None:
    if weights is None:
        return
    if encoder.startswith("tu-"):
        known = ["imagenet"] if timm.is_model_pretrained(encoder[3:]) else []
    else:
        known = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if weights not in known:
        end = nearest(weights, known) if known else "there are none for it."
        raise ConfigError(f"encoder '{encoder}' has no weights '{weights}' on its hub; {end}")


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or Path(text).suffix in (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
