"""Nets that see and paint: what goes into them, what comes out, in pictures of any size."""

import numpy as np
import pytest
import torch
from torch import nn

from graticule.errors import ConfigError
from graticule.inference.clouds import clouded, perlin
from graticule.inference.framing import framed
from graticule.inference.masking import TaskMasker
from graticule.inference.rendering import Flood, Smog, Wildfire, infer_all
from graticule.models.masker.masker import Masker
from graticule.models.painter import Painter
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction

BANDS = [Band(name, scale=1 / 255, mean=0.5, std=0.25) for name in ("red", "green", "blue")]
LEGEND = tuple(LegendClass(n, name, "#000000") for n, name in enumerate(("Road", "House", "Sky")))
DEPTH = Target("depth", "depth", unit="m", mean=20.0, std=5.0)
CLASSES, MASK = Target("semantics", "classes", LEGEND), Target("mask", "binary", LEGEND[:2])
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)


class Brightness(nn.Module):
    """Says of each pixel: depth 20 m and 5 more per unit of red; sky where it is bright; water where it is dark."""

    def forward(self, x):
        grey = x.mean(1, keepdim=True)
        return torch.cat([x[:, :1], -grey * 0 - 1, -grey, grey, -grey], 1)


@pytest.fixture
def simple():
    return DensePrediction(Brightness(), BANDS, [DEPTH, CLASSES, MASK])


def test_a_task_sees_what_a_camera_stores(simple):
    """Black is -2 and white 2 of the standardised bands."""
    sees = TaskMasker(simple)
    assert (sees.layers, sees.sky) == (("depth", "segmentation", "mask"), 2)
    photos = torch.stack([torch.zeros(3, 2, 3), torch.ones(3, 2, 3)])
    found = sees(photos)
    torch.testing.assert_close(found["depth"][:, 0, 0], torch.tensor([10.0, 30.0]))
    assert found["segmentation"].unique(dim=0)[:, 0, 0].tolist() == [1, 2]
    torch.testing.assert_close(found["mask"][:, 0, 0], torch.tensor([2.0, -2.0]).sigmoid())


def test_what_is_seen_in_a_small_picture_comes_back_at_the_size_of_the_photograph():
    """A net that tells of each pixel the width of the picture, by which it knows at which size it was asked."""

    class Width(nn.Module):
        def forward(self, x):
            return torch.full_like(x[:, :1], x.shape[-1] / 100)

    task = DensePrediction(Width(), BANDS, [DEPTH])
    photos = torch.rand(2, 3, 48, 96)
    shown = {((24, 24), False): 48, ((96, 96), False): 192, (None, False): 96, ((48, 96), False): 96,
             ((24, 60), False): 60, ((24, 60), True): 60, ((40, 30), True): 30}  # fmt: skip
    for (learnt, whole), width in shown.items():
        found = TaskMasker(task, learnt, whole=whole)(photos)["depth"]
        assert found.shape == (2, 48, 96)
        torch.testing.assert_close(found, torch.full((2, 48, 96), 20 + 5 * width / 100))


def test_files_come_before_what_is_seen(simple):
    seen, sky, layers = {}, np.zeros((40, 70), int), {}
    pictures = infer_all(PHOTO, masker=simple, seconds=seen, layers=layers)
    assert list(pictures) == ["wildfire", "smog"]
    assert list(seen) == ["masker", "wildfire", "smog"]
    assert {name: layer.shape for name, layer in layers.items()} == dict.fromkeys(
        ("depth", "segmentation", "mask"), (40, 70)
    )
    told = infer_all(PHOTO, [Wildfire(sky=2), Smog()], **layers)
    assert all(np.array_equal(told[name], pictures[name]) for name in told)
    given = infer_all(PHOTO, masker=simple, segmentation=sky, disparity=np.ones((40, 70)))
    expected = infer_all(PHOTO, segmentation=sky, disparity=np.ones((40, 70)))
    assert all(np.array_equal(given[name], expected[name]) for name in expected)


def test_a_depth_that_knows_no_unit_is_a_disparity():
    losses = {"depth": [{"name": "sigm"}], "semantics": [{"name": "cross_entropy"}]}
    relative = DensePrediction(Brightness(), BANDS, [DEPTH, CLASSES, MASK], losses=losses)
    sees = TaskMasker(relative)
    assert sees.layers == ("disparity", "segmentation", "mask")
    found = sees(torch.stack([torch.zeros(3, 2, 3), torch.ones(3, 2, 3)]))
    torch.testing.assert_close(found["disparity"][:, 0, 0], torch.tensor([1 / 10, 1 / 30]))
    assert list(infer_all(PHOTO, masker=relative)) == ["wildfire", "smog"]
    both = {"depth": [{"name": "sigm"}, {"name": "l1"}]}
    assert "depth" in TaskMasker(DensePrediction(Brightness(), BANDS, [DEPTH, CLASSES, MASK], losses=both)).layers


def test_what_cannot_mask_is_said(simple):
    grey = DensePrediction(nn.Identity(), BANDS[:1], [MASK])
    with pytest.raises(
        ConfigError, match="the masker takes 1 bands on a grid of kind 'raster'; it must take the three"
    ):
        TaskMasker(grey)
    high = DensePrediction(nn.Conv2d(3, 1, 1), BANDS, [Target("h", "height", unit="m")])
    with pytest.raises(ConfigError, match=r"the masker predicts h \(height\); it must predict depth, classes or"):
        TaskMasker(high)


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    masker = DensePrediction(Masker(3, 5, [DEPTH, CLASSES, MASK], "mobilenet"), BANDS, [DEPTH, CLASSES, MASK])
    painter = Painter(16, 4).eval()

    def paint(photos, masks):
        return (painter(photos * 2 - 1, masks[:, None]) + 1) / 2

    return masker, paint


@pytest.mark.parametrize("shape", [(40, 70), (33, 129), (64, 64)])
def test_all_events_by_nets_of_any_size_the_same_each_time(nets, shape):
    masker, paint = nets
    photo = np.resize(PHOTO, (*shape, 3))
    layers = {}
    pictures = infer_all(photo, masker=masker, painter=paint, layers=layers)
    assert list(pictures) == ["wildfire", "smog", "flood"]
    assert all(picture.shape == photo.shape for picture in pictures.values())
    again = infer_all(photo, masker=masker, painter=paint)
    assert all(np.array_equal(picture, again[name]) for name, picture in pictures.items())
    dry = layers["mask"] <= 0.5
    assert np.array_equal(pictures["flood"][dry], photo[dry])


def test_a_flood_leaves_what_is_dry_as_it_was_and_a_soft_one_mixes(nets):
    mask = np.zeros((40, 70), np.float32)
    mask[20:], mask[30:] = 0.4, 0.9
    hard = infer_all(PHOTO, painter=nets[1], mask=mask)["flood"]
    soft = infer_all(PHOTO, [Flood(nets[1], threshold=None)], mask=mask)["flood"]
    assert np.array_equal(hard[:30], PHOTO[:30])
    assert np.array_equal(soft[:20], PHOTO[:20])
    assert (soft[20:30] != PHOTO[20:30]).any()


def test_clouds_change_the_water_alone(nets):
    sky = np.where(np.arange(40)[:, None] < 15, 9, 0) + np.zeros((1, 70), int)
    known = {"mask": np.float32(np.arange(40)[:, None] >= 25) + np.zeros((1, 70), np.float32), "segmentation": sky}
    plain, grey, other = (infer_all(PHOTO, [Flood(nets[1], clouds=c)], **known)["flood"] for c in (None, 0, 1))
    assert np.array_equal(grey, infer_all(PHOTO, [Flood(nets[1], clouds=0)], **known)["flood"])
    assert not np.array_equal(plain, grey)
    assert not np.array_equal(other, grey)
    assert np.array_equal(plain[:25], grey[:25])
    with pytest.raises(ConfigError, match="a flood under clouds needs segmentation of every photograph"):
        infer_all(PHOTO, [Flood(nets[1], clouds=0)], mask=known["mask"])


@pytest.mark.parametrize("shape", [(1, 1), (13, 40), (96, 64)])
def test_noise_of_any_size_is_smooth_and_of_mean_nought(shape):
    noise = perlin(*shape, 3)
    assert noise.shape == shape
    assert np.abs(noise).max() <= 1
    assert np.array_equal(noise, perlin(*shape, 3))
    large = perlin(256, 256, 3)
    assert abs(large.mean()) < 0.1
    assert 0.2 < large.std() < 0.5
    assert max(np.abs(np.diff(large, axis=axis)).max() for axis in (0, 1)) < 0.12


def test_clouds_stand_in_the_sky_alone():
    photos, sky = torch.full((2, 3, 20, 30), 0.5), torch.zeros(2, 20, 30, dtype=torch.bool)
    sky[0, :10] = True
    made = clouded(photos, sky, 0)
    assert torch.equal(made[1], photos[1])
    assert torch.equal(made[0, :, 10:], photos[0, :, 10:])
    assert made[0, :, :10].std() > 0.05
    assert bool(((made >= 0.1) & (made <= 0.9)).all())


def test_framing_cuts_photograph_and_layers_alike():
    rows = np.broadcast_to(np.arange(80, dtype=np.uint8)[:, None, None], (80, 40, 3))
    layers = {"depth": rows[..., 0].astype(np.float32)[::2, ::2] + 1, "segmentation": rows[..., 0].astype(int)}
    photo, cut = framed(np.ascontiguousarray(rows), layers, 20, whole=False)
    assert photo.shape == (20, 20, 3)
    assert {name: layer.shape for name, layer in cut.items()} == {"depth": (20, 20), "segmentation": (20, 20)}
    assert np.abs(photo[..., 0].astype(float) - cut["depth"]).max() <= 2
    assert np.abs(photo[..., 0].astype(float) - cut["segmentation"]).max() <= 2
    whole, same = framed(np.ascontiguousarray(rows), layers, 20, whole=True)
    assert whole.shape == (40, 20, 3)
    assert same["depth"].shape == (40, 20)
    assert framed(rows, layers, None, whole=False)[0] is rows
