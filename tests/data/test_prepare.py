"""Preparation writes what the source says, tells how far it is, and leaves nothing when it fails."""

import tomllib

import numpy as np
import pytest

from graticule.data.prepare import prepare
from graticule.data.sources.earth import EarthSource
from graticule.data.store import Store
from graticule.errors import OutputError, StoreError
from graticule.grids import HealpixGrid


@pytest.mark.parametrize("grid", ["raster:1deg", "healpix:32"])
def test_the_earth_becomes_a_store_that_can_be_prepared_again(tmp_path, grid):
    source = EarthSource(grid)
    store = prepare(source, tmp_path / "store", progress=False)
    assert len(store) == source.n_samples
    assert store.scenes == {"earth": source.grid}
    assert (store.bands, store.targets, store.dtype) == (source.bands, source.targets, np.uint8)
    for index, (x, arrays, row) in enumerate(source.samples()):
        read = store.read([index])
        np.testing.assert_array_equal(read["x"][0], x)
        np.testing.assert_array_equal(read["y"][0], arrays["y"])
        np.testing.assert_array_equal(read["height"][0], arrays["height"])
        assert store.metadata["sample_id"].iat[index] == row["sample_id"]
    assert set(store.metadata["region"]) <= {row["region"] for _, _, row in source.samples()}
    assert abs(store.grid(7).areas().sum() / source.grid.areas().sum() * len(store) - 1) < 1
    config = tomllib.loads((store.path / "config.toml").read_text())
    again = prepare(EarthSource(**config["source_options"]), tmp_path / "again", progress=False)
    for name in ("config.toml", "metadata.parquet"):
        assert (again.path / name).read_bytes() == (store.path / name).read_bytes()


def test_windows_of_the_sphere_lie_under_their_parents(tmp_path):
    store = prepare(EarthSource("healpix:16", parent_nside=2), tmp_path / "store", progress=False)
    for index in (0, 17, 47):
        assert store.metadata["parent"].iat[index] == f"p{index:04d}"
        assert store.grid(index) == HealpixGrid(16, (index,), 2)


class Damaged(EarthSource):
    """An Earth with a label that its legend does not have, in its fifth window."""

    def samples(self):
        for number, (x, arrays, row) in enumerate(super().samples()):
            yield x, arrays | {"y": arrays["y"] * 0 + 77} if number == 4 else arrays, row


def test_a_fault_of_the_source_leaves_nothing(tmp_path):
    with pytest.raises(
        StoreError, match=r"sample r00c04: target 'landcover' has label 77; its legend has 0\.\.9 and 255"
    ):
        prepare(Damaged("raster:5deg"), tmp_path / "store", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "store").mkdir()
    source = EarthSource("raster:5deg")
    with pytest.raises(OutputError, match="exists already; give another path, or remove it first"):
        prepare(source, tmp_path / "store", progress=False)
    assert len(prepare(source, tmp_path / "store", overwrite=True, progress=False)) == 288
    assert len(prepare(source, str(tmp_path / "store"), overwrite=True, progress=False, codec="zstd")) == 288
    Store.open(tmp_path / "store").validate()


def test_progress_is_plain_lines_without_a_terminal(tmp_path, capfd):
    prepare(EarthSource("raster:5deg"), tmp_path / "store")
    told = capfd.readouterr().err.splitlines()
    assert "Preparing store: 28 of 288" in told
    assert told[-1] == "Preparing store: 288 samples written"
    assert len(told) == 11
    prepare(EarthSource("raster:5deg"), tmp_path / "silent", progress=False)
    assert capfd.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    prepare(EarthSource("raster:5deg"), tmp_path / "store")
    assert "288/288" in capfd.readouterr().err
