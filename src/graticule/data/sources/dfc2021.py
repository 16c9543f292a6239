"""IEEE GRSS DFC2021, track DSE: four sensors over settlements in Africa, and which of them have electricity.

```
root/Tile1/ Tile2/ ...     or root/Train/Tile1/ ...; 98 images, groundTruth.tif and groundTruthRGB.png in each
```
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graticule.data.sources.dfc2021_files import CELL_METRES, CELLS, SENSORS, SIDE, Sensor, Tile, find_tiles
from graticule.data.sources.dfc2021_values import Preprocess, maximum_projection, preprocess
from graticule.errors import ConfigError, SourceError, nearest
from graticule.grids import Grid, RasterGrid
from graticule.schema import Band, BandKind, LegendClass, Target

MAXIMUM = "viirs_max_projection"
LEGEND = (
    LegendClass(0, "settlements without electricity", "#ff0000"),
    LegendClass(1, "no settlements without electricity", "#0000ff"),
    LegendClass(2, "settlements with electricity", "#ffff00"),
    LegendClass(3, "no settlements with electricity", "#b266ff"),
)
"""The published classes 1..4, less 1, in the published colours. Class 0 is what the contest looks for."""

_KINDS: dict[str, BandKind] = {"sentinel1": "radar", "sentinel2": "optical", "landsat": "optical"}
_THERMAL = {("landsat", "B10"), ("landsat", "B11")}


class DFC2021Source:
    """Tiles of 8 km: 98 images and their maximum over VIIRS as 99 bands, 16 x 16 labels of 500 m.

    Each tile is a scene and a parent, so that a split by parents keeps its sub-tiles together. Tiles were published
    without a georeference: they lie in a plane of unknown place, with pixels of 10 m. A label holds for its whole cell
    of 50 x 50 pixels; the target's `cell` says so, and losses and metrics count cells.

    Args:
        root: the folder of Tile1, Tile2, ..., or one with a folder Train that has them.
        tile_size_gt: cells along a side of a sub-tile: 4 gives 16 sub-tiles of 200 x 200 pixels. 4 if neither this nor
            `slice_size` is given.
        slice_size: the other way to say it: slices along (rows, columns) of a tile; [2, 2] gives 4 sub-tiles.
        preprocess: `course` scales each band of a tile to 0..1 as the course does, `course_w2024` as its first version
            did; `none` stores what the sensor gave, which the model then standardises.
        bands: the bands of each sensor, such as {sentinel2: [B04, B03, B02], viirs_max_projection: []}; sensors that
            are not named are left out, an empty list takes all bands of a sensor. Everything if None: 99 bands.
        dates: of each sensor, the first so many; all if None.
        size: pixels along a side of the images: 800 as published.

    Raises:
        SourceError: if a file is missing, truncated, or of another size, or a label is not 1..4.
        ConfigError: if sub-tiles do not divide a tile, or a sensor or band is unknown.
    """

    name = "dfc2021"
    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __init__(
        self, root: str, tile_size_gt: int | None = None, slice_size: list[int] | None = None,
        preprocess: Preprocess = "course", bands: dict[str, list[str]] | None = None, dates: int | None = None,
        size: int = SIDE,
    ) -> None:  # fmt: skip
        self._options = {
            "root": root, "tile_size_gt": tile_size_gt, "slice_size": slice_size, "preprocess": preprocess,
            "bands": bands, "dates": dates, "size": size,
        }  # fmt: skip
        self.cells = _cells(tile_size_gt, slice_size)
        if size < CELLS or size % CELLS:
            raise ConfigError(f"source.size is {size}; it must be a multiple of {CELLS}, such as {SIDE}.")
        if dates is not None and dates < 1:
            raise ConfigError(f"source.dates is {dates}; give the number of dates to take of each sensor, 1 or more.")
        self.cell, self.method, self.dates = size // CELLS, preprocess, dates
        self.chosen = _chosen(bands)
        self.tiles = find_tiles(Path(root), size)
        self.bands = tuple(band for sensor, names in self.chosen.items() for band in self._bands(sensor, names))
        self.targets = (Target("settlements", "classes", LEGEND, cell=self.cell),)
        self.grid = RasterGrid.local(size, size, CELL_METRES / self.cell)
        self.space: tuple[int, ...] = tuple(cells * self.cell for cells in self.cells)
        self.n_samples = len(self.tiles) * (CELLS // self.cells[0]) * (CELLS // self.cells[1])
        self._values = lru_cache(2)(self._read)

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut."""
        return {"height": self.space[0], "width": self.space[1], "overlap": 0}

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """One scene per tile, all on the same plane of unknown place."""
        return dict.fromkeys(self.tiles, self.grid)

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All sub-tiles, tile by tile, named as in the course: `Tile1_<row>_<column>`."""
        for tile in self.tiles.values():
            tile.labels()  # what is wrong with a label is told before hours of images are read
        for name in self.tiles:
            yield from self.samples_of(name)

    def samples_of(self, scene: str) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """The sub-tiles of one tile."""
        tile, (height, width) = self._tile(scene), self.space
        x, labels = self._values(scene), self._spread(tile.labels())
        days = ";".join(f"{sensor} {' '.join(map(str, days))}" for sensor, days in tile.days.items())
        for row in range(0, self.grid.height, height):
            for col in range(0, self.grid.width, width):
                here = (slice(row, row + height), slice(col, col + width))
                yield (
                    x[:, *here].copy(),
                    {"y": labels[here].copy()},
                    {
                        "sample_id": f"{scene}_{row // height}_{col // width}", "scene": scene, "parent": scene,
                        "region": "all", "place": (row, col), "dates": days,
                    },
                )  # fmt: skip

    def read_scene(self, scene: str) -> "TileReader":
        """A reader of a whole tile, preprocessed; it may be one without labels."""
        self._tile(scene)
        return TileReader(self.grid, self.bands, self._values(scene))

    def truth(self, scene: str) -> dict[str, np.ndarray] | None:
        """The labels of a tile, one per pixel; None where there are none."""
        tile = self._tile(scene)
        return {"y": self._spread(tile.labels())} if tile.is_labelled else None

    def _tile(self, scene: str) -> Tile:
        if scene not in self.tiles:
            raise SourceError(f"{self._options['root']} has no tile '{scene}'; {nearest(scene, self.tiles)}")
        return self.tiles[scene]

    def _spread(self, labels: np.ndarray) -> np.ndarray:
        return labels.repeat(self.cell, axis=0).repeat(self.cell, axis=1)

    def _read(self, scene: str) -> np.ndarray:
        """All chosen bands of a tile, [bands, side, side], read at once since quantiles are over whole images."""
        tile, stacks, viirs = self._tile(scene), [], None
        for name, bands in self.chosen.items():
            if name == MAXIMUM:
                viirs = tile.read(SENSORS[-1], SENSORS[-1].dates, ("",)) if viirs is None else viirs
                stacks.append(maximum_projection(viirs, self.method))
                continue
            sensor = _SENSORS[name]
            # Over all dates, as the course scales them, whichever of them are kept.
            stack = tile.read(sensor, sensor.dates, bands)
            viirs = stack if name == "viirs" else viirs
            stacks.append(preprocess(name, stack, self.method)[: self.dates])
        return np.concatenate([stack.reshape(-1, *stack.shape[2:]) for stack in stacks])

    def _bands(self, name: str, bands: Sequence[str]) -> list[Band]:
        """The bands of one sensor: date by date, as the channels are."""
        if name == MAXIMUM:
            return [Band("VIIRS_max", kind="other")]
        sensor, scale = _SENSORS[name], 1e-4 if name == "sentinel2" and self.method == "none" else 1.0
        made = []
        for number in range(1, min(sensor.dates, self.dates or sensor.dates) + 1):
            for band in bands:
                kind = "thermal" if (name, band) in _THERMAL else _KINDS.get(name, "other")
                made.append(Band("_".join(filter(None, (sensor.short, str(number), band))), kind=kind, scale=scale))
        return made


class TileReader:
    """Reads windows of one tile that is kept in memory; outside it there is no input."""

    def __init__(self, grid: RasterGrid, bands: tuple[Band, ...], values: np.ndarray) -> None:
        self.grid, self.bands, self._values = grid, bands, values

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x [bands, height, width], and where it lies in the tile (bool [height, width])."""
        x = np.zeros((len(self.bands), height, width), np.float32)
        seen = np.zeros((height, width), np.bool_)
        rows = slice(max(row, 0), min(row + height, self.grid.height))
        columns = slice(max(col, 0), min(col + width, self.grid.width))
        if rows.start < rows.stop and columns.start < columns.stop:
            here = (slice(rows.start - row, rows.stop - row), slice(columns.start - col, columns.stop - col))
            x[:, *here], seen[here] = self._values[:, rows, columns], True
        return x, seen


_SENSORS: dict[str, Sensor] = {sensor.name: sensor for sensor in SENSORS}


def _cells(tile_size_gt: int | None, slice_size: Sequence[int] | None) -> tuple[int, int]:
    """Rows and columns of cells in a sub-tile, from either way to say it."""
    if slice_size is None:
        side = 4 if tile_size_gt is None else tile_size_gt
        if side < 1 or CELLS % side:
            raise ConfigError(
                f"source.tile_size_gt is {side}; sub-tiles of so many cells do not divide the {CELLS} of a tile: "
                "give 1, 2, 4, 8 or 16."
            )
        return side, side
    if tile_size_gt is not None:
        raise ConfigError("source.tile_size_gt and source.slice_size say the same in two ways; give one of them.")
    if len(slice_size) != 2 or any(count < 1 or CELLS % count for count in slice_size):
        raise ConfigError(
            f"source.slice_size is {list(slice_size)}; so many slices do not divide the {CELLS} cells of a tile: "
            "give 1, 2, 4, 8 or 16 for rows and for columns."
        )
    return CELLS // slice_size[0], CELLS // slice_size[1]


def _chosen(bands: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """Sensor → its bands, in the order of the channels."""
    every = {sensor.name: sensor.bands for sensor in SENSORS} | {MAXIMUM: ()}
    if bands is None:
        return every
    for name, wanted in bands.items():
        if name not in every:
            raise ConfigError(f"source.bands names the sensor '{name}'; {nearest(name, every)}")
        for band in wanted:
            if _full(band) not in every[name]:
                known = nearest(band, every[name]) if any(every[name]) else "it has one band; give an empty list."
                raise ConfigError(f"source.bands.{name} has no band '{band}'; {known}")
    if not bands:
        raise ConfigError(f"source.bands names no sensor; give some of {', '.join(every)}, or null for all.")
    return {name: tuple(map(_full, bands[name])) or every[name] for name in every if name in bands}


def _full(band: str) -> str:
    """The name of a band as files have it: the course writes 04 where Sentinel-2's files have B04."""
    return f"B{band}" if band[:1].isdigit() and band != "0" else "" if band == "0" else band
