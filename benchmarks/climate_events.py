"""Masker and painter of the full size: rendering a photograph of 640 x 640 by stage, and a step of their training.

python benchmarks/climate_events.py             all, about ten minutes
python benchmarks/climate_events.py render      the stages of rendering alone

Times are seconds of the processor with one thread, told beside a product of two matrices of 1024 x 1024 in the same
run. The figures to compare with are those of ClimateGAN's own code, measured once on a machine of this kind (its
seconds are divided by the product of this run). Memory is the largest resident size of a process that takes one step of
training: one photograph of each domain, with discriminators, and VGG19 for the painter.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from figures import report, seconds
from graticule.inference.rendering import Flood, Smog, Wildfire, infer_all
from graticule.models.discriminators import MultiScaleDiscriminator
from graticule.models.masker.masker import Masker
from graticule.models.painter import Painter
from graticule.models.vgg import vgg19_features
from graticule.objectives.perceptual import Perceptual
from graticule.schema import AREA, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.adaptation import DomainAdaptation
from graticule.tasks.painting import Painting

SIDE = 640
LEGEND = tuple(LegendClass(n, name, "#000000") for n, name in enumerate([*"abcdefghi", "sky", "j"]))
BANDS = [Band(n, scale=1 / 255, mean=0.5, std=0.25, valid_range=(0, 1)) for n in ("red", "green", "blue")]
TARGETS_ = (
    Target("depth", "depth", unit="m"),
    Target("semantics", "classes", LEGEND),
    Target("mask", "binary", LEGEND[:2]),
)
THEIRS = {
    "encoder": 5.9, "depth": 0.42, "segmentation": 1.15, "mask": 0.35, "flood": 8.2, "wildfire": 5.9, "smog": 0.12,
    "all events": 21.7,
}  # fmt: skip
"""Seconds of the processor of ClimateGAN's infer_all on 640 x 640, the middle of what was seen."""
STEPS = {("masker", 640): 9.9, ("painter", 640): 6.4}
"""Its largest resident sizes in GiB."""


def masker() -> Masker:
    return Masker(3, 13, TARGETS_)


@torch.no_grad()
def render() -> None:
    """Time of each stage, beside the reference's."""
    torch.manual_seed(0)
    matrix = torch.rand(1024, 1024)
    product = seconds(lambda: matrix @ matrix, 20)
    print(f"a product of matrices of 1024 x 1024 takes {product * 1e3:.0f} ms")
    sees, paints = masker().eval(), Painter().eval()
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., SIDE // 2 :, :] = 1
    depth, classes = rng.uniform(1, 200, (SIDE, SIDE)), np.where(np.arange(SIDE)[:, None] < 200, 9, 0)
    labels = classes + np.zeros((1, SIDE), int)
    high, low = sees.encode(x)
    _, lent = sees.depth(high)
    flood = Flood(lambda photos, masks: (paints(photos * 2 - 1, masks[:, None]) + 1) / 2)
    stages: dict[str, Callable[[], object]] = {
        "encoder": lambda: sees.encode(x),
        "depth": lambda: sees.depth(high),
        "segmentation": lambda: sees.segmentation(high * lent, low),
        "mask": lambda: sees.mask(high, low),
        "flood": lambda: infer_all(photo, [flood], mask=mask[0, 0].numpy()),
        "wildfire": lambda: infer_all(photo, [Wildfire()], segmentation=labels),
        "smog": lambda: infer_all(photo, [Smog()], depth=depth),
    }
    found = {name: seconds(call, 2) for name, call in stages.items()}
    found["all events"] = sum(found.values())
    for name, took in found.items():
        theirs = THEIRS[name]
        told = (
            f"{name}: {took:.2f} s, {took / product:.0f} products ({theirs:g} s, {theirs / product:.0f}); theirs / ours"
        )
        report(told, theirs / took, 1.0)
    print(f"largest resident size of rendering: {largest():.1f} GiB (theirs 2.1)")


def batch(side: int) -> dict[str, object]:
    rng = torch.Generator().manual_seed(0)
    truth = {
        "depth": torch.rand(1, side, side, generator=rng) * 50 + 1,
        "semantics": torch.randint(0, 11, (1, side, side), generator=rng),
        "mask": torch.randint(0, 2, (1, side, side), generator=rng),
    }
    known = torch.ones(1, side, side, dtype=torch.bool)
    x = torch.randint(0, 256, (1, 3, side, side), generator=rng, dtype=torch.uint8)
    return {X: x, SEEN: known, TARGETS: truth, VALID: dict.fromkeys(truth, known), AREA: known.float()}


def step(what: str, side: int) -> None:
    """One step of training: generator, then discriminators, each with its Adam."""
    torch.manual_seed(0)
    if what == "masker":
        losses = {
            "depth": [{"name": "sigm"}],
            "semantics": [{"name": "cross_entropy"}],
            "mask": [{"name": "cross_entropy"}],
        }
        task = DomainAdaptation(masker(), BANDS, TARGETS_, domains=["r"], losses=losses)
        given = batch(side) | {"domains": {"r": batch(side)}}
    else:
        perceptual = Perceptual(vgg19_features(None))
        judge, told = MultiScaleDiscriminator(), {"perceptual": 10.0}
        task = Painting(Painter(), judge, BANDS, TARGETS_[2:], losses=told, perceptual=perceptual)
        given = batch(side)
    players = [torch.optim.Adam(net.parameters()) for net in (task.generator, task.discriminators)]
    start = time.process_time()
    task.discriminators.requires_grad_(False)
    terms, made = task.generator_losses(given)
    torch.stack(list(terms.values())).sum().backward()
    players[0].step()
    players[0].zero_grad()
    del terms
    task.discriminators.requires_grad_(True)
    torch.stack(list(task.discriminator_losses(made).values())).sum().backward()
    players[1].step()
    print(f"{largest():.3f} {time.process_time() - start:.1f}")


def largest() -> float:
    """The largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["step"]:
        step(sys.argv[2], int(sys.argv[3]))
        return
    render()
    if sys.argv[1:] == ["render"]:
        return
    for what in ("masker", "painter"):
        for side in (384, 640):
            command = [sys.executable, __file__, "step", what, str(side)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            size, took = map(float, told[-2:])
            line = f"a step of the {what} at {side}: {took:.0f} s of the processor, GiB at most"
            if (what, side) in STEPS:
                report(line, size, STEPS[what, side], "lower")
            else:
                print(f"{line}: {size:.1f}")


if __name__ == "__main__":
    main()
