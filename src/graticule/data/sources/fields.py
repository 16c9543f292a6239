"""Fields and their boundaries: a stack of dates for each site, and outlines as polygons.

```
root/site_a/20200115.tif  20200402.tif ...     every date of a site on one grid, or one file with all of them
root/site_b/...
fields.gpkg                                     one polygon for each field
```
"""

from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import rasterio.features
import shapely
from jaxtyping import UInt8

from graticule.data.sources.rasters import file_bands
from graticule.data.sources.scene_files import SceneFiles
from graticule.data.sources.scene_labels import PolygonLabels, SceneLabels
from graticule.data.sources.scenes import Kind, ScenesSource
from graticule.errors import ConfigError, GraticuleError, SourceError
from graticule.grids import RasterGrid
from graticule.schema import IGNORE, LegendClass, Target

LEGEND = (
    LegendClass(0, "background", "#444444"),
    LegendClass(1, "field", "#66a61e"),
    LegendClass(2, "boundary", "#e6ab02"),
)
_MASKS = ("udm", "_mask", "_scl")


class FieldsSource(ScenesSource):
    """Sites with several dates each, labelled background, field or boundary: windows as of source `scenes`.

    The bands of a date are named after its number: d1_red, d1_nir, d2_red ... All sites have the same number of dates.

    Args:
        root: folder with a folder of GeoTIFFs for each site; one GeoTIFF may hold the whole stack.
        fields: polygons of the fields: a file, or a folder of them. A column image_id may name the site.
        dates: take so many dates of each site, the first ones; as many as the first site has if null.
        boundary: width in metres of the band along outlines that is of class boundary; that of two pixels if null.
        footprints: polygons outside of which nothing is known.
        target: name of the target.
        window: side of the windows in pixels.
        overlap: pixels that neighbouring windows share at least.
        min_valid: least share of a window that must be labelled.

    Raises:
        SourceError: if nothing can be read at all; of single sites when they are prepared.
    """

    name = "fields"

    def __init__(
        self, root: str, fields: str, dates: int | None = None, boundary: float | None = None,
        footprints: str | None = None, target: str = "fields", window: int = 256, overlap: int = 0,
        min_valid: float = 0.1,
    ) -> None:  # fmt: skip
        if (dates is not None and dates < 1) or (boundary is not None and boundary <= 0):
            raise ConfigError(
                f"source.dates is {dates} and source.boundary {boundary}; give 1 or more, above 0, or null."
            )
        self.dates = dates
        super().__init__(
            root, labels=fields, footprints=footprints, target=target, window=window, overlap=overlap,
            min_valid=min_valid,
        )  # fmt: skip
        self._options = {
            "root": root, "fields": fields, "dates": dates, "boundary": boundary, "footprints": footprints,
            "target": target, "window": window, "overlap": overlap, "min_valid": min_valid,
        }  # fmt: skip
        self.targets = (Target(target, "classes", LEGEND),)
        if not isinstance(self._labels, PolygonLabels):
            raise SourceError(f"{fields} holds no polygons; give the outlines of fields as source.fields.")
        outlines = self._labels
        self._labels = FieldLabels(
            self.targets[0], outlines.polygons, outlines.footprints, None, outlines.elsewhere, boundary
        )

    def _find(self, kind: Kind) -> dict[str, SceneFiles]:
        """One scene for each site; its bands are those of all dates."""
        root = Path(self.roots[0])
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        found: dict[str, SceneFiles] = {}
        for folder in folders:
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff"))
            paths = [path for path in paths if not any(word in path.stem.lower() for word in _MASKS)]
            if paths:
                found[folder.name] = self._site(folder, paths)
        if not found:
            raise SourceError(
                f"{root} has no folder with GeoTIFFs; give the folder of the sites' folders as source.root."
            )
        return found

    def _site(self, folder: Path, paths: list[Path]) -> SceneFiles:
        self.dates = len(paths) if self.dates is None else self.dates
        bands: dict[str, tuple[str, int]] = {}
        fault: GraticuleError | None = None
        if len(paths) < self.dates:
            fault = SourceError(
                f"{folder} has {len(paths)} dates and must have {self.dates}; add what is missing, or set source.dates."
            )
        for date, path in enumerate(paths[: self.dates], 1):
            try:
                names = [band.name for band in file_bands(path)]
            except SourceError as error:
                fault = error
                continue
            bands |= {f"d{date}_{name}": (str(path), number) for number, name in enumerate(names, 1)}
        return SceneFiles(folder.name, str(folder), bands, fault=fault)


@dataclass(frozen=True)
class FieldLabels(PolygonLabels):
    """Outlines of fields.

    Attributes:
        boundary: width in metres of the class boundary; two pixels if None.
    """

    boundary: float | None = None

    def of_scene(self, files: SceneFiles, grid: RasterGrid) -> "FieldsOfScene":
        """The fields of one site; a site without any is background."""
        told = super().of_scene(files, grid)
        return FieldsOfScene(self, grid, told.own, told.extent, told.values)


@dataclass(frozen=True)
class FieldsOfScene(SceneLabels):
    """The fields of one site, to be burnt into windows of it."""

    def read(self, row: int, col: int, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """1 inside of fields, 2 along their outlines, 0 elsewhere; 255 where nobody has looked."""
        known = super().read(row, col, height, width)
        window = self.grid.window(row, col, height, width)
        labels = self.labels
        assert isinstance(labels, FieldLabels)
        side = abs(self.grid.transform[4])
        across = 2 * side if labels.boundary is None else labels.boundary
        outlines = self._outlines(across / 2, window)
        if len(outlines):
            edge = rasterio.features.rasterize([(one, 1) for one in outlines], window.shape, transform=window.affine)
            known[(edge == 1) & (known != IGNORE)] = 2
        return known

    def _outlines(self, reach: float, window: RasterGrid) -> np.ndarray:
        """What lies within `reach` of the outlines, near the window, in its coordinates."""
        if self.own.empty:
            return np.array([], object)
        lines = geopandas.GeoSeries(self.own.geometry.to_crs(self.grid.crs).boundary)
        corners = [window.affine * corner for corner in ((0, 0), (window.width, 0), (window.width, window.height),
                                                          (0, window.height))]  # fmt: skip
        near = lines[lines.intersects(shapely.Polygon(corners).buffer(2 * reach))]
        return np.asarray(near.buffer(reach).values)
