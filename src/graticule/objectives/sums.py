"""Sums over pixels from which every metric follows. Sums add: over batches, devices, folds, regions.

Each function returns float64 tensors with a leading axis of groups (samples, regions, latitude bands ...). A pixel
counts with its weight (1, or its area) in its group; a pixel that is not valid, or whose group is negative, counts
nowhere, whatever stands there. Scores are kept as histograms of `bins` equal steps over [0, 1]; with an even number
of bins 0.5 is an edge, so that thresholding at 0.5 is exact, and areas under curves are those of the rounded scores.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BINS = 256
"""Steps of a score histogram; a power of two, so that the edges are exact numbers."""

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
        ValueError: if a valid pixel has a class outside 0..k-1, or a group is not below n_groups.
    """
    k = scores.shape[1]
    tally = _Tally.of(valid, weight, groups, n_groups)
    truth = torch.where(valid, target, 0).to(torch.int32)
    if truth.numel() and (int(truth.max()) >= k or int(truth.min()) < 0):
        raise ValueError(f"a valid pixel has a class outside 0..{k - 1}; check the legend and the stored labels.")
    top, predicted = scores[:, 0], torch.zeros_like(truth)
    histograms = []
    # Class by class: each slice stays in the cache, and a reduction along the strided class axis is five times slower.
    for c in range(k):
        score = scores[:, c]
        if c:
            predicted.masked_fill_(score > top, c)
            top = torch.maximum(score, top)
        histograms.append(tally.count(_bin(score, bins).add_(truth == c, alpha=bins), 2 * bins).view(-1, 2, bins))
    top_bin = _bin(top, bins)
    return {
        "confusion": tally.count(truth * k + predicted, k * k).view(-1, k, k),
        "scores": torch.stack(histograms, dim=1),
        "top": tally.count(top_bin.add(predicted == truth, alpha=bins), 2 * bins).view(-1, 2, bins),
        "top_sums": tally.count(top_bin, bins, factor=top),
        "pixels": tally.pixels(),
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
        ValueError: if a valid pixel has a class other than 0 and 1, or a group is not below n_groups.
    """
    score = scores[:, 0]
    tally = _Tally.of(valid, weight, groups, n_groups)
    truth = torch.where(valid, target, 0).to(torch.int32)
    if truth.numel() and (int(truth.max()) > 1 or int(truth.min()) < 0):
        raise ValueError("a valid pixel of a binary target has a class other than 0 and 1; check the stored labels.")
    score_bin = _bin(score, bins)
    return {
        "scores": tally.count(truth.mul(bins).add_(score_bin), 2 * bins).view(-1, 2, bins),
        "score_sums": tally.count(score_bin, bins, factor=score),
        "pixels": tally.pixels(),
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
    tally = _Tally.of(valid, weight, groups, n_groups)
    value, truth = (torch.where(valid, given, 0).double() for given in (values, target))
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
    nowhere = torch.zeros_like(truth, dtype=torch.int32)
    sums = {name: tally.count(nowhere, 1, factor=factor)[:, 0] for name, factor in factors.items()}
    return sums | {"pixels": tally.pixels()}


def merge(first: Sums, second: Sums) -> Sums:
    """The sums of both sets of pixels together (same kind, same groups, same bins)."""
    if first.keys() != second.keys():
        raise ValueError(f"sums of {sorted(first)} cannot be added to sums of {sorted(second)}.")
    return {name: first[name] + second[name] for name in first}


@dataclass(frozen=True)
class _Tally:
    """Adds weights by (group, cell). The last group collects what does not count and is thrown away."""

    group: Tensor | None  # int32 [b, *space]; None: one group and every pixel counts
    weight: Tensor | None  # float64 [b, *space]; None: ones
    valid: Tensor
    n_groups: int

    @classmethod
    def of(cls, valid: Tensor, weight: Tensor | None, groups: Tensor | None, n_groups: int) -> "_Tally":
        weight = None if weight is None else torch.where(valid, weight.double(), 0)
        if groups is None:
            group = None if bool(valid.all()) else torch.where(valid, 0, n_groups).to(torch.int32)
            return cls(group, weight, valid, n_groups)
        if groups.numel() and int(groups.max()) >= n_groups:
            raise ValueError(f"group {int(groups.max())} is not below the {n_groups} groups announced.")
        groups = groups.view(-1, *[1] * (valid.ndim - groups.ndim), *groups.shape[1:])
        valid = valid & (groups >= 0)
        return cls(torch.where(valid, groups, n_groups).to(torch.int32), weight, valid, n_groups)

    def count(self, cell: Tensor, cells: int, factor: Tensor | None = None) -> Tensor:
        """Sum of weight (times `factor`) by group and cell: float64 [n_groups, cells]."""
        index = cell if self.group is None else self.group * cells + cell
        weight = self.weight
        if factor is not None:
            factor = torch.where(self.valid, factor.double(), 0)
            weight = factor if weight is None else weight * factor
        flat = None if weight is None else weight.flatten()
        total = torch.bincount(index.flatten(), flat, minlength=(self.n_groups + 1) * cells)
        return total.view(self.n_groups + 1, cells)[:-1].double()

    def pixels(self) -> Tensor:
        """Number of pixels that count: float64 [n_groups]."""
        nowhere = torch.zeros_like(self.valid, dtype=torch.int32)
        return _Tally(self.group, None, self.valid, self.n_groups).count(nowhere, 1)[:, 0]


def _bin(score: Tensor, bins: int) -> Tensor:
    """The step of [0, 1] that a score falls in, int32; 1 belongs to the last step, NaN anywhere (it never counts)."""
    return score.mul(bins).to(torch.int32).clamp_(0, bins - 1)
