"""Probes give what scikit-learn gives and what is known on paper; few labels are a function of the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from graticule.errors import ConfigError
from graticule.objectives.probes import few_shot, knn, linear_probe, neighbours


def _blobs(seed: int, n: int = 60, classes: int = 3, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, d)) + 2 * np.eye(classes, d)[labels], labels


@pytest.mark.parametrize(("distance", "metric"), [("l2", "euclidean"), ("cosine", "cosine")])
def test_knn_votes_like_scikit_learn(distance: str, metric: str) -> None:
    features, labels = _blobs(0)
    queries, _ = _blobs(1, n=41)
    expected = KNeighborsClassifier(7, metric=metric).fit(features, labels).predict_proba(queries)
    np.testing.assert_allclose(knn(features, labels, queries, 7, distance=distance), expected, atol=1e-12)


def test_weighted_votes_on_paper() -> None:
    """Two neighbours at squared distances 0 and 1: weights 1 and exp(-1 / T)."""
    votes = knn(np.array([[0.0], [1.0], [9.0]]), np.array([0, 1, 1]), np.array([[0.0]]), 2, temperature=0.5, classes=3)
    np.testing.assert_allclose(votes, [[1 / (1 + np.exp(-2)), np.exp(-2) / (1 + np.exp(-2)), 0]])


def test_more_neighbours_than_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="k of the nearest neighbours is 5 and there are 3 labelled samples"):
        neighbours(np.zeros((3, 2)), np.zeros((1, 2)), 5)


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_probe_is_standardised_logistic_regression_with_the_best_c(classes: int) -> None:
    features, labels = _blobs(2, classes=classes)
    val, val_labels = _blobs(3, classes=classes)
    probe = linear_probe(features, labels, val, val_labels, cs=(1e-4, 1e-2, 1.0))
    scaler = StandardScaler().fit(features)
    oracle = LogisticRegression(C=probe.c, max_iter=500).fit(scaler.transform(features), labels)
    np.testing.assert_allclose(probe(val), oracle.predict_proba(scaler.transform(val)), atol=1e-6)
    assert probe.scores[probe.c] == max(probe.scores.values())
    assert probe.c == min(c for c, score in probe.scores.items() if score == probe.scores[probe.c])


def test_a_class_without_labels_has_no_probability() -> None:
    features, labels = _blobs(4)
    kept = labels != 1
    probe = linear_probe(features[kept], labels[kept], features, labels, cs=(1.0,))
    scores = probe(features)
    assert scores.shape == (60, 3)
    assert (scores[:, 1] == 0).all()
    alone = linear_probe(features[labels == 2], labels[labels == 2], features, labels, cs=(1.0,))
    np.testing.assert_array_equal(alone(features), np.tile([0.0, 0, 1], (60, 1)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 5))
def test_few_labels_grow_with_the_share_and_never_lose_a_class(seed: int, one: float, two: float, classes: int) -> None:
    labels = np.arange(83) % classes
    small, large = (few_shot(labels, share, seed) for share in sorted((one, two)))
    assert set(small) <= set(large)
    assert set(labels[small]) == set(labels)
    np.testing.assert_array_equal(small, few_shot(labels, min(one, two), seed))
    for label in range(classes):
        count = (labels == label).sum()
        assert (labels[small] == label).sum() == max(1, int(min(one, two) * count + 0.5))


def test_a_share_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="the share of labels is 0; it must be above 0"):
        few_shot(np.zeros(3, int), 0, 1)
