"""Photographs made smaller or larger, and square, together with what is known of their pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from graticule.inference.photo_layers import as_layers, as_photos

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
