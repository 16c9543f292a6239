"""Vectors beside scenes: labels, footprints and regions, from any format that GDAL or GeoParquet knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import geopandas
import numpy as np
import pandas
import shapely

from graticule.errors import SourceError

_VECTOR = (".gpkg", ".geojson", ".json", ".parquet", ".geoparquet", ".shp", ".fgb")
_PARQUET = (".parquet", ".geoparquet")
SCENE_COLUMN = "image_id"
"""The column that names the scene of a label or footprint, where there is one."""


@dataclass
class Vectors:
    """Geometries in longitude and latitude, with what was found while reading them.

    Attributes:
        table: one row per geometry: `geometry`, `origin` (file and number), and the columns of the files.
        left_out: (which, why) of geometries that cannot be used.
        repaired: which ones were repaired, and how.
    """

    table: geopandas.GeoDataFrame
    left_out: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names_scenes(self) -> bool:
        """Whether geometries say which scene they belong to."""
        return SCENE_COLUMN in self.table and bool(self.table[SCENE_COLUMN].notna().all()) and len(self.table) > 0

    def of_scene(self, names: Sequence[str], footprint: shapely.Geometry) -> geopandas.GeoDataFrame:
        """The geometries of one scene: those that name it, or those that touch its footprint if none name scenes."""
        if self.names_scenes:
            return self.table[self.table[SCENE_COLUMN].astype(str).isin(names)]
        return self.table[self.table.intersects(footprint)]


def vector_files(place: str, *patterns: str) -> list[Path]:
    """The vector files at a path: itself, or in a folder and below those of the first pattern that fits any."""
    path = Path(place)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(f"{place} does not exist; give a vector file, or a folder of them.")
    for pattern in patterns:
        found = sorted(file for file in path.rglob(pattern) if file.suffix.lower() in _VECTOR)
        if found:
            return found
    return []


def read_vectors(files: Sequence[Path], areas: bool = True) -> Vectors:
    """Read vector files into longitude and latitude.

    Polygons that cross themselves are repaired, which is told; geometries without an area are left out, which is told.

    Raises:
        SourceError: if a file is damaged or has no CRS.
    """
    tables, left_out, repaired = [], [], []
    for file in files:
        table = _read(file).reset_index(drop=True)
        table["origin"] = [f"{file.name}, feature {number}" for number in range(1, len(table) + 1)]
        empty = table.geometry.isna() | table.geometry.is_empty
        invalid = ~empty & ~table.geometry.is_valid
        if invalid.any():
            reasons = shapely.is_valid_reason(table.geometry[invalid].values)
            repaired += [
                (origin, reason.split("[")[0].lower())
                for origin, reason in zip(table["origin"][invalid], reasons, strict=True)
            ]
            table.loc[invalid, "geometry"] = shapely.make_valid(table.geometry[invalid].values)
        if areas:
            flat = ~empty & (shapely.area(table.geometry.values) == 0)
            empty |= flat
        left_out += [(origin, "the geometry has no area") for origin in table["origin"][empty]]
        tables.append(table[~empty])
    if not tables:
        return Vectors(geopandas.GeoDataFrame({"origin": []}, geometry=[], crs="EPSG:4326"))
    together = pandas.concat(tables, ignore_index=True)
    return Vectors(geopandas.GeoDataFrame(together, geometry="geometry", crs="EPSG:4326"), left_out, repaired)


def region_of(regions: Vectors | None, column: str | None, footprint: shapely.Geometry) -> str:
    """The name of the first region that a footprint touches; "No Region" where none does, "all" without regions."""
    if regions is None:
        return "all"
    touching = np.flatnonzero(regions.table.intersects(footprint).to_numpy())
    if not len(touching) or column is None:
        return "No Region"
    return str(regions.table[column].iat[touching[0]])


def _read(file: Path) -> geopandas.GeoDataFrame:
    try:
        read = geopandas.read_parquet if file.suffix.lower() in _PARQUET else geopandas.read_file
        table = read(file)
    except Exception as error:  # GDAL, Arrow and pandas each have their own kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{file} cannot be read as vectors ({reason}); give a whole file.") from error
    if not isinstance(table, geopandas.GeoDataFrame) or table.geometry is None:
        raise SourceError(f"{file} has no geometries; give a file of polygons.")
    if table.crs is None:
        raise SourceError(
            f"{file} has no coordinate reference system (CRS), so its shapes lie nowhere; assign the right one first, "
            "for example with `ogr2ogr -a_srs EPSG:32633 OUT IN`."
        )
    if table.geometry.name != "geometry":
        table = table.rename_geometry("geometry")
    return table.to_crs("EPSG:4326")
