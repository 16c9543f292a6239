"""Windows of raster files, and layers (heights, trends) that are brought onto the grid of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from rasterio.windows import Window

from graticule.data.sources.rasters import open_raster
from graticule.data.sources.scene_files import QualityKind
from graticule.errors import SourceError
from graticule.grids import RasterGrid
from graticule.grids.warp import covering, warp

PLAIN = "none"
"""As a CRS: the picture lies nowhere on the Earth, and its pixels are one metre wide."""

# What the classes of Sentinel-2's scene classification are worth: 0 invalid, 1 low, 2 high. No data and saturated
# pixels are invalid; shadow, medium and high clouds and snow are low.
_SCL = np.full(256, 0, np.uint8)
_SCL[[3, 8, 9, 11]] = 1
_SCL[[2, 4, 5, 6, 7, 10]] = 2


def grid_of(path: str, crs: str | None = None) -> RasterGrid:
    """The grid of a file; `crs` is that of files that have none (`none`: a plain image).

    Raises:
        SourceError: if the file cannot be read, or has no CRS and none is given.
    """
    with open_raster(Path(path)) as dataset:
        if dataset.crs is not None:
            return RasterGrid.of_dataset(dataset)
        if crs is None:
            raise SourceError(
                f"{path} has no coordinate reference system (CRS), so its pixels lie nowhere; give it as source.crs, "
                "or read the file as a plain image with source.crs=none."
            )
        if crs == PLAIN:
            return RasterGrid.local(dataset.height, dataset.width, 1.0)
        return RasterGrid(dataset.height, dataset.width, tuple(dataset.transform)[:6], crs)


def read_window(
    path: str, numbers: Sequence[int], row: int, col: int, height: int, width: int
) -> tuple[Shaped[np.ndarray, "bands height width"], Bool[np.ndarray, "bands height width"]]:
    """Bands of a file (numbers from 1) in a window, and where they have a value; outside the file there is none.

    Raises:
        SourceError: if the file is damaged.
    """
    with open_raster(Path(path)) as dataset:
        kind = np.result_type(*(dataset.dtypes[number - 1] for number in numbers))
        values = np.zeros((len(numbers), height, width), kind)
        valid = np.zeros(values.shape, bool)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, dataset.height), min(col + width, dataset.width)
        if top < bottom and left < right:
            window = Window(left, top, right - left, bottom - top)
            inside = np.s_[:, top - row : bottom - row, left - col : right - col]
            values[inside] = dataset.read(list(numbers), window=window)
            valid[inside] = dataset.read_masks(list(numbers), window=window) > 0
    if kind.kind == "f":
        valid &= np.isfinite(values)
    return values, valid


@dataclass(frozen=True)
class Layer:
    """A raster that is brought onto scenes: heights, trends, or a band of another resolution.

    Attributes:
        path: the file.
        grid: where it lies.
        numbers: its bands that are wanted, from 1.
    """

    path: str
    grid: RasterGrid
    numbers: tuple[int, ...]

    @classmethod
    def open(cls, path: str, numbers: Sequence[int] = (1,), crs: str | None = None) -> "Layer":
        """The layer in a file.

        Raises:
            SourceError: if it cannot be read or lies nowhere.
        """
        return cls(path, grid_of(path, crs), tuple(numbers))

    def on(
        self, grid: RasterGrid, method: Literal["nearest", "bilinear"] = "bilinear"
    ) -> Float32[np.ndarray, "bands h w"]:
        """Its values on a grid, NaN where there are none."""
        if (corner := self._corner(grid)) is not None:
            values, valid = read_window(self.path, self.numbers, *corner, *grid.shape)
            return np.where(valid, values, np.nan).astype(np.float32, copy=False)
        needed = covering(self.grid, grid)
        if needed is None:
            return np.full((len(self.numbers), *grid.shape), np.nan, np.float32)
        values, valid = read_window(self.path, self.numbers, *needed)
        values = np.where(valid, values, np.nan)
        return warp(values, self.grid.window(*needed), grid, method)

    def _corner(self, grid: RasterGrid) -> tuple[int, int] | None:
        """Row and column where `grid` begins, if its pixels are pixels of this layer."""
        same = [one == other for one, other in zip(self.grid.transform, grid.transform, strict=True)]
        if self.grid.crs != grid.crs or not all(same[place] for place in (0, 1, 3, 4)):
            return None
        column, row = ~self.grid.affine * (grid.transform[2], grid.transform[5])
        near = round(row), round(column)
        return near if max(abs(row - near[0]), abs(column - near[1])) < 1e-6 else None


def read_quality(
    kind: QualityKind, path: str, grid: RasterGrid, row: int, col: int, height: int, width: int, crs: str | None = None
) -> UInt8[np.ndarray, "height width"]:
    """What a mask says of a window of a scene: 0 invalid (and outside of the mask), 1 low, 2 high quality.

    UDM2: band 8 (unusable) is invalid; snow, shadow, haze and cloud (bands 2 to 6) are low. UDM: bit 0 (no picture) is
    invalid, bit 1 (cloud) low, any other bit (a band is missing or suspect) invalid.

    Args:
        kind: of the mask.
        path: its file.
        grid: of the scene; a mask of another resolution is brought onto it.
        row: where the window begins, and
        col: where in the row;
        height: its size.
        width: its size.
        crs: of files that have none.

    Raises:
        SourceError: if the file is damaged or has too few bands.
    """
    numbers = (2, 3, 4, 5, 6, 8) if kind == "udm2" else (1,)
    with open_raster(Path(path)) as dataset:
        if dataset.count < numbers[-1]:
            raise SourceError(f"{path} has {dataset.count} bands; a mask of kind {kind} has at least {numbers[-1]}.")
    own = grid_of(path, crs)
    if own == grid:
        values = read_window(path, numbers, row, col, height, width)[0]
        inside = _inside(grid, row, col, height, width)
    else:
        found = Layer(path, own, numbers).on(grid.window(row, col, height, width), "nearest")
        inside = np.isfinite(found[0])
        values = np.nan_to_num(found).astype(np.uint8)
    worth = _worth(kind, values.astype(np.uint8, copy=False))
    worth[~inside] = 0
    return worth


def _worth(kind: QualityKind, values: UInt8[np.ndarray, "bands h w"]) -> UInt8[np.ndarray, "h w"]:
    if kind == "scl":
        return _SCL[values[0]]
    if kind == "udm2":
        worth = np.where(values[:-1].any(0), 1, 2).astype(np.uint8)
        worth[values[-1] != 0] = 0
        return worth
    worth = np.where(values[0] & 2, 1, 2).astype(np.uint8)
    worth[(values[0] & ~np.uint8(2)) != 0] = 0
    return worth


def _inside(grid: RasterGrid, row: int, col: int, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    rows, columns = np.arange(row, row + height), np.arange(col, col + width)
    down: Any = (rows >= 0) & (rows < grid.height)
    right: Any = (columns >= 0) & (columns < grid.width)
    return down[:, None] & right[None, :]
