"""Where there is no value: NaN in floats, a band's nodata in any type."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from graticule.schema import Band


def nodata_of(band: Band, dtype: np.dtype) -> np.generic | None:
    """The band's nodata in the type that it is stored in; None where that type cannot hold it, or there is none."""
    if band.nodata is None:
        return None
    if dtype.kind == "f":
        return dtype.type(band.nodata)
    limits = np.iinfo(dtype)
    fits = float(band.nodata).is_integer() and limits.min <= band.nodata <= limits.max
    return dtype.type(int(band.nodata)) if fits else None


def may_miss(bands: Sequence[Band], dtype: np.dtype) -> bool:
    """Whether values of this type can be missing at all: looking for them costs a pass."""
    return dtype.kind == "f" or any(nodata_of(band, dtype) is not None for band in bands)


def seen_pixels(x: Shaped[np.ndarray, "..."], bands: Sequence[Band], axis: int = 0) -> Bool[np.ndarray, "..."]:
    """Where every band of `x` has a value: it is finite and not the band's nodata.

    Args:
        x: stored values, with the bands along `axis`.
        bands: of `x`, in order.
        axis: 0 for one sample [c, *space], 1 for several [n, c, *space].
    """
    layers = np.moveaxis(x, axis, 0)
    seen = np.ones(layers.shape[1:], dtype=bool)
    for values, band in zip(layers, bands, strict=True):
        _take_away(seen, values, band)
    return seen


def has_value(x: Shaped[np.ndarray, "c ..."], bands: Sequence[Band]) -> bool:
    """Whether a sample has a value anywhere in any band."""
    for values, band in zip(x, bands, strict=True):
        # Most samples answer with their first pixel.
        for part in (values.reshape(-1)[:1], values):
            seen = np.ones(part.shape, dtype=bool)
            _take_away(seen, part, band)
            if seen.any():
                return True
    return False


def _take_away(seen: np.ndarray, values: np.ndarray, band: Band) -> None:
    nodata = nodata_of(band, values.dtype)
    if nodata is not None:
        seen &= values != nodata
    if values.dtype.kind == "f":
        seen &= np.isfinite(values)
