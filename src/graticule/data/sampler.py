"""The order of samples, as a function of position: nothing here remembers what was drawn before.

A batch is a list of entries (epoch, position, index): the position in the epoch's global order, which keys the
augmentation, and the row in the store. Batch b of epoch e depends on (seed, e, b) alone, so that a run can go on at any
batch; two ranks with batches of B walk the same global order as one rank with batches of 2 B.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64
from numpy.random import Generator, Philox

Entry = tuple[int, int, int]
"""(epoch, position, index): index is the row in the store, -1 for padding."""

_ORDER, _BALANCE, _AUGMENT = 1, 2, 3


def generator(seed: int, purpose: int, *counter: int) -> Generator:
    """A generator for one purpose and one place of a run: Philox4x64 with a key and a counter, no history.

    Args:
        seed: the run's seed.
        purpose: what is drawn, so that two kinds of draw at one place are independent.
        counter: up to three numbers that say where: epoch, position, sample.
    """
    return Generator(Philox(key=[seed, purpose], counter=[0, *reversed(counter), *[0] * (3 - len(counter))]))


def augmentation_generator(seed: int, entry: Entry) -> Generator:
    """The generator of one sample's augmentation, keyed by seed, epoch, position and sample."""
    return generator(seed, _AUGMENT, *entry)


def positions(seed: int, epoch: int, n: int, count: int) -> Int64[np.ndarray, " count"]:
    """Which of `n` samples stands at each of the first `count` positions of an epoch.

    The epoch is passes over all samples, each pass in an order of its own; within n positions none occurs twice.
    """
    passes = [generator(seed, _ORDER, epoch, number).permutation(n) for number in range(-(-count // n))]
    return np.concatenate([*passes, np.empty(0, dtype=np.int64)])[:count]


def balanced_positions(
    seed: int, epoch: int, pixels: Int64[np.ndarray, "n classes"], count: int, balance: float = 1.0
) -> Int64[np.ndarray, " count"]:
    """The same, for an epoch in which rare classes are drawn as often as common ones, or nearly.

    Each position draws a class, in proportion to its share of all pixels to the power of 1 - balance, then a sample in
    proportion to its pixels of it.

    Args:
        seed: the run's seed.
        epoch: the epoch.
        pixels: how many pixels of each class each sample has.
        count: how many positions.
        balance: 1 draws the classes that occur alike, 0 as often as they occur.
    """
    present = np.flatnonzero(pixels.sum(axis=0))
    draws = generator(seed, _BALANCE, epoch).random((count, 2))
    classes = present[draw_classes(pixels.sum(axis=0)[present], draws[:, 0], balance)]
    chosen = np.empty(count, dtype=np.int64)
    for label in present:
        here = classes == label
        until = np.cumsum(pixels[:, label])
        # In whole pixels, so that a sample without the class is never drawn by rounding.
        chosen[here] = np.searchsorted(until, (draws[here, 1] * until[-1]).astype(np.int64), side="right")
    return chosen


def draw_classes(
    pixels: Int64[np.ndarray, " classes"], draws: Float64[np.ndarray, " n"], balance: float
) -> Int64[np.ndarray, " n"]:
    """For each draw from [0, 1) a class, in proportion to its pixels (all above 0) to the power of 1 - balance."""
    until = np.cumsum((pixels / pixels.sum()) ** (1 - balance))
    return np.searchsorted(until, draws * until[-1], side="right").clip(max=len(pixels) - 1)


class BatchSampler:
    """Batches of training: shuffled or balanced, all full, the same number on every rank.

    An epoch has as many batches as cover every sample `repeats` times; the last one is filled from a further pass.

    Args:
        samples: rows of the store to draw from.
        batch_size: entries per batch of one rank.
        seed: the run's seed.
        repeats: passes over the samples per epoch.
        pixels: [samples, classes] pixels per class, for `balance`; None shuffles.
        balance: how far classes are drawn alike, see `balanced_positions`.
        rank: this process.
        world: number of processes.
    """

    def __init__(
        self, samples: Int64[np.ndarray, " n"], batch_size: int, seed: int, *, repeats: int = 1,
        pixels: Int64[np.ndarray, "n classes"] | None = None, balance: float = 1.0, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.samples, self.batch_size, self.seed, self.repeats = samples, batch_size, seed, repeats
        self.pixels, self.balance, self.rank, self.world = pixels, balance, rank, world
        self.epoch = 0
        self.start_batch = 0
        self._order = lru_cache(maxsize=2)(self._make_order)

    def __len__(self) -> int:
        return -(-len(self.samples) * self.repeats // (self.batch_size * self.world))

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; its start is kept if it is the one that `set_position` chose."""
        if epoch != self.epoch:
            self.set_position(epoch, 0)

    def set_position(self, epoch: int, start_batch: int) -> None:
        """Let the next iteration, and only that, begin at `start_batch` of `epoch`."""
        self.epoch, self.start_batch = epoch, start_batch

    def batch(self, epoch: int, number: int) -> list[Entry]:
        """This rank's part of one global batch."""
        first = (number * self.world + self.rank) * self.batch_size
        chosen = self._order(epoch)[first : first + self.batch_size]
        return [(epoch, first + place, int(self.samples[one])) for place, one in enumerate(chosen)]

    def __iter__(self) -> Iterator[list[Entry]]:
        return self._batches(self.epoch, self.start_batch)

    def _batches(self, epoch: int, start: int) -> Iterator[list[Entry]]:
        # The position is used up by the first batch taken: a trainer makes an iterator just to see that it can.
        self.start_batch = 0
        for number in range(start, len(self)):
            yield self.batch(epoch, number)

    def _make_order(self, epoch: int) -> np.ndarray:
        count = len(self) * self.batch_size * self.world
        if self.pixels is None:
            return positions(self.seed, epoch, len(self.samples), count)
        return balanced_positions(self.seed, epoch, self.pixels, count, self.balance)


class EvalBatchSampler:
    """Batches of evaluation: every sample once, in the order of the store.

    All ranks have the same number of batches, none of them empty: where a rank has no sample left, its batch is one
    entry with index -1, which is valid nowhere.

    Args:
        samples: rows of the store.
        batch_size: entries per batch of one rank, at most.
        rank: this process.
        world: number of processes.
    """

    def __init__(self, samples: Int64[np.ndarray, " n"], batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.samples, self.batch_size, self.rank, self.world = samples, batch_size, rank, world

    def __len__(self) -> int:
        return -(-len(self.samples) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[Entry]]:
        for number in range(len(self)):
            first = (number * self.world + self.rank) * self.batch_size
            chosen = self.samples[first : first + self.batch_size]
            yield [(0, first + place, int(one)) for place, one in enumerate(chosen)] or [(0, first, -1)]
