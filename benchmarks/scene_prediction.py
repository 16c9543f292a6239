"""A raster of 10 000 x 10 000 x 4 to a map by a trivial net, against reading and writing alone and against MONAI.

Three ways, each in a process of its own, in turn: the floor reads the raster strip by strip and writes the map of a
threshold with the same writer; ours is `predict_scene`, with windows of 256 that overlap by 32; MONAI reads the whole,
runs `sliding_window_inference` with the same windows and net, and writes with the same writer. Wall and CPU time are
the best of some rounds; memory is the peak beyond what the process took before it began.

MONAI and scikit-image are no dependencies: `pip install --no-deps --target DIR monai scikit-image lazy_loader`, and
`--libraries DIR`. What is not there is left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch

from figures import report
from graticule.data.sources.rasters import RasterFile
from graticule.inference.erosion import eroded
from graticule.inference.layers import layers_of
from graticule.inference.predict import PredictOptions, predict_scene
from graticule.inference.writers import cog_writer
from graticule.schema import LegendClass, Target
from graticule.tasks.dense import DensePrediction
from prediction import status

WINDOW, OVERLAP, BATCH = 256, 32, 8
SLUMP = Target("slump", "binary", (LegendClass(0, "none", "#ffffff"), LegendClass(1, "slump", "#ff0000")))


class Trivial(torch.nn.Module):
    """The first band, less 127.5, as the logit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return x[:, :1] - 127.5


def write_raster(path: Path, height: int, width: int) -> None:
    """Four bands of smooth noise, tiled."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 4, 64, 64), np.float32) * 255)
    tile = torch.nn.functional.interpolate(coarse, size=(1024, 1024), mode="bilinear")[0].numpy().astype(np.uint8)
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": 4, "dtype": "uint8", "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 7e6), "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    columns = np.arange(width) % 1024
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, height, 512):
            rows = np.arange(row, min(row + 512, height))
            window = rasterio.windows.Window(0, row, width, len(rows))
            dataset.write(tile[:, rows % 1024][:, :, columns], window=window)


def floor(path: Path, folder: Path) -> None:
    """Read every pixel, write the map of a threshold."""
    reader = RasterFile(path)
    height, width = reader.grid.shape
    with cog_writer(folder / "floor.tif", reader.grid, layers_of(SLUMP)[0]) as write:
        for row in range(0, height, WINDOW):
            x, _ = reader.read(row, 0, min(WINDOW, height - row), width)
            write(row, (x[:1] >= 128).astype(np.uint8))


def ours(path: Path, folder: Path) -> None:
    """`predict_scene`, maps only."""
    reader = RasterFile(path)
    task = DensePrediction(Trivial(), reader.bands, [SLUMP]).eval()
    options = PredictOptions(window=WINDOW, overlap=OVERLAP, batch_size=BATCH, progress=False, overview=False)
    predict_scene(task, reader, folder, options, name="ours")


def products(path: Path, folder: Path) -> None:
    """`predict_scene` with all products, erosion and the removal of small objects."""
    reader = RasterFile(path)
    task = DensePrediction(Trivial(), reader.bands, [SLUMP]).eval()
    options = PredictOptions(
        window=WINDOW, overlap=OVERLAP, batch_size=BATCH, progress=False, overview=False, products=None,
        probabilities="uint8", mask_erosion_size=10, min_object_size=32,
    )  # fmt: skip
    predict_scene(task, reader, folder, options, name="products")


def monai(path: Path, folder: Path) -> None:
    """MONAI on the whole raster, and the same writer."""
    from monai.inferers import sliding_window_inference

    reader = RasterFile(path)
    height, width = reader.grid.shape
    x = torch.from_numpy(reader.read(0, 0, height, width)[0].astype(np.float32))[None]
    with torch.no_grad():
        logits = sliding_window_inference(x, (WINDOW, WINDOW), BATCH, Trivial(), overlap=OVERLAP / WINDOW)
    labels = (logits[0] >= 0).numpy().astype(np.uint8)
    with cog_writer(folder / "monai.tif", reader.grid, layers_of(SLUMP)[0]) as write:
        for row in range(0, height, WINDOW):
            write(row, labels[:, row : row + WINDOW])


WAYS: dict[str, Callable[[Path, Path], None]] = {"floor": floor, "ours": ours, "products": products, "monai": monai}


def measured(way: str, path: Path, folder: Path) -> dict[str, float]:
    """Seconds of wall and CPU, and MB, of this process."""
    torch.set_num_threads(1)
    if way == "monai":
        from monai.inferers import sliding_window_inference  # noqa: F401 (its import is not what is measured)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    began, cpu = time.perf_counter(), time.process_time()
    WAYS[way](path, folder)
    return {
        "wall": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": status("VmHWM") - before,
    }  # fmt: skip


def in_a_process(way: str, path: Path, folder: Path, libraries: str) -> dict[str, float] | None:
    """The same in a process of its own; None if it cannot run."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_ARENA_MAX": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(part for part in (environment.get("PYTHONPATH", ""), libraries) if part)
    command = [sys.executable, __file__, "--way", way, "--raster", str(path), "--folder", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        print(f"{way} is left out: {(ran.stderr.strip().splitlines() or ['killed'])[-1]}", flush=True)
        return None
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    print(f"{way:<9} {path.stem}: " + ", ".join(f"{key} {value:.1f}" for key, value in found.items()), flush=True)
    return found


def compare(size: int, rounds: int, folder: Path, libraries: str) -> None:
    """All ways on a square raster."""
    path = folder / f"{size}x{size}.tif"
    write_raster(path, size, size)
    kept: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for way in ("floor", "ours", "monai") if number else WAYS:
            found = in_a_process(way, path, folder, libraries)
            if found:
                kept.setdefault(way, []).append(found)
    best = {way: {key: min(f[key] for f in found) for key in found[0]} for way, found in kept.items()}
    for key in ("wall", "cpu"):
        report(
            f"predict {size}² x 4 / read and write, {key} time", best["ours"][key] / best["floor"][key], 2.5, "lower"
        )
        if "monai" in best:
            report(f"predict {size}² x 4 / MONAI, {key} time", best["ours"][key] / best["monai"][key], 1.0, "lower")
    if "monai" in best:
        report(f"predict {size}² x 4 / MONAI, memory", best["ours"]["memory"] / best["monai"]["memory"], 0.1, "lower")
        with rasterio.open(folder / "ours-slump.tif") as one, rasterio.open(folder / "monai.tif") as other:
            assert np.array_equal(one.read(), other.read()), "the two maps differ"
    path.unlink()


def memory_by_height(folder: Path, heights: tuple[int, int], width: int) -> None:
    """Ours on rasters of one width."""
    peaks = []
    for height in heights:
        path = folder / f"{height}x{width}.tif"
        write_raster(path, height, width)
        found = in_a_process("ours", path, folder, "")
        peaks.append(found["memory"] if found else float("nan"))
        path.unlink()
    report(f"peak memory, {heights[1]} rows / {heights[0]} rows of {width}", peaks[1] / peaks[0], 1.1, "lower")


def erosion(libraries: str, size: int = 4096, radius: int = 10) -> None:
    """Of a mask with holes, by a disc."""
    sys.path.append(libraries)
    try:
        from skimage.morphology import binary_erosion, disk
    except ImportError as error:
        print(f"erosion is left out: {error}")
        return
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 1, 64, 64), np.float32))
    mask = (torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")[0, 0] < 0.9).numpy()
    seconds: dict[str, list[float]] = {"skimage": [], "ours": []}
    for _ in range(3):
        for name, work in (
            ("skimage", lambda: binary_erosion(mask, disk(radius))),
            ("ours", lambda: eroded(mask, radius)),
        ):
            began = time.process_time()
            result = work()
            seconds[name].append(time.process_time() - began)
            if name == "skimage":
                wanted = result
        assert np.array_equal(result, wanted)
    report(f"erosion by {radius} px of {size}², skimage / ours", min(seconds["skimage"]) / min(seconds["ours"]), 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--libraries", default="", help="folder with MONAI and scikit-image")
    parser.add_argument("--heights", type=int, nargs=2, default=(4096, 16384))
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--way", choices=WAYS, help="only this, in this process (used by this script)")
    parser.add_argument("--raster", type=Path, help="with --way")
    parser.add_argument("--folder", type=Path, help="where rasters and maps go; a temporary one by default")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.raster, options.folder)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        erosion(options.libraries)
        memory_by_height(Path(folder), tuple(options.heights), options.width)
        compare(options.size, options.rounds, Path(folder), options.libraries)


if __name__ == "__main__":
    main()
