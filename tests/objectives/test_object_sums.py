"""Objects: answers known on paper, laws, and a dense assignment as the check."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from graticule.objectives.metrics import curves, metrics, metrics_by_group
from graticule.objectives.names import OBJECT_METRICS, PIXEL_METRICS, darts_names
from graticule.objectives.objects import boundary_width, match, object_sums


def picture(rows):
    return np.array([[sign == "#" for sign in row] for row in rows])


def sums_of(truth, predicted, *, score=None, valid=None, groups=None, n_groups=1, boundary=1):
    score = predicted * 0.9 if score is None else score
    valid = np.ones(truth.shape, bool) if valid is None else valid
    groups = np.zeros(truth.shape, np.int64) if groups is None else groups
    return object_sums(score, predicted, truth, valid, groups, n_groups, boundary)


def found(truth, predicted, **given):
    return metrics("objects", sums_of(truth, predicted, **given))


def test_a_found_one_missed_one_and_one_too_many():
    truth = picture(["##......", "##......", "........", "...##...", "...##..."])
    predicted = picture(["##....##", "##....##", "........", "........", "........"])
    told = found(truth, predicted)
    for at in ("0.3", "0.5"):
        assert told[f"precision@{at}"] == told[f"recall@{at}"] == told[f"f1@{at}"] == 0.5
        assert told[f"accuracy@{at}"] == pytest.approx(1 / 3)
    assert told["truths"] == told["predictions"] == 2
    # All pixels of objects of 2 x 2 are outline: 4 in common, 12 in all.
    assert told["boundary_iou"] == pytest.approx(4 / 12)


def test_the_two_thresholds_differ_where_they_should():
    truth, predicted = picture(["#####....."]), picture(["...#####.."])
    assert found(truth, predicted)["f1@0.3"] == 0  # 2 of 8 in common
    predicted = picture(["..####...."])
    told = found(truth, predicted)  # 3 of 6
    assert told["f1@0.3"] == told["f1@0.5"] == 1
    predicted = picture(["..#####..."])
    told = found(truth, predicted)  # 3 of 7
    assert (told["f1@0.3"], told["f1@0.5"]) == (1, 0)


def test_an_object_is_in_one_pair_at_most():
    truth, predicted = picture(["##########"]), picture(["####.#####"])
    told = found(truth, predicted)  # IoU 0.4 and 0.5: the better one counts, the other is too many
    assert (told["precision@0.3"], told["recall@0.3"]) == (0.5, 1)
    assert (told["precision@0.5"], told["recall@0.5"]) == (0.5, 1)


def test_corners_connect():
    assert found(picture(["#.", ".#"]), picture(["#.", ".#"]))["truths"] == 1


def test_what_has_no_label_belongs_to_no_object():
    truth, predicted = picture(["##...##."]), picture(["##.##..#"])
    valid = np.array([[True] * 3 + [False] * 5])
    told = found(truth, predicted, valid=valid)
    assert (told["truths"], told["predictions"], told["f1@0.5"]) == (1, 1, 1)
    assert sums_of(truth, predicted, valid=valid)["pixels"].tolist() == [3]


def test_nothing_there_has_no_score_and_nothing_found_scores_0():
    nothing, one = np.zeros((4, 4), bool), picture(["#...", "....", "....", "...."])
    assert np.isnan(found(nothing, nothing)["f1@0.5"])
    assert np.isnan(found(nothing, nothing)["boundary_iou"])
    assert found(one, nothing)["f1@0.5"] == found(nothing, one)["f1@0.5"] == 0
    assert found(one, nothing)["average_precision@0.5"] == 0


def test_average_precision_by_hand():
    # Sure and right, less sure and wrong, least sure and right: precisions 1 and 2/3 at recalls 1/3 and 2/3.
    truth, predicted = picture(["#...#...#"]), picture(["#.#.#...."])
    score = np.array([[0.9, 0, 0.7, 0, 0.6, 0, 0, 0, 0]])
    told = found(truth, predicted, score=score)
    assert told["average_precision@0.5"] == pytest.approx((1 + 2 / 3) / 3)


def test_boundary_iou_by_hand():
    truth, predicted = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    truth[1:11, 1:11], predicted[1:11, 2:12] = True, True
    # Outlines one pixel wide: 36 each; the upper and lower rows have 9 columns in common, twice, and nothing else.
    assert found(truth, predicted)["boundary_iou"] == pytest.approx(18 / (36 + 36 - 18))
    assert found(truth, truth)["boundary_iou"] == 1
    # A band wider than the object is the object: the plain IoU.
    assert found(truth, predicted, boundary=20)["boundary_iou"] == pytest.approx(90 / 110)


def test_the_band_is_2_percent_of_the_diagonal():
    assert boundary_width(896, 896) == 25
    assert boundary_width(8, 8) == 1


def test_groups_are_those_of_first_pixels():
    truth = picture(["##...##.", "........", "##......"])
    predicted = picture(["##......", "........", ".....###"])
    groups = np.where(np.arange(8) < 4, 0, 1) * np.ones((3, 1), np.int64)
    sums = sums_of(truth, predicted, groups=groups, n_groups=2)
    assert sums["truths"].tolist() == [2, 1]
    table = metrics_by_group("objects", sums)
    assert table["recall@0.5"].tolist() == [0.5, 0]
    assert table["precision@0.5"].tolist() == [1, 0]


masks = st.integers(0, 2**32).map(
    lambda seed: ndimage.uniform_filter(np.random.default_rng(seed).random((2, 40, 40)), (0, 5, 5)) > 0.53
)


@given(masks=masks)
@settings(max_examples=25, deadline=None)
def test_pairs_are_those_of_a_dense_assignment(masks):
    truth, predicted = masks
    (labels, n), (own, k) = (ndimage.label(mask, np.ones((3, 3))) for mask in masks)
    iou = np.array([[((labels == i) & (own == j)).sum() / ((labels == i) | (own == j)).sum()
                     for j in range(1, k + 1)] for i in range(1, n + 1)]).reshape(n, k)  # fmt: skip
    partner, reached = match(labels, n, own, k)
    assert len(set(partner[partner >= 0])) == (partner >= 0).sum()
    for j in np.flatnonzero(partner >= 0):
        assert reached[j] == pytest.approx(iou[partner[j], j])
    # Above 0.5 there is one way only.
    above = np.where(iou > 0.5, iou, 0)
    rows, columns = linear_sum_assignment(-above)
    best = (above[rows, columns] > 0).sum()
    assert (reached > 0.5).sum() == best
    told = found(truth, predicted)
    assert told["recall@0.3"] >= told["recall@0.5"] or n == 0


@given(masks=masks)
@settings(max_examples=10, deadline=None)
def test_sums_of_scenes_add_to_those_of_all(masks):
    truth, predicted = masks
    gap = np.zeros((40, 1), bool)
    both = [np.hstack([mask, gap, mask[::-1]]) for mask in (truth, predicted)]
    whole = sums_of(*both)
    parts = [sums_of(truth, predicted), sums_of(truth[::-1], predicted[::-1])]
    for name in ("truths", "scores"):
        np.testing.assert_array_equal(whole[name], parts[0][name] + parts[1][name])


def test_more_than_255_objects_in_little_memory():
    truth = np.zeros((240, 240), bool)
    truth[::3, ::3] = True  # 6400 objects; a table of all pairs would have 41 million places
    tracemalloc.start()
    told = found(truth, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told["truths"] == told["predictions"] == 80**2
    assert told["f1@0.5"] == told["average_precision@0.5"] == 1
    assert peak < 100 * truth.size


def test_names_of_darts():
    named = darts_names(
        "test", dict.fromkeys(PIXEL_METRICS.values(), 0.25), dict.fromkeys(OBJECT_METRICS.values(), 0.5)
    )
    assert named["test/JaccardIndex"] == 0.25
    assert named["test/HammingDistance"] == 0.75
    assert named["test/InstanceF1Score"] == named["test/InstanceBoundaryIoU"] == 0.5
    assert len(named) == 16
    assert "val/InstanceRecall" not in darts_names("val", {})


def binary(scores, labels, bins=8):
    counts = np.zeros((2, bins))
    np.add.at(counts, (np.asarray(labels), (np.asarray(scores) * bins).astype(int)), 1)
    return {"scores": counts, "score_sums": np.zeros(32), "pixels": np.array(float(len(labels)))}


def test_the_best_threshold_by_trying_all():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 500)
    scores = np.clip(rng.normal(0.25 + 0.2 * labels, 0.15), 0, 0.999)
    sums = binary(scores, labels, bins=16) | {"score_sums": np.zeros(16)}
    told = metrics("binary", sums)
    tried = [metrics("binary", sums, threshold=edge / 16) for edge in range(16)]
    assert told["best_f1"] == pytest.approx(max(one["f1"] for one in tried))
    assert told["best_iou"] == pytest.approx(max(one["iou"] for one in tried))
    at = metrics("binary", sums, threshold=told["best_threshold"])
    assert at["f1"] == pytest.approx(told["best_f1"])
    assert told["best_threshold"] < 0.5


def test_curves_begin_and_end_where_they_must():
    sums = {"scores": np.array([[6.0, 2.0], [1.0, 3.0]]), "score_sums": np.zeros(2), "pixels": np.array(12.0)}
    told = curves(sums)
    assert told["threshold"].tolist() == [1, 0.5, 0]
    assert told["false_positive_rate"].tolist() == [0, 0.25, 1]
    assert told["recall"].tolist() == [0, 0.75, 1]
    assert told["precision"].tolist() == pytest.approx([1, 0.6, 1 / 3])
