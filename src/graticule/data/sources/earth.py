"""The built-in Earth at 0.1°: Blue Marble colours, ten land-cover classes, height in metres.

The three files and their terms are described in `earth_files/ATTRIBUTION.md`; `tools/rebuild_earth.py` makes them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from graticule.data.prepare import HealpixScene, RasterScene
from graticule.data.texture import TexturedRaster, TexturedSphere, squares_on, texture_bands
from graticule.errors import SourceError
from graticule.grids import Grid, HealpixGrid, RasterGrid, parse_grid, resampler
from graticule.schema import IGNORE, Band, LegendClass, Target

BLOCK_DEGREES = 15
"""Side of the raster parents: a latitude-longitude block."""

BANDS = tuple(Band(name, unit="1", kind="optical", scale=1 / 255) for name in ("red", "green", "blue"))

# name, colour, IGBP values (MCD12C1) that are merged into the class
_CLASSES = (
    ("water", "#2b5c8a", (0,)),
    ("forest", "#1f6b3a", (1, 2, 3, 4, 5)),
    ("shrub", "#b8a15a", (6, 7)),
    ("savanna", "#9ab55b", (8, 9)),
    ("grass", "#c9d977", (10,)),
    ("wetland", "#4fb3a5", (11,)),
    ("crop", "#e8b13a", (12, 14)),
    ("urban", "#c8352e", (13,)),
    ("snow/ice", "#eef4f7", (15,)),
    ("barren", "#d9c4a1", (16,)),
)
LANDCOVER = Target(
    "landcover", "classes", legend=tuple(LegendClass(i, name, colour) for i, (name, colour, _) in enumerate(_CLASSES))
)
HEIGHT = Target("height", "height", unit="m")
COVER = Target("cover", "classes", legend=LANDCOVER.legend, per="sample")
"""The class of most of a window's area."""


@dataclass(frozen=True)
class EarthFields:
    """The whole Earth on one grid: x uint8 [3, *space], y uint8 [*space], height float32 [*space] in metres."""

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray


@lru_cache(maxsize=1)
def published() -> EarthFields:
    """The fields as published, at 0.1° (1800 × 3600)."""
    classes = np.full(256, IGNORE, np.uint8)
    for value, (_, _, igbp) in enumerate(_CLASSES):
        classes[list(igbp)] = value
    coded = _picture("elevation.png")
    height = np.where(coded == IGNORE, np.float32(np.nan), coded * np.float32(28) - np.float32(450))
    x = np.ascontiguousarray(np.moveaxis(_picture("blue_marble.jpg"), -1, 0))
    return EarthFields(x, classes[_picture("igbp.png")], height)


@lru_cache(maxsize=4)
def earth_on(grid: RasterGrid | HealpixGrid) -> EarthFields:
    """The fields on any grid, weighted by area: colours and heights are means, classes are majorities."""
    fields, origin = published(), RasterGrid.global_(0.1)
    if grid == origin:
        return fields
    onto = resampler(origin, grid, "area")
    x, _ = onto.values(fields.x.astype(np.float32), None)
    height, known = onto.values(np.nan_to_num(fields.height), np.isfinite(fields.height))
    height = np.where(known, height, np.nan).astype(np.float32)
    return EarthFields(np.rint(x).astype(np.uint8), onto.labels(fields.y), height)


class EarthSource:
    """The whole Earth on a global raster or on HEALPix, cut into windows.

    Args:
        grid: `raster:0.1deg` (as published), a coarser raster whose pixels divide 15°, or `healpix:<nside>`.
        window: side of a raster window in pixels; it divides the 15° block, which is the parent (150 at 0.1°).
        parent_nside: HEALPix samples are the cells under one cell of this nside, which is the parent; 0 makes one
            sample of the whole sphere, for a net that sees all of it.
        texture: sides in degrees of the squares whose means and deviations become further bands; none by default.
        cover: add the target `cover`, the class that most of a window has: one label for each sample.

    Raises:
        SourceError: if the windows do not fit the grid.
    """

    name = "earth"
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        grid: str = "raster:0.1deg",
        window: int | None = None,
        parent_nside: int = 4,
        texture: Sequence[float] = (),
        cover: bool = False,
    ) -> None:
        self.grid_name, self.parent_nside, self.texture = grid, parent_nside, tuple(texture)
        self.targets = (LANDCOVER, HEIGHT, COVER) if cover else (LANDCOVER, HEIGHT)
        parsed = parse_grid(grid)
        if isinstance(parsed, RasterGrid):
            block = parsed.width * BLOCK_DEGREES / 360
            self.side = int(block) if window is None else window
            if self.side < 1 or block % self.side:
                raise SourceError(
                    f"windows of {self.side} pixels do not divide the {BLOCK_DEGREES}° blocks of {grid}, which are "
                    f"{block:g} pixels wide; give a divisor of that number."
                )
            self.space: tuple[int, ...] = (self.side, self.side)
        elif isinstance(parsed, HealpixGrid):
            self.side, rest = divmod(parsed.nside, max(parent_nside, 1))
            if parent_nside < 0 or rest:
                raise SourceError(f"parent_nside {parent_nside} does not divide nside {parsed.nside} of {grid}.")
            self.space = (self.side**2 if parent_nside else parsed.size,)
        else:
            raise SourceError(f"the Earth cannot be prepared on {grid}; use raster:<degrees>deg or healpix:<nside>.")
        self.grid: RasterGrid | HealpixGrid = parsed
        self.bands = texture_bands(BANDS, squares_on(parsed, self.texture)) if self.texture else BANDS

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut: without overlap; and how far their bands look beyond a pixel, where they do."""
        reach = {"reach_degrees": max(self.texture) / 2} if self.texture else {}
        if isinstance(self.grid, RasterGrid):
            return {"height": self.side, "width": self.side, "overlap": 0, "block_degrees": BLOCK_DEGREES} | reach
        return {"cells": self.space[0], "parent_nside": self.parent_nside} | reach

    @property
    def n_samples(self) -> int:
        """How many samples there are."""
        return self.grid.size // int(np.prod(self.space))

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        options = {"grid": self.grid_name, "texture": list(self.texture), "cover": COVER in self.targets}
        if isinstance(self.grid, RasterGrid):
            return options | {"window": self.side}
        return options | {"parent_nside": self.parent_nside}

    def scenes(self) -> dict[str, Grid]:
        """One scene: the Earth."""
        return {"earth": self.grid}

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All windows: by rows from the north-west, or in nested order."""
        fields, reader = self.fields, self.read_scene()
        raster = isinstance(self.grid, RasterGrid)
        for row in _raster_rows(self.grid.shape, self.side) if raster else _healpix_rows(self.parent_nside, self.side):
            where = tuple(slice(start, start + size) for start, size in zip(row["place"], self.space, strict=True))
            if isinstance(reader, RasterScene):
                x, _ = reader.read(*row["place"], *self.space)
            else:
                x = reader.cells(np.arange(where[0].start, where[0].stop))
            labels = {"y": fields.y[where], "height": fields.height[where]}
            if COVER in self.targets:
                labels["label"] = majority(fields.y[where])
            yield x, labels, row

    def read_scene(self, scene: str = "earth") -> RasterScene | HealpixScene:
        """A reader of the whole Earth on this grid."""
        self._check_scene(scene)
        if isinstance(self.grid, RasterGrid):
            raster = EarthRaster(self.grid, self.fields.x)
            return TexturedRaster(raster, self.texture) if self.texture else raster
        sphere = EarthSphere(self.grid, self.fields.x)
        return TexturedSphere(sphere, self.texture) if self.texture else sphere

    def truth(self, scene: str = "earth") -> dict[str, np.ndarray]:
        """Labels `y` and `height` of the whole Earth."""
        self._check_scene(scene)
        return {"y": self.fields.y, "height": self.fields.height}

    @cached_property
    def fields(self) -> EarthFields:
        """The fields on this source's grid; resampled at the first use."""
        return earth_on(self.grid)

    def _check_scene(self, scene: str) -> None:
        if scene != "earth":
            raise SourceError(f"source earth has no scene '{scene}'; its one scene is 'earth'.")


class EarthRaster:
    """Reads windows of the Earth on a global raster; columns go on round the Earth."""

    bands = BANDS

    def __init__(self, grid: RasterGrid, x: np.ndarray) -> None:
        self.grid, self._x = grid, x

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x uint8 [3, height, width], and where it is on the Earth (bool [height, width])."""
        rows, cols = np.arange(row, row + height), np.arange(col, col + width) % self.grid.shape[1]
        inside = (rows >= 0) & (rows < self.grid.shape[0])
        x = np.zeros((len(BANDS), height, width), np.uint8)
        x[:, inside] = self._x[:, rows[inside]][:, :, cols]
        return x, np.repeat(inside[:, None], width, axis=1)


class EarthSphere:
    """Reads cells of the Earth on the HEALPix sphere."""

    bands = BANDS

    def __init__(self, grid: HealpixGrid, x: np.ndarray) -> None:
        self.grid, self._x = grid, x

    def cells(self, ids: np.ndarray) -> np.ndarray:
        """The colours x uint8 [3, *ids.shape] of the nested cells `ids`; 0 where an id is -1."""
        return np.where(ids >= 0, self._x[:, ids], np.uint8(0))


def majority(classes: np.ndarray) -> np.ndarray:
    """The class that most labelled pixels have, uint8 []; IGNORE where there is none."""
    known = classes[classes != IGNORE]
    return np.array(np.bincount(known).argmax() if known.size else IGNORE, np.uint8)


def region(lon: float, lat: float) -> str:
    """One of nine regions: {north, tropics, south} (bounds at 30°) × {americas, europe-africa, asia-pacific}."""
    zone = "north" if lat > 30 else "south" if lat < -30 else "tropics"
    side = "americas" if lon < -30 else "europe-africa" if lon < 60 else "asia-pacific"
    return f"{zone} {side}"


def _raster_rows(shape: tuple[int, ...], side: int) -> Iterator[dict[str, Any]]:
    height, width = shape
    block = width * BLOCK_DEGREES // 360
    degrees = 360 / width
    for row, col in itertools.product(range(0, height, side), range(0, width, side)):
        lon, lat = (col + side / 2) * degrees - 180, 90 - (row + side / 2) * degrees
        parent = f"r{row // block:02d}c{col // block:02d}"
        inner = "" if side == block else f"-{row % block:03d}-{col % block:03d}"
        yield _row(parent + inner, parent, lon, lat, (row, col))


def _healpix_rows(parent_nside: int, side: int) -> Iterator[dict[str, Any]]:
    if parent_nside == 0:
        yield _row("sphere", "sphere", 0.0, 0.0, (0,))
        return
    lons, lats = HealpixGrid(parent_nside).lonlat()
    for cell, (lon, lat) in enumerate(zip(lons, lats, strict=True)):
        yield _row(f"p{cell:04d}", f"p{cell:04d}", lon, lat, (cell * side**2,))


def _row(sample_id: str, parent: str, lon: float, lat: float, place: tuple[int, ...]) -> dict[str, Any]:
    return {
        "sample_id": sample_id,
        "scene": "earth",
        "parent": parent,
        "region": region(float(lon), float(lat)),
        "place": place,
    }


def _picture(name: str) -> np.ndarray:
    resource = files("graticule.data.sources") / "earth_files" / name
    try:
        with resource.open("rb") as handle:
            return np.asarray(Image.open(handle))
    except OSError as error:
        raise SourceError(
            f"the built-in Earth file {name} is missing or damaged ({error}); install graticule again."
        ) from error
