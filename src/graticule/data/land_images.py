"""Drawn pictures of land from above, in a folder for each class: something to classify where there is no network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.random import Generator
from PIL import Image

from graticule.data.sampler import generator
from graticule.files import whole_folder

_IMAGE = 52
"""What is drawn, for `sampler.generator`."""

Field = Float64[np.ndarray, "h w"]


def _smooth(rng: Generator, side: int, size: float) -> Field:
    """A random field of mean 0 and deviation 1 whose hills are about `size` pixels wide."""
    row, column = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    keep = np.exp(-2 * (np.pi * size / 2) ** 2 * (row**2 + column**2))
    field: Field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * keep, s=(side, side))
    return (field - field.mean()) / (field.std() + 1e-12)


def _mixed(low: tuple[int, int, int], high: tuple[int, int, int], share: Field) -> Float64[np.ndarray, "h w three"]:
    return np.array(low) + np.clip(share, 0, 1)[..., None] * (np.array(high) - np.array(low))


def _along(rng: Generator, side: int) -> tuple[Field, Field]:
    """Distance along and across some direction, in pixels from the middle."""
    angle = rng.uniform(0, np.pi)
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    return np.cos(angle) * column + np.sin(angle) * row, np.cos(angle) * row - np.sin(angle) * column


def _fields(rng: Generator, side: int) -> Float64[np.ndarray, "h w three"]:
    _, across = _along(rng, side)
    width = side / rng.uniform(3, 7)
    strip = np.floor(across / width + rng.uniform()).astype(int)
    shade = rng.uniform(0, 1, strip.max() - strip.min() + 1)[strip - strip.min()]
    return _mixed((96, 112, 52), (196, 178, 104), shade + 0.08 * _smooth(rng, side, 3))


def _forest(rng: Generator, side: int) -> Float64[np.ndarray, "h w three"]:
    return _mixed((22, 52, 26), (70, 104, 54), 0.45 + 0.22 * _smooth(rng, side, rng.uniform(2, 4)))


def _river(rng: Generator, side: int) -> Float64[np.ndarray, "h w three"]:
    along, across = _along(rng, side)
    bend = side * rng.uniform(0.05, 0.14) * np.sin(along / side * rng.uniform(3, 6) + rng.uniform(0, 6))
    inside = np.clip(side * rng.uniform(0.06, 0.13) - np.abs(across - bend - rng.uniform(-0.15, 0.15) * side), 0, 1)
    land = _mixed((88, 104, 58), (132, 132, 84), 0.5 + 0.25 * _smooth(rng, side, 6))
    return land * (1 - inside[..., None]) + np.array((44, 74, 98)) * inside[..., None]


def _town(rng: Generator, side: int) -> Float64[np.ndarray, "h w three"]:
    along, across = _along(rng, side)
    block = side / rng.uniform(5, 9)
    house = np.floor(along / block).astype(int) * 31 + np.floor(across / block).astype(int) * 17
    roof = rng.uniform(0.3, 1, 4096)[house % 4096]
    street = (along % block < block * 0.28) | (across % block < block * 0.28)
    return _mixed((92, 92, 94), (198, 168, 150), np.where(street, 0.05, roof) + 0.05 * _smooth(rng, side, 1))


def _sea(rng: Generator, side: int) -> Float64[np.ndarray, "h w three"]:
    along, _ = _along(rng, side)
    waves = 0.12 * np.sin(along * 2 * np.pi / rng.uniform(5, 9)) + 0.12 * _smooth(rng, side, 5)
    return _mixed((14, 38, 66), (58, 96, 122), 0.4 + waves)


CLASSES: dict[str, Callable[[Generator, int], Float64[np.ndarray, "h w three"]]] = {
    "fields": _fields, "forest": _forest, "river": _river, "sea": _sea, "town": _town,
}  # fmt: skip


def draw_land(name: str, rng: Generator, side: int) -> UInt8[np.ndarray, "h w three"]:
    """One picture of a class, in its own light and with noise."""
    light, noise = rng.uniform(0.75, 1.2), rng.normal(0, rng.uniform(3, 14), (side, side, 3))
    haze = rng.uniform(0, 30)
    return np.clip(CLASSES[name](rng, side) * light + haze + noise, 0, 255).astype(np.uint8)


def write_images(folder: Path, *, images: int, side: int = 64, seed: int = 0) -> int:
    """Write so many pictures of each class as `<class>/<class>_<number>.png`; return how many there are."""
    with whole_folder(folder) as temporary:
        for place, name in enumerate(CLASSES):
            (temporary / name).mkdir()
            for number in range(images):
                picture = draw_land(name, generator(seed, _IMAGE, place, number), side)
                Image.fromarray(picture).save(temporary / name / f"{name}_{number + 1}.png")
    return images * len(CLASSES)
