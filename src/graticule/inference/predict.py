"""Whole scenes: a task and a reader in, map files out, with bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graticule.data.missing import may_miss, seen_pixels
from graticule.errors import GridError, OutputError, SourceError, nearest
from graticule.grids import HealpixGrid, RasterGrid
from graticule.grids.windows import starts
from graticule.inference.healpix import Block, core_of, on_squares, walk_sphere, whole_faces
from graticule.inference.layers import Layer, Probabilities, layers_of
from graticule.inference.pictures import Overview
from graticule.inference.progress import tracked
from graticule.inference.stitch import Predict, Strip, stitch
from graticule.inference.symmetry import d4_mean, ensemble_mean
from graticule.inference.writers import Write, cog_writer, fits_writer, zarr_writer
from graticule.schema import Band, Target

Format = Literal["cog", "zarr", "fits"]


@runtime_checkable
class Task(Protocol):
    """What prediction needs of a task."""

    bands: tuple[Band, ...]
    targets: tuple[Target, ...]
    grid_kind: str

    @property
    def base_pixels(self) -> tuple[int, ...] | None:
        """The HEALPix base pixels that the net sees at once; None where it sees windows."""
        ...

    def predict(self, x: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """Windows in; per target probabilities [b, k, *space] or values [b, *space] out."""
        ...


@dataclass(frozen=True)
class PredictOptions:
    """How a scene is predicted and what is written.

    Attributes:
        window: side of a window; None takes 256 on rasters and 64 on HEALPix.
        overlap: pixels that windows on a raster share (on HEALPix a quarter of the window is halo on each side).
        batch_size: windows per step.
        tta: mean over the eight flips and quarter turns of each window; eight times the cost.
        probabilities: write those of each class too, as uint8 (1/250) or float32.
        formats: "cog" for rasters, "zarr" and "fits" for HEALPix; None takes what the grid allows.
        device: where the net runs, as torch names it.
        overview: write `overview.npz`, the scene at a glance for the report.
        progress: show a progress bar.
    """

    window: int | None = None
    overlap: int = 32
    batch_size: int = 8
    tta: bool = False
    probabilities: Probabilities = "none"
    formats: tuple[Format, ...] | None = None
    device: str = "cpu"
    overview: bool = True
    progress: bool = True


def predict_scene(
    tasks: Task | Sequence[Task],
    reader: Any,
    folder: Path,
    options: PredictOptions | None = None,
    *,
    name: str = "scene",
    truth: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """Predict a whole scene and write its maps; nothing is left half-written.

    Args:
        tasks: one task, or several of which the mean is taken (an ensemble).
        reader: of the scene: `grid`, `bands`, and `read(row, col, h, w)` on a raster or `cells(ids)` on HEALPix.
        folder: where `<name>-<target>.tif`, `.zarr` and `.fits` are written, and `overview.npz`.
        options: how.
        name: of the scene, the first part of each file's name.
        truth: the targets' arrays over the whole scene, where known, for the overview.

    Returns:
        The files written.

    Raises:
        GridError: if windows do not fit the scene.
        SourceError: if the scene lacks a band.
        OutputError: if a file cannot be written, or a format does not fit the grid.
    """
    options = options or PredictOptions()
    tasks = [tasks] if not isinstance(tasks, Sequence) else list(tasks)
    grid, layers = reader.grid, [la for target in tasks[0].targets for la in layers_of(target, options.probabilities)]
    bands = pick_bands(reader.bands, tasks[0].bands)
    predict = on_any_square(tasks, options.device, options.tta)
    files = {layer.name: _paths(folder, name, layer, grid, options.formats) for layer in layers}
    overview = Overview(grid, tasks[0].bands, layers) if options.overview else None
    total, pieces = _pieces(reader, grid, bands, predict, options, tasks[0].base_pixels)
    with ExitStack() as stack:
        writers: list[tuple[Layer, list[Write]]] = [
            (layer, [stack.enter_context(_writer(path, grid, layer)) for path in files[layer.name]]) for layer in layers
        ]
        for piece in tracked(pieces, total, f"Predicting {name}", show=options.progress):
            first = piece.row if isinstance(piece, Strip) else piece.start
            maps = {}
            for layer, writes in writers:
                maps[layer.name] = layer.encode(piece.fields[layer.target.name], piece.seen)
                for write in writes:
                    write(first, maps[layer.name])
            if overview is not None:
                flat = first * (grid.shape[1] if isinstance(piece, Strip) else 1)
                overview.add(flat, piece.x, piece.seen, maps)
    written = [path for paths in files.values() for path in paths]
    if overview is not None:
        overview.save(folder / "overview.npz", truth)
        written.append(folder / "overview.npz")
    return written


def on_any_square(tasks: Sequence[Task], device: str = "cpu", tta: bool = False) -> Predict:
    """A predictor of square windows from tasks of any kind of grid: the mean of all, turned too if asked."""
    predictors: list[Predict] = []
    for task in tasks:
        one = predictor(task, device)
        predictors.append(on_squares(one) if task.grid_kind == "healpix" else one)
    mean = ensemble_mean(predictors)
    return d4_mean(mean) if tta else mean


def predictor(task: Task, device: str = "cpu") -> Predict:
    """The task's `predict` on a device, ready for use: dropout off, no gradients."""
    if isinstance(task, torch.nn.Module):
        task.eval().to(device)

    # Not inference_mode: what a net keeps from here (orders of cells) could then never be used in a training again.
    @torch.no_grad()
    def predict(x: Tensor, seen: Tensor) -> dict[str, Tensor]:
        return task.predict(x.to(device), seen.to(device))

    return predict


def pick_bands(there: Sequence[Band], wanted: Sequence[Band]) -> list[int] | None:
    """Where a scene has the bands that a task was trained on, by name; None if they are the same.

    Raises:
        SourceError: naming the band that the scene lacks.
    """
    names = [band.name for band in there]
    for band in wanted:
        if band.name not in names:
            raise SourceError(
                f"the scene has no band '{band.name}', which the model was trained on; {nearest(band.name, names)}"
            )
    places = [names.index(band.name) for band in wanted]
    return None if places == list(range(len(names))) else places


def _pieces(
    reader: Any,
    grid: Any,
    bands: list[int] | None,
    predict: Predict,
    options: PredictOptions,
    base_pixels: tuple[int, ...] | None,
) -> tuple[int, Iterator[Strip | Block]]:
    """How many pieces there will be, and the pieces."""
    if isinstance(grid, HealpixGrid):
        window = options.window or 64

        def read_cells(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return _picked(reader.bands, bands, reader.cells(ids), ids >= 0)

        if base_pixels is not None:
            return 1, whole_faces(read_cells, grid, predict, base_pixels)
        core, _ = core_of(grid, window)
        count = -(-grid.size // (core * core * options.batch_size))
        return count, walk_sphere(read_cells, grid, predict, window=window, batch_size=options.batch_size)
    window = options.window or 256
    overlap = min(options.overlap, window // 2)

    def read(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return _picked(reader.bands, bands, *reader.read(row, col, height, width))

    strips = stitch(
        read, grid.shape, predict, window=window, overlap=overlap, batch_size=options.batch_size,
        wraps=isinstance(grid, RasterGrid) and grid.wraps,
    )  # fmt: skip
    return len(starts(grid.shape[0], window, overlap)), strips


def _picked(
    there: Sequence[Band], places: list[int] | None, x: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The bands at `places`; a pixel that lacks one of them counts as not seen, as in training."""
    if places is not None:
        x, there = x[places], [there[place] for place in places]
    if not may_miss(there, x.dtype):
        return x, seen
    seen = seen & seen_pixels(x, there)
    return np.where(seen, x, 0), seen


def _paths(folder: Path, name: str, layer: Layer, grid: Any, formats: Sequence[Format] | None) -> list[Path]:
    able = ("zarr", "fits") if isinstance(grid, HealpixGrid) else ("cog",)
    for wanted in formats or ():
        if wanted not in able:
            kind = "HEALPix" if isinstance(grid, HealpixGrid) else "a raster"
            raise OutputError(f"{kind} cannot be written as {wanted}; choose among: {', '.join(able)}.")
    suffix = {"cog": ".tif", "zarr": ".zarr", "fits": ".fits"}
    return [folder / f"{name.replace('/', '-')}-{layer.name}{suffix[kind]}" for kind in formats or able]


def _writer(path: Path, grid: Any, layer: Layer) -> Any:
    if isinstance(grid, HealpixGrid):
        return (zarr_writer if path.suffix == ".zarr" else fits_writer)(path, grid, layer)
    if isinstance(grid, RasterGrid):
        return cog_writer(path, grid, layer)
    raise GridError(f"maps of {grid!r} cannot be written; resample to a raster or to HEALPix first.")
