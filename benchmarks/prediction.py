"""The whole Earth at 0.1° (1800 x 3600 x 3) to maps, against the net alone on as many windows; memory for two heights.

Time: `predict_scene` reads, normalises, runs the net, blends, takes the classes and writes GeoTIFFs. The net alone runs
on the same number of windows, in the same batches, already normalised, and its answers are thrown away. The two take
turns, so that a busy machine hits both alike; the best of each counts.

Memory: a scene of the same width and two heights, each in its own process; what counts is the peak beyond what the
process took before it began, with freed memory given back at once (else the allocator's leftovers, which differ from
run to run by a fifth, hide the difference).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from figures import report
from graticule.data.sources.earth import EarthSource
from graticule.grids import HealpixGrid, RasterGrid, raster_windows
from graticule.inference.healpix import core_of
from graticule.inference.predict import PredictOptions, predict_scene
from graticule.models.healpix import OnHealpix
from graticule.models.unet import UNet
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction

WINDOW, OVERLAP, BATCH = 256, 32, 8
HEIGHTS = (4096, 16384)
COVER = Target("cover", "classes", tuple(LegendClass(value, str(value), "#808080") for value in range(10)))
WIDTH = 3600


class Synthetic:
    """A scene of any height that takes no memory: its rows repeat."""

    bands = tuple(Band(name) for name in ("red", "green", "blue"))

    def __init__(self, height: int) -> None:
        self.grid = RasterGrid(height, WIDTH, (10.0, 0.0, 3e5, 0.0, -10.0, 9e6), "EPSG:32633")
        self.rows = np.random.default_rng(0).integers(0, 255, (3, 512, WIDTH), np.uint8)

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that repeat, all of them seen."""
        rows = np.arange(row, row + height) % 512
        return self.rows[:, rows, col : col + width], np.ones((height, width), bool)


def make_task(source: EarthSource, net: torch.nn.Module, kind: str) -> DensePrediction:
    net = OnHealpix(net) if kind == "healpix" else net
    return DensePrediction(net, source.bands, source.targets[:1], grid_kind=kind).eval()


def net_alone(net: torch.nn.Module, side: int, count: int) -> float:
    """Seconds of the net on `count` windows."""
    x = torch.rand(BATCH, 3, side, side)
    began = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, count, BATCH):
            net(x[: min(BATCH, count - first)])
    return time.perf_counter() - began


def whole_earth(grid: str, channels: int, rounds: int) -> None:
    """Time prediction on a grid and tell the ratio."""
    source = EarthSource(grid)
    reader = source.read_scene("earth")
    torch.manual_seed(0)
    net = UNet(3, 10, channels=channels, levels=4)
    kind = "healpix" if isinstance(source.grid, HealpixGrid) else "raster"
    task = make_task(source, net, kind)
    side = WINDOW if kind == "raster" else 64
    if isinstance(source.grid, HealpixGrid):
        core, _ = core_of(source.grid, side)
        count = source.grid.size // core**2
    else:
        # Round the Earth there are as many windows as with two ends.
        count = len(raster_windows(source.grid.shape, (side, side), OVERLAP))
    options = PredictOptions(window=side, overlap=OVERLAP, batch_size=BATCH, progress=False)
    alone, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        predict_scene(task, EarthSource("raster:5deg").read_scene("earth"), Path(folder), options)  # warm up
        for _ in range(rounds):
            alone.append(net_alone(net, side, count))
            began = time.perf_counter()
            predict_scene(task, reader, Path(folder), options)
            whole.append(time.perf_counter() - began)
    told = f"{count} windows of {side}²; net alone {min(alone):.1f} s, whole {min(whole):.1f} s"
    print(f"{grid}, UNet of {channels} channels: {told}", flush=True)
    report(f"predict {grid} and write it / the net alone, {channels} channels", min(whole) / min(alone), 1.25, "lower")


def status(name: str) -> float:
    """A figure of this process in MB, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def peak_memory(height: int) -> float:
    """MB that predicting a scene of this height takes at most, beyond what was taken before."""
    task = DensePrediction(torch.nn.Conv2d(3, 10, 3, padding=1), Synthetic.bands, [COVER]).eval()
    options = PredictOptions(window=WINDOW, overlap=OVERLAP, batch_size=BATCH, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        predict_scene(task, Synthetic(WINDOW), Path(folder), options)
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        predict_scene(task, Synthetic(height), Path(folder), options)
    return status("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels", type=int, default=24, help="of the U-Net; the Earth's recipe has 24")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--height", type=int, help="only measure the memory of this height (used by this script)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.height:
        print(peak_memory(options.height))
        return
    peaks = []
    for height in HEIGHTS:
        command = [sys.executable, __file__, "--height", str(height), "--threads", str(options.threads)]
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "2"}
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        peaks.append(float(ran.stdout))
        print(f"{height} x {WIDTH} x 3: peak {peaks[-1]:.0f} MB beyond the start", flush=True)
    report(f"peak memory, {HEIGHTS[1]} rows / {HEIGHTS[0]} rows", peaks[1] / peaks[0], 1.1, "lower")
    for grid in ("raster:0.1deg", "healpix:256"):
        whole_earth(grid, options.channels, options.rounds)


if __name__ == "__main__":
    main()
