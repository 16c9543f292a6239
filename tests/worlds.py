"""Small synthetic worlds whose answers are known on paper."""

import numpy as np
from pyproj import Geod, Transformer

from graticule.data.store import Store, StoreWriter
from graticule.grids import CameraGrid, HealpixGrid, RasterGrid, healpix_windows, raster_windows
from graticule.schema import Band, LegendClass, Target


def write_store(path, scenes, samples, space, *, bands=2, classes=3, dtype=np.uint8, x=None, y=None, height=None):
    """A real store of `samples` [(scene, place, parent, region), ...] with targets `landcover` and `height`.

    `bands` is their number, or the bands. `x`, `y` and `height` are functions of the sample's number; random values
    that depend on it alone if None.
    """
    bands = [Band(f"b{band}") for band in range(bands)] if isinstance(bands, int) else bands
    legend = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(classes))
    declared = {
        "bands": bands,
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
            values = x(number) if x else rng.integers(0, 200, (len(bands), *space)).astype(dtype)
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
    grids = {f"s{n}": RasterGrid(side, side, (0.01, 0, 2 * n, 0, -0.01, 50), "EPSG:4326") for n in range(scenes)}
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


GROUND_GRIDS = {
    "utm": RasterGrid(50, 60, (10.0, 0.0, 300_000.0, 0.0, -10.0, 4_200_000.0), "EPSG:32719"),
    "polar": RasterGrid(50, 60, (10.0, 0.0, -1_900_000.0, 0.0, -10.0, 600_000.0), "EPSG:3413"),
    "lonlat": RasterGrid(50, 60, (2e-4, 0.0, 25.0, 0.0, -1e-4, 68.0), "EPSG:4326"),
    "mercator": RasterGrid(50, 60, (10.0, 0.0, 1_500_000.0, 0.0, -10.0, 9_000_000.0), "EPSG:3857"),
    "turned": RasterGrid(50, 60, (8.0, 6.0, 300_000.0, 6.0, -8.0, 4_200_000.0), "EPSG:32719"),
    "mirrored": RasterGrid(50, 60, (10.0, 0.0, 300_000.0, 0.0, 10.0, 4_200_000.0), "EPSG:32719"),
}
"""Small rasters on maps of all kinds, for what must mean the same wherever they lie."""


def geodesics(grid, start, end):
    """Metres along the ground, and the azimuth at the start, from pixel to pixel (row, column; arrays or numbers)."""
    to_lonlat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    here, there = (to_lonlat.transform(*(grid.affine * (c + 0.5, r + 0.5))) for r, c in (start, end))
    azimuth, _, metres = Geod(ellps="WGS84").inv(*np.broadcast_arrays(*here, *there))
    return metres, azimuth


def plane(grid, rise, azimuth):
    """Heights that rise by `rise` metres per metre towards `azimuth` (degrees from true north), float32 [h, w]."""
    row, column = np.mgrid[: grid.height, : grid.width].astype(float)
    middle = (np.full(grid.shape, (grid.height - 1) / 2), np.full(grid.shape, (grid.width - 1) / 2))
    metres, towards = geodesics(grid, middle, (row, column))
    return (rise * metres * np.cos(np.deg2rad(towards - azimuth)) + 500).astype(np.float32)


def photo_world(path, *, samples=12, side=16, seed=0, labelled=True):
    """Photographs of a grey slope that is wet below a line, brighter by the seed; mask, and ground below dry sky."""
    legend = tuple(LegendClass(value, name, "#808080") for value, name in enumerate(("sky", "ground")))
    wet = tuple(LegendClass(value, name, "#808080") for value, name in enumerate(("dry", "water")))
    mask = Target("mask", "binary", wet, stored_as="mask")
    known = [mask, Target("semantics", "classes", legend, stored_as="classes")]
    declared = {
        "bands": [Band(name) for name in ("red", "green", "blue")], "targets": known if labelled else [],
        "scenes": {"photographs": CameraGrid.pinhole(side, side, side)}, "window": {}, "source": "photos",
        "source_options": {"train": "list.json"}, "space": (side, side), "dtype": np.uint8,
    }  # fmt: skip
    rows = np.arange(side)[:, None] * np.ones((1, side))
    with StoreWriter(path, **declared) as writer:
        for number in range(samples):
            rng = np.random.default_rng([seed, number])
            line = rng.integers(side // 3, 2 * side // 3)
            x = np.stack([rows * 4, np.where(rows > line, 200, 40), np.full_like(rows, 60)]) + 20 * seed
            arrays = {"mask": (rows > line).astype(np.uint8), "classes": (rows > line // 2).astype(np.uint8)}
            row = {"sample_id": f"p{number}", "scene": "photographs", "parent": f"p{number}", "region": "all",
                   "place": (0, 0)}  # fmt: skip
            noisy = (x + rng.integers(0, 9, x.shape)).astype(np.uint8)
            writer.append(noisy, arrays if labelled else {}, row)
    return Store.open(path)
