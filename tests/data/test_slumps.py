"""The simulated tundra: its truth is what the source reads, and the same seed gives the same files."""

import hashlib

import numpy as np
import pytest

from graticule.cli import main
from graticule.data.slumps import SLUMP, SlumpWorld
from graticule.data.sources.scenes import ScenesSource
from graticule.schema import IGNORE


@pytest.fixture(scope="module")
def tundra(tmp_path_factory):
    root = tmp_path_factory.mktemp("slumps") / "tundra"
    assert main(["generate", "slumps", "--root", str(root), "--scenes", "2", "--regions", "2", "--seed", "5"]) == 0
    return root


def source(root, kind, **options):
    return ScenesSource(
        str(root / kind), kind=kind, labels=str(root / "labels" / kind), heights=str(root / "dem.tif"),
        trend=str(root / "tc_trend.tif"), regions=str(root / "regions.gpkg"), window=128, **options,
    )  # fmt: skip


def test_the_same_seed_gives_the_same_world_and_outlines_hold_the_truth():
    one, other = SlumpWorld(3, 4, 4), SlumpWorld(3, 4, 4)
    np.testing.assert_array_equal(one.kind, other.kind)
    assert not np.array_equal(one.kind, SlumpWorld(4, 4, 4).kind)
    x, y = np.meshgrid(np.arange(0, 2560, 10.0), np.arange(0, 2560, 10.0))
    area = sum(outline.area for outline in one.outlines())
    assert len(one.outlines()) == (one.kind == SLUMP).sum() > 0
    assert one.is_slump(x, y).sum() * 100 == pytest.approx(area, rel=0.03)


@pytest.mark.parametrize("kind", ["sentinel2", "planet"])
def test_labels_relief_and_trends_are_read_where_they_are(tundra, kind):
    read = source(tundra, kind, bands=["red", "nir", "relative_elevation", "tc_greenness"], quality=1)
    assert read.remarks() == []
    names = list(read.scenes())
    assert len(names) == 2
    grid = read.scenes()[names[0]]
    known = read.truth(names[0])["y"]
    x, seen = read.read_scene(names[0]).read(0, 0, *grid.shape)
    slump, other = (known == 1) & seen, (known == 0) & seen
    assert (known != IGNORE).any()
    assert slump.any()
    assert x[2][slump].mean() < x[2][other].mean() - 1, "slumps are hollows, often wider than the disc"
    assert x[3][slump].mean() < x[3][other].mean() - 30, "and have lost their green"
    assert {row["region"] for _, _, row in read.samples()} == {"Anvil Coast", "Birch Delta"}


def test_files_are_the_same_for_the_same_seed(tundra, tmp_path):
    again = tmp_path / "again"
    assert main(["generate", "slumps", "--root", str(again), "--scenes", "2", "--regions", "2", "--seed", "5"]) == 0
    for path in sorted(tundra.rglob("*.tif")):
        same = again / path.relative_to(tundra)
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(same.read_bytes()).digest()


def test_nothing_to_write_is_refused(tmp_path, capsys):
    assert main(["generate", "slumps", "--root", str(tmp_path / "x"), "--scenes", "2", "--regions", "3"]) == 2
    assert "2 scenes in 3 regions cannot be made; give 1 to 6 regions with a scene each." in capsys.readouterr().err
