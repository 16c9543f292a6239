"""A random sample read from a warm store, against a memcpy of the same bytes and against zarr-python's defaults.

    python benchmarks/store_read.py

Goals: at most 3 × a memcpy for [10, 256, 256] uint16 and 1.5 × for [10, 896, 896]. Both sides put the bytes into a
new buffer, as a batch is; rounds alternate between them, and the ratio is of the medians.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from figures import report
from graticule.data.store import Store, StoreWriter
from graticule.grids import RasterGrid
from graticule.schema import Band, LegendClass, Target

TARGET = Target("land", "binary", legend=(LegendClass(0, "sea", "#000088"), LegendClass(1, "land", "#008800")))


def make_store(path: Path, side: int, samples: int, codec: str = "none") -> Store:
    """A store of `samples` smooth-plus-noise samples [10, side, side] uint16."""
    scene = RasterGrid(side, side * samples, (10.0, 0, 500_000, 0, -10.0, 7_000_000), "EPSG:32632")
    bands = [Band(f"band_{number}", scale=1e-4) for number in range(10)]
    rng = np.random.default_rng(0)
    slope = np.linspace(500, 4000, side)
    with StoreWriter(
        path, bands=bands, targets=[TARGET], scenes={"strip": scene}, window={"height": side, "width": side},
        source="benchmark", source_options={}, space=(side, side), dtype=np.uint16, codec=codec,  # type: ignore[arg-type]
    ) as writer:  # fmt: skip
        for index in range(samples):
            x = (slope + slope[:, None] + rng.normal(0, 40, (10, side, side))).astype(np.uint16)
            row = {"sample_id": f"{index}", "scene": "strip", "parent": "a", "region": "a", "place": (0, index * side)}
            writer.append(x, {"y": (x[0] > 4000).astype(np.uint8)}, row)
    return Store.open(path)


def medians(actions: dict[str, Callable[[int], object]], samples: int, rounds: int) -> dict[str, float]:
    """Median seconds of each action over random sample numbers, the actions taking turns."""
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + samples):  # the first turns warm the page cache
        for name, action in actions.items():
            index = turn if turn < samples else int(rng.integers(samples))
            start = time.perf_counter()
            action(index)
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times[samples:])) for name, times in seconds.items()}


def measure(folder: Path, side: int, samples: int, rounds: int, goal: float) -> None:
    """Print the ratios for one size of sample."""
    store = make_store(folder / "store", side, samples)
    packed = make_store(folder / "packed", side, samples, codec="zstd")
    source = store.read(range(samples), arrays=["x"])["x"]
    default = zarr.create_array(
        str(folder / "default"), shape=source.shape, dtype="uint16", chunks=(1, *source.shape[1:])
    )
    default[:] = source
    plain = zarr.open_group(str(folder / "store" / "data.zarr"), mode="r")["x"]
    some, kept = [0, 1, 2, 7, 8], np.empty_like(source[0])
    found = medians(
        {
            "memcpy": lambda index: source[index].copy(),
            "memcpy into a buffer that is kept": lambda index: np.copyto(kept, source[index]),
            "store": lambda index: store.read([index], arrays=["x"]),
            "x and y": lambda index: store.read([index]),
            "half of the bands": lambda index: store.read([index], some, arrays=["x"]),
            "zstd store": lambda index: packed.read([index], arrays=["x"]),
            "zarr-python on the same store": lambda index: plain[index],
            "zarr-python's defaults": lambda index: default[index],
        },
        samples,
        rounds,
    )
    name = f"[10, {side}, {side}]"
    report(f"a random sample {name} from the store / memcpy", found["store"] / found["memcpy"], goal, better="lower")
    report(f"half of its bands {name} / all of them", found["half of the bands"] / found["store"], 1.0, better="lower")
    for other in (
        "memcpy into a buffer that is kept",
        "x and y",
        "zstd store",
        "zarr-python on the same store",
        "zarr-python's defaults",
    ):
        print(f"    for comparison: {other} / memcpy {found[other] / found['memcpy']:.2f}")
    print(f"    memcpy {found['memcpy'] * 1e3:.2f} ms, store {found['store'] * 1e3:.2f} ms")
    shutil.rmtree(folder)


def main() -> None:
    """Measure both sizes."""
    for side, samples, rounds, goal in ((256, 64, 300, 3.0), (896, 16, 100, 1.5)):
        measure(Path(tempfile.mkdtemp()), side, samples, rounds, goal)


if __name__ == "__main__":
    main()
