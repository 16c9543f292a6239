"""Batches of several domains at once: a main store, and others that are walked through beside it.

The order of every domain is a function of the seed, its name, the epoch and the number of the batch, so that a run goes
on at any batch with any number of threads as if it had never stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from zlib import crc32

import torch

from graticule.data.datamodule import DataModule
from graticule.data.loader import Batch, BatchReader, Loader
from graticule.data.sampler import BatchSampler, Entry
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.errors import ConfigError
from graticule.schema import DOMAIN, DOMAINS


class DomainSampler(BatchSampler):
    """The batches of a main sampler, each followed by those of other domains, which begin anew where they end.

    Args:
        main: whose epochs these are.
        others: by name; all of the same number of processes.
    """

    def __init__(self, main: BatchSampler, others: Mapping[str, BatchSampler]) -> None:
        super().__init__(
            main.samples, main.batch_size, main.seed, repeats=main.repeats, pixels=main.pixels, balance=main.balance,
            rank=main.rank, world=main.world,
        )  # fmt: skip
        self.others = dict(others)

    def batch(self, epoch: int, number: int) -> list[Entry]:
        """This rank's part of one global batch: that of the main domain, then of each other, in one list."""
        entries, passed = super().batch(epoch, number), epoch * len(self) + number
        for sampler in self.others.values():
            entries += sampler.batch(*divmod(passed, len(sampler)))
        return entries


class DomainReader:
    """Entries of `DomainSampler` in, one batch out that holds those of all domains.

    Args:
        main: reads the main domain; its entries are all that the others do not take.
        others: how each other domain is read, and how many entries of a batch are its.
        name: of the main domain.
    """

    def __init__(self, main: BatchReader, others: Mapping[str, tuple[BatchReader, int]], name: str) -> None:
        self.main, self.others, self.name = main, dict(others), name

    def __call__(self, entries: Sequence[Entry]) -> Batch:
        """The batch of these entries."""
        place = len(entries) - sum(count for _, count in self.others.values())
        batch: Batch = self.main(entries[:place]) | {DOMAIN: self.name, DOMAINS: {}}
        for name, (reader, count) in self.others.items():
            batch[DOMAINS][name] = reader(entries[place : place + count]) | {DOMAIN: name}
            place += count
        return batch


class Chained:
    """Loaders one after the other, each batch with the name of its domain.

    Args:
        loaders: by the name of the domain.
    """

    def __init__(self, loaders: Mapping[str, Loader]) -> None:
        self.loaders = dict(loaders)

    def __len__(self) -> int:
        return sum(map(len, self.loaders.values()))

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(
            (batch | {DOMAIN: name} for batch in loader) for name, loader in self.loaders.items()
        )


class DomainDataModule(DataModule):
    """Batches of a main store, each with a batch of every other domain as `batch["domains"][name]`.

    An epoch is one of the main store. Validation takes the main store's part, then that of each domain whose store
    knows a target; `batch["domain"]` is the name. The options of `DataModule` are for all domains; `bands` and
    `targets` are those of the main store, and a domain has of the targets what its store knows (in `valid` nothing is
    known where a sample has no label).

    Args:
        store: the main one.
        assignment: its split.
        domains: of each other domain its store and split.
        name: of the main domain.
        domain_batch_size: samples of each other domain in a batch; the same as `batch_size` if None.
        options: of `DataModule`.

    Attributes:
        domains: of each other domain its own data module, such as to evaluate on it.

    Raises:
        ConfigError: if a domain lacks a band or has no sample to train with.
    """

    def __init__(
        self, store: Store, assignment: Assignment, *, domains: Mapping[str, tuple[Store, Assignment]],
        name: str = "s", domain_batch_size: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(store, assignment, **options)
        self.main_name = name
        bands, targets = [store.bands[place].name for place in self._bands], [target.name for target in self._targets]
        self.domains: dict[str, DataModule] = {}
        for other, (own, split) in domains.items():
            if other == name:
                raise ConfigError(f"two domains are named '{name}'; give each a name of its own.")
            if not len(split.samples("train")):
                raise ConfigError(f"domain '{other}' ({own.path}) has no sample to train with; give another split.")
            known = [target for target in targets if target in {one.name for one in own.targets}]
            told = {key: value for key, value in (options.get("values") or {}).items() if key in known}
            self.domains[other] = DataModule(
                own, split,
                **options | {
                    "batch_size": domain_batch_size or self.batch_size, "bands": bands, "targets": known,
                    "values": told, "balance": 0.0, "seed": self.seed + crc32(other.encode()),
                },
            )  # fmt: skip
            self.domains[other].like = self

    @property
    def train_loader(self) -> Loader:
        """The loader of all domains; its `set_position` says where the next epoch begins, in all of them."""
        main = super().train_loader
        others = {name: self._of(module).train_loader for name, module in self.domains.items()}
        key = ("train of all domains", *self._ranks)
        if key not in self._loaders:
            reader = DomainReader(
                _read(main), {name: (_read(loader), loader.sampler.batch_size) for name, loader in others.items()},
                self.main_name,
            )  # fmt: skip
            sampler = DomainSampler(_drawn(main), {name: _drawn(loader) for name, loader in others.items()})
            self._loaders[key] = Loader(
                reader, sampler, num_workers=self.num_workers, pin_memory=torch.cuda.is_available()
            )
        return self._loaders[key]

    def val_dataloader(self) -> Chained:  # type: ignore[override]
        """All samples of the val part of the main store, then of each domain that knows a target."""
        loaders = {self.main_name: super().val_dataloader()}
        for name, module in self.domains.items():
            if module._targets and len(module.assignment.samples("val")):
                loaders[name] = self._of(module).part_dataloader("val")
        return Chained(loaders)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Finish the augmentation of a training batch, of every domain, on the device where it is now."""
        others = {
            name: self.domains[name].on_after_batch_transfer(other, dataloader_idx)
            for name, other in batch.get(DOMAINS, {}).items()
        }
        made = super().on_after_batch_transfer(batch, dataloader_idx)
        return made | {DOMAINS: others} if others else made

    def _of(self, module: DataModule) -> DataModule:
        """A domain's data module, told of the same trainer, and so of the same number of processes."""
        module.trainer = self.trainer
        return module

    @property
    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _read(loader: Loader) -> BatchReader:
    assert isinstance(loader.reader, BatchReader)
    return loader.reader


def _drawn(loader: Loader) -> BatchSampler:
    assert isinstance(loader.sampler, BatchSampler)
    return loader.sampler
