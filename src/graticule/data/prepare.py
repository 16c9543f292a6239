"""From a source to a store: the one way in which data of any kind is prepared."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graticule.data.shards import Codec
from graticule.data.store import Store, StoreWriter
from graticule.grids import Grid, HealpixGrid, RasterGrid
from graticule.schema import Band, Target

T = TypeVar("T")
Sample = tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]
"""`x` [bands, *space], the targets' arrays by name ([*space] each), and the metadata row (see `StoreWriter.append`)."""


@runtime_checkable
class RasterScene(Protocol):
    """A whole scene on a raster, read window by window: what prediction walks over."""

    @property
    def grid(self) -> RasterGrid:
        """The scene's grid."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The channels, in order."""

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x [bands, height, width], and where the scene has input (bool [height, width]).

        A window may reach outside the scene, and values may be missing there or inside: x is then NaN or the band's
        nodata, or anything where it is not seen. Columns of a grid that spans all longitudes go on round the Earth.
        """


@runtime_checkable
class HealpixScene(Protocol):
    """A whole scene on the HEALPix sphere, read by cells."""

    @property
    def grid(self) -> HealpixGrid:
        """The scene's grid."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The channels, in order."""

    def cells(self, ids: np.ndarray) -> np.ndarray:
        """The input x [bands, *ids.shape] of the nested cells `ids`; 0 where an id is -1."""


@runtime_checkable
class Source(Protocol):
    """Reads one published kind of data."""

    name: str

    @property
    def bands(self) -> tuple[Band, ...]:
        """The channels of x, in order."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is known per pixel."""

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of a sample's pixels: (h, w) or (cells,)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of x, as the sensor gave it."""

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut, as plain data."""

    @property
    def n_samples(self) -> int | None:
        """How many samples there will be, if that is known (for the progress bar)."""

    def options(self) -> dict[str, Any]:
        """Everything needed to make this source again, as plain data."""

    def scenes(self) -> dict[str, Grid]:
        """The grids that samples are windows of, by name."""

    def samples(self) -> Iterator[Sample]:
        """All samples, always in the same order."""

    def read_scene(self, scene: str) -> RasterScene | HealpixScene:
        """A reader of a whole scene."""

    def truth(self, scene: str) -> dict[str, np.ndarray] | None:
        """The targets' arrays over the whole scene, if they are known."""


def prepare(
    source: Source, path: Path | str, overwrite: bool = False, progress: bool = True, codec: Codec = "none"
) -> Store:
    """Write all samples of `source` to a store at `path`, and open it.

    Args:
        source: what to read.
        path: folder of the store. It appears whole, at the end, or not at all.
        overwrite: replace a folder that exists.
        progress: show a progress bar (plain lines when the output is not a terminal).
        codec: `none` reads at the speed of a memcpy; `zstd` makes the store smaller.

    Raises:
        OutputError: if `path` exists, the disk is full, and the like.
        StoreError: if a sample does not fit what the source declares.
        SourceError: if the input is missing or damaged.
    """
    path = Path(path)
    writer = StoreWriter(
        path,
        bands=source.bands,
        targets=source.targets,
        scenes=source.scenes(),
        window=source.window,
        source=source.name,
        source_options=source.options(),
        space=source.space,
        dtype=source.dtype,
        overwrite=overwrite,
        codec=codec,
    )
    with writer:
        for x, arrays, row in counted(source.samples(), source.n_samples, f"Preparing {path.name}", progress):
            writer.append(x, arrays, row)
    return Store.open(path)


def counted(items: Iterator[T], total: int | None, title: str, show: bool, what: str = "samples") -> Iterator[T]:
    """The items, told as they pass: a bar on a terminal, else a line at every tenth."""
    console = Console(stderr=True)
    if not show:
        yield from items
    elif console.is_terminal:
        columns: Sequence[Any] = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            yield from bar.track(items, total=total, description=title)
    else:
        step = max(1, (total or 1000) // 10)
        count = 0
        for count, item in enumerate(items, 1):
            yield item
            if count % step == 0:
                console.print(f"{title}: {count}" + (f" of {total}" if total else ""), highlight=False)
        console.print(f"{title}: {count} {what} written", highlight=False)
