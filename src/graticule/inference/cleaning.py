"""What counts of a scene, and what is left of its map: quality, erosion, small objects; strip by strip.

All of it is local: what becomes of a pixel depends on rows at most so far away as the erosion reaches and the largest
object that is too small. So strips wait for as many rows below, and memory does not grow with the scene.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Num, UInt8
from scipy import ndimage

from graticule.grids import RasterGrid
from graticule.inference.erosion import eroded
from graticule.inference.layers import labels_of
from graticule.inference.objects import EIGHT
from graticule.inference.stitch import Strip
from graticule.schema import IGNORE, Target

Quality = Callable[[int, int, int, int], np.ndarray]
"""(row, col, height, width) in; uint8 [height, width] out: 0 invalid, 1 low, 2 high."""


@dataclass(frozen=True)
class Cleaning:
    """What is taken away.

    Attributes:
        quality_level: pixels below it do not count, where a scene tells its quality: 1 low, 2 high; 0 takes all.
        mask_erosion_size: pixels so near to one that does not count do not count either; radius of a disc.
        edge_erosion_size: nor do so many rows and columns at the edge of the scene; as mask_erosion_size if None.
        min_object_size: smaller objects of binary targets become class 0; in pixels.
        binarization_threshold: class 1 of a binary target is where its probability is at least so high.
    """

    quality_level: int = 1
    mask_erosion_size: int = 0
    edge_erosion_size: int | None = None
    min_object_size: int = 0
    binarization_threshold: float = 0.5

    @property
    def edge(self) -> int:
        """Rows and columns at the edge that do not count."""
        return self.mask_erosion_size if self.edge_erosion_size is None else self.edge_erosion_size


@dataclass(frozen=True)
class Mapped:
    """Finished rows of a raster, or finished cells of a sphere, with their maps.

    Attributes:
        first: the first row, or the offset of the first cell.
        x: what was read, [c, *space].
        holds: where the map holds: there was input, and nothing took it away.
        fields: for each target float32 [k, *space] or [*space]; without meaning where the map does not hold.
        labels: of each categorical target, 255 where the map does not hold.
    """

    first: int
    x: Num[np.ndarray, "c *space"]
    holds: Bool[np.ndarray, "*space"]
    fields: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def labelled(
    first: int, x: np.ndarray, holds: np.ndarray, fields: dict[str, np.ndarray], targets: Sequence[Target],
    threshold: float,
) -> Mapped:  # fmt: skip
    """Pixels with the classes of all categorical targets."""
    labels = {
        target.name: np.where(holds, labels_of(fields[target.name], threshold), np.uint8(IGNORE))
        for target in targets
        if target.is_categorical
    }
    return Mapped(first, x, holds, fields, labels)


def mapped(
    strips: Iterable[Strip], grid: RasterGrid, targets: Sequence[Target], cleaning: Cleaning,
    quality: Quality | None = None,
) -> Iterator[Mapped]:  # fmt: skip
    """The strips of a scene with their maps, cleaned; every row once, from the top.

    Args:
        strips: of the scene, from the top.
        grid: the scene's.
        targets: whose classes are told.
        cleaning: what is taken away.
        quality: of the scene, where it is known.
    """
    near = max(0, cleaning.min_object_size - 1) if any(target.kind == "binary" for target in targets) else 0
    halo = near + cleaning.mask_erosion_size
    kept: Strip | None = None
    begin = 0
    for strip in strips:
        rows = len(strip.seen)
        if quality is not None and cleaning.quality_level:
            good = quality(strip.row, 0, rows, grid.width) >= cleaning.quality_level
            strip = replace(strip, seen=strip.seen & good)
        kept = strip if kept is None else _joined(kept, strip)
        end = strip.row + rows
        upto = end if end == grid.height else end - halo
        if upto <= begin:
            continue
        yield _cleaned(kept, begin, upto, grid, targets, cleaning, near)
        begin = upto
        kept = _part(kept, max(kept.row, begin - halo), end) if halo else None


def _joined(above: Strip, below: Strip) -> Strip:
    return Strip(
        above.row,
        np.concatenate([above.x, below.x], axis=1),
        np.concatenate([above.seen, below.seen]),
        {name: np.concatenate([field, below.fields[name]], axis=-2) for name, field in above.fields.items()},
    )


def _part(strip: Strip, first: int, last: int) -> Strip:
    """The rows of a strip from `first` to before `last`."""
    rows = slice(first - strip.row, last - strip.row)
    fields = {name: field[..., rows, :] for name, field in strip.fields.items()}
    return Strip(first, strip.x[:, rows], strip.seen[rows], fields)


def _cleaned(
    kept: Strip, begin: int, upto: int, grid: RasterGrid, targets: Sequence[Target], cleaning: Cleaning, near: int
) -> Mapped:
    """The rows from `begin` to before `upto`; `kept` has those that they depend on, too."""
    holds = eroded(kept.seen, cleaning.mask_erosion_size, wraps=grid.wraps)
    _take_edges(holds, kept.row, grid, cleaning.edge)
    around = _part(replace(kept, seen=holds), max(kept.row, begin - near), min(kept.row + len(holds), upto + near))
    found = labelled(around.row, around.x, around.seen, around.fields, targets, cleaning.binarization_threshold)
    for target in targets:
        if target.kind == "binary" and near:
            _sieve(found.labels[target.name], cleaning.min_object_size, grid.wraps)
    rows = slice(begin - around.row, upto - around.row)
    fields = {name: field[..., rows, :] for name, field in found.fields.items()}
    labels = {name: own[rows] for name, own in found.labels.items()}
    return Mapped(begin, found.x[:, rows], found.holds[rows], fields, labels)


def _take_edges(holds: Bool[np.ndarray, "rows width"], row: int, grid: RasterGrid, size: int) -> None:
    """Let the rows and columns at the edge of the scene not hold; round the Earth there are no edge columns."""
    if size < 1:
        return
    holds[: max(0, size - row)] = False
    holds[max(0, grid.height - size - row) :] = False
    if not grid.wraps:
        holds[:, :size] = holds[:, -size:] = False


def _sieve(labels: UInt8[np.ndarray, "rows width"], size: int, wraps: bool) -> None:
    """Make class 0 of objects of class 1 that have fewer than `size` pixels."""
    around = min(size, labels.shape[1]) if wraps else 0
    mask = labels == 1
    if around:
        mask = np.concatenate([mask[:, -around:], mask, mask[:, :around]], axis=1)
    found, count = ndimage.label(mask, EIGHT)
    if count == 0:
        return
    small = np.bincount(found.reshape(-1)) < size
    small[0] = False
    labels[small[found[:, around : around + labels.shape[1]]]] = 0
