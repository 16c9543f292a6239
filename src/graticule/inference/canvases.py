"""The canvases of all scenes of a part, filled batch by batch; each is handed out when its last sample is in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from graticule.data.store import Store
from graticule.inference.exchange import Canvas
from graticule.inference.samples import Samples
from graticule.schema import IGNORE, INDEX, SEEN, TARGETS, VALID, Target, X


class Canvases:
    """Scenes (of photographs, each) under way.

    Args:
        samples: of the part.
        keep: positions of the bands of x that the canvases keep; none if empty.
    """

    def __init__(self, samples: Samples, keep: Sequence[int] = ()) -> None:
        self.samples, self.keep = samples, list(keep)
        self._last = {samples.canvas(row): row for row in samples.rows.tolist()}
        self._open: dict[str, Canvas] = {}
        self._overlaps = not _tiles_scenes(samples.store)

    def add(self, batch: Mapping[str, Any], predictions: Mapping[str, Tensor]) -> Iterator[tuple[int, Canvas]]:
        """Put a batch of squares where it belongs; yields a row of each scene that is whole now, and its canvas."""
        samples = self.samples
        fields = {name: samples.from_square(values.float().cpu().numpy()) for name, values in predictions.items()}
        truth = {t.name: samples.from_square(_stored(batch, t)) for t in samples.targets}
        seen = samples.from_square(batch[SEEN].numpy())
        x = samples.from_square(batch[X].numpy()[:, self.keep]) if self.keep else None
        for slot, row in enumerate(batch[INDEX].tolist()):
            if row < 0:
                continue
            name = samples.canvas(row)
            if name not in self._open:
                grid = samples.store.scenes[samples.scene(row)]
                self._open[name] = Canvas(grid, samples.store.space, samples.targets, overlaps=self._overlaps)
            field, known = ({name: values[slot] for name, values in group.items()} for group in (fields, truth))
            self._open[name].add(
                samples.place(row), field, known, seen[slot], samples.pair_of[row], None if x is None else x[slot]
            )
            if row == self._last[name]:
                yield row, self._open.pop(name)


def _stored(batch: Mapping[str, Any], target: Target) -> np.ndarray:
    """The truth of a batch as a store has it: 255 or NaN where it is not valid."""
    kept: np.ndarray = batch[TARGETS][target.name].numpy().astype(np.uint8 if target.is_categorical else np.float32)
    kept[~batch[VALID][target.name].numpy()] = IGNORE if target.is_categorical else np.nan
    return kept


def _tiles_scenes(store: Store) -> bool:
    """Whether the windows of a store lie side by side in all of its scenes, none over another."""
    grids = store.scenes.values()
    return store.config["window"].get("overlap") == 0 and all(
        len(grid.shape) == len(store.space)
        and all(length % side == 0 for length, side in zip(grid.shape, store.space, strict=True))
        for grid in grids
    )
