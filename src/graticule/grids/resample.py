"""Exchange one grid for another: values on the source grid become values and validity on the target grid.

All geometry is worked out once per pair of grids and method, and kept: a gather, or one sparse matrix of weights.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, Num, UInt8
from scipy import sparse

from graticule.errors import GridError
from graticule.grids.grid import Grid

Method = Literal["nearest", "bilinear", "area"]

_AT_ONCE = 2**21
"""Parts of pixels placed at once, to bound the memory."""
_KEPT = 8
"""Pairs of grids kept: the matrix from a 0.1° raster takes about 100 MB."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Resampler:
    """The map from one grid to another; made by `resampler`.

    Attributes:
        source: the grid that values are given on.
        target: the grid that they are wanted on.
        method: "nearest", "bilinear" or "area".
        weights: [target pixels, source pixels], a sparse matrix of weights (steradians of the overlap for "area"),
            or None where each target pixel takes one source pixel: for "nearest", and for "area" onto a grid so much
            finer that target pixels need no parts.
    """

    source: Grid
    target: Grid
    method: Method
    weights: sparse.csr_array | None

    def __repr__(self) -> str:
        return f"Resampler({self.source!r} → {self.target!r}, {self.method})"

    @cached_property
    def nearest(self) -> Int64[np.ndarray, " target"]:
        """For each target pixel the source pixel that its centre falls in, -1 outside."""
        return self.source.locate(*self.target.lonlat()).reshape(-1)

    @cached_property
    def total(self) -> Float64[np.ndarray, " target"]:
        """The weight of each target pixel when every source pixel is valid: for "area" steradians, else 0 to 1."""
        if self.weights is None:
            own = self.target.areas().reshape(-1) if self.method == "area" else 1.0
            return np.where(self.nearest >= 0, own, 0.0)
        return self.weights @ np.ones(self.source.size)

    def values(
        self, values: Num[np.ndarray, "*axes"], valid: Bool[np.ndarray, "*space"] | None = None
    ) -> tuple[Num[np.ndarray, "*axes_there"], Bool[np.ndarray, "*space_there"]]:
        """Means over the valid source pixels, weighted (or the nearest pixel's value).

        Args:
            values: [..., *source.shape].
            valid: [*source.shape]; None means every pixel (without NaN in any leading slice).

        Returns:
            [..., *target.shape] and where they are valid [*target.shape]. Without a valid source pixel a value is NaN
            (0 for integers). "nearest" keeps the type; the others give float64 from float64, else float32.

        Raises:
            GridError: if the arrays do not have the shape of the source grid.
        """
        flat, seen = self._flat(values, "values"), None
        if valid is not None:
            seen = self._flat(valid, "valid")[0]
            seen = None if seen.all() else seen
        out, there = self._apply(flat, seen)
        # NaN shows in the result, which is quicker to look at than the source when the target is the smaller one.
        if np.count_nonzero(np.isnan(out)) > len(out) * np.count_nonzero(~there):
            finite = ~np.isnan(flat).any(axis=0)
            out, there = self._apply(flat, finite if seen is None else finite & seen)
        leading = values.shape[: values.ndim - len(self.source.shape)]
        return out.reshape(*leading, *self.target.shape), there.reshape(self.target.shape)

    def labels(self, labels: UInt8[np.ndarray, "*space"], ignore: int = 255) -> UInt8[np.ndarray, "*space_there"]:
        """Classes on the target grid: those of the nearest pixel, or for "area" those with the largest share.

        Args:
            labels: [*source.shape].
            ignore: the value of pixels without a class. They have no vote, and it is returned where nobody has.

        Returns:
            [*target.shape]. Between equal shares the smaller class wins.
        """
        flat = self._flat(labels, "labels")[0]
        if self.method != "area" or self.weights is None:
            place, there = self._place
            return np.where(there, flat[place], np.uint8(ignore)).reshape(self.target.shape)
        best = np.zeros(self.target.size)
        out = np.full(self.target.size, ignore, dtype=np.uint8)
        for label in np.flatnonzero(np.bincount(flat, minlength=256)):
            if label == ignore:
                continue
            share = self.weights @ (flat == label).astype(np.float64)
            # The margin keeps equal shares equal whatever the order of the sums.
            more = share > best * (1 + 1e-9)
            out[more], best[more] = label, share[more]
        return out.reshape(self.target.shape)

    def _flat(self, array: np.ndarray, name: str) -> np.ndarray:
        """[..., *source.shape] as [n, source pixels]."""
        axes = len(self.source.shape)
        if array.shape[array.ndim - axes :] != self.source.shape or array.ndim < axes:
            raise GridError(f"{name} have the shape {array.shape}; it must end with the grid's, {self.source.shape}.")
        return array.reshape(-1, self.source.size)

    def _apply(self, flat: np.ndarray, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        return self._gather(flat, seen) if self.weights is None else self._means(self.weights, flat, seen)

    @cached_property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest pixels with 0 for -1, and where there is one."""
        return np.maximum(self.nearest, 0), self.nearest >= 0

    def _gather(self, flat: np.ndarray, seen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        place, there = self._place
        there = there.copy() if seen is None else there & seen[place]
        out = np.take(flat, place, axis=1)
        if self.method != "nearest":
            out = out.astype(_mean_type(out), copy=False)
        if not there.all():
            out[:, ~there] = np.nan if np.issubdtype(out.dtype, np.floating) else 0
        return out, there

    @cached_property
    def _scale(self) -> np.ndarray:
        return _inverse(self.total)

    @cached_property
    def _single_scale(self) -> np.ndarray:
        """For results in single precision: mixing two precisions doubles the time of the product."""
        return self._scale.astype(np.float32)

    def _means(
        self, weights: sparse.csr_array, flat: np.ndarray, seen: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        kept = flat if seen is None else np.where(seen, flat, 0)
        exact = np.result_type(weights.dtype, flat.dtype)
        own = self._single_scale if exact == np.float32 else self._scale
        scale = own if seen is None else _inverse(weights @ seen.astype(exact))
        out = np.empty((len(flat), self.target.size), _mean_type(flat))
        # One channel after the other: a matrix of all channels would have to be transposed, which costs more.
        for channel, slice_ in enumerate(kept):
            np.multiply(weights @ slice_.astype(exact, copy=False), scale, out=out[channel], casting="same_kind")
        return out, ~np.isnan(scale)


def _mean_type(values: np.ndarray) -> type[np.floating]:
    return np.float64 if values.dtype == np.float64 else np.float32


def _inverse(total: np.ndarray) -> np.ndarray:
    """1 / total, NaN where it is 0."""
    return np.divide(1.0, total, out=np.full_like(total, np.nan), where=total > 0)


def build_resampler(source: Grid, target: Grid, method: Method) -> Resampler:
    """Work out the map from `source` to `target`, without keeping it; see `resampler`."""
    if method == "nearest":
        return Resampler(source, target, method, None)
    if method == "bilinear":
        return Resampler(source, target, method, _bilinear_weights(source, target))
    if method == "area":
        return Resampler(source, target, method, _overlap(source, target))
    raise GridError(f"{method!r} is not a way to resample; it must be nearest, bilinear or area.")


@lru_cache(maxsize=_KEPT)
def resampler(source: Grid, target: Grid, method: Method) -> Resampler:
    """The map from one grid to another, built at the first call for a pair of grids and kept.

    - "nearest": the source pixel that the target pixel's centre falls in.
    - "bilinear": between the four source pixels round the target pixel's centre.
    - "area": the mean (majority, for labels) over the target pixel's area. The finer grid's pixels are cut into equal
      parts no wider than half a pixel of the coarser grid, and each part belongs with its whole area to the pixel in
      which its centre falls. So every pixel of the finer grid counts once, with its area. Where the target is coarser
      but has some pixels too small for that (a raster towards the poles), those are cut into parts themselves.

    Raises:
        GridError: for an unknown method.
    """
    return build_resampler(source, target, method)


def _bilinear_weights(source: Grid, target: Grid) -> sparse.csr_array:
    lon, lat = (axis.reshape(-1) for axis in target.lonlat())
    # Single precision is enough between four pixels, and saves converting a whole source in single precision.
    place, weights = _entries(target.size, 4, source, np.float32)
    for start in range(0, target.size, _AT_ONCE // 4):
        some = slice(start, start + _AT_ONCE // 4)
        place[some], weights[some] = source.neighbours_weights(lon[some], lat[some])
    return _rows(place, weights, (target.size, source.size), np.arange(0, 4 * target.size + 1, 4))


def _entries(
    rows: int, per_row: int, columns: Grid, kind: type[np.floating] = np.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Room for the columns and the weights of a matrix with as many entries in each row."""
    small = max(rows * per_row, columns.size) < 2**31
    return np.empty((rows, per_row), np.int32 if small else np.int64), np.empty((rows, per_row), kind)


def _rows(place: np.ndarray, weights: np.ndarray, shape: tuple[int, int], starts: np.ndarray) -> sparse.csr_array:
    """The CSR matrix with `weights` at the columns `place`, -1 being none; row i takes those from `starts[i]`.

    Both are changed in place, since they are large.
    """
    nowhere = place < 0
    if nowhere.any():
        weights[nowhere], place[nowhere] = 0.0, 0
    matrix = sparse.csr_array((weights.reshape(-1), place.reshape(-1), starts.astype(place.dtype)), shape=shape)
    matrix.eliminate_zeros()
    if place.shape[1] > 1:
        matrix.sum_duplicates()
    return matrix


def _overlap(source: Grid, target: Grid) -> sparse.csr_array | None:
    """Steradians that each target pixel shares with each source pixel, [target, source]; None if with one only."""
    if source == target:
        return None
    areas, areas_there = source.areas().reshape(-1), target.areas().reshape(-1)
    ratio = areas_there.max() / areas.max()
    if ratio <= 1:
        per_side = _parts_per_side(ratio)
        return None if per_side == 1 else _parts_within(target, source, per_side)
    per_side = _parts_per_side(1 / ratio)
    weights = _parts_within(source, target, per_side).T.tocsr()
    small = _too_small(source, target, 4 * areas / per_side**2, areas_there)
    if not len(small):
        return weights
    kept = np.ones(target.size)
    kept[small] = 0.0
    return (sparse.diags_array(kept) @ weights + _parts_within(target, source, _parts_per_side(ratio), small)).tocsr()


def _too_small(source: Grid, target: Grid, least: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Target pixels with `areas` below `least` of the source pixel at their centre."""
    place = source.locate(*target.lonlat()).reshape(-1)
    return np.flatnonzero((place >= 0) & (areas < (1 - 1e-6) * least[np.maximum(place, 0)]))


def _parts_per_side(ratio: float) -> int:
    """The power of two that cuts pixels with `ratio` of the others' area to at most half the others' width."""
    return int(2 ** max(0, np.ceil(np.log2(2 * ratio**0.5) - 1e-6)))


def _parts_within(fine: Grid, coarse: Grid, per_side: int, pixels: np.ndarray | None = None) -> sparse.csr_array:
    """Steradians of the fine grid's pixels in each pixel of the coarse grid, [fine, coarse]; of some rows only."""
    pixels = np.arange(fine.size) if pixels is None else pixels
    areas = fine.areas().reshape(-1)
    place, weights = _entries(len(pixels), per_side**2, coarse)
    step = max(1, _AT_ONCE // per_side**2)
    for start in range(0, len(pixels), step):
        some = slice(start, start + step)
        lon, lat, share = fine.samples(per_side, pixels[some])
        place[some] = coarse.locate(lon, lat)
        weights[some] = share * areas[pixels[some], None]
    counts = np.zeros(fine.size + 1, dtype=np.int64)
    counts[pixels + 1] = per_side**2
    return _rows(place, weights, (fine.size, coarse.size), np.cumsum(counts))
