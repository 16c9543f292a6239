"""A clouded sky for a painter to mirror in its water: smooth noise of any size, a function of its seed alone."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.random import Generator, Philox
from torch import Tensor

CELLS = 8
"""Clouds across the shorter side of a picture."""

_CLOUDS = 109
_SHARE = 0.8


def perlin(height: int, width: int, seed: int, cells: int = CELLS) -> Float[np.ndarray, "height width"]:
    """Gradient noise (Perlin 1985), -1 to 1 and 0 at the corners of its cells.

    Args:
        height: in pixels.
        width: in pixels.
        seed: of the directions at the corners.
        cells: along the shorter side; they are square, whatever the size.
    """
    side = min(height, width) / cells
    rows, columns = ((np.arange(length) + 0.5) / side for length in (height, width))
    shape = int(np.ceil(height / side)) + 2, int(np.ceil(width / side)) + 2
    angle = Generator(Philox(key=[seed, _CLOUDS])).uniform(0, 2 * np.pi, shape)
    up, across = np.sin(angle), np.cos(angle)
    row, column = rows.astype(int)[:, None], columns.astype(int)[None]
    below, right = rows[:, None] - row, columns[None] - column

    def at(down: int, over: int) -> np.ndarray:
        """How far each pixel lies along the direction at that corner of its cell."""
        found: np.ndarray = up[row + down, column + over] * (below - down) + across[row + down, column + over] * (
            right - over
        )
        return found

    upper, lower = _mixed(at(0, 0), at(0, 1), right), _mixed(at(1, 0), at(1, 1), right)
    noise: np.ndarray = _mixed(upper, lower, below) * np.sqrt(2)
    return noise


def _mixed(one: np.ndarray, other: np.ndarray, place: np.ndarray) -> np.ndarray:
    return one + (other - one) * place**3 * (place * (place * 6 - 15) + 10)


def clouded(photos: Float32[Tensor, "b 3 h w"], sky: Bool[Tensor, "b h w"], seed: int) -> Float32[Tensor, "b 3 h w"]:
    """Photographs, 0 to 1, with four fifths of grey clouds where the sky is.

    ClimateGAN (Schmidt et al. 2022) shows these to its painter, so that it paints no reflections of a blue sky.
    """
    noise = torch.from_numpy((perlin(photos.shape[-2], photos.shape[-1], seed) + 1) / 2).to(photos)
    return torch.where(sky[:, None], _SHARE * noise + (1 - _SHARE) * photos, photos)
