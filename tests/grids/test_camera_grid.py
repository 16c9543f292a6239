"""Cameras: laws of the lens and of the image, answers known on paper, and the published projection."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from graticule.errors import GridError
from graticule.grids import CameraGrid, Grid, HealpixGrid, Lens, Pose, grid_from_dict, resampler
from graticule.grids.coverage import base_pixels_seen
from graticule.grids.rotation import inverse, matrix, product, turn

GOLDEN = Path(__file__).parents[3] / "shared/golden/woodscape_fv_projection.npz"

# The public calibration of the front camera (WoodScape, scripts/calibration/front.json).
FRONT = {
    "name": "FV",
    "extrinsic": {
        "quaternion": [0.5941767906169857, -0.5878843193897473, 0.3873184109007999, -0.3890121040340926],
        "translation": [3.7484, 0.0, 0.66017],
    },
    "intrinsic": {
        "model": "radial_poly", "poly_order": 4, "k1": 339.749, "k2": -31.988, "k3": 48.275, "k4": -7.201,
        "cx_offset": 3.942, "cy_offset": -3.093, "aspect_ratio": 1.0, "height": 966.0, "width": 1280.0,
    },
}  # fmt: skip


def front():
    return CameraGrid.from_woodscape(FRONT)


# A lens whose radius stops growing within the image: 100 θ - 30 θ² turns at 5/3 rad.
TURNING = CameraGrid(200, 220, Lens("polynomial", (100.0, -30.0)), (110.0, 100.0))
CAMERAS = [
    front(), front().in_frame("level"), front().in_frame("vehicle"), front().resized(640, 768).window(5, -9, 600, 700),
    CameraGrid.pinhole(48, 64, 40.0), CameraGrid.fisheye(90, 120, 30.0, np.pi / 2), TURNING,
    CameraGrid(60, 80, Lens("equidistant", (20.0,)), (37.5, 28.0), (1.0, 1.25), turn((0, 1, 0), 2.0)),
]  # fmt: skip


@pytest.mark.parametrize("camera", CAMERAS, ids=repr)
def test_a_pixel_is_where_its_ray_falls_to_machine_precision(camera):
    column, row = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    there = camera.project(camera.directions())
    shown = camera.shown
    # At the rim of a lens that stops growing the inverse is a square root: half the digits.
    theta, _ = camera.angles(column, row)
    steep = shown & (camera.lens.slope(np.nan_to_num(theta)) > 5)
    assert steep.sum() > 0.7 * shown.sum()
    for found, wanted in zip(there, (column, row), strict=True):
        np.testing.assert_allclose(found[steep], wanted[steep], rtol=0, atol=2e-12)
        assert np.isnan(found[~shown]).all()
    place = camera.locate(*camera.lonlat())
    np.testing.assert_array_equal(place[steep], np.arange(camera.size).reshape(camera.shape)[steep])
    assert (place[~shown] == -1).all()


@settings(max_examples=60, deadline=None)
@given(
    coefficients=st.lists(st.floats(-60, 60), min_size=0, max_size=3),
    focal=st.floats(50, 500),
    share=arrays.arrays(np.float64, 20, elements=st.floats(0, 1)),
)
def test_every_polynomial_lens_can_be_inverted_up_to_where_it_turns(coefficients, focal, share):
    lens = Lens("polynomial", (focal, *coefficients))
    theta = np.sort(share) * lens.limit * 0.999
    radius = lens.radius(theta)
    assert (np.diff(radius) >= 0).all()
    back = lens.angle(radius)
    np.testing.assert_allclose(lens.radius(back), radius, rtol=0, atol=1e-12 * (1 + radius.max()))
    condition = np.maximum(1.0, lens.radius(np.array(lens.limit)) / np.maximum(lens.slope(theta), 1e-9))
    assert (np.abs(back - theta) <= 1e-14 * condition).all()
    assert np.isnan(lens.angle(lens.radius(np.array([lens.limit])) * 1.001 + 1e-6)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_project_and_unproject_are_inverse_for_any_rotation(seed):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    rotation = turn(tuple(axis / np.linalg.norm(axis)), float(rng.uniform(-3, 3)))
    camera = CameraGrid(40, 50, Lens("polynomial", (30.0, -2.0, 1.0)), (24.0, 21.0), (1.0, 1.1), rotation)
    column, row = rng.uniform(-40, 90, 200), rng.uniform(-35, 80, 200)
    rays = camera.unproject(column, row)
    shown = np.isfinite(rays[:, 0])
    np.testing.assert_allclose(np.linalg.norm(rays[shown], axis=1), 1.0, atol=1e-14)
    for found, wanted in zip(camera.project(rays[shown]), (column, row), strict=True):
        np.testing.assert_allclose(found, wanted[shown], rtol=0, atol=1e-11)


def test_rotations_agree_with_scipy():
    one, other = turn((0, 0.6, 0.8), 1.1), turn((1, 0, 0), -2.5)
    np.testing.assert_allclose(matrix(one), Rotation.from_quat(one).as_matrix(), atol=1e-15)
    both = (Rotation.from_quat(one) * Rotation.from_quat(other)).as_matrix()
    np.testing.assert_allclose(matrix(product(one, other)), both, atol=1e-15)
    np.testing.assert_allclose(matrix(inverse(one)) @ matrix(one), np.eye(3), atol=1e-15)


def test_a_pinhole_is_similar_triangles():
    camera = CameraGrid.pinhole(20, 30, focal=10.0)
    x, y, z = np.moveaxis(camera.directions(), -1, 0)
    np.testing.assert_allclose((x / z)[3], (np.arange(30) + 0.5 - 15) / 10, atol=1e-14)
    np.testing.assert_allclose((y / z)[:, 7], (np.arange(20) + 0.5 - 10) / 10, atol=1e-14)


def test_an_equidistant_hemisphere_has_two_pi_steradians():
    focal = 100.0
    camera = CameraGrid.fisheye(320, 320, focal, max_angle=np.pi / 2)
    assert camera.areas().sum() == pytest.approx(2 * np.pi, rel=1e-3)
    # At the centre a pixel is 1/f wide; towards the rim the image stretches rings by θ / sin θ.
    assert camera.areas()[160, 160] == pytest.approx(1 / focal**2, rel=1e-4)
    assert camera.areas()[160, 160 + 150] == pytest.approx(np.sin(1.505) / 1.505 / focal**2, rel=1e-4)
    assert (camera.areas()[~camera.shown] == 0).all()


def test_pixels_tile_the_sphere_so_that_windows_and_resizes_keep_the_area():
    camera = CameraGrid.pinhole(40, 60, 30.0)
    # The solid angle of a rectangle seen from above its centre.
    a, b = 30 / 30, 20 / 30
    paper = 4 * np.arcsin(a * b / np.sqrt((1 + a * a) * (1 + b * b)))
    assert camera.areas().sum() == pytest.approx(paper, rel=1e-12)
    assert camera.resized(10, 20).areas().sum() == pytest.approx(paper, rel=1e-12)
    np.testing.assert_allclose(camera.window(3, 5, 10, 10).areas(), camera.areas()[3:13, 5:15], rtol=1e-12)
    np.testing.assert_array_equal(camera.in_frame("camera").areas(), camera.areas())


def test_windows_and_resizes_look_where_the_whole_image_looks():
    camera = front()
    np.testing.assert_allclose(
        camera.window(100, 40, 8, 9).directions(), camera.directions()[100:108, 40:49], atol=1e-15
    )
    # The middle of 2 x 2 pixels is the centre of one pixel of the image of half the size.
    small = camera.resized(483, 640).directions()[10, 20]
    np.testing.assert_allclose(small, camera.unproject(np.array(41.0), np.array(21.0)), atol=1e-15)
    padded = camera.window(-2, -3, 970, 1286)
    np.testing.assert_allclose(padded.directions()[2, 3], camera.directions()[0, 0], atol=1e-15)


def test_frames_turn_the_pole():
    camera = front()
    ahead = camera.in_frame("vehicle").directions()[483, 640]
    assert ahead[0] > 0.9, "the front camera looks ahead"
    assert ahead[2] < -0.3, "and down"
    ray = Rotation.from_quat(FRONT["extrinsic"]["quaternion"]).apply(camera.directions()[100, 200])
    np.testing.assert_allclose(camera.in_frame("vehicle").directions()[100, 200], ray, atol=1e-12)
    # In the level frame the pole is straight ahead of the vehicle; published as Euler angles "yz" of that axis.
    level = camera.in_frame("level")
    x, y, z = Rotation.from_quat(FRONT["extrinsic"]["quaternion"]).inv().apply([1, 0, 0])
    published = Rotation.from_euler("yz", [np.arccos(z), np.arctan2(y, x)])
    np.testing.assert_allclose(published.apply(level.directions()[7, 9]), camera.directions()[7, 9], atol=1e-12)
    with pytest.raises(GridError, match="has no pose, so there is no frame 'level'; use the frame 'camera'"):
        CameraGrid.pinhole(4, 4, 2.0).in_frame("level")


@pytest.mark.parametrize("camera", CAMERAS, ids=repr)
def test_a_camera_is_a_grid_and_a_value(camera):
    assert isinstance(camera, Grid)
    again = grid_from_dict(json.loads(json.dumps(camera.to_dict())))
    assert again == camera
    assert hash(again) == hash(camera)
    assert camera.shape == (camera.height, camera.width)
    assert camera.size == np.prod(camera.shape)
    assert camera != camera.window(0, 1, *camera.shape)


def test_bilinear_weights_reproduce_a_plane_and_add_to_one_at_the_edge():
    camera = CameraGrid.fisheye(30, 40, 14.0, max_angle=1.2)
    plane = np.add.outer(2.0 * np.arange(30), 3.0 * np.arange(40)).reshape(-1)
    column, row = np.array([20.3, 17.9, 21.0]), np.array([14.2, 20.7, 3.4])
    x, y, z = np.moveaxis(camera.unproject(column, row), -1, 0)
    index, weights = camera.neighbours_weights(np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(z)))
    np.testing.assert_allclose((plane[index] * weights).sum(-1), 2 * (row - 0.5) + 3 * (column - 0.5), atol=1e-9)
    index, weights = camera.neighbours_weights(*camera.lonlat())
    np.testing.assert_allclose(weights.sum(-1)[camera.shown], 1.0, atol=1e-12)
    assert not weights[~camera.shown].any()
    assert camera.shown.reshape(-1)[index[index >= 0]].all(), "nothing is taken from beyond the lens"


def test_to_the_sphere_and_back_keeps_a_smooth_image_and_all_labels():
    camera = CameraGrid.fisheye(80, 80, 25.0, max_angle=1.5)
    sphere = HealpixGrid(128)
    x, y, _ = np.moveaxis(camera.directions(), -1, 0)
    image = np.nan_to_num(np.stack([100 + 50 * x, 80 * y * y]))
    there, seen = resampler(camera, sphere, "bilinear").values(image, camera.shown)
    back, known = resampler(sphere, camera, "bilinear").values(there, seen)
    inner = camera.shown & (camera.lonlat()[1] > 10)
    assert known[inner].all()
    np.testing.assert_allclose(back[:, inner], image[:, inner], atol=0.5)
    labels = np.where(x > 0, np.uint8(2), np.uint8(1))
    sphere_labels = resampler(camera, sphere, "nearest").labels(labels)
    there_x = sphere.directions()[:, 0]
    clear = (np.abs(there_x) > 0.05) & seen
    np.testing.assert_array_equal(sphere_labels[clear], np.where(there_x > 0, 2, 1)[clear])
    assert (sphere_labels[~seen] == 255).all()
    # Depth: where it is not known there is none on the sphere either, and no mixture of known and unknown.
    depth, valid = np.full(camera.shape, 7.0, np.float32), camera.shown & (x > 0)
    values, there = resampler(camera, sphere, "nearest").values(depth, valid)
    assert (values[there] == 7.0).all()
    assert np.isnan(values[~there]).all()
    np.testing.assert_array_equal(there[clear], (there_x > 0)[clear])


def test_base_pixels_seen_by_a_hemisphere_are_the_northern_ones_and_half_of_the_equatorial():
    seen = base_pixels_seen(CameraGrid.fisheye(400, 400, 120.0, max_angle=np.pi / 2))
    np.testing.assert_allclose(seen, [1] * 4 + [0.5] * 4 + [0] * 4, atol=0.02)


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published projection is not at hand")
def test_the_published_projection_is_reproduced():
    golden = np.load(GOLDEN)
    camera, sphere = CameraGrid.from_woodscape(json.loads(str(golden["calibration"]))), HealpixGrid(32, tuple(range(8)))
    column, row = camera.project(sphere.directions())
    np.testing.assert_allclose(column - 0.5, golden["u"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(row - 0.5, golden["v"], rtol=0, atol=1e-10)
    lon, lat = camera.lonlat()
    # The published inverse reads a table, right to 0.07 arc minutes.
    np.testing.assert_allclose(90 - lat[::40, ::40], np.rad2deg(golden["theta_every_40"]), atol=0.07 / 60)
    turned = np.deg2rad(lon[::40, ::40]) - golden["phi_every_40"]
    np.testing.assert_allclose(np.sin(turned), 0, atol=1e-12)
    y, x = np.mgrid[:966, :1280]
    image = np.stack([255 * x / 1280, 255 * y / 966, 127 + 100 * np.sin(x / 90) * np.cos(y / 70)]).astype(np.uint8)
    values, _ = resampler(camera, sphere, "bilinear").values(image)
    # At the image's edge the published one mixes with black.
    u, v = golden["u"], golden["v"]
    inner = (u >= 0) & (u <= 1279) & (v >= 0) & (v <= 965)
    np.testing.assert_allclose(values[:, inner], golden["hp_img"][:, inner], atol=1e-3)
    blocks = np.kron(golden["mask_blocks"], np.ones((69, 64), np.uint8))
    np.testing.assert_array_equal(resampler(camera, sphere, "nearest").labels(blocks, 0), golden["hp_mask"])


def without(section, key):
    return {**FRONT, section: {k: v for k, v in FRONT[section].items() if k != key}}


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        (without("intrinsic", "k3"), "the calibration of camera FV has no intrinsic.k3; give the whole file"),
        (without("intrinsic", "cx_offset"), "has no intrinsic.cx_offset"),
        (without("extrinsic", "quaternion"), "has extrinsic.quaternion = None; it must be 4 numbers"),
        ({"name": "FV"}, "has no intrinsic.k1"),
        ({**FRONT, "intrinsic": {**FRONT["intrinsic"], "k2": "far"}}, "has intrinsic.k2 = 'far'; it must be a finite"),
        ({**FRONT, "intrinsic": {**FRONT["intrinsic"], "model": "kannala"}}, "'kannala'; WoodScape's is 'radial_poly'"),
        ({**FRONT, "intrinsic": {**FRONT["intrinsic"], "k1": -3}}, "first coefficient of a polynomial lens is -3"),
    ],
)
def test_a_calibration_that_is_not_whole_is_refused(calibration, told):
    with pytest.raises(GridError, match=told):
        CameraGrid.from_woodscape(calibration)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: grid_from_dict(CAMERAS[4].to_dict() | {"lens": {"kind": "mirror", "coefficients": [1.0]}}),
            "'mirror' is not a lens; it must be pinhole",
        ),
        (lambda: Lens("pinhole", (1.0, 2.0)), "it must have the focal length alone"),
        (lambda: Lens("pinhole", (1.0,), 2.0), "cannot show rays up to 114.592°"),
        (lambda: CameraGrid(0, 4, Lens("pinhole", (1.0,)), (1, 1)), "0 x 4 pixels is empty"),
        (lambda: CameraGrid(4, 4, Lens("pinhole", (1.0,)), (1, 1), (1, -1)), "scales positive"),
        (lambda: grid_from_dict({"kind": "camera", "height": 3}), "lacks 'lens'"),
    ],
)
def test_cameras_that_cannot_be_are_refused(make, told):
    with pytest.raises(GridError, match=told):
        make()


def test_the_pose_is_no_part_of_where_pixels_look():
    camera = front()
    assert isinstance(camera.pose, Pose)
    assert camera.pose.translation == (3.7484, 0.0, 0.66017)
    assert camera.without_pose().pose is None
    np.testing.assert_array_equal(camera.without_pose().lonlat()[1], camera.lonlat()[1])
