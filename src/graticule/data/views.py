"""Views of a sample: what a pretraining without labels is to recognise as the same place.

A view is a crop of a window, turned and resampled to a small square, in another light, without some of its bands. All
that is drawn for it is a function of (seed, epoch, position, sample, view). What a band means decides what may happen
to it: light changes optical bands, radar and thermal bands get a gain and an offset of their own, directions turn with
the picture, heights and angles keep their values. A window of HEALPix is laid out as its square, as everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from graticule.data.augment import Augment
from graticule.data.light import Draws, direction_pairs, relight
from graticule.data.sampler import Entry, generator
from graticule.errors import ConfigError
from graticule.grids.windows import morton
from graticule.schema import Band

_VIEW = 100
"""The purpose of the draws of view 0; the others follow."""

_GAINS = ("radar", "thermal")
"""Kinds of bands whose sensor has a gain and an offset of its own."""


@dataclass(frozen=True)
class Views:
    """How views are drawn.

    Attributes:
        number: views of the size `size`.
        size: side in pixels.
        local: further views, which are smaller parts (DINO).
        local_size: their side in pixels.
        scale: share of the window's area that a view shows, from and to.
        local_scale: likewise of the local views.
        ratio: height by width of a crop, from and to.
        ground: metres on the ground that a pixel of a view spans, from and to: instead of `scale`. A crop is then as
            high as wide on the ground, whatever the raster's pixels are.
        d4: turn and flip views by one of the eight symmetries of the square.
        brightness: optical bands are multiplied by a factor from 1 - brightness to 1 + brightness; the bands of radar,
            and the thermal ones, are moved by up to so many deviations.
        contrast: their distances from the view's mean (of radar and thermal bands: from the band's mean) are multiplied
            by a factor from 1 - contrast to 1 + contrast.
        tint: each optical band is multiplied by a factor of its own from 1 - tint to 1 + tint.
        blur: half of the views are means over squares of 3, 5, ... up to this many pixels in their optical bands.
        noise: half are multiplied by factors from 1 - noise to 1 + noise, another for each value of optical bands.
        grey: probability that all optical bands become their mean (in deviations of each).
        drop: probability that a band is left out of a view (its mean stands there); one at least stays.
        groups: two or more groups of bands that are the views of one place: each view shows one group.
        positives: column of the store's metadata: the views 1, 3 ... are of another sample with the same value there.
    """

    number: int = 2
    size: int = 32
    local: int = 0
    local_size: int = 16
    scale: tuple[float, float] = (0.2, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.2)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    ground: tuple[float, float] | None = None
    d4: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    tint: float = 0.0
    blur: int = 0
    noise: float = 0.0
    grey: float = 0.0
    drop: float = 0.0
    groups: tuple[tuple[str, ...], ...] = ()
    positives: str | None = None

    @property
    def sizes(self) -> list[int]:
        """The side of each view."""
        return [self.size] * self.number + [self.local_size] * self.local

    def check(self, bands: Sequence[Band], space: tuple[int, ...]) -> None:
        """Refuse what does not fit the bands or the windows.

        Raises:
            ConfigError: naming the option.
        """
        side(space)
        if self.d4:
            direction_pairs(bands)
        names = [band.name for band in bands]
        if len(self.groups) == 1:
            raise ConfigError("pretraining.views.groups has one group of bands; give two or more, or none.")
        for name in (name for group in self.groups for name in group):
            if name not in names:
                raise ConfigError(
                    f"pretraining.views.groups names band '{name}', which the data lacks; it has {', '.join(names)}."
                )

    def draw(
        self, seed: int, entry: Entry, view: int, bands: Sequence[Band], space: tuple[int, ...],
        metres: tuple[float, float] | None = None,
    ) -> Draws:  # fmt: skip
        """All that is drawn for one view of one sample, each number with a first axis of 1.

        Args:
            seed: of the run.
            entry: the sample's place in the run.
            view: which of its views.
            bands: of the input.
            space: shape of the window's pixels.
            metres: height and width of a pixel of the window on the ground, for `ground`.
        """
        epoch, position, index = entry
        # Always the same draws in the same order, so that one option does not change the meaning of another.
        rng = generator(seed, _VIEW + view, epoch, position, max(index, 0))
        where, element = rng.random(4), int(rng.integers(8)) if self.d4 else 0 * int(rng.integers(8))
        light = Augment(
            d4=False, brightness=self.brightness, contrast=self.contrast, blur=self.blur, noise=self.noise
        ).draw_light(rng)
        gains, tints, some = rng.random((len(_GAINS), 2)), rng.random(len(bands)), rng.random(len(bands) + 2)
        box = self._box(where, side(space), view, metres)
        drawn = light | {
            "element": element, "box": np.array(box), "tint": 1 + (2 * tints - 1) * self.tint,
            "gain": 1 + (2 * gains[:, 0] - 1) * self.contrast, "offset": (2 * gains[:, 1] - 1) * self.brightness,
            "grey": some[-1] < self.grey, "kept": self._kept(some, entry, view, bands, seed),
        }  # fmt: skip
        return {name: np.asarray(value)[None] for name, value in drawn.items()}

    def _box(
        self, where: np.ndarray, size: tuple[int, int], view: int, metres: tuple[float, float] | None
    ) -> tuple[float, float, float, float]:
        """First row, first column, height and width of the crop, in pixels of the window."""
        low, high = self.local_scale if view >= self.number else self.scale
        ratio = math.exp(math.log(self.ratio[0]) + where[1] * math.log(self.ratio[1] / self.ratio[0]))
        if self.ground and metres:
            span = self.ground[0] * (self.ground[1] / self.ground[0]) ** where[0] * self.sizes[view]
            height, width = span / metres[0], span / metres[1]
        else:
            area = (low + where[0] * (high - low)) * size[0] * size[1]
            height, width = math.sqrt(area * ratio), math.sqrt(area / ratio)
        height, width = min(height, size[0]), min(width, size[1])
        return where[2] * (size[0] - height), where[3] * (size[1] - width), height, width

    def _kept(
        self, some: np.ndarray, entry: Entry, view: int, bands: Sequence[Band], seed: int
    ) -> Bool[np.ndarray, " bands"]:
        """Which bands the view shows; the two components of a direction go together."""
        kept: np.ndarray = some[: len(bands)] >= self.drop
        if self.groups:
            # Which group is first is drawn for the sample, not for the view, so that two views never show the same.
            first = int(generator(seed, _VIEW - 1, *entry[:2]).integers(len(self.groups)))
            group = self.groups[(first + view) % len(self.groups)]
            shown = np.array([band.name in group for band in bands])
            kept &= shown
        else:
            shown = np.ones(len(bands), dtype=bool)
        if not kept.any():
            kept[np.flatnonzero(shown)[int(some[-2] * shown.sum())]] = True
        for pair in direction_pairs(bands) if any(band.kind == "direction" for band in bands) else []:
            kept[list(pair)] = kept[list(pair)].any()
        return kept


def side(space: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a window; of nested cells, those of their square.

    Raises:
        ConfigError: if the cells are no square.
    """
    if len(space) == 2:
        return space[0], space[1]
    length = isqrt(space[0])
    if length**2 != space[0] or length & (length - 1):
        raise ConfigError(
            f"a sample has {space[0]} cells, which are no square under one parent; prepare windows with a "
            "source.parent_nside of 1 or more for a pretraining."
        )
    return length, length


def as_square(values: Tensor) -> Tensor:
    """Values [..., h, w], or of nested cells [..., cells] those of their square [..., h, w], as they are told apart."""
    length = isqrt(values.shape[-1])
    order = torch.tensor(morton(length).reshape(-1), device=values.device)
    return values[..., order].unflatten(-1, (length, length))


def make_view(
    x: Tensor, seen: Bool[Tensor, "b *space"], bands: Sequence[Band], draws: Draws, size: int
) -> tuple[Float32[Tensor, "b c size size"], Bool[Tensor, "b size size"], Bool[Tensor, "b c"]]:
    """The view of each sample of a batch, where it is.

    Args:
        x: stored values [b, c, *space] of any type.
        seen: where there is input.
        bands: of `x`, with mean and std.
        draws: of `Views.draw`, for each sample.
        size: side of the view in pixels.

    Returns:
        Stored values, where there is input, and which bands are shown (the others are to be left out by whoever
        normalises, since only then their mean is a number known to be 0).
    """
    if seen.ndim == 2:
        x, seen = as_square(x), as_square(seen)
    mask = seen[:, None].float()
    # What was not seen has no weight in what is interpolated from it.
    both = torch.cat([torch.where(seen[:, None], x.float(), 0.0), mask], dim=1)
    theta = torch.from_numpy(_theta(draws, (x.shape[-2], x.shape[-1]))).to(x.device)
    grid = affine_grid(theta, [len(x), 1, size, size], align_corners=False)
    taken = grid_sample(both, grid, padding_mode="border", align_corners=False)
    weight = taken[:, -1:]
    view, shown = taken[:, :-1] / weight.clamp(min=1e-6), weight[:, 0] >= 0.5
    view = relight(view, shown, bands, draws)
    _change_colours(view, bands, draws)
    return view, shown, torch.from_numpy(draws["kept"]).to(x.device)


def _theta(draws: Draws, size: tuple[int, int]) -> Float32[np.ndarray, "b 2 3"]:
    """The affine map from a view's coordinates (-1..1, to the right and down) to the window's."""
    row, column, height, width = draws["box"].T
    quarter, flip = draws["element"] % 4, np.where(draws["element"] >= 4, -1.0, 1.0)
    sine, cosine = np.array((0.0, 1, 0, -1))[quarter], np.array((1.0, 0, -1, 0))[quarter]
    # As `augment.turn` has it: quarter turns anticlockwise, then a flip; here undone in the opposite order.
    share = np.stack([width / size[1], height / size[0]])
    theta = np.empty((len(row), 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = share[0] * cosine * flip, -share[0] * sine
    theta[:, 1, 0], theta[:, 1, 1] = share[1] * sine * flip, share[1] * cosine
    theta[:, 0, 2] = 2 * (column + width / 2) / size[1] - 1
    theta[:, 1, 2] = 2 * (row + height / 2) / size[0] - 1
    return theta


def _change_colours(view: Tensor, bands: Sequence[Band], draws: Draws) -> None:
    """Tint and grey of optical bands, gain and offset of radar and thermal ones, in place."""

    def rows(values: np.ndarray) -> Float[Tensor, "b 1 1"]:
        return torch.as_tensor(values, dtype=torch.float32, device=view.device).view(-1, 1, 1)

    for place, band in enumerate(bands):
        scale, offset, mean, std = band.scale, band.offset, band.mean or 0.0, band.std or 1.0
        physical = view[:, place] * scale + offset
        if band.kind == "optical" and (draws["tint"][:, place] != 1).any():
            view[:, place] = (physical * rows(draws["tint"][:, place]) - offset) / scale
        elif band.kind in _GAINS:
            kind = _GAINS.index(band.kind)
            moved = mean + (physical - mean) * rows(draws["gain"][:, kind]) + std * rows(draws["offset"][:, kind])
            view[:, place] = (moved - offset) / scale
    optical = [place for place, band in enumerate(bands) if band.kind == "optical"]
    if len(optical) > 1 and draws["grey"].any():
        of = torch.from_numpy(np.flatnonzero(draws["grey"])).to(view.device)
        means, stds = (torch.tensor([getattr(bands[p], name) or default for p in optical], device=view.device)
                       for name, default in (("mean", 0.0), ("std", 1.0)))  # fmt: skip
        scales, offsets = (torch.tensor([getattr(bands[p], name) for p in optical], device=view.device)
                           for name in ("scale", "offset"))  # fmt: skip
        column = (slice(None), None, None)
        some = view[of][:, optical] * scales[column] + offsets[column]
        grey = ((some - means[column]) / stds[column]).mean(1, keepdim=True) * stds[column] + means[column]
        for number, place in enumerate(optical):
            view[of, place] = (grey[:, number] - offsets[number]) / scales[number]
