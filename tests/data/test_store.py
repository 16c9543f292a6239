"""A store reads back what was written, with any tool; damage is told in one line; it is whole or absent."""

import concurrent.futures
import json
import multiprocessing
import pickle
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import worlds
from graticule.data import shards
from graticule.data.store import Store, StoreWriter
from graticule.errors import OutputError, StoreError
from graticule.grids import RasterGrid
from graticule.schema import IGNORE, Band, LegendClass, Target

LEGEND = (LegendClass(0, "no", "#000000"), LegendClass(1, "yes", "#ffffff"))
STRIP = RasterGrid(4, 60, (10.0, 0, 500_000, 0, -10.0, 7_000_000), "EPSG:32632")


def x_of(number, bands=5, dtype=np.uint16):
    """Every value of every sample is another one, so that a mix-up cannot go unseen."""
    return (np.arange(bands * 24).reshape(bands, 4, 6) + number * 1000).astype(dtype)


def y_of(number):
    y = np.full((4, 6), number % 2, np.uint8)
    y[0, 0] = IGNORE
    return y


def height_of(number):
    height = np.full((4, 6), number + 0.5, np.float32)
    height[1, 1] = np.nan
    return height


def row_of(number, **more):
    return {
        "sample_id": f"s{number}", "scene": "strip", "parent": "p", "region": "r", "place": (0, 6 * number), **more,
    }  # fmt: skip


def declared(**changes):
    return {
        "bands": [Band(f"b{band}", scale=1e-4) for band in range(5)],
        "targets": [Target("slump", "binary", LEGEND), Target("height", "height", unit="m")],
        "scenes": {"strip": STRIP}, "window": {"height": 4, "width": 6}, "source": "test",
        "source_options": {"option": 1}, "space": (4, 6), "dtype": np.uint16,
    } | changes  # fmt: skip


def write(path, count=10, **changes):
    with StoreWriter(path, **declared(**changes)) as writer:
        for number in range(count):
            x = x_of(number, dtype=writer.dtype)
            writer.append(x, {"y": y_of(number), "height": height_of(number)}, row_of(number))
    return Store.open(path)


@pytest.fixture
def many_shards(monkeypatch):
    """Three samples to a shard of x, so that ten samples fill three shards and begin a fourth."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * x_of(0).nbytes)


@pytest.fixture
def store(tmp_path, many_shards):
    return write(tmp_path / "store")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    return write(tmp_path_factory.mktemp("lasting") / "store")


def check_reads(store, count=10):
    order = [*reversed(range(count)), 3, 3, 0]
    read = store.read(order)
    np.testing.assert_array_equal(read["x"], np.stack([x_of(number, dtype=store.dtype) for number in order]))
    np.testing.assert_array_equal(read["y"], np.stack([y_of(number) for number in order]))
    np.testing.assert_array_equal(read["height"], np.stack([height_of(number) for number in order]))
    np.testing.assert_array_equal(store.read([4, 2], [3, 1, 2])["x"], np.stack([x_of(4), x_of(2)])[:, [3, 1, 2]])


def test_reads_back_what_was_written_over_several_shards(store):
    assert len(list((store.path / "data.zarr/x").rglob("c/*/0/0/0"))) == 4
    check_reads(store)
    assert store.read([1])["x"].dtype == np.uint16, "integers stay integers"
    store.validate()


@settings(max_examples=40, deadline=None)
@given(
    indices=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    bands=st.lists(st.integers(0, 4), min_size=1, max_size=7),
)
def test_any_bands_in_any_order_equal_picking_afterwards(lasting, indices, bands):
    picked = lasting.read(np.array(indices), bands, arrays=["x"])
    assert list(picked) == ["x"], "exactly the arrays named are read"
    np.testing.assert_array_equal(picked["x"], lasting.read(indices)["x"][:, bands])


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_plain_zarr_xarray_and_geopandas_read_it(tmp_path, many_shards, codec):
    xarray = pytest.importorskip("xarray")
    store = write(tmp_path / "store", codec=codec)
    check_reads(store)
    group = zarr.open_group(str(store.path / "data.zarr"), mode="r")
    x = np.stack([x_of(number) for number in range(10)])
    np.testing.assert_array_equal(group["x"][:], x)
    np.testing.assert_array_equal(group["height"][:], np.stack([height_of(number) for number in range(10)]))
    assert group["x"].chunks == (1, 5, 4, 6)
    assert group["x"].shards == (3, 5, 4, 6)
    assert (group["y"].fill_value, str(group["height"].fill_value)) == (IGNORE, "nan")
    cube = xarray.open_zarr(store.path / "data.zarr", consolidated=False)
    assert cube["x"].dims == ("sample", "band", "row", "column")
    np.testing.assert_array_equal(cube["x"].sel(sample=7), x[7])
    table = geopandas.read_parquet(store.path / "metadata.parquet")
    assert table.crs.to_epsg() == 4326
    assert table.sample_id.tolist() == [f"s{number}" for number in range(10)]
    config = tomllib.loads((store.path / "config.toml").read_text())
    assert (config["source"], config["source_options"], config["samples"]) == ("test", {"option": 1}, 10)
    assert (config["bands"][2]["name"], config["bands"][2]["scale"]) == ("b2", 1e-4)
    assert set(config["packages"]) >= {"graticule", "zarr", "numpy"}


def test_compression_makes_a_store_smaller(tmp_path):
    sizes = {}
    smooth = np.broadcast_to(np.arange(64, dtype=np.uint16), (5, 64, 64))
    for codec in ("none", "zstd"):
        with StoreWriter(tmp_path / codec, **declared(space=(64, 64), targets=[]), codec=codec) as writer:
            writer.append(smooth, {}, row_of(0))
        sizes[codec] = (tmp_path / codec / "data.zarr/x/c/0/0/0/0").stat().st_size
        np.testing.assert_array_equal(Store.open(tmp_path / codec).read([0])["x"][0], smooth)
    assert sizes["none"] == smooth.size * 2 + 16 + 4, "the samples, their table and its checksum"
    assert sizes["zstd"] < 0.2 * sizes["none"]


def test_an_array_that_another_tool_laid_out_reads_the_same(store):
    values = zarr.open_array(str(store.path / "data.zarr/x"), mode="r")[:]
    shutil.rmtree(store.path / "data.zarr/x")
    zarr.create_array(str(store.path / "data.zarr/x"), data=values, chunks=(4, 2, 4, 6))
    check_reads(Store.open(store.path))


def test_places_grids_and_footprints(store):
    assert store.grid(2) == STRIP.window(0, 12, 4, 6)
    assert store.metadata[["row", "col"]].iloc[2].tolist() == [0, 12]
    lon, lat = store.grid(2).lonlat()
    assert store.metadata.geometry.iloc[2].contains(shapely.points(lon[2, 3], lat[2, 3]))
    assert not store.metadata.geometry.iloc[3].contains(shapely.points(lon[2, 3], lat[2, 3]))


def test_empty_says_that_there_is_nothing_to_find(tmp_path):
    with StoreWriter(tmp_path / "store", **declared(targets=[Target("slump", "binary", LEGEND)])) as writer:
        for number in range(4):
            writer.append(x_of(number), {"y": y_of(number)}, row_of(number, note=f"n{number}"))
    metadata = Store.open(tmp_path / "store").metadata
    assert metadata["empty"].tolist() == [True, False, True, False], "a binary sample without any 1 is empty"
    assert metadata["note"].tolist() == ["n0", "n1", "n2", "n3"]


def test_healpix_samples_are_runs_of_cells(tmp_path):
    store = worlds.healpix_world(tmp_path / "store", nside=8, parent_nside=2, per_parent=1)
    assert store.space == (16,)
    assert store.metadata["cell"].tolist() == [16 * number for number in range(48)]
    np.testing.assert_array_equal(store.grid(5).cell_ids(), np.arange(80, 96))


def test_threads_pickles_and_forks_read_the_same(store, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_OPEN_FILES", 2)  # two of the four shards are then opened for each read
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, read in enumerate(pool.map(lambda index: store.read([index]), list(range(10)) * 20)):
            np.testing.assert_array_equal(read["x"][0], x_of(number % 10))
    check_reads(pickle.loads(pickle.dumps(store)))
    child = multiprocessing.get_context("fork").Process(target=check_reads, args=(store,))
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_preparing_twice_gives_the_same_bytes(tmp_path, many_shards):
    first, second = write(tmp_path / "a").path, write(tmp_path / "b").path
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


BAD_SAMPLES = [
    ({"x": x_of(0)[:4]}, {}, r"sample s0: array 'x' is uint16 \[4, 4, 6\]; it must be uint16 \[5, 4, 6\], as declared"),
    ({"x": x_of(0, dtype=np.int32)}, {}, r"array 'x' is int32 \[5, 4, 6\]; it must be uint16"),
    (
        {"y": y_of(0) + np.uint8(2)},
        {},
        r"target 'slump' has label 2; its legend has 0\.\.1 and 255 for unknown\. Correct",
    ),
    ({"height": height_of(0).astype(float)}, {}, r"array 'height' is float64 \[4, 6\]; it must be float32 \[4, 6\]"),
    ({"depth": height_of(0)}, {}, r"arrays \['depth', 'height', 'x', 'y'\]; they must be \['height', 'x', 'y'\]"),
    ({}, {"scene": "other"}, r"sample s0 is of scene 'other'; the scenes are \['strip'\]"),
]


@pytest.mark.parametrize(("arrays", "row", "message"), BAD_SAMPLES)
def test_a_sample_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, arrays, row, message):
    arrays = {"x": x_of(0), "y": y_of(0), "height": height_of(0)} | arrays
    with pytest.raises(StoreError, match=message), StoreWriter(tmp_path / "store", **declared()) as writer:
        writer.append(arrays.pop("x"), arrays, row_of(0, **row))
    assert list(tmp_path.iterdir()) == []


def test_a_sample_without_any_value_is_refused(tmp_path):
    x = x_of(0, dtype=np.float32)
    x[:, 1] = np.nan  # some missing pixels are no fault
    empty = np.full_like(x, np.nan)
    arrays = {"y": y_of(0), "height": height_of(0)}
    message = r"sample s1 has no value in any band \(all NaN\); leave it out and prepare the store again"
    with pytest.raises(StoreError, match=message), StoreWriter(tmp_path / "s", **declared(dtype=np.float32)) as writer:
        writer.append(x, arrays, row_of(0))
        writer.append(empty, arrays, row_of(1))


def test_declarations_that_make_no_store_are_refused(tmp_path):
    twice = [Target("a", "binary", LEGEND), Target("b", "binary", LEGEND)]
    with pytest.raises(StoreError, match=r"several targets share the array \['y'\]; keep one target per array"):
        StoreWriter(tmp_path / "store", **declared(targets=twice))
    with pytest.raises(StoreError, match=r"0 bands of type uint16; give at least one"):
        StoreWriter(tmp_path / "store", **declared(bands=[]))
    with pytest.raises(StoreError, match=r"would hold no sample; check the options of source 'test'"):
        write(tmp_path / "store", count=0)
    with StoreWriter(tmp_path / "row", **declared()) as writer:
        with pytest.raises(StoreError, match=r"sample s0 does not say its \['parent'\]; the source must give them"):
            writer.append(x_of(0), {}, {key: value for key, value in row_of(0).items() if key != "parent"})
        writer.append(x_of(0), {"y": y_of(0), "height": height_of(0)}, row_of(0))


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rewrite_array(path, values):
    shutil.rmtree(path)
    zarr.create_array(str(path), data=values, chunks=(1, *values.shape[1:]))


def drop_column(path):
    geopandas.read_parquet(path).drop(columns="parent").to_parquet(path)


DAMAGES = {
    "no folder": (lambda p: shutil.rmtree(p), r"there is no store at .*; prepare one with `graticule prepare`, or"),
    "no config": (lambda p: (p / "config.toml").unlink(), r"is not a store \(it has no config\.toml\); give the fold"),
    "damaged config": (lambda p: truncate(p / "config.toml", 105), r"config\.toml is damaged \(.*\); prepare it again"),
    "short config": (
        lambda p: replace(p / "config.toml", "[scenes", "[other"),
        r"config\.toml is incomplete or damaged \(KeyError\('scenes'\)\); prepare it again",
    ),
    "another format": (
        lambda p: replace(p / "config.toml", "format = 1", "format = 9"),
        r"is of format 9; this version reads format 1; prepare it again",
    ),
    "no metadata": (lambda p: (p / "metadata.parquet").unlink(), r"not a whole store \(it has no metadata\.parquet\)"),
    "damaged metadata": (lambda p: truncate(p / "metadata.parquet", 700), r"metadata\.parquet is damaged \(.*\); prep"),
    "column": (lambda p: drop_column(p / "metadata.parquet"), r"metadata\.parquet has no column \['parent'\]; prepare"),
    "scene": (
        lambda p: replace(p / "config.toml", "[scenes.strip]", "[scenes.strap]"),
        r"metadata\.parquet has scenes \['strip'\] not in config\.toml",
    ),
    "no data": (lambda p: shutil.rmtree(p / "data.zarr"), r"is not a whole store \(it has no data\.zarr\); prepare it"),
    "no array": (lambda p: shutil.rmtree(p / "data.zarr/y"), r"has no array 'y' \(.*y/zarr\.json is missing\); prep"),
    "damaged description": (lambda p: truncate(p / "data.zarr/x/zarr.json", 60), r"x/zarr\.json is damaged \(.*\); p"),
    "missing shard": (
        lambda p: (p / "data.zarr/x/c/1/0/0/0").unlink(),
        r"x/c/1/0/0/0 cannot be read \(No such file or directory\); prepare",
    ),
    "truncated shard": (
        lambda p: truncate(p / "data.zarr/x/c/1/0/0/0", 500),
        r"x/c/1/0/0/0 is truncated or damaged \(its table of samples is not whole\); prepare the store again",
    ),
    "lengths": (
        lambda p: rewrite_array(p / "data.zarr/y", np.zeros((9, 4, 6), np.uint8)),
        r"differ in length \(x 10, y 9, height 10, metadata 10\); prepare it again",
    ),
    "type": (
        lambda p: rewrite_array(p / "data.zarr/y", np.zeros((10, 4, 6), np.int16)),
        r"'y' is of type int16 and must be uint8; prepare it again",
    ),
    "bands": (
        lambda p: replace(p / "config.toml", 'name = "b4"', 'name = "b4" }, { name = "b5"'),
        r"x has 5 bands but config\.toml names 6; prepare it again with `graticule prepare`",
    ),
    "space": (
        lambda p: rewrite_array(p / "data.zarr/height", np.zeros((10, 4, 5), np.float32)),
        r"samples of 'height' are \[4, 5\] but config\.toml says \[4, 6\]; prepare it again",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_refused_when_opened(store, damage):
    harm, message = DAMAGES[damage]
    harm(store.path)
    with pytest.raises(StoreError, match=message) as caught:
        Store.open(store.path)
    assert "\n" not in str(caught.value)
    assert str(store.path) in str(caught.value)


def test_a_shard_that_lost_samples_but_kept_its_table_is_refused(store):
    path = store.path / "data.zarr/x/c/0/0/0/0"
    content = path.read_bytes()
    path.write_bytes(content[240:])  # one sample less in front of an intact table
    with pytest.raises(StoreError, match=r"x/c/0/0/0/0 holds only 2 of its 3 samples whole; prepare the store again"):
        Store.open(store.path)


def test_a_shard_cut_after_opening_is_told_when_read(store):
    truncate(store.path / "data.zarr/x/c/2/0/0/0", 300)
    store.read([0])
    with pytest.raises(StoreError, match=r"x/c/2/0/0/0 is truncated; prepare the store again"):
        store.read([7])


def test_a_damaged_compressed_sample_is_told_when_read(tmp_path):
    store = write(tmp_path / "store", codec="zstd")
    path = store.path / "data.zarr/x/c/0/0/0/0"
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"data\.zarr/x cannot be read \(.*\); prepare the store again"):
        Store.open(store.path).read([0])


def test_wrong_values_are_told_when_read(store, tmp_path):
    path = store.path / "data.zarr/y/c/0/0/0"
    path.write_bytes(bytes([7]) + path.read_bytes()[1:])
    reopened = Store.open(store.path)
    reopened.read([1])
    with pytest.raises(StoreError, match=r"sample 0 of .*: target 'slump' has label 7; its legend has 0\.\.1 and 255"):
        reopened.read([1, 0])
    floats = write(tmp_path / "floats", dtype=np.float32)
    path, size = floats.path / "data.zarr/x/c/4/0/0/0", x_of(0).size * 4
    path.write_bytes(np.full(x_of(0).size, np.nan, np.float32).tobytes() + path.read_bytes()[size:])
    floats = Store.open(floats.path)
    floats.read([4], [1])  # a band may well be without a value
    with pytest.raises(StoreError, match=r"sample 4 of .* has no value in any band \(all NaN\)"):
        floats.validate()


def test_what_is_not_there_cannot_be_read(store):
    with pytest.raises(IndexError, match="sample -1 does not exist; there are 10, counted from 0"):
        store.read([-1])
    with pytest.raises(IndexError, match="band 5 does not exist; there are 5"):
        store.read([0], [5])
    with pytest.raises(StoreError, match=r"has no array 'depth'; it has \['height', 'x', 'y'\]"):
        store.read([0], arrays=["depth"])


def test_an_existing_store_survives_a_failed_replacement(store):
    with pytest.raises(OutputError, match="exists already"):
        write(store.path)
    with pytest.raises(KeyboardInterrupt), StoreWriter(store.path, **declared(), overwrite=True) as writer:
        writer.append(x_of(0), {"y": y_of(0), "height": height_of(0)}, row_of(0))
        raise KeyboardInterrupt
    assert list(store.path.parent.iterdir()) == [store.path]
    check_reads(Store.open(store.path))
    assert len(write(store.path, count=3, overwrite=True)) == 3


WRITE_FOR_EVER = """
import itertools, os, resource, signal, sys
import numpy as np
sys.path[:0] = {path!r}
from data.test_store import *
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with StoreWriter(Path(sys.argv[1]), **declared()) as writer:
    for number in itertools.count():
        writer.append(x_of(number % 60), {{"y": y_of(0), "height": height_of(0)}}, row_of(number % 10))
        if sys.argv[2] == "kill" and number == 50:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def write_in_a_process(path, how):
    here = str(Path(__file__).parents[1])
    script = WRITE_FOR_EVER.format(path=[here])
    return subprocess.run([sys.executable, "-c", script, str(path), how], capture_output=True, text=True, check=False)


def test_a_killed_writer_leaves_no_store(tmp_path):
    assert write_in_a_process(tmp_path / "store", "kill").returncode == -signal.SIGKILL
    assert not (tmp_path / "store").exists()
    check_reads(write(tmp_path / "store"))


def test_a_disk_that_takes_no_more_leaves_nothing(tmp_path):
    done = write_in_a_process(tmp_path / "store", "limit")
    assert "OutputError: cannot write" in done.stderr
    assert "Nothing was left half-written." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_description_is_that_of_the_specification(store):
    meta = json.loads((store.path / "data.zarr/x/zarr.json").read_text())
    (codec,) = meta["codecs"]
    assert codec["name"] == "sharding_indexed"
    assert [inner["name"] for inner in codec["configuration"]["codecs"]] == ["bytes"]
    assert meta["dimension_names"] == ["sample", "band", "row", "column"]
