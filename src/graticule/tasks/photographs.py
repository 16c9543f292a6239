"""Stored photographs as nets that paint take them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graticule.schema import Band
from graticule.tasks.normalisation import scale_and_shift


def shown(x: Tensor, bands: Sequence[Band]) -> Float[Tensor, "b 3 h w"]:
    """Stored values [b, 3, h, w] as what one sees: 0 to 1 over all that a byte can hold, else over the valid ranges.

    Raises:
        ConfigError: if they are no bytes and a band has no valid range.
    """
    if x.dtype == torch.uint8:
        return x.float() / 255
    scale, shift, _ = scale_and_shift(bands, "range")
    factor, origin = (x.new_tensor(values, dtype=torch.float32)[:, None, None] for values in (scale, shift))
    return (x.float() * factor + origin).clamp(0, 1)
