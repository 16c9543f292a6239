"""Metrics as functions of sums (see `sums`): per class, per group, with bootstrap intervals. numpy only.

A metric that has no meaning (a class that is in neither truth nor prediction, an area under a curve without
positives) is NaN, never 0; a mean over classes is over the classes that are present in truth or prediction.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graticule.objectives.objects import THRESHOLDS

Array = NDArray[np.float64]
Sums = Mapping[str, Any]
CALIBRATION_BINS = 16


def metrics(kind: str, sums: Sums, names: Sequence[str] = (), threshold: float = 0.5) -> dict[str, float]:
    """All metrics of a target from its sums, pooled over the groups where these have not been added up yet.

    Args:
        kind: of the target: classes, binary, height, depth or image; or `objects`.
        sums: as `sums.class_sums`, `binary_sums`, `value_sums` or `objects.object_sums` return them, as numpy arrays
            or tensors on the CPU.
        names: of the classes, for keys such as `iou/forest`; their numbers are used where no names are given.
        threshold: of a binary target: positive is p >= threshold, rounded to an edge of the histogram.
    """
    pooled = {name: value.sum(0) if _grouped(sums) else value for name, value in _arrays(sums).items()}
    return {name: float(value) for name, value in _formulas(kind, names, threshold)(pooled).items()}


def metrics_by_group(kind: str, sums: Sums, names: Sequence[str] = (), threshold: float = 0.5) -> dict[str, Array]:
    """All metrics of each group alone: {metric: [groups]}, NaN where a group has no pixel to tell."""
    return _formulas(kind, names, threshold)(_arrays(sums))


def bootstrap(
    kind: str,
    sums: Sums,
    n: int = 1000,
    seed: int = 0,
    names: Sequence[str] = (),
    threshold: float = 0.5,
    confidence: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of all metrics by drawing whole groups anew, n times (Efron 1979).

    Groups should be what varies as a whole (parents, scenes, regions), not pixels, whose neighbours repeat them.
    Groups without pixels are left out first; with fewer than two left the intervals are NaN.
    """
    arrays = _arrays(sums)
    kept = arrays["pixels"] > 0
    arrays = {name: value[kept] for name, value in arrays.items()}
    groups = int(kept.sum())
    formulas = _formulas(kind, names, threshold)
    if groups < 2:
        return dict.fromkeys(metrics(kind, sums, names, threshold), (np.nan, np.nan))
    rng = np.random.Generator(np.random.Philox(key=seed))
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=n).astype(np.float64)
    drawn: dict[str, list[Array]] = {}
    # In pieces, so that the memory does not grow with n.
    for piece in np.array_split(times, max(1, n // 100)):
        resampled = {name: np.tensordot(piece, value, axes=1) for name, value in arrays.items()}
        for name, values in formulas(resampled).items():
            drawn.setdefault(name, []).append(values)
    tail = 50 * (1 - confidence)
    return {name: _interval(np.concatenate(values), tail) for name, values in drawn.items()}


def calibration(kind: str, sums: Sums, bins: int = CALIBRATION_BINS) -> dict[str, Array]:
    """The reliability curve, pooled over groups: {bins (edges), confidence, accuracy, weight}, NaN in empty bins.

    Classes: the highest score against how often it is right. Binary: the probability against the share of positives.
    """
    pooled = {name: value.sum(0) if _grouped(sums) else value for name, value in _arrays(sums).items()}
    outcome, confidence = _outcomes(kind, pooled, bins)
    weight = outcome.sum(-2)
    return {
        "bins": np.linspace(0, 1, bins + 1),
        "confidence": _divide(confidence, weight),
        "accuracy": _divide(outcome[..., 1, :], weight),
        "weight": weight,
    }


def _formulas(kind: str, names: Sequence[str], threshold: float) -> Callable[[Sums], dict[str, Array]]:
    if kind == "classes":
        return lambda sums: _class_metrics(sums, names)
    if kind == "binary":
        return lambda sums: _binary_metrics(sums, threshold)
    return _object_metrics if kind == "objects" else _value_metrics


def _class_metrics(sums: Sums, names: Sequence[str]) -> dict[str, Array]:
    confusion = sums["confusion"]
    k = confusion.shape[-1]
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    truth, predicted, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    present = truth + predicted > 0
    per_class = _one_against_rest(hit, truth - hit, predicted - hit, total[..., None] - truth - predicted + hit)
    per_class |= _curves(sums["scores"])
    per_class = {name: np.where(present, value, np.nan) for name, value in per_class.items()}
    chance = _divide((truth * predicted).sum(-1), total**2)
    accuracy = _divide(hit.sum(-1), total)
    values = {"accuracy": accuracy, "kappa": _divide(accuracy - chance, 1 - chance)}
    # Class 0 is the background by custom (water, on the Earth) and often so common that it hides the rest.
    values["foreground_accuracy"] = _divide(hit[..., 1:].sum(-1), truth[..., 1:].sum(-1))
    values["calibration_error"] = _calibration_error("classes", sums)
    for name, value in per_class.items():
        values[name] = _mean_of_known(value)
        values |= {f"{name}/{names[c] if names else c}": value[..., c] for c in range(k)}
    return values


def _binary_metrics(sums: Sums, threshold: float) -> dict[str, Array]:
    scores = sums["scores"]
    edge = round(threshold * scores.shape[-1])
    negative, positive = scores[..., :edge].sum(-1), scores[..., edge:].sum(-1)
    hit, false, missed, rest = positive[..., 1], positive[..., 0], negative[..., 1], negative[..., 0]
    total = hit + false + missed + rest
    values = _one_against_rest(hit, missed, false, rest)
    accuracy = _divide(hit + rest, total)
    chance = _divide((hit + missed) * (hit + false) + (rest + missed) * (rest + false), total**2)
    values |= {"accuracy": accuracy, "kappa": _divide(accuracy - chance, 1 - chance)}
    values["calibration_error"] = _calibration_error("binary", sums)
    return values | _curves(scores) | _best_threshold(scores)


def _best_threshold(scores: Array) -> dict[str, Array]:
    """The threshold of the highest F1, which is also that of the highest IoU; of equal ones that nearest to 0.5."""
    edges = np.linspace(0, 1, scores.shape[-1] + 1)[:-1]
    false, hit = (np.cumsum(scores[..., side, ::-1], axis=-1)[..., ::-1] for side in (0, 1))
    f1 = _divide(2 * hit, hit + false + hit[..., :1], empty=0)
    best = np.asarray(f1.max(-1))
    place = np.where(f1 >= best[..., None], np.abs(edges - 0.5), np.inf).argmin(-1)
    known = hit[..., 0] > 0
    found = {"best_threshold": edges[place], "best_f1": best, "best_iou": best / (2 - best)}
    return {name: np.where(known, value, np.nan) for name, value in found.items()}


def curves(sums: Sums) -> dict[str, Array]:
    """The points of the ROC and of the precision-recall curve of a binary target, pooled, from threshold 1 down to 0.

    Returns:
        {threshold, false_positive_rate, recall, precision}, each [bins + 1]; precision is 1 where nothing is positive.
    """
    scores = _arrays(sums)["scores"]
    scores = scores.sum(0) if _grouped(sums) else scores
    false, hit = (np.concatenate([[0.0], np.cumsum(scores[side, ::-1])]) for side in (0, 1))
    return {
        "threshold": np.linspace(1, 0, scores.shape[-1] + 1),
        "false_positive_rate": _divide(false, false[-1]),
        "recall": _divide(hit, hit[-1]),
        "precision": _divide(hit, hit + false, empty=1),
    }


def _object_metrics(sums: Sums) -> dict[str, Array]:
    """Per IoU threshold of a match: precision, recall, F1, accuracy (matches by all objects), average precision."""
    truths, scores = np.asarray(sums["truths"]), sums["scores"]
    values: dict[str, Array] = {"truths": truths, "predictions": np.asarray(scores[..., 0, :, :].sum((-2, -1)))}
    for number, threshold in enumerate(THRESHOLDS):
        false, hit = scores[..., number, 0, :], scores[..., number, 1, :]
        # The sum of one axis is no array any more, but a number.
        matched, wrong = np.asarray(hit.sum(-1)), np.asarray(false.sum(-1))
        counted = _one_against_rest(matched, np.asarray(truths - matched), wrong, np.zeros_like(matched))
        own = {name: counted[name] for name in ("precision", "recall", "f1")} | {"accuracy": counted["iou"]}
        above, new = (np.cumsum(part[..., ::-1], axis=-1) for part in (hit + false, hit))
        precision = _divide(new, above, empty=0)
        own["average_precision"] = _divide((precision * hit[..., ::-1]).sum(-1), truths)
        values |= {f"{name}@{threshold:g}": value for name, value in own.items()}
    return values | {"boundary_iou": _divide(sums["boundary"][..., 0], sums["boundary"][..., 1])}


def _one_against_rest(hit: Array, missed: Array, false: Array, rest: Array) -> dict[str, Array]:
    """Metrics of one class. With the class in truth or prediction, but not both, what is 0 / 0 is a failure: 0."""
    union = hit + missed + false
    return {
        "iou": _divide(hit, union),
        "f1": _divide(2 * hit, union + hit),
        "precision": np.where(union > 0, _divide(hit, hit + false, empty=0), np.nan),
        "recall": np.where(union > 0, _divide(hit, hit + missed, empty=0), np.nan),
        "specificity": _divide(rest, rest + false),
    }


def _curves(scores: Array) -> dict[str, Array]:
    """Areas under the ROC (trapezoids) and the precision-recall curve (steps), from [..., 2 (is positive), bins]."""
    negative, positive = (np.cumsum(scores[..., side, ::-1], axis=-1) for side in (0, 1))
    negatives, positives = negative[..., -1], positive[..., -1]
    new_positive = scores[..., 1, ::-1]
    above = np.concatenate([np.zeros_like(positive[..., :1]), positive[..., :-1]], axis=-1)
    # A pair of a positive and a negative within one bin counts half, as equal scores do.
    area = (scores[..., 0, ::-1] * (above + new_positive / 2)).sum(-1)
    precision = _divide(positive, positive + negative, empty=0)
    return {
        "auroc": _divide(area, negatives * positives),
        "average_precision": _divide((precision * new_positive).sum(-1), positives),
    }


def _calibration_error(kind: str, sums: Sums) -> Array:
    """Expected calibration error: mean distance of confidence and accuracy over bins (Naeini et al. 2015)."""
    outcome, confidence = _outcomes(kind, sums, CALIBRATION_BINS)
    return _divide(np.abs(confidence - outcome[..., 1, :]).sum(-1), outcome.sum((-2, -1)))


def _outcomes(kind: str, sums: Sums, bins: int) -> tuple[Array, Array]:
    """Weight by (outcome 0 or 1, bin) and summed confidence by bin, the fine bins of the sums joined to `bins`."""
    outcome, confidence = (sums["scores"], sums["score_sums"]) if kind == "binary" else (sums["top"], sums["top_sums"])
    if confidence.shape[-1] % bins:
        raise ValueError(f"{confidence.shape[-1]} bins cannot be joined to {bins}; choose a divisor.")
    joined = [a.reshape(*a.shape[:-1], bins, -1).sum(-1) for a in (outcome, confidence)]
    return joined[0], joined[1]


def _value_metrics(sums: Sums) -> dict[str, Array]:
    weight, positive = sums["weight"], sums["positive"]
    variance = sums["truth_squared"] - _divide(sums["truth"] ** 2, weight)
    mean_log = _divide(sums["log"], positive)
    spread = _divide(sums["log_squared"], positive) - mean_log**2
    values = {
        "mae": _divide(sums["absolute"], weight),
        "rmse": np.sqrt(_divide(sums["squared"], weight)),
        "bias": _divide(sums["error"], weight),
        "r2": 1 - _divide(sums["squared"], variance),
        "absrel": _divide(sums["relative"], positive),
        "silog": 100 * np.sqrt(np.maximum(spread, 0)),
    }
    values |= {f"delta{power}": _divide(sums[f"delta{power}"], positive) for power in (1, 2, 3)}
    return values | (_deviation_metrics(sums) if "deviation" in sums else {})


def _deviation_metrics(sums: Sums) -> dict[str, Array]:
    """Mean and median of the predicted deviation, and how often the error is within it (0.68 if it is a Gaussian's)."""
    by_size, weight = np.cumsum(sums["deviations"], axis=-1), sums["weight"]
    bins = by_size.shape[-1]
    middle = (by_size >= by_size[..., -1:] / 2).argmax(-1)
    values = {
        "mean_std": _divide(sums["deviation"], weight),
        "median_std": np.where(weight > 0, 10 ** ((middle + 0.5) / bins * 8 - 4), np.nan),
        "within_std": _divide(sums["within"], weight),
    }
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def _divide(above: Any, below: Any, empty: float = np.nan) -> Array:
    above, below = np.broadcast_arrays(above, below)
    quotient: Array = np.full(above.shape, empty, dtype=np.float64)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient


def _mean_of_known(values: Array) -> Array:
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0).sum(-1), known.sum(-1))


def _interval(values: Array, tail: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not values.size:
        return np.nan, np.nan
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _arrays(sums: Sums) -> dict[str, Array]:
    return {name: np.asarray(value, dtype=np.float64) for name, value in sums.items()}


def _grouped(sums: Sums) -> bool:
    return np.ndim(sums["pixels"]) > 0
