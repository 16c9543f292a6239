"""Noise of all sizes, as one square picture that repeats itself: looked up instead of computed."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from numpy.random import Generator, Philox

_SIDE = 512
_NOISE = 112


@lru_cache(maxsize=32)
def _tile(number: int, slope: float) -> Float32[np.ndarray, "side side"]:
    """Mean 0, deviation 1; its power falls with the frequency to the power of `slope`."""
    white = Generator(Philox(key=[number, _NOISE])).standard_normal((_SIDE, _SIDE))
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE)[None]) * _SIDE
    frequency[0, 0] = np.inf
    rough = np.fft.irfft2(np.fft.rfft2(white) * frequency ** (-slope / 2), s=(_SIDE, _SIDE))
    return np.asarray(rough / rough.std(), np.float32)


def noise(u: np.ndarray, v: np.ndarray, *, size: float, slope: float = 2.2, number: int = 0) -> np.ndarray:
    """Noise at places (u, v) of a plane.

    Args:
        u: in metres.
        v: in metres.
        size: metres after which it repeats; detail goes down to a 512th of it.
        slope: 0 is white, 2 like clouds, 3 smooth.
        number: which noise.
    """
    tile = _tile(number, slope)
    across, down = np.asarray(u, np.float32) * (_SIDE / size), np.asarray(v, np.float32) * (_SIDE / size)
    column, row = np.floor(across), np.floor(down)
    a, b = across - column, down - row
    i, j = column.astype(np.int64) % _SIDE, row.astype(np.int64) % _SIDE
    right, below = (i + 1) % _SIDE, (j + 1) % _SIDE
    upper = tile[j, i] * (1 - a) + tile[j, right] * a
    lower = tile[below, i] * (1 - a) + tile[below, right] * a
    return np.asarray(upper * (1 - b) + lower * b)


def dice(u: np.ndarray, v: np.ndarray, number: int = 0) -> np.ndarray:
    """A number from 0 to 1 for each cell (u, v) of a lattice of whole numbers."""
    # The fractional part of a large sine: crude, and enough for which window has its light on.
    wave = np.sin(np.floor(u) * 127.1 + np.floor(v) * 311.7 + number * 74.7) * 43758.5453
    return np.asarray(wave - np.floor(wave))
