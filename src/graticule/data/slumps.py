"""A simulated tundra with retrogressive thaw slumps whose outlines are known: relief, colours and trends.

A slump is a hollow of bare soil. There are hollows that are green, and bare spots that are level: only relief and
colour together tell a slump. A stand-in for tests and for trying; nothing in it was measured.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy.random import Generator, Philox
from shapely import Polygon

CELL = 640.0
"""Metres: each square of this width has one feature or none, which does not reach beyond it."""
BANDS = ("blue", "green", "red", "nir")

NOTHING, SLUMP, BARE, HOLLOW = range(4)
_SHARES = (0.3, 0.35, 0.2, 0.15)
_TUNDRA = np.array([0.04, 0.07, 0.06, 0.30])
_SOIL = np.array([0.09, 0.12, 0.16, 0.22])
_TREND = np.array([[110.0, 150.0, 130.0], [190.0, 70.0, 160.0]])
"""Tasseled-Cap trends (brightness, greenness, wetness) of tundra and of soil that is newly bare."""
_CORNERS = 48

Plane = Float64[np.ndarray, "*points"]
Square = np.ndarray | np.int64
"""Row or column of one square, or of many."""


@dataclass(frozen=True)
class SlumpWorld:
    """A plane of squares, with x to the east and y to the north in metres from its lower left corner.

    Attributes:
        seed: of all that is drawn.
        rows: squares along y.
        columns: squares along x.
    """

    seed: int
    rows: int
    columns: int

    @cached_property
    def _drawn(self) -> Float64[np.ndarray, "8 rows columns"]:
        """Numbers in [0, 1) for every square: a function of the seed and the square alone."""
        numbers = np.empty((8, self.rows, self.columns))
        for row in range(self.rows):
            for column in range(self.columns):
                numbers[:, row, column] = Generator(Philox(key=[self.seed, 301], counter=[0, 0, row, column])).random(8)
        return numbers

    @cached_property
    def kind(self) -> np.ndarray:
        """What each square has, [rows, columns]: `NOTHING`, `SLUMP`, `BARE` or `HOLLOW`."""
        return np.searchsorted(np.cumsum(_SHARES)[:-1], self._drawn[0], side="right")

    @cached_property
    def _waves(self) -> Float64[np.ndarray, "7 4"]:
        """Of the hills: amplitude, wave numbers in x and y, phase."""
        drawn = Generator(Philox(key=[self.seed, 302])).random((7, 3))
        length = np.geomspace(700, 6000, 7)
        turn = 2 * np.pi * drawn[:, 0]
        wave = 2 * np.pi / length
        return np.stack([length / 90, wave * np.cos(turn), wave * np.sin(turn), 2 * np.pi * drawn[:, 1]], axis=1)

    def heights(self, x: Plane, y: Plane) -> Plane:
        """Metres above the sea."""
        hills = sum(a * np.sin(p * x + q * y + phase) for a, p, q, phase in self._waves)
        kind, place, row, column = self._place(x, y)
        depth = 5 + 7 * self._drawn[5, row, column]
        hollow = np.where((kind == SLUMP) | (kind == HOLLOW), depth * np.clip(1 - place**4, 0, 1), 0)
        return 120 + hills - hollow

    def bareness(self, x: Plane, y: Plane) -> Plane:
        """0 for tundra to 1 for bare soil."""
        kind, place, _, _ = self._place(x, y)
        return np.where((kind == SLUMP) | (kind == BARE), np.clip((1.05 - place) * 10, 0, 1), 0)

    def reflectance(self, x: Plane, y: Plane) -> Float64[np.ndarray, "4 *points"]:
        """Of blue, green, red and near infrared, without noise."""
        texture = 1 + 0.08 * np.sin(x / 37) * np.sin(y / 53) + 0.06 * np.sin((x + 2 * y) / 311)
        bare = self.bareness(x, y)
        return np.stack([(t + (s - t) * bare) * texture for t, s in zip(_TUNDRA, _SOIL, strict=True)])

    def trends(self, x: Plane, y: Plane) -> Float64[np.ndarray, "3 *points"]:
        """Tasseled-Cap trends of brightness, greenness and wetness, 0 to 255."""
        bare = self.bareness(x, y)
        return np.stack([t + (s - t) * bare for t, s in zip(*_TREND, strict=True)])

    def is_slump(self, x: Plane, y: Plane) -> Bool[np.ndarray, "*points"]:
        """The truth."""
        kind, place, _, _ = self._place(x, y)
        return (kind == SLUMP) & (place < 1)

    def outlines(self) -> list[Polygon]:
        """The slumps as polygons of 48 corners that lie on their edges."""
        angle = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
        found = []
        for row, column in np.argwhere(self.kind == SLUMP):
            x, y = self._middle(row, column)
            radius = self._radius(angle, row, column)
            found.append(Polygon(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)))
        return found

    def _place(self, x: Plane, y: Plane) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Kind of the square, distance from the feature's middle over that of its edge, row and column."""
        row = np.clip((y // CELL).astype(int), 0, self.rows - 1)
        column = np.clip((x // CELL).astype(int), 0, self.columns - 1)
        middle_x, middle_y = self._middle(row, column)
        east, north = x - middle_x, y - middle_y
        place = np.hypot(east, north) / self._radius(np.arctan2(north, east), row, column)
        return self.kind[row, column], place, row, column

    def _middle(self, row: Square, column: Square) -> tuple[Any, Any]:
        shift = (self._drawn[1:3, row, column] - 0.5) * 180
        return (column + 0.5) * CELL + shift[0], (row + 0.5) * CELL + shift[1]

    def _radius(self, angle: np.ndarray, row: Square, column: Square) -> np.ndarray:
        _, _, _, size, turn, _, lobes, _ = self._drawn[:, row, column]
        wobble = 0.2 * np.sin(2 * angle + 6.3 * turn) + 0.1 * np.sin(3 * angle + 6.3 * lobes)
        return (70 + 90 * size) * (1 + wobble)
