"""Small pictures for the report: a whole scene at a glance, and bands as red, green and blue."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num, UInt8

from graticule.files import whole_file
from graticule.grids import Grid, HealpixGrid, RasterGrid
from graticule.inference.layers import Layer
from graticule.schema import IGNORE, Band

HEIGHT, WIDTH = 360, 720
_COLOUR_NAMES = (("red", "b04", "b4"), ("green", "b03", "b3"), ("blue", "b02", "b2"))


def display_bands(bands: Sequence[Band]) -> list[int]:
    """Positions of red, green and blue by name (`red`, or Sentinel-2's `B04` ...); else the first three bands.

    The last part of a name counts, as in `S2_1_B04`, and of several bands the first.
    """
    names = [band.name.lower().rpartition("_")[2] for band in bands]
    found = [next((names.index(name) for name in choices if name in names), None) for choices in _COLOUR_NAMES]
    known = [place for place in found if place is not None]
    return known if len(known) == 3 else [min(number, len(bands) - 1) for number in range(3)]


def to_rgb(x: Num[np.ndarray, "*n 3 h w"], seen: Bool[np.ndarray, "*n h w"]) -> UInt8[np.ndarray, "*n h w 3"]:
    """Pictures that can be shown: uint8 as they are, others stretched from the 2nd to the 98th percentile of a band.

    Black where nothing was seen.
    """
    channels = np.moveaxis(x, -3, -1)
    if x.dtype != np.uint8:
        picked = channels[seen] if seen.any() else np.zeros((1, 3))
        low, high = np.percentile(picked, [2, 98], axis=0)
        channels = np.clip((channels - low) / np.maximum(high - low, 1e-9), 0, 1) * 255
    return np.where(seen[..., None], channels, 0).astype(np.uint8)


def overview_grid(grid: Grid) -> RasterGrid:
    """The plate carrée of at most 360 x 720 pixels that holds a grid: of the whole Earth, or of its surroundings.

    Of a raster without a place every so many of its own pixels.
    """
    if isinstance(grid, RasterGrid) and grid.is_local:
        step = _step(grid)
        a, b, c, d, e, f = grid.transform
        size = (-(-grid.height // step), -(-grid.width // step))
        return RasterGrid(*size, (step * a, step * b, c, step * d, step * e, f), grid.crs)
    if isinstance(grid, HealpixGrid) and grid.parents is None:
        return RasterGrid.global_(0.5)
    west, south, east, north = grid.footprint().bounds  # type: ignore[attr-defined]
    if east - west > 359.0 and north - south > 179.0:
        return RasterGrid.global_(0.5)
    step = max((east - west) / WIDTH, (north - south) / HEIGHT)
    height, width = (max(1, int(np.ceil(side / step - 1e-9))) for side in (north - south, east - west))
    return RasterGrid(height, width, (step, 0.0, west, 0.0, -step, north), "EPSG:4326")


def _step(grid: RasterGrid) -> int:
    return max(-(-grid.height // HEIGHT), -(-grid.width // WIDTH))


def _nearest(grid: Grid, coarse: RasterGrid) -> np.ndarray:
    """Flat positions in a grid of the pixels of its overview; -1 for those outside."""
    if isinstance(grid, RasterGrid) and grid.is_local:
        rows, columns = (np.arange(0, side, _step(grid)) for side in grid.shape)
        return (rows[:, None] * grid.width + columns).reshape(-1)
    return grid.locate(*coarse.lonlat()).reshape(-1)


class Overview:
    """Collects a scene's map at the overview's pixels (the nearest ones) while it passes in pieces."""

    def __init__(self, grid: Grid, bands: Sequence[Band], layers: Sequence[Layer]) -> None:
        self.grid, self.source_size = overview_grid(grid), grid.size
        self.place = _nearest(grid, self.grid)
        self.display, self.layers = display_bands(bands), [layer for layer in layers if layer.is_main]
        self.order = np.argsort(self.place, kind="stable")
        self.sorted = self.place[self.order]
        self.x: np.ndarray | None = None
        self.seen = np.zeros(self.grid.size, np.bool_)
        self.maps = {layer.name: np.full(self.grid.size, layer.nodata, layer.dtype) for layer in self.layers}

    def add(self, first: int, x: np.ndarray, seen: np.ndarray, maps: Mapping[str, np.ndarray]) -> None:
        """Take the pixels from flat position `first` on: x [c, ...], seen [...], and each layer's pixels [1, ...]."""
        low, high = np.searchsorted(self.sorted, [first, first + seen.size])
        to, local = self.order[low:high], self.sorted[low:high] - first
        if self.x is None:
            self.x = np.zeros((3, self.grid.size), x.dtype)
        self.x[:, to] = x.reshape(len(x), -1)[self.display][:, local]
        self.seen[to] = seen.reshape(-1)[local]
        for name, kept in self.maps.items():
            kept[to] = maps[name].reshape(-1)[local]

    def save(self, path: Path, truth: Mapping[str, np.ndarray] | None) -> None:
        """Write `rgb`, for each target `<t>/prediction` and (where known) `<t>/truth`, and the grid as JSON."""
        shape = self.grid.shape
        arrays: dict[str, np.ndarray] = {"grid": np.array(json.dumps(self.grid.to_dict()))}
        x = np.zeros((3, self.grid.size), np.uint8) if self.x is None else self.x
        arrays["rgb"] = to_rgb(x.reshape(3, *shape), self.seen.reshape(shape))
        for layer in self.layers:
            arrays[f"{layer.target.name}/prediction"] = self.maps[layer.name].reshape(shape)
            if truth is not None and layer.target.array in truth:
                values = truth[layer.target.array].reshape(-1)[np.maximum(self.place, 0)]
                unknown = np.uint8(IGNORE) if layer.target.is_categorical else np.float32(np.nan)
                arrays[f"{layer.target.name}/truth"] = np.where(self.place >= 0, values, unknown).reshape(shape)
        with whole_file(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **arrays)
