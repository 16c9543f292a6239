"""What augmentation does to values: the light of optical bands, and the directions of bands that are directions.

Done for a whole batch at once, on the device where it is: a batch travels as the sensor's integers, with the few
numbers drawn for each sample beside it.
"""

from collections.abc import Sequence
from math import isqrt

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d

from graticule.errors import ConfigError
from graticule.grids.windows import morton, morton_inverse
from graticule.schema import Band

Draws = dict[str, np.ndarray]
"""For each sample [b]: `element` (which symmetry of the square), `brightness`, `contrast` and `saturation` (factors),
`blur` (side of the square in pixels), `noise` (largest relative change), `levels` (0: as they are), `seed` (of the
noise)."""

_LUMA = {"red": 0.299, "green": 0.587, "blue": 0.114}

_SMALL = 2**14
"""Values of a sample up to which a whole batch stays in the caches."""

_PARTS = {"_east": "_north", "_sin": "_cos"}
"""Ends of the names of a direction's two bands: its components to the east and to the north."""


def direction_pairs(bands: Sequence[Band]) -> list[tuple[int, int]]:
    """Which bands are the components (east, north) of one direction.

    Raises:
        ConfigError: for a component without the other.
    """
    names = [band.name for band in bands]
    pairs, paired = [], set()
    for place, name in enumerate(names):
        for east, north in _PARTS.items():
            other = name.removesuffix(east) + north
            if bands[place].kind == "direction" and name.endswith(east) and other in names:
                pairs.append((place, names.index(other)))
                paired |= {name, other}
    for band in bands:
        if band.kind == "direction" and band.name not in paired:
            ends = " or ".join(f"*{east} with *{north}" for east, north in _PARTS.items())
            raise ConfigError(
                f"band '{band.name}' is one component of a direction and cannot be turned without the other; name both "
                f"in data.bands ({ends}), or leave out flips and turns (data.augment, tta)."
            )
    return pairs


def relight(
    x: Tensor, seen: Bool[Tensor, "b *space"], bands: Sequence[Band], draws: Draws
) -> Float32[Tensor, "b c *space"]:
    """The batch with its light changed and its directions turned.

    Optical bands only are, in this order, blurred, changed in contrast, saturation (red, green and blue) and
    brightness, made noisy, and given fewer levels.

    Args:
        x: stored values [b, c, *space] of any type; what comes back are stored values, too.
        seen: where there is input; nothing else counts.
        bands: of `x`.
        draws: what was drawn for each sample.
    """
    if x.device.type == "cpu" and len(x) > 1 and x[0].numel() > _SMALL:
        # A sample fits into the caches of a CPU, a batch does not: one by one takes half the time.
        rows = [{name: values[row : row + 1] for name, values in draws.items()} for row in range(len(x))]
        return torch.cat([relight(x[r : r + 1], seen[r : r + 1], bands, row) for r, row in enumerate(rows)])
    changed = x.to(torch.float32, copy=True)
    optical = [place for place, band in enumerate(bands) if band.kind == "optical"]
    if optical:
        some = [bands[place] for place in optical]
        scale, offset = _column([b.scale for b in some], changed), _column([b.offset for b in some], changed)
        physical = changed[:, optical] * scale + offset
        changed[:, optical] = (_relit(physical, seen[:, None], some, draws) - offset) / scale
    if draws["element"].any():
        turn_directions(changed, bands, draws["element"])
    return changed


def turn_directions(x: Tensor, bands: Sequence[Band], elements: np.ndarray) -> None:
    """Turn the bands of `x` [b, c, *space] that are directions as the picture of each sample was, in place."""
    for east, north in direction_pairs(bands):
        _turn_direction(x, bands, east, north, elements)


def _relit(values: Tensor, seen: Tensor, bands: Sequence[Band], draws: Draws) -> Tensor:
    """Physical values [b, c, *space] in another light."""
    values = torch.where(seen, values, 0)
    for side in sorted(set(draws["blur"].tolist()) - {1}):
        of = torch.from_numpy(np.flatnonzero(draws["blur"] == side)).to(values.device)
        values = values.index_copy(0, of, _blurred(values[of], seen[of], side))
    space = tuple(range(2, values.ndim))
    if (draws["contrast"] != 1).any():
        count = seen.sum(space, keepdim=True).clamp(min=1)
        mean = torch.where(seen, values, 0).sum(space, keepdim=True) / count
        values = mean + (values - mean) * _rows(draws["contrast"], values)
    if (draws["saturation"] != 1).any():
        values = _saturated(values, bands, draws)
    if (draws["brightness"] != 1).any():
        values = values * _rows(draws["brightness"], values)
    if draws["noise"].any():
        values = values * _noise(values, draws)
    return _with_levels(values, seen, bands, draws) if draws["levels"].any() else values


def _saturated(values: Tensor, bands: Sequence[Band], draws: Draws) -> Tensor:
    """Values whose red, green and blue are farther from or nearer to their grey (luma of ITU-R BT.601)."""
    names = [band.name for band in bands]
    places = [names.index(colour) for colour in _LUMA]
    weights = _column(list(_LUMA.values()), values)
    colours = values[:, places]
    grey = (colours * weights).sum(1, keepdim=True)
    return values.index_copy(
        1, torch.tensor(places, device=values.device), grey + (colours - grey) * _rows(draws["saturation"], values)
    )


def check_colours(bands: Sequence[Band]) -> None:
    """Refuse bands whose saturation cannot change.

    Raises:
        ConfigError: if red, green or blue is missing.
    """
    names = [band.name for band in bands if band.kind == "optical"]
    missing = [colour for colour in _LUMA if colour not in names]
    if missing:
        raise ConfigError(
            f"data.augment.saturation needs the optical bands red, green and blue, and there is no '{missing[0]}'; set "
            "it to 0."
        )


def _rows(numbers: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float32, device=like.device).view(-1, *[1] * (like.ndim - 1))


def _column(numbers: Sequence[float], like: Tensor) -> Tensor:
    return torch.as_tensor(numbers, dtype=torch.float32, device=like.device).view(-1, *[1] * (like.ndim - 2))


def _blurred(values: Tensor, seen: Tensor, side: int) -> Tensor:
    """The mean over the seen pixels of a square round each; cells of HEALPix are laid out as their squares for it."""
    if values.ndim == 3:
        length = isqrt(values.shape[-1])
        to = torch.from_numpy(morton(length).reshape(-1)).to(values.device)
        back = torch.from_numpy(morton_inverse(length)).to(values.device)
        squares, there = (v[..., to].unflatten(-1, (length, length)) for v in (values, seen))
        return _blurred(squares, there, side).flatten(-2)[..., back]

    def mean(part: Tensor) -> Tensor:
        down = avg_pool2d(part, (side, 1), stride=1, padding=(side // 2, 0))
        return avg_pool2d(down, (1, side), stride=1, padding=(0, side // 2))

    share = mean(seen.float())
    return mean(torch.where(seen, values, 0)) / torch.where(share > 0, share, 1)


def _noise(values: Tensor, draws: Draws) -> Tensor:
    """Factors, another for each value; a function of the sample's seed (and of the kind of device)."""
    factors = torch.empty_like(values)
    generator = torch.Generator(values.device)
    for row, seed in zip(factors, draws["seed"].tolist(), strict=True):
        torch.rand(row.shape, generator=generator.manual_seed(seed), device=values.device, out=row)
    return 1 + (2 * factors - 1) * _rows(draws["noise"], values)


def _with_levels(values: Tensor, seen: Tensor, bands: Sequence[Band], draws: Draws) -> Tensor:
    """Values rounded to equal levels over the band's valid range, or its range in the sample."""
    space = tuple(range(2, values.ndim))
    low = torch.where(seen, values, torch.inf).amin(space, keepdim=True)
    high = torch.where(seen, values, -torch.inf).amax(space, keepdim=True)
    for place, band in enumerate(bands):
        if band.valid_range is not None:
            low[:, place], high[:, place] = band.valid_range
    levels = _rows(draws["levels"], values)
    step = (high - low) / levels.clamp(min=1)
    rounded = low + (torch.floor((values - low) / step) + 0.5) * step
    return torch.where((levels > 0) & (step > 0) & step.isfinite(), rounded, values)


def _turn_direction(x: Tensor, bands: Sequence[Band], east: int, north: int, elements: np.ndarray) -> None:
    """Turn a direction as the picture was: `element % 4` quarter turns anticlockwise, then a flip from 4 on.

    Turned, it is as if the world was turned under its compass. Flipped, it is a mirror image in which north lies to
    the other side of up; east becomes west.
    """
    parts = []
    for place in (east, north):
        scale, offset = bands[place].scale, bands[place].offset
        parts.append(x[:, place] * scale + offset)
    quarter = elements % 4
    sine, cosine = (np.array(table)[quarter] for table in ((0, 1, 0, -1), (1, 0, -1, 0)))
    mirror = np.where(elements >= 4, -1, 1)
    rows = [[mirror * cosine, -mirror * sine], [sine, cosine]]
    for place, (to_east, to_north) in zip((east, north), rows, strict=True):
        turned = parts[0] * _rows(to_east, parts[0]) + parts[1] * _rows(to_north, parts[1])
        x[:, place] = (turned - bands[place].offset) / bands[place].scale
