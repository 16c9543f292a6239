"""Bad scenes and bad labels: one clear line, or a named row in the table with exit code 2; the store stays valid."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
import shapely

from graticule.cli import main
from graticule.data.store import Store
from graticule.schema import IGNORE
from scene_world import (
    COLUMNS,
    ROWS,
    corner_of,
    picture,
    plain_world,
    square_of,
    words,
    write_labels,
    write_raster,
    write_scene,
)


@pytest.fixture
def told(capsys):
    """Runs words; returns the exit code, the rows of the table as (name, rest), and the error without its head."""

    def run(*given):
        capsys.readouterr()
        code = main(list(given))
        text = capsys.readouterr().err
        assert "Traceback" not in text
        errors = [line for line in text.splitlines() if line.startswith("graticule: error: ")]
        assert len(errors) == (code != 0)
        return code, " ".join(text.split()), errors[0].removeprefix("graticule: error: ") if errors else ""

    return run


def check(folder, scenes):
    """The store holds these scenes, whole, and nothing else has been left."""
    store = Store.open(folder / "store")
    store.validate()
    assert sorted(set(store.metadata["scene"])) == sorted(scenes)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return store


def test_a_scene_without_a_band_is_named_and_added_when_it_is_corrected(tmp_path, told):
    plain_world(tmp_path)
    write_raster(tmp_path / "images/b.tif", picture(1)[:1], corner=corner_of(1), names=("red",), nodata=0)
    code, table, error = told(*words(tmp_path))
    assert code == 2
    assert f"b failed {tmp_path}/images/b.tif has no band 'nir'; it has red." in table
    assert error == (
        f"1 of 3 scenes could not be used (the table names them); {tmp_path}/store holds all others: correct these, "
        "and add them with --append."
    )
    check(tmp_path, "ac")
    write_scene(tmp_path, 1)
    code, table, _ = told(*words(tmp_path, "--append"))
    assert (code, "a kept" in table, "b done 4" in table) == (0, True, True)
    check(tmp_path, "abc")


def test_a_truncated_file_is_a_named_row(tmp_path, told):
    plain_world(tmp_path)
    big = np.random.default_rng(0).integers(1, 4000, (2, 300, 300)).astype(np.uint16)
    path = write_raster(tmp_path / "images/b.tif", big, corner=corner_of(1), names=("red", "nir"), nodata=0)
    os.truncate(path, path.stat().st_size // 2)
    code, table, _ = told(*words(tmp_path))
    assert code == 2
    assert f"b failed {tmp_path}/images/b.tif cannot be read as a raster" in table
    check(tmp_path, "ac")
    path.write_bytes(b"II*")
    assert told(*words(tmp_path, "--overwrite"))[0] == 2
    check(tmp_path, "ac")


def test_nan_is_no_value_and_has_no_label(tmp_path, told):
    plain_world(tmp_path, 1)
    values = picture(0, dtype=np.float32)
    values[:, :3] = np.nan
    write_raster(tmp_path / "images/a.tif", values, corner=corner_of(0), names=("red", "nir"), nodata=np.nan)
    assert told(*words(tmp_path, "source.window=24"))[0] == 0
    read = check(tmp_path, "a").read([0])
    assert np.isnan(read["x"][0, :, :3]).all()
    assert (read["y"][0, :3] == IGNORE).all()
    assert np.isfinite(read["x"][0, :, 3:]).all()


def test_scenes_of_another_resolution_are_named(tmp_path, told):
    plain_world(tmp_path)
    write_scene(tmp_path, 1, metres=20.0)
    code, table, _ = told(*words(tmp_path))
    assert code == 2
    assert "images/b.tif has pixels of 20, most scenes have 10; a store has pixels of one size" in table
    check(tmp_path, "ac")


def test_labels_in_a_wrong_crs_are_refused_and_in_another_right_one_are_not(tmp_path, told):
    plain_world(tmp_path, 1)
    write_labels(tmp_path / "labels.gpkg", [square_of(0)], crs="EPSG:3413")
    assert told(*words(tmp_path))[0] == 0
    check(tmp_path, "a")
    write_labels(tmp_path / "labels.gpkg", [shapely.transform(square_of(0), lambda xy: xy + np.array([3e5, -4e6]))])
    code, _, error = told(*words(tmp_path, "--overwrite"))
    assert code == 2
    assert error.startswith(f"no label of {tmp_path}/labels.gpkg lies on a scene (labels: longitude ")
    assert error.endswith("correct the labels' coordinate reference system, or give other labels.")
    check(tmp_path, "a")


def test_labels_without_a_crs_are_refused(tmp_path, told):
    import geopandas

    plain_world(tmp_path, 1)
    geopandas.GeoDataFrame(geometry=[square_of(0)]).to_file(tmp_path / "labels.gpkg", engine="pyogrio")
    code, _, error = told(*words(tmp_path))
    assert code == 2
    assert error.startswith(f"{tmp_path}/labels.gpkg has no coordinate reference system (CRS), so its shapes lie")


def test_labels_outside_without_area_or_crossing_themselves_are_named(tmp_path, told):
    plain_world(tmp_path, 1)
    east, north = corner_of(0)
    bow = shapely.Polygon([(east, north - 2), (east + 40, north - 38), (east + 40, north - 2), (east, north - 38)])
    flat = shapely.Polygon([(east, north), (east + 40, north), (east, north)])
    write_labels(tmp_path / "labels.gpkg", [square_of(0), square_of(9), flat, bow])
    code, table, error = told(*words(tmp_path, "source.window=24"))
    assert code == 2
    assert "labels.gpkg, feature 2 skipped lies outside of every scene that can be read" in table
    assert "labels.gpkg, feature 3 skipped the geometry has no area" in table
    assert "labels.gpkg, feature 4 mended repaired: self-intersection" in table
    assert error.startswith("2 labels or footprints could not be used (the table names them)")
    known = check(tmp_path, "a").read([0])["y"][0]
    assert (known[ROWS, COLUMNS] == 1).all()
    assert known[:4, :4].tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]], "both wings of the bow"


def test_labels_of_a_scene_that_is_not_there_and_scenes_that_no_label_names(tmp_path, told):
    for number in (0, 1):
        write_scene(tmp_path, number)
    write_labels(tmp_path / "labels.gpkg", [square_of(0), square_of(5)], image_id=["a", "f"])
    code, table, error = told(*words(tmp_path))
    assert code == 2
    assert "labels of 'f' skipped 1 of a scene that is not there" in table
    assert "images/b.tif is named by no label or footprint; the column image_id must have 'b'" in table
    assert error.startswith("1 of 2 scenes and 1 labels or footprints could not be used")
    check(tmp_path, "a")


def test_a_scene_without_a_crs_is_refused(tmp_path, told):
    plain_world(tmp_path, 1)
    write_raster(tmp_path / "images/a.tif", picture(0), corner=corner_of(0), crs=None)
    code, _, error = told(*words(tmp_path))
    assert code == 2
    assert error == (
        f"{tmp_path}/images/a.tif has no coordinate reference system (CRS), so its pixels lie nowhere; give it as "
        "source.crs, or read the file as a plain image with source.crs=none."
    )


def test_no_window_that_is_kept_makes_no_store(tmp_path, told):
    plain_world(tmp_path, 1)
    code, _, error = told(*words(tmp_path, "source.min_valid=0.9", "source.window=64"))
    assert code == 2
    assert "store would hold no sample: no window of 1 scenes is kept; check the options" in error
    assert not (tmp_path / "store").exists()


def test_append_and_overwrite_exclude_each_other(tmp_path, told):
    code, _, error = told(*words(plain_world(tmp_path, 1), "--append", "--overwrite"))
    assert (code, error) == (2, "--overwrite and --append exclude each other; give one of them.")
    code, _, error = told("prepare", "experiment=earth_small", f"data.store={tmp_path}/earth", "--append")
    assert (code, error) == (
        2, "--append adds scenes, and source 'earth' is prepared as a whole; use --overwrite.",
    )  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, b"size=256k") != 0:
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(str(place).encode(), 2)


def test_a_full_disk_ends_the_preparation_and_keeps_the_old_store(tmp_path, told, small_disk):
    plain_world(tmp_path, 1)
    store = f"data.store={small_disk}/store"
    assert told(*words(tmp_path), store)[0] == 0
    big = np.random.default_rng(0).integers(1, 4000, (2, 256, 256)).astype(np.uint16)
    write_raster(tmp_path / "images/b.tif", big, corner=corner_of(1), names=("red", "nir"), nodata=0)
    write_labels(tmp_path / "labels.gpkg", [square_of(0), square_of(1)])
    code, _, error = told(*words(tmp_path, "--append"), store)
    assert code == 2
    assert "the disk is full; free some space or choose another output folder" in error
    kept = Store.open(Path(small_disk) / "store")
    kept.validate()
    assert set(kept.metadata["scene"]) == {"a"}
