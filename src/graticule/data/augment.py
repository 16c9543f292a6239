"""Augmentation of one sample: a crop, a symmetry of the square, and what is drawn for a change of light.

All of it is a function of the generator handed in. On HEALPix the window is laid out as its square, so that crops,
turns and flips are the same there; the result is again in nested order.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Shaped, UInt8

from graticule.data.sampler import draw_classes
from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse
from graticule.schema import IGNORE


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
        side: rows and columns that the crop is resized to before it is turned; None leaves it as it is.
    """

    row: int
    column: int
    height: int
    width: int
    element: int
    nested: bool = False
    side: tuple[int, int] | None = None

    def take(self, values: Shaped[np.ndarray, "..."], out: Shaped[np.ndarray, "..."], *, smooth: bool = False) -> None:
        """Write the placed pixels of `values` [..., *space] to `out` [..., *placed space].

        Where they are resized, each is the nearest one, or with `smooth` bilinear between four.
        """
        rows, columns = slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)
        if self.nested:
            square = turn(morton(isqrt(values.shape[-1]))[rows, columns], self.element)
            np.copyto(out, values[..., square.reshape(-1)[morton_inverse(self.height)]])
        elif self.side is not None:
            np.copyto(out, turn(resized(values[..., rows, columns], self.side, smooth=smooth), self.element))
        else:
            np.copyto(out, turn(values[..., rows, columns], self.element))


def resized(
    values: Shaped[np.ndarray, "*more h w"], side: tuple[int, int], *, smooth: bool
) -> Shaped[np.ndarray, "*more h2 w2"]:  # fmt: skip
    """An array with other rows and columns: of the nearest pixels, or bilinear, rounded where they are integers."""
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(side, values.shape[-2:], strict=True)]
    if not smooth:
        rows, columns = (np.rint(place).astype(np.int64) for place in places)
        return values[..., rows[:, None], columns]
    found = values.astype(np.float32)
    for axis, place in zip((-2, -1), places, strict=True):
        first = np.floor(place).astype(np.int64)
        share = (place - first).astype(np.float32)
        share = share[:, None] if axis == -2 else share
        low, high = (np.take(found, index.clip(0, values.shape[axis] - 1), axis) for index in (first, first + 1))
        found = low * (1 - share) + high * share
    return np.rint(found).astype(values.dtype) if values.dtype.kind in "iu" else found.astype(values.dtype)


@dataclass(frozen=True)
class Augment:
    """What is varied; everything off by default but the symmetries.

    What moves pixels is done for each sample (`Placement`), what changes values for a batch on its device (`light`):
    light of optical bands only, and bands that are directions, which turn with the picture.

    Attributes:
        d4: turn and flip by one of the eight symmetries of the square (the four that keep its shape, where a crop or
            window is not a square).
        horizontal_flip: half of the samples are mirrored left to right.
        vertical_flip: half are mirrored top to bottom.
        rotate: turn by 0 to 3 quarters. With a flip, that is `d4`.
        crop: side of a random crop in pixels, a power of two on HEALPix; None keeps the window.
        zoom: the crop, or the window, is taken from 1 - zoom to 1 times as large and resized; rasters only.
        balance: above 0, centre the crop on a pixel of a class, drawn in proportion to its pixels in the sample to the
            power of 1 - balance; a crop that would reach outside is shifted inside.
        brightness: optical bands are multiplied by a factor from 1 - brightness to 1 + brightness (physical values).
        contrast: their distances from the sample's mean are multiplied by a factor from 1 - contrast to 1 + contrast.
        saturation: distances of red, green and blue from their grey are multiplied by a factor from 1 - saturation to
            1 + saturation.
        blur: half of the samples become means over squares of 3, 5, ... up to this many pixels; 0 blurs none.
        noise: half are multiplied by a factor from 1 - noise to 1 + noise, another for each value.
        posterize: half are rounded to 2 to the power of this many levels; 0 rounds none.
    """

    d4: bool = True
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotate: bool = False
    crop: int | None = None
    balance: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    blur: int = 0
    noise: float = 0.0
    posterize: int = 0
    zoom: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "noise", "zoom", "saturation"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ConfigError(f"data.augment.{name} is {value}; it must be at least 0 and less than 1.")

    @property
    def changes_light(self) -> bool:
        """Whether the values of optical bands change."""
        return any((self.brightness, self.contrast, self.saturation, self.blur >= 3, self.noise, self.posterize))

    @property
    def moves(self) -> bool:
        """Whether pixels change place."""
        return len(self.elements) > 1 or self.crop is not None or self.zoom > 0

    @property
    def elements(self) -> tuple[int, ...]:
        """The symmetries that are drawn from, all alike: a group, so that no turn is likelier than another."""
        flips = self.horizontal_flip or self.vertical_flip
        if self.d4 or (self.rotate and flips):
            return tuple(range(8))
        if self.rotate:
            return (0, 1, 2, 3)
        return {(False, False): (0,), (True, False): (0, 4), (False, True): (0, 6), (True, True): (0, 2, 4, 6)}[
            self.horizontal_flip, self.vertical_flip
        ]

    def space(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a sample's pixels after augmentation.

        Raises:
            ConfigError: if the crop does not fit the window, or a HEALPix window is no square.
        """
        height, width = (isqrt(space[0]), isqrt(space[0])) if len(space) == 1 else space
        if len(space) == 1 and (self.moves or self.blur) and (height * width != space[0] or height & (height - 1)):
            raise ConfigError(f"a window of {space[0]} cells is no square of a power of two; turn data.augment off.")
        if len(space) == 1 and self.zoom:
            raise ConfigError(
                "data.augment.zoom resizes rasters, and these samples are cells of a sphere; set it to 0."
            )
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
        # Always the same number of draws in the same order, so that one option does not change the meaning of another;
        # but for the zoom, which came later.
        where, elements = rng.random(4), rng.integers(8)
        side = (self.crop, self.crop) if self.crop else (height, width)
        share = 1 - self.zoom * rng.random() if self.zoom else 1.0
        taken = (max(round(side[0] * share), 1), max(round(side[1] * share), 1))
        row, column = self._corner(where, (height, width), taken, space, labels)
        element = self.elements[int(elements) % len(self.elements)]
        if side[0] != side[1]:
            element -= element % 2
        nested = len(space) == 1
        return Placement(row, column, *taken, element, nested=nested, side=side if taken != side else None)

    def draw_light(self, rng: np.random.Generator) -> dict[str, float]:
        """Draw what happens to the light of a sample: `light.Draws` without `element`.

        Half of the samples are left unblurred, half without noise, half with all levels.
        """
        draws = rng.random(7)
        sides = range(3, self.blur + 1, 2)
        return {
            "brightness": 1 + (2 * draws[0] - 1) * self.brightness,
            "contrast": 1 + (2 * draws[1] - 1) * self.contrast,
            "saturation": 1 + (2 * draws[6] - 1) * self.saturation,
            "blur": sides[int((2 * draws[2] - 1) * len(sides))] if sides and draws[2] >= 0.5 else 1,
            "noise": self.noise if draws[3] < 0.5 else 0.0,
            "levels": 2**self.posterize if self.posterize and draws[4] < 0.5 else 0,
            "seed": int(draws[5] * 2**53),
        }

    def _corner(
        self, where: np.ndarray, size: tuple[int, int], taken: tuple[int, int], space: tuple[int, ...],
        labels: np.ndarray | None,
    ) -> tuple[int, int]:  # fmt: skip
        """Row and column of the first pixel that is taken."""
        if taken == size:
            return 0, 0
        room = size[0] - taken[0], size[1] - taken[1]
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
        top, left = row - taken[0] // 2, column - taken[1] // 2
        return min(max(top, 0), room[0]), min(max(left, 0), room[1])
