"""Photographs made smaller or larger, and square, together with what is known of their pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from graticule.inference.photo_layers import as_layers, as_photos

Size = tuple[int, int]
Framed = tuple[UInt8[np.ndarray, "_h _w 3"], dict[str, np.ndarray]]


def framed(photo: UInt8[np.ndarray, "h w 3"], layers: Mapping[str, Any], size: int | None, *, whole: bool) -> Framed:
    """A photograph whose shorter side has `size` pixels, and its layers at that size.

    Args:
        photo: as it was read.
        layers: by name; of the photograph's proportions.
        size: pixels; None leaves all as it is.
        whole: keep the proportions; else the square in the middle is cut out.

    Raises:
        ConfigError: if a layer has other proportions.
    """
    if size is None:
        return photo, dict(layers)
    height, width = photo.shape[:2]
    scale = size / min(height, width)
    new = max(size, round(height * scale)), max(size, round(width * scale))
    resized = np.asarray(Image.fromarray(photo).resize(new[::-1], Image.Resampling.LANCZOS, reducing_gap=3.0))
    if whole:
        return resized, dict(layers)
    top, left = ((side - size) // 2 for side in new)
    box = np.s_[..., top : top + size, left : left + size]
    known = as_layers(layers, as_photos(resized)[0])
    cut = {name: layer[0].numpy()[box] for name, layer in known.items()}
    return np.ascontiguousarray(np.moveaxis(np.moveaxis(resized, -1, 0)[box], 0, -1)), cut


def size_shown(photo: Size, learnt: Size, *, whole: bool) -> Size:
    """Height and width at which a net sees a photograph as large as those that it learnt from.

    Args:
        photo: height and width of the photograph.
        learnt: of the samples.
        whole: whether those were squeezed photographs; else scaled until they fill the sample, of which nothing is cut
            here.
    """
    if whole:
        return learnt
    scale = max(side / length for side, length in zip(learnt, photo, strict=True))
    return max(1, round(photo[0] * scale)), max(1, round(photo[1] * scale))


def at_size(field: Tensor, size: Size) -> Tensor:
    """Probabilities [b, k, h, w] or values [b, h, w] at another size; values between those that there are."""
    if tuple(field.shape[-2:]) == size:
        return field
    flat = field.ndim == 3
    large = F.interpolate(field[:, None] if flat else field, size=size, mode="bilinear", align_corners=False)
    return large[:, 0] if flat else large
