"""From one raster to another, quickly: for layers that are brought onto every scene.

`resample` works out each pixel's place through longitude and latitude, exactly, and can keep it. Here places are worked
out on a mesh and interpolated between its nodes, to a hundredth of a pixel; nothing is kept.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from affine import Affine
from jaxtyping import Float32, Float64, Shaped
from pyproj import Transformer
from scipy.ndimage import map_coordinates

from graticule.errors import GridError
from graticule.grids.raster import RasterGrid

_STEP = 32
"""Pixels between the nodes of the mesh."""
_EXACT = 0.01
"""Of a pixel: by how much interpolated places may be wrong before all are worked out."""

Places = tuple[Float64[np.ndarray, "height width"], Float64[np.ndarray, "height width"]]


def covering(source: RasterGrid, target: RasterGrid, margin: int = 2) -> tuple[int, int, int, int] | None:
    """The (row, column, height, width) of the pixels of `source` that `target` needs; None where it needs none."""
    rows, columns = _mesh(source, target, _STEP)
    seen = np.isfinite(rows) & np.isfinite(columns)
    if not seen.any():
        return None
    first = [max(0, int(np.floor(axis[seen].min())) - margin) for axis in (rows, columns)]
    last = [int(np.ceil(axis[seen].max())) + margin for axis in (rows, columns)]
    height, width = (
        min(size, end) - start for size, end, start in zip(source.shape, last, first, strict=True)
    )  # fmt: skip
    return (first[0], first[1], height, width) if height > 0 and width > 0 else None


def warp(
    values: Shaped[np.ndarray, "bands rows columns"], source: RasterGrid, target: RasterGrid,
    method: Literal["nearest", "bilinear"] = "bilinear",
) -> Float32[np.ndarray, "bands height width"]:  # fmt: skip
    """Values on the raster `target`; NaN where `source` has none.

    Args:
        values: on `source`; NaN where there is no value. Such pixels have no weight.
        source: the grid of the values.
        target: the wanted grid. Where its pixels are wider than those of the source, means of whole numbers of pixels
            are taken first, so that nothing is skipped ("bilinear" only).
        method: the nearest pixel, or between the four nearest.

    Raises:
        GridError: for a shape that is not that of the source.
    """
    if values.shape[1:] != source.shape:
        raise GridError(f"values of shape {values.shape} do not lie on the grid of {source.shape}.")
    values = values.astype(np.float32)
    if method == "bilinear":
        values, source = _coarser(values, source, target)
    rows, columns = _places(source, target)
    inside = (rows >= 0) & (rows < source.height) & (columns >= 0) & (columns < source.width)
    order = 0 if method == "nearest" else 1
    coordinates = np.stack([rows, columns]) - 0.5
    if order == 0:
        limits = np.array(source.shape)[:, None, None] - 1
        coordinates = np.clip(np.nan_to_num(np.floor(coordinates + 0.5)), 0, limits)
    else:
        coordinates = np.where(inside, coordinates, -2.0)
    out = np.empty((len(values), *target.shape), np.float32)
    for layer, result in zip(values, out, strict=True):
        known = np.isfinite(layer)
        options = {"order": order, "mode": "grid-constant", "cval": 0.0, "prefilter": False, "output": np.float32}
        weight = map_coordinates(known.astype(np.float32), coordinates, **options)
        total = map_coordinates(np.where(known, layer, np.float32(0)), coordinates, **options)
        there = inside & (weight > 1e-6)
        np.divide(total, weight, out=result, where=there)
        result[~there] = np.nan
    return out


def _coarser(values: np.ndarray, source: RasterGrid, target: RasterGrid) -> tuple[np.ndarray, RasterGrid]:
    """Means of squares of pixels, where the target's pixels are twice as wide or wider."""
    rows, columns = _mesh(source, target, _STEP)
    if min(target.shape) < 2 or not (np.isfinite(rows).all() and np.isfinite(columns).all()):
        return values, source
    # Source pixels that one step along a row or a column of the target passes over.
    steps = [
        np.hypot(np.ptp(rows.take([0, -1], axis), axis=axis), np.ptp(columns.take([0, -1], axis), axis=axis)).max()
        / (target.shape[axis] - 1)
        for axis in (0, 1)
    ]
    factor = int(min(*steps, *source.shape) + 1e-6)
    if factor < 2:
        return values, source
    height, width = (size // factor for size in source.shape)
    cut = values[:, : height * factor, : width * factor].reshape(len(values), height, factor, width, factor)
    known = np.isfinite(cut)
    counts = known.sum((2, 4))
    sums = np.where(known, cut, 0).sum((2, 4), dtype=np.float64)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0).astype(np.float32)
    a, b, c, d, e, f = source.transform
    return means, RasterGrid(height, width, (a * factor, b * factor, c, d * factor, e * factor, f), source.crs)


def _places(source: RasterGrid, target: RasterGrid) -> Places:
    """Fractional row and column in `source` (pixel 0 from 0 to 1) of the centres of `target`."""
    if source.crs == target.crs:
        return _mesh(source, target, 1)
    nodes = [_nodes(size) for size in target.shape]
    mesh = _mesh(source, target, _STEP)
    if not all(np.isfinite(axis).all() for axis in mesh):
        return _mesh(source, target, 1)
    # The mesh is good if the middles between its nodes are where interpolation says.
    middles = [(axis[1:] + axis[:-1]) / 2 if len(axis) > 1 else axis for axis in nodes]
    true = _at(source, target, middles[0][:, None], middles[1][None, :])
    found = [_interpolated(axis, nodes, middles) for axis in mesh]
    if max(np.abs(one - other).max() for one, other in zip(true, found, strict=True)) > _EXACT:
        return _mesh(source, target, 1)
    pixels = [np.arange(size, dtype=np.float64) for size in target.shape]
    rows, columns = (_interpolated(axis, nodes, pixels) for axis in mesh)
    return rows, columns


def _mesh(source: RasterGrid, target: RasterGrid, step: int) -> Places:
    rows, columns = (_nodes(size, step) for size in target.shape)
    return _at(source, target, rows[:, None], columns[None, :])


def _nodes(size: int, step: int = _STEP) -> Float64[np.ndarray, " nodes"]:
    return np.linspace(0, size - 1, -(-(size - 1) // step) + 1)


def _at(source: RasterGrid, target: RasterGrid, rows: np.ndarray, columns: np.ndarray) -> Places:
    rows, columns = np.broadcast_arrays(rows, columns)
    x, y = _applied(target.affine, columns + 0.5, rows + 0.5)
    if source.crs != target.crs:
        x, y = _transformer(target.crs, source.crs).transform(x, y)
    there, down = _applied(~source.affine, x, y)
    return np.where(np.isfinite(down), down, np.nan), np.where(np.isfinite(there), there, np.nan)


def _applied(affine: Affine, x: np.ndarray, y: np.ndarray) -> Places:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _interpolated(values: np.ndarray, nodes: list[np.ndarray], wanted: list[np.ndarray]) -> np.ndarray:
    for axis in (0, 1):
        if len(nodes[axis]) == 1:
            continue
        step = nodes[axis][1] - nodes[axis][0]
        place = wanted[axis] / step
        first = np.clip(place.astype(int), 0, len(nodes[axis]) - 2)
        share = (place - first).reshape((-1, 1) if axis == 0 else (1, -1))
        values = values.take(first, axis) * (1 - share) + values.take(first + 1, axis) * share
    return values


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
