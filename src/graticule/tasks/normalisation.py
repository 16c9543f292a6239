"""How stored values become what a net sees."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graticule.errors import ConfigError
from graticule.schema import Band

Normalisation = Literal["statistics", "range"]
"""`statistics`: less the mean, by the deviation. `range`: 0 at the lowest sensible value, 1 at the highest, clipped."""


def scale_and_shift(bands: Sequence[Band], how: Normalisation) -> tuple[list[float], list[float], list[float]]:
    """For each band the numbers of: seen = stored * scale + shift, and what stands where nothing was seen.

    That is the band's mean, so that a hole is no cliff; of a band whose mean is not known, 0.

    Raises:
        ConfigError: if a band has no valid range and `how` needs one.
    """
    if how == "statistics":
        spread = [band.std or 1.0 for band in bands]
        origin = [band.mean or 0.0 for band in bands]
        empty = [0.0] * len(bands)
    else:
        without = [band.name for band in bands if band.valid_range is None]
        if without:
            raise ConfigError(
                f"task.normalisation is 'range' and band '{without[0]}' has no valid range; prepare the store from a "
                "source that knows it (source.meanings of rasters), or use task.normalisation=statistics."
            )
        ranges = [band.valid_range or (0.0, 1.0) for band in bands]
        origin, spread = [low for low, _ in ranges], [high - low for low, high in ranges]
        empty = [
            0.0 if band.mean is None else min(max((band.mean - low) / width, 0.0), 1.0)
            for band, low, width in zip(bands, origin, spread, strict=True)
        ]
    scale = [band.scale / width for band, width in zip(bands, spread, strict=True)]
    shift = [(band.offset - low) / width for band, low, width in zip(bands, origin, spread, strict=True)]
    return scale, shift, empty


def normalised(
    x: Tensor, seen: Bool[Tensor, "b *space"] | None, how: Normalisation, scale: Tensor, shift: Tensor, empty: Tensor
) -> Float[Tensor, "b c *space"]:
    """Stored values [b, c, *space] of any type as a net sees them; `empty` where nothing was seen.

    Args:
        x: stored values.
        seen: where there is input; None everywhere.
        how: the values are clipped to 0..1 where they are scaled by range.
        scale: [c], with `shift` and `empty` as `scale_and_shift` gives them.
        shift: [c].
        empty: [c].
    """
    axes = (-1, *[1] * (x.ndim - 2))
    normal = x.float() * scale.view(axes) + shift.view(axes)
    if how == "range":
        normal = normal.clamp(0, 1)
    return normal if seen is None else torch.where(seen[:, None], normal, empty.view(axes))
