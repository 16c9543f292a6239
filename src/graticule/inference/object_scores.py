"""Object-level scores of an evaluation: sums per parent and region, over whole scenes or over windows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from graticule.inference.summary import Pairs, plain
from graticule.inference.tally import pooled_by
from graticule.objectives.metrics import bootstrap, metrics, metrics_by_group
from graticule.objectives.names import darts_names
from graticule.objectives.objects import THRESHOLDS, ObjectSums, boundary_width, object_sums
from graticule.schema import IGNORE, INDEX, SEEN, TARGETS, VALID, Target

On = Literal["scenes", "windows"]


def targets_with_objects(targets: Iterable[Target], wanted: bool | None) -> tuple[Target, ...]:
    """The targets whose objects are counted: binary ones by default (None), those of classes too if wanted."""
    kinds = {None: ("binary",), True: ("binary", "classes"), False: ()}[wanted]
    return tuple(target for target in targets if target.kind in kinds)


class ObjectScores:
    """Counts the objects of every class but class 0, the background.

    Args:
        targets: whose objects are counted, of kind binary or classes.
        space: (height, width) of a window; the width of the band along outlines follows from it.
        threshold: of binary targets: positive is p >= threshold.
        on: what the pieces that are added are. Objects are cut where a piece ends, so windows count the pieces of one.
    """

    def __init__(self, targets: Sequence[Target], space: tuple[int, ...], threshold: float, on: On) -> None:
        self.targets, self.threshold, self.on = tuple(targets), threshold, on
        self.boundary = boundary_width(space[0], space[1]) if targets else 0
        self.sums: dict[tuple[str, int], dict[int, ObjectSums]] = {}

    def add(
        self, fields: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], seen: np.ndarray, pairs: np.ndarray
    ) -> None:
        """Add a scene or window.

        Args:
            fields: probabilities [k, h, w] of each target.
            truth: labels [h, w], 255 where not known.
            seen: bool [h, w], where there is a prediction.
            pairs: int [h, w], the number of (parent, region) of each pixel that is seen.
        """
        for target in self.targets:
            field, known = fields[target.name], truth[target.name]
            valid = seen & (known != IGNORE) & (pairs >= 0)
            if not valid.any():
                continue
            present, groups = np.unique(np.where(valid, pairs, pairs[valid][0]), return_inverse=True)
            groups = groups.reshape(pairs.shape)
            highest = field.argmax(0) if target.kind == "classes" else None
            for value in range(1, len(target.legend)):
                score = field[0] if highest is None else field[value]
                predicted = score >= self.threshold if highest is None else highest == value
                sums = object_sums(score, predicted, known == value, valid, groups, len(present), self.boundary)
                self._merge((target.name, value), present, sums)

    def add_windows(self, batch: Mapping[str, Any], fields: Mapping[str, Tensor], pair_of: Mapping[int, int]) -> None:
        """Add the windows of a batch, each for itself; those without a row in the store only fill it up."""
        if not self.targets:
            return
        seen = batch[SEEN].numpy()
        names = [target.name for target in self.targets]
        own = {name: fields[name].float().cpu().numpy() for name in names}
        truth = {name: np.where(batch[VALID][name].numpy(), batch[TARGETS][name].numpy(), IGNORE) for name in names}
        for slot, row in enumerate(batch[INDEX].tolist()):
            if row >= 0:
                pairs = np.full(seen[slot].shape, pair_of[row])
                self.add({n: own[n][slot] for n in names}, {n: truth[n][slot] for n in names}, seen[slot], pairs)

    def _merge(self, key: tuple[str, int], present: np.ndarray, sums: ObjectSums) -> None:
        kept = self.sums.setdefault(key, {})
        for place, pair in enumerate(present.tolist()):
            own = {name: np.asarray(values[place]) for name, values in sums.items()}
            kept[pair] = {name: np.asarray(kept[pair][name] + own[name]) for name in own} if pair in kept else own

    def entry(self, target: Target, pairs: Pairs, *, draws: int, seed: int) -> dict[str, Any]:
        """What `metrics.json` says of the objects of a target; empty where none were counted."""
        classes = {
            target.legend[value].name: _numbers(self.sums[target.name, value], pairs, draws, seed)
            for value in range(1, len(target.legend))
            if (target.name, value) in self.sums
        }
        if not classes:
            return {}
        told = {"on": self.on, "connectivity": 8, "boundary_pixels": self.boundary, "classes": classes}
        return {"objects": told | ({"threshold": self.threshold} if target.kind == "binary" else {})}


def named_by_darts(part: str, targets: Mapping[str, dict[str, Any]]) -> dict[str, float | None]:
    """The metrics of the first target under the names of DARTS, if it is binary; from entries of `metrics.json`."""
    entries = list(targets.values())[:1]
    if not entries or entries[0]["kind"] != "binary":
        return {}
    classes = entries[0].get("objects", {}).get("classes", {})
    return darts_names(part, entries[0]["metrics"], *[numbers["metrics"] for numbers in classes.values()])


def _numbers(kept: Mapping[int, ObjectSums], pairs: Pairs, draws: int, seed: int) -> dict[str, Any]:
    """Metrics over all, with their intervals over parents, and by region."""
    numbers = sorted(kept)
    sums = {name: np.stack([kept[number][name] for number in numbers]) for name in kept[numbers[0]]}
    _, by_parent = pooled_by(np.array([pairs[number][0] for number in numbers]), sums)
    regions, by_region = pooled_by(np.array([pairs[number][1] for number in numbers]), sums)
    table = metrics_by_group("objects", by_region)
    return {
        "metrics": plain(metrics("objects", sums)),
        "intervals": plain(bootstrap("objects", by_parent, draws, seed)) if draws else {},
        "by_region": {region: plain({m: v[row] for m, v in table.items()}) for row, region in enumerate(regions)},
        "curve": _curve(sums),
    }


def _curve(sums: ObjectSums) -> dict[str, Any]:
    """Precision and recall at each threshold of a match, from the surest objects on to all of them."""
    scores, truths = sums["scores"].sum(0)[..., ::-1].cumsum(-1), sums["truths"].sum()
    found = {}
    for number, threshold in enumerate(THRESHOLDS):
        false, hit = scores[number]
        some = np.flatnonzero(np.diff(false + hit, prepend=0))
        if len(some) and truths:
            precision, recall = hit[some] / (hit + false)[some], hit[some] / truths
            found[f"{threshold:g}"] = {"recall": _rounded(recall), "precision": _rounded(precision)}
    return found


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]
