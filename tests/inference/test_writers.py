import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import xarray
import zarr
from rasterio.enums import ColorInterp

from graticule.errors import OutputError
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference.layers import labels_of, layers_of
from graticule.inference.writers import cog_writer, fits_writer, zarr_writer
from graticule.schema import LegendClass, Target

LEGEND = (
    LegendClass(0, "water", "#0000ff"),
    LegendClass(1, "snow & ice", "#ffffff"),
    LegendClass(2, "forest", "#00ff00"),
)
COVER = Target("cover", "classes", LEGEND)
FLOOD = Target("flood", "binary", (LegendClass(0, "dry", "#cccccc"), LegendClass(1, "wet", "#0000ff")))
HEIGHT = Target("height", "height", unit="m")
UTM = RasterGrid(700, 530, (10.0, 0.0, 500000.0, 0.0, -10.0, 4200000.0), "EPSG:32719")


def write_rows(path, grid, layer, pixels, step=97):
    with cog_writer(path, grid, layer) as write:
        for row in range(0, grid.height, step):
            write(row, pixels[:, row : row + step])


def write_cells(writer, path, grid, layer, pixels, step=50):
    with writer(path, grid, layer) as write:
        for start in range(0, grid.size, step):
            write(start, pixels[:, start : start + step])


def test_classes_become_a_cog_that_says_what_it_shows(tmp_path):
    layer = layers_of(COVER)[0]
    pixels = np.random.default_rng(0).integers(0, 3, (1, 700, 530)).astype(np.uint8)
    pixels[:, :9] = 255
    write_rows(tmp_path / "a.tif", UTM, layer, pixels)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert np.array_equal(dataset.read(), pixels)
        assert dataset.crs.to_epsg() == 32719
        assert tuple(dataset.transform)[:6] == UTM.transform
        assert dataset.nodata == 255
        assert dataset.dtypes == ("uint8",)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2]
        assert dataset.colorinterp == (ColorInterp.palette,)
        assert dataset.colormap(1)[2] == (0, 255, 0, 255)
        assert dataset.colormap(1)[255][3] == 0
        assert {k: v for k, v in dataset.tags().items() if k.startswith("CLASS")} == {
            "CLASS_0": "water", "CLASS_1": "snow & ice", "CLASS_2": "forest"
        }  # fmt: skip
    assert "<Category>snow &amp; ice</Category>" in (tmp_path / "a.tif.aux.xml").read_text()
    assert sorted(os.listdir(tmp_path)) == ["a.tif", "a.tif.aux.xml"]


def test_values_keep_their_unit_and_nan(tmp_path):
    layer = layers_of(HEIGHT)[0]
    seen = np.random.default_rng(0).random((700, 530)) > 0.1
    field = np.random.default_rng(1).normal(0, 1000, (700, 530)).astype(np.float32)
    write_rows(tmp_path / "h.tif", UTM, layer, layer.encode(field, seen))
    with rasterio.open(tmp_path / "h.tif") as dataset:
        assert dataset.units == ("m",)
        assert np.isnan(dataset.nodata)
        read = dataset.read(1)
    assert np.array_equal(read[seen], field[seen])
    assert np.isnan(read[~seen]).all()
    assert not (tmp_path / "h.tif.aux.xml").exists()


@pytest.mark.parametrize(("kind", "error"), [("uint8", 0.002 + 1e-6), ("float32", 1e-7)])
def test_probabilities_by_class(tmp_path, kind, error):
    layer = layers_of(COVER, kind)[1]
    field = np.random.default_rng(0).dirichlet([1, 1, 1], (700, 530)).astype(np.float32).transpose(2, 0, 1)
    seen = np.ones((700, 530), bool)
    seen[5, 5] = False
    write_rows(tmp_path / "p.tif", UTM, layer, layer.encode(field, seen))
    with rasterio.open(tmp_path / "p.tif") as dataset:
        assert dataset.descriptions == ("water", "snow & ice", "forest")
        stored = dataset.read(masked=True)
        values = stored * np.array(dataset.scales)[:, None, None]
    assert stored.mask[:, 5, 5].all()
    assert stored.mask.sum() == 3
    assert np.abs(values - field)[:, seen].max() <= error


def test_the_first_of_equal_classes_and_the_half():
    assert labels_of(np.array([[0.4, 0.2, 0.1], [0.4, 0.4, 0.3], [0.2, 0.4, 0.6]])).tolist() == [0, 1, 2]
    assert labels_of(np.array([[0.49, 0.5, 0.9]])).tolist() == [0, 1, 1]
    probability = layers_of(FLOOD, "uint8")[1]
    assert probability.bands == ("wet",)


@pytest.mark.parametrize("grid", [HealpixGrid(8), HealpixGrid(16, (5, 2), 2)])
def test_healpix_as_zarr_is_read_by_xarray(tmp_path, grid):
    labels, packed = layers_of(COVER, "uint8")
    pixels = np.random.default_rng(0).integers(0, 3, (1, grid.size)).astype(np.uint8)
    many = np.random.default_rng(0).integers(0, 250, (3, grid.size)).astype(np.uint8)
    write_cells(zarr_writer, tmp_path / "a.zarr", grid, labels, pixels)
    write_cells(zarr_writer, tmp_path / "p.zarr", grid, packed, many)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert (group.attrs["ordering"], group.attrs["nside"]) == ("nested", grid.nside)
    assert group["cell_ids"].attrs["indexing_scheme"] == "nested"
    data = xarray.open_zarr(tmp_path / "a.zarr", mask_and_scale=False, consolidated=False)
    assert np.array_equal(data["cover"], pixels[0])
    assert np.array_equal(data["cell_ids"], grid.cell_ids())
    assert data["cover"].attrs["flag_meanings"] == "water snow_&_ice forest"
    probabilities = xarray.open_zarr(tmp_path / "p.zarr", consolidated=False)["cover"]
    assert probabilities.dims == ("class", "cells")
    assert np.allclose(probabilities, many / 250)
    assert probabilities.attrs["classes"] == ["water", "snow & ice", "forest"]


@pytest.mark.parametrize("grid", [HealpixGrid(8), HealpixGrid(16, (5, 2), 2)])
def test_healpix_as_fits_is_read_by_healpy(tmp_path, grid):
    healpy = pytest.importorskip("healpy")
    rng, whole = np.random.default_rng(0), np.full((3, 12 * grid.nside**2), healpy.UNSEEN)
    height, probabilities = layers_of(HEIGHT)[0], layers_of(COVER, "float32")[1]
    values = rng.normal(0, 1000, (3, grid.size)).astype(np.float32)
    write_cells(fits_writer, tmp_path / "h.fits", grid, height, values[:1])
    write_cells(fits_writer, tmp_path / "p.fits", grid, probabilities, values)
    whole[:, grid.cell_ids()] = values
    read, header = healpy.read_map(tmp_path / "h.fits", nest=None, h=True)
    keys = dict(header)
    assert (keys["ORDERING"], keys["NSIDE"], keys["PIXTYPE"]) == ("NESTED", grid.nside, "HEALPIX")
    assert np.allclose(read, whole[0])
    assert np.allclose(healpy.read_map(tmp_path / "p.fits", field=None, nest=True), whole)
    ring = healpy.read_map(tmp_path / "h.fits", nest=False)
    assert np.allclose(ring, healpy.reorder(whole[0], n2r=True))


def test_fits_is_valid_and_scaled(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    grid, layer = HealpixGrid(4), layers_of(COVER, "uint8")[1]
    pixels = np.random.default_rng(0).integers(0, 251, (3, grid.size)).astype(np.uint8)
    write_cells(fits_writer, tmp_path / "p.fits", grid, layer, pixels)
    assert (tmp_path / "p.fits").stat().st_size % 2880 == 0
    with fits.open(tmp_path / "p.fits") as opened:
        opened.verify("exception")
        table = opened[1].data
        assert table.names == ["water", "snow & ice", "forest"]
        assert np.allclose(table["forest"], pixels[2] / 250)


@pytest.mark.parametrize("writer", [zarr_writer, fits_writer, cog_writer])
def test_nothing_is_left_of_a_prediction_that_failed(tmp_path, writer):
    grid = UTM if writer is cog_writer else HealpixGrid(4)
    path = tmp_path / "new" / "map.tif"

    def fail():
        with writer(path, grid, layers_of(HEIGHT)[0]):
            raise RuntimeError("the net failed")

    with pytest.raises(RuntimeError, match="the net failed"):
        fail()
    assert os.listdir(tmp_path / "new") == []


_FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from graticule.errors import OutputError
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference import layers, writers
from graticule.schema import Target
kind, limit, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
grid = RasterGrid.global_(0.25) if kind == "cog" else HealpixGrid(128)
layer = layers.layers_of(Target("height", "height", unit="m"))[0]
noise = np.random.default_rng(0).random((1, *grid.shape)).astype("f4")
try:
    with getattr(writers, kind + "_writer")(out / "map.tif", grid, layer) as write:
        write(0, noise)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
@pytest.mark.parametrize("kind", ["cog", "fits", "zarr"])
def test_a_file_that_cannot_be_finished_is_not_there(tmp_path, kind):
    limit = str(200_000)
    ran = subprocess.run([sys.executable, "-c", _FULL_DISK, kind, limit, tmp_path], capture_output=True, text=True)
    assert ran.stdout.startswith("cannot write "), ran.stderr
    assert "Nothing was left half-written." in ran.stdout
    assert len(ran.stdout.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_a_map_too_large_for_the_disk_is_refused_before_the_work(tmp_path):
    grid = RasterGrid(2_000_000, 4_000_000, (1e-5, 0, -180, 0, -1e-5, 90), "EPSG:4326")

    def enter():
        with cog_writer(tmp_path / "deep" / "er" / "map.tif", grid, layers_of(HEIGHT)[0]):
            pytest.fail("it was let in")

    with pytest.raises(OutputError, match=r"it needs \d+ MB and the disk has \d+ MB free; free some space or choose"):
        enter()
    assert os.listdir(tmp_path) == []
