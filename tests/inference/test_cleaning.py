import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from graticule.grids import RasterGrid
from graticule.inference.cleaning import Cleaning, mapped
from graticule.inference.stitch import Strip
from graticule.schema import LegendClass, Target

SLUMP = Target("slump", "binary", (LegendClass(0, "none", "#ffffff"), LegendClass(1, "slump", "#ff0000")))
HEIGHT = Target("height", "height", unit="m")


def utm(height, width):
    return RasterGrid(height, width, (10.0, 0.0, 5e5, 0.0, -10.0, 7e6), "EPSG:32633")


def cut(seen, probability, cuts):
    for first, last in zip([0, *cuts], [*cuts, len(seen)], strict=True):
        rows = slice(first, last)
        fields = {"slump": probability[None, rows], "height": probability[rows] * 9}
        yield Strip(first, probability[None, rows], seen[rows], fields)


def cleaned(seen, probability, cuts, cleaning, quality=None, grid=None):
    """All rows put together: labels, and where the map holds; nothing else may have changed."""
    read = None if quality is None else lambda row, col, h, w: quality[row : row + h, col : col + w]
    grid = grid or utm(*seen.shape)
    parts = list(mapped(cut(seen, probability, cuts), grid, (SLUMP, HEIGHT), cleaning, read))
    assert [part.first for part in parts] == np.cumsum([0, *(len(p.holds) for p in parts)])[:-1].tolist()
    for name, wanted in (("slump", probability[None]), ("height", probability * 9)):
        assert np.array_equal(np.concatenate([part.fields[name] for part in parts], axis=-2), wanted)
    assert np.array_equal(np.concatenate([part.x for part in parts], axis=1), probability[None])
    labels = np.concatenate([part.labels["slump"] for part in parts])
    holds = np.concatenate([part.holds for part in parts])
    assert np.array_equal(labels == 255, ~holds)
    return labels, holds


def disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return y**2 + x**2 <= radius**2


def on_the_whole_array(seen, probability, cleaning, quality):
    """The same by scipy, with nothing cut."""
    holds = seen & (quality >= cleaning.quality_level)
    holds = ndimage.binary_erosion(holds, disc(cleaning.mask_erosion_size), border_value=1)
    edge = np.zeros_like(holds)
    size = cleaning.edge
    edge[size : len(edge) - size, size : edge.shape[1] - size] = True
    holds = holds & edge
    mask = holds & (probability >= cleaning.binarization_threshold)
    found, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(found.ravel())
    mask &= sizes[found] >= cleaning.min_object_size
    return np.where(holds, mask, 255), holds


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 30), seed=st.integers(0, 999), erosion=st.integers(0, 4),
    edge=st.none() | st.integers(0, 4), size=st.integers(0, 12), level=st.integers(0, 2),
    cuts=st.lists(st.integers(1, 39), max_size=6, unique=True), threshold=st.sampled_from([0.3, 0.5, 0.7]),
)  # fmt: skip
def test_strips_are_cleaned_as_the_whole_scene_is(
    height, width, seed, erosion, edge, size, level, cuts, threshold
):  # fmt: skip
    rng = np.random.default_rng(seed)
    seen, probability = rng.random((height, width)) < 0.99, rng.random((height, width)).astype(np.float32)
    quality = rng.choice(np.array([0, 1, 2], np.uint8), (height, width), p=[0.01, 0.02, 0.97])
    cleaning = Cleaning(level, erosion, edge, size, threshold)
    labels, holds = cleaned(seen, probability, sorted(c for c in cuts if c < height), cleaning, quality)
    wanted, there = on_the_whole_array(seen, probability, cleaning, quality)
    assert np.array_equal(holds, there)
    assert np.array_equal(labels, wanted)


def test_a_small_object_that_strips_cut_is_as_large_as_it_is():
    probability = np.zeros((20, 10), np.float32)
    probability[4:12, 5] = 1.0  # eight pixels in three strips
    probability[15:18, 2] = 1.0  # three
    cleaning = Cleaning(min_object_size=8)
    for cuts in ([], [6, 9], [5, 6, 7, 8, 9, 10]):
        labels, _ = cleaned(np.ones((20, 10), bool), probability, cuts, cleaning)
        assert np.argwhere(labels == 1).tolist() == [[row, 5] for row in range(4, 12)]


def test_a_diagonal_line_is_one_object_in_the_map_too():
    labels, _ = cleaned(np.ones((9, 9), bool), np.eye(9, dtype=np.float32), [3, 4], Cleaning(min_object_size=9))
    assert np.array_equal(labels, np.eye(9))
    labels, _ = cleaned(np.ones((9, 9), bool), np.eye(9, dtype=np.float32), [3, 4], Cleaning(min_object_size=10))
    assert not labels.any()


def test_round_the_earth_nothing_ends_at_the_date_line():
    probability = np.zeros((18, 36), np.float32)
    probability[5, [34, 35, 0, 1]] = 1.0
    seen = np.ones((18, 36), bool)
    seen[12, 0] = False
    cleaning = Cleaning(mask_erosion_size=2, min_object_size=4)
    labels, holds = cleaned(seen, probability, [6, 13], cleaning, grid=RasterGrid.global_(10.0))
    assert np.argwhere(labels == 1).tolist() == [[5, 0], [5, 1], [5, 34], [5, 35]]
    assert np.argwhere(~holds[12]).ravel().tolist() == [0, 1, 2, 34, 35]
    assert not holds[:2].any()
    assert holds[2:10].all()


@pytest.mark.parametrize(("level", "left"), [(0, 3), (1, 2), (2, 1)])
def test_levels_of_quality(level, left):
    quality = np.array([[0, 1, 2]], np.uint8)
    _, holds = cleaned(np.ones((1, 3), bool), np.ones((1, 3), np.float32), [], Cleaning(level), quality)
    assert holds.sum() == left
