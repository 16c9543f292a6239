"""The masker: depth, classes and the flood mask of a photograph from one encoder."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits, on_padded
from graticule.models.masker.depth import DadaDepth, PlainDepth
from graticule.models.masker.encoder import Encoder
from graticule.models.masker.mask import PlainMask, SpadeMask
from graticule.models.masker.segmentation import DeepLabV2, DeepLabV3Plus, LightSegmentation
from graticule.schema import Target

KINDS = {"depth": "depth", "height": "depth", "classes": "segmentation", "binary": "mask"}
"""Which decoder a kind of target has."""

Features = tuple[Float[Tensor, "b high h8 w8"], Float[Tensor, "b low h4 w4"]]


class Masker(nn.Module):
    """One encoder and a decoder for each of at most three targets: depth or height, classes, a binary mask.

    They are decoded in this order, for the depth's features multiply those that classes and mask are decoded from
    (DADA), and depth and classes tell the mask what stands where (SPADE). Architecture and figures: ClimateGAN (Schmidt
    et al., ICLR 2022), with the non-linearities in the decoder of classes that its code lacked.

    Args:
        in_channels: bands.
        out_channels: the sum of the targets' channels.
        targets: what is predicted, any subset; the order is that of the output.
        encoder: "resnet101", "resnet50", "mobilenet" or any of segmentation_models_pytorch or timm.
        encoder_weights: None; the name of weights on the hub ("imagenet"); or the path of a file with the encoder's
            tensors.
        output_stride: of the encoder; None for what suits it (see `Encoder`).
        depth: the decoder of depth, "dada" or "plain".
        segmentation: the decoder of classes, "deeplabv3plus", "deeplabv2" or "light"; None for the light one of
            "mobilenet" and the first of all others.
        mask: the decoder of the mask, "plain" or "spade".
        low_level: give shallow features to the plain decoder of the mask.
        dada_segmentation: decode classes from features that were multiplied with those of the depth.
        dada_mask: likewise the mask.
        spade_photo: tell the picture itself to the SPADE decoder, beside depth and classes.
        spade_detach: keep the mask's loss from changing the decoders of depth and classes.
        mask_blocks: residual blocks of the plain decoder of the mask.

    Raises:
        ConfigError: if targets or options do not go together.
        CheckpointError: if the weights cannot be had or do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        targets: Sequence[Target],
        encoder: str = "resnet101",
        encoder_weights: str | None = None,
        output_stride: Literal[8, 16, 32] | None = None,
        depth: Literal["dada", "plain"] = "dada",
        segmentation: Literal["deeplabv3plus", "deeplabv2", "light"] | None = None,
        mask: Literal["plain", "spade"] = "plain",
        low_level: bool = True,
        dada_segmentation: bool = True,
        dada_mask: bool = False,
        spade_photo: bool = True,
        spade_detach: bool = False,
        mask_blocks: int = 3,
    ) -> None:
        super().__init__()
        self.parts = _parts(targets, out_channels)
        self.spade_photo, self.spade_detach = spade_photo, spade_detach
        self.encoder = Encoder(in_channels, encoder, encoder_weights, output_stride)
        high, low = self.encoder.channels
        counts = {part: target.channels for part, target in zip(self.parts, targets, strict=True)}
        fused = {"segmentation": dada_segmentation, "mask": dada_mask}
        self.fused = {part for part in fused if fused[part] and part in counts and depth == "dada"}
        self.depth: DadaDepth | PlainDepth | None = None
        self.segmentation: nn.Module | None = None
        self.mask: PlainMask | SpadeMask | None = None
        if "depth" in counts and depth == "dada":
            self.depth = DadaDepth(high, counts["depth"], lends=bool(self.fused))
        elif "depth" in counts:
            self.depth = PlainDepth(high, counts["depth"])
        if "segmentation" in counts:
            name = segmentation or ("light" if encoder == "mobilenet" else "deeplabv3plus")
            self.segmentation = _segmentation(name, high, low, counts["segmentation"])
        if "mask" in counts and mask == "spade":
            told = sum(counts.get(part, 0) for part in ("depth", "segmentation")) + in_channels * spade_photo
            if not told:
                raise ConfigError(
                    "model.mask=spade has nothing to tell the mask; add a target of depth or classes, or "
                    "model.spade_photo=true."
                )
            self.mask = SpadeMask(high, low, told, counts["mask"])
        elif "mask" in counts:
            self.mask = PlainMask(high, low * low_level, counts["mask"], blocks=mask_blocks)

    def encode(self, x: Image) -> Features:
        """Deep features [b, c, h / 8, w / 8] and shallow ones [b, d, h / 4, w / 4].

        Height and width must be multiples of `encoder.multiple`.
        """
        features: Features = self.encoder(x)
        return features

    def forward(self, x: Image) -> Logits:
        """Map [b, in_channels, h, w] to [b, out_channels, h, w], any h, w >= 1: logits and standardised depth."""
        return on_padded(lambda padded: self.decode(padded, self.encode(padded)), x, self.encoder.multiple, 64)

    def decode(self, x: Image, features: Features) -> Logits:
        """The output for a picture whose features are known, as `forward` gives it for both together."""
        high, low = features
        found: dict[str, Tensor] = {}
        lent = None
        if self.depth is not None:
            found["depth"], lent = self.depth(high)
        met = high if lent is None else high * lent
        if self.segmentation is not None:
            found["segmentation"] = self.segmentation(met if "segmentation" in self.fused else high, low)
        if self.mask is not None:
            given = met if "mask" in self.fused else high
            told = (self._condition(x, found, low),) if isinstance(self.mask, SpadeMask) else ()
            found["mask"] = self.mask(given, low, *told)
        size = x.shape[-2:]
        return torch.cat([_fitted(found[part], size) for part in self.parts], 1)

    def _condition(self, x: Tensor, found: dict[str, Tensor], low: Tensor) -> Tensor:
        """Depth from 0 to 1 in each picture, probabilities of the classes, the picture; at the size of `low`."""
        size, told = low.shape[-2:], []
        if "depth" in found:
            depth = _fitted(found["depth"], size)
            least, most = depth.amin((-2, -1), keepdim=True), depth.amax((-2, -1), keepdim=True)
            told.append((depth - least) / (most - least).clamp(min=1e-6))
        if "segmentation" in found:
            told.append(_fitted(found["segmentation"], size).softmax(1))
        if self.spade_detach:
            told = [known.detach() for known in told]
        if self.spade_photo:
            told.append(_fitted(x, size))
        return torch.cat(told, 1)


def _parts(targets: Sequence[Target], out_channels: int) -> list[str]:
    """The decoder of each target."""
    parts = [KINDS.get(target.kind, "") for target in targets]
    for place, (part, target) in enumerate(zip(parts, targets, strict=True)):
        if not part or part in parts[:place]:
            told = f"is of kind '{target.kind}'" if not part else f"is the second of {part}"
            raise ConfigError(
                f"target '{target.name}' {told}; the masker predicts at most one depth or height, one of classes "
                "and one binary: choose with data.targets."
            )
    if out_channels != sum(target.channels for target in targets):
        raise ConfigError(f"the masker got {out_channels} output channels; its targets need another number.")
    return parts


def _segmentation(name: str, high: int, low: int, classes: int) -> nn.Module:
    if name == "deeplabv3plus":
        return DeepLabV3Plus(high, low, classes)
    return DeepLabV2(high, classes) if name == "deeplabv2" else LightSegmentation(high, classes)


def _fitted(x: Tensor, size: Sequence[int]) -> Tensor:
    return x if x.shape[-2:] == torch.Size(size) else F.interpolate(x, tuple(size), mode="bilinear")
