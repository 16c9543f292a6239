"""Predictions of samples, put together on their scene's grid, and exchanged to any other grid."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray

from graticule.errors import GridError
from graticule.grids import Grid, RasterGrid, ramp, resampler
from graticule.schema import IGNORE, Target
from graticule.tasks.cells import counted

_IN_MEMORY = 2**30
_PIECE = 2**20


@dataclass(frozen=True)
class Piece:
    """A run of pixels of a grid, flat: predictions [k, n] or [n], truth [n] and valid [n] per target.

    `share` says how much of each pixel is known, `area` how large it is in steradians, `pairs` whose it is (-1: none).
    """

    predictions: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    valid: dict[str, Bool[np.ndarray, " n"]]
    share: dict[str, Float32[np.ndarray, " n"]]
    area: np.ndarray
    pairs: Int64[np.ndarray, " n"]
    lat: np.ndarray


class Canvas:
    """A scene's grid on which the predictions of overlapping samples are blended.

    As large as the scene; large ones are kept in a file that is gone when they are.

    Args:
        grid: of the scene.
        space: shape of a sample.
        targets: what is predicted.
        overlaps: whether samples lie over each other; if none does, each comes back to the last bit.
    """

    def __init__(self, grid: Grid, space: tuple[int, ...], targets: tuple[Target, ...], overlaps: bool = True) -> None:
        self.grid, self.targets = grid, targets
        self.taper = _taper(space) if overlaps else np.ones(space)
        self.weight = _array(grid.shape)
        self.pairs = np.full(grid.shape, -1, np.int32)
        self.fields: dict[str, np.ndarray] = {}
        self.x: np.ndarray | None = None
        self._is_blended = False
        self.truth = {
            target.name: np.full(grid.shape, IGNORE, np.uint8)
            if target.is_categorical
            else np.full(grid.shape, np.nan, np.float32)
            for target in targets
        }

    def add(
        self, place: tuple[int, ...], predictions: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray],
        seen: NDArray[np.bool_], pair: int, x: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Add a sample at its place: predictions [k, *space] or [*space]; truth [*space], 255 or NaN where unknown.

        Its bands `x` [c, *space] are kept where they are given.
        """
        here, own = self._overlap(place, seen.shape)
        weight = np.where(seen, self.taper, 0.0).astype(np.float32)[own]
        self.weight[here] += weight
        self.pairs[here] = np.where(seen[own], pair, self.pairs[here])
        for target in self.targets:
            for name in target.predicted_names:
                values = predictions[name]
                if name not in self.fields:
                    self.fields[name] = _array((*values.shape[: values.ndim - seen.ndim], *self.grid.shape))
                self.fields[name][(..., *here)] += values[(..., *own)] * weight
            known, kept = truth[target.name][own], self.truth[target.name]
            unknown = known == IGNORE if target.is_categorical else np.isnan(known)
            kept[here] = np.where(unknown, kept[here], known)
        if x is not None:
            if self.x is None:
                self.x = np.zeros((len(x), *self.grid.shape), x.dtype)
            self.x[(..., *here)] = np.where(seen[own], x[(..., *own)], self.x[(..., *here)])

    def blended(self) -> np.ndarray:
        """Make the fields the means over samples, once all are added; returns the weight, 0 where there was none."""
        if not self._is_blended:
            for field in self.fields.values():
                np.divide(field, self.weight, out=field, where=self.weight > 0)
            self._is_blended = True
        return self.weight

    def _overlap(self, place: tuple[int, ...], space: tuple[int, ...]) -> tuple[tuple, tuple]:
        """Where a window lies in the scene, and the part of the window that does; either may be indices round it."""
        here: list[slice] = []
        own: list[slice] = []
        for axis, (start, size, length) in enumerate(zip(place, space, self.grid.shape, strict=True)):
            if axis == 1 and isinstance(self.grid, RasterGrid) and self.grid.wraps and not 0 <= start <= length - size:
                turned = np.arange(start, start + min(size, length)) % length
                return self._turned(here[0], own[0], turned)
            low, high = max(start, 0), min(start + size, length)
            here.append(slice(low, high))
            own.append(slice(low - start, high - start))
        return tuple(here), tuple(own)

    @staticmethod
    def _turned(rows: slice, own: slice, columns: np.ndarray) -> tuple[tuple, tuple]:
        return (rows, columns), (own, slice(0, len(columns)))

    def pieces(self, grid: Grid | None = None) -> Iterator[Piece]:
        """The blended predictions with their truth, on the scene's grid or exchanged to another."""
        self.blended()
        grid = None if grid == self.grid else grid
        target_grid = grid or self.grid
        fields: dict[str, np.ndarray] = {}
        truth, valid, share = {}, {}, {}
        for target in self.targets:
            name = target.name
            unknown = self.truth[name] == IGNORE if target.is_categorical else np.isnan(self.truth[name])
            known = (self.weight > 0) & ~unknown
            if grid is None:
                known = counted(torch.from_numpy(known)[None], target.cell)[0].numpy()
                truth[name], valid[name] = self.truth[name], known
                fields |= {predicted: self.fields[predicted] for predicted in target.predicted_names}
                share[name] = np.broadcast_to(np.float32(1), known.shape)
            else:
                exchanged = _exchange(self.grid, grid, target, self.fields[name], self.truth[name], known)
                fields[name], truth[name], valid[name], share[name] = exchanged
                for predicted in target.predicted_names[1:]:
                    fields[predicted] = resampler(self.grid, grid, "area").values(self.fields[predicted], known)[0]
        pairs = self.pairs.reshape(-1)
        if grid is not None:
            nearest = resampler(self.grid, grid, "nearest").nearest
            pairs = _nearest_known(self.grid, grid, self.pairs, nearest)
        yield from cut(target_grid, self.targets, fields, truth, valid, share, pairs)


def check_exchangeable(scenes: Mapping[str, Grid], wanted: str) -> None:
    """Refuse to bring scenes in a plane of unknown place onto another grid.

    Raises:
        GridError: naming such a scene.
    """
    for name, grid in scenes.items():
        if isinstance(grid, RasterGrid) and grid.is_local:
            raise GridError(
                f"scene '{name}' has no place on the Earth, so it cannot be evaluated on {wanted}; "
                "take evaluate.grid=store or evaluate.grid=scene."
            )


def cut(
    grid: Grid, targets: tuple[Target, ...], fields: dict, truth: dict, valid: dict, share: dict, pairs: np.ndarray
) -> Iterator[Piece]:  # fmt: skip
    """The pixels of a grid in runs of moderate size, leaving out those where nothing is valid."""
    flat = {name: values.reshape(*values.shape[: values.ndim - len(grid.shape)], -1) for name, values in fields.items()}
    lat, area = grid.lonlat()[1], grid.areas().reshape(-1)
    for low in range(0, grid.size, _PIECE):
        part = slice(low, low + _PIECE)
        own = {target.name: valid[target.name].reshape(-1)[part] for target in targets}
        if not any(values.any() for values in own.values()):
            continue
        yield Piece(
            {name: np.ascontiguousarray(values[..., part]) for name, values in flat.items()},
            {name: values.reshape(-1)[part] for name, values in truth.items()},
            own,
            {name: values.reshape(-1)[part] for name, values in share.items()},
            area[part],
            pairs[part].astype(np.int64),
            lat.reshape(-1)[part],
        )


def _exchange(
    source: Grid, grid: Grid, target: Target, field: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, truth, validity, and known share of each pixel on another grid.

    Means by area, and the commonest class by area, of the pixels whose truth is known; for both in the same way, so
    that a perfect prediction stays perfect.
    """
    by_area = resampler(source, grid, "area")
    values, there = by_area.values(field, known)
    if target.is_categorical:
        # Equal shares stay equal through the rounding of sums, so that the first class of them wins everywhere.
        values = np.round(values, 6)
        labels = by_area.labels(np.where(known, truth, np.uint8(IGNORE)))
        there = there & (labels != IGNORE)
    else:
        labels, _ = by_area.values(truth, known)
    share, inside = by_area.values(known.astype(np.float32))
    return values, labels, there, np.where(inside, share, 0).astype(np.float32)


def _nearest_known(source: Grid, grid: Grid, pairs: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """The group of each pixel's nearest source pixel; where that has none, of any source pixel within."""
    found = np.where(nearest >= 0, pairs.reshape(-1)[np.maximum(nearest, 0)], -1)
    inside = np.flatnonzero(pairs.reshape(-1) >= 0)
    lon, lat = (axis.reshape(-1)[inside] for axis in source.lonlat())
    place = grid.locate(lon, lat)
    any_within = np.full(grid.size, -1, np.int64)
    any_within[place[place >= 0]] = pairs.reshape(-1)[inside[place >= 0]]
    return np.where(found >= 0, found, any_within)


def _taper(space: tuple[int, ...]) -> np.ndarray:
    """Weights of a sample's pixels: falling towards the edges of a raster window; equal on HEALPix (no overlaps)."""
    if len(space) == 1:
        return np.ones(space)
    down, across = (ramp(size, size // 2, first=False, last=False) for size in space)
    return down[:, None] * across


def _array(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros; in a file without a name if they are many."""
    if int(np.prod(shape)) * 4 < _IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.NamedTemporaryFile() as handle:
        return np.memmap(handle, np.float32, "w+", shape=shape)
