"""Sums over pixels from which every metric follows. Sums add: over batches, devices, folds, regions.

Each function returns float64 tensors with a leading axis of groups (samples, regions, latitude bands ...). A pixel
counts with its weight (1, or its area) in its group; a pixel that is not valid, or whose group is negative, counts
nowhere, whatever stands there. Scores are kept as histograms of `bins` equal steps over [0, 1]; with an even number
of bins 0.5 is an edge, so that thresholding at 0.5 is exact, and areas under curves are those of the rounded scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graticule.errors import StoreError
from graticule.schema import Target

BINS = 256
"""Steps of a score histogram; a power of two, so that the edges are exact numbers."""

DEVIATION_BINS = 1024
"""Steps of the histogram of predicted deviations."""

Sums = dict[str, Tensor]
Labels = Int[Tensor, "b *space"]
Values = Float[Tensor, "b *space"]
Valid = Bool[Tensor, "b *space"]
Weight = Float[Tensor, "b *space"] | None
Groups = Int[Tensor, " b"] | Int[Tensor, "b *space"] | None


def class_sums(
    scores: Float[Tensor, "b k *space"],
    target: Labels,
    valid: Valid,
    weight: Weight = None,
    groups: Groups = None,
    n_groups: int = 1,
    bins: int = BINS,
) -> Sums:
    """The sums of a `classes` target, from probabilities over k >= 2 classes.

    Returns:
        confusion [g, k, k]: weight by (true class, class of the highest score; the first one of equals);
        scores [g, k, 2, bins]: one against the rest: weight by (class, 1 where it is the true one, bin of its score);
        top [g, 2, bins]: weight by (1 where the prediction is right, bin of the highest score);
        top_sums [g, bins]: sum of weight * highest score by its bin;
        pixels [g]: number of pixels that count.

    Raises:
        StoreError: if a valid pixel has a class outside 0..k-1.
        ValueError: if a group is not below n_groups.
    """
    k = scores.shape[1]
    pixels = _Pixels.of(valid, weight, groups, n_groups)
    truth = _labels(pixels, target, k)
    top, predicted = pixels.take(scores[:, 0]), torch.zeros_like(truth)
    histograms = []
    # Class by class: each slice stays in the cache, and a reduction along the strided class axis is five times slower.
    for c in range(k):
        score = pixels.take(scores[:, c])
        if c:
            predicted.masked_fill_(score > top, c)
            top = torch.maximum(score, top)
        histograms.append(pixels.count(_bin(score, bins).add_(truth == c, alpha=bins), 2 * bins).view(-1, 2, bins))
    top_bin = _bin(top, bins)
    return {
        "confusion": pixels.count(truth * k + predicted, k * k).view(-1, k, k),
        "scores": torch.stack(histograms, dim=1),
        "top": pixels.count(top_bin.add(predicted == truth, alpha=bins), 2 * bins).view(-1, 2, bins),
        "top_sums": pixels.count(top_bin, bins, factor=top),
        "pixels": pixels.number(),
    }


def binary_sums(
    scores: Float[Tensor, "b 1 *space"],
    target: Labels,
    valid: Valid,
    weight: Weight = None,
    groups: Groups = None,
    n_groups: int = 1,
    bins: int = BINS,
) -> Sums:
    """The sums of a `binary` target, from the probability of class 1.

    The confusion matrix at any edge of a bin (0.5 by default) follows from the histogram: positive is p >= the edge.

    Returns:
        scores [g, 2, bins]: weight by (true class, bin of the probability);
        score_sums [g, bins]: sum of weight * probability by its bin;
        pixels [g]: number of pixels that count.

    Raises:
        StoreError: if a valid pixel has a class other than 0 and 1.
        ValueError: if a group is not below n_groups.
    """
    pixels = _Pixels.of(valid, weight, groups, n_groups)
    truth, score = _labels(pixels, target, 2), pixels.take(scores[:, 0])
    score_bin = _bin(score, bins)
    return {
        "scores": pixels.count(truth.mul_(bins).add_(score_bin), 2 * bins).view(-1, 2, bins),
        "score_sums": pixels.count(score_bin, bins, factor=score),
        "pixels": pixels.number(),
    }


def value_sums(
    values: Values,
    target: Values,
    valid: Valid,
    weight: Weight = None,
    groups: Groups = None,
    n_groups: int = 1,
    floor: float = 1e-3,
) -> Sums:
    """The sums of a `height`, `depth` or `image` target, values and target in the same unit.

    Relative and logarithmic errors are over the pixels with a target > 0 only; there a prediction below `floor` (in
    the unit) counts as `floor`.

    Returns:
        each [g]: weight, absolute, squared, error, truth, truth_squared (sums of weight times |e|, e², e, t, t² with
        e = value - t); positive, relative, log, log_squared, delta1, delta2, delta3 (over t > 0: weight, and weight
        times |e| / t, d, d² with d = log value - log t, and whether max(value / t, t / value) < 1.25, 1.25², 1.25³);
        pixels (number of pixels that count).
    """
    pixels = _Pixels.of(valid, weight, groups, n_groups)
    value, truth = pixels.take(values).double(), pixels.take(target).double()
    error = value - truth
    positive = truth > 0
    difference = torch.where(positive, value.clamp_min(floor).log() - truth.where(positive, 1).log(), 0)
    relative = torch.where(positive, error.abs() / truth.where(positive, 1), 0)
    factors = {
        "weight": torch.ones_like(truth),
        "absolute": error.abs(),
        "squared": error.square(),
        "error": error,
        "truth": truth,
        "truth_squared": truth.square(),
        "positive": positive.double(),
        "relative": relative,
        "log": difference,
        "log_squared": difference.square(),
    }
    distance, step = difference.abs(), torch.tensor(1.25, dtype=torch.float64, device=truth.device).log()
    for power in (1, 2, 3):
        factors[f"delta{power}"] = (positive & (distance < power * step)).double()
    return {name: pixels.total(factor) for name, factor in factors.items()} | {"pixels": pixels.number()}


def deviation_sums(
    deviation: Values,
    values: Values,
    target: Values,
    valid: Valid,
    weight: Weight = None,
    groups: Groups = None,
    n_groups: int = 1,
) -> Sums:
    """The sums of the standard deviation that is predicted beside a value, all in the same unit.

    Returns:
        deviation [g] (sum of weight times it), within [g] (weight where the error is at most as large), deviations
        [g, bins] (weight by its logarithm: `DEVIATION_BINS` steps from 10⁻⁴ to 10⁴ of the unit, 2 % each).
    """
    pixels = _Pixels.of(valid, weight, groups, n_groups)
    own = pixels.take(deviation).double()
    error = pixels.take(values).double() - pixels.take(target).double()
    step = ((own.clamp_min(1e-30).log10() + 4) / 8 * DEVIATION_BINS).to(torch.int32).clamp_(0, DEVIATION_BINS - 1)
    return {
        "deviation": pixels.total(own),
        "within": pixels.total((error.abs() <= own).double()),
        "deviations": pixels.count(step, DEVIATION_BINS),
    }


def target_sums(
    target: Target,
    predictions: Mapping[str, Tensor],
    truth: Tensor,
    valid: Valid,
    weight: Weight = None,
    groups: Groups = None,
    n_groups: int = 1,
) -> Sums:
    """The sums of a target of any kind, from predictions by name: its own, and its uncertainty where that is there."""
    found = predictions[target.name]
    rest = (truth, valid, weight, groups, n_groups)
    if target.is_categorical:
        return (class_sums if target.kind == "classes" else binary_sums)(found, *rest)
    sums = value_sums(found, *rest)
    if target.uncertainty_name in predictions:
        sums |= deviation_sums(predictions[target.uncertainty_name], found, *rest)
    return sums


def merge(first: Sums, second: Sums) -> Sums:
    """The sums of both sets of pixels together (same kind, same groups, same bins)."""
    if first.keys() != second.keys():
        raise ValueError(f"sums of {sorted(first)} cannot be added to sums of {sorted(second)}.")
    return {name: first[name] + second[name] for name in first}


@dataclass(frozen=True)
class _Pixels:
    """The n pixels that count: where they are, what group each is in, what each weighs."""

    where: Tensor | None  # int64 [n], flat positions; None: every pixel counts
    group: Tensor | None  # int32 [n]; None: one group
    weight: Tensor | None  # float64 [n]; None: ones
    n: int
    n_groups: int
    device: torch.device

    @classmethod
    def of(cls, valid: Tensor, weight: Tensor | None, groups: Tensor | None, n_groups: int) -> "_Pixels":
        """Choose the valid pixels of groups >= 0."""
        if groups is not None:
            if groups.numel() and int(groups.max()) >= n_groups:
                raise ValueError(f"group {int(groups.max())} is not below the {n_groups} groups announced.")
            groups = groups.view(*groups.shape, *[1] * (valid.ndim - groups.ndim)).expand_as(valid)
            valid = valid & (groups >= 0)
        where = None if bool(valid.all()) else valid.flatten().nonzero()[:, 0]
        n = valid.numel() if where is None else where.numel()
        pixels = cls(where, None, None, n, n_groups, valid.device)
        return replace(
            pixels,
            group=None if groups is None else pixels.take(groups).to(torch.int32),
            weight=None if weight is None else pixels.take(weight).double(),
        )

    def take(self, values: Tensor) -> Tensor:
        """The values of these pixels: [b, *space] -> [n]."""
        flat = values.reshape(-1)
        return flat if self.where is None else flat[self.where]

    def count(self, cell: Tensor, cells: int, factor: Tensor | None = None) -> Tensor:
        """Sum of weight (times `factor`) by group and cell: float64 [n_groups, cells]."""
        index = cell if self.group is None else self.group * cells + cell
        total = torch.bincount(index, self._weighed(factor), minlength=self.n_groups * cells)
        return total.view(self.n_groups, cells).double()

    def total(self, factor: Tensor) -> Tensor:
        """Sum of weight times `factor` by group: float64 [n_groups]."""
        if self.group is not None:
            return torch.bincount(self.group, self._weighed(factor), minlength=self.n_groups)
        return self._of_first(factor.sum() if self.weight is None else factor @ self.weight)

    def number(self) -> Tensor:
        """How many pixels each group has: float64 [n_groups]."""
        if self.group is not None:
            return torch.bincount(self.group, minlength=self.n_groups).double()
        return self._of_first(self.n)

    def _of_first(self, value: Tensor | int) -> Tensor:
        total = torch.zeros(self.n_groups, dtype=torch.float64, device=self.device)
        total[0] = value
        return total

    def _weighed(self, factor: Tensor | None) -> Tensor | None:
        if factor is None or self.weight is None:
            return self.weight if factor is None else factor.double()
        return factor.double() * self.weight


def _labels(pixels: _Pixels, target: Tensor, k: int) -> Tensor:
    """The labels of the pixels that count, int32 [n], known to be below k."""
    labels = pixels.take(target)
    if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < k):
        wrong = sorted(set(labels[(labels < 0) | (labels >= k)].tolist()))
        raise StoreError(
            f"the labels of a target with {k} classes hold {wrong}; they must be 0..{k - 1}, or 255 where not known: "
            "prepare the store again with the right legend."
        )
    return labels.to(torch.int32)


def _bin(score: Tensor, bins: int) -> Tensor:
    """The step of [0, 1] that a score falls in, int32; 1 belongs to the last step."""
    return score.mul(bins).to(torch.int32).clamp_(0, bins - 1)
