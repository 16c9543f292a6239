"""Photographs and what is known of their pixels (depth, classes, a mask), as tensors of one form and one size."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from graticule.errors import ConfigError

Layers = Mapping[str, Tensor]
"""`depth` metres above 0, `disparity` 0 to 1, `mask` 0 to 1, `segmentation` int64; each [b, h, w], nothing unknown."""

FARTHEST = 1e6
"""Metres that stand for infinity, so that values between two pixels stay numbers."""


def as_photos(photos: Any, span: tuple[float, float] = (0.0, 1.0)) -> tuple[Float32[Tensor, "b 3 h w"], bool]:
    """Photographs as a batch of colours 0 to 1, and whether it was one photograph.

    Args:
        photos: see `graticule.inference.rendering.infer_all`.
        span: values of black and white of floating numbers.

    Raises:
        ConfigError: if the shape is none of a photograph's, or a value is out of range.
    """
    given = photos if isinstance(photos, Tensor) else _tensor(np.asarray(photos))
    single = given.ndim < 4
    x = _channels_first(given)
    if x is None or 0 in x.shape:
        raise ConfigError(
            f"the photographs have the shape {tuple(given.shape)}; it must be [h, w], [h, w, c], [c, h, w], "
            "[b, h, w, c] or [b, c, h, w] with 1, 3 or 4 channels."
        )
    low, high = _span(x, span)
    values = x.float()
    if bool((~((values >= low) & (values <= high))).any()):
        raise ConfigError(
            f"the photographs hold values from {values.min():g} to {values.max():g}; they must lie in "
            f"{low:g}..{high:g}: scale them, or name their black and white as span."
        )
    values = (values - low) / (high - low)
    if values.shape[1] == 4:
        values = values[:, 3:] * values[:, :3] + (1 - values[:, 3:])
    return values.expand(-1, 3, -1, -1), single


def _tensor(array: np.ndarray) -> Tensor:
    # Torch has few operations on unsigned numbers of 16 bits, and none on foreign byte orders or negative strides.
    if array.dtype == np.uint16:
        return torch.from_numpy(array.astype(np.int32)).to(torch.uint16)
    if array.dtype.kind not in "buif":
        raise ConfigError(f"an array holds {array.dtype}; it must hold numbers.")
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))


def _channels_first(x: Tensor) -> Tensor | None:
    if x.ndim == 2:
        return x[None, None]
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4:
        return None
    if x.shape[-1] in (1, 3, 4):
        return x.movedim(-1, 1)
    return x if x.shape[1] in (1, 3, 4) else None


def _span(x: Tensor, span: tuple[float, float]) -> tuple[float, float]:
    if x.is_floating_point():
        return span
    most = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(x.dtype)
    if most is None:
        raise ConfigError(f"the photographs hold {x.dtype}; they must hold uint8, uint16 or floating numbers.")
    return 0.0, most


def as_layers(given: Mapping[str, Any], photos: Float32[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
    """What is known of photographs, at their size and on their device.

    Args:
        given: arrays by the name of the layer; see `graticule.inference.rendering.infer_all`.
        photos: whose layers they are.

    Raises:
        ConfigError: if a layer has another number or other proportions than the photographs, or knows nothing.
    """
    return {name: _layer(name, layer, photos) for name, layer in given.items()}


def _layer(name: str, given: Any, photos: Tensor) -> Tensor:
    layer = (given if isinstance(given, Tensor) else _tensor(np.asarray(given))).to(photos.device)
    batch, _, height, width = photos.shape
    scores = name == "segmentation" and layer.is_floating_point()
    layer = layer[None] if layer.ndim == 2 + scores else layer
    if layer.ndim == 4 and layer.shape[1] == 1 and not scores:
        layer = layer[:, 0]
    if layer.ndim != 3 + scores or len(layer) != batch or 0 in layer.shape:
        raise ConfigError(
            f"{name} has the shape {tuple(given.shape)}; it must be one map for each of {batch} photographs."
        )
    if scores:
        layer = layer.argmax(1)
    if not _alike(layer.shape[-2:], (height, width)):
        raise ConfigError(
            f"{name} has {layer.shape[-2]} x {layer.shape[-1]} pixels and the photograph {height} x {width}; it must "
            "have the same proportions."
        )
    if name == "segmentation":
        if layer.shape[-2:] == (height, width):
            return layer.long()
        return F.interpolate(layer.float()[:, None], (height, width), mode="nearest-exact")[:, 0].long()
    values = _KNOWN[name](layer.float())
    if values.shape[-2:] == (height, width):
        return values
    return F.interpolate(values[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]


def _alike(one: Any, other: tuple[int, int]) -> bool:
    """Whether two sizes have the same proportions, as far as whole pixels can."""
    (h, w), (height, width) = one, other
    return abs(h * width / height - w) <= 1 or abs(w * height / width - h) <= 1


def _metres(depth: Float32[Tensor, "b h w"]) -> Float32[Tensor, "b h w"]:
    return _filled("depth", depth.clamp(max=FARTHEST), depth > 0)


def _disparity(disparity: Float32[Tensor, "b h w"]) -> Float32[Tensor, "b h w"]:
    known = _filled("disparity", disparity, disparity.isfinite())
    low, high = known.amin((-2, -1), keepdim=True), known.amax((-2, -1), keepdim=True)
    # A flat map says that all is equally far; it is then all as near as can be.
    return torch.where(high > low, (known - low) / (high - low).clamp(min=1e-30), 1.0)


def _mask(mask: Float32[Tensor, "b h w"]) -> Float32[Tensor, "b h w"]:
    if bool((~((mask >= 0) & (mask <= 1))).any()):
        raise ConfigError(f"mask holds values from {mask.min():g} to {mask.max():g}; it must hold shares, 0 to 1.")
    return mask


_KNOWN = {"depth": _metres, "disparity": _disparity, "mask": _mask}


def _filled(name: str, values: Float32[Tensor, "b h w"], known: Shaped[Tensor, "b h w"]) -> Float32[Tensor, "b h w"]:
    """Values where they are known, elsewhere those of the nearest pixel that is."""
    if bool(known.all()):
        return values
    if not bool(known.flatten(1).any(1).all()):
        raise ConfigError(f"{name} is unknown throughout; it must hold a value above 0 somewhere.")
    filled = values.clone()
    for number, there in enumerate(known.cpu().numpy()):
        rows, columns = distance_transform_edt(~there, return_distances=False, return_indices=True)
        filled[number] = values[number][torch.from_numpy(rows), torch.from_numpy(columns)]
    return filled
