import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import pairwise_distances_argmin_min

from graticule.objectives.flood_masks import MEASURES, are_bad, edge_coherence, flood_metrics, flood_sums

MASKS = arrays(np.bool_, (7, 9))
LABELS = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255]))


def measures(wet, labels):
    return {name: float(value) for name, value in flood_metrics(flood_sums(wet, labels)).items()}


def half(rows=10, columns=10):
    """The lower half must be wet, the uppermost third cannot be, between them it may be."""
    labels = np.full((rows, columns), 2, np.uint8)
    labels[:3], labels[5:] = 0, 1
    return labels


def test_a_perfect_mask_is_perfect():
    """The predecessor gave 0.844 as its accuracy, since it divided by where water may be, too."""
    found = measures(half() == 1, half())
    assert (found["error"], found["f05"], found["accuracy"], found["edge_coherence"]) == (0, 1, 1, 0)
    assert (found["missed"], found["false"], found["may_flooded"], found["may_dry"]) == (0, 0, 0, 1)
    assert found["accuracy_must_may"] == 1


def test_measures_on_paper():
    """50 pixels must, 30 cannot, 20 may; wet are 40 of must, 6 of cannot, 5 of may."""
    wet = np.zeros((10, 10), bool)
    wet[6:] = True
    wet[0, :6] = True
    wet[3, :5] = True
    found = measures(wet, half())
    assert found["error"] == pytest.approx(16 / 100)
    precision, recall = 40 / 46, 40 / 50
    assert found["f05"] == pytest.approx(1.25 * precision * recall / (0.25 * precision + recall))
    assert found["accuracy"] == pytest.approx((40 + 24) / 80)
    assert found["accuracy_must_may"] == pytest.approx((40 + 15) / 70)
    assert (found["missed"], found["false"]) == pytest.approx((0.2, 0.2))
    assert (found["may_flooded"], found["may_dry"]) == pytest.approx((0.25, 0.75))


def test_an_image_without_must_or_may_has_numbers():
    nothing = np.zeros((4, 4), np.uint8)
    dry = measures(nothing == 1, nothing)
    assert (dry["error"], dry["f05"], dry["accuracy"], dry["missed"], dry["edge_coherence"]) == (0, 1, 1, 0, 0)
    assert np.isnan(dry["may_flooded"])
    wet = measures(nothing == 0, nothing)
    assert (wet["error"], wet["f05"], wet["accuracy"], wet["false"]) == (1, 0, 0, 1)
    everywhere = measures(nothing == 0, nothing + 1)
    assert (everywhere["f05"], everywhere["error"]) == (1, 0)
    unknown = measures(nothing == 0, nothing + 255)
    assert (unknown["error"], unknown["f05"], unknown["accuracy"]) == (0, 1, 1)


def test_an_edge_beside_the_other_is_coherent_and_a_slanted_one_is_not():
    labels = half(40, 60)
    labels[:] = 0
    labels[20:] = 1
    straight, slanted = np.zeros((2, 40, 60), bool)
    straight[25:] = True
    slanted[np.arange(40)[:, None] >= 10 + np.arange(60)[None] // 3] = True
    # An edge is two pixels wide, one to each side: half of it is 4 and half 5 pixels away.
    assert edge_coherence(straight, labels == 1) == pytest.approx(0.5 / 40)
    assert edge_coherence(slanted, labels == 1) > 0.05
    assert edge_coherence(np.zeros((40, 60), bool), labels == 1) == 1.0
    assert edge_coherence(straight, np.zeros((40, 60), bool)) == 1.0


@given(MASKS, MASKS)
def test_edge_coherence_is_that_of_all_pairs_of_pixels(wet, must):
    """Against the distance of every edge pixel to every other, which the predecessor computed."""
    from graticule.objectives.flood_masks import _edge

    own, other = np.argwhere(_edge(wet)), np.argwhere(_edge(must))
    if len(own) and len(other):
        _, nearest = pairwise_distances_argmin_min(own, other)
        assert edge_coherence(wet, must) == pytest.approx(nearest.std() / 7, abs=1e-9)


@given(MASKS, LABELS, MASKS, LABELS)
def test_sums_of_images_add_and_shares_are_shares(wet, labels, other, its):
    one, two = flood_sums(wet, labels), flood_sums(other, its)
    pooled = flood_metrics({name: one[name] + two[name] for name in one})
    both = flood_metrics(flood_sums(np.concatenate([wet, other]), np.concatenate([labels, its])))
    assert set(pooled) == set(MEASURES)
    for name in set(MEASURES) - {"edge_coherence"}:
        assert pooled[name] == pytest.approx(both[name], nan_ok=True)
        assert np.isnan(pooled[name]) or 0 <= pooled[name] <= 1


def test_bad_images_are_those_beyond_a_limit():
    good = {"missed": 0.04, "false": 0.04, "edge_coherence": 0.01}
    limits = {"missed": 0.05, "false": 0.06, "edge_coherence": 0.02}
    rows = [good, *(good | {name: limit} for name, limit in limits.items())]
    assert are_bad({name: np.array([row[name] for row in rows]) for name in good}).tolist() == [False, True, True, True]
