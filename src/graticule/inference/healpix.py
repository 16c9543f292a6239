"""Whole spheres: nested windows with a halo of their true neighbours, cropped to the core; constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Num
from torch import Tensor

from graticule.errors import GridError
from graticule.grids.healpix import HealpixGrid
from graticule.grids.windows import healpix_halo, morton, morton_inverse
from graticule.inference.stitch import Predict

ReadCells = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Nested cell ids [*shape] (-1: none) in; x [c, *shape] and seen bool [*shape] out."""


@dataclass(frozen=True)
class Block:
    """Finished cells of a sphere, in the order of its grid.

    Attributes:
        start: offset of the first cell in the grid.
        x: what was read, [c, cells].
        seen: where there was input, [cells].
        fields: for each target float32 [k, cells] or [cells]; without meaning where nothing was seen.
    """

    start: int
    x: Num[np.ndarray, "c cells"]
    seen: Bool[np.ndarray, " cells"]
    fields: dict[str, Float32[np.ndarray, "*k cells"]]


def to_squares(cells: Tensor, side: int) -> Tensor:
    """Runs of nested cells [..., n·side²] as their squares, one below the other: [..., n·side, side]."""
    order = torch.from_numpy(morton(side).reshape(-1).copy()).to(cells.device)
    return cells.unflatten(-1, (-1, side * side))[..., order].unflatten(-1, (side, side)).flatten(-3, -2)


def to_cells(squares: Tensor) -> Tensor:
    """The inverse of `to_squares`."""
    side = squares.shape[-1]
    order = torch.from_numpy(morton_inverse(side).copy()).to(squares.device)
    return squares.unflatten(-2, (-1, side)).flatten(-2)[..., order].flatten(-2)


def on_squares(predict: Predict) -> Predict:
    """A predictor of nested cells as one of squares [b, c, n·side, side], side a power of two.

    A square with a halo is no nested window; but a net that sees nested windows as squares sees no difference.
    """

    def of_squares(x: Tensor, seen: Tensor) -> dict[str, Tensor]:
        side = x.shape[-1]
        if x.shape[-2] % side:
            raise GridError("the squares of several base pixels cannot be turned as one; set evaluate.tta=false.")
        said = predict(to_cells(x), to_cells(seen))
        # What is said of a whole sample, [b, k], is no field of cells.
        return {name: v if v.shape[-1] != seen[0].numel() else to_squares(v, side) for name, v in said.items()}

    return of_squares


def whole_faces(
    read: ReadCells, grid: HealpixGrid, predict_square: Predict, base_pixels: tuple[int, ...]
) -> Iterator[Block]:
    """Predict whole base pixels at once with a net that sees all of them: no window, no halo.

    Args:
        read: reads cells of the scene.
        grid: the scene's; its cells must be those of the base pixels.
        predict_square: squares one below the other in, fields out (see `on_squares`).
        base_pixels: that the net sees at once.

    Raises:
        GridError: if the scene covers other cells.
    """
    covered = HealpixGrid(grid.nside, base_pixels)
    if not np.array_equal(covered.cell_ids(), grid.cell_ids()):
        raise GridError(
            f"the net sees base pixels {list(base_pixels)} at once and the scene is {grid!r}; "
            "give a scene of just these base pixels."
        )
    x, seen = read(grid.cell_ids())
    cells = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[None], torch.from_numpy(seen)[None]
    answer = predict_square(to_squares(cells[0], grid.nside), to_squares(cells[1], grid.nside))
    yield Block(0, x, seen, {name: to_cells(values)[0].float().cpu().numpy() for name, values in answer.items()})


def core_of(grid: HealpixGrid, window: int) -> tuple[int, int]:
    """Core and halo of the windows of `window` x `window` cells that walk over `grid`: half and a quarter of it.

    A core is the children of one cell, so it is smaller where the grid's parents are.

    Raises:
        GridError: if the window is no power of two from 4, or wider than the grid allows.
    """
    if window < 4 or window & (window - 1):
        raise GridError(f"a window of {window} cells does not fit the sphere; it must be a power of two from 4.")
    core = min(window // 2, int(np.sqrt(grid.children)))
    halo = (window - core) // 2
    if core < 2 or halo > grid.nside:
        raise GridError(
            f"windows of {window} cells are too wide for nside {grid.nside} and its parents; "
            f"give a window of at most {max(4, 2 * core)}, on nside 2 or more."
        )
    return core, halo


def walk_sphere(
    read: ReadCells, grid: HealpixGrid, predict_square: Predict, *, window: int = 64, batch_size: int = 8
) -> Iterator[Block]:
    """Predict all cells of a grid, in its order, in blocks of `batch_size` cores.

    Each window is a square of `window` cells on a side: a core of half that side, with a halo that is read from the
    true neighbours, over the seams of base pixels too. Only the core is kept. So no cell is predicted near the edge of
    a window, at the cost of predicting each four times.

    Args:
        read: reads cells of the scene.
        grid: whole sphere, or the children of some parents.
        predict_square: squares in, fields out (see `on_squares`).
        window: side of a net's input, a power of two.
        batch_size: windows that are predicted together.

    Raises:
        GridError: if the window does not fit the grid.
    """
    core, halo = core_of(grid, window)
    inner = slice(halo, halo + core)
    order = morton_inverse(core)
    for start in range(0, grid.size, core * core * batch_size):
        stop = min(start + core * core * batch_size, grid.size)
        firsts = [int(grid.window(place, core * core).cell_ids()[0]) for place in range(start, stop, core * core)]
        ids = np.stack([healpix_halo(grid.nside, first, core, halo) for first in firsts])
        x, seen = read(ids)
        answer = predict_square(
            torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1), dtype=np.float32)), torch.from_numpy(seen)
        )
        fields = {
            name: _cells(values[..., inner, inner].float().cpu().numpy(), order) for name, values in answer.items()
        }
        yield Block(
            start, _cells(x[..., inner, inner].swapaxes(0, 1), order), _cells(seen[:, inner, inner], order), fields
        )


def _cells(squares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Squares [b, *k, side, side] as cells [*k, b * side²], one core after the other."""
    flat = squares.reshape(*squares.shape[:-2], -1)[..., order]
    return np.moveaxis(flat, 0, -2).reshape(*flat.shape[1:-1], -1)
