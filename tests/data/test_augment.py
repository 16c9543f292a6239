from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graticule.data.augment import Augment, Placement, turn
from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse

SQUARE = np.arange(25).reshape(5, 5)


def rng(seed=0):
    return np.random.Generator(np.random.Philox(key=[seed, 9]))


def placed(placement, values, shape):
    out = np.empty(shape, values.dtype)
    placement.take(values, out)
    return out


def test_the_eight_turns_are_different_and_keep_all_pixels():
    turned = [turn(SQUARE, element) for element in range(8)]
    assert len({one.tobytes() for one in map(np.ascontiguousarray, turned)}) == 8
    assert all(sorted(one.reshape(-1)) == list(range(25)) for one in turned)
    assert np.array_equal(turned[0], SQUARE)


def test_the_turns_are_the_group_of_the_square():
    """Closed, with inverses; quarter turns have order 4 and flips order 2."""
    known = {np.ascontiguousarray(turn(SQUARE, element)).tobytes(): element for element in range(8)}
    table = np.array(
        [[known[np.ascontiguousarray(turn(turn(SQUARE, a), b)).tobytes()] for b in range(8)] for a in range(8)]
    )
    assert all(sorted(line) == list(range(8)) for line in (*table, *table.T))
    for a, b, c in product(range(8), repeat=3):
        assert table[table[a, b], c] == table[a, table[b, c]]
    assert [int(table[a, a]) for a in range(8)] == [0, 2, 0, 2, 0, 0, 0, 0]


@given(seed=st.integers(0, 2**31), crop=st.sampled_from([None, 1, 2, 4, 8]), balance=st.booleans())
def test_a_nested_window_is_augmented_as_its_square(seed, crop, balance):
    labels = np.random.default_rng(seed).integers(0, 4, (8, 8)).astype(np.uint8)
    labels[labels == 3] = 255
    augment = Augment(crop=crop, balance=balance)
    side = crop or 8
    flat = augment.draw(rng(seed), (8, 8), labels)
    nested = augment.draw(rng(seed), (64,), labels.reshape(-1)[morton_inverse(8)])
    if not balance or crop is None:  # with balance the pixels are counted in another order
        assert (nested.row, nested.column, nested.element) == (flat.row, flat.column, flat.element)
    square = np.arange(2 * 64).reshape(2, 8, 8)
    expected = placed(Placement(nested.row, nested.column, side, side, nested.element), square, (2, side, side))
    found = placed(nested, square.reshape(2, 64)[:, morton_inverse(8)], (2, side * side))
    assert np.array_equal(found[:, morton(side)], expected)


@given(seed=st.integers(0, 2**31), height=st.integers(3, 9), width=st.integers(3, 9))
def test_a_window_that_is_no_square_keeps_its_shape(seed, height, width):
    values = np.arange(height * width).reshape(height, width)
    placement = Augment().draw(rng(seed), (height, width))
    assert sorted(placed(placement, values, (height, width)).reshape(-1)) == list(range(height * width))


def test_all_placements_are_drawn_alike():
    draws = [Augment(crop=3).draw(rng(seed), (5, 4)) for seed in range(4800)]
    counts = np.zeros((3, 2, 8))
    for draw in draws:
        counts[draw.row, draw.column, draw.element] += 1
    assert counts.min() > 60
    assert counts.max() < 140


@given(seed=st.integers(0, 2**31), crop=st.integers(1, 7))
def test_a_balanced_crop_holds_a_pixel_of_a_rare_class(seed, crop):
    """One pixel of class 2 among 7 x 9 of class 0: half of the crops are centred on it, or shifted inside."""
    random = np.random.default_rng(seed)
    labels = np.zeros((7, 9), np.uint8)
    where = random.integers(7), random.integers(9)
    labels[where] = 2
    labels[0, 0] = 255 if where != (0, 0) else 2
    holds = 0
    for number in range(40):
        draw = Augment(crop=crop, balance=True).draw(rng(seed + number), (7, 9), labels)
        assert 0 <= draw.row <= 7 - crop
        assert 0 <= draw.column <= 9 - crop
        holds += 2 in labels[draw.row : draw.row + crop, draw.column : draw.column + crop]
    assert holds >= 6


def test_half_balance_centres_crops_by_the_root_of_a_class_share():
    """Nine pixels in ten are class 0, so it has 3 crops in 4."""
    labels = np.zeros((10, 10), np.uint8)
    labels[0] = 1
    drawn = [Augment(crop=1, balance=0.5).draw(rng(seed), (10, 10), labels).row == 0 for seed in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.04)


def test_the_chosen_pixel_is_the_centre_of_the_crop():
    labels = np.full((9, 9), 255, np.uint8)
    labels[4, 6] = 1
    draw = Augment(crop=3, balance=True).draw(rng(), (9, 9), labels)
    assert (draw.row, draw.column) == (3, 5)
    nested = np.full(64, 255, np.uint8)
    nested[morton(8)[4, 5]] = 1
    draw = Augment(crop=4, balance=True).draw(rng(), (64,), nested)
    assert (draw.row, draw.column) == (2, 3)


@pytest.mark.parametrize(
    ("options", "elements"),
    [
        ({}, {0}),
        ({"horizontal_flip": True}, {0, 4}),
        ({"vertical_flip": True}, {0, 6}),
        ({"horizontal_flip": True, "vertical_flip": True}, {0, 2, 4, 6}),
        ({"rotate": True}, {0, 1, 2, 3}),
        ({"rotate": True, "vertical_flip": True}, set(range(8))),
        ({"d4": True, "rotate": True}, set(range(8))),
    ],
)
def test_flips_and_turns_draw_from_their_group(options, elements):
    augment = Augment(**{"d4": False} | options)
    assert augment.moves == (len(elements) > 1)
    assert {augment.draw(rng(seed), (5, 5)).element for seed in range(80)} == elements
    assert np.array_equal(turn(SQUARE, 4), SQUARE[:, ::-1])
    assert np.array_equal(turn(SQUARE, 6), SQUARE[::-1])


def test_half_of_the_samples_are_left_as_they_are():
    augment = Augment(d4=False, blur=7, noise=0.2, posterize=5, brightness=0.3)
    draws = [augment.draw_light(rng(seed)) for seed in range(900)]
    counts = {name: Counter(draw[name] for draw in draws) for name in ("blur", "noise", "levels")}
    assert set(counts["blur"]) == {1, 3, 5, 7}
    assert set(counts["noise"]) == {0.0, 0.2}
    assert set(counts["levels"]) == {0, 32}
    for name, none in (("blur", 1), ("noise", 0.0), ("levels", 0)):
        assert 390 < counts[name][none] < 510
    assert all(120 < counts["blur"][side] < 180 for side in (3, 5, 7))
    assert -0.3 <= min(draw["brightness"] - 1 for draw in draws) < -0.28
    assert all(draw["contrast"] == 1 for draw in draws)


@pytest.mark.parametrize(
    ("options", "space", "message"),
    [
        ({"crop": 9}, (8, 12), "data.augment.crop is 9; the windows are 8 x 12"),
        ({"crop": 0}, (8, 8), "data.augment.crop is 0"),
        ({"crop": 3}, (64,), "data.augment.crop is 3; on HEALPix it must be a power of two"),
        ({}, (48,), "a window of 48 cells is no square of a power of two; turn data.augment off"),
    ],
)
def test_a_crop_that_does_not_fit_is_refused(options, space, message):
    with pytest.raises(ConfigError, match=message):
        Augment(**options).space(space)


def test_light_must_stay_positive():
    with pytest.raises(ConfigError, match=r"data.augment.contrast is 1.0; it must be at least 0 and less than 1"):
        Augment(contrast=1.0)
