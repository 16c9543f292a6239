"""Augmentation of one sample: a crop, a symmetry of the square, and a change of light.

All of it is a function of the generator handed in. On HEALPix the window is laid out as its square, so that crops,
turns and flips are the same there; the result is again in nested order.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from graticule.data.sampler import draw_classes
from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse
from graticule.schema import IGNORE, Band


def turn(square: Shaped[np.ndarray, "*more h w"], element: int) -> Shaped[np.ndarray, "*more h2 w2"]:
    """One of the eight symmetries of the square, as a view: `element % 4` quarter turns, then a flip from 4 on."""
    turned = np.rot90(square, element % 4, axes=(-2, -1))
    return turned[..., ::-1] if element >= 4 else turned


@dataclass(frozen=True)
class Placement:
    """A crop of a sample and the symmetry it is turned by.

    Attributes:
        row: of the crop's first pixel in the window, or in the square of a HEALPix window.
        column: likewise.
        height: of the crop before it is turned.
        width: likewise.
        element: which symmetry, see `turn`.
        nested: whether the last axis of an array is the cells of a HEALPix window; else the last two are a raster.
    """

    row: int
    column: int
    height: int
    width: int
    element: int
    nested: bool = False

    def take(self, values: Shaped[np.ndarray, "..."], out: Shaped[np.ndarray, "..."]) -> None:
        """Write the placed pixels of `values` [..., *space] to `out` [..., *placed space]."""
        rows, columns = slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)
        if self.nested:
            square = turn(morton(isqrt(values.shape[-1]))[rows, columns], self.element)
            np.copyto(out, values[..., square.reshape(-1)[morton_inverse(self.height)]])
        else:
            np.copyto(out, turn(values[..., rows, columns], self.element))


@dataclass(frozen=True)
class Augment:
    """What is varied; everything off by default but the symmetries.

    Turning moves pixels and leaves their values: a band that is itself a direction (an aspect, a wind) has to be stored
    as its components along the sphere, or trained without `d4`.

    Attributes:
        d4: turn and flip by one of the eight symmetries of the square (the four that keep its shape, where a crop or
            window is not a square).
        crop: side of a random crop in pixels, a power of two on HEALPix; None keeps the window.
        balance: above 0, centre the crop on a pixel of a class, drawn in proportion to its pixels in the sample to the
            power of 1 - balance; a crop that would reach outside is shifted inside.
        brightness: optical bands are multiplied by a factor from 1 - brightness to 1 + brightness (physical values).
        contrast: their distances from the sample's mean are multiplied by a factor from 1 - contrast to 1 + contrast.
    """

    d4: bool = True
    crop: int | None = None
    balance: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("brightness", self.brightness), ("contrast", self.contrast)):
            if not 0 <= value < 1:
                raise ConfigError(f"data.augment.{name} is {value}; it must be at least 0 and less than 1.")

    @property
    def changes_light(self) -> bool:
        """Whether values change, so that x becomes float32."""
        return self.brightness > 0 or self.contrast > 0

    @property
    def moves(self) -> bool:
        """Whether pixels change place."""
        return self.d4 or self.crop is not None

    def space(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a sample's pixels after augmentation.

        Raises:
            ConfigError: if the crop does not fit the window, or a HEALPix window is no square.
        """
        height, width = (isqrt(space[0]), isqrt(space[0])) if len(space) == 1 else space
        if len(space) == 1 and self.moves and (height * width != space[0] or height & (height - 1)):
            raise ConfigError(f"a window of {space[0]} cells is no square of a power of two; turn data.augment off.")
        if self.crop is None:
            return space
        if not 1 <= self.crop <= min(height, width):
            raise ConfigError(f"data.augment.crop is {self.crop}; the windows are {height} x {width}, so at most that.")
        if len(space) == 1 and self.crop & (self.crop - 1):
            raise ConfigError(f"data.augment.crop is {self.crop}; on HEALPix it must be a power of two, such as 32.")
        return (self.crop, self.crop) if len(space) == 2 else (self.crop**2,)

    def draw(
        self, rng: np.random.Generator, space: tuple[int, ...], labels: UInt8[np.ndarray, "*space"] | None = None
    ) -> Placement:
        """Draw where the crop lies and how it is turned.

        Args:
            rng: the sample's generator.
            space: shape of the sample's pixels.
            labels: classes of the sample, 255 where there is none or where it is not valid; for `balance`.
        """
        height, width = (isqrt(space[0]), isqrt(space[0])) if len(space) == 1 else space
        # Always the same number of draws in the same order, so that one option does not change the meaning of another.
        where, elements = rng.random(4), rng.integers(8)
        row, column = self._corner(where, (height, width), space, labels)
        side = (self.crop, self.crop) if self.crop else (height, width)
        element = int(elements) if self.d4 else 0
        if side[0] != side[1]:
            element -= element % 2
        return Placement(row, column, *side, element, nested=len(space) == 1)

    def relight(
        self, rng: np.random.Generator, x: Float32[np.ndarray, "c *space"], seen: Bool[np.ndarray, "*space"],
        bands: tuple[Band, ...],
    ) -> None:  # fmt: skip
        """Change the light of the optical bands of `x` (stored values), in place."""
        brightness, contrast = 1 + (2 * rng.random(2) - 1) * (self.brightness, self.contrast)
        if not seen.any():
            return
        for values, band in zip(x, bands, strict=True):
            if band.kind == "optical":
                mean = values[seen].mean(dtype=np.float64)
                # b (k (p - m) + m) for the physical p = stored * scale + offset, told in stored values.
                values *= np.float32(brightness * contrast)
                values += np.float32(brightness * (1 - contrast) * mean + (brightness - 1) * band.offset / band.scale)

    def _corner(
        self, where: np.ndarray, size: tuple[int, int], space: tuple[int, ...], labels: np.ndarray | None
    ) -> tuple[int, int]:
        """Row and column of the crop's first pixel."""
        if self.crop is None:
            return 0, 0
        room = size[0] - self.crop, size[1] - self.crop
        known = labels[labels != IGNORE] if self.balance and labels is not None else np.empty(0, dtype=np.uint8)
        if labels is None or not len(known):
            return int(where[0] * (room[0] + 1)), int(where[1] * (room[1] + 1))
        pixels_of_class = np.bincount(known)
        classes = np.flatnonzero(pixels_of_class)
        label = classes[draw_classes(pixels_of_class[classes], where[2:3], self.balance)[0]]
        pixels = np.flatnonzero(labels.reshape(-1) == label)
        pixel = pixels[int(where[3] * len(pixels))]
        if len(space) == 1:
            pixel = morton_inverse(size[0])[pixel]
        row, column = divmod(int(pixel), size[1])
        half = self.crop // 2
        return min(max(row - half, 0), room[0]), min(max(column - half, 0), room[1])
