"""Scenes put together from their samples: input, truth, prediction and error, as maps and as one picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from graticule.errors import ConfigError
from graticule.files import whole_file
from graticule.grids import RasterGrid
from graticule.inference.exchange import Canvas
from graticule.inference.layers import Layer, layers_of
from graticule.inference.pictures import display_bands, to_rgb
from graticule.inference.writers import cog_writer
from graticule.schema import IGNORE, Band, LegendClass, Target

_RGB = Layer(
    "rgb", Target("rgb", "image"), "uint8", 0, ("red", "green", "blue"),
    # 0 says that nothing was seen, so what is black becomes 1.
    lambda rgb, seen: np.where(seen, np.maximum(rgb, 1), 0).astype(np.uint8),
)  # fmt: skip
_ERROR = (LegendClass(0, "right", "#d9dddf"), LegendClass(1, "wrong", "#d03b2b"))


@dataclass(frozen=True)
class Restitched:
    """A scene and one target.

    Attributes:
        name: of the scene.
        rgb: what was seen, at the scene's pixels, uint8 [h, w, 3].
        truth: labels uint8 (255 = unknown) or values float32 (NaN = unknown), at the target's cells.
        prediction: as `truth`.
        target: what it is.
    """

    name: str
    rgb: UInt8[np.ndarray, "h w 3"]
    truth: np.ndarray
    prediction: np.ndarray
    target: Target


Draw = Callable[[Restitched], np.ndarray]
"""A scene in, a picture [h, w, 3] uint8 out."""


class Restitch:
    """Writes each scene of an evaluation.

    `<scene>_restitched.png`, and as GeoTIFFs `<scene>-rgb.tif` and for each target `<scene>-<target>.tif` (the
    prediction), `-truth.tif` and `-error.tif`, with one pixel for each cell.

    Args:
        folder: where.
        bands: of the input.
        draw: makes the picture.

    Attributes:
        keep: the bands that a canvas must keep for the picture: red, green and blue, or what stands for them.
    """

    def __init__(self, folder: Path, bands: Sequence[Band], draw: Draw) -> None:
        self.folder, self.draw = folder, draw
        self.keep = display_bands(bands)

    def add(self, name: str, canvas: Canvas) -> list[Path]:
        """Write a scene whose samples are all in; returns the files.

        Raises:
            ConfigError: if the scene is no raster.
            OutputError: if a file cannot be written.
        """
        grid, stem = canvas.grid, name.replace("/", "-")
        if not isinstance(grid, RasterGrid) or canvas.x is None:
            raise ConfigError(
                f"scene '{name}' is no raster, and only windows of rasters are put together to pictures; "
                "set evaluate.restitch=false."
            )
        seen = canvas.blended() > 0
        rgb = to_rgb(canvas.x, seen)
        written = [self._map(f"{stem}-rgb", grid, _RGB, _RGB.encode(np.moveaxis(rgb, -1, 0), seen))]
        for target in canvas.targets:
            layer = layers_of(target)[0]
            prediction = of_cells(layer.encode(canvas.fields[target.name], seen)[0], target)
            truth, cells = of_cells(canvas.truth[target.name], target), grid_of_cells(grid, target)
            mistakes, error = _mistakes(target, truth, prediction)
            for part, how, values in (("", layer, prediction), ("-truth", layer, truth), ("-error", error, mistakes)):
                written.append(self._map(f"{stem}-{target.name}{part}", cells, how, values[None]))
            further = f"-{target.name}" if len(canvas.targets) > 1 else ""
            path = self.folder / f"{stem}{further}_restitched.png"
            with whole_file(path) as temporary:
                Image.fromarray(self.draw(Restitched(name, rgb, truth, prediction, target))).save(temporary)
            written.append(path)
        return written

    def _map(self, name: str, grid: RasterGrid, layer: Layer, pixels: np.ndarray) -> Path:
        path = self.folder / f"{name}.tif"
        with cog_writer(path, grid, layer) as write:
            write(0, pixels)
        return path


def of_cells(values: np.ndarray, target: Target) -> np.ndarray:
    """The pixel in the middle of each cell, for all: [..., h, w] at pixels to [..., h / cell, w / cell]."""
    middle = target.cell // 2
    return np.ascontiguousarray(values[..., middle :: target.cell, middle :: target.cell])


def grid_of_cells(grid: RasterGrid, target: Target) -> RasterGrid:
    """The grid whose pixels are a target's cells.

    Raises:
        ConfigError: if the grid is not one of whole cells.
    """
    cell, (a, b, c, d, e, f) = target.cell, grid.transform
    if grid.height % cell or grid.width % cell:
        raise ConfigError(
            f"a scene of {grid.height} x {grid.width} pixels is not one of whole cells; target '{target.name}' is "
            f"known for cells of {cell} x {cell} pixels."
        )
    return RasterGrid(grid.height // cell, grid.width // cell, (cell * a, cell * b, c, cell * d, cell * e, f), grid.crs)


def _mistakes(target: Target, truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, Layer]:
    """Of labels 0 where right and 1 where wrong; of values the prediction less the truth; and how it is written."""
    if not target.is_categorical:
        return prediction - truth, layers_of(replace(target, name=f"{target.name}-error"))[0]
    known = (truth != IGNORE) & (prediction != IGNORE)
    wrong = np.where(known, truth != prediction, IGNORE).astype(np.uint8)
    return wrong, layers_of(Target(f"{target.name}-error", "binary", _ERROR))[0]
