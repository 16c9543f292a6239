"""Features of the samples of a store by a net that is left as it is, and the label of each sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from graticule.data.datamodule import DataModule
from graticule.data.sample_labels import sample_labels
from graticule.data.splits import Part
from graticule.inference.healpix import to_squares
from graticule.inference.progress import tracked
from graticule.schema import IGNORE, INDEX, SEEN, Target, X
from graticule.tasks.normalisation import Normalisation, normalised


@dataclass(frozen=True)
class Frozen:
    """A net that gives features, and what its input is.

    Attributes:
        name: for tables.
        net: normalised images [b, c, h, w] -> features [b, d], or a map of them [b, d, h, w], of which the mean counts.
        bands: names of its input, in order.
        method: of the normalisation, with
        numbers: its `scale`, `shift` and `empty`, each [c].
        told: what else is to be told of it.
    """

    name: str
    net: nn.Module
    bands: tuple[str, ...]
    method: Normalisation
    numbers: Mapping[str, Sequence[float]]
    told: Mapping[str, Any]

    def __call__(self, x: Tensor, seen: Tensor, size: int | None = None) -> Float32[Tensor, "b d"]:
        """The features of stored values [b, c, h, w], seen or not, resized to `size` pixels where that is given."""
        scale, shift, empty = (torch.tensor(self.numbers[key]).to(x.device) for key in ("scale", "shift", "empty"))
        image = normalised(x, seen, self.method, scale, shift, empty)
        if size is not None:
            image = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
        found: Tensor = self.net(image).float()
        return found.flatten(2).mean(2) if found.ndim > 2 else found


@dataclass(frozen=True)
class Labelled:
    """Features [n, d] and labels [n] of the labelled samples of a part."""

    features: Float32[np.ndarray, "n d"]
    labels: Int64[np.ndarray, " n"]


@torch.no_grad()
def features_of(
    frozen: Frozen, datamodule: DataModule, part: Part, target: Target, *, size: int | None = None,
    device: str = "cpu", progress: bool = True,
) -> Labelled:  # fmt: skip
    """The features of a part's samples, in the order of the store, without those that have no label."""
    store, net = datamodule.store, frozen.net.eval().to(device)
    square = partial(to_squares, side=isqrt(store.grid(0).children)) if len(store.space) == 1 else None  # type: ignore[attr-defined]
    labels = sample_labels(store, datamodule.assignment, part, target)
    loader, found = datamodule.part_dataloader(part), []
    for batch in tracked(loader, len(loader), f"Features of {part} by {frozen.name}", show=progress):
        x, seen = batch[X], batch[SEEN]
        x, seen = (square(x), square(seen)) if square else (x, seen)
        own = frozen(x.to(device), seen.to(device), size).cpu().numpy()
        found.append(own[batch[INDEX].numpy() >= 0])
    del net
    features, known = np.concatenate(found), labels != IGNORE
    return Labelled(features[known], labels[known])
