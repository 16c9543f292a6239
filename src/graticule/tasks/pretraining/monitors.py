"""What a pretraining is watched by: its loss on fixed views, whether features collapse, and probes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from torch import Tensor

from graticule.objectives.collapse import alignment, rank_me, spread, uniformity
from graticule.objectives.probes import knn, linear_probe
from graticule.schema import INDEX, TARGETS, VALID, Target
from graticule.tasks.ranks import world_size

_MOST = 4096
"""Features of so many samples at most make the measures that compare all with all."""


class Monitors:
    """Gathers what a validation sees; `features`, `labels` and `index` of the last one stay for pictures.

    Features are kept on the CPU: they are a few numbers per sample.
    """

    def __init__(self) -> None:
        self.clear()
        self.features: np.ndarray | None = None
        self.labels: np.ndarray | None = None
        self.index: np.ndarray | None = None

    def clear(self) -> None:
        """Begin a validation."""
        self.rows: list[dict[str, Tensor]] = []
        self.losses: list[dict[str, float]] = []

    def add(
        self, batch: Mapping[str, Any], features: Float[Tensor, "b d"], labels: Int64[Tensor, " b"] | None,
        losses: Mapping[str, Tensor], notes: Mapping[str, Tensor], pair: Sequence[Float[Tensor, "b d"]],
    ) -> None:  # fmt: skip
        """Count one batch; padding counts nowhere in the features."""
        real = batch[INDEX] >= 0
        row = {"index": batch[INDEX][real], "features": features[real].float()}
        if labels is not None:
            row["labels"] = labels[real]
        if pair:
            row |= {"one": pair[0][real].float(), "other": pair[1][real].float()}
        self.rows.append({name: values.detach().cpu() for name, values in row.items()})
        if losses:
            found = {"val/loss": sum(float(value) for value in losses.values()), "weight": float(real.sum())}
            self.losses.append(found | {f"val/{name}": float(value) for name, value in notes.items()})

    def found(
        self, bank: tuple[Float[Tensor, "n d"], Int64[Tensor, " n"]] | None, target: Target | None
    ) -> dict[str, float]:
        """All measures over all processes: `val/loss`, `val/spread`, `val/rank`, `val/alignment`, `val/uniformity`.

        With labelled training samples (`bank`) also the share of validation samples that their 20 nearest neighbours
        (by cosine, weighted) and a linear layer on the features classify rightly: `val/knn`, `val/linear`, and the
        means over classes of these shares: `val/knn_balanced`, `val/linear_balanced`.
        """
        rows = _joined(_gathered(self.rows))
        losses = _gathered(self.losses)
        weights = np.array([entry["weight"] for entry in losses])
        names = [name for name in (losses[0] if losses else {}) if name != "weight"]
        values = {name: float(np.average([one[name] for one in losses], weights=weights)) for name in names}
        self.features, self.index = rows["features"].numpy(), rows["index"].numpy()
        self.labels = rows["labels"].numpy() if "labels" in rows else None
        some = rows["features"][:_MOST]
        values |= {"val/spread": float(spread(some)), "val/rank": float(rank_me(some))}
        if len(some) > 1:
            values["val/uniformity"] = float(uniformity(some))
        if "one" in rows:
            values["val/alignment"] = float(alignment(rows["one"], rows["other"]))
        if bank is not None and self.labels is not None and target is not None:
            known = _joined(_gathered([{"x": bank[0].float().cpu(), "y": bank[1].cpu()}]))
            classes = max(2, len(target.legend))
            values |= _probed(known["x"].numpy(), known["y"].numpy(), self.features, self.labels, classes)
        return values


def label_of(batch: Mapping[str, Any], target: Target) -> Int64[Tensor, " b"]:
    """One label per sample: its own, or the class of most of its pixels; -1 where none is known."""
    truth, valid = batch[TARGETS][target.name].long(), batch[VALID][target.name]
    if target.is_of_sample:
        return torch.where(valid, truth, -1)
    classes = max(2, len(target.legend))
    votes = torch.zeros(len(truth), classes, device=truth.device)
    votes.scatter_add_(1, truth.flatten(1).clamp(0, classes - 1), valid.flatten(1).float())
    return torch.where(votes.sum(1) > 0, votes.argmax(1), -1)


def _probed(
    known: np.ndarray, labels: np.ndarray, queries: np.ndarray, truth: np.ndarray, classes: int
) -> dict[str, float]:
    """How well labelled features tell the classes of the others."""
    known, labels, queries, truth = known[labels >= 0], labels[labels >= 0], queries[truth >= 0], truth[truth >= 0]
    if not len(labels) or not len(truth) or not np.isfinite(known).all() or not np.isfinite(queries).all():
        return {}
    near = knn(known, labels, queries, min(20, len(known)), distance="cosine", temperature=0.07, classes=classes)
    # Every fourth labelled sample chooses C, so that no figure is chosen on what it is measured on.
    held = np.arange(len(labels)) % 4 == 3
    linear = linear_probe(known[~held], labels[~held], known[held], labels[held], cs=(1e-3, 1e-1), classes=classes)
    found = {}
    for name, scores in (("knn", near), ("linear", linear(queries))):
        right = scores.argmax(1) == truth
        found[f"val/{name}"] = float(right.mean())
        found[f"val/{name}_balanced"] = float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))
    return found


def _gathered(values: list[Any]) -> list[Any]:
    """The entries of all processes."""
    if world_size() == 1:
        return values
    each: list[Any] = [None] * world_size()
    dist.all_gather_object(each, values)
    return [entry for of_one in each for entry in of_one]


def _joined(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
