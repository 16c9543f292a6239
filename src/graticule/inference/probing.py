"""The protocol of probes: nearest neighbours, a linear layer, few labels; several seeds, with intervals.

Definitions as in torchgeo-bench, so that figures compare: kNN by Euclidean distance with k = 5 (and by cosine with
k = 20, as in the papers on DINO and MoCo), logistic regression by L-BFGS whose C is chosen on validation samples.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from numpy.random import Generator, Philox

from graticule.errors import ConfigError
from graticule.inference.features import Labelled
from graticule.objectives.probes import CS, few_shot, knn, linear_probe

TEMPERATURE = 0.07
"""Of the weights of 20 neighbours by cosine."""
_DRAWS, _INTERVAL = 1000, 43

Parts = Mapping[str, Labelled]
"""The labelled features of train, val and test."""


def probe(
    parts_of: Callable[[int], Parts], classes: int, *, shares: Sequence[float], seeds: int, cs: Sequence[float] = CS
) -> dict[str, Any]:
    """All probes of one net.

    Args:
        parts_of: the features by a seed; that of a random start draws its weights by it, others take no notice.
        classes: how many there are.
        shares: of the training labels, each drawn by seed.
        seeds: how many.
        cs: that are tried for the linear layer.

    Returns:
        {"knn5", "knn20", "linear"}: for each a list of {"share", "labels", "accuracy", "interval", "f1", "by_seed"}.

    Raises:
        ConfigError: if there are fewer labels than neighbours.
    """
    rights: dict[str, dict[float, list[Bool[np.ndarray, " n"]]]] = {}
    f1: dict[tuple[str, float], list[float]] = {}
    labels: dict[float, int] = {}
    chosen: dict[float, list[float]] = {}
    for seed in range(seeds):
        parts = parts_of(seed)
        train, val, test = (parts[name] for name in ("train", "val", "test"))
        check_labels(parts)
        for share in shares:
            few = few_shot(train.labels, share, seed)
            x, y = train.features[few], train.labels[few]
            labels[share] = len(few)
            linear = linear_probe(x, y, val.features, val.labels, cs=cs, classes=classes)
            chosen.setdefault(share, []).append(linear.c)
            guesses = {"linear": linear(test.features)}
            for k, options in ((5, {}), (20, {"distance": "cosine", "temperature": TEMPERATURE})):
                if len(y) > k:  # of as many labels as neighbours every sample would get the same answer
                    guesses[f"knn{k}"] = knn(x, y, test.features, k, classes=classes, **options)  # type: ignore[arg-type]
            for name, guess in guesses.items():
                answer = guess.argmax(1)
                rights.setdefault(name, {}).setdefault(share, []).append(answer == test.labels)
                f1.setdefault((name, share), []).append(mean_f1(answer, test.labels, classes))
    found = {
        name: [
            _row(share, labels[share], by_share[share], f1[name, share])
            | ({"c": chosen[share]} if name == "linear" else {})
            for share in shares
            if share in by_share
        ]
        for name, by_share in rights.items()
    }
    return {name: found[name] for name in ("knn5", "knn20", "linear") if name in found}


def check_labels(parts: Parts) -> None:
    """Raise a ConfigError if a part has no labelled sample, or there is one class only."""
    for name, part in parts.items():
        if not len(part.labels):
            raise ConfigError(f"the {name} part has no labelled sample; choose another split, or another target.")
    if len(np.unique(parts["train"].labels)) < 2:
        raise ConfigError(
            "the train part has samples of one class only, so nothing can be probed; choose another split."
        )


def mean_f1(answer: Int64[np.ndarray, " n"], truth: Int64[np.ndarray, " n"], classes: int) -> float:
    """Mean over the classes that are in truth or answer."""
    table = np.bincount(truth * classes + answer, minlength=classes**2).reshape(classes, classes)
    hit, both = np.diagonal(table), table.sum(0) + table.sum(1)
    return float((2 * hit[both > 0] / both[both > 0]).mean())


def _row(share: float, labels: int, rights: list[Bool[np.ndarray, " n"]], f1: list[float]) -> dict[str, Any]:
    right = np.stack(rights)
    low, high = interval(right)
    return {
        "share": share, "labels": labels, "accuracy": float(right.mean()), "interval": [low, high],
        "f1": float(np.mean(f1)), "by_seed": [float(own.mean()) for own in right],
    }  # fmt: skip


def interval(right: Bool[np.ndarray, "seeds n"], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean by drawing seeds and test samples anew, both at once."""
    seeds, n = right.shape
    rng = Generator(Philox(key=_INTERVAL))
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=_DRAWS) / seeds
    of_samples = rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS) / n
    means = ((of_seeds @ right.astype(np.float64)) * of_samples).sum(1)
    low, high = np.percentile(means, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
