"""Nets of the sphere from the command line, on windows and on the whole sphere as one sample; where they do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from graticule.cli import main
from graticule.commands.assemble import base_pixels_of
from graticule.data.store import StoreWriter
from graticule.errors import ConfigError, GridError
from graticule.grids import HealpixGrid
from graticule.models.healpix import OnHealpix
from graticule.schema import Band, LegendClass, Target

LITTLE = [
    "data.targets=[landcover]", "split.seed=1529", "trainer.max_epochs=1", "trainer=cpu", "data.batch_size=2",
    "trainer.limit_train_batches=2", "evaluate.bootstrap=0", "evaluate.examples=2", "callbacks=quiet",
]  # fmt: skip
NET = ["model.embed_dim=8", "model.depths=[2,2]", "model.num_heads=[1,2]"]
SPHERE = ["source.grid=healpix:16", "source.parent_nside=0"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_ROOT", "OUTPUT_ROOT", "SLURM_JOB_ID", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def _run() -> Path:
    (folder,) = Path("runs/_runs").iterdir()
    return folder


def test_the_whole_sphere_is_trained_evaluated_and_predicted_as_one_sample():
    words = [*SPHERE, "model=heal_swin", "model.window_size=16", *NET, *LITTLE]
    assert main(["prepare", *SPHERE]) == 0
    assert main(["train", *words]) == 0
    told = torch.load(_run() / "checkpoints" / "last.ckpt", weights_only=True)["graticule"]["config"]
    assert told["base_pixels"] == list(range(12))
    found = json.loads(next((_run() / "evaluation").rglob("metrics.json")).read_text())
    assert 0 < found["targets"]["landcover"]["pixels"] < 12 * 16**2  # the test blocks of the one sample
    assert main(["predict", str(_run())]) == 0
    layer = zarr.open_group(str(next(_run().rglob("earth-landcover.zarr"))), mode="r")
    labels = layer["landcover"]
    assert labels.shape == (12 * 16**2,)  # type: ignore[union-attr]


def test_the_sphere_net_trains_on_windows_and_the_plane_net_on_rasters_and_spheres():
    for number, words in enumerate(
        (
            ["source.grid=healpix:16", "source.parent_nside=2", "model=heal_swin", "model.window_size=16", *NET],
            ["source.grid=raster:3deg", "model=swin_unet", "model.window_size=4", *NET],
            [*SPHERE, "model=swin_unet", "model.window_size=4", *NET],
        )
    ):
        own = [*words, *LITTLE, f"data.store=s{number}", f"run.output_root=r{number}", "evaluate.after_train=false"]
        assert main(["prepare", *own]) == 0
        assert main(["train", *own]) == 0


def test_a_sphere_net_on_a_raster_is_one_line(capsys):
    words = ["source.grid=raster:3deg", "model=heal_swin", *NET, *LITTLE]
    assert main(["prepare", *words]) == 0
    assert main(["train", *words]) == 2
    told = capsys.readouterr().err
    assert "model 'heal_swin' works on HEALPix and the store is a raster" in told
    assert "use model=swin_unet" in told


def _store(path: Path, scenes: dict[str, HealpixGrid]):
    target = Target("landcover", "classes", (LegendClass(0, "a", "#000000"), LegendClass(1, "b", "#ffffff")))
    size = next(iter(scenes.values())).size
    with StoreWriter(
        path, bands=[Band("b")], targets=[target], scenes=scenes, window={}, source="world", source_options={},
        space=(size,), dtype=np.uint8,
    ) as writer:  # fmt: skip
        for name in scenes:
            row = {"sample_id": name, "scene": name, "parent": name, "region": "r", "place": (0,)}
            writer.append(np.zeros((1, size), np.uint8), {"y": np.zeros(size, np.uint8)}, row)
    from graticule.data.store import Store

    return Store.open(path)


def test_the_base_pixels_of_a_store_are_those_of_all_its_samples(tmp_path):
    eight = HealpixGrid(4, tuple(range(8)))
    assert base_pixels_of(_store(tmp_path / "a", {"x": eight, "y": eight})) == list(range(8))
    assert base_pixels_of(_store(tmp_path / "b", {"x": HealpixGrid(4)})) == list(range(12))
    assert base_pixels_of(_store(tmp_path / "c", {"x": HealpixGrid(4, (3,)), "y": HealpixGrid(4, (5,))})) is None
    other = HealpixGrid(4, tuple(range(4, 12)))
    with pytest.raises(ConfigError, match="cover several parents that differ \\(2 kinds\\); prepare samples that all"):
        base_pixels_of(_store(tmp_path / "d", {"x": eight, "y": other}))


def test_a_plane_net_sees_each_base_pixel_as_a_square_for_itself():
    net = torch.nn.Conv2d(2, 3, 3, padding=1)
    x = torch.randn(2, 2, 5 * 16)
    alone = torch.cat([OnHealpix(net)(part) for part in x.split(16, -1)], -1)
    torch.testing.assert_close(OnHealpix(net, 5)(x), alone)
    with pytest.raises(GridError, match="a window has 40 cells"):
        OnHealpix(net, 5)(x[..., :40])
