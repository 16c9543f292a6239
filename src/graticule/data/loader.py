"""Batches of tensors out of a store, read ahead by threads.

A sample is one cheap read, so that threads in this process do better than worker processes: no pickling, no copies, no
start-up. A batch depends on its entries alone, so that any number of threads gives the same batches.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, UInt8

from graticule.data.augment import Augment
from graticule.data.light import Draws, check_colours, direction_pairs
from graticule.data.missing import may_miss, seen_pixels
from graticule.data.sampler import BatchSampler, Entry, EvalBatchSampler, augmentation_generator
from graticule.data.store import Store
from graticule.errors import ConfigError, nearest
from graticule.schema import AREA, DRAWS, IGNORE, INDEX, SEEN, TARGETS, VALID, Band, Target, X

Batch = dict[str, Any]
"""See `graticule.schema` for the fields."""

Mask = Callable[[int], Bool[np.ndarray, "*space"] | None]

_KEPT_BYTES = 256 * 2**20
"""Areas and masks are kept up to this much, per loader."""


class BatchReader:
    """Entries in, batch out: reads, masks and augments samples; safe to call from several threads.

    `x` keeps the type of the store and labels are int8 (int16 for more than 128 classes), so that scaling, widening and
    changes of light happen on the device. A pixel is seen where every band asked for has a value,
    and valid where it is seen and the target is known.

    Args:
        store: the prepared samples.
        bands: positions of the bands of `x`, in order; None takes all.
        targets: which targets.
        mask: the pixels of a sample that belong to the part at hand; None where all do.
        augment: what is varied; None varies nothing.
        seed: the run's seed, for the augmentation.
    """

    def __init__(
        self, store: Store, *, bands: Sequence[int] | None = None, targets: Sequence[Target] | None = None,
        mask: Mask = lambda index: None, augment: Augment | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.store, self.augment, self.seed = store, augment, seed
        # All bands in their order are one run of bytes: asked for as None, they are read as such.
        self.picked = None if bands is None or list(bands) == list(range(len(store.bands))) else list(bands)
        self.bands: tuple[Band, ...] = tuple(
            store.bands[b] for b in (bands if bands is not None else range(len(store.bands)))
        )
        self.targets = tuple(store.targets if targets is None else targets)
        self.arrays = ["x", *(target.array for target in self.targets)]
        self.space = augment.space(store.space) if augment else store.space
        self.redraws = augment is not None and self._changes_values(augment)
        # A value between one that is there and one that is missing would be neither.
        self.blends = not may_miss(self.bands, store.dtype)
        kept = max(1, _KEPT_BYTES // (prod(store.space) * 5))
        self.mask, self.area = lru_cache(kept)(mask), lru_cache(kept)(self._area)
        self.inside = lru_cache(kept)(lambda index: inside(store, index))

    def __call__(self, entries: Sequence[Entry]) -> Batch:
        """The batch of these entries; an index of -1 gives a sample that is seen and valid nowhere."""
        indices = [max(index, 0) for _, _, index in entries]
        read = self.store.read(indices, self.picked, self.arrays)
        fields = self._fields(read, entries)
        if self.augment is None or not (self.augment.moves or self.augment.changes_light):
            return self._tensors(fields, entries)
        fields, draws = self._augmented(self.augment, fields, entries)
        return self._tensors(fields, entries) | ({DRAWS: draws} if self.redraws else {})

    def _changes_values(self, augment: Augment) -> bool:
        """Whether something is left to do for `light.relight`."""
        if augment.saturation:
            check_colours(self.bands)
        if augment.zoom and any(target.cell > 1 for target in self.targets):
            raise ConfigError("data.augment.zoom would resize cells of labels (a target has cells); set it to 0.")
        turned = bool(direction_pairs(self.bands)) if len(augment.elements) > 1 else False
        if turned and len(self.store.space) == 1:
            raise ConfigError(
                "directions cannot be turned on HEALPix, whose squares are turned and sheared against north; set "
                "data.augment.d4=false, or leave these bands out of data.bands."
            )
        return turned or augment.changes_light

    def _area(self, index: int) -> Float32[np.ndarray, "*space"]:
        return self.store.grid(index).areas().astype(np.float32)

    def _fields(self, read: dict[str, np.ndarray], entries: Sequence[Entry]) -> dict[str, np.ndarray]:
        """x, seen, area, and what is stored for each target with "unknown" wherever it is not valid."""
        may_hide = may_miss(self.bands, read["x"].dtype)
        if may_hide:
            seen = seen_pixels(read["x"], self.bands, axis=1)
        else:
            seen = np.ones((len(entries), *self.store.space), dtype=bool)
        area = np.empty(seen.shape, dtype=np.float32)
        for place, (_, _, index) in enumerate(entries):
            if index < 0:
                seen[place], area[place], may_hide = False, 0.0, True
                continue
            area[place] = self.area(index)
            for mask in (self.mask(index), self.inside(index)):
                if mask is not None:
                    seen[place] &= mask
                    may_hide = True
        if may_hide and not seen.all():
            for target in self.targets:
                hidden = self._hidden(seen, entries) if target.is_of_sample else ~seen
                read[target.array][hidden] = IGNORE if target.is_categorical else np.nan
        return read | {SEEN: seen, AREA: area}

    def _hidden(self, seen: Bool[np.ndarray, "n *space"], entries: Sequence[Entry]) -> Bool[np.ndarray, " n"]:
        """Which samples have no label here: nothing is seen of them, or some of their pixels are in another part."""
        straddles = np.array([index >= 0 and self.mask(index) is not None for _, _, index in entries])
        return straddles | ~seen.reshape(len(seen), -1).any(1)

    def _augmented(
        self, augment: Augment, fields: dict[str, np.ndarray], entries: Sequence[Entry]
    ) -> tuple[dict[str, np.ndarray], Draws]:
        axes = len(self.store.space)
        still = {target.array for target in self.targets if target.is_of_sample}
        moved = {
            name: np.empty((*values.shape[: values.ndim - axes], *self.space), values.dtype)
            for name, values in fields.items()
            if name not in still
        }
        drawn = []
        labels = next((t.array for t in self.targets if t.is_categorical and not t.is_of_sample), None)
        for place, entry in enumerate(entries):
            rng = augmentation_generator(self.seed, (entry[0], entry[1], max(entry[2], 0)))
            placement = augment.draw(rng, self.store.space, fields[labels][place] if labels else None)
            for name, onto in moved.items():
                if augment.moves:
                    placement.take(fields[name][place], onto[place], smooth=name == X and self.blends)
                else:  # whole base pixels are no square that could be cut or turned
                    np.copyto(onto[place], fields[name][place])
            drawn.append({"element": placement.element, **augment.draw_light(rng)})
        return fields | moved, {name: np.array([draw[name] for draw in drawn]) for name in drawn[0]}

    def _tensors(self, fields: dict[str, np.ndarray], entries: Sequence[Entry]) -> Batch:
        targets, valid = {}, {}
        for target in self.targets:
            stored = fields[target.array]
            known = stored != IGNORE if target.is_categorical else np.isfinite(stored)
            if not known.all():
                stored[~known] = 0
            targets[target.name] = _labels(stored, target) if target.is_categorical else torch.from_numpy(stored)
            valid[target.name] = torch.from_numpy(known)
        index = torch.tensor([index for _, _, index in entries], dtype=torch.int64)
        x, seen, area = (torch.from_numpy(fields[name]) for name in ("x", SEEN, AREA))
        return {X: x, SEEN: seen, TARGETS: targets, VALID: valid, AREA: area, INDEX: index}


def _labels(stored: UInt8[np.ndarray, "n *space"], target: Target) -> Int[torch.Tensor, "n *space"]:
    """Labels in the smallest signed type: widening them to int64 here would cost a third of the read."""
    if target.channels <= 128:
        return torch.from_numpy(stored.view(np.int8))
    return torch.from_numpy(stored).to(torch.int16)


def inside(store: Store, index: int) -> Bool[np.ndarray, "*space"] | None:
    """Which pixels of a sample lie in its scene; None when all do, as on HEALPix and round the Earth always.

    A window that reaches beyond its scene was filled up when it was cut; there is no input there.
    """
    if len(store.space) == 1:
        return None
    scene = store.scenes[store.scene(index)]
    (row, column), (height, width) = store.place(index), scene.shape
    rows, columns = np.arange(row, row + store.space[0]), np.arange(column, column + store.space[1])
    row_inside = (rows >= 0) & (rows < height)
    column_inside = ((columns >= 0) & (columns < width)) | bool(getattr(scene, "wraps", False))
    return None if row_inside.all() and column_inside.all() else row_inside[:, None] & column_inside


def pick_bands(store: Store, names: Sequence[str] | None) -> list[int]:
    """Positions of bands by name.

    Raises:
        ConfigError: for a name that the store does not have, with the nearest one.
    """
    known = [band.name for band in store.bands]
    return [_position(name, known, "band", store) for name in (known if names is None else names)]


def pick_targets(store: Store, names: Sequence[str] | None) -> list[Target]:
    """Targets by name.

    Raises:
        ConfigError: for a name that the store does not have, with the nearest one.
    """
    known = [target.name for target in store.targets]
    return [store.targets[_position(name, known, "target", store)] for name in (known if names is None else names)]


def _position(name: str, known: list[str], what: str, store: Store) -> int:
    if name not in known:
        raise ConfigError(f"{store.path} has no {what} '{name}' (in data.{what}s); {nearest(name, known)}")
    return known.index(name)


class Loader:
    """The batches of a sampler, in its order; iterate once per epoch.

    Args:
        reader: entries in, batch out.
        sampler: the entries of each batch. Lightning tells it the epoch, as its attribute here is named `sampler`.
        num_workers: threads that read ahead; 0 reads when asked. The batches are the same.
        pin_memory: put batches into page-locked memory, for faster copies to a CUDA device.
    """

    batch_sampler = None  # Lightning asks for it wherever there is a `sampler`

    def __init__(
        self, reader: Callable[[Sequence[Entry]], Batch], sampler: BatchSampler | EvalBatchSampler, *,
        num_workers: int = 0, pin_memory: bool = False,
    ) -> None:  # fmt: skip
        self.reader, self.sampler, self.num_workers, self.pin_memory = reader, sampler, num_workers, pin_memory

    def __len__(self) -> int:
        """Batches of a whole epoch, also when the next iteration begins in its midst."""
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch (of a training sampler); its start is kept if `set_position` chose this epoch."""
        if isinstance(self.sampler, BatchSampler):
            self.sampler.set_epoch(epoch)

    def set_position(self, epoch: int, start_batch: int) -> None:
        """Let the next iteration, and only that, begin at `start_batch` of `epoch` (of a training sampler)."""
        if isinstance(self.sampler, BatchSampler):
            self.sampler.set_position(epoch, start_batch)

    def __iter__(self) -> Iterator[Batch]:
        # The sampler's iterator is made here, not at the first batch, so that the position set before is the one used.
        entries = iter(self.sampler)
        return self._read_ahead(entries) if self.num_workers else map(self._load, entries)

    def _load(self, entries: Sequence[Entry]) -> Batch:
        batch = self.reader(entries)
        return _pinned(batch) if self.pin_memory else batch

    def _read_ahead(self, entries: Iterator[Sequence[Entry]]) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="graticule-read")
        try:
            for wanted in entries:
                waiting.append(pool.submit(self._load, wanted))
                if len(waiting) > self.num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _pinned(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: _pinned(value) for name, value in batch.items()}
    return batch.pin_memory() if isinstance(batch, torch.Tensor) else batch
