"""From windows to a field: overlapping windows of a raster, blended strip by strip.

Only a strip as high as one window is ever kept, so that memory does not grow with the height of the scene. Each pixel
of the scene is read once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Num
from torch import Tensor

from graticule.errors import GridError
from graticule.grids.windows import partition, ramp, starts

Predict = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""x float32 [b, c, h, w] and seen bool [b, h, w] in; for each target [b, k, h, w] or [b, h, w] out."""

Read = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
"""(row, col, height, width) in; x [c, height, width] and seen bool [height, width] out."""


@dataclass(frozen=True)
class Strip:
    """Finished rows of a scene, over its whole width.

    Attributes:
        row: the first row.
        x: what was read, [c, rows, width].
        seen: where there was input, [rows, width].
        fields: for each target float32 [k, rows, width] or [rows, width]; without meaning where nothing was seen.
    """

    row: int
    x: Num[np.ndarray, "c rows width"]
    seen: Bool[np.ndarray, "rows width"]
    fields: dict[str, Float32[np.ndarray, "*k rows width"]]


@dataclass(frozen=True)
class Line:
    """How windows cover one axis: where each starts, and its blending weights. A start may lie beyond the end."""

    starts: Sequence[int]
    weights: Sequence[np.ndarray]


def line(length: int, window: int, overlap: int) -> Line:
    """Windows along an axis with two ends: the last one is shifted inside."""
    return Line(starts(length, window, overlap), partition(length, window, overlap))


def circle(length: int, window: int, overlap: int) -> Line:
    """Windows along an axis whose end borders its start: evenly spread, the last ones go on at the start.

    Raises:
        GridError: if windows would not advance.
    """
    if length <= window:
        return line(length, window, overlap)
    starts(length, window, overlap)  # refuses windows that do not advance
    count = -(-length // (window - overlap))
    places = [number * length // count for number in range(count)]
    shared = [window - (following - place) for place, following in zip(places, [*places[1:], length], strict=True)]
    weights = [ramp(window, min(shared), first=False, last=False) for _ in places]
    total = np.zeros(length)
    for place, own in zip(places, weights, strict=True):
        np.add.at(total, np.arange(place, place + window) % length, own)
    return Line(
        places, [own / total[np.arange(p, p + window) % length] for p, own in zip(places, weights, strict=True)]
    )


def stitch(
    read: Read,
    shape: tuple[int, int],
    predict: Predict,
    *,
    window: int = 256,
    overlap: int = 32,
    batch_size: int = 8,
    wraps: bool = False,
) -> Iterator[Strip]:
    """Predict a whole scene, from the top, in strips.

    Windows overlap and are blended by weights that add to 1 at every pixel, so that an identity comes back as it was.
    The last windows are shifted inside; a scene smaller than a window is mirrored outwards, and cropped. Windows in
    which nothing is seen are not predicted.

    Args:
        read: reads a window of the scene; called from one other thread, ahead of the net, always over all columns.
        shape: (height, width) of the scene.
        predict: windows in, fields out.
        window: side of a window in pixels.
        overlap: pixels that neighbouring windows share at least.
        batch_size: windows that are predicted together.
        wraps: the last column borders the first; windows then cross that border.

    Raises:
        GridError: if the overlap is not less than the window.
    """
    if batch_size < 1:
        raise GridError(f"the batch size is {batch_size}; it must be at least 1.")
    height, width = shape
    rows = line(height, window, overlap)
    columns = (circle if wraps else line)(width, window, overlap)
    span = min(window, height)
    with ThreadPoolExecutor(1, thread_name_prefix="graticule-read") as pool:
        ahead = pool.submit(read, 0, 0, span, width)
        kept: _Kept | None = None
        for number, row in enumerate(rows.starts):
            x, seen = ahead.result()
            last = number == len(rows.starts) - 1
            done = span if last else rows.starts[number + 1] - row
            if not last:
                ahead = pool.submit(read, row + span, 0, done, width)
            if kept is None:
                kept = _Kept(x, seen, window, overlap)
            else:
                kept.append(x, seen)
            _blend_row(kept, predict, columns, rows.weights[number], batch_size)
            yield kept.take(row, done)


class _Kept:
    """The rows of the scene that windows still need: input, and fields under way."""

    def __init__(self, x: np.ndarray, seen: np.ndarray, window: int, overlap: int) -> None:
        self.x, self.seen, self.window = x, seen, window
        # Where very many windows add to a pixel, rounding would too.
        self.dtype = np.float32 if overlap <= window // 2 else np.float64
        self.fields: dict[str, np.ndarray] = {}
        # A scene smaller than a window is mirrored at its edges as often as it takes.
        self.row_index = np.pad(np.arange(x.shape[1]), (0, window - x.shape[1]), mode="reflect")

    def append(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Add rows below; as many have been taken above before."""
        self.x, self.seen = np.concatenate([self.x, x], axis=1), np.concatenate([self.seen, seen])

    def take(self, row: int, done: int) -> Strip:
        """Give the first `done` rows away, and make room for as many below."""
        finished = {name: field[..., :done, :].astype(np.float32) for name, field in self.fields.items()}
        strip = Strip(row, self.x[:, :done], self.seen[:done], finished)
        self.x, self.seen = self.x[:, done:], self.seen[done:]
        for field in self.fields.values():
            field[..., : field.shape[-2] - done, :] = field[..., done:, :]
            field[..., field.shape[-2] - done :, :] = 0
        return strip

    def columns(self, start: int) -> np.ndarray:
        """The columns of the window at `start`: round the circle, or mirrored if the scene is narrower."""
        width = self.x.shape[2]
        if width < self.window:
            return np.pad(np.arange(width), (0, self.window - width), mode="reflect")
        return np.arange(start, start + self.window) % width

    def add(self, name: str, values: np.ndarray, start: int) -> None:
        """Add weighted values [*k, window, window] of the window at column `start`."""
        rows, width = self.x.shape[1:]
        if name not in self.fields:
            self.fields[name] = np.zeros((*values.shape[:-2], rows, width), self.dtype)
        field, straight = self.fields[name], min(self.window, width - start)
        field[..., start : start + straight] += values[..., :rows, :straight]
        if straight < self.window and width >= self.window:
            field[..., : self.window - straight] += values[..., :rows, straight:]


def _blend_row(kept: _Kept, predict: Predict, columns: Line, row_weights: np.ndarray, batch_size: int) -> None:
    """Predict all windows of one row of windows and add them, weighted."""
    places = [kept.columns(start) for start in columns.starts]
    wanted = [n for n, place in enumerate(places) if kept.seen[:, place].any()]
    if not kept.fields and not wanted:
        wanted = [0]  # the first answer tells which fields there are
    for first in range(0, len(wanted), batch_size):
        numbers = wanted[first : first + batch_size]
        x = np.empty((len(numbers), len(kept.x), kept.window, kept.window), np.float32)
        seen = np.empty((len(numbers), kept.window, kept.window), np.bool_)
        for slot, number in enumerate(numbers):
            x[slot] = _cut(kept.x, kept.row_index, places[number])
            seen[slot] = _cut(kept.seen[None], kept.row_index, places[number])[0]
        across = np.stack([columns.weights[number] for number in numbers])
        weights = torch.from_numpy((row_weights[:, None] * across[:, None, :]).astype(np.float32))
        for name, values in predict(torch.from_numpy(x), torch.from_numpy(seen)).items():
            lead = (len(numbers), *[1] * (values.ndim - 3), kept.window, kept.window)
            weighted = (values * weights.to(values.device).view(lead)).float().cpu().numpy()
            for slot, number in enumerate(numbers):
                kept.add(name, weighted[slot], columns.starts[number])


def _cut(array: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pixels at `rows` and `columns`, as a view where they are one run."""
    if len(rows) == array.shape[1] and columns[-1] - columns[0] == len(columns) - 1 and columns[-1] > columns[0]:
        return array[:, :, columns[0] : columns[-1] + 1]
    return array[:, rows[:, None], columns]
