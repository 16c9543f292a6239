"""From a reader to finished pieces of its scene: strips of a raster, blocks of a sphere, with their maps."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graticule.data.missing import may_miss, seen_pixels
from graticule.errors import SourceError, nearest
from graticule.grids import HealpixGrid, RasterGrid
from graticule.grids.windows import starts
from graticule.inference.cleaning import Mapped, labelled, mapped
from graticule.inference.healpix import core_of, walk_sphere, whole_faces
from graticule.inference.options import PredictOptions
from graticule.inference.stitch import Predict, Read, Strip, stitch
from graticule.schema import Band, Target


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


def walk(
    reader: Any, places: list[int] | None, predict: Predict, options: PredictOptions, targets: Sequence[Target],
    base_pixels: tuple[int, ...] | None,
) -> tuple[int, Iterator[Mapped]]:  # fmt: skip
    """How many pieces a scene will have, and the pieces.

    Args:
        reader: of the scene.
        places: of the bands to be read, see `pick_bands`.
        predict: squares in, fields out.
        options: windows, and what is taken away of the map.
        targets: whose classes are told.
        base_pixels: that the net sees at once, if it does.
    """
    if isinstance(reader.grid, HealpixGrid):
        return _sphere(reader, places, predict, options, targets, base_pixels)
    grid: RasterGrid = reader.grid
    window, margin = options.window or 256, options.reflection
    overlap, wraps = min(options.overlap, window // 2), isinstance(grid, RasterGrid) and grid.wraps

    def read(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return _picked(reader.bands, places, *reader.read(row, col, height, width))

    aside = 0 if wraps else margin
    shape = grid.height + 2 * margin, grid.width + 2 * aside
    strips = stitch(
        _mirrored(read, grid.shape, margin, aside) if margin else read, shape, predict, window=window,
        overlap=overlap, batch_size=options.batch_size, wraps=wraps,
    )  # fmt: skip
    if margin:
        strips = _inside(strips, grid.shape, margin, aside)
    count = len(starts(shape[0], window, overlap))
    return count, mapped(strips, grid, targets, options, getattr(reader, "quality", None))


def _sphere(
    reader: Any, places: list[int] | None, predict: Predict, options: PredictOptions, targets: Sequence[Target],
    base_pixels: tuple[int, ...] | None,
) -> tuple[int, Iterator[Mapped]]:  # fmt: skip
    grid, window = reader.grid, options.window or 64

    def read(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _picked(reader.bands, places, reader.cells(ids), ids >= 0)

    if base_pixels is not None:
        count, blocks = 1, whole_faces(read, grid, predict, base_pixels)
    else:
        core, _ = core_of(grid, window)
        count = -(-grid.size // (core * core * options.batch_size))
        blocks = walk_sphere(read, grid, predict, window=window, batch_size=options.batch_size)
    threshold = options.binarization_threshold
    return count, (labelled(b.start, b.x, b.seen, b.fields, targets, threshold) for b in blocks)


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


def _mirrored(read: Read, shape: tuple[int, int], down: int, aside: int) -> Read:
    """A reader of a scene that is mirrored outwards by `down` rows and `aside` columns; it reads all columns."""
    rows, columns = (
        np.pad(np.arange(length), by, mode="reflect") for length, by in zip(shape, (down, aside), strict=True)
    )

    def read_mirrored(row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        wanted = rows[row : row + height]
        first = int(wanted.min())
        x, seen = read(first, 0, int(wanted.max()) + 1 - first, shape[1])
        return x[:, wanted - first][:, :, columns], seen[wanted - first][:, columns]

    return read_mirrored


def _inside(strips: Iterator[Strip], shape: tuple[int, int], down: int, aside: int) -> Iterator[Strip]:
    """The strips without what was mirrored."""
    columns = slice(aside, aside + shape[1])
    for strip in strips:
        first, last = strip.row - down, strip.row - down + len(strip.seen)
        rows = slice(max(0, -first), len(strip.seen) - max(0, last - shape[0]))
        if rows.stop > rows.start:
            fields = {name: field[..., rows, columns] for name, field in strip.fields.items()}
            yield Strip(max(0, first), strip.x[:, rows, columns], strip.seen[rows, columns], fields)
