"""Exchange a raster for the sphere and back: a map that is kept against one computed anew (goal: 20 × faster).

python benchmarks/resampling.py
"""

import time
from collections.abc import Callable

import numpy as np

from figures import report
from graticule.grids import Grid, parse_grid, resampler
from graticule.grids.resample import Method, build_resampler

GOAL = 20.0
PAIRS = (("raster:0.1deg", "healpix:256"), ("healpix:256", "raster:0.1deg"))
METHODS: tuple[Method, ...] = ("nearest", "bilinear", "area")


def best_seconds(call: Callable[[], object], repeats: int) -> float:
    """The least wall time of some calls, the one that other work on the machine disturbed least."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(source: Grid, target: Grid, method: Method) -> tuple[float, float]:
    """Seconds to resample one float32 band with a map computed anew, and with the kept one."""
    values = np.random.default_rng(0).random(source.shape, dtype=np.float32)
    anew = best_seconds(lambda: build_resampler(source, target, method).values(values), 3)
    resampler(source, target, method).values(values)
    kept = best_seconds(lambda: resampler(source, target, method).values(values), 10)
    return anew, kept


def main() -> None:
    for names in PAIRS:
        source, target = map(parse_grid, names)
        for method in METHODS:
            anew, kept = measure(source, target, method)
            times = f"{anew * 1e3:.0f} ms / {kept * 1e3:.1f} ms"
            report(f"resample {names[0]} → {names[1]}, {method} ({times})", anew / kept, GOAL)


if __name__ == "__main__":
    main()
