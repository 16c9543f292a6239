"""Events on a photograph of 640 x 640: the fire's blur by axes against the direct one, and the time of each stage.

python benchmarks/rendering.py

Times are seconds of the processor, which other work on the machine disturbs least, with one thread. Stages are told
beside a product of two matrices of 1024 x 1024 in the same run: that much is the same work on every machine.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from figures import report, seconds
from graticule.inference.event_files import read_photo, write_picture
from graticule.inference.glow import blurred, glow, widened
from graticule.inference.rendering import Smog, Wildfire, infer_all

SIDE, REACH, RADIUS, SIGMA = 640, 114, 140, 140.5
GOAL = 15.0
EVENT_GOAL = 5.0
"""Matrix products that an event may cost. With the direct blur a fire costs over 200."""


def direct(mask: torch.Tensor) -> torch.Tensor:
    """The same blur with all 281 x 281 weights."""
    line = torch.exp(-0.5 * (torch.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights = torch.outer(line, line) / line.sum() ** 2
    return F.conv2d(F.pad(mask[None, None], [RADIUS] * 4, mode="reflect"), weights[None, None])[0, 0]


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    matrix = torch.rand(1024, 1024)
    product = seconds(lambda: matrix @ matrix, 10)
    print(f"a product of matrices of 1024 x 1024 takes {product * 1e3:.0f} ms")

    sky = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    sky[:200] = True
    sky[:300, 400:] = True
    wide = widened(sky.float(), REACH)
    found: list[torch.Tensor] = []
    slow = seconds(lambda: found.append(direct(wide)), 1)
    fast = seconds(lambda: blurred(wide, RADIUS, SIGMA), 5)
    apart = (found[0] - blurred(wide, RADIUS, SIGMA)).abs().max()
    report(f"blur by axes ({slow:.2f} s / {fast * 1e3:.0f} ms, at most {apart:.0e} apart)", slow / fast, GOAL)

    photo = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    depth, labels = rng.uniform(1, 200, (SIDE, SIDE)), np.where(sky, 9, 2)
    events: dict[str, Callable[[], object]] = {
        "wildfire": lambda: infer_all(photo, [Wildfire()], segmentation=labels),
        "smog": lambda: infer_all(photo, [Smog()], depth=depth),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        write_picture(path, photo)
        for name, call in {"glow": lambda: glow(sky), "read": lambda: read_photo(path)}.items():
            took = seconds(call, 3)
            print(f"{name}: {took * 1e3:.0f} ms, {took / product:.1f} products")
    for name, call in events.items():
        took = seconds(call, 5)
        report(f"{name} / a product of matrices ({took * 1e3:.0f} ms)", took / product, EVENT_GOAL, "lower")


if __name__ == "__main__":
    main()
