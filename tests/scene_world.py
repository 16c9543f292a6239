"""Small scenes whose labels are known on paper: every scene has one square of slump."""

import os
import signal
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.transform import from_origin

from graticule.data.sources.scenes import ScenesSource

CRS = "EPSG:32608"
SIDE = 24
ROWS, COLUMNS = slice(4, 12), slice(6, 16)
"""Where each scene's square is."""


def write_raster(path, array, *, corner, metres=10.0, crs=CRS, nodata=None, names=()):
    """A GeoTIFF of [bands, h, w] with its upper left corner at `corner`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=array.dtype, crs=crs,
        transform=from_origin(*corner, metres, metres), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(array)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def corner_of(number):
    """Upper left corner of a scene."""
    return 500_000 + 1000.0 * number, 7_700_000.0


def square_of(number, rows=ROWS, columns=COLUMNS):
    """The outline of a scene's square, in the scenes' CRS."""
    east, north = corner_of(number)
    return shapely.box(
        east + 10 * columns.start, north - 10 * rows.stop, east + 10 * columns.stop, north - 10 * rows.start
    )


def picture(number, side=SIDE, dtype=np.uint16):
    """Red and near infrared of a scene."""
    return np.random.default_rng(number).integers(500, 4000, (2, side, side)).astype(dtype)


def write_scene(folder, number, name=None, **options):
    path = folder / "images" / f"{name or 'abcdefgh'[number]}.tif"
    return write_raster(path, picture(number), corner=corner_of(number), names=("red", "nir"), nodata=0, **options)


def write_labels(path, shapes, crs="EPSG:4326", **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=CRS).to_crs(crs)
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_file(path, engine="pyogrio")
    return path


def plain_world(folder: Path, scenes=3):
    """Scenes a, b, c, ... as plain GeoTIFFs, and their squares in one GeoPackage."""
    for number in range(scenes):
        write_scene(folder, number)
    write_labels(folder / "labels.gpkg", [square_of(number) for number in range(scenes)])
    return folder


def words(folder, *more):
    """What the command line says for `plain_world`."""
    return [
        "prepare", "source=scenes", f"source.scenes={folder / 'images'}", f"source.labels={folder / 'labels.gpkg'}",
        "source.window=16", f"data.store={folder / 'store'}", *more,
    ]  # fmt: skip


class DeadlySource(ScenesSource):
    """Kills the process that prepares scene `b` for the first time."""

    def scene_samples(self, scene):
        marker = Path(self.roots[0]).parent / "killed"
        if scene == "b" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().scene_samples(scene)
