"""A folder of GeoTIFFs with label rasters of the same names: the simplest form of one's own data.

```
images/a.tif  b.tif ...     any number of bands; all files have the same bands and type
labels/a.tif  b.tif ...     one band on exactly the grid of the image of that name
```
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from graticule.data.features.bands import TABLE
from graticule.errors import SourceError, StoreError, nearest
from graticule.grids import Grid
from graticule.grids.raster import RasterGrid
from graticule.grids.windows import raster_windows
from graticule.schema import IGNORE, Band, BandKind, LegendClass, Target, band_from_dict, band_to_dict

COLOURS = "#444444 #d95f02 #1b9e77 #7570b3 #e7298a #66a61e #e6ab02 #a6761d #377eb8 #e41a1c".split()
"""Colours of classes that nobody has given any."""


@contextmanager
def open_raster(path: Path) -> Iterator[rasterio.DatasetReader]:
    """The raster at `path`, open; every fault of the file or of reading it names the file.

    Raises:
        SourceError: if the file is missing, truncated or no raster.
    """
    try:
        with warnings.catch_warnings():
            # A missing place is told by those that need one, in a line of their own.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
        with dataset:
            yield dataset
    except RasterioError as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path} cannot be read as a raster ({reason}); give a whole GeoTIFF.") from error


def raster_grid(path: Path) -> RasterGrid:
    """The grid of the raster at `path`.

    Raises:
        SourceError: if the file cannot be read or has no coordinate reference system.
    """
    with open_raster(path) as dataset:
        if dataset.crs is None:
            raise SourceError(
                f"{path} has no coordinate reference system (CRS), so its pixels lie nowhere; assign the right one "
                "first, for example with `rio edit-info --crs EPSG:32719 FILE`."
            )
        return RasterGrid(dataset.height, dataset.width, tuple(dataset.transform)[:6], dataset.crs.to_wkt())


class RasterFile:
    """Reads windows of one GeoTIFF. Values are as stored: missing ones are NaN, or the nodata of their band.

    Args:
        path: the file.
        bands: what the file must hold, in this order; the file's own bands if None.

    Raises:
        SourceError: if the file is missing, damaged, without CRS, or has another number of bands.
    """

    def __init__(self, path: Path, bands: Sequence[Band] | None = None) -> None:
        self.path, self.grid = path, raster_grid(path)
        own = file_bands(path)
        if bands is not None and len(bands) != len(own):
            names = ", ".join(band.name for band in bands)
            raise SourceError(f"{path} has {len(own)} bands; it must have {len(bands)}: {names}.")
        self.bands = tuple(bands) if bands is not None else own

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x [bands, height, width], and where it has a value in any band (bool).

        A pixel may lack some bands: whether it is seen depends on which of them are used (`missing.seen_pixels`).
        """
        with open_raster(self.path) as dataset:
            window = Window(col, row, width, height)
            # Reading over the edge goes through a virtual raster, which takes several times as long.
            over = min(row, col) < 0 or row + height > dataset.height or col + width > dataset.width
            x = dataset.read(window=window, boundless=over, fill_value=0 if over else None)
            valid = dataset.read_masks(window=window, boundless=over) > 0
        if x.dtype.kind == "f":
            valid &= np.isfinite(x)
            x[~valid] = np.nan
        return x, valid.any(axis=0)


def file_bands(path: Path) -> tuple[Band, ...]:
    """The bands of a file, by their descriptions (or band_1, band_2, ...), with its scales, offsets and nodata.

    What a known name means (`features.bands.TABLE`) is taken over; other bands count as optical.
    """
    with open_raster(path) as dataset:
        names = [text or f"band_{index}" for index, text in enumerate(dataset.descriptions, 1)]
        codes = zip(names, dataset.scales, dataset.offsets, dataset.nodatavals, strict=True)
        return tuple(
            replace(TABLE.get(name.lower(), Band(name)), name=name, scale=scale, offset=offset, nodata=nodata)
            for name, scale, offset, nodata in codes
        )


def _with_meanings(bands: Sequence[Band], meanings: Mapping[str, Mapping[str, Any]]) -> tuple[Band, ...]:
    """The bands, changed as told."""
    names, kinds = [band.name for band in bands], get_args(BandKind)
    for name, told in meanings.items():
        if name not in names:
            raise SourceError(f"source.meanings tells of band '{name}', which the images lack; {nearest(name, names)}")
        if told.get("kind", "other") not in kinds:
            raise SourceError(
                f"source.meanings says that band '{name}' is of kind '{told['kind']}'; {nearest(told['kind'], kinds)}"
            )
    try:
        return tuple(band_from_dict(band_to_dict(band) | dict(meanings.get(band.name, {}))) for band in bands)
    except (StoreError, TypeError, ValueError) as error:
        raise SourceError(f"source.meanings does not fit: {error}") from error


def _rasters(folder: Path) -> dict[str, Path]:
    """Scene names (relative path without suffix) and their files."""
    found = {str(path.relative_to(folder).with_suffix("")): path for path in folder.rglob("*.tif")}
    if not found:
        raise SourceError(f"{folder} has no *.tif file; give the folder of the images as source.images.")
    return dict(sorted(found.items()))


class RastersSource:
    """A folder of GeoTIFFs and a folder of label rasters of the same names, cut into windows.

    The first file decides the bands and the type; the others must have the same. Each image is a scene and a parent:
    splits by parent keep its windows together. The region of an image is the name of the subfolder of `images` that it
    lies in (`all` without one). Pixels where the image has nodata have no label.

    Args:
        images: folder of the images (`*.tif`, also in subfolders).
        labels: folder of the label rasters, with the same relative names.
        target: name of the target.
        kind: `classes`, `binary` (values 0, 1 and the label's nodata) or `height`/`depth` (in `unit`).
        classes: names of the classes, for label values 0, 1, 2, ... (not for height and depth).
        unit: unit of the values (for height and depth).
        window: side of the windows in pixels.
        overlap: pixels that neighbouring windows share at least.
        meanings: what bands mean, by name, where the files and the table of bands do not say it: `kind`, `unit`,
            `valid_range`, `nodata`, `scale`, `offset`.

    Raises:
        SourceError: if a file is missing, damaged, without CRS, or does not fit the others.
    """

    name = "rasters"

    def __init__(
        self, images: str, labels: str, target: str = "label",
        kind: Literal["classes", "binary", "height", "depth"] = "classes", classes: Sequence[str] = (),
        unit: str | None = None, window: int = 256, overlap: int = 0,
        meanings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self._options = {
            "images": images, "labels": labels, "target": target, "kind": kind, "classes": list(classes),
            "unit": unit, "window": window, "overlap": overlap,
            "meanings": None if meanings is None else {name: dict(told) for name, told in meanings.items()},
        }  # fmt: skip
        self.images, self.labels, self.side, self.overlap = Path(images), Path(labels), window, overlap
        names = tuple(classes) or (("no", "yes") if kind == "binary" else ())
        legend = tuple(LegendClass(i, text, COLOURS[i % len(COLOURS)]) for i, text in enumerate(names))
        self.targets = (Target(target, kind, () if kind in ("height", "depth") else legend, unit),)
        self.space: tuple[int, ...] = (window, window)
        self.paths = _rasters(self.images)
        first = next(iter(self.paths.values()))
        self.bands = _with_meanings(file_bands(first), meanings or {})
        with open_raster(first) as dataset:
            self.dtype: np.dtype[Any] = np.dtype(dataset.dtypes[0])
        self._grids: dict[str, Grid] = {name: raster_grid(path) for name, path in self.paths.items()}
        self.n_samples = sum(len(self._places(grid)) for grid in self._grids.values())

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut."""
        return {"height": self.side, "width": self.side, "overlap": self.overlap}

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """One scene per file."""
        return self._grids

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All windows, file by file; windows without any known pixel are left out."""
        (target,) = self.targets
        for name, path in self.paths.items():
            image, label = RasterFile(path, self.bands), self._label(name)
            region = str(path.relative_to(self.images).parent)
            for row, col in self._places(image.grid):
                x, seen = image.read(row, col, self.side, self.side)
                known = self._known(target, *label.read(row, col, self.side, self.side), seen, label.path)
                row_of_table = {
                    "sample_id": f"{name}-{row:05d}-{col:05d}", "scene": name, "parent": name,
                    "region": "all" if region == "." else region, "place": (row, col),
                }  # fmt: skip
                if (known != IGNORE).any() if target.is_categorical else np.isfinite(known).any():
                    yield x.astype(self.dtype, copy=False), {target.array: known}, row_of_table

    def read_scene(self, scene: str) -> RasterFile:
        """A reader of one of the images."""
        if scene not in self.paths:
            raise SourceError(f"{self.images} has no scene '{scene}'; the scenes are {', '.join(self.paths)}.")
        return RasterFile(self.paths[scene], self.bands)

    def truth(self, scene: str) -> dict[str, np.ndarray]:
        """The labels of one image."""
        (target,) = self.targets
        image, label = self.read_scene(scene), self._label(scene)
        height, width = image.grid.shape
        _, seen = image.read(0, 0, height, width)
        return {target.array: self._known(target, *label.read(0, 0, height, width), seen, label.path)}

    def _places(self, grid: Grid) -> list[tuple[int, int]]:
        height, width = grid.shape
        return raster_windows((height, width), (self.side, self.side), self.overlap)

    def _label(self, scene: str) -> RasterFile:
        path = self.labels / self.paths[scene].relative_to(self.images)
        if not path.exists():
            raise SourceError(f"{self.paths[scene]} has no labels; they must be in {path}.")
        label, image = RasterFile(path, (Band("label"),)), raster_grid(self.paths[scene])
        if label.grid != image:
            raise SourceError(
                f"{path} lies on {label.grid}, its image on {image}; the two must be the same grid: "
                "warp the labels onto the image (nearest neighbour for classes) first."
            )
        return label

    def _known(
        self, target: Target, values: np.ndarray, labelled: np.ndarray, seen: np.ndarray, path: Path
    ) -> np.ndarray:
        """Labels uint8 with 255, or values float32 with NaN, where image or label has nodata."""
        usable = labelled & seen
        if not target.is_categorical:
            return np.where(usable, values[0], np.nan).astype(np.float32)
        known = np.where(usable & (values[0] != IGNORE), values[0], IGNORE)
        wrong = known[(known != IGNORE) & ((known < 0) | (known >= len(target.legend)))]
        if wrong.size:
            raise SourceError(
                f"{path} has label {wrong[0]}; the {len(target.legend)} classes of source.classes have values "
                f"0..{len(target.legend) - 1}, and {IGNORE} or nodata means unknown."
            )
        return known.astype(np.uint8)
