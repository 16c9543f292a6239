"""Scenes of Sentinel-2, PLANET and anyone's GeoTIFFs with masks, labels and heights, cut into windows."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import geopandas
import numpy as np

from graticule.data.missing import has_value, seen_pixels
from graticule.data.sources.rasters import COLOURS
from graticule.data.sources.scene_files import SceneFiles, find_scenes
from graticule.data.sources.scene_labels import (
    PolygonLabels,
    RasterLabels,
    SceneLabels,
    find_labels,
    label_raster,
    listed,
    outside_of_scenes,
)
from graticule.data.sources.scene_rasters import PLAIN, Layer
from graticule.data.sources.scene_reader import Plan, SceneReader, Surroundings, make_plan
from graticule.data.sources.scene_vectors import Vectors, read_vectors, region_of, vector_files
from graticule.errors import GraticuleError, SourceError
from graticule.grids import Grid, RasterGrid
from graticule.grids.windows import starts
from graticule.schema import IGNORE, LegendClass, Target

Kind = Literal["plain", "sentinel2", "planet", "stac"]
LabelKind = Literal["binary", "classes", "height", "depth"]
_REFLECTANCE = 1e-4
"""What one step of Sentinel-2's and PLANET's whole numbers is worth."""
_SAME = 0.05
"""By which share pixels may differ in width and still count as of one size."""


class ScenesSource:
    """Folders of scenes with masks of quality, and labels as polygons or rasters.

    Bands are those of the files and, by name, `dem`, `relative_elevation`, `slope`, `aspect_sin`, `aspect_cos`,
    `hillshade`, `curvature` (from `heights`), `tc_brightness`, `tc_greenness`, `tc_wetness` (from `trend`), and the
    indices of spyndex, such as `ndvi`. Where all bands are whole numbers of the files they are stored as they are, else
    as physical values.

    Args:
        scenes: folder of the scenes, or several; for stac the JSON file.
        kind: `plain`: every GeoTIFF is a scene; `sentinel2`: a folder each, with B02.tif, ... or one stacked file, and
            SCL.tif; `planet`: *_SR.tif with *_udm2.tif; `stac`: a local item, collection or catalogue.
        bands: names of the bands, in order; those of the first scene's files if null.
        labels: polygons or rasters: a file, a folder, or several. In a folder, TrainingLabel* are taken where there are
            such. A column image_id says which scene a polygon belongs to; else every scene takes those on it.
        footprints: polygons outside of which nothing is known; ImageFootprints* beside the labels if null.
        target: name of the target.
        label_kind: `binary`, `classes`, `height` or `depth`; the latter two from rasters.
        classes: names of the classes, for label values 0, 1, 2, ...; no and yes for binary if empty.
        attribute: column of the polygons that says the class by its name.
        elsewhere: class outside of all polygons; for classes unknown if null. Binary labels are 0 there.
        unit: unit of the values, for height and depth.
        heights: raster of heights in metres.
        trend: raster of Tasseled-Cap trends with the bands brightness, greenness, wetness.
        regions: polygons of regions; a scene is of the first that it touches. `No Region` where there is none.
        region_column: column with their names; shapeName or name if null.
        outer: outer radius in metres of the surroundings of relative_elevation.
        inner: inner radius.
        scale: what one step of the files' whole numbers is worth; 0.0001 for sentinel2 and planet if null.
        offset: added to that; -0.1 for Sentinel-2 from processing baseline 04.00 on, where files do not say it.
        crs: coordinate reference system of files that have none; `none` reads them as plain images.
        window: side of the windows in pixels.
        overlap: pixels that neighbouring windows share at least.
        quality: lowest quality with labels: 0 invalid, 1 low (cloud, shadow, snow), 2 high.
        min_valid: least share of a window that must be labelled.
        exclude_nopositive: leave out windows without any pixel that is 1.
        exclude_nan: leave out windows with any pixel that lacks a value.

    Raises:
        SourceError: if nothing can be read at all, or options do not go together; the text says what to do.
    """

    name = "scenes"

    def __init__(
        self, scenes: str | list[str], kind: Kind = "plain", bands: list[str] | None = None,
        labels: str | list[str] | None = None, footprints: str | None = None, target: str = "label",
        label_kind: LabelKind = "binary", classes: Sequence[str] = (),
        attribute: str | None = None, elsewhere: str | None = None, unit: str | None = None,
        heights: str | None = None, trend: str | None = None, regions: str | None = None,
        region_column: str | None = None, outer: float = 100.0, inner: float = 0.0, scale: float | None = None,
        offset: float | None = None, crs: str | None = None, window: int = 256, overlap: int = 0,
        quality: Literal[0, 1, 2] = 2, min_valid: float = 0.1, exclude_nopositive: bool = False,
        exclude_nan: bool = False,
    ) -> None:  # fmt: skip
        given = dict(locals())
        self._options = {key: value for key, value in given.items() if key not in ("self", "given")}
        self._options["classes"] = list(classes)
        self.roots, self.side, self.overlap = listed(scenes), window, overlap
        starts(window, window, overlap)  # refuses an overlap that does not fit
        self.least_quality, self.min_valid = quality, min_valid
        self.exclude_nopositive, self.exclude_nan = exclude_nopositive, exclude_nan
        self.space: tuple[int, ...] = (window, window)
        if kind in ("sentinel2", "planet"):
            scale = _REFLECTANCE if scale is None else scale
        tied = None if crs == PLAIN else crs
        self.around = Surroundings(
            Layer.open(heights, crs=tied) if heights else None,
            Layer.open(trend, (1, 2, 3), tied) if trend else None,
            (outer, inner), scale, offset, crs,
        )  # fmt: skip
        self.files = self._find(kind)
        self._faults: dict[str, GraticuleError] = {}
        self.plan = self._first_plan(bands)
        self._grids = self._read_grids()
        self.bands, self.dtype = self.plan.bands, self.plan.dtype
        self.targets = (_target(target, label_kind, tuple(classes), unit),)
        self._regions = read_vectors(vector_files(regions, "*")) if regions else None
        self._region_column = _name_column(self._regions, region_column)
        self._labels = find_labels(
            self.targets[0], listed(labels), footprints, attribute, elsewhere, list(self._grids.values())
        )
        self.n_samples: int | None = None

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut."""
        return {"height": self.side, "width": self.side, "overlap": self.overlap}

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """The grids of the scenes that can be read."""
        return dict(self._grids)

    def scene_names(self) -> list[str]:
        """All scenes, also those that cannot be read."""
        return list(self.files)

    def scene_state(self, scene: str) -> str:
        """A text that changes when one of the scene's files does."""
        told = [(path, os.stat(path)) for path in self.files[scene].files if os.path.exists(path)]
        return repr([(path, status.st_size, status.st_mtime_ns) for path, status in told])

    def remarks(self) -> list[tuple[str, str, bool]]:
        """What of the labels cannot be used or was repaired: (which, why, whether it is lost)."""
        if not isinstance(self._labels, PolygonLabels):
            return []
        vectors = [self._labels.polygons, *([self._labels.footprints] if self._labels.footprints else [])]
        lost = [(which, why, True) for found in vectors for which, why in found.left_out]
        mended = [(which, f"repaired: {why}", False) for found in vectors for which, why in found.repaired]
        names = {name for files in self.files.values() for name in (files.name, *files.aliases)}
        polygons = self._labels.polygons
        # Where a scene cannot be read, what lies on none of the others may be that scene's.
        is_told = polygons.names_scenes or not self._faults
        nowhere = outside_of_scenes(polygons, names, list(self._grids.values())) if is_told else []
        return lost + nowhere + mended

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All windows, scene by scene."""
        for name in self.files:
            yield from self.scene_samples(name)

    def scene_samples(self, scene: str) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """The windows of one scene that are kept; memory holds one row of windows.

        Raises:
            SourceError: if the scene cannot be used.
        """
        reader = self.read_scene(scene)
        labels = self._labels_of(scene, reader.grid)
        footprint = reader.grid.footprint()
        region = region_of(self._regions, self._region_column, footprint)
        (target,) = self.targets
        height, width = reader.grid.shape
        for row in starts(height, self.side, self.overlap):
            whole = max(width, self.side)
            x, worth = reader.strip(row, 0, self.side, whole)
            known = self._known(labels, reader.grid, row, 0, self.side, whole, worth)
            for col in starts(width, self.side, self.overlap):
                part = np.s_[..., col : col + self.side]
                if self._keeps(x[part], known[part]):
                    yield (
                        np.ascontiguousarray(x[part]),
                        {target.array: np.ascontiguousarray(known[part])},
                        {
                            "sample_id": f"{scene}-{row:05d}-{col:05d}",
                            "scene": scene, "parent": scene, "region": region, "place": (row, col),
                        },
                    )  # fmt: skip

    def scene_labels(self, scene: str) -> geopandas.GeoDataFrame | None:
        """The polygons of a scene, for the record; None where labels are rasters."""
        labels = self._labels_of(scene, self._grids[scene])
        return labels.table().assign(scene=scene) if isinstance(labels, SceneLabels) else None

    def read_scene(self, scene: str) -> SceneReader:
        """A reader of one scene.

        Raises:
            SourceError: if there is no such scene, or it cannot be read.
        """
        if scene not in self.files:
            raise SourceError(f"{self.roots[0]} has no scene '{scene}'; the scenes are {', '.join(self.files)}.")
        if scene in self._faults:
            raise self._faults[scene]
        return SceneReader(self.files[scene], self.plan, self.around)

    def truth(self, scene: str) -> dict[str, np.ndarray] | None:
        """The labels of a whole scene, where there are any."""
        if self._labels is None:
            return None
        reader, (target,) = self.read_scene(scene), self.targets
        height, width = reader.grid.shape
        labels = self._labels_of(scene, reader.grid)
        return {
            target.array: self._known(
                labels, reader.grid, 0, 0, height, width, reader.quality(0, 0, height, width)
            )
        }  # fmt: skip

    def _find(self, kind: Kind) -> dict[str, SceneFiles]:
        if kind != "stac":
            return find_scenes(self.roots, kind)
        from graticule.data.sources.scene_stac import stac_scenes

        found = [scene for root in self.roots for scene in stac_scenes(Path(root))]
        return {scene.name: scene for scene in sorted(found, key=lambda scene: scene.name)}

    def _first_plan(self, bands: Sequence[str] | None) -> Plan:
        """Bands and type, from the first scene that can be read."""
        for name, files in self.files.items():
            try:
                if files.fault:
                    raise files.fault
                wanted = list(bands) if bands else list(files.bands)
                plan = make_plan(files, wanted, self.around)
                SceneReader(files, plan, self.around)
                return plan
            except GraticuleError as error:
                self._faults[name] = error
        first = next(iter(self._faults.values()))
        raise (
            first
            if len(self._faults) == 1
            else SourceError(f"none of the {len(self._faults)} scenes can be read; of the first: {first}")
        )

    def _read_grids(self) -> dict[str, RasterGrid]:
        """Grids of the scenes; what does not fit the others is noted as a fault."""
        grids: dict[str, RasterGrid] = {}
        for name, files in self.files.items():
            try:
                grids[name] = SceneReader(files, self.plan, self.around).grid
                self._faults.pop(name, None)
            except GraticuleError as error:
                self._faults[name] = error
        sizes = {name: abs(grid.transform[4]) for name, grid in grids.items()}
        units = {name: grid.crs == "EPSG:4326" or abs(grid.transform[0]) < 0.1 for name, grid in grids.items()}
        kinds = Counter((units[name], float(f"{size:.2g}")) for name, size in sizes.items())
        (_, common), _ = kinds.most_common(1)[0]
        usual = next(size for size in sizes.values() if float(f"{size:.2g}") == common)
        for name, size in sizes.items():
            if abs(size / usual - 1) > _SAME:
                del grids[name]
                self._faults[name] = SourceError(
                    f"{self.files[name].where} has pixels of {size:g}, most scenes have {usual:g}; a store has pixels "
                    "of one size: warp the scene, or prepare it as a store of its own."
                )
        return grids

    def _labels_of(self, scene: str, grid: RasterGrid) -> "SceneLabels | RasterLabels":
        (target,) = self.targets
        if self._labels is None:
            raise SourceError("there are no labels to prepare; give polygons or rasters as source.labels.")
        if isinstance(self._labels, PolygonLabels):
            return self._labels.of_scene(self.files[scene], grid)
        path = label_raster(self._labels[0], self.files[scene])
        layer = Layer.open(str(path), crs=self.around.crs)
        if not grid.is_local and not layer.grid.footprint().intersects(grid.footprint()):
            raise SourceError(
                f"{path} lies on {layer.grid}, its scene on {grid}: they do not meet; correct its coordinate reference "
                "system."
            )
        return RasterLabels(target, layer, {entry.value: entry.value for entry in target.legend})

    def _known(
        self, labels: "SceneLabels | RasterLabels", grid: RasterGrid, row: int, col: int, height: int, width: int,
        worth: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """Labels of a window, unknown where the picture is not good enough or there is none."""
        if isinstance(labels, SceneLabels):
            known = labels.read(row, col, height, width)
        else:
            known = labels.read(grid, row, col, height, width)
        (target,) = self.targets
        known[worth < max(self.least_quality, 1)] = IGNORE if target.is_categorical else np.nan
        return known

    def _keeps(self, x: np.ndarray, known: np.ndarray) -> bool:
        (target,) = self.targets
        labelled = known != IGNORE if target.is_categorical else np.isfinite(known)
        if not labelled.any() or labelled.mean() < self.min_valid or not has_value(x, self.bands):
            return False
        if self.exclude_nopositive and target.kind == "binary" and not (known == 1).any():
            return False
        return not (self.exclude_nan and not seen_pixels(x, self.bands).all())


def _target(name: str, kind: LabelKind, classes: tuple[str, ...], unit: str | None) -> Target:
    names = classes or (("no", "yes") if kind == "binary" else ())
    legend = tuple(LegendClass(i, text, COLOURS[i % len(COLOURS)]) for i, text in enumerate(names))
    return Target(name, kind, () if kind in ("height", "depth") else legend, unit)


def _name_column(regions: Vectors | None, column: str | None) -> str | None:
    if regions is None:
        return None
    found = next((name for name in (column, "shapeName", "name") if name is not None and name in regions.table), None)
    if found is None:
        raise SourceError(f"the regions have no column '{column or 'shapeName'}'; give theirs as source.region_column.")
    return found
