"""Whole scenes: a task and a reader in, map files out, with bounded memory."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graticule.errors import CheckpointError, GridError, OutputError
from graticule.files import remove_partial
from graticule.grids import HealpixGrid, RasterGrid
from graticule.inference.cleaning import Mapped
from graticule.inference.healpix import on_squares
from graticule.inference.layers import Layer, layers_of
from graticule.inference.options import Format, PredictOptions, on_whole_cells
from graticule.inference.pictures import Overview
from graticule.inference.products import Products
from graticule.inference.progress import tracked
from graticule.inference.stac import Model, fingerprint, versions, write_item
from graticule.inference.stitch import Predict
from graticule.inference.symmetry import d4_mean, ensemble_mean
from graticule.inference.walk import pick_bands, walk
from graticule.inference.writers import Write, cog_writer, fits_writer, zarr_writer
from graticule.schema import Band, Target

__all__ = ["PredictOptions", "Task", "on_any_square", "pick_bands", "predict_scene", "predictor"]


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


def predict_scene(
    tasks: Task | Sequence[Task],
    reader: Any,
    folder: Path,
    options: PredictOptions | None = None,
    *,
    name: str = "scene",
    truth: Mapping[str, np.ndarray] | None = None,
    models: Sequence[Model] = (),
) -> list[Path]:
    """Predict a whole scene and write its maps and products; nothing is left half-written.

    Args:
        tasks: one task, or several of which the mean is taken (an ensemble), each of its own bands.
        reader: of the scene: `grid`, `bands`, and `read(row, col, h, w)` on a raster or `cells(ids)` on HEALPix;
            `quality(row, col, h, w)` where it is known.
        folder: where `<name>-<target>.tif`, `.zarr` and `.fits`, the products and `overview.npz` are written.
        options: how.
        name: of the scene, the first part of each file's name.
        truth: the targets' arrays over the whole scene, where known, for the overview.
        models: what the tasks were read from, for the record.

    Returns:
        The files written.

    Raises:
        GridError: if windows do not fit the scene.
        SourceError: if the scene lacks a band.
        CheckpointError: if the tasks of an ensemble predict different targets.
        OutputError: if a file cannot be written, or a format or product does not fit the grid.
    """
    options = options or PredictOptions()
    tasks = [tasks] if not isinstance(tasks, Sequence) else list(tasks)
    grid, targets = reader.grid, _common_targets(tasks)
    options = on_whole_cells(options, targets, grid)
    told = {"options": options.told(), "models": [asdict(model) for model in models], "source": _source(reader, name)}
    layers = _layers(targets, options, told)
    stem = folder / name.replace("/", "-")
    maps = {layer.name: _paths(stem, layer, grid, options.formats) for layer in layers}
    bands = union_of_bands(tasks)
    places = pick_bands(reader.bands, bands)
    products = Products(options.products, stem, grid, bands, targets)
    overview = Overview(grid, bands, layers) if options.overview else None
    item = stem.with_name(f"{stem.name}.json")
    item.unlink(missing_ok=True)  # it says that all the rest is there
    for path in (item, *products.paths.values(), *(path for paths in maps.values() for path in paths)):
        remove_partial(path)
    predict = on_any_square(tasks, options.device, options.tta, bands)
    total, pieces = walk(reader, places, predict, options, targets, tasks[0].base_pixels)
    with ExitStack() as stack:
        writers: list[tuple[Layer, list[Write]]] = [
            (layer, [stack.enter_context(_writer(path, grid, layer)) for path in maps[layer.name]]) for layer in layers
        ]
        for piece in tracked(pieces, total, f"Predicting {name}", show=options.progress):
            _write(piece, writers, overview, grid)
            products.add(piece)
    files = _by_name(maps) | products.save(name)
    written = list(files.values())
    if products.has_item:
        mark = fingerprint(models, options.told(), name)
        told |= {"fingerprint": mark, "versions": versions()}
        written.append(write_item(item, name, grid, files, layers, told, getattr(reader, "datetime", None)))
    if overview is not None:
        overview.save(folder / "overview.npz", truth)
        written.append(folder / "overview.npz")
    return written


def _layers(targets: Sequence[Target], options: PredictOptions, told: Mapping[str, Any]) -> list[Layer]:
    """The maps of all targets, with their origin as tags."""
    made = [layer for target in targets for layer in layers_of(target, options.probabilities)]
    return [replace(layer, tags=layer.tags | _tags(told)) for layer in made]


def _by_name(maps: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """Each map's file under the layer's name; further formats of it with their suffix."""
    return {
        key if number == 0 else f"{key}-{path.suffix[1:]}": path
        for key, paths in maps.items()
        for number, path in enumerate(paths)
    }


def _source(reader: Any, name: str) -> dict[str, str]:
    path = getattr(reader, "path", None)
    return {"scene": name} | ({} if path is None else {"path": str(path)})


def _tags(told: Mapping[str, Any]) -> dict[str, str]:
    """Where a GeoTIFF came from, as texts."""
    models = told["models"]
    return {
        "SOFTWARE": " ".join(("graticule", versions()["graticule"])), "SCENE": told["source"]["scene"],
        "MODELS": ", ".join(f"{model['run']}/{model['checkpoint']}" for model in models),
        "WEIGHTS_SHA256": ", ".join(model["sha256"] for model in models),
        "OPTIONS": json.dumps(told["options"]),
    }  # fmt: skip


def _common_targets(tasks: Sequence[Task]) -> tuple[Target, ...]:
    """The targets, which all tasks must share.

    Raises:
        CheckpointError: naming what differs.
    """
    first, *others = [[(t.name, t.kind, [entry.name for entry in t.legend]) for t in task.targets] for task in tasks]
    for other in others:
        if other != first:
            raise CheckpointError(
                f"the checkpoints of an ensemble predict different targets, {_named(first)} and {_named(other)}; "
                "give checkpoints of the same targets and classes."
            )
    return tasks[0].targets


def _named(targets: Sequence[tuple[str, str, list[str]]]) -> str:
    return "; ".join(f"{name} ({', '.join(classes) or kind})" for name, kind, classes in targets)


def _write(piece: Mapped, writers: Sequence[tuple[Layer, list[Write]]], overview: Overview | None, grid: Any) -> None:
    maps = {}
    for layer, writes in writers:
        if layer.is_classes:
            maps[layer.name] = piece.labels[layer.target.name][None]
        else:
            maps[layer.name] = layer.encode(piece.fields[layer.target.name], piece.holds)
        for write in writes:
            write(piece.first, maps[layer.name])
    if overview is not None:
        flat = piece.first * (grid.shape[1] if piece.holds.ndim == 2 else 1)
        overview.add(flat, piece.x, piece.holds, maps)


def union_of_bands(tasks: Sequence[Task]) -> tuple[Band, ...]:
    """The bands that any of the tasks needs, each once, in the order of the first."""
    found: dict[str, Band] = {}
    for task in tasks:
        for band in task.bands:
            found.setdefault(band.name, band)
    return tuple(found.values())


def on_any_square(
    tasks: Sequence[Task], device: str = "cpu", tta: bool = False, bands: Sequence[Band] | None = None
) -> Predict:
    """A predictor of square windows from tasks of any kind of grid: the mean of all, turned too if asked.

    Args:
        tasks: of the same targets.
        device: where they run.
        tta: mean over the eight flips and quarter turns.
        bands: of the windows, of which each task takes its own; all of them if None.
    """
    predictors: list[Predict] = []
    for task in tasks:
        one = predictor(task, device)
        one = on_squares(one) if task.grid_kind == "healpix" else one
        places = None if bands is None else pick_bands(bands, task.bands)
        predictors.append(one if places is None else _of_bands(one, places))
    mean = ensemble_mean(predictors)
    return d4_mean(mean, tasks[0].bands if bands is None else bands) if tta else mean


def _of_bands(predict: Predict, places: list[int]) -> Predict:
    def picked(x: Tensor, seen: Tensor) -> Mapping[str, Tensor]:
        return predict(x[:, places], seen)

    return picked


def predictor(task: Task, device: str = "cpu") -> Predict:
    """The task's `predict` on a device, ready for use: dropout off, no gradients."""
    if isinstance(task, torch.nn.Module):
        task.eval().to(device)

    # Not inference_mode: what a net keeps from here (orders of cells) could then never be used in a training again.
    @torch.no_grad()
    def predict(x: Tensor, seen: Tensor) -> dict[str, Tensor]:
        return task.predict(x.to(device), seen.to(device))

    return predict


def _paths(stem: Path, layer: Layer, grid: Any, formats: Sequence[Format] | None) -> list[Path]:
    able: tuple[Format, ...] = ("zarr", "fits") if isinstance(grid, HealpixGrid) else ("cog",)
    for wanted in formats or ():
        if wanted not in able:
            kind = "HEALPix" if isinstance(grid, HealpixGrid) else "a raster"
            raise OutputError(f"{kind} cannot be written as {wanted}; choose among: {', '.join(able)}.")
    suffix = {"cog": ".tif", "zarr": ".zarr", "fits": ".fits"}
    return [stem.with_name(f"{stem.name}-{layer.name}{suffix[kind]}") for kind in formats or able]


def _writer(path: Path, grid: Any, layer: Layer) -> Any:
    if isinstance(grid, HealpixGrid):
        return (zarr_writer if path.suffix == ".zarr" else fits_writer)(path, grid, layer)
    if isinstance(grid, RasterGrid):
        return cog_writer(path, grid, layer)
    raise GridError(f"maps of {grid!r} cannot be written; resample to a raster or to HEALPix first.")
