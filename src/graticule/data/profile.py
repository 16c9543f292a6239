"""What batches cost: the training loader against bare reads, a memcpy and the disk, and its steps one by one.

Everything that is compared takes turns, round by round, so that whatever else the machine does falls on all alike.
"""

import copy
import mmap
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graticule.data.loader import Batch, BatchReader, Loader
from graticule.data.sampler import BatchSampler, Entry, EvalBatchSampler
from graticule.data.store import Store
from graticule.schema import DRAWS

STEPS = {"_fields": "mask", "_augmented": "augment", "_tensors": "collate"}
"""Which method of `BatchReader` is which step; the reading itself is `Store.read`, with what it decompresses."""

_COPIED = 4
_BLOCK, _MOST_READ = 4 * 2**20, 64 * 2**20


def waits(batches: Iterable[Any]) -> list[float]:
    """Seconds from asking for each batch to having it, with nothing done in between."""
    times, began = [], time.perf_counter()
    for _ in batches:
        now = time.perf_counter()
        times.append(now - began)
        began = now
    return times


def pace(rounds: Sequence[Sequence[float]], samples: int) -> dict[str, Any]:
    """How fast rounds of batches went.

    Args:
        rounds: seconds of each batch, one list for each round, all of one length.
        samples: of each batch.

    Returns:
        `samples_per_second` of the median round and `best_samples_per_second` of the best; `batch_p50`, `batch_p95`:
        seconds within which half, and 95 %, of all batches were there; `rounds`: seconds of each.
    """
    sums = [float(sum(times)) for times in rounds]
    count = samples * len(rounds[0])
    p50, p95 = np.percentile(np.concatenate([np.asarray(times) for times in rounds]), [50, 95])
    return {
        "samples_per_second": count / float(np.median(sums)),
        "best_samples_per_second": count / min(sums),
        "batch_p50": float(p50),
        "batch_p95": float(p95),
        "rounds": sums,
    }


def entries_of(sampler: BatchSampler, batches: int) -> list[list[Entry]]:
    """The entries of the first batches of a training, over as many epochs as it takes."""
    return [sampler.batch(number // len(sampler), number % len(sampler)) for number in range(batches)]


class Known(EvalBatchSampler):
    """Batches that are known already: what they are costs nothing here."""

    def __init__(self, entries: Sequence[Sequence[Entry]]) -> None:
        samples = np.array([index for batch in entries for _, _, index in batch], np.int64)
        super().__init__(samples, len(entries[0]))
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[list[Entry]]:
        return iter([list(batch) for batch in self.entries])


def with_entries(loader: Loader, entries: Sequence[Sequence[Entry]], num_workers: int) -> Loader:
    """The loader of the same batches, for these entries and so many threads."""
    return Loader(loader.reader, Known(entries), num_workers=num_workers, pin_memory=loader.pin_memory)


def compare(
    loader: Loader, workers: Sequence[int], entries: Sequence[Sequence[Entry]], rounds: int
) -> tuple[dict[int, list[list[float]]], dict[str, list[list[float]]]]:
    """The seconds of each batch by number of threads, and those of bare reads and of a memcpy of the same bytes.

    Args:
        loader: of the training part.
        workers: numbers of threads.
        entries: of the batches of one round.
        rounds: how often each is timed.

    Returns:
        Lists [rounds][batches] for each number of threads, and for `bare_reads` and `memcpy`.
    """
    reader = _reader(loader)
    orders = [[max(index, 0) for _, _, index in batch] for batch in entries]

    def read(order: Sequence[int]) -> dict[str, np.ndarray]:
        return reader.store.read(order, reader.picked, reader.arrays)

    sources = [list(read(order).values()) for order in orders[:_COPIED]]
    loaders = {number: with_entries(loader, entries, number) for number in workers}
    loaded: dict[int, list[list[float]]] = {number: [] for number in workers}
    bare: dict[str, list[list[float]]] = {"bare_reads": [], "memcpy": []}
    for _ in range(rounds):
        bare["bare_reads"].append(waits(map(read, orders)))
        copies = ([array.copy() for array in sources[number % len(sources)]] for number in range(len(orders)))
        bare["memcpy"].append(waits(copies))
        for number, one in loaders.items():
            loaded[number].append(waits(one))
    return loaded, bare


def step_seconds(
    loader: Loader, entries: Sequence[Sequence[Entry]], finish: Callable[[Batch], Batch]
) -> dict[str, list[float]]:
    """Seconds of each step of making a batch, in this thread: read, mask, augment, collate, rest; and light.

    Args:
        loader: whose batches; it is left as it is.
        entries: of the batches.
        finish: what is left to do on the device, which is the step `light` where the batch asks for it.

    Returns:
        For each step its seconds by batch; `rest` is page-locking for CUDA, and calls.
    """
    clock: dict[str, float] = defaultdict(float)
    reader = copy.copy(_reader(loader))
    reader.store = copy.copy(reader.store)
    _clock(reader.store, {"read": "read"}, clock)
    _clock(reader, STEPS, clock)
    clocked = Loader(reader, Known(entries), pin_memory=loader.pin_memory)
    found: dict[str, list[float]] = defaultdict(list)
    batches, began = iter(clocked), time.perf_counter()
    for batch in batches:
        clock["rest"] = time.perf_counter() - began - sum(clock.values())
        if DRAWS in batch:
            began = time.perf_counter()
            finish(batch)
            clock["light"] = time.perf_counter() - began
        for name, seconds in clock.items():
            found[name].append(seconds)
        clock.clear()
        began = time.perf_counter()
    return dict(found)


def _clock(owner: object, methods: Mapping[str, str], clock: dict[str, float]) -> None:
    """Let methods of one object add the seconds that they take to the clock, under the names of their steps."""
    for method, step in methods.items():
        setattr(owner, method, _clocked(getattr(owner, method), step, clock))


def _clocked(call: Callable[..., Any], step: str, clock: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return call(*arguments, **options)
        finally:
            clock[step] += time.perf_counter() - began

    return timed


def _reader(loader: Loader) -> BatchReader:
    assert isinstance(loader.reader, BatchReader)
    return loader.reader


def bytes_per_sample(loader: Loader) -> int:
    """Bytes that one sample of a loader has in the store, uncompressed: the bands asked for and all targets."""
    reader = _reader(loader)
    read = reader.store.read([0], reader.picked, reader.arrays)
    return sum(values.nbytes for values in read.values())


def disk_bytes_per_second(store: Store) -> float | None:
    """How fast the disk gives a store's largest file, past the cache of the system, in blocks of 4 MiB, one by one.

    None where the system or the file system cannot read so (O_DIRECT of Linux).
    """
    files = [path for path in (store.path / "data.zarr" / "x").rglob("*") if path.is_file()]
    if not files or not hasattr(os, "O_DIRECT"):
        return None
    return _direct(max(files, key=lambda path: path.stat().st_size))


def _direct(path: Path) -> float | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        with mmap.mmap(-1, _BLOCK) as block:  # its address is that of a page, as such reads demand
            done, began = 0, time.perf_counter()
            while done < _MOST_READ:
                count = os.preadv(descriptor, [block], done)
                done += count
                if count < _BLOCK:
                    break
            return done / (time.perf_counter() - began) if done else None
    except OSError:
        return None
    finally:
        os.close(descriptor)
