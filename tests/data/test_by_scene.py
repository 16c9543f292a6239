"""Scenes are prepared one by one: side by side, after everything was killed, and into a store that is there."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graticule.data.by_scene import prepare_scenes
from graticule.data.sources.scenes import ScenesSource
from graticule.data.store import Store
from graticule.errors import OutputError, StoreError
from scene_world import DeadlySource, corner_of, picture, plain_world, write_raster, write_scene


def source(folder, kind=ScenesSource, **options):
    given = {"scenes": str(folder / "images"), "labels": str(folder / "labels.gpkg"), "window": 16} | options
    return kind(**given)


def prepared(folder, name="store", **options):
    kind = options.pop("kind", ScenesSource)
    return prepare_scenes(source(folder, kind), folder / name, progress=False, **options)


def same(one, other):
    """Whether two stores have the same samples, in any order."""
    orders = [store.metadata["sample_id"].sort_values().index for store in (one, other)]
    assert sorted(one.metadata["sample_id"]) == sorted(other.metadata["sample_id"])
    for left, right in zip(*orders, strict=True):
        for name, values in one.read([left]).items():
            np.testing.assert_array_equal(values, other.read([right])[name])
    return one.scenes == other.scenes


def killed(folder, code):
    """Run some lines in a process that must end by being killed."""
    lines = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import os, signal
from pathlib import Path
from scene_world import DeadlySource
from graticule.data.by_scene import prepare_scenes
from graticule.data.sources.scenes import ScenesSource
import graticule.data.store_writer as store_writer
folder = Path({str(folder)!r})
options = dict(scenes=str(folder / "images"), labels=str(folder / "labels.gpkg"), window=16)
{code}
"""
    ended = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_a_store_is_whole_with_labels_and_nothing_beside_it(tmp_path):
    store, results = prepared(plain_world(tmp_path))
    assert [(r.scene, r.status, r.samples) for r in results] == [(name, "done", 4) for name in "abc"]
    assert sorted(path.name for path in store.path.iterdir()) == [
        "config.toml", "data.zarr", "labels.geojson", "metadata.parquet",
    ]  # fmt: skip
    store.validate()
    assert hidden(tmp_path) == []
    told = json.loads((store.path / "labels.geojson").read_text())
    assert [feature["properties"]["scene"] for feature in told["features"]] == ["a", "b", "c"]
    assert told["features"][0]["properties"]["class"] == "yes"
    assert all(-180 <= x <= 180 for x, y in told["features"][0]["geometry"]["coordinates"][0])
    assert store.config["source_options"]["window"] == 16


def test_a_killed_preparation_goes_on_with_the_scenes_that_are_done(tmp_path, monkeypatch):
    plain_world(tmp_path)
    killed(tmp_path, 'prepare_scenes(DeadlySource(**options), folder / "store", progress=False)')
    (parts,) = hidden(tmp_path)
    assert parts == ".store.parts"
    assert not (tmp_path / "store").exists()
    (tmp_path / ".store-0123abcd.partial").mkdir()
    (tmp_path / parts / ".b-0123abcd.partial").mkdir()
    (tmp_path / ".store-other").mkdir()
    read = []
    real = ScenesSource.scene_samples
    monkeypatch.setattr(ScenesSource, "scene_samples", lambda self, name: read.append(name) or real(self, name))
    store, _ = prepared(tmp_path)
    assert read == ["b", "c"], "a was done"
    assert hidden(tmp_path) == [".store-other"], "what is not ours stays"
    monkeypatch.undo()
    assert same(store, prepared(tmp_path, "again")[0])


def test_a_part_of_a_scene_that_has_changed_is_not_used(tmp_path):
    plain_world(tmp_path)
    killed(tmp_path, 'prepare_scenes(DeadlySource(**options), folder / "store", progress=False)')
    write_raster(tmp_path / "images/a.tif", picture(7), corner=corner_of(0), names=("red", "nir"), nodata=0)
    store, _ = prepared(tmp_path)
    np.testing.assert_array_equal(store.read([0])["x"][0], picture(7)[:, :16, :16])


def test_a_killed_worker_s_scene_goes_to_another_one(tmp_path):
    pytest.importorskip("distributed")
    plain_world(tmp_path, 2)
    store, results = prepared(tmp_path, kind=DeadlySource, workers=2)
    assert (tmp_path / "killed").exists()
    assert [(r.scene, r.status) for r in results] == [("a", "done"), ("b", "done")]
    assert same(store, prepared(tmp_path, "again")[0])


def test_an_existing_cluster_does_the_work(tmp_path):
    distributed = pytest.importorskip("distributed")
    plain_world(tmp_path)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp://"
    ) as cluster:
        store, _ = prepared(tmp_path, dask=cluster.scheduler_address)
    assert same(store, prepared(tmp_path, "again")[0])


def test_new_scenes_are_added_and_the_store_is_as_if_prepared_at_once(tmp_path):
    plain_world(tmp_path, 2)
    first, _ = prepared(tmp_path)
    inodes = first.read([0])["x"]
    plain_world(tmp_path, 4)
    store, results = prepared(tmp_path, append=True)
    assert [r.status for r in results] == ["kept", "kept", "done", "done"]
    np.testing.assert_array_equal(store.read([0])["x"], inodes)
    assert same(store, prepared(tmp_path, "again")[0])
    assert len(prepared(tmp_path, append=True)[0]) == len(store), "nothing is new"


def test_scenes_of_another_folder_are_added_and_told(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    plain_world(one, 1)
    write_scene(two, 1)
    plain_world(tmp_path / "all", 2)
    labels = str(tmp_path / "all" / "labels.gpkg")
    path = tmp_path / "store"
    prepare_scenes(source(one, labels=labels), path, progress=False)
    store, _ = prepare_scenes(source(two, labels=labels), path, append=True, progress=False)
    assert store.config["source_options"]["scenes"] == [str(one / "images"), str(two / "images")]
    again, _ = prepare_scenes(ScenesSource(**store.config["source_options"]), tmp_path / "again", progress=False)
    assert same(store, again)
    with pytest.raises(StoreError, match=r"was prepared with source.overlap=0, and now it is 4"):
        prepare_scenes(source(two, labels=labels, overlap=4), path, append=True, progress=False)


def test_whole_shards_are_linked_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr("graticule.data.shards.SHARD_BYTES", 3 * 16 * 16 * 2 * 2)
    plain_world(tmp_path, 2)
    old, _ = prepared(tmp_path)
    shard = Path("data.zarr/x/c/0/0/0/0")
    number = (old.path / shard).stat().st_ino
    plain_world(tmp_path, 3)
    store, _ = prepared(tmp_path, append=True)
    assert (store.path / shard).stat().st_ino == number
    assert same(store, prepared(tmp_path, "again")[0])


def test_a_store_stays_valid_when_adding_to_it_is_killed(tmp_path):
    plain_world(tmp_path, 2)
    before, _ = prepared(tmp_path)
    kept = before.read([0])
    plain_world(tmp_path, 3)
    killed(
        tmp_path,
        """
real = store_writer.StoreWriter.extend
def extend(self, store):
    real(self, store)
    if len(store) == 4 and "parts" in str(store.path):
        os.kill(os.getpid(), signal.SIGKILL)
store_writer.StoreWriter.extend = extend
prepare_scenes(ScenesSource(**options), folder / "store", append=True, progress=False)
""",
    )
    store = Store.open(tmp_path / "store")
    store.validate()
    np.testing.assert_array_equal(store.read([0])["x"], kept["x"])
    assert len(store) == 8
    assert len(hidden(tmp_path)) == 2
    store, _ = prepared(tmp_path, append=True)
    assert len(store) == 12
    assert hidden(tmp_path) == []


def test_only_one_process_prepares_a_store(tmp_path):
    from graticule.data.by_scene import _parts_folder

    plain_world(tmp_path)
    with (
        _parts_folder(tmp_path / "store"),
        pytest.raises(OutputError, match=r"another process is preparing .*store; wait until it has ended"),
    ):
        prepared(tmp_path)
