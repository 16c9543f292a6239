"""Object-level sums: connected components of truth and prediction, matched to each other. They add over scenes.

Objects are 8-connected. A pair of a true and a predicted object matches at a threshold if their IoU reaches it; each
object is in one pair at most, and the pair of the highest IoU is taken first (of equal ones that of the lower number).
Above 0.5 an object can have one partner only, below it the order decides. Work and memory grow with the pixels and with
the pairs that overlap, not with the product of the numbers of objects.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

THRESHOLDS = (0.3, 0.5)
"""IoU from which a pair of objects matches."""

BOUNDARY_SHARE = 0.02
"""Width of the band along outlines, as a share of the diagonal (Cheng et al. 2021, arXiv:2103.16562)."""

_NEIGHBOURS = np.ones((3, 3), bool)

Mask = Bool[np.ndarray, "h w"]
Labels = Int[np.ndarray, "h w"]
ObjectSums = dict[str, np.ndarray]


def boundary_width(height: int, width: int) -> int:
    """The width in pixels of the band along outlines for windows of that size; at least 1."""
    return max(1, round(BOUNDARY_SHARE * float(np.hypot(height, width))))


def object_sums(
    score: Float[np.ndarray, "h w"],
    predicted: Mask,
    truth: Mask,
    valid: Mask,
    groups: Labels,
    n_groups: int,
    boundary: int,
    bins: int = 256,
) -> ObjectSums:
    """The sums of the objects of one class in one scene.

    A true object counts in the group of its first pixel, a matched predicted one in that of its partner, any other
    predicted one in that of its own first pixel. Pixels that are not valid belong to no object.

    Args:
        score: probability of the class; that of an object is the mean over its pixels.
        predicted: where the class is predicted.
        truth: where it is true.
        valid: where the truth is known.
        groups: 0..n_groups-1 at every valid pixel.
        n_groups: number of groups.
        boundary: width of the band along outlines in pixels (see `boundary_width`).
        bins: steps of the histograms of scores.

    Returns:
        truths [g]: true objects; scores [g, thresholds, 2, bins]: predicted objects by (1 where matched, bin of the
        score); boundary [g, 2]: pixels that are in the bands of both truth and prediction, and in either;
        pixels [g]: valid pixels.
    """
    truth, predicted = truth & valid, predicted & valid
    true_labels, n_true = ndimage.label(truth, _NEIGHBOURS)
    own_labels, n_own = ndimage.label(predicted, _NEIGHBOURS)
    true_groups, own_groups = _first(true_labels, n_true, groups), _first(own_labels, n_own, groups)
    partner, reached = match(true_labels, n_true, own_labels, n_own)
    matched = partner >= 0
    own_groups = np.where(matched, true_groups[np.maximum(partner, 0)] if n_true else 0, own_groups)
    step = np.minimum((_means(score, own_labels, n_own) * bins).astype(np.int64), bins - 1)
    scores = np.zeros((n_groups, len(THRESHOLDS), 2, bins))
    for number, threshold in enumerate(THRESHOLDS):
        hit = matched & (reached >= threshold)
        cell = (own_groups * 2 + hit) * bins + step
        scores[:, number] = np.bincount(cell, minlength=n_groups * 2 * bins).reshape(n_groups, 2, bins)
    both, either = _bands(truth, predicted, boundary)
    counted = [np.bincount(groups[where], minlength=n_groups) for where in (both, either, valid)]
    return {
        "truths": np.bincount(true_groups, minlength=n_groups).astype(np.float64),
        "scores": scores,
        "boundary": np.stack(counted[:2], axis=-1).astype(np.float64),
        "pixels": counted[2].astype(np.float64),
    }


def match(true_labels: Labels, n_true: int, own_labels: Labels, n_own: int) -> tuple[np.ndarray, np.ndarray]:
    """The partner of each predicted object and their IoU.

    Args:
        true_labels: number of the true object at each pixel, from 1; 0 where there is none.
        n_true: number of true objects.
        own_labels: the same of predicted ones.
        n_own: number of predicted objects.

    Returns:
        partner [n_own]: from 0, -1 where there is none of an IoU that reaches the lowest threshold; IoU [n_own].
    """
    partner, reached = np.full(n_own, -1, np.int64), np.zeros(n_own)
    overlap = (true_labels > 0) & (own_labels > 0)
    code = true_labels[overlap].astype(np.int64) * (n_own + 1) + own_labels[overlap]
    pairs, shared = np.unique(code, return_counts=True)
    true, own = pairs // (n_own + 1) - 1, pairs % (n_own + 1) - 1
    true_sizes = np.bincount(true_labels.reshape(-1), minlength=n_true + 1)[1:]
    own_sizes = np.bincount(own_labels.reshape(-1), minlength=n_own + 1)[1:]
    iou = shared / (true_sizes[true] + own_sizes[own] - shared)
    taken = np.zeros(n_true, bool)
    for place in np.lexsort((own, true, -iou)):
        if iou[place] < min(THRESHOLDS):
            break
        if not taken[true[place]] and partner[own[place]] < 0:
            taken[true[place]] = True
            partner[own[place]], reached[own[place]] = true[place], iou[place]
    return partner, reached


def _first(labels: Labels, n: int, groups: Labels) -> np.ndarray:
    """The group of each object's first pixel."""
    places = np.flatnonzero(labels)[::-1]
    first = np.zeros(n, np.int64)
    # Of several values for one place numpy keeps the last, which is the first pixel, since the order is reversed.
    first[labels.reshape(-1)[places] - 1] = groups.reshape(-1)[places]
    return first


def _means(score: Float[np.ndarray, "h w"], labels: Labels, n: int) -> np.ndarray:
    inside = labels > 0
    numbers = labels[inside] - 1
    total = np.bincount(numbers, score[inside].astype(np.float64), minlength=n)
    return total / np.maximum(np.bincount(numbers, minlength=n), 1)


def _bands(truth: Mask, predicted: Mask, width: int) -> tuple[Mask, Mask]:
    """Pixels in the bands along the outlines of both masks, and of either."""
    first, second = (mask & ~_eroded(mask, width) for mask in (truth, predicted))
    return first & second, first | second


def _eroded(mask: Mask, width: int) -> Mask:
    """The pixels whose distance to the nearest one outside (and to the scene's edge) is more than `width` steps."""
    size = 2 * width + 1
    rows = ndimage.minimum_filter1d(mask.view(np.uint8), size, axis=0, mode="constant", cval=0)
    return ndimage.minimum_filter1d(rows, size, axis=1, mode="constant", cval=0).astype(bool)
