"""What the loader costs beside the bare reads of a store: [10, 256, 256] uint16 with labels, batches of 8, warm."""

import tempfile
import time
from pathlib import Path

import numpy as np

from figures import report
from graticule.data.loader import BatchReader, Loader
from graticule.data.sampler import BatchSampler
from graticule.data.store import Store, StoreWriter
from graticule.grids import RasterGrid, raster_windows
from graticule.schema import Band, LegendClass, Target

SAMPLES, BATCH, SIDE, ROUNDS = 160, 8, 256, 30


def make_store(path: Path) -> Store:
    grid = RasterGrid(10 * SIDE, 16 * SIDE, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), "EPSG:32633")
    legend = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(10))
    rng = np.random.default_rng(0)
    with StoreWriter(
        path, bands=[Band(f"b{number}") for number in range(10)], targets=[Target("landcover", "classes", legend)],
        scenes={"scene": grid}, window={}, source="benchmark", source_options={}, space=(SIDE, SIDE), dtype=np.uint16,
    ) as writer:  # fmt: skip
        for number, place in enumerate(raster_windows(grid.shape, (SIDE, SIDE), 0)):
            x = rng.integers(0, 10_000, (10, SIDE, SIDE), np.uint16)
            row = {"sample_id": f"s{number}", "scene": "scene", "parent": "p", "region": "r", "place": place}
            writer.append(x, {"y": rng.integers(0, 10, (SIDE, SIDE), np.uint8)}, row)
    return Store.open(path)


def seconds(batches: object) -> float:
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store")
        sampler = BatchSampler(np.arange(SAMPLES), BATCH, seed=0)
        orders = [[index for _, _, index in entries] for entries in sampler]
        loaders = {workers: Loader(BatchReader(store), sampler, num_workers=workers) for workers in (0, 2)}
        bare, loaded = [], {workers: [] for workers in loaders}
        for number in range(ROUNDS):
            # One after the other in every round, so that the load of the machine falls on all alike.
            bare.append(seconds(map(store.read, orders)))
            for workers, loader in loaders.items():
                loader.set_epoch(number)
                loaded[workers].append(seconds(loader))
        # The best round of each: what the code costs, rather than what else the machine did.
        print(f"bare reads: {SAMPLES / min(bare):.0f} samples/s")
        for workers, times in loaded.items():
            print(f"loader, {workers} workers: {SAMPLES / min(times):.0f} samples/s")
            report(
                f"loader with {workers} workers / bare Store.read, [10, 256, 256] uint16", min(bare) / min(times), 0.7
            )


if __name__ == "__main__":
    main()
