"""Relative elevation by Fourier transforms against direct convolution (goal: 20 times faster).

Run: python benchmarks/terrain.py
Heights of 1024 x 1024 pixels of 3 m, the surroundings a disc of 100 m: 3 500 pixels. Both sides treat missing heights
and borders alike (a convolution of the heights and one of the mask), and must agree to a millimetre. CPU time.
"""

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from figures import report
from graticule.data.features.terrain import relative_elevation

SIDE, METRES, RADIUS = 1024, 3.0, 100.0
GOAL = 20


def main() -> None:
    whole = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)), 20) * 3000 + 500
    holed = whole.copy()
    holed[200:300, 500:700] = np.nan
    for name, heights in (("whole", whole.astype(np.float32)), ("with a hole", holed.astype(np.float32))):
        expected, slow = _timed(lambda heights=heights: _direct(heights), 1)
        found, fast = _timed(lambda heights=heights: relative_elevation(heights, (METRES, METRES), RADIUS), 5)
        worst = np.nanmax(np.abs(found - expected))
        assert worst < 1e-3, f"off by {worst} m"
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        name = f"relative elevation, {name}: direct {slow:.2f} s / Fourier {fast * 1e3:.0f} ms"
        report(name, slow / fast, GOAL)


def _direct(heights: np.ndarray) -> np.ndarray:
    reach = int(RADIUS / METRES)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (np.hypot(y, x) * METRES <= RADIUS).astype(np.float32)
    known = np.isfinite(heights)
    total = ndimage.convolve(np.where(known, heights, 0), disc, mode="constant")
    number = ndimage.convolve(known.astype(np.float32), disc, mode="constant")
    return np.where(known, heights - total / np.maximum(number, 1), np.nan)


def _timed(call: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, float]:
    result, times = call(), []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return result, min(times)


if __name__ == "__main__":
    main()
