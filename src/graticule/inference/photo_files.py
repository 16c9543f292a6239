"""One photograph in, files out: its classes or depth on the photo and on the sphere round the camera."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from graticule.data.sources.fisheye_grids import FisheyeGrid
from graticule.errors import SourceError
from graticule.files import whole_file
from graticule.grids import CameraGrid, Grid, HealpixGrid, resampler
from graticule.grids.resample import Method
from graticule.inference.evaluate import Draw
from graticule.inference.gallery import Shown
from graticule.inference.healpix import to_cells, to_squares, walk_sphere
from graticule.inference.layers import layers_of
from graticule.inference.photographs import base_pixels_of_cameras
from graticule.inference.predict import PredictOptions, Task, on_any_square, pick_bands
from graticule.inference.writers import fits_writer, zarr_writer
from graticule.schema import Band, Target


@dataclass(frozen=True)
class Shot:
    """A photograph to be predicted: x uint8 [bands, height, width] on the pixels of its camera."""

    name: str
    x: np.ndarray
    bands: tuple[Band, ...]
    camera: CameraGrid


def predict_photo(
    task: Task, shot: Shot, source: Mapping[str, Any], folder: Path, options: PredictOptions, *, nside: int = 256,
    draw: Draw | None = None,
) -> list[Path]:  # fmt: skip
    """Predict a photograph as the task was trained to see photographs, and write it on the photo and on the sphere.

    Of each target `<name>-<target>.png` (classes) or `.npy` (metres) with the pixels of the photo,
    `<name>-<target>-colour.png` to look at, and `<name>-<target>.zarr` and `.fits` on the sphere.

    Args:
        task: that predicts.
        shot: the photograph, with its camera turned into the frame of the task's sphere.
        source: the options with which the task's samples were prepared.
        folder: where the files go.
        options: device, test-time augmentation, window.
        nside: of the sphere, where the task does not predict on one.
        draw: makes the picture in colours.

    Raises:
        SourceError: if the task was not trained on photographs, or lacks a band.
        OutputError: if a file cannot be written.
    """
    grid = _grid(task, shot, source)
    bands = pick_bands(shot.bands, task.bands)
    x, seen = resampler(shot.camera, grid, "bilinear").values(shot.x if bands is None else shot.x[bands])
    x = np.where(seen, np.rint(np.nan_to_num(x)), 0).astype(np.float32)
    fields = _fields(task, grid, x, options)
    photo = shot.camera
    sphere = grid if isinstance(grid, HealpixGrid) else HealpixGrid(nside, base_pixels_of_cameras((photo,)))
    written: list[Path] = []
    for layer in [layer for target in task.targets for layer in layers_of(target)]:
        target, path = layer.target, folder / f"{shot.name}-{layer.name}"
        on_photo, on_sphere = (
            layer.encode(*_moved(grid, there, target, fields[target.name], photo)) for there in (photo, sphere)
        )
        written.append(write_layer(path, target, on_photo[0]))
        for writer, suffix in ((zarr_writer, ".zarr"), (fits_writer, ".fits")):
            with writer(path.with_name(path.name + suffix), sphere, layer) as write:
                write(0, on_sphere)
            written.append(path.with_name(path.name + suffix))
        if draw is not None:
            shown = Shown(shot.name, target, photo, photo, shot.x[:3], on_photo[0], on_photo[0])
            written.append(path.with_name(f"{path.name}-colour.png"))
            write_picture(written[-1], draw(shown))
    return written


def _grid(task: Task, shot: Shot, source: Mapping[str, Any]) -> Grid:
    """Where the task sees a photograph of this camera."""
    where = str(source.get("grid", ""))
    if not where.startswith(("camera", "healpix:")) or "frame" not in source:
        raise SourceError(
            f"the run was trained on the source {source.get('name')}, not on photographs; give a run of woodscape or "
            "synwoodscape."
        )
    base_pixels = task.base_pixels or source.get("base_pixels")
    place = FisheyeGrid(
        {shot.name: shot.camera}, where, base_pixels=base_pixels, window=None, crop=source.get("crop"),
        frame=source["frame"],
    )  # fmt: skip
    scene = place.scene(shot.camera)
    if isinstance(scene, CameraGrid):
        row, column = place.start(0)
        height, width = place.space
        return scene.window(row, column, height, width)
    return scene


def _fields(task: Task, grid: Grid, x: np.ndarray, options: PredictOptions) -> dict[str, np.ndarray]:
    """Predictions of a whole photograph on its grid: at once, or by windows of the sphere where the net sees such."""
    predict = on_any_square([task], options.device, options.tta)
    whole = torch.from_numpy(x)[None]
    if not isinstance(grid, HealpixGrid):
        answer = predict(whole, torch.ones(1, *grid.shape, dtype=torch.bool))
        return {name: values[0].float().cpu().numpy() for name, values in answer.items()}
    if task.base_pixels is not None:
        squares = to_squares(whole, grid.nside)
        answer = predict(squares, torch.ones(squares.shape[0], *squares.shape[2:], dtype=torch.bool))
        return {name: to_cells(values)[0].float().cpu().numpy() for name, values in answer.items()}

    def read(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = grid.offsets(ids)
        return np.where(place >= 0, x[:, np.maximum(place, 0)], np.float32(0)), place >= 0

    blocks = list(walk_sphere(read, grid, predict, window=options.window or 64, batch_size=options.batch_size))
    return {name: np.concatenate([block.fields[name] for block in blocks], axis=-1) for name in blocks[0].fields}


def _moved(grid: Grid, there: Grid, target: Target, field: np.ndarray, photo: CameraGrid) -> tuple[Any, Any]:
    """A field on another grid, and where that has a prediction of something that the photograph shows."""
    if there == grid:
        seen = photo.locate(*there.lonlat()) >= 0
        return field, seen
    way: Method = "nearest" if target.is_categorical else "bilinear"
    values, known = resampler(grid, there, way).values(field)
    seen = photo.shown if there == photo else photo.locate(*there.lonlat()) >= 0
    return np.nan_to_num(values), known & seen


def write_layer(path: Path, target: Target, pixels: np.ndarray) -> Path:
    """Classes as a PNG of class numbers (255: none), values as an array of float32 (NaN: none)."""
    if target.is_categorical:
        write_picture(path.with_name(f"{path.name}.png"), pixels)
        return path.with_name(f"{path.name}.png")
    with whole_file(path.with_name(f"{path.name}.npy")) as temporary:
        np.save(temporary, pixels, allow_pickle=False)
    return path.with_name(f"{path.name}.npy")


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Pixels [h, w] or [h, w, 3] uint8 as a PNG, whole or not at all."""
    with whole_file(path) as temporary:
        Image.fromarray(pixels).save(temporary)
