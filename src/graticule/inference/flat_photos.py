"""Everyday photographs in, files out: classes, masks and depth at the photograph's own pixels, whatever its size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from graticule.errors import SourceError
from graticule.grids import CameraGrid
from graticule.inference.evaluate import Draw
from graticule.inference.framing import at_size, size_shown
from graticule.inference.gallery import Shown
from graticule.inference.layers import layers_of
from graticule.inference.photo_files import write_layer, write_picture
from graticule.inference.predict import PredictOptions, Task, on_any_square

_MULTIPLE = 32
"""Nets halve their input up to five times."""


def predict_flat(
    task: Task, name: str, photo: UInt8[np.ndarray, "h w 3"], source: Mapping[str, Any], folder: Path,
    options: PredictOptions, draw: Draw,
) -> list[Path]:  # fmt: skip
    """Predict a photograph of any size as large as the net has seen photographs, and write it at its own size.

    Of each target `<name>-<target>.png` (classes) or `.npy` (values), and `<name>-<target>-colour.png` to look at.

    Args:
        task: that predicts.
        name: of the photograph, and so of the files.
        photo: its colours.
        source: the options of the source `photos` with which the task's samples were prepared.
        folder: where the files go.
        options: device and test-time augmentation.
        draw: makes the picture in colours.

    Raises:
        SourceError: if the task sees other bands than red, green and blue.
        OutputError: if a file cannot be written.
    """
    names = [band.name for band in task.bands]
    if names != ["red", "green", "blue"]:
        raise SourceError(f"the run sees the bands {', '.join(names)}; a photograph has red, green and blue.")
    fields = _fields(task, photo, source, options)
    height, width = photo.shape[:2]
    camera = CameraGrid.pinhole(height, width, max(height, width))
    written = []
    for layer in [layer for target in task.targets for layer in layers_of(target)]:
        path = folder / f"{name}-{layer.name}"
        pixels = layer.encode(fields[layer.target.name], np.ones((height, width), np.bool_))[0]
        written.append(write_layer(path, layer.target, pixels))
        shown = Shown(name, layer.target, camera, camera, np.moveaxis(photo, -1, 0), pixels, pixels)
        written.append(path.with_name(f"{path.name}-colour.png"))
        write_picture(written[-1], draw(shown))
    return written


def _fields(
    task: Task, photo: UInt8[np.ndarray, "h w 3"], source: Mapping[str, Any], options: PredictOptions
) -> dict[str, np.ndarray]:
    """Predictions at the photograph's pixels, [k, h, w] or [h, w] by target: values between those of the net's."""
    size = photo.shape[0], photo.shape[1]
    high, wide = size_shown(size, tuple(source["size"]), whole=source.get("fit") == "whole")
    small = np.asarray(Image.fromarray(photo).resize((wide, high), Image.Resampling.BILINEAR))
    low, right = -high % _MULTIPLE, -wide % _MULTIPLE
    x = np.pad(small, ((0, low), (0, right), (0, 0)), mode="edge")
    batch = torch.from_numpy(np.moveaxis(x, -1, 0).astype(np.float32))[None]
    answer = on_any_square([task], options.device, options.tta)(batch, torch.ones(1, *x.shape[:2], dtype=torch.bool))
    return {name: at_size(values.float().cpu()[..., :high, :wide], size)[0].numpy() for name, values in answer.items()}
