"""The preprocessing of the course, by the meaning of its S2024 and W2024 templates.

Stacks are float32 [dates, bands, height, width] of one sensor and one tile, and stay so.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

Stack = Float32[np.ndarray, "dates bands h w"]
Preprocess = Literal["course", "course_w2024", "none"]


def quantile_clip(stack: Stack, share: float, *, group_by_time: bool = True) -> Stack:
    """Clip to the quantiles `share` (the higher of two neighbours) and 1 - `share` (the lower) of finite values.

    Args:
        stack: the images.
        share: below and above which values are clipped.
        group_by_time: one pair of quantiles for each band over all dates; else for each date and band.
    """

    def clip(values: np.ndarray) -> np.ndarray:
        finite = values[np.isfinite(values)]
        if not finite.size:
            return np.zeros_like(values)
        low = np.quantile(finite, share, method="higher")
        return np.clip(values, low, max(low, np.quantile(finite, 1 - share, method="lower")))

    return _each(stack, clip, group_by_time=group_by_time)


def minmax_scale(stack: Stack, *, group_by_time: bool = True) -> Stack:
    """Scale to 0..1, for each band over all dates or for each date and band; what is constant becomes ones."""

    def scale(values: np.ndarray) -> np.ndarray:
        low, high = float(values.min()), float(values.max())
        return (values - low) / (high - low) if high > low else np.ones_like(values)

    return _each(stack, scale, group_by_time=group_by_time)


def _each(stack: Stack, change: Callable[[np.ndarray], np.ndarray], *, group_by_time: bool) -> Stack:
    out = np.empty_like(stack)
    for band in range(stack.shape[1]):
        if group_by_time:
            out[:, band] = change(stack[:, band])
        else:
            for number in range(len(stack)):
                out[number, band] = change(stack[number, band])
    return out


def gamma_correct(stack: Stack, gamma: float = 2.0) -> Stack:
    """Values to the power of 1 / gamma; negative values, which have none, count as 0."""
    return np.maximum(stack, 0) ** np.float32(1 / gamma)


def to_db(stack: Stack) -> Stack:
    """The logarithm to the base of 10, without the factor of 10 that any scaling to 0..1 takes away again.

    What is 0 or less becomes -inf, which the clipping lifts to its lower quantile. As NaN, as the course has it, one
    such pixel would take away its band.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(stack > 0, np.log10(stack), -np.inf).astype(np.float32)


def smooth(stack: Stack, sigma: float = 1.0) -> Stack:
    """A Gaussian filter of each image, over pixels."""
    return gaussian_filter(stack, (0, 0, sigma, sigma))


def preprocess(sensor: str, stack: Stack, method: Preprocess) -> Stack:
    """The images of one sensor, ready for a net: as they are (`none`), or from 0 to 1 in the way of the course.

    `course_w2024` clips Landsat at 5 % instead of 1 %.
    """
    if method == "none":
        return stack
    if sensor == "sentinel1":
        return minmax_scale(smooth(quantile_clip(to_db(stack), 0.01)))
    if sensor == "viirs":
        return minmax_scale(quantile_clip(stack, 0.05))
    share = 0.05 if sensor == "sentinel2" or method == "course_w2024" else 0.01
    return minmax_scale(gamma_correct(quantile_clip(stack, share), 2.2))


def maximum_projection(viirs: Stack, method: Preprocess) -> Float32[np.ndarray, "1 1 h w"]:
    """The highest value of each pixel over all dates of VIIRS, whose stack is as the files have it.

    `course` takes the highest of the preprocessed images; `course_w2024` clips each image at 1 % first and scales the
    maximum to 0..1.
    """
    if method == "course_w2024":
        return minmax_scale(quantile_clip(viirs, 0.01, group_by_time=False).max(axis=0, keepdims=True))
    return preprocess("viirs", viirs, method).max(axis=0, keepdims=True)
