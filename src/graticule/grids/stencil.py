"""Bilinear interpolation on any rectangular array of pixels."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

FlatIndex = Callable[[np.ndarray, np.ndarray], np.ndarray]


def bilinear_stencil(
    column: Float64[np.ndarray, "*points"], row: Float64[np.ndarray, "*points"], outside: ArrayLike,
    flat_index: FlatIndex,
) -> tuple[Int64[np.ndarray, "*points 4"], Float64[np.ndarray, "*points 4"]]:  # fmt: skip
    """The four pixel centres round each point, and their weights.

    Args:
        column: position in pixels (pixel 0 from 0 to 1).
        row: likewise.
        outside: points that get no pixel.
        flat_index: (rows, columns) of whole pixels to flat indices, -1 for pixels that do not exist; the weights of
            those that do are raised to add to 1.
    """
    column, row = np.where(outside, 0.5, column) - 0.5, np.where(outside, 0.5, row) - 0.5
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    across, down = column - left, row - top
    columns = np.stack([left, left + 1, left, left + 1], axis=-1)
    rows = np.stack([top, top, top + 1, top + 1], axis=-1)
    weights = np.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down], axis=-1)
    index = np.where(np.asarray(outside)[..., None], -1, flat_index(rows, columns))
    weights = np.where(index >= 0, weights, 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    return index, np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
