"""Photographs of every form in, pictures of events out; events of others beside ours."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.errors import ConfigError
from graticule.inference.rendering import Flood, Smog, Wildfire, infer_all

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (13, 21, 3), np.uint8)
DEPTH = RNG.uniform(1, 200, (13, 21)).astype(np.float32)
LABELS = np.where(np.arange(13)[:, None] < 5, 9, 2) + np.zeros((1, 21), int)
KNOWN = {"depth": DEPTH, "segmentation": LABELS}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


FORMS = {
    "channels first": PHOTO.transpose(2, 0, 1),
    "a tensor": torch.from_numpy(PHOTO.copy()),
    "a tensor, channels first": torch.from_numpy(PHOTO.transpose(2, 0, 1).copy()),
    "0 to 1": PHOTO / np.float64(255),
    "mirrored twice": PHOTO[:, ::-1][:, ::-1],
    "16 bits": PHOTO.astype(np.uint16) * 257,
    "a foreign byte order": (PHOTO / 255).astype(">f4"),
    "opaque": np.dstack([PHOTO, np.full((13, 21), 255, np.uint8)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_photograph_gives_the_same_pictures(form):
    expected = infer_all(PHOTO, **KNOWN)
    assert list(expected) == ["wildfire", "smog"]
    assert all(picture.shape == (13, 21, 3) and picture.dtype == np.uint8 for picture in expected.values())
    assert same(infer_all(FORMS[form], **KNOWN), expected)


def test_the_span_of_climategan_is_named_never_guessed():
    signed = PHOTO / 127.5 - 1
    assert same(infer_all(signed, span=(-1, 1), **KNOWN), infer_all(PHOTO, **KNOWN))
    with pytest.raises(ConfigError, match=r"values from -1 to 1; they must lie in 0\.\.1: scale them, or name"):
        infer_all(signed, **KNOWN)


def test_grey_is_three_equal_channels_and_transparent_is_white():
    grey = PHOTO[..., 0]
    expected = infer_all(np.repeat(grey[..., None], 3, axis=-1), **KNOWN)
    assert same(infer_all(grey, **KNOWN), expected)
    assert same(infer_all(grey[..., None], **KNOWN), expected)
    clear = np.dstack([PHOTO, np.zeros((13, 21), np.uint8)])
    assert same(infer_all(clear, **KNOWN), infer_all(np.full_like(PHOTO, 255), **KNOWN))


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_a_batch_is_its_photographs_one_by_one(layout):
    photos = RNG.integers(0, 256, (3, 13, 21, 3), np.uint8)
    depth, labels = RNG.uniform(0, 99, (3, 13, 21)), RNG.integers(8, 10, (3, 13, 21))
    events = [Wildfire(seed=4), Smog(50.0)]
    told = infer_all(photos.transpose(layout), events, depth=depth, segmentation=labels)
    for number in range(3):
        single = infer_all(photos[number], events, depth=depth[number], segmentation=labels[number])
        assert same({name: made[number] for name, made in told.items()}, single)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_every_size_is_kept(height, width):
    photo = np.full((height, width, 3), 100, np.uint8)
    flat = {"depth": np.full((height, width), 5.0), "segmentation": np.full((height, width), 9)}
    for picture in infer_all(photo, **flat).values():
        assert picture.shape == (height, width, 3)
    smog = infer_all(photo, [Smog()], **flat)["smog"]
    assert (smog == smog[0, 0]).all()


def test_the_seed_is_all_that_moves_the_fires_colour():
    of = {seed: infer_all(PHOTO, [Wildfire(seed=seed)], **KNOWN)["wildfire"] for seed in (0, 1, 2)}
    assert np.array_equal(of[1], infer_all(PHOTO, [Wildfire(seed=1)], **KNOWN)["wildfire"])
    assert len({picture.tobytes() for picture in of.values()}) > 1
    assert all(100 / 255 <= Wildfire(seed=seed).green <= 150 / 255 for seed in range(60))


def test_what_was_given_is_not_changed():
    photo, depth = torch.from_numpy(PHOTO.copy()), DEPTH.copy()
    depth[0, 0] = np.nan
    before = photo.clone(), depth.copy()
    infer_all(photo, depth=depth, segmentation=LABELS)
    assert torch.equal(photo, before[0])
    assert photo.ndim == 3
    assert np.array_equal(depth, before[1], equal_nan=True)


def test_unknown_depth_is_that_of_the_nearest_pixel_and_infinite_the_farthest():
    depth = np.full((13, 21), 2.0, np.float32)
    depth[:, 11:] = 40.0
    holes = depth.copy()
    holes[3:6, 2:5], holes[8:11, 15:19] = np.nan, 0
    assert same(infer_all(PHOTO, depth=holes), infer_all(PHOTO, depth=depth))
    assert same(infer_all(PHOTO, depth=depth * np.inf), infer_all(PHOTO, depth=depth * 1e5))


def test_a_layer_of_another_size_is_brought_to_the_photographs():
    photo = np.zeros((40, 60, 3), np.uint8)
    labels = np.full((20, 30), 2)
    labels[:4] = 9
    told = infer_all(photo, depth=np.full((20, 30), 7.0), segmentation=labels)
    big = infer_all(photo, depth=np.full((40, 60), 7.0), segmentation=labels.repeat(2, 0).repeat(2, 1))
    assert same(told, big)


def test_disparity_of_any_unit_and_scores_of_classes():
    disparity = 1 / DEPTH
    assert same(infer_all(PHOTO, disparity=disparity), infer_all(PHOTO, disparity=300 * disparity - 7))
    flat = infer_all(PHOTO, disparity=np.zeros((13, 21)))["smog"]
    assert np.array_equal(flat, infer_all(PHOTO, depth=np.full((13, 21), 1e-6))["smog"]), "all is near"
    scores = np.eye(11, dtype=np.float32)[LABELS].transpose(2, 0, 1)
    assert same(infer_all(PHOTO, segmentation=scores), infer_all(PHOTO, segmentation=LABELS))


def water(photos, mask):
    return torch.full_like(photos, 0.2).where(mask[:, None] > 0, torch.nan)


def test_a_flood_leaves_every_byte_outside_its_mask():
    mask = RNG.random((13, 21)) > 0.5
    told = infer_all(PHOTO, [Flood(water)], mask=mask)["flood"]
    assert np.array_equal(told[~mask], PHOTO[~mask])
    assert (told[mask] == 51).all()
    soft = infer_all(PHOTO, [Flood(water, threshold=None)], mask=np.where(mask, 0.5, 0))["flood"]
    assert np.array_equal(soft[~mask], PHOTO[~mask])
    np.testing.assert_allclose(soft[mask], (PHOTO[mask].astype(float) + 51) / 2, atol=0.51)


@dataclass(frozen=True)
class Night:
    """An event of one's own."""

    name: str = "night"
    needs: tuple[str, ...] = ("segmentation", "mask")

    def render(self, photos, layers):
        return photos * (layers["mask"] if "mask" in layers else layers["segmentation"] != 9)[:, None]


def test_an_event_of_ones_own_stands_beside_ours_and_is_timed():
    seconds = {}
    told = infer_all(PHOTO, [Night(), Smog()], seconds=seconds, **KNOWN)
    assert np.array_equal(told["night"], np.where(LABELS[..., None] == 9, 0, PHOTO))
    assert same({"smog": told["smog"]}, infer_all(PHOTO, depth=DEPTH))
    assert list(seconds) == ["night", "smog"]
    assert min(seconds.values()) > 0
    assert infer_all(PHOTO) == {}


@pytest.mark.parametrize(
    ("photo", "events", "known", "told"),
    [
        (PHOTO, [Smog()], {}, "smog needs depth or disparity of every photograph; give depth."),
        (PHOTO, [Flood(water)], {"depth": DEPTH}, "flood needs mask of every photograph; give mask."),
        (PHOTO[..., :2], None, KNOWN, "the photographs have the shape (13, 21, 2); it must be"),
        (PHOTO[:0], None, {}, "the photographs have the shape (0, 21, 3); it must be"),
        (PHOTO.astype(np.int64), None, {}, "the photographs hold torch.int64; they must hold uint8, uint16 or"),
        (PHOTO * np.nan, None, {}, "the photographs hold values from nan to nan; they must lie in 0..1"),
        (np.array(["a"]), None, {}, "an array holds <U1; it must hold numbers."),
        (PHOTO, None, {"depth": DEPTH.T}, "depth has 21 x 13 pixels and the photograph 13 x 21; it must have the same"),
        (PHOTO, None, {"depth": DEPTH * 0}, "depth is unknown throughout; it must hold a value above 0 somewhere."),
        (PHOTO[None], None, {"depth": DEPTH[None].repeat(2, 0)}, "depth has the shape (2, 13, 21); it must be one map"),
        (PHOTO, None, {"mask": DEPTH}, "mask holds values from "),
    ],
)
def test_what_cannot_be_rendered_is_one_line(photo, events, known, told):
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        infer_all(photo, events, **known)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: Smog(0), lambda: Smog(float("nan")), lambda: Wildfire(seed=-1), lambda: Wildfire(seed=2**64)]
)
def test_options_out_of_range_are_refused(make):
    with pytest.raises(ConfigError, match="it must be"):
        make()
