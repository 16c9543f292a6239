"""Which photographs of an evaluation are drawn: the first ones, the best and the worst."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from graticule.errors import ConfigError, nearest
from graticule.grids import CameraGrid, Grid
from graticule.inference.layers import labels_of
from graticule.inference.photographs import Photograph
from graticule.inference.pictures import display_bands
from graticule.schema import IGNORE, Band, Target

_FALLING = ("mse", "silog", "irmse", "relae", "relse", "chamfer")
_DEFAULT = {True: "iou_ignored", False: "mse"}


@dataclass(frozen=True)
class Shown:
    """One photograph with prediction and truth of one target, as pixels [*space] (255 or NaN where unknown).

    `x` is [3, *space], `caption` a short text for the file's name, such as `00000_FV-iou_ignored-0.5321`.
    """

    caption: str
    target: Target
    grid: Grid
    camera: CameraGrid
    x: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class Gallery:
    """Keeps few photographs while many pass.

    Args:
        first: how many to keep as they come.
        top: how many of the best, and of the worst, to keep.
        ranking: the measure that says which are; that of the first target if None (`iou_ignored`, or `mse`).
        targets: the one with this measure is shown.
        bands: of x.

    Raises:
        ConfigError: if no target has the measure.
    """

    def __init__(
        self, first: int, top: int, ranking: str | None, targets: Sequence[Target], bands: Sequence[Band]
    ) -> None:
        self.first, self.top, self.display = first, top, display_bands(bands)
        self.ranking = ranking or _DEFAULT[targets[0].is_categorical]
        falling = self.ranking in _FALLING
        self.sign = -1.0 if falling else 1.0
        fitting = [target for target in targets if target.is_categorical != falling]
        if not fitting:
            able = _FALLING if not targets[0].is_categorical else ("acc", "acc_ignored", "iou", "iou_ignored")
            raise ConfigError(f"evaluate.ranking is '{self.ranking}'; {nearest(self.ranking, able)}")
        self.target = fitting[0]
        self.kept: list[Shown] = []
        self._number = count()
        self._best: list[tuple[float, int, Shown]] = []
        self._worst: list[tuple[float, int, Shown]] = []

    @property
    def is_open(self) -> bool:
        """Whether anything is kept."""
        return self.first > 0 or self.top > 0

    def add(self, photo: Photograph, measures: Mapping[str, Mapping[str, float]]) -> None:
        """Look at a photograph and its own measures."""
        score = measures[self.target.name].get(self.ranking, np.nan)
        worth = self.sign * score
        wanted = self.top and not np.isnan(score)
        is_best = wanted and (len(self._best) < self.top or worth > self._best[0][0])
        is_worst = wanted and (len(self._worst) < self.top or -worth > self._worst[0][0])
        if len(self.kept) >= self.first and not is_best and not is_worst:
            return
        shown = self._shown(photo, score)
        if len(self.kept) < self.first:
            self.kept.append(shown)
        for heap, value, chosen in ((self._best, worth, is_best), (self._worst, -worth, is_worst)):
            if chosen:
                # Earlier photographs win between equals: their numbers are higher.
                heapq.heappush(heap, (value, -next(self._number), shown))
                if len(heap) > self.top:
                    heapq.heappop(heap)

    def _shown(self, photo: Photograph, score: float) -> Shown:
        name, unknown = self.target.name, np.uint8(IGNORE) if self.target.is_categorical else np.float32(np.nan)
        field = photo.fields[name]
        prediction = labels_of(field) if self.target.is_categorical else field.astype(np.float32)
        there = photo.mask & np.isfinite(field).reshape(-1, *photo.grid.shape).all(axis=0)
        x = np.zeros((3, *photo.grid.shape), np.uint8) if photo.x is None else photo.x[self.display]
        return Shown(
            f"{photo.name}-{self.ranking}-{score:.4f}", self.target, photo.grid, photo.camera, x,
            np.where(photo.mask, photo.truth[name], unknown), np.where(there, prediction, unknown),
        )  # fmt: skip

    def pictures(self) -> dict[str, Shown]:
        """What was kept, by file name: `base-01-...`, `best-1-...` and `worst-1-...`."""
        named = {f"base-{number:02d}-{shown.caption}": shown for number, shown in enumerate(self.kept, 1)}
        for kind, heap in (("best", self._best), ("worst", self._worst)):
            ordered = sorted(heap, key=lambda item: item[:2], reverse=True)
            named |= {f"{kind}-{number}-{shown.caption}": shown for number, (_, _, shown) in enumerate(ordered, 1)}
        return named
