"""Sums of an evaluation, kept per parent, region and latitude band, so that any of them can be told apart later."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from graticule.objectives.sums import Sums, target_sums, value_sums
from graticule.schema import Target

BAND_DEGREES = 15
BANDS = 180 // BAND_DEGREES
_NOWHERE = BANDS  # the band of pixels without a latitude

Arrays = dict[str, np.ndarray]


def codes_of(pairs: Int64[np.ndarray, "*space"], lat: np.ndarray) -> Int64[np.ndarray, "*space"]:
    """One number for (parent and region, latitude band) of each pixel; -1 where `pairs` is."""
    known = np.isfinite(lat)
    band = np.where(known, np.clip((np.where(known, lat, 0.0) + 90.0) // BAND_DEGREES, 0, BANDS - 1), _NOWHERE)
    return np.where(pairs >= 0, pairs * (BANDS + 1) + band.astype(np.int64), -1)


class Tally:
    """Sums of all targets by group.

    Args:
        targets: what is evaluated.
        constants: of targets with values: the mean of the train part, evaluated as a baseline beside the prediction.
    """

    def __init__(self, targets: Sequence[Target], constants: Mapping[str, float]) -> None:
        self.targets, self.constants = targets, constants
        self.groups: dict[str, dict[int, Arrays]] = {target.name: {} for target in targets}
        self.baselines: dict[str, dict[int, Arrays]] = {name: {} for name in constants}

    def add(
        self, predictions: Mapping[str, Tensor], truth: Mapping[str, Tensor], valid: Mapping[str, Tensor],
        weight: Mapping[str, Tensor] | None, codes: Tensor,
    ) -> None:  # fmt: skip
        """Add the pixels of a batch: per target [b, k, *space] or [b, *space]; codes [b, *space]."""
        present, groups = torch.unique(codes, return_inverse=True)
        if present[0] < 0:
            present, groups = present[1:], groups - 1
        if not len(present):
            return
        for target in self.targets:
            given = predictions[target.name]
            device = given.device
            known = (truth[target.name].to(device), valid[target.name].to(device))
            own = None if weight is None else weight[target.name].to(device)
            place, count = groups.to(device), len(present)
            _merge(self.groups[target.name], present, target_sums(target, predictions, *known, own, place, count))
            if target.name in self.constants:
                constant = torch.full_like(given, self.constants[target.name])
                _merge(self.baselines[target.name], present, value_sums(constant, *known, own, place, count))


def _merge(kept: dict[int, Arrays], codes: Tensor, sums: Sums) -> None:
    arrays = {name: value.cpu().numpy() for name, value in sums.items()}
    for place, code in enumerate(codes.tolist()):
        own = {name: np.asarray(value[place]) for name, value in arrays.items()}
        if own["pixels"] == 0:
            continue
        if code in kept:
            for name, value in own.items():
                kept[code][name] = np.asarray(kept[code][name] + value)
        else:
            kept[code] = {name: value.copy() for name, value in own.items()}


def stacked(kept: Mapping[int, Arrays]) -> tuple[np.ndarray, Arrays]:
    """Codes [groups] in order, and their sums [groups, ...]."""
    codes = np.array(sorted(kept), dtype=np.int64)
    names = next(iter(kept.values()), {}).keys()
    return codes, {name: np.stack([kept[code][name] for code in codes.tolist()]) for name in names}


def pooled_by(labels: np.ndarray, sums: Mapping[str, np.ndarray]) -> tuple[list[str], Arrays]:
    """Names in order, and the sums [names, ...] of all groups that have that name in `labels` [groups]."""
    names, place = np.unique(labels, return_inverse=True)
    pooled = {}
    for key, values in sums.items():
        pooled[key] = np.zeros((len(names), *values.shape[1:]))
        np.add.at(pooled[key], place, values)
    return names.tolist(), pooled


def constant_sums(kind: str, sums: Mapping[str, np.ndarray], label: int) -> Arrays:
    """What the sums [groups, ...] of a categorical target would be, had `label` been predicted everywhere, surely.

    They follow from how often each class is true.
    """
    bins = sums["scores"].shape[-1]
    scores = np.zeros_like(sums["scores"])
    if kind == "binary":
        truth = sums["scores"].sum(-1)
        at = bins - 1 if label == 1 else 0
        scores[..., at] = truth
        score_sums = np.zeros_like(sums["score_sums"])
        score_sums[..., at] = truth.sum(-1) * label
        return {"scores": scores, "score_sums": score_sums, "pixels": sums["pixels"]}
    truth = sums["confusion"].sum(-1)
    total = truth.sum(-1)
    confusion, top = np.zeros_like(sums["confusion"]), np.zeros_like(sums["top"])
    confusion[..., label] = truth
    for c in range(truth.shape[-1]):
        at = bins - 1 if c == label else 0
        scores[:, c, 1, at], scores[:, c, 0, at] = truth[:, c], total - truth[:, c]
    top[:, 1, -1], top[:, 0, -1] = truth[:, label], total - truth[:, label]
    top_sums = np.zeros_like(sums["top_sums"])
    top_sums[:, -1] = total
    return {"confusion": confusion, "scores": scores, "top": top, "top_sums": top_sums, "pixels": sums["pixels"]}
