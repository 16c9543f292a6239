"""The bad inputs of docs/errors.md: each ends with one clear line, exit code 2, and nothing half-written."""

import ctypes
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import zarr
from PIL import Image
from tiny_earth import TINY

from graticule.cli import main
from graticule.data.street_files import write_street
from worlds import raster_world


def files(folder):
    """Every path under a folder with its size."""
    return {path: path.stat().st_size for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(capsys):
    """Runs words that must be refused; returns the one line, and checks that nothing in `folder` has changed."""

    def run(*words, folder=Path(), code=2):
        before = files(folder)
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        told = capsys.readouterr().err
        assert "Traceback" not in told
        lines = [line for line in told.splitlines() if line.startswith("graticule: error: ")]
        assert len(lines) == 1
        assert told.splitlines()[-1] == lines[0], "the error is the last line, and one line only"
        assert files(folder) == before, "something half-written was left"
        return lines[0].removeprefix("graticule: error: ")

    return run


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_ROOT", "OUTPUT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


ON_STORE = ["data.store=store", *TINY[1:], "split=random"]


def write_tif(path, values, *, crs="EPSG:4326", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype, **options}
    with rasterio.open(
        path, "w", crs=crs, transform=rasterio.transform.from_origin(10, 50, 0.1, 0.1), **profile
    ) as out:
        out.write(values)


RASTERS = ["prepare", "source=rasters", "source.images=images", "source.labels=labels", "source.classes=[a,b]"]
WINDOWS = ["source.window=8", "data.store=store"]


def write_rasters(*, names=("a", "b"), label=1):
    for name in names:
        write_tif(Path(f"images/{name}.tif"), np.ones((2, 16, 16), np.uint8))
        write_tif(Path(f"labels/{name}.tif"), np.full((1, 16, 16), label, np.uint8))


def test_no_store(desk, refused):
    assert refused("train", *TINY) == (
        "there is no store at stores/earth-raster-3deg; write it first: graticule prepare " + " ".join(
            f"'{word}'" if "[" in word else word for word in TINY
        )
    )  # fmt: skip


def test_truncated_chunk(desk, refused):
    raster_world(desk / "store")
    shard = max((desk / "store/data.zarr/x").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    os.truncate(shard, shard.stat().st_size // 2)
    told = refused("train", *ON_STORE)
    assert str(shard.relative_to(desk)) in told
    assert told.endswith("is truncated or damaged (its table of samples is not whole); prepare the store again.")


def test_wrong_number_of_bands(desk, refused):
    write_rasters()
    write_tif(Path("images/b.tif"), np.ones((3, 16, 16), np.uint8))
    assert refused(*RASTERS, *WINDOWS) == "images/b.tif has 3 bands; it must have 2: band_1, band_2."


def test_wrong_label_value(desk, refused):
    write_rasters(label=7)
    told = refused(*RASTERS, *WINDOWS)
    assert told == (
        "labels/a.tif has label 7; the 2 classes of source.classes have values 0..1, and 255 or nodata means unknown."
    )


def test_sample_without_any_value(desk, refused):
    raster_world(desk / "store", dtype=np.float32)
    sample = zarr.open_array(desk / "store/data.zarr/x")[5]
    (shard,) = (path for path in (desk / "store/data.zarr/x/c").rglob("*") if path.is_file())
    # zarr itself would leave out a chunk of nothing but NaN, which is another fault.
    shard.write_bytes(shard.read_bytes().replace(sample.tobytes(), np.full_like(sample, np.nan).tobytes()))
    told = refused("train", *ON_STORE)
    assert "sample 5 of store" in told
    assert "NaN" in told


def test_empty_split(desk, refused):
    raster_world(desk / "store")
    told = refused("train", *ON_STORE, "split=block", "split.shares=[1,0,0]")
    assert told == "the val part is empty; change split.by, split.shares or split.total_folds."


def test_leaking_split(desk, refused):
    raster_world(desk / "store")
    told = refused("train", *ON_STORE, "split=none")
    assert told.startswith("the split leaks: train and val share")
    assert told.endswith("or accept it with split.allow_leaks=true.")


def test_unknown_key(desk, refused):
    told = refused("train", "trainer.max_epoch=3")
    assert told == "the configuration has no key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"


def test_wrong_type(desk, refused):
    assert refused("train", "trainer.max_epochs=many") == "trainer.max_epochs is 'many'; it must be a whole number."


@pytest.fixture
def broken(run, tmp_path):
    """A copy of the run whose checkpoint may be spoilt."""
    return Path(shutil.copytree(run, tmp_path / "broken"))


@pytest.mark.parametrize("verb", ["evaluate", "predict", "resume"])
def test_truncated_checkpoint(broken, refused, verb):
    for path in (broken / "checkpoints").iterdir():
        os.truncate(path, 1000)
    told = refused(verb, broken, folder=broken / "checkpoints")
    assert "ckpt is truncated or damaged (1000 bytes); give another checkpoint of the run." in told


def test_checkpoint_of_another_model(here, run, refused, capsys):
    words = [*TINY, "model.channels=6", "evaluate.after_train=false", "run.name=other"]
    assert main(["train", *words]) == 0
    other = Path(capsys.readouterr().out.strip()) / "checkpoints/best.ckpt"
    told = refused("evaluate", run, "--checkpoint", other, folder=run / "evaluation")
    assert told == (
        f"{other} is of another model (unet) than the run (unet), or has other options; give a checkpoint of this run."
    )


class Bomb:
    """Would leave a file behind if it were unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "resume"])
def test_pickle_bomb_as_checkpoint(broken, refused, verb, monkeypatch):
    monkeypatch.chdir(broken)
    for path in (broken / "checkpoints").iterdir():
        torch.save({"state_dict": Bomb(), "graticule": {}}, path)
    told = refused(verb, broken, folder=broken / "checkpoints")
    assert "holds more than tensors and plain data, or is damaged; nothing in it was run." in told
    assert not (broken / "exploded").exists()


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


def test_disk_full_while_preparing(desk, small_disk, refused):
    write_rasters()
    for name in ("a", "b"):
        write_tif(Path(f"images/{name}.tif"), np.random.default_rng(0).integers(1, 255, (9, 160, 160), np.uint8))
        write_tif(Path(f"labels/{name}.tif"), np.ones((1, 160, 160), np.uint8))
    told = refused(*RASTERS, "source.window=32", f"data.store={small_disk}/store", folder=small_disk)
    assert told == (
        f"cannot write {small_disk}/store: the disk is full; free some space or choose another output folder. "
        "Nothing was left half-written."
    )


def test_disk_full_while_training(here, small_disk, refused):
    words = [*TINY, "model.channels=32", f"run.output_root={small_disk}"]
    told = refused("train", *words, folder=small_disk / "_runs")
    assert "the disk is full; free some space or choose another output folder" in told


def test_missing_crs(desk, refused):
    write_rasters()
    write_tif(Path("images/a.tif"), np.ones((2, 16, 16), np.uint8), crs=None)
    told = refused(*RASTERS, *WINDOWS)
    assert told.startswith("images/a.tif has no coordinate reference system (CRS), so its pixels lie nowhere;")


@pytest.fixture
def read_only(tmp_path):
    """A folder on a file system that nobody may write to, not even root."""
    place = tmp_path / "fixed"
    place.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 1, None) != 0:
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(str(place).encode(), 2)


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_read_only_output_folder(here, read_only, refused, verb):
    place = f"data.store={read_only}/store" if verb == "prepare" else f"run.output_root={read_only}"
    told = refused(verb, *TINY, place, folder=here / "runs")
    assert told.startswith(f"cannot write {read_only}/")
    assert "the file system is read-only; choose another output folder." in told


FISHEYE = ["prepare", "source=synwoodscape", "source.root=street", "source.grid=healpix:16", "data.store=store"]
LABEL = Path("street/semantic_annotations/semantic_annotations/gtLabels/00000_RV.png")


@pytest.fixture
def street(desk):
    """Four simulated fisheye photographs."""
    write_street(desk / "street", images=4, height=20, width=26)


def test_calibration_without_a_coefficient(street, refused):
    path = Path("street/calibration/calibration/00000_RV.json")
    calibration = json.loads(path.read_text())
    del calibration["intrinsic"]["k3"]
    path.write_text(json.dumps(calibration))
    assert refused(*FISHEYE) == (
        f"{path}: the calibration of camera RV has no intrinsic.k3; give the whole file as WoodScape publishes it."
    )


def test_image_of_another_size_than_its_calibration(street, refused):
    path = Path("street/rgb_images/rgb_images/00000_RV.png")
    Image.open(path).resize((13, 10)).save(path)
    assert refused(*FISHEYE) == (
        f"{path} has 10 x 13 pixels and its calibration 20 x 26; give the picture as it was taken, or the calibration "
        "that belongs to it."
    )


def test_label_outside_the_legend(street, refused):
    labels = np.asarray(Image.open(LABEL)).copy()
    labels[3, 4] = 27
    Image.fromarray(labels).save(LABEL)
    assert refused(*FISHEYE) == (
        f"{LABEL} has label 27; seg_annotation_info.json has 25 classes, 0..24: correct the label image or add the "
        "class there."
    )


def test_base_pixels_that_the_camera_does_not_see(street, refused):
    told = refused(*FISHEYE, "source.frame=vehicle", "source.cameras=[FV]", "source.base_pixels=[0,6]")
    assert told == (
        "no camera sees base pixel 6 with source.frame=vehicle; they see 0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11: leave it "
        "out of source.base_pixels."
    )


def test_nside_that_windows_do_not_divide(street, refused):
    assert refused(*FISHEYE, "source.window=12") == (
        "windows of 12 cells do not divide the base pixels of healpix:16; source.window must be a power of two up to "
        "16."
    )


def test_depth_of_zeros(street, refused):
    path = Path("street/depth_maps/raw_data/00000_RV.npy")
    np.save(path, np.zeros((20, 26), np.float32))
    assert refused(*FISHEYE, "source.targets=[depth]") == (
        f"{path} has no depth above 0; it must hold metres along the ray, 1000 for the background."
    )


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda: shutil.rmtree("street/calibration"), "street has no folder calibration/calibration; give the folder"),
        (lambda: LABEL.unlink(), f"{LABEL} is missing; every photograph needs one, or must be taken away."),
        (lambda: os.truncate(LABEL, 50), f"{LABEL} cannot be read as a picture"),
        (lambda: os.truncate("street/calibration/calibration/00000_FV.json", 50), "00000_FV.json is no whole JSON"),
        (lambda: shutil.rmtree("street/rgb_images"), "street has no folder rgb_images/rgb_images"),
    ],
)
def test_fisheye_files_that_are_missing_or_cut_short(street, refused, spoil, told):
    spoil()
    assert told in refused(*FISHEYE)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["source.grid=raster:1deg"], "photographs cannot be prepared on raster:1deg; use camera, camera:HxW or"),
        (["source.crop=[0,0,4,4]"], "source.crop is of photographs; leave it out on healpix:16."),
        (["source.grid=camera", "source.window=4"], "source.window and source.base_pixels are of a sphere"),
        (["source.grid=camera", "source.crop=[40,0,4,4]"], "lies outside the picture of 20 x 26 pixels."),
        (["source.cameras=[FW]"], "source.cameras has 'FW'; the known ones are: FV, MVL, MVR, RV."),
        (["source.train_share=0"], "source.train_share is 0; it must be between 0 and 1."),
        (["source.classes=large"], "source.classes"),
    ],
)
def test_fisheye_options_that_do_not_go_together(street, refused, words, told):
    assert told in refused(*FISHEYE, *words)


def test_photographs_by_blocks(street, refused):
    assert main([*FISHEYE, "source.grid=camera"]) == 0
    assert refused("train", "data.store=store", "model=unet", "model.channels=4", folder=Path("runs")) == (
        "the samples have no known place on the Earth, so blocks cannot split them; choose split=random, which keeps "
        "parents together, or split=published."
    )


def test_generate_needs_a_new_folder(street, refused):
    assert refused("generate", "fisheye").startswith("no folder was given; name the one to make:")
    assert refused("generate", "fisheye", "--root", "street") == (
        "street exists already; give another path, or remove it first."
    )
    assert "it must be height x width" in refused("generate", "fisheye", "--root", "new", "--size", "big")
