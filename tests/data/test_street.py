"""The simulated street: exact depth and labels, the published layout, and the same files for the same seed."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from graticule.data.sources.fisheye_classes import SYNWOODSCAPE, WOODSCAPE
from graticule.data.street import SKY_METRES, SURFACES, look, make_street
from graticule.data.street_files import CAMERAS, street_calibration, write_street
from graticule.errors import ConfigError
from graticule.grids import CameraGrid

ORIGIN = (3.75, 0.0, 0.66)


def digest(folder):
    """One number for the names and the content of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


def first_hit(street, ray):
    """Plane and boxes one by one, face by face: metres and surface of the first."""
    best = (SKY_METRES, "sky")
    if ray[2] < -1e-6 and -ORIGIN[2] / ray[2] < SKY_METRES:
        best = (-ORIGIN[2] / ray[2], "ground")
    for low, high, surface in zip(street.low, street.high, street.surface, strict=True):
        for axis in range(3):
            for side in (low[axis], high[axis]):
                if ray[axis] == 0:
                    continue
                metres = (side - ORIGIN[axis]) / ray[axis]
                place = np.array(ORIGIN) + metres * ray
                rest = [other for other in range(3) if other != axis]
                on_face = all(low[k] <= place[k] <= high[k] for k in rest)
                if 0 < metres < best[0] and on_face:
                    best = (metres, SURFACES[surface])
    return best


def test_depth_and_labels_are_those_of_the_first_surface_that_a_ray_meets():
    street = make_street(5, 2)
    rng = np.random.default_rng(0)
    rays = rng.normal(size=(400, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    view = look(street, ORIGIN, rays)
    hit_boxes = 0
    for ray, depth, surface in zip(rays, view.depth, view.surface, strict=True):
        metres, name = first_hit(street, ray)
        assert depth == pytest.approx(metres, rel=1e-5)
        if name == "ground":
            assert SURFACES[surface] in ("road", "road line", "sidewalk", "terrain")
        else:
            assert SURFACES[surface] == name
            hit_boxes += name != "sky"
    assert hit_boxes > 50


def test_the_ground_is_striped_as_the_street_says():
    street = make_street(5, 2)
    y = np.array([street.road[0] - 0.1, street.road[0] + 1.0, street.road[1] + street.kerb + 0.1])
    rays = np.stack([np.full(3, 0.01), y, np.full(3, -ORIGIN[2])], axis=1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    none = {name: getattr(street, name)[:0] for name in ("low", "high", "surface", "tint")}
    bare = dataclasses.replace(street, dashes=0.0, **none)
    view = look(bare, ORIGIN, rays)
    assert [SURFACES[s] for s in view.surface] == ["sidewalk", "road", "terrain"]


def test_rays_that_the_lens_does_not_show_see_nothing():
    view = look(make_street(0, 0), ORIGIN, np.full((2, 3), np.nan))
    assert not view.colour.any()
    assert (view.depth == SKY_METRES).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("street") / "syn"
    write_street(path, images=5, seed=11, height=40, width=52)
    return path


def test_the_layout_is_the_published_one(folder):
    names = ["00000_FV", "00000_RV", "00000_MVL", "00000_MVR", "00001_FV"]
    for sub, suffix in (
        ("rgb_images/rgb_images", ".png"), ("semantic_annotations/semantic_annotations/gtLabels", ".png"),
        ("calibration/calibration", ".json"), ("depth_maps/raw_data", ".npy"),
    ):  # fmt: skip
        assert sorted(path.name for path in (folder / sub).iterdir()) == sorted(name + suffix for name in names)
    image = Image.open(folder / "rgb_images/rgb_images/00000_FV.png")
    assert (image.mode, image.size) == ("RGB", (52, 40))
    label = Image.open(folder / "semantic_annotations/semantic_annotations/gtLabels/00000_FV.png")
    assert label.mode == "L"
    assert np.asarray(label).max() < 25
    depth = np.load(folder / "depth_maps/raw_data/00000_FV.npy")
    assert depth.dtype == np.float32
    assert depth.max() == 1000
    np.testing.assert_array_equal(depth == 1000, np.asarray(label) == SYNWOODSCAPE.index("sky"))
    assert json.loads((folder / "semantic_annotations/seg_annotation_info.json").read_text())["class_names"] == list(
        SYNWOODSCAPE
    )
    assert "Simulated" in (folder / "README.txt").read_text()


def test_the_same_seed_gives_the_same_files_and_another_does_not(folder, tmp_path):
    write_street(tmp_path / "again", images=5, seed=11, height=40, width=52)
    write_street(tmp_path / "other", images=5, seed=12, height=40, width=52)
    assert digest(folder) == digest(tmp_path / "again")
    assert digest(folder) != digest(tmp_path / "other")


def test_a_photograph_does_not_depend_on_how_many_are_made(folder, tmp_path):
    write_street(tmp_path / "one", images=1, seed=11, height=40, width=52)
    name = "rgb_images/rgb_images/00000_FV.png"
    assert (tmp_path / "one" / name).read_bytes() == (folder / name).read_bytes()


def test_woodscape_has_ten_classes_and_no_depth(tmp_path):
    write_street(tmp_path / "wood", images=1, kind="woodscape", seed=1, height=40, width=52)
    info = json.loads((tmp_path / "wood/semantic_annotations/seg_annotation_info.json").read_text())
    assert info["class_names"] == WOODSCAPE
    assert not (tmp_path / "wood/depth_maps").exists()


def test_the_four_cameras_differ_and_look_their_way():
    lenses = [json.dumps(street_calibration(camera)["intrinsic"]) for camera in CAMERAS]
    assert len(set(lenses)) == 4
    for camera, axis in zip(CAMERAS, ([1, 0], [-1, 0], [0, 1], [0, -1]), strict=True):
        grid = CameraGrid.from_woodscape(street_calibration(camera, 42, 56)).in_frame("vehicle")
        ahead = grid.unproject(*(np.array(value) for value in grid.centre))
        assert ahead[:2] @ axis > 0.6, f"{camera} looks elsewhere"
        assert ahead[2] < -0.3, f"{camera} does not look down"


def test_nothing_to_make_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="0 images of 966 x 1280 pixels cannot be made"):
        write_street(tmp_path / "none", images=0)
    assert not (tmp_path / "none").exists()
