"""Georeferenced rasters: an affine transform in a coordinate reference system."""

from __future__ import annotations

import dataclasses
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from graticule.errors import GridError
from graticule.grids.sphere import band_areas, outline, quad_areas, unit_vectors, within_world, wrap_longitude
from graticule.grids.stencil import bilinear_stencil

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

_NO_CRS = (
    "{what} has no coordinate reference system (CRS), so its pixels lie nowhere; "
    "assign one first, for example with `rio edit-info --crs EPSG:32719 {file}`."
)
_LOCAL = (
    'ENGCRS["plane of unknown place",EDATUM["unknown"],CS[Cartesian,2],AXIS["easting",east,ORDER[1]],'
    'AXIS["northing",north,ORDER[2]],LENGTHUNIT["metre",1]]'
)
_EARTH_METRES = 6_371_008.8
"""Mean radius of the Earth: (2 a + b) / 3 of WGS 84."""
_POLE = 90.0 - 1e-10
"""A point on a pole is moved by a hundredth of a millimetre, so that it falls into the row that ends there."""


@lru_cache(maxsize=256)
def _canonical(crs: str) -> str:
    """The EPSG code where that says everything, else WKT, so that equal systems compare equal."""
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        raise GridError(f"{crs!r} is not a coordinate reference system; give one such as EPSG:4326.") from error
    code = parsed.to_epsg()
    return f"EPSG:{code}" if code and CRS.from_epsg(code) == parsed else parsed.to_wkt()


@lru_cache(maxsize=256)
def _transformer(crs: str) -> Transformer:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


@lru_cache(maxsize=256)
def _is_lonlat(crs: str) -> bool:
    """Whether coordinates of `crs` are WGS 84 degrees already (or equal to them), found by trying some points."""
    if not CRS.from_user_input(crs).is_geographic:
        return False
    lon, lat = np.meshgrid([-130.0, -50.0, 10.0, 70.0, 140.0], [-60.0, -20.0, 30.0, 70.0])
    there = _transformer(crs).transform(lon, lat)
    return np.allclose(there[0], lon, rtol=0, atol=1e-9) and np.allclose(there[1], lat, rtol=0, atol=1e-9)


@lru_cache(maxsize=256)
def _local_metres(crs: str) -> float | None:
    """Metres of one unit of a plane whose place on the Earth is not known (an engineering CRS); else None."""
    parsed = CRS.from_user_input(crs)
    return float(parsed.axis_info[0].unit_conversion_factor) if parsed.is_engineering else None


@dataclasses.dataclass(frozen=True, repr=False)
class RasterGrid:
    """A raster of `height` x `width` pixels.

    In an engineering CRS (a local plane, see `local`) pixels have sizes but no place: positions are NaN, areas are
    those of the plane on the mean sphere, and no point of the Earth falls in.

    Attributes:
        height: rows.
        width: columns.
        transform: (a, b, c, d, e, f), with x = a·column + b·row + c and y = d·column + e·row + f at pixel corners.
        crs: the coordinate reference system, as "EPSG:4326" or WKT. An EPSG code is kept as such.

    Raises:
        GridError: without a CRS, without pixels, or with a transform that cannot be inverted.
    """

    height: int
    width: int
    transform: tuple[float | int, ...]
    crs: str

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise GridError(f"a raster of {self.height} x {self.width} pixels is empty; it needs at least one pixel.")
        if not self.crs or not str(self.crs).strip():
            raise GridError(_NO_CRS.format(what="the raster", file="FILE"))
        transform = tuple(float(value) for value in self.transform)
        if len(transform) != 6 or not np.isfinite(transform).all() or Affine(*transform).determinant == 0:
            raise GridError(
                f"{transform} is not an invertible affine transform; it must be six numbers a, b, c, d, e, f."
            )
        object.__setattr__(self, "height", int(self.height))
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "transform", transform)
        object.__setattr__(self, "crs", _canonical(str(self.crs)))

    @classmethod
    def of_dataset(cls, dataset: DatasetReader) -> RasterGrid:
        """The grid of an open rasterio data set.

        Raises:
            GridError: if it has no CRS; the text names the file.
        """
        if dataset.crs is None:
            raise GridError(_NO_CRS.format(what=dataset.name, file=dataset.name))
        return cls(dataset.height, dataset.width, tuple(dataset.transform)[:6], dataset.crs.to_wkt())

    @classmethod
    def global_(cls, degrees: float) -> RasterGrid:
        """The whole sphere in plate carrée: row 0 ends at 90°N, column 0 starts at 180°W.

        Raises:
            GridError: if 180° are not a whole number of pixels of `degrees`.
        """
        rows = round(180.0 / degrees) if 0 < degrees <= 180 else 0
        if rows < 1 or abs(rows * degrees - 180.0) > 1e-6:
            raise GridError(f"pixels of {degrees:g}° do not divide the sphere; 180 must be a multiple, such as 0.1deg.")
        step = 180.0 / rows
        return cls(rows, 2 * rows, (step, 0.0, -180.0, 0.0, -step, 90.0), "EPSG:4326")

    @classmethod
    def local(cls, height: int, width: int, metres: float) -> RasterGrid:
        """A raster that says how large its pixels are and not where they lie: published without a georeference."""
        return cls(height, width, (metres, 0.0, 0.0, 0.0, -metres, metres * height), _LOCAL)

    def __repr__(self) -> str:
        crs = self.crs if self.crs.startswith("EPSG:") else repr(CRS.from_user_input(self.crs).name)
        return f"RasterGrid({self.height} x {self.width}, {', '.join(f'{v:g}' for v in self.transform)}, {crs})"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """The number of pixels."""
        return self.height * self.width

    @property
    def affine(self) -> Affine:
        """The transform as the `affine` package has it, for rasterio."""
        return Affine(*self.transform)

    @property
    def geobox(self) -> GeoBox:
        """The same grid as odc-geo has it."""
        from odc.geo.geobox import GeoBox

        return GeoBox(self.shape, self.affine, self.crs)

    @property
    def is_local(self) -> bool:
        """Whether the raster lies in a plane whose place on the Earth is not known."""
        return _local_metres(self.crs) is not None

    @cached_property
    def is_plate(self) -> bool:
        """Whether rows are parallels and columns meridians, so that one row and one column say everything."""
        _, b, _, d, _, _ = self.transform
        return b == 0.0 and d == 0.0 and _is_lonlat(self.crs)

    @cached_property
    def wraps(self) -> bool:
        """Whether the last column borders the first, 360° on."""
        step = abs(self.transform[0])
        return self.is_plate and abs(self.width * step - 360.0) < 1e-3 * step

    def window(self, row: int, column: int, height: int, width: int) -> RasterGrid:
        """The grid of `height` x `width` pixels from (row, column), which may start or reach outside this one."""
        (a, b, _, d, e, _), (x, y) = self.transform, self._xy(column, row)
        return RasterGrid(height, width, (a, b, x, d, e, y), self.crs)

    def _xy(self, column: Any, row: Any) -> tuple[Any, Any]:
        """Coordinates in the CRS of a pixel position (the outer corner of pixel (0, 0) is (0, 0))."""
        a, b, c, d, e, f = self.transform
        return a * column + b * row + c, d * column + e * row + f

    def _axes(self) -> tuple[Float64[np.ndarray, " width"], Float64[np.ndarray, " height"]]:
        """Longitudes of the columns and latitudes of the rows of a plate carrée; NaN beyond the poles."""
        a, _, c, _, e, f = self.transform
        lat = f + e * (np.arange(self.height) + 0.5)
        return wrap_longitude(c + a * (np.arange(self.width) + 0.5)), np.where(np.abs(lat) <= 90.0, lat, np.nan)

    def _positions(self, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longitude (of any turn) and latitude at pixel positions; NaN where there are none."""
        x, y = self._xy(column, row)
        if self.is_local:
            return np.full(np.shape(x), np.nan), np.full(np.shape(y), np.nan)
        lon, lat = (x, y) if self.is_plate else map(np.asarray, _transformer(self.crs).transform(x, y))
        nowhere = ~(np.isfinite(lon) & (np.abs(lat) <= 90.0))
        if nowhere.any():
            lon, lat = np.where(nowhere, np.nan, lon), np.where(nowhere, np.nan, lat)
        return lon, lat

    def _mesh(self, offset: float, extra: int) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude at (column + offset, row + offset), with `extra` more rows and columns."""
        column, row = np.meshgrid(np.arange(self.width + extra) + offset, np.arange(self.height + extra) + offset)
        lon, lat = self._positions(column, row)
        return wrap_longitude(lon), lat

    def lonlat(self) -> tuple[Float64[np.ndarray, "height width"], Float64[np.ndarray, "height width"]]:
        """Longitude in [-180, 180) and latitude of the pixel centres, in degrees (read-only for a plate carrée)."""
        if not self.is_plate:
            return self._mesh(0.5, 0)
        lon, lat = self._axes()
        return np.broadcast_to(lon, self.shape), np.broadcast_to(lat[:, None], self.shape)

    def directions(self) -> Float64[np.ndarray, "height width 3"]:
        """Unit vectors to the pixel centres."""
        return unit_vectors(*self.lonlat())

    def areas(self) -> Float64[np.ndarray, "height width"]:
        """Steradians of the pixels: exact for a plate carrée, else of the great-circle quadrilateral of the corners."""
        if (metres := _local_metres(self.crs)) is not None:
            a, b, _, d, e, _ = self.transform
            return np.broadcast_to(abs(a * e - b * d) * (metres / _EARTH_METRES) ** 2, self.shape)
        if not self.is_plate:
            return quad_areas(unit_vectors(*self._mesh(0.0, 1)))
        a, _, _, _, e, f = self.transform
        edges = f + e * np.arange(self.height + 1, dtype=np.float64)
        return np.broadcast_to(band_areas(edges, a)[:, None], self.shape)

    def _pixel_coordinates(self, lon: ArrayLike, lat: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Fractional column and row (pixel 0 from 0 to 1) of points; NaN for points that have none."""
        lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        if self.is_local:
            return np.full(lon.shape, np.nan), np.full(lat.shape, np.nan)
        lat = np.where(np.abs(lat) <= 90.0, np.clip(lat, -_POLE, _POLE), np.nan)
        if not _is_lonlat(self.crs):
            x, y = _transformer(self.crs).transform(lon, lat, direction="INVERSE")
            x, y = np.where(np.isfinite(x), x, np.nan), np.where(np.isfinite(y), y, np.nan)
        elif self.is_plate:
            west = min(self.transform[2], self.transform[2] + self.transform[0] * self.width)
            x, y = west + (lon - west) % 360.0, lat
        else:
            x, y = lon, lat
        a, b, c, d, e, f = self.transform
        x, y, scale = x - c, y - f, a * e - b * d
        return np.asarray((e * x - b * y) / scale), np.asarray((a * y - d * x) / scale)

    def locate(self, lon: ArrayLike, lat: ArrayLike) -> Int64[np.ndarray, "*points"]:
        """Flat index (row-major) of the pixel in which each point lies, -1 outside. Any turn of longitude will do."""
        column, row = self._pixel_coordinates(lon, lat)
        with np.errstate(invalid="ignore"):
            column = np.floor(column)
            row = np.floor(row)
            if self.wraps:
                column = column % self.width
            inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        flat = np.where(inside, row, 0).astype(np.int64) * self.width + np.where(inside, column, 0).astype(np.int64)
        return np.where(inside, flat, -1)

    def neighbours_weights(
        self, lon: ArrayLike, lat: ArrayLike
    ) -> tuple[Int64[np.ndarray, "*points 4"], Float64[np.ndarray, "*points 4"]]:
        """The four pixel centres round each point and their bilinear weights; over the antimeridian and the poles too.

        At other edges the weights of the pixels that exist are raised to add to 1.
        """
        column, row = self._pixel_coordinates(lon, lat)
        outside = self.locate(lon, lat) < 0
        return bilinear_stencil(column, row, outside, self._flat_index)

    def _flat_index(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Flat indices; -1 outside. On the whole sphere, columns wrap and rows go on behind the poles."""
        if self.wraps:
            top, bottom = self.transform[5], self.transform[5] + self.transform[4] * self.height
            polar = ((rows < 0) & (abs(abs(top) - 90.0) < 1e-9)) | (
                (rows >= self.height) & (abs(abs(bottom) - 90.0) < 1e-9)
            )
            if self.width % 2 == 0:
                columns = np.where(polar, columns + self.width // 2, columns)
            columns = columns % self.width
            rows = np.where(polar, np.clip(rows, 0, self.height - 1), rows)
        inside = (rows >= 0) & (rows < self.height) & (columns >= 0) & (columns < self.width)
        return np.where(inside, rows * self.width + columns, -1)

    def samples(
        self, per_side: int, pixels: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"]]:
        """Longitude, latitude and share of the pixel's area of the `per_side²` equal parts of some pixels."""
        row, column = np.divmod(pixels, self.width)
        offsets = (np.arange(per_side) + 0.5) / per_side
        rows, columns = np.broadcast_arrays(
            (row[:, None] + offsets)[:, :, None], (column[:, None] + offsets)[:, None, :]
        )
        lon, lat = (axis.reshape(len(pixels), -1) for axis in self._positions(columns, rows))
        if per_side == 1 or not self.is_plate:
            return lon, lat, np.full(lon.shape, 1.0 / per_side**2)
        _, _, _, _, e, f = self.transform
        edges = f + e * (row[:, None] + np.arange(per_side + 1) / per_side)
        bands = band_areas(edges, 1.0)
        total = bands.sum(axis=1, keepdims=True) * per_side
        return lon, lat, np.repeat(np.divide(bands, total, out=np.zeros_like(bands), where=total > 0), per_side, axis=1)

    def footprint(self) -> BaseGeometry:
        """The outline in longitude and latitude (16 points a side), cut at the antimeridian; empty without a place."""
        if self.is_local:
            return shapely.Polygon()
        if self.is_plate:
            (west, north), (east, south) = self._xy(0, 0), self._xy(self.width, self.height)
            if abs(east - west) >= 360.0 - 1e-9:
                west, east = -180.0, 180.0
            return within_world(shapely.box(min(west, east), min(south, north), max(west, east), max(south, north)))
        t = np.arange(16) / 16
        column = np.concatenate([t, np.ones(16), 1 - t, np.zeros(16)]) * self.width
        row = np.concatenate([np.zeros(16), t, np.ones(16), 1 - t]) * self.height
        lon, lat = (np.asarray(v) for v in _transformer(self.crs).transform(*self._xy(column, row)))
        seen = np.isfinite(lon) & np.isfinite(lat)
        return outline(lon[seen], lat[seen]) if seen.sum() >= 3 else shapely.Polygon()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `grid_from_dict` is the inverse."""
        return {
            "kind": "raster", "height": self.height, "width": self.width,
            "transform": list(self.transform), "crs": self.crs,
        }  # fmt: skip
