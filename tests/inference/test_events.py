"""Smog, the light of a wildfire and a flood's compositing, against laws, other libraries and sums on paper."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d, maximum_filter
from torchvision.transforms.functional import adjust_brightness, adjust_contrast

from graticule.inference.events import (
    THICKEST,
    THINNEST,
    flood,
    from_linear,
    smog,
    thickness_of_disparity,
    thickness_of_metres,
    to_linear,
    wildfire,
)
from graticule.inference.glow import SIDE, blurred, glow, widened

AIR = np.array([0.76 ** (1 / 2.4) * 1.055 - 0.055] * 3) * (235 / 255) + np.array([224, 192, 29]) / 255 * 20 / 255
SIDES = st.integers(1, 17)
SHARES = st.floats(0, 1, width=32)


def photo_of(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


def skies(height, width, *, share=0.4, batch=()):
    """The sky above, and a clump of it below, which the fire must not take for one."""
    sky = torch.zeros(*batch, height, width, dtype=torch.bool)
    sky[..., : int(share * height), : max(1, width // 2)] = True
    sky[..., -1, :] = True
    return sky


def fire_mask(sky):
    """The glow by SciPy: one direct filter after the other."""
    height = len(sky)
    side = min(sky.shape)
    upper = np.where(np.arange(height)[:, None] >= 2 / 3 * height, False, sky)
    reach = max(0, int(0.18 * side) - 1)
    mask = maximum_filter(upper.astype(float), 2 * reach + 1, mode="constant")
    for axis in (0, 1):
        radius = round(side * 140 / 640)
        mask = gaussian_filter1d(mask, 140.5 / 640 * side, axis, mode="mirror", radius=radius) if radius else mask
    return mask


# --- the glow ---------------------------------------------------------------------------------------------------------


@given(SIDES, SIDES, st.integers(0, 40), st.floats(0.3, 20), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_blur_is_scipys_at_every_size_and_radius(height, width, radius, sigma, seed):
    mask = np.random.default_rng(seed).random((height, width))
    told = blurred(torch.from_numpy(mask), radius, sigma).numpy()
    for axis in (0, 1):
        mask = gaussian_filter1d(mask, sigma, axis, mode="mirror", radius=radius)
    np.testing.assert_allclose(told, mask, atol=1e-12)


@given(SIDES, SIDES, st.integers(0, 20), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_widening_is_scipys_maximum_filter(height, width, reach, seed):
    mask = (np.random.default_rng(seed).random((height, width)) > 0.9).astype(np.float32)
    told = widened(torch.from_numpy(mask), reach).numpy()
    assert np.array_equal(told, maximum_filter(mask, 2 * reach + 1, mode="constant"))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 57), (101, 64), (640, 640)])
def test_the_glow_is_the_direct_filters(size):
    sky = skies(*size)
    np.testing.assert_allclose(glow(sky).numpy(), fire_mask(sky.numpy()), atol=2e-6)


def test_of_640_pixels_the_figures_are_the_published_ones():
    sky = torch.zeros(640, 640, dtype=torch.bool)
    sky[:100] = True
    weights = np.exp(-0.5 * (np.arange(-140, 141) / 140.5) ** 2)
    # Widened by 114 rows the sky ends at row 213; row 300 sees of it what lies 87 rows away and more.
    assert float(glow(sky)[300, 320]) == pytest.approx(weights[: 140 - 86].sum() / weights.sum(), abs=1e-6)
    assert float(glow(sky)[213 + 141, 0]) == 0


def test_a_large_photograph_glows_as_if_nothing_had_been_made_smaller():
    side = 3 * SIDE // 2
    rows = torch.zeros(side, 1)
    rows[:200], rows[300:337] = 1, 1
    exact = blurred(widened(rows, int(0.18 * side) - 1), round(side * 140 / 640), 140.5 / 640 * side)
    assert (glow(rows.bool().expand(-1, side)) - exact).abs().max() < 1 / 255
    strip = skies(2, 9 * SIDE)
    assert glow(strip).shape == strip.shape


# --- smog -------------------------------------------------------------------------------------------------------------


def test_srgb_is_the_standards():
    values = torch.tensor([0.0, 0.04045, 0.5, 1.0], dtype=torch.float64)
    np.testing.assert_allclose(to_linear(values), [0, 0.04045 / 12.92, 0.2140411, 1], atol=1e-7)
    steps = torch.arange(256) / 255
    np.testing.assert_allclose(from_linear(to_linear(steps)), steps, atol=1e-6)


@given(st.lists(st.floats(0, 1e5, width=32), min_size=2, max_size=9), st.floats(0.5, 1e4))
def test_the_thickness_grows_with_the_distance_between_two_fixed_ends(metres, visibility):
    thickness = thickness_of_metres(torch.tensor([sorted(metres)]), visibility)
    assert (thickness.diff() >= 0).all()
    assert thickness.min() >= THINNEST
    assert thickness.max() <= THICKEST


def test_visibility_is_where_two_per_cent_of_the_contrast_is_left():
    near = float(thickness_of_metres(torch.tensor([[10.0]]), 100.0)) - THINNEST
    assert math.exp(-10 * near) == pytest.approx(0.02, rel=1e-3)
    ends = thickness_of_metres(torch.tensor([[0.0, torch.inf]]), 100.0)
    np.testing.assert_allclose(torch.exp(-ends), np.exp([[-0.2, -2.0]]), rtol=1e-6)


def test_disparity_gives_the_published_thickness():
    d = np.linspace(0, 1, 11)
    d2 = 1 / (0.3 + 0.7 * d)
    d3 = 0.1 + 0.9 * (d2 - d2.min()) / (d2.max() - d2.min())
    told = thickness_of_disparity(torch.from_numpy(d)[None])
    np.testing.assert_allclose(told[0], 2 * d3, atol=1e-12)
    assert (told.diff() < 0).all()


@given(st.tuples(SHARES, SHARES, SHARES), st.lists(st.floats(0, 5), min_size=2, max_size=9))
def test_more_smog_is_always_nearer_to_the_colour_of_the_air(colour, thickness):
    photo = torch.tensor(colour)[:, None, None].expand(3, 1, len(thickness))
    seen = smog(photo, torch.tensor(sorted(thickness))[None])[:, 0].double().numpy()
    assert (np.diff(np.abs(seen - AIR[:, None])) <= 1e-6).all()
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_smog_of_one_pixel_on_paper():
    seen = smog(torch.full((3, 1, 1), 0.5), torch.tensor([[0.7]]))
    light = math.exp(-0.7) * 0.2140411 + (1 - math.exp(-0.7)) * 0.76
    srgb = 1.055 * light ** (1 / 2.4) - 0.055
    paper = [srgb * 235 / 255 + value / 255 * 20 / 255 for value in (224, 192, 29)]
    np.testing.assert_allclose(seen[:, 0, 0], paper, atol=1e-6)


# --- wildfire ---------------------------------------------------------------------------------------------------------


def graded(photo):
    """The grading alone, by torchvision."""
    shifted = (photo + torch.tensor([40.0, -10, -20])[:, None, None] / 255).clamp(0, 1)
    return 0.8 * adjust_brightness(adjust_contrast(shifted, 1.5), 0.73)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (40, 33)])
def test_without_sky_there_is_only_the_grading(size):
    photo = photo_of(3, *size)
    told = wildfire(photo, torch.zeros(size, dtype=torch.bool), 0.5)
    np.testing.assert_allclose(told, graded(photo), atol=1e-6)


def test_the_sky_glows_in_the_fires_colour():
    photo, sky = photo_of(3, 48, 36), skies(48, 36)
    share = torch.from_numpy(200 / 255 * fire_mask(sky.numpy())).float()
    fire = torch.tensor([1.0, 0.45, 0.0])[:, None, None]
    paper = 0.8 * share * fire + (1 - share) * graded(photo)
    np.testing.assert_allclose(wildfire(photo, sky, 0.45), paper, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_flat_photograph_stays_flat_to_its_corners(value):
    photo = torch.full((3, 9, 7), value)
    for seen in (wildfire(photo, torch.zeros(9, 7, dtype=torch.bool), 0.5), smog(photo, torch.ones(9, 7))):
        assert seen.isfinite().all()
        assert (seen == seen[:, :1, :1]).all()


def test_a_batch_is_its_photographs_one_by_one():
    photos, sky = photo_of(3, 3, 41, 29), skies(41, 29, batch=(3,))
    sky[1] = False
    thickness = 2 * photo_of(3, 41, 29, seed=1)
    fires, smogs = wildfire(photos, sky, 0.5), smog(photos, thickness)
    for number in range(3):
        np.testing.assert_allclose(fires[number], wildfire(photos[number], sky[number], 0.5), atol=1e-6)
        np.testing.assert_allclose(smogs[number], smog(photos[number], thickness[number]), atol=1e-6)


# --- flood ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(deadline=None)
def test_outside_the_mask_a_flood_changes_no_bit(height, width, seed):
    photo, mask = photo_of(2, 3, height, width, seed=seed), photo_of(2, height, width, seed=seed + 1)
    mask = torch.where(mask > 0.5, mask, 0.0)
    dry = (mask == 0)[:, None].expand_as(photo)
    painted = torch.where(dry, torch.nan, 0.25)
    seen = flood(photo, painted, mask)
    assert torch.equal(seen[dry], photo[dry])
    share = mask[:, None].expand_as(photo)[~dry]
    np.testing.assert_allclose(seen[~dry], share * 0.25 + (1 - share) * photo[~dry], atol=1e-6)
