"""Batches for a pretraining: views of unlabelled samples, and labelled samples on which features are probed."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from jaxtyping import Int64

from graticule.data.datamodule import DataModule
from graticule.data.light import Draws
from graticule.data.loader import Batch, BatchReader, Loader
from graticule.data.sampler import Entry, EvalBatchSampler, generator
from graticule.data.splits import Assignment, Part
from graticule.data.store import Store
from graticule.data.views import Views, make_view
from graticule.errors import ConfigError, nearest
from graticule.grids import HealpixGrid, RasterGrid
from graticule.grids.ground import pixel_size
from graticule.schema import DRAWS, KEPT, SEEN, VIEWS, X

_PARTNER = 98
"""The purpose of drawing the sample that is the other positive."""
_OTHER = "other"
_EARTH_RADIUS = 6_371_007.2
"""Metres; of the sphere with the area of the ellipsoid."""


class ViewReader(BatchReader):
    """A reader whose batches also hold what was drawn for each view, and the other positive where there is one.

    Args:
        views: how they are drawn.
        partners: for each row of the store the rows that are positives of it; None where a sample is its own.
        store: and the further arguments as of `BatchReader`.
        options: likewise.
    """

    def __init__(
        self, views: Views, partners: dict[int, Int64[np.ndarray, " n"]] | None, store: Store, **options: Any
    ) -> None:
        super().__init__(store, **options)
        self.views, self.partners = views, partners
        self.metres = lru_cache(maxsize=4096)(self._metres)

    def __call__(self, entries: Sequence[Entry]) -> Batch:
        """The batch, with `draws` of each view and perhaps the input of the `other` positives."""
        batch = super().__call__(entries)
        if self.partners is not None:
            others = super().__call__([self._partner(entry) for entry in entries])
            batch[_OTHER] = {X: others[X], SEEN: others[SEEN]}
        drawn = [self._draws(entries, view) for view in range(len(self.views.sizes))]
        return batch | {DRAWS: drawn}

    def _draws(self, entries: Sequence[Entry], view: int) -> Draws:
        known = self.views.ground is not None
        each = [
            self.views.draw(
                self.seed, entry, view, self.bands, self.store.space, self.metres(max(entry[2], 0)) if known else None
            )
            for entry in entries
        ]
        return {name: np.concatenate([draws[name] for draws in each]) for name in each[0]}

    def _partner(self, entry: Entry) -> Entry:
        """The same place in the run, with another sample of the same group where there is one."""
        epoch, position, index = entry
        assert self.partners is not None
        others = self.partners.get(index)
        if others is None:
            return entry
        drawn = generator(self.seed, _PARTNER, epoch, position, index).integers(len(others))
        return epoch, position, int(others[drawn])

    def _metres(self, index: int) -> tuple[float, float]:
        """Height and width of a pixel of a sample on the ground; the mean over the sample."""
        grid = self.store.grid(index)
        if isinstance(grid, RasterGrid):
            down, right = pixel_size(grid)
            return float(np.abs(down).mean()), float(np.abs(right).mean())
        if isinstance(grid, HealpixGrid):
            length = float(np.sqrt(grid.areas().mean())) * _EARTH_RADIUS
            return length, length
        raise ConfigError(f"pretraining.views.ground needs samples on the ground, and {self.store.path} has {grid!r}.")


class PretrainingData(DataModule):
    """Views of the samples of each part; the targets of a part only for probing.

    Args:
        store: the prepared samples.
        assignment: which of them are in which part.
        views: how views are drawn.
        probe_target: the target of classes by which features are probed; None probes nothing and needs no target.
        bank: labelled training samples that probes see, at most.
        options: further arguments of `DataModule`.

    Raises:
        ConfigError: if the views do not fit the store.
    """

    def __init__(
        self, store: Store, assignment: Assignment, views: Views, *, probe_target: str | None = None, bank: int = 2000,
        **options: Any,
    ) -> None:  # fmt: skip
        self.views, self.bank = views, bank
        super().__init__(store, assignment, targets=[probe_target] if probe_target else [], **options)
        views.check([store.bands[place] for place in self._bands], store.space)
        columns = list(store.metadata.columns)
        if views.positives is not None and views.positives not in columns:
            raise ConfigError(
                f"pretraining.views.positives is '{views.positives}'; {nearest(views.positives, columns)}"
            )

    def plain_reader(self, part: Part) -> BatchReader:
        """What reads samples of a part as they are, with what is known of them."""
        return self._reader(part, None)

    def bank_loader(self) -> Loader:
        """At most `bank` samples of the train part as they are, evenly chosen, each once."""
        samples = self.assignment.samples("train")
        chosen = samples[np.unique(np.linspace(0, len(samples) - 1, min(self.bank, len(samples))).astype(np.int64))]
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = EvalBatchSampler(chosen, self.eval_batch_size, rank=rank, world=world)
        return Loader(self._reader("train", None), sampler, num_workers=self.num_workers)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the views, on the device where the batch is now: `views`, dicts of `x`, `seen` and `kept`."""
        if DRAWS not in batch:
            return batch
        made, positives = [], (batch, batch.get(_OTHER, batch))
        for number, (draws, size) in enumerate(zip(batch[DRAWS], self.views.sizes, strict=True)):
            of = positives[number % 2]
            x, seen, kept = make_view(of[X], of[SEEN], self.bands, draws, size)
            made.append({X: x, SEEN: seen, KEPT: kept})
        return {name: value for name, value in batch.items() if name not in (DRAWS, _OTHER)} | {VIEWS: made}

    def _batch_reader(self, part: Part, training: bool) -> BatchReader:
        """Views of what trains and validates."""
        if not training and part != "val":
            return self._reader(part, None)
        return ViewReader(
            self.views, self._partners(part), self.store, bands=self._bands, targets=() if training else self._targets,
            seed=self.seed, mask=partial(self.assignment.mask, self.store, part=part),
        )  # fmt: skip

    def _partners(self, part: Part) -> dict[int, Int64[np.ndarray, " n"]] | None:
        """The other samples of the part with the same value in the column `views.positives`."""
        if self.views.positives is None:
            return None
        samples = self.assignment.samples(part)
        values = self.store.metadata[self.views.positives].astype(str).to_numpy()[samples]
        _, group = np.unique(values, return_inverse=True)
        order = np.argsort(group, kind="stable")
        found: dict[int, Int64[np.ndarray, " n"]] = {}
        for members in np.split(samples[order], np.cumsum(np.bincount(group))[:-1]):
            if len(members) > 1:
                found |= {int(row): members[members != row] for row in members}
        return found
