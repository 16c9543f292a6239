"""How a scene is predicted, and what is written of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import lcm
from typing import Any, Literal

from graticule.errors import GridError
from graticule.grids import Grid
from graticule.inference.cleaning import Cleaning
from graticule.inference.layers import Probabilities
from graticule.schema import Target

Format = Literal["cog", "zarr", "fits"]
Kind = Literal["objects", "extent", "thumbnail", "stac"]
"""Products beside the maps. `objects`: their outlines and statistics; `extent`: where the map holds; `thumbnail`: a
small picture; `stac`: the item that describes all of them."""


@dataclass(frozen=True)
class PredictOptions(Cleaning):
    """How a scene is predicted and what is written; what is taken away of a raster's map, see `Cleaning`.

    Attributes:
        window: side of a window; None takes 256 on rasters and 64 on HEALPix.
        overlap: pixels that windows on a raster share (on HEALPix a quarter of the window is halo on each side).
        reflection: pixels by which a raster is mirrored outwards, so that its edge is not the edge of a window.
        batch_size: windows per step.
        tta: mean over the eight flips and quarter turns of each window; eight times the cost.
        probabilities: write those of each class too, as uint8 (1/250) or float32.
        products: beside the maps (see `Kind`); None takes those that fit the grid and the targets.
        formats: "cog" for rasters, "zarr" and "fits" for HEALPix; None takes what the grid allows.
        device: where the net runs, as torch names it.
        overview: write `overview.npz`, the scene at a glance for the report.
        progress: show a progress bar.
    """

    window: int | None = None
    overlap: int = 32
    reflection: int = 0
    batch_size: int = 8
    tta: bool = False
    probabilities: Probabilities = "none"
    products: tuple[Kind, ...] | None = ()
    formats: tuple[Format, ...] | None = None
    device: str = "cpu"
    overview: bool = True
    progress: bool = True

    def told(self) -> dict[str, Any]:
        """The options on which the products depend, as plain data."""
        aside = ("batch_size", "device", "overview", "progress")
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in aside
        }


def on_whole_cells(options: PredictOptions, targets: Sequence[Target], grid: Grid) -> PredictOptions:
    """The options with windows, overlaps and reflections of whole cells, where a target is known for cells only.

    Raises:
        GridError: if the scene is not one of whole cells.
    """
    cell = lcm(*(target.cell for target in targets))
    if cell == 1:
        return options
    if any(side % cell for side in grid.shape):
        shape = " x ".join(map(str, grid.shape))
        raise GridError(
            f"a scene of {shape} pixels is not one of whole cells, and the model predicts cells of {cell} x {cell} "
            "pixels; give a scene whose sides are multiples of that."
        )

    def whole(pixels: int) -> int:
        return -(-pixels // cell) * cell

    window = min(whole(options.window or 256), max(grid.shape))
    overlap = min(whole(options.overlap), (window // cell // 2) * cell)
    return replace(options, window=window, overlap=overlap, reflection=whole(options.reflection))
