"""Changes of light for a whole batch on its device, against sample by sample on the CPU as reader threads would.

Run: python benchmarks/augmentation.py [device]
Eight samples of 10 optical bands, 512 x 512 pixels, uint16; every sample is blurred, changed in brightness and
contrast, made noisy and rounded to 64 levels. Without a device there is only the CPU, where batches go one by one too.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from figures import report
from graticule.data.light import relight
from graticule.schema import Band

COUNT, SIDE, GOAL = 8, 512, 0.8


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda" if torch.cuda.is_available() else "cpu"
    bands = [Band(f"b{number}", scale=1e-4, valid_range=(-0.1, 0.5)) for number in range(10)]
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 6000, (COUNT, 10, SIDE, SIDE), dtype=np.uint16))
    seen = torch.ones(COUNT, SIDE, SIDE, dtype=torch.bool)
    draws = {
        "element": np.zeros(COUNT, int), "brightness": np.full(COUNT, 1.1), "contrast": np.full(COUNT, 0.9),
        "saturation": np.ones(COUNT),
        "blur": np.array([3, 5, 7, 3, 5, 7, 3, 5]), "noise": np.full(COUNT, 0.1), "levels": np.full(COUNT, 64),
        "seed": np.arange(COUNT),
    }  # fmt: skip
    parts = [{name: values[n : n + 1] for name, values in draws.items()} for n in range(COUNT)]

    def by_sample() -> None:
        for n, part in enumerate(parts):
            relight(x[n : n + 1], seen[n : n + 1], bands, part)

    def together() -> None:
        relight(x.to(device), seen.to(device), bands, draws)
        if device != "cpu":
            torch.cuda.synchronize(device)

    clock = time.process_time if device == "cpu" else time.perf_counter
    slow, fast = _seconds(by_sample, clock), _seconds(together, clock)
    ours, theirs = slow / COUNT * 1e3, fast / COUNT * 1e3
    name = f"light, ms a sample: one by one on the CPU {ours:.0f} / a batch on {device} {theirs:.2f}"
    report(name, slow / fast, GOAL)


def _seconds(call: Callable[[], None], clock: Callable[[], float]) -> float:
    call()
    times = []
    for _ in range(3):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


if __name__ == "__main__":
    main()
