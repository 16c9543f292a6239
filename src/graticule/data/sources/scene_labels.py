"""What is known per pixel of a scene: polygons burnt into its grid, or a raster beside it."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import rasterio.features
import shapely
from jaxtyping import Float32, UInt8

from graticule.data.sources.scene_files import SceneFiles
from graticule.data.sources.scene_rasters import Layer
from graticule.data.sources.scene_vectors import SCENE_COLUMN, Vectors, read_vectors, vector_files
from graticule.errors import SourceError, nearest
from graticule.grids import RasterGrid
from graticule.schema import IGNORE, Target

Remark = tuple[str, str, bool]
"""Which label, what is the matter, and whether it is lost."""
_RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class PolygonLabels:
    """Labels as polygons.

    Attributes:
        target: what is known; binary (inside is 1, outside 0) or classes.
        polygons: the labels.
        footprints: outside of these nothing is known; None: the whole scene has been looked at.
        attribute: the column that says the class, for classes.
        elsewhere: the label outside of all polygons; 255 where it is unknown.
    """

    target: Target
    polygons: Vectors
    footprints: Vectors | None
    attribute: str | None
    elsewhere: int

    def of_scene(self, files: SceneFiles, grid: RasterGrid) -> "SceneLabels":
        """The labels of one scene.

        Raises:
            SourceError: if labels name their scenes and none names this one, or they are of an unknown class.
        """
        names, footprint = (files.name, *files.aliases), grid.footprint()
        own = self.polygons.of_scene(names, footprint)
        extent = self.footprints.of_scene(names, footprint) if self.footprints is not None else None
        if self.polygons.names_scenes and own.empty and (extent is None or extent.empty):
            raise SourceError(
                f"{files.where} is named by no label or footprint; the column {SCENE_COLUMN} must have '{files.name}'."
            )
        beyond = own[~own.intersects(footprint)]
        if not beyond.empty:
            west, south, east, north = beyond.total_bounds
            raise SourceError(
                f"{beyond['origin'].iat[0]} names the scene '{files.name}' and lies elsewhere (longitude {west:.3f} to "
                f"{east:.3f}, latitude {south:.3f} to {north:.3f}); correct its coordinate reference system."
            )
        return SceneLabels(self, grid, own, extent, self._values(own))

    def _values(self, own: geopandas.GeoDataFrame) -> UInt8[np.ndarray, " n"]:
        if self.attribute is None:
            return np.ones(len(own), np.uint8)
        names = [entry.name for entry in self.target.legend]
        if self.attribute not in own:
            raise SourceError(f"the labels have no column '{self.attribute}'; {nearest(self.attribute, own.columns)}")
        values = np.empty(len(own), np.uint8)
        for number, (told, origin) in enumerate(zip(own[self.attribute], own["origin"], strict=True)):
            text = str(int(told)) if isinstance(told, float) and float(told).is_integer() else str(told)
            if text not in names:
                raise SourceError(f"{origin} is of class '{text}', which source.classes lacks; {nearest(text, names)}")
            values[number] = names.index(text)
        return values


@dataclass(frozen=True)
class SceneLabels:
    """The polygons of one scene, to be burnt into windows of it."""

    labels: PolygonLabels
    grid: RasterGrid
    own: geopandas.GeoDataFrame
    extent: geopandas.GeoDataFrame | None
    values: UInt8[np.ndarray, " n"]

    def read(self, row: int, col: int, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """The labels of a window: a pixel is of the last polygon that its centre lies in."""
        window = self.grid.window(row, col, height, width)
        known = np.full(window.shape, self.labels.elsewhere, np.uint8)
        _burn(known, window, self._shapes(self.own), self.values)
        if self.extent is not None:
            looked_at = np.zeros(window.shape, np.uint8)
            _burn(looked_at, window, self._shapes(self.extent), np.ones(len(self.extent), np.uint8))
            known[looked_at == 0] = IGNORE
        return known

    def table(self) -> geopandas.GeoDataFrame:
        """The polygons for the record, with their scene and class; in longitude and latitude."""
        names = [entry.name for entry in self.labels.target.legend]
        told = {"class": [names[value] for value in self.values], "origin": list(self.own["origin"])}
        return geopandas.GeoDataFrame(told, geometry=list(self.own.geometry), crs="EPSG:4326")

    def _shapes(self, table: geopandas.GeoDataFrame) -> np.ndarray:
        if table.empty:
            return np.array([], object)
        return np.asarray(table.geometry.to_crs(self.grid.crs).values)


def _burn(out: np.ndarray, grid: RasterGrid, shapes: np.ndarray, values: np.ndarray) -> None:
    """Burn polygons by the rule of the pixel's centre, in order."""
    corners = [
        grid.affine * corner for corner in ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    ]
    near = shapely.intersects(shapes, shapely.Polygon(corners)) if len(shapes) else np.array([], bool)
    pairs = [(shape, int(value)) for shape, value in zip(shapes[near], values[near], strict=True)]
    if pairs:
        rasterio.features.rasterize(pairs, out=out, transform=grid.affine)


@dataclass(frozen=True)
class RasterLabels:
    """Labels as a raster, brought onto the scene's grid by the nearest pixel.

    Attributes:
        target: what is known.
        layer: the file.
        values: number in the file -> label, for labels; others are unknown numbers.
    """

    target: Target
    layer: Layer
    values: Mapping[int, int]

    def read(
        self, grid: RasterGrid, row: int, col: int, height: int, width: int
    ) -> UInt8[np.ndarray, "height width"] | Float32[np.ndarray, "height width"]:
        """The labels of a window of a scene.

        Raises:
            SourceError: for a number that is no class.
        """
        window = grid.window(row, col, height, width)
        if not self.target.is_categorical:
            return self.layer.on(window, "bilinear")[0]
        found = self.layer.on(window, "nearest")[0]
        known = np.full(found.shape, IGNORE, np.uint8)
        for number in np.unique(found[np.isfinite(found)]):
            if number not in self.values and number != IGNORE:
                raise SourceError(
                    f"{self.layer.path} has label {number:g}; the classes are {sorted(self.values)}, and {IGNORE} or "
                    "nodata means unknown."
                )
            known[found == number] = self.values.get(int(number), IGNORE)
        return known


def label_raster(folder: str, files: SceneFiles) -> Path:
    """The file with the labels of a scene: one file for all, or that of the scene's name in a folder.

    Raises:
        SourceError: if there is none.
    """
    path = Path(folder)
    if path.is_file():
        return path
    for name in (files.name, *files.aliases):
        stem = Path(name).with_suffix("").as_posix() if name.endswith((".tif", ".tiff")) else name
        for ending in (".tif", ".tiff", "_label.tif", "_labels.tif", "_mask.tif"):
            if (path / f"{stem}{ending}").is_file():
                return path / f"{stem}{ending}"
    raise SourceError(f"{files.where} has no labels; they must be in {path / files.name}.tif.")


def find_labels(
    target: Target, places: Sequence[str], footprints: str | None, attribute: str | None, elsewhere: str | None,
    grids: Sequence[RasterGrid],
) -> "PolygonLabels | list[str] | None":  # fmt: skip
    """What the paths of labels hold: polygons, or rasters (then the paths themselves).

    Args:
        target: what is known.
        places: files or folders.
        footprints: polygons outside of which nothing is known; ImageFootprints* beside the labels if None.
        attribute: the column with the class.
        elsewhere: class outside of all polygons.
        grids: of the scenes; polygons that lie on none of them are refused.

    Raises:
        SourceError: if there are no labels, or they do not fit the target or the scenes.
    """
    if not places:
        return None
    beside = [path for place in places if Path(place).is_dir() for path in vector_files(place, "ImageFootprints*")]
    files = [path for place in places for path in vector_files(place, "TrainingLabel*", "*") if path not in beside]
    files = [path for path in files if path.suffix.lower() not in _RASTERS]
    if not files:
        if not any(_has_rasters(Path(place)) for place in places):
            raise SourceError(f"{places[0]} holds neither polygons nor rasters; give labels as source.labels.")
        return list(places)
    if not target.is_categorical:
        raise SourceError(f"{files[0]} has polygons, which tell no {target.kind}; give a raster as source.labels.")
    if target.kind == "classes" and attribute is None:
        raise SourceError("labels of classes need the column that says the class; give it as source.attribute.")
    names = [entry.name for entry in target.legend]
    if elsewhere is not None and elsewhere not in names:
        raise SourceError(f"source.elsewhere is '{elsewhere}'; it must be one of the classes {', '.join(names)}.")
    polygons = read_vectors(files)
    outlines = read_vectors(vector_files(footprints, "*") if footprints else beside)
    _check_place(polygons, files[0], grids)
    outside = names.index(elsewhere) if elsewhere is not None else 0 if target.kind == "binary" else IGNORE
    return PolygonLabels(target, polygons, outlines if len(outlines.table) else None, attribute, outside)


def outside_of_scenes(polygons: Vectors, names: Container[str], grids: Sequence[RasterGrid]) -> list[Remark]:
    """Polygons that belong to no scene: they name one that is not there, or lie on none."""
    if polygons.names_scenes:
        told = Counter(polygons.table[SCENE_COLUMN].astype(str))
        return [
            (f"labels of '{name}'", f"{count} of a scene that is not there", True)
            for name, count in told.items()
            if name not in names
        ]
    everywhere = shapely.union_all([grid.footprint() for grid in grids])
    beyond = polygons.table["origin"][~polygons.table.intersects(everywhere)]
    return [(origin, "lies outside of every scene that can be read", True) for origin in beyond]


def listed(value: str | Sequence[str] | None) -> list[str]:
    """One text or several as a list."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _check_place(polygons: Vectors, file: Path, grids: Sequence[RasterGrid]) -> None:
    """Refuse labels that all lie elsewhere: then their CRS is wrong."""
    everywhere = shapely.union_all([grid.footprint() for grid in grids])
    if polygons.table.empty or polygons.table.intersects(everywhere).any():
        return
    if everywhere.is_empty:
        raise SourceError("scenes that are read as plain images have no place for polygons; give labels as rasters.")
    labels, scenes = (
        f"longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}"
        for west, south, east, north in (polygons.table.total_bounds, everywhere.bounds)
    )
    raise SourceError(
        f"no label of {file} lies on a scene (labels: {labels}; scenes: {scenes}); correct the labels' coordinate "
        "reference system, or give other labels."
    )


def _has_rasters(place: Path) -> bool:
    return any(path.suffix.lower() in _RASTERS for path in ([place] if place.is_file() else place.rglob("*")))
