"""Map files, written piece by piece, whole or not at all: GeoTIFF for rasters, Zarr and FITS for HEALPix."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
import zarr
from astropy.io import fits
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from graticule.errors import OutputError
from graticule.files import whole_file, whole_folder
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference.layers import Layer

Write = Callable[[int, np.ndarray], None]
"""(first row or offset of the first cell, pixels [bands, rows, width] or [bands, cells]): to be called in order."""

_BLOCK = 512
_CACHE = 16 * 2**20
_CHUNK = 4**8
_FITS_BLOCK = 2880
_FULL = "cannot write {path}: {what}; free some space or choose another output folder. Nothing was left half-written."


@contextmanager
def cog_writer(path: Path, grid: RasterGrid, layer: Layer) -> Iterator[Write]:
    """Write a cloud-optimised GeoTIFF with overviews; yields the function that takes finished rows.

    The rows go to an uncompressed tiled GeoTIFF first (so the place needs room for both), which GDAL then turns into
    the final file. Class names are tags (CLASS_0 ...) and, in the sidecar that GDAL and QGIS read, category names.

    Raises:
        OutputError: if the file cannot be written.
    """
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(layer.bands), "dtype": layer.dtype,
        "nodata": layer.nodata, "crs": grid.crs, "transform": grid.affine, "tiled": True, "blockxsize": _BLOCK,
        "blockysize": _BLOCK, "interleave": "band", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    tiles = -(-grid.height // _BLOCK) * -(-grid.width // _BLOCK) * len(layer.bands)
    size = tiles * _BLOCK**2 * np.dtype(layer.dtype).itemsize
    _check_room(path, size)
    with whole_file(path) as temporary, _gdal_errors(path):
        strips = temporary.with_suffix(".strips.tif")
        # Room for two rows of tiles, since rows of tiles come in pieces; else GDAL keeps a twentieth of the memory.
        cache = max(_CACHE, 2 * size // max(1, -(-grid.height // _BLOCK)))
        try:
            with rasterio.Env(GDAL_CACHEMAX=cache):
                with rasterio.open(strips, "w", **profile) as dataset:
                    _describe(dataset, layer)

                    def write(row: int, pixels: np.ndarray) -> None:
                        dataset.write(pixels, window=Window(0, row, grid.width, pixels.shape[1]))

                    yield write
                if strips.stat().st_size < size:
                    raise OutputError(_FULL.format(path=path, what="not all rows could be written"))
                rasterio.shutil.copy(
                    strips, temporary, driver="COG", COMPRESS="ZSTD", BLOCKSIZE=_BLOCK, BIGTIFF="IF_SAFER",
                    OVERVIEW_RESAMPLING="MODE" if layer.is_classes else "AVERAGE",
                )  # fmt: skip
                _check_whole(temporary, path)
        finally:
            for left in temporary.parent.glob(f"{temporary.stem}*"):
                if left != temporary:
                    left.unlink(missing_ok=True)
    if layer.is_classes:
        with whole_file(path.with_name(f"{path.name}.aux.xml")) as sidecar:
            sidecar.write_text(_categories(layer))


def _describe(dataset: Any, layer: Layer) -> None:
    dataset.update_tags(TARGET=layer.target.name, **layer.tags)
    for number, name in enumerate(layer.bands, 1):
        dataset.set_band_description(number, name)
    if layer.scale != 1.0:
        dataset.scales = [layer.scale] * len(layer.bands)
    if layer.target.unit:
        dataset.units = [layer.target.unit] * len(layer.bands)
    if layer.is_classes:
        dataset.write_colormap(1, layer.colours)


def _categories(layer: Layer) -> str:
    names = "".join(f"<Category>{escape(entry.name)}</Category>" for entry in layer.target.legend)
    return f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>\n'


def _check_room(path: Path, size: int) -> None:
    """Refuse early where there is no room: GDAL tells of a full disk late, if at all."""
    there = next(parent for parent in path.resolve().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if free < size:
        told = f"it needs {size / 2**20:.0f} MB and the disk has {free / 2**20:.0f} MB free"
        raise OutputError(_FULL.format(path=path, what=told))


def _check_whole(written: Path, path: Path) -> None:
    """Read every tile back: of a full disk GDAL may tell only in its log."""
    with rasterio.open(written) as dataset:
        for (row, column), window in dataset.block_windows(1):
            for band in range(1, dataset.count + 1):
                if dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band) is None:
                    raise OutputError(_FULL.format(path=path, what="a tile could not be written"))
            dataset.read(window=window)


@contextmanager
def _gdal_errors(path: Path) -> Iterator[None]:
    """GDAL's errors as one line; the operating system's pass, for `whole_file` to explain."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        reason = str(error.__cause__ or error).splitlines()[0].rstrip(".")
        raise OutputError(_FULL.format(path=path, what=reason)) from error


@contextmanager
def zarr_writer(path: Path, grid: HealpixGrid, layer: Layer) -> Iterator[Write]:
    """Write a Zarr v3 group with `cell_ids` [cells] and the target's array, [cells] or [class, cells].

    Attributes say the ordering and nside, in the words that xdggs reads.

    Raises:
        OutputError: if the folder cannot be written.
    """
    with whole_folder(path, overwrite=True) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=3)
        group.attrs.update({"ordering": "nested", "nside": grid.nside, "grid": grid.to_dict(), "target": layer.name})
        chunk = min(_CHUNK, grid.size)
        ids = group.create_array(
            "cell_ids", shape=grid.shape, chunks=(chunk,), dtype="int64", dimension_names=["cells"]
        )
        ids.attrs.update({"grid_name": "healpix", "level": grid.depth, "indexing_scheme": "nested"})
        flat = len(layer.bands) == 1
        field = group.create_array(
            layer.target.name,
            shape=grid.shape if flat else (len(layer.bands), grid.size),
            chunks=(chunk,) if flat else (1, chunk),
            dtype=layer.dtype,
            fill_value=layer.nodata,
            dimension_names=["cells"] if flat else ["class", "cells"],
        )
        field.attrs.update(_attributes(layer))
        gathered = _Gathered(chunk, lambda at, pixels: _put(field, at, pixels[0] if flat else pixels))
        yield gathered.write
        gathered.flush()
        for start in range(0, grid.size, chunk):
            ids[start : start + chunk] = _ids(grid, start, min(start + chunk, grid.size))


def _put(array: Any, start: int, pixels: np.ndarray) -> None:
    array[..., start : start + pixels.shape[-1]] = pixels


def _attributes(layer: Layer) -> dict[str, Any]:
    said: dict[str, Any] = {"long_name": layer.target.name, "coordinates": "cell_ids"}
    if layer.target.unit:
        said["units"] = layer.target.unit
    if layer.is_classes:
        said["flag_values"] = [entry.value for entry in layer.target.legend]
        said["flag_meanings"] = " ".join(entry.name.replace(" ", "_") for entry in layer.target.legend)
        said["flag_colors"] = " ".join(entry.colour for entry in layer.target.legend)
    elif layer.target.is_categorical:
        said["classes"] = list(layer.bands)
    if layer.dtype == "uint8":
        said["_FillValue"] = int(layer.nodata)
    if layer.scale != 1.0:
        said["scale_factor"] = layer.scale
    return said


def _ids(grid: HealpixGrid, start: int, stop: int) -> np.ndarray:
    """Nested ids of a run of a grid's cells, without making those of the whole sphere."""
    places = np.arange(start, stop)
    if grid.parents is None:
        return places
    return np.asarray(grid.parents)[places // grid.children] * grid.children + places % grid.children


@contextmanager
def fits_writer(path: Path, grid: HealpixGrid, layer: Layer) -> Iterator[Write]:
    """Write a FITS binary table, one row per nested cell and one column per band, as healpy reads it.

    A grid that is not the whole sphere has the column PIXEL with the cells' ids (INDXSCHM = EXPLICIT).

    Raises:
        OutputError: if the file cannot be written.
    """
    whole = grid.parents is None
    code = "B" if layer.dtype == "uint8" else "E"
    ids = [] if whole else [("PIXEL", ">i8")]
    kept = np.dtype(layer.dtype).newbyteorder(">")
    row = np.dtype([*ids, *((f"band{number}", kept) for number in range(len(layer.bands)))])
    columns = [fits.Column("PIXEL", "K")] if not whole else []
    for name in layer.bands:
        columns.append(
            fits.Column(
                name, code, unit=layer.target.unit, null=int(layer.nodata) if code == "B" else None,
                bscale=layer.scale if layer.scale != 1.0 else None,
            )
        )  # fmt: skip
    with whole_file(path) as temporary, temporary.open("wb") as handle:
        handle.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        handle.write(_fits_header(grid, layer, columns).tostring().encode("ascii"))

        def write(start: int, pixels: np.ndarray) -> None:
            table = np.empty(pixels.shape[1], row)
            if not whole:
                table["PIXEL"] = _ids(grid, start, start + pixels.shape[1])
            for number, band in enumerate(pixels):
                table[f"band{number}"] = band
            handle.write(table.tobytes())

        gathered = _Gathered(_CHUNK, write)
        yield gathered.write
        gathered.flush()
        handle.write(b"\0" * (-(grid.size * row.itemsize) % _FITS_BLOCK))


def _fits_header(grid: HealpixGrid, layer: Layer, columns: list[fits.Column]) -> fits.Header:
    header = fits.BinTableHDU.from_columns(columns, nrows=0).header
    header["NAXIS2"] = grid.size
    whole = grid.parents is None
    for key, value, comment in (
        ("PIXTYPE", "HEALPIX", "HEALPix pixelisation"),
        ("ORDERING", "NESTED", "order of the cells"),
        ("NSIDE", grid.nside, "resolution"),
        ("FIRSTPIX", 0, "first cell of the sphere"),
        ("LASTPIX", 12 * grid.nside**2 - 1, "last cell of the sphere"),
        ("INDXSCHM", "IMPLICIT" if whole else "EXPLICIT", "whether the column PIXEL gives the cells"),
        ("OBJECT", "FULLSKY" if whole else "PARTIAL", "coverage"),
        ("EXTNAME", layer.name, "what it shows"),
    ):
        header[key] = (value, comment)
    if layer.is_classes:
        for entry in layer.target.legend:
            header[f"CLASS{entry.value}"] = (entry.name, entry.colour)
    return header


class _Gathered:
    """Passes pixels on in pieces of `size`, so that each piece of a file is written once."""

    def __init__(self, size: int, write: Write) -> None:
        self.size, self.forward = size, write
        self.start = 0
        self.waiting: np.ndarray | None = None

    def write(self, start: int, pixels: np.ndarray) -> None:
        """Take the next pixels [bands, cells]; `start` must be where the last ones ended."""
        joined = pixels if self.waiting is None else np.concatenate([self.waiting, pixels], axis=1)
        whole = joined.shape[1] // self.size * self.size
        for at in range(0, whole, self.size):
            self.forward(self.start + at, joined[:, at : at + self.size])
        self.start, self.waiting = self.start + whole, joined[:, whole:]

    def flush(self) -> None:
        """Pass on what is left."""
        if self.waiting is not None and self.waiting.shape[1]:
            self.forward(self.start, self.waiting)
