"""What is measured on the training samples: means, deviations and pixels per class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
from jaxtyping import Int64

from graticule.data.loader import BatchReader
from graticule.errors import StoreError
from graticule.schema import SEEN, TARGETS, VALID, Band, Target, X


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations, lowest and highest of some numbers."""

    count: int
    mean: float
    squares: float
    low: float = float("inf")
    high: float = float("-inf")

    def __add__(self, other: "Moments") -> "Moments":
        """Those of both together; the pairwise update of Chan, Golub and LeVeque (1979), which does not cancel."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        share = other.count / count
        squares = self.squares + other.squares + step * step * self.count * share
        return Moments(count, self.mean + step * share, squares, min(self.low, other.low), max(self.high, other.high))

    @property
    def std(self) -> float:
        """The deviation; 1 where all numbers are alike, so that it can be divided by."""
        return float(np.sqrt(self.squares / self.count)) or 1.0


def moments(values: np.ndarray) -> Moments:
    """Of all numbers in an array, in float64."""
    if values.size == 0:
        return Moments(0, 0.0, 0.0)
    wide = values.astype(np.float64).reshape(-1)
    mean, low, high = float(wide.mean()), float(wide.min()), float(wide.max())
    wide -= mean
    return Moments(values.size, mean, float(np.dot(wide, wide)), low, high)


@dataclass(frozen=True)
class Statistics:
    """Of the seen and valid pixels of some samples.

    Attributes:
        bands: with mean and std (in physical units).
        targets: those with values have mean and std of these as the net learns them (see `Target.transformed`), and
            low and high where these scale them.
        pixels: per target of classes, [samples, classes] pixels.
    """

    bands: tuple[Band, ...]
    targets: tuple[Target, ...]
    pixels: dict[str, Int64[np.ndarray, "samples classes"]]


def class_weights(pixels: Int64[np.ndarray, " classes"]) -> list[float]:
    """Weights that raise rare classes: the fourth root of 1 / prevalence in percent; 0 for classes without a pixel.

    With the prevalences of WoodScape and SynWoodScape these are the weights published with HEAL-SWIN.
    """
    percent = 100.0 * pixels / max(1, pixels.sum())
    return [float(p) ** -0.25 if p > 0 else 0.0 for p in percent]


def measure(reader: BatchReader, samples: Sequence[int] | np.ndarray, threads: int = 0) -> Statistics:
    """Read `samples` once and measure them; the numbers do not depend on the number of threads.

    Raises:
        StoreError: if a band is never seen, or a target nowhere valid.
    """
    indices = [int(index) for index in samples]
    measure_one = partial(_of_sample, reader)
    if threads:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(measure_one, indices))
    else:
        found = list(map(measure_one, indices))
    columns = list(zip(*found, strict=True))
    n_bands = len(reader.bands)
    bands = tuple(_measured_band(band, _total(columns[c])) for c, band in enumerate(reader.bands))
    pixels, targets = {}, []
    for target, column in zip(reader.targets, columns[n_bands:], strict=True):
        if target.is_categorical:
            pixels[target.name] = np.stack(column)
            known = bool(pixels[target.name].any())
            targets.append(target)
        else:
            total = _total(column)
            known = total.count > 0
            targets.append(_measured_target(target, total) if known else target)
        if not known:
            raise StoreError(
                f"target '{target.name}' is known at no pixel of the train part; choose another split, or leave it out "
                "of data.targets."
            )
    return Statistics(bands, tuple(targets), pixels)


def _of_sample(reader: BatchReader, index: int) -> list[Moments | np.ndarray]:
    """For each band its moments, then for each target its moments or its pixels per class."""
    batch = reader([(0, 0, index)])
    x, seen = batch[X][0].numpy(), batch[SEEN][0].numpy()
    found: list[Moments | np.ndarray] = [moments(channel[seen]) for channel in x]
    for target in reader.targets:
        known = batch[TARGETS][target.name][0].numpy()[batch[VALID][target.name][0].numpy()]
        if target.is_categorical:
            found.append(np.bincount(known, minlength=len(target.legend)))
        else:
            found.append(moments(target.transformed(known[target.is_transformable(known)], np.log)))
    return found


def _total(column: Sequence[Moments]) -> Moments:
    return reduce(lambda one, other: one + other, column)


def _measured_target(target: Target, total: Moments) -> Target:
    measured = replace(target, mean=total.mean, std=total.std)
    return replace(measured, low=total.low, high=total.high) if target.scaling == "min_max" else measured


def _measured_band(band: Band, stored: Moments) -> Band:
    if stored.count == 0:
        raise StoreError(
            f"band '{band.name}' has no value at any pixel of the train part; choose another split, or leave it out of "
            "data.bands."
        )
    # A constant band has the deviation 1 of stored values already; scale keeps that finite.
    return replace(band, mean=stored.mean * band.scale + band.offset, std=stored.std * abs(band.scale))
