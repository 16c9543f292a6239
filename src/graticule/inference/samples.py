"""The samples of one part of a split, predicted batch by batch, all laid out as squares."""

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from graticule.data.datamodule import DataModule
from graticule.data.splits import Part
from graticule.grids import CameraGrid
from graticule.inference.healpix import to_cells, to_squares
from graticule.inference.progress import tracked
from graticule.inference.stitch import Predict
from graticule.inference.tally import codes_of
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Target, X

Batch = dict[str, Any]

MOST_PARENTS = 256
"""Whole images are their own parents; of more than so many, intervals are over as many groups drawn at random."""


class Samples:
    """The samples of a part and the groups that they belong to.

    Nested windows are laid out as their squares, so that what follows knows one layout only.

    Args:
        datamodule: the store and its split.
        part: "train", "val" or "test".
        targets: of the task; those that the store does not know are left out.

    Attributes:
        rows: in the store, ascending.
        pairs: (parent, region) of the samples, each once, in order; `pair_of` numbers them by row.
    """

    def __init__(self, datamodule: DataModule, part: Part, targets: Sequence[Target]) -> None:
        self.datamodule, self.store, self.part = datamodule, datamodule.store, part
        known = {target.name for target in datamodule.targets}
        self.targets = tuple(target for target in targets if target.name in known)
        self.of_samples = any(target.is_of_sample for target in self.targets)
        self.is_sphere = len(self.store.space) == 1
        self.side = isqrt(self.store.grid(0).children) if self.is_sphere else 0  # type: ignore[attr-defined]
        self.rows: Int64[np.ndarray, " n"] = datamodule.assignment.samples(part)
        told = self.store.metadata.iloc[self.rows]
        named = list(zip(told["parent"].astype(str), told["region"].astype(str), strict=True))
        if self.of_samples:
            named = _grouped(named)
        self.pairs = sorted(set(named))
        numbers = {pair: number for number, pair in enumerate(self.pairs)}
        self.pair_of = {int(row): numbers[name] for row, name in zip(self.rows, named, strict=True)}

    def predicted(self, predict: Predict, title: str, show: bool) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
        """The batches in the order of the store, each with what `predict` says of it."""
        loader = self.datamodule.part_dataloader(self.part)
        for raw in tracked(loader, len(loader), title, show=show):
            batch: Batch = {name: self.to_square(raw[name]) for name in (X, SEEN, AREA)} | {INDEX: raw[INDEX]}
            for name in (TARGETS, VALID):
                batch[name] = {
                    target: values if values.ndim == 1 else self.to_square(values)
                    for target, values in raw[name].items()
                }
            yield batch, dict(predict(batch[X].float(), batch[SEEN]))

    def codes(self, batch: Mapping[str, Any]) -> Tensor:
        """The group of each pixel of a batch (see `tally.codes_of`); -1 for samples that only fill it up.

        Of targets known per sample it is that of each sample [b], by its middle.
        """
        codes = np.full(batch[SEEN].shape, -1, np.int64)
        for place, row in enumerate(batch[INDEX].tolist()):
            if row >= 0:
                lat = self._latitudes(row)
                codes[place] = codes_of(np.full(lat.shape, self.pair_of[row], np.int64), lat)
        if self.of_samples:
            codes = codes[:, codes.shape[1] // 2, codes.shape[2] // 2]
        return torch.from_numpy(codes)

    def _latitudes(self, row: int) -> np.ndarray:
        """Of each pixel of a sample; NaN in a photograph, whose directions are no places on the Earth."""
        grid = self.store.grid(row)
        if isinstance(grid, CameraGrid):
            return np.full(grid.shape, np.nan)
        return self.to_square(torch.from_numpy(np.array(grid.lonlat()[1]))).numpy()

    def to_square(self, values: Tensor) -> Tensor:
        """Nested cells as squares, those of several parents one below the other; a raster window as it is."""
        return to_squares(values, self.side) if self.is_sphere else values

    def from_square(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `to_square`, in numpy."""
        return to_cells(torch.from_numpy(np.ascontiguousarray(values))).numpy() if self.is_sphere else values

    def place(self, row: int) -> tuple[int, ...]:
        """Where a sample lies in its scene: (row, column), or (offset of its first cell,)."""
        return self.store.place(row)

    def scene(self, row: int) -> str:
        """The scene that a sample is a window of."""
        return self.store.scene(row)

    def canvas(self, row: int) -> str:
        """What a sample's prediction is put together with: its scene's, or its photograph's."""
        return str(self.store.metadata["photo"].iat[row]) if "photo" in self.store.metadata else self.scene(row)


def _grouped(named: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(parent, region) of samples, whose parents are drawn into groups where they are too many to keep sums of each."""
    parents = sorted({parent for parent, _ in named})
    if len(parents) <= MOST_PARENTS:
        return named
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(parents))
    group = {parents[place]: f"group {number % MOST_PARENTS:03d}" for number, place in enumerate(order)}
    return [(group[parent], region) for parent, region in named]
