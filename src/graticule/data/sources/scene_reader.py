"""A whole scene, read window by window: bands of its files, and bands that are computed from them and from heights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from graticule.data.features.bands import band_of
from graticule.data.features.indices import index_bands, spectral_index
from graticule.data.features.terrain import aspect, curvature, hillshade, relative_elevation, slope
from graticule.data.missing import nodata_of, seen_pixels
from graticule.data.sources.rasters import open_raster
from graticule.data.sources.scene_files import SceneFiles
from graticule.data.sources.scene_rasters import Layer, grid_of, read_quality, read_window
from graticule.errors import SourceError
from graticule.grids import RasterGrid
from graticule.grids.ground import pixel_size, true_north
from graticule.schema import Band

TERRAIN = ("dem", "relative_elevation", "slope", "aspect_sin", "aspect_cos", "hillshade", "curvature")
"""Bands that are computed from heights."""
TREND = ("tc_brightness", "tc_greenness", "tc_wetness")
"""Bands of the raster of Tasseled-Cap trends, in this order."""
_SUN = (225.0, 25.0)
"""Azimuth and elevation of the sun where a scene does not tell them."""


@dataclass(frozen=True)
class Surroundings:
    """What scenes are read with, beside their own files.

    Attributes:
        heights: raster of heights in metres.
        trend: raster of Tasseled-Cap trends.
        radius: (outer, inner) radius of the surroundings of `relative_elevation`, in metres.
        scale: of the stored numbers of optical bands, over that of the files; None keeps the files'.
        offset: likewise.
        crs: of files that have none.
    """

    heights: Layer | None = None
    trend: Layer | None = None
    radius: tuple[float, float] = (100.0, 0.0)
    scale: float | None = None
    offset: float | None = None
    crs: str | None = None


@dataclass(frozen=True)
class Plan:
    """What every scene of a store has alike: its bands, in order, and the type of `x`.

    Integers are kept as the sensor gave them where all bands are such; else values are physical, NaN where unknown.
    """

    bands: tuple[Band, ...]
    dtype: np.dtype[Any]

    @property
    def is_raw(self) -> bool:
        """Whether numbers are stored as they are in the files."""
        return self.dtype.kind in "iu"


def make_plan(files: SceneFiles, wanted: Sequence[str], around: Surroundings) -> Plan:
    """The plan that a scene, the first one, gives for all.

    Raises:
        SourceError: if it lacks a band, or a file is damaged.
    """
    own = {name: files.bands[name] for name in wanted if name in files.bands}
    kinds, bands = [], []
    for name in wanted:
        band = known_band(name)
        if name in own:
            dtype, scale, offset, nodata = _coding(own[name], around)
            kinds.append(dtype)
            band = replace(band, scale=scale, offset=offset, nodata=nodata)
        bands.append(band)
    # Where a mask may take pixels away, integers need a number that says so.
    can_miss = files.quality is None or all(band.nodata is not None for band in bands)
    if len(own) == len(wanted) and len(set(kinds)) == 1 and kinds[0].kind in "iu" and can_miss:
        return Plan(tuple(bands), kinds[0])
    plain = tuple(replace(band, scale=1.0, offset=0.0, nodata=None) for band in bands)
    return Plan(plain, np.dtype(np.float32))


def known_band(name: str) -> Band:
    """The band of a known name, else an optical one without a valid range."""
    try:
        return band_of(name)
    except SourceError:
        return Band(name)


class SceneReader:
    """Reads windows of one scene; a `RasterScene` with quality.

    Args:
        files: of the scene.
        plan: its bands and type.
        around: heights, trends and how numbers are meant.

    Raises:
        SourceError: if the scene lacks a band or a file is damaged; the text names it.
    """

    def __init__(self, files: SceneFiles, plan: Plan, around: Surroundings) -> None:
        if files.fault:
            raise files.fault
        self.files, self.plan, self.around, self.bands = files, plan, around, plan.bands
        self._sources = {band.name: self._needed(band.name) for band in plan.bands}
        needed = sorted({name for names in self._sources.values() for name in names})
        if not needed:
            needed = list(files.bands)[:1]
        self._grids = {name: grid_of(files.bands[name][0], around.crs) for name in needed}
        self.grid: RasterGrid = min(self._grids.values(), key=_pixel_area)
        self._codes = {name: _coding(files.bands[name], around) for name in needed}
        if plan.is_raw:
            self._check_codes()

    def read(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[Shaped[np.ndarray, "bands height width"], Bool[np.ndarray, "height width"]]:
        """The window at (row, col): x, and where every band has a value. Without one, x is NaN or the band's nodata."""
        x = self.strip(row, col, height, width)[0]
        return x, seen_pixels(x, self.bands)

    def quality(self, row: int, col: int, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """0 where there is no picture, 1 where it is bad (cloud, shadow, snow), 2 where it is good; outside 0."""
        name = next(iter(self._grids))
        _, valid = self._stored(name, row, col, height, width)
        return self._worth(row, col, height, width, valid)

    def strip(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[Shaped[np.ndarray, "bands height width"], UInt8[np.ndarray, "height width"]]:
        """The window's x without values where there are none, and its quality."""
        window = (row, col, height, width)
        stored = {name: self._stored(name, *window) for name in self._grids}
        anywhere = np.logical_or.reduce([valid for _, valid in stored.values()])
        worth = self._worth(*window, anywhere)
        for _, valid in stored.values():
            valid &= worth > 0
        if self.plan.is_raw:
            return self._raw(stored), worth
        physical = {name: self._physical(name, *stored[name]) for name in stored}
        x = np.full((len(self.bands), height, width), np.nan, np.float32)
        terrain = self._terrain(*window)
        for out, band in zip(x, self.bands, strict=True):
            values = terrain.get(band.name)
            if values is None:
                values = physical[band.name] if band.name in physical else spectral_index(band.name, physical)
            out[...] = np.where(worth > 0, values, np.nan)
        return x, worth

    def _needed(self, name: str) -> tuple[str, ...]:
        """The bands of the files that a band is made of."""
        if name in self.files.bands:
            return (name,)
        if name in TERRAIN or name in TREND:
            layer, option = (self.around.heights, "heights") if name in TERRAIN else (self.around.trend, "trend")
            if layer is None:
                raise SourceError(f"band '{name}' needs a raster; give it as source.{option}.")
            return ()
        needed = index_bands(name)
        missing = sorted(set(needed or (name,)) - set(self.files.bands))
        if missing:
            told = f"'{missing[0]}'" + (f" (for {name})" if needed else "")
            raise SourceError(f"{self.files.where} has no band {told}; it has {', '.join(self.files.bands)}.")
        return tuple(needed)

    def _check_codes(self) -> None:
        for band in self.bands:
            dtype, scale, offset, _ = self._codes[band.name]
            if (dtype, scale, offset) != (self.plan.dtype, band.scale, band.offset):
                raise SourceError(
                    f"{self.files.where} stores '{band.name}' as {dtype} times {scale:g} plus {offset:g}, other scenes "
                    f"as {self.plan.dtype} times {band.scale:g} plus {band.offset:g}; prepare them apart."
                )

    def _stored(
        self, name: str, row: int, col: int, height: int, width: int
    ) -> tuple[Shaped[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
        """The numbers of one band of the files on the scene's grid, and where there are any."""
        path, number = self.files.bands[name]
        dtype, _, _, nodata = self._codes[name]
        if self._grids[name] == self.grid:
            values, valid = (found[0] for found in read_window(path, [number], row, col, height, width))
        else:
            layer = Layer(path, self._grids[name], (number,))
            found = layer.on(self.grid.window(row, col, height, width))[0]
            valid = np.isfinite(found)
            found = np.rint(np.nan_to_num(found)) if dtype.kind in "iu" else found
            values = found.astype(dtype)
        if nodata is not None:
            valid &= values != nodata
        return values, valid

    def _physical(self, name: str, values: np.ndarray, valid: np.ndarray) -> Float32[np.ndarray, "h w"]:
        _, scale, offset, _ = self._codes[name]
        found = values.astype(np.float32) * np.float32(scale) + np.float32(offset)
        found[~valid] = np.nan
        return found

    def _raw(self, stored: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        x = np.empty((len(self.bands), *next(iter(stored.values()))[0].shape), self.plan.dtype)
        for out, band in zip(x, self.bands, strict=True):
            values, valid = stored[band.name]
            nodata = nodata_of(band, self.plan.dtype)
            out[...] = values if nodata is None else np.where(valid, values, nodata)
        return x

    def _worth(self, row: int, col: int, height: int, width: int, anywhere: np.ndarray) -> UInt8[np.ndarray, "h w"]:
        if self.files.quality is None:
            return np.where(anywhere, 2, 0).astype(np.uint8)
        kind, path = self.files.quality
        worth = read_quality(kind, path, self.grid, row, col, height, width, self.around.crs)
        worth[~anywhere] = 0
        return worth

    def _terrain(self, row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        """The wanted bands of heights and trends: computed on a wider window, so that there are no seams."""
        names = [band.name for band in self.bands if self._sources[band.name] == ()]
        made: dict[str, np.ndarray] = {}
        trend, heights = self.around.trend, self.around.heights
        if trend is not None and set(names) & set(TREND):
            made |= dict(zip(TREND, trend.on(self.grid.window(row, col, height, width)), strict=True))
        if heights is None or not set(names) & set(TERRAIN):
            return made
        outer, inner = self.around.radius
        metres = min(float(np.abs(size).min()) for size in pixel_size(self.grid.window(row, col, 1, 1)))
        halo = int(np.ceil(outer / metres)) + 2 if "relative_elevation" in names else 2
        wide = self.grid.window(row - halo, col - halo, height + 2 * halo, width + 2 * halo)
        dem = heights.on(wide)[0]
        size, north = pixel_size(wide), true_north(wide)
        if "relative_elevation" in names:
            made["relative_elevation"] = relative_elevation(dem, size, outer, inner)
        if {"aspect_sin", "aspect_cos"} & set(names):
            made["aspect_sin"], made["aspect_cos"] = aspect(dem, size, north)
        if "hillshade" in names:
            made["hillshade"] = hillshade(dem, size, north, *(self.files.sun or _SUN))
        made |= {name: make(dem, size) for name, make in _PLAIN.items() if name in names}
        made["dem"] = dem
        inside = np.s_[halo : halo + height, halo : halo + width]
        return {name: values[inside] if values.shape == dem.shape else values for name, values in made.items()}


_PLAIN = {"slope": slope, "curvature": curvature}


def _pixel_area(grid: RasterGrid) -> float:
    a, b, _, d, e, _ = grid.transform
    return abs(a * e - b * d)


def _coding(place: tuple[str, int], around: Surroundings) -> tuple[np.dtype[Any], float, float, float | None]:
    """Type, scale, offset and nodata of one band of a file."""
    path, number = place
    with open_raster(Path(path)) as dataset:
        dtype = np.dtype(dataset.dtypes[number - 1])
        scale, offset = float(dataset.scales[number - 1]), float(dataset.offsets[number - 1])
        nodata = dataset.nodatavals[number - 1]
    if (scale, offset) == (1.0, 0.0) and dtype.kind in "iu":
        scale = scale if around.scale is None else around.scale
        offset = offset if around.offset is None else around.offset
        if around.scale is not None and nodata is None:
            nodata = 0.0  # reflectance in whole numbers: 0 is what sensors write outside of the picture
    return dtype, scale, offset, None if nodata is None else float(nodata)
