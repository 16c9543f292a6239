"""Preparation: writing patches, and one large scene with 1 and 2 workers of Dask (docs/reference/benchmarks.md).

    python benchmarks/preparation.py [--side 4096]

The scene is cut into two files side by side, so that two workers have one each; the labels are a raster. It is prepared
in this process, and by 1 and 2 workers of a cluster that is up: starting one and importing this package costs seconds,
once for all scenes. Every figure is the best of three. MB are those of `x` as it is stored.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from graticule.data.by_scene import prepare_scenes
from graticule.data.shards import ShardWriter
from graticule.data.sources.scenes import ScenesSource
from graticule.data.spread import local_cluster

PATCH, BANDS = 512, 4


def best(run: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def write_patches(folder: Path, count: int) -> float:
    sample = np.random.default_rng(0).integers(1, 4000, (BANDS, PATCH, PATCH)).astype(np.uint16)

    def run() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        writer = ShardWriter(folder, sample.shape, sample.dtype, dimensions=("n", "c", "y", "x"), fill=0)
        for _ in range(count):
            writer.append(sample)
        writer.close()

    return count * sample.nbytes / 1e6 / best(run)


def write_scene(folder: Path, side: int) -> None:
    values = np.random.default_rng(0).integers(1, 4000, (BANDS, side, side // 2)).astype(np.uint16)
    options = {"driver": "GTiff", "height": side, "width": side // 2, "crs": "EPSG:32608", "tiled": True}
    for number, name in enumerate("ab"):
        transform = from_origin(500_000 + number * 5.0 * side, 7_700_000, 10, 10)
        for sub, layer in (("images", values), ("labels", (values[:1] > 2000).astype(np.uint8))):
            (folder / sub).mkdir(exist_ok=True)
            given = {"count": len(layer), "dtype": layer.dtype, "transform": transform, **options}
            with rasterio.open(folder / sub / f"{name}.tif", "w", **given) as file:
                file.write(layer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        print(f"patches written: {write_patches(folder / 'x', 64):.0f} MB/s")
        write_scene(folder, given.side)
        source = ScenesSource(str(folder / "images"), labels=str(folder / "labels"), window=PATCH)
        megabytes = given.side**2 * BANDS * 2 / 1e6

        def prepare(address: str | None = None) -> None:
            prepare_scenes(source, folder / "store", overwrite=True, dask=address, progress=False)

        ways: dict[str, float] = {"this process": best(prepare, given.times)}
        for workers in (1, 2):
            with local_cluster(workers) as cluster:
                ways[f"{workers} workers"] = best(partial(prepare, cluster.scheduler_address), given.times)
        for way, seconds in ways.items():
            print(f"{way}: {megabytes:.0f} MB in {seconds:.1f} s, {megabytes / seconds:.0f} MB/s", flush=True)


if __name__ == "__main__":
    main()
