"""Scores of masks of water against labels of where it cannot, must and may stand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from graticule.data.store import Store
from graticule.inference.summary import plain
from graticule.objectives.flood_masks import BAD, are_bad, flood_metrics, flood_sums
from graticule.schema import IGNORE, INDEX, SEEN, Target

LABELS = "must_may"
"""The target of a store that has such labels: classes 0 cannot, 1 must, 2 may."""

_MOST_NAMED = 20


class FloodScores:
    """Measures of each image; of none where the store has no labels of that kind.

    Args:
        store: whose samples are images.
        targets: that are predicted; binary ones are masks.
        threshold: water is where p >= threshold.
    """

    def __init__(self, store: Store, targets: tuple[Target, ...], threshold: float) -> None:
        self.labels = next((target for target in store.targets if target.name == LABELS), None)
        masks = tuple(target for target in targets if target.kind == "binary" and not target.is_of_sample)
        self.targets = masks if self.labels is not None and len(store.space) == 2 else ()
        self.store, self.threshold = store, threshold
        self.sums: dict[str, dict[int, dict[str, float]]] = {target.name: {} for target in self.targets}

    def add(self, batch: Mapping[str, Any], fields: Mapping[str, Tensor]) -> None:
        """Add the images of a batch; those without labels, or that only fill it up, do not count."""
        if not self.targets or self.labels is None:
            return
        rows = batch[INDEX].tolist()
        found = self.store.read([max(row, 0) for row in rows], arrays=[self.labels.array])[self.labels.array]
        labels = np.where(batch[SEEN].numpy(), found, IGNORE)
        for target in self.targets:
            wet = fields[target.name][:, 0].float().cpu().numpy() >= self.threshold
            for slot, row in enumerate(rows):
                if row >= 0 and (labels[slot] != IGNORE).any():
                    self.sums[target.name][row] = flood_sums(wet[slot], labels[slot])

    def entry(self, target: Target) -> dict[str, Any]:
        """What `metrics.json` says of a mask: pooled over pixels, the mean of images, each image, and the bad ones."""
        kept = self.sums.get(target.name)
        if not kept:
            return {}
        rows = sorted(kept)
        sums = {name: np.array([kept[row][name] for row in rows]) for name in kept[rows[0]]}
        each = flood_metrics(sums)
        bad, names = are_bad(each), self.store.metadata["sample_id"].astype(str).to_numpy()[rows]
        pooled = flood_metrics({name: values.sum() for name, values in sums.items()})
        means = {name: values[~np.isnan(values)] for name, values in each.items()}
        told = {
            "images": len(rows),
            "pooled": plain({name: float(value) for name, value in pooled.items()}),
            "mean": plain({name: float(values.mean()) if len(values) else np.nan for name, values in means.items()}),
            "bad": {"images": int(bad.sum()), "limits": BAD, "names": names[bad][:_MOST_NAMED].tolist()},
            "by_image": {
                str(name): plain({measure: float(values[place]) for measure, values in each.items()})
                for place, name in enumerate(names)
            },
        }
        return {"flood": told}
