"""Depth as files keep it: metres, millimetres, Unity's three bytes, Virtual KITTI 2's centimetres, disparity."""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

DepthCode = Literal["metres", "millimetres", "unity", "vkitti", "disparity"]

UNITY_FAR = 1000.0
"""Metres of the farthest depth in Unity's code; the sky."""
VKITTI_FAR = 655.35
"""Metres of the sky in Virtual KITTI 2."""

_STEPS = 256 * 31 * 31 - 1


def decoded(stored: Shaped[np.ndarray, "..."], code: DepthCode) -> Float32[np.ndarray, "h w"]:
    """Metres, NaN where there is none (0, or not a number); of disparity its inverse, in no unit.

    Args:
        stored: [h, w, 3] for `unity`, else [h, w].
        code: how depth is written in it.

    Raises:
        ValueError: if the array cannot be of that code, saying what it is.
    """
    if code == "unity":
        if stored.ndim != 3 or stored.shape[-1] < 3 or stored.dtype != np.uint8:
            raise ValueError(f"{_told(stored)}; Unity's code is three bytes of colour")
        return _of_unity(stored[..., :3])
    if stored.ndim != 2:
        raise ValueError(f"{_told(stored)}; the code {code} is one number for each pixel")
    whole = stored.dtype.kind in "ui"
    if (code == "vkitti" and not whole) or (code in ("metres", "disparity") and stored.dtype == np.uint8):
        raise ValueError(f"{_told(stored)}, which the code {code} is not written as")
    values = stored.astype(np.float32)
    if code == "disparity":
        with np.errstate(divide="ignore"):
            return np.where(values > 0, 1 / values, np.nan).astype(np.float32)
    metres = values * np.float32({"metres": 1.0, "millimetres": 1e-3, "vkitti": 1e-2}[code])
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan).astype(np.float32)


def _of_unity(stored: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    red, green, blue = np.moveaxis(stored.astype(np.int64), -1, 0)
    steps = (247 - red) // 8 * 256 * 31 + (247 - green) // 8 * 256 + (255 - blue)
    return np.asarray(steps * (UNITY_FAR / _STEPS), np.float32)


def unity_code(depth: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Metres as Unity's three bytes, in steps of 4 mm; black, the sky, from 1000 m on."""
    steps = np.rint(np.clip(depth / UNITY_FAR, 0, 1).astype(np.float64) * _STEPS).astype(np.int64)
    coarse, middle, fine = steps // (256 * 31), steps // 256 % 31, steps % 256
    code = np.stack([247 - 8 * coarse, 247 - 8 * middle, 255 - fine], axis=-1).astype(np.uint8)
    code[depth >= UNITY_FAR] = 0
    return code


def _told(stored: np.ndarray) -> str:
    return f"it holds {stored.dtype} {list(stored.shape)}"
