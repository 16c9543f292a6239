import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from graticule.cli import main
from graticule.data.sources.photo_classes import MERGED, PALETTES, class_of_colour
from graticule.data.sources.photo_depth import decoded, unity_code
from graticule.data.town.look import simulated_look
from graticule.data.town.photograph import FLOOD, MAY, MUST, make_view, photograph, surface
from graticule.data.town.solids import GROUND, SKY, SKY_METRES, Profile, ball, box, hull, rays_of, shade, trace, turned
from graticule.data.town.streets import make_street
from graticule.data.town_files import town_photographs, write_town
from graticule.errors import ConfigError
from graticule.grids import CameraGrid
from graticule.grids.rotation import matrix

LEVEL = Profile((-1.0, 1.0), (0.0, 0.0))
# x right, y down, z ahead of the camera → x ahead, y left, z up of the street.
FORWARD = (0.5, -0.5, 0.5, -0.5)


def ahead(side=9, focal=9.0):
    return CameraGrid(side, side, CameraGrid.pinhole(side, side, focal).lens, (side / 2, side / 2), rotation=FORWARD)


def test_the_middle_ray_looks_along_the_street():
    rays = rays_of(ahead())
    assert rays[4, 4] == pytest.approx([1, 0, 0], abs=1e-6)
    assert rays[8, 4] == pytest.approx([1, 0, -4 / 9], abs=1e-6), "down"
    assert rays[4, 8] == pytest.approx([1, -4 / 9, 0], abs=1e-6), "to the right"
    assert matrix(FORWARD) @ [0, 0, 1] == pytest.approx([1, 0, 0])


def test_depth_is_along_the_axis_and_exact():
    """From 2 m above the ground a ray 4/9 down meets it at 4.5 m; a wall at 3 m hides all that is behind it."""
    camera, origin = ahead(), (0.0, 0.0, 2.0)
    rays = rays_of(camera)
    hits = trace([], LEVEL, camera, origin, rays)
    assert hits.depth[8, 4] == pytest.approx(4.5)
    assert hits.depth[8, 0] == pytest.approx(4.5), "depth, not distance"
    assert (hits.depth[:5] == SKY_METRES).all()
    assert hits.solid[8, 4] == GROUND
    assert hits.solid[0, 4] == SKY
    wall = box("plaster", (3.0, -0.5, 0.0), (4.0, 0.5, 5.0), (1, 1, 1))
    hits = trace([wall], LEVEL, camera, origin, rays)
    assert hits.depth[:, 4] == pytest.approx(3.0)
    assert hits.normal[4, 4] == pytest.approx([-1, 0, 0])
    assert hits.solid[4, 0] == SKY, "beside it"


def test_solids_are_met_where_geometry_says():
    camera, origin = ahead(), (0.0, 0.0, 1.0)
    rays = rays_of(camera)
    middle = trace([ball("leaves", (5.0, 0.0, 1.0), (1.0, 2.0, 3.0), (1, 1, 1))], LEVEL, camera, origin, rays)
    assert middle.depth[4, 4] == pytest.approx(4.0)
    assert middle.normal[4, 4] == pytest.approx([-1, 0, 0])
    cube = box("car", (4.0, -1.0, 0.0), (6.0, 1.0, 2.0), (1, 1, 1))
    corner = trace([turned(cube, np.pi / 4, (5.0, 0.0))], LEVEL, camera, origin, rays)
    assert corner.depth[4, 4] == pytest.approx(5 - np.sqrt(2), abs=1e-5)
    roof = hull("roof", [(4, -2, 0), (6, -2, 0), (6, 2, 0), (4, 2, 0), (5, -2, 2), (5, 2, 2)],
                [(0, 1, 4), (3, 2, 5), (0, 3, 4), (1, 2, 5), (0, 1, 2)], (1, 1, 1))  # fmt: skip
    assert trace([roof], LEVEL, camera, origin, rays).depth[4, 4] == pytest.approx(4.5), "halfway up its slope"


def test_a_kerb_is_a_slope_of_the_ground():
    camera, origin = ahead(), (0.0, 0.0, 2.0)
    ground = Profile((-1.0, -0.9), (0.2, 0.0))
    hits = trace([], ground, camera, origin, rays_of(camera))
    assert hits.depth[8, 4] == pytest.approx(4.5)
    assert hits.depth[8, 8] == pytest.approx(1.8 * 9 / 4), "the pavement is nearer to the eye"


def test_a_mirror_shows_what_stands_above_it():
    """A wall at 3 m, 5 m high, seen in water 1 m below the eye: the ray 4/9 down sees it at -0.33 m of its image."""
    camera, origin = ahead(), (0.0, 0.0, 2.0)
    wall = box("plaster", (3.0, -9.0, 0.0), (4.0, 9.0, 5.0), (1, 1, 1))
    hits = trace([wall], LEVEL, camera, origin, rays_of(camera), mirror=1.0)
    assert hits.depth[8, 4] == pytest.approx(3.0)
    # It is met where its image is: at 2 - 3 * 4/9 = 0.67, so 1.33 m above the road, which is above the water.
    low = box("plaster", (3.0, -9.0, 0.0), (4.0, 9.0, 1.3), (1, 1, 1))
    assert trace([low], LEVEL, camera, origin, rays_of(camera), mirror=1.0).solid[8, 4] == SKY


def test_the_shadow_of_a_cube_is_as_long_as_the_sun_is_low():
    """The sun 45° high behind the camera's back: a cube of 1 m shades 1 m behind it."""
    x = np.linspace(0, 5, 51)
    points = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=-1)[None].astype(np.float32)
    cube = box("car", (2.0, -0.5, 0.0), (3.0, 0.5, 1.0), (1, 1, 1))
    camera = CameraGrid(1, 51, CameraGrid.pinhole(1, 51, 0.01).lens, (25.5, 0.5), rotation=FORWARD)
    sun = (-np.sqrt(0.5), 0.0, np.sqrt(0.5))
    # From within the cube it may be anywhere in the picture.
    shaded = shade([cube], camera, (2.5, 0.0, 1.0), points, np.ones((1, 51), bool), sun)[0]
    assert shaded[(x > 2.05) & (x < 3.95)].all()
    assert not shaded[(x < 1.95) | (x > 4.05)].any()


@pytest.fixture(scope="module")
def views():
    found = []
    for number in range(4):
        street = make_street(5, number)
        camera, origin = make_view(5, number, 48, 64, street)
        found.append((street, camera, origin, photograph(street, camera, origin, simulated_look(5, number))))
    return found


def test_labels_agree_with_each_other(views):
    for _, camera, origin, photo in views:
        assert ((photo.segmentation == 9) == (photo.depth == SKY_METRES)).all()
        must, may = photo.must_may == 1, photo.must_may == 2
        assert (photo.mask[must] == 1).all()
        assert (photo.mask[~must & ~may] == 0).all()
        assert set(np.unique(photo.mask[may])) == {0, 1}, "0.5 m lies between 0.2 and 0.8"
        # The road is below all water: it is seen nowhere through it.
        points = np.array(origin) + photo.depth[..., None] * rays_of(camera)
        low = (photo.segmentation == 1) & (points[..., 2] < FLOOD - 0.01) & (photo.depth < 400)
        assert (photo.mask[low] == 1).all()
        assert (photo.mask[points[..., 2] > FLOOD + 0.01] == 0).all()
        assert MUST < FLOOD < MAY
        level = surface(FLOOD, origin, rays_of(camera))
        seen = np.isfinite(level)
        assert (origin[2] + level[seen] * rays_of(camera)[seen][:, 2]) == pytest.approx(FLOOD, abs=1e-3)


def test_classes_are_plausible(views):
    classes = np.stack([photo.segmentation for *_, photo in views])
    shares = np.bincount(classes.ravel(), minlength=11) / classes.size
    assert 0.05 < shares[9] < 0.6, "sky"
    assert 0.1 < shares[1] < 0.6, "ground"
    assert shares[2] > 0.02, "houses"
    assert shares[0] == 0
    assert 0.15 < np.mean([photo.mask.mean() for *_, photo in views]) < 0.7


def test_domains_look_different_and_a_seed_says_all():
    simulated, real, flooded = (next(town_photographs(domain, 1, 32, 32, 3))[1] for domain in ("s", "r", "rf"))
    assert np.array_equal(simulated.x, next(town_photographs("s", 1, 32, 32, 3))[1].x)
    assert not np.array_equal(simulated.x, next(town_photographs("s", 1, 32, 32, 4))[1].x)
    assert not np.array_equal(simulated.depth, real.depth), "another town"
    dry = photograph(make_street(3, 2_000_000, houses=1.6, trees=0.8),
                     *make_view(3, 2_000_000, 32, 32, make_street(3, 2_000_000, houses=1.6, trees=0.8)),
                     simulated_look(3, 2_000_000), flooded=False)  # fmt: skip
    assert np.array_equal(dry.depth, flooded.depth)
    assert np.array_equal(dry.mask, flooded.mask)


@given(st.integers(0, 256 * 31 * 31 - 2))
def test_unitys_code_comes_back(step):
    depth = np.full((1, 1), step * 1000 / (256 * 31 * 31 - 1), np.float32)
    assert decoded(unity_code(depth), "unity")[0, 0] == pytest.approx(depth[0, 0], abs=0.003)


def test_unitys_code_is_its_formula():
    code = np.array([[[0, 0, 0], [247, 247, 255], [247, 247, 254], [239, 247, 255], [247, 239, 255]]], np.uint8)
    unit = 1000 / (256 * 31 * 31 - 1)
    assert decoded(code, "unity")[0] == pytest.approx([1000, 0, unit, 256 * 31 * unit, 256 * unit], rel=1e-6)


def test_the_files_and_lists_are_whole(tmp_path, capsys):
    assert main(["generate", "streets", "--root", str(tmp_path / "a"), "--images", "5", "--size", "24x32"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a")
    keys = {}
    for name in [f"{part}_{domain}" for part in ("train", "val", "test") for domain in ("s", "r", "rf")]:
        entries = json.loads((tmp_path / "a" / f"{name}.json").read_text())
        assert len(entries) == (3 if name.startswith("train") else 1)
        keys[name] = set(entries[0])
        assert all((tmp_path / "a" / path).is_file() for entry in entries for path in entry.values())
    assert keys["train_s"] == keys["val_s"] == {"x", "m", "s", "d"}
    assert keys["train_r"] == {"x"}
    assert keys["val_r"] == keys["test_r"] == {"x", "m", "s", "d", "must_may"}
    assert keys["train_rf"] == {"x", "m"}
    labels = np.asarray(Image.open(tmp_path / "a/r/s/00004.png"))
    assert class_of_colour(labels, PALETTES["merged"]).max() < len(MERGED), "every colour is known"


def test_nothing_is_made_of_nothing(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"0 photographs of 24 x 32 pixels cannot be made; give 1 or more"):
        write_town(tmp_path / "a", images=0, height=24, width=32)
    assert main(["generate", "streets", "--root", str(tmp_path / "a"), "--kind", "woodscape"]) == 2
    assert "--kind is 'woodscape'; of streets it is lists or vkitti2" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
