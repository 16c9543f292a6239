"""How good features are, by probes that leave them as they are: nearest neighbours, a linear layer, few labels.

Pure functions of arrays. The definitions are those of torchgeo-bench and of the papers on DINO and MoCo, so that
figures compare: kNN by the Euclidean distance with one vote each (k = 5) or by the cosine with weights
exp(cosine / 0.07) (k = 20), logistic regression by L-BFGS with its C chosen on validation samples.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int, Int64
from numpy.random import Generator, Philox
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from graticule.errors import ConfigError

CS = tuple(10.0**power for power in range(-4, 3))
"""The sweep over C, the inverse of the strength of the penalty, from 1e-4 to 100."""

_FEW_SHOT = 41
_ROWS = 1024
"""Queries that are compared with all features at once."""

Distance = Literal["l2", "cosine"]


def neighbours(
    features: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "q d"], k: int, distance: Distance = "l2"
) -> tuple[Int64[np.ndarray, "q k"], Float64[np.ndarray, "q k"]]:
    """The k nearest features of each query, nearest first, and their squared distance or 1 - cosine.

    Raises:
        ConfigError: if there are fewer than k features.
    """
    if not 1 <= k <= len(features):
        raise ConfigError(f"k of the nearest neighbours is {k} and there are {len(features)} labelled samples; "
                          "give a k from 1 to that number, or more samples.")  # fmt: skip
    known, asked = (_rows(values, distance) for values in (features, queries))
    squares = (known**2).sum(1)
    places, distances = [], []
    for first in range(0, len(asked), _ROWS):
        some = asked[first : first + _ROWS]
        apart = np.maximum(squares + (some**2).sum(1)[:, None] - 2 * some @ known.T, 0)
        if distance == "cosine":
            apart /= 2  # of unit vectors, |a - b|^2 = 2 (1 - cosine)
        place = np.argpartition(apart, k - 1, axis=1)[:, :k]
        # By distance, then by place: what ties bring does not depend on the algorithm of the partition alone.
        near = np.take_along_axis(apart, place, axis=1)
        order = np.lexsort((place, near), axis=1)
        places.append(np.take_along_axis(place, order, axis=1))
        distances.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate([*places, np.empty((0, k), int)]), np.concatenate([*distances, np.empty((0, k))])


def knn(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], queries: Float[np.ndarray, "q d"], k: int = 5, *,
    distance: Distance = "l2", temperature: float | None = None, classes: int | None = None,
) -> Float64[np.ndarray, "q classes"]:  # fmt: skip
    """Share of the votes that each class has among the k nearest features of each query.

    Args:
        features: of the labelled samples.
        labels: their classes, 0..K-1.
        queries: features of the samples to classify.
        k: neighbours that vote.
        distance: `l2`, or `cosine` of the features.
        temperature: weigh a vote by exp(-(distance) / temperature); None counts each vote once.
        classes: number of classes; the highest label + 1 if None.
    """
    place, apart = neighbours(features, queries, k, distance)
    weight = np.ones_like(apart) if temperature is None else np.exp(-(apart - apart[:, :1]) / temperature)
    votes = np.zeros((len(queries), classes or int(labels.max()) + 1))
    rows = np.repeat(np.arange(len(queries)), k)
    np.add.at(votes, (rows, np.asarray(labels)[place].ravel()), weight.ravel())
    return votes / votes.sum(1, keepdims=True)


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer on standardised features, and how it was chosen.

    Attributes:
        c: the C that was best on the validation samples.
        mean: of the features it was fitted on [d].
        std: likewise; 1 where a feature is constant.
        weight: [classes, d].
        bias: [classes].
        scores: accuracy on the validation samples for each C.
    """

    c: float
    mean: Float64[np.ndarray, " d"]
    std: Float64[np.ndarray, " d"]
    weight: Float64[np.ndarray, "classes d"]
    bias: Float64[np.ndarray, " classes"]
    scores: dict[float, float]

    def __call__(self, queries: Float[np.ndarray, "q d"]) -> Float64[np.ndarray, "q classes"]:
        """Probability of each class; 0 for a class of which there was no label."""
        logits = ((queries - self.mean) / self.std) @ self.weight.T + self.bias
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)


def linear_probe(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"],
    val_features: Float[np.ndarray, "m d"], val_labels: Int[np.ndarray, " m"],
    *, cs: Sequence[float] = CS, classes: int | None = None, max_iter: int = 500,
) -> LinearProbe:  # fmt: skip
    """Fit logistic regression by L-BFGS for each C and keep the one with the best accuracy on the validation samples.

    Features are standardised with the mean and deviation of `features`. Of two C that do alike the smaller one is kept.
    """
    classes = classes or int(max(labels.max(), val_labels.max(initial=0))) + 1
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    std[std < 1e-12] = 1.0
    known = (features - mean) / std
    scores: dict[float, float] = {}
    best: LinearProbe | None = None
    for c in sorted(cs):
        probe = LinearProbe(c, mean, std, *_logistic(known, labels, c, classes, max_iter), scores)
        found = (probe(val_features).argmax(1) == val_labels).mean() if len(val_labels) else 0.0
        scores[c] = float(found)
        if best is None or scores[c] > scores[best.c]:
            best = probe
    assert best is not None
    return best


def few_shot(labels: Int[np.ndarray, " n"], share: float, seed: int) -> Int64[np.ndarray, " few"]:
    """Places of a share of the samples of each class, at least one of each: a function of (labels, share, seed).

    Of one seed the samples of a smaller share are among those of a larger one.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share of labels is {share}; it must be above 0 and at most 1.")
    chosen = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        order = Generator(Philox(key=[seed, _FEW_SHOT], counter=[0, 0, 0, int(label)])).permutation(len(places))
        chosen.append(places[order[: max(1, math.floor(share * len(places) + 0.5))]])
    return np.sort(np.concatenate(chosen))


def _rows(values: np.ndarray, distance: Distance) -> np.ndarray:
    rows = np.asarray(values, dtype=np.float64)
    if distance == "cosine":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def _logistic(
    known: np.ndarray, labels: np.ndarray, c: float, classes: int, max_iter: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [classes, d] and bias [classes] of logistic regression."""
    weight, bias = np.zeros((classes, known.shape[1])), np.full(classes, -np.inf)
    present = np.unique(labels)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a strong C need not have converged to be compared
        fitted = LogisticRegression(C=c, max_iter=max_iter, solver="lbfgs").fit(known, labels)
    if len(present) == 2:  # one row for the second class, whose logit is that against the first
        weight[present[1]], bias[present] = fitted.coef_[0], [0.0, fitted.intercept_[0]]
    else:
        weight[present], bias[present] = fitted.coef_, fitted.intercept_
    return weight, bias
