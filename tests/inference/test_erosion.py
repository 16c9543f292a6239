import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from graticule.inference.erosion import eroded


def disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40), width=st.integers(1, 150), radius=st.integers(0, 70), share=st.sampled_from([0.9, 0.999]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_erosion_is_that_of_scipy_by_a_disc(rows, width, radius, share, seed):
    mask = np.random.default_rng(seed).random((rows, width)) < share
    wanted = ndimage.binary_erosion(mask, disc(radius), border_value=1)
    assert np.array_equal(eroded(mask, radius), wanted)


@pytest.mark.parametrize("width", [1, 9, 63, 64, 65, 200])
def test_a_hole_grows_to_a_disc_also_round_the_earth(width):
    mask = np.ones((41, width), bool)
    mask[20, 0] = False
    distance = np.minimum(np.arange(width), width - np.arange(width))
    wanted = (np.arange(41)[:, None] - 20) ** 2 + distance**2 > 7**2
    assert np.array_equal(eroded(mask, 7, wraps=True), wanted)


def test_what_is_whole_stays_and_what_is_empty_stays():
    assert eroded(np.ones((5, 70), bool), 9).all()
    assert not eroded(np.zeros((5, 70), bool), 9).any()
