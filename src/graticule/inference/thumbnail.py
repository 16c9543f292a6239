"""A small picture of a scene beside its map."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from graticule.files import whole_file
from graticule.grids import RasterGrid
from graticule.inference.cleaning import Mapped
from graticule.inference.pictures import display_bands, to_rgb
from graticule.schema import Band, Target

_SIDE = 512
_GAP = 8


class Thumbnail:
    """Keeps every n-th pixel of a scene, so that its longer side has at most 512, and of the map of its first target.

    Args:
        grid: of the scene.
        bands: of the input.
        target: whose map is shown: classes in the colours of the legend, values from dark to bright.
    """

    def __init__(self, grid: RasterGrid, bands: Sequence[Band], target: Target) -> None:
        self.step = max(1, -(-max(grid.shape) // _SIDE))
        self.display, self.target = display_bands(bands), target
        self.rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, piece: Mapped) -> None:
        """Take the next rows."""
        step = self.step
        rows = slice((step // 2 - piece.first) % step, None, step)
        columns = slice(step // 2 if piece.holds.shape[1] > step // 2 else 0, None, step)
        labels = piece.labels.get(self.target.name)
        shown = piece.fields[self.target.name] if labels is None else labels
        kept = piece.x[self.display][:, rows, columns], piece.holds[rows, columns], shown[..., rows, columns]
        self.rows.append(tuple(part.copy() for part in kept))  # type: ignore[arg-type]

    def save(self, path: Path) -> Path:
        """Write the picture as PNG: the scene on the left, its map on the right."""
        x, seen, shown = (np.concatenate([row[n] for row in self.rows], axis=-2) for n in range(3))
        picture = to_rgb(np.where(seen, x, 0), seen)
        gap = np.full((len(picture), _GAP, 3), 255, np.uint8)
        with whole_file(path) as temporary:
            Image.fromarray(np.concatenate([picture, gap, self._coloured(shown, seen)], axis=1)).save(temporary)
        return path

    def _coloured(self, shown: np.ndarray, seen: np.ndarray) -> np.ndarray:
        if self.target.is_categorical:
            palette = np.zeros((256, 3), np.uint8)
            for entry in self.target.legend:
                palette[entry.value] = tuple(bytes.fromhex(entry.colour.lstrip("#")))
            return palette[shown]
        values = shown if shown.ndim == 3 else np.broadcast_to(shown, (3, *shown.shape))
        return to_rgb(np.where(seen, values, 0), seen)
