"""What a trainer needs from a store and a split: loaders, and the numbers measured on the training part."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from lightning.pytorch import LightningDataModule

from graticule.data.augment import Augment
from graticule.data.light import relight
from graticule.data.loader import Batch, BatchReader, Loader, pick_bands, pick_targets
from graticule.data.sampler import BatchSampler, EvalBatchSampler
from graticule.data.splits import Assignment, Part
from graticule.data.statistics import Statistics, measure
from graticule.data.store import Store
from graticule.errors import ConfigError, nearest
from graticule.schema import DRAWS, SEEN, Band, Target, X


class DataModule(LightningDataModule):
    """Batches of each part of a split.

    Args:
        store: the prepared samples.
        assignment: which of them are in which part.
        batch_size: samples per training batch of one process.
        eval_batch_size: likewise for val and test; the same as `batch_size` if None.
        num_workers: threads that read ahead, per loader; 0 reads when asked. The batches are the same.
        bands: names of the bands to use, in order; None takes all.
        targets: names of the targets; None takes all.
        augment: what is varied in training; None varies nothing.
        balance: draw training samples by the first target of classes: 0 as they are, 1 so that all classes occur alike,
            between them each class in proportion to its share of the pixels to the power of 1 - balance.
        repeats: passes over the training samples per epoch.
        values: of targets with values, by name: `transform`, `scaling` and `uncertainty` (see `Target`).
        seed: of order and augmentation.

    Attributes:
        like: the data that a net was trained with, where these are others: its statistics stand for those of this
            train part, which may well have no labels.

    Raises:
        ConfigError: for an unknown band or target, or an option that does not fit the store.
    """

    def __init__(
        self, store: Store, assignment: Assignment, *, batch_size: int = 8, eval_batch_size: int | None = None,
        num_workers: int = 0, bands: Sequence[str] | None = None, targets: Sequence[str] | None = None,
        augment: Augment | None = None, balance: float = 0.0, repeats: int = 1, seed: int = 42,
        values: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.store, self.assignment, self.augment = store, assignment, augment
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.num_workers, self.balance, self.repeats, self.seed = num_workers, balance, repeats, seed
        for name, value in (
            ("batch_size", batch_size),
            ("eval_batch_size", self.eval_batch_size),
            ("repeats", repeats),
        ):
            if value < 1:
                raise ConfigError(f"data.{name} is {value}; it must be at least 1.")
        if num_workers < 0:
            raise ConfigError(f"data.num_workers is {num_workers}; it must be 0 or more (threads that read ahead).")
        self._bands, self._targets = pick_bands(store, bands), _as_learnt(pick_targets(store, targets), values or {})
        if balance and not any(target.is_categorical for target in self._targets):
            raise ConfigError("data.balance needs a target of classes; set data.balance=0 or add one to data.targets.")
        self.like: DataModule | None = None
        self._loaders: dict[tuple[str, int, int], Loader] = {}
        self._reader("train", augment)  # so that a crop that does not fit is refused now

    @cached_property
    def statistics(self) -> Statistics:
        """Measured once, on what training sees: the pixels of the train part, unaugmented; or those of `like`."""
        if self.like is not None:
            return self.like.statistics
        return measure(self._reader("train", None), self.assignment.samples("train"), self.num_workers)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands of x in order, with mean and std of the train part."""
        return self.statistics.bands

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets; those with values have mean and std of the train part."""
        own = {target.name for target in self._targets}
        return tuple(target for target in self.statistics.targets if target.name in own)

    @property
    def train_loader(self) -> Loader:
        """The loader that `train_dataloader` hands out; its `set_position` says where the next epoch begins."""
        return self._loader("train", training=True)

    def train_dataloader(self) -> Loader:
        """Augmented batches of the train part, in the order of the epoch."""
        return self.train_loader

    def val_dataloader(self) -> Loader:
        """All samples of the val part, in the order of the store."""
        return self.part_dataloader("val")

    def test_dataloader(self) -> Loader:
        """All samples of the test part, in the order of the store."""
        return self.part_dataloader("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Finish the augmentation of a training batch, on the device where it is now."""
        if DRAWS not in batch:
            return batch
        bands = [self.store.bands[place] for place in self._bands]
        rest = {name: values for name, values in batch.items() if name != DRAWS}
        return rest | {X: relight(batch[X], batch[SEEN], bands, batch[DRAWS])}

    def part_dataloader(self, part: Part) -> Loader:
        """All samples of a part as they are, each once, in the order of the store."""
        return self._loader(part, training=False)

    def _loader(self, part: Part, *, training: bool) -> Loader:
        """The one loader for this use; another one if the number of processes changed."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        key = (f"{part}, training" if training else part, rank, world)
        if key not in self._loaders:
            samples = self.assignment.samples(part)
            sampler: BatchSampler | EvalBatchSampler
            if training:
                sampler = BatchSampler(
                    samples, self.batch_size, self.seed, repeats=self.repeats, pixels=self._class_pixels(),
                    balance=self.balance, rank=rank, world=world,
                )  # fmt: skip
            else:
                sampler = EvalBatchSampler(samples, self.eval_batch_size, rank=rank, world=world)
            reader = self._batch_reader(part, training)
            self._loaders[key] = Loader(
                reader, sampler, num_workers=self.num_workers, pin_memory=torch.cuda.is_available()
            )
        return self._loaders[key]

    def _batch_reader(self, part: Part, training: bool) -> BatchReader:
        """What makes the batches of a part."""
        return self._reader(part, self.augment if training else None)

    def _class_pixels(self) -> Int64[np.ndarray, "n classes"] | None:
        if not self.balance:
            return None
        target = next(target for target in self._targets if target.is_categorical)
        return self.statistics.pixels[target.name]

    def _reader(self, part: Part, augment: Augment | None) -> BatchReader:
        return BatchReader(
            self.store, bands=self._bands, targets=self._targets, augment=augment, seed=self.seed,
            mask=partial(self.assignment.mask, self.store, part=part),
        )  # fmt: skip


def _as_learnt(targets: Sequence[Target], values: Mapping[str, Mapping[str, Any]]) -> tuple[Target, ...]:
    """The targets, those with values transformed and scaled as asked."""
    able = [target.name for target in targets if target.kind in ("height", "depth")]
    for name in values:
        if name not in able:
            raise ConfigError(f"task.values has an entry for '{name}'; {nearest(name, able)}")
    return tuple(replace(target, **values.get(target.name, {})) for target in targets)
