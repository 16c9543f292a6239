"""Small synthetic worlds whose answers are known on paper."""

import numpy as np

from graticule.data.store import Store, StoreWriter
from graticule.grids import HealpixGrid, RasterGrid, healpix_windows, raster_windows
from graticule.schema import Band, LegendClass, Target


def write_store(path, scenes, samples, space, *, bands=2, classes=3, dtype=np.uint8, x=None, y=None, height=None):
    """A real store of `samples` [(scene, place, parent, region), ...] with targets `landcover` and `height`.

    `bands` is their number, or the bands. `x`, `y` and `height` are functions of the sample's number; random values
    that depend on it alone if None.
    """
    legend = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(classes))
    declared = {
        "bands": [Band(f"b{band}") for band in range(bands)] if isinstance(bands, int) else bands,
        "targets": [Target("landcover", "classes", legend), Target("height", "height", unit="m")],
        "scenes": scenes, "window": {}, "source": "world", "source_options": {}, "space": space, "dtype": dtype,
    }  # fmt: skip
    with StoreWriter(path, **declared) as writer:
        for number, (scene, place, parent, region) in enumerate(samples):
            rng = np.random.default_rng(number)
            arrays = {
                "y": y(number) if y else rng.integers(0, classes, space, np.uint8),
                "height": height(number) if height else rng.normal(0, 100, space).astype(np.float32),
            }
            values = x(number) if x else rng.integers(0, 200, (bands, *space)).astype(dtype)
            row = {"sample_id": f"s{number}", "scene": scene, "parent": parent, "region": region, "place": place}
            writer.append(values, arrays, row)
    return Store.open(path)


def raster_world(path, *, degrees=5.0, side=6, per_parent=2, regions=3, **options):
    """The globe at `degrees` in windows of `side` pixels; `per_parent` of them in a row share a parent."""
    grid = RasterGrid.global_(degrees)
    samples = []
    for number, (row, column) in enumerate(raster_windows(grid.shape, (side, side), 0)):
        parent = number // per_parent
        samples.append(("earth", (row, column), f"p{parent:03d}", f"r{parent % regions}"))
    return write_store(path, {"earth": grid}, samples, (side, side), **options)


def healpix_world(path, *, nside=16, parent_nside=2, per_parent=4, regions=3, **options):
    """The sphere in nested windows, `per_parent` (a power of four) under each cell of `parent_nside`."""
    grid = HealpixGrid(nside)
    size = (nside // parent_nside) ** 2 // per_parent
    samples = []
    for number, start in enumerate(healpix_windows(grid, size)):
        parent = number // per_parent
        samples.append(("sphere", (start,), f"p{parent:03d}", f"r{parent % regions}"))
    return write_store(path, {"sphere": grid}, samples, (size,), **options)


def spotted_world(path, *, scenes=6, side=24, window=12, regions=3):
    """Scenes with a binary target `spot`; the first band is its truth. Every scene has three objects:

    a square of 4 x 4 pixels where four windows meet, a single pixel, and two pixels that touch at their corners.
    """
    y = np.zeros((side, side), np.uint8)
    y[window - 2 : window + 2, window - 2 : window + 2] = 1
    y[2, 3] = y[6, 18] = y[7, 19] = 1
    legend = (LegendClass(0, "ground", "#444444"), LegendClass(1, "spot", "#d95f02"))
    grids = {f"s{n}": RasterGrid(side, side, (0.01, 0, n, 0, -0.01, 50), "EPSG:4326") for n in range(scenes)}
    declared = {
        "bands": [Band("told"), Band("other")], "targets": [Target("spot", "binary", legend)], "scenes": grids,
        "window": {}, "source": "world", "source_options": {}, "space": (window, window), "dtype": np.uint8,
    }  # fmt: skip
    with StoreWriter(path, **declared) as writer:
        for number, name in enumerate(grids):
            for row, column in raster_windows((side, side), (window, window), 0):
                own = y[row : row + window, column : column + window]
                told = {"sample_id": f"{name}-{row}-{column}", "scene": name, "parent": name}
                writer.append(
                    np.stack([own, np.full_like(own, number)]), {"y": own},
                    told | {"region": f"r{number % regions}", "place": (row, column)},
                )  # fmt: skip
    return Store.open(path)
