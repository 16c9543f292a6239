"""Stored photographs as nets that paint take them."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from graticule.schema import Band
from graticule.tasks.normalisation import scale_and_shift


def shown(x: Tensor, bands: Sequence[Band]) -> Float[Tensor, "b 3 h w"]:
    """Stored values [b, 3, h, w] as what one sees: 0 to 1 over the valid range of each band.

    Raises:
        ConfigError: if a band has no valid range.
    """
    scale, shift, _ = scale_and_shift(bands, "range")
    factor, origin = (x.new_tensor(values, dtype=x.float().dtype)[:, None, None] for values in (scale, shift))
    return (x.float() * factor + origin).clamp(0, 1)
