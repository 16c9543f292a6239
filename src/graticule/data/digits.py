"""Drawn digits: strokes of a pen on a square, sheared, turned, scaled and blotted, in the files of MNIST."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from numpy.random import Generator

from graticule.data.sampler import generator
from graticule.data.sources.mnist import FILES, write_idx
from graticule.files import whole_folder

SIDE = 28
_DIGIT = 51
"""What is drawn, for `sampler.generator`."""


def _arc(x: float, y: float, wide: float, tall: float, begin: float, end: float) -> Float64[np.ndarray, "n two"]:
    """Points of a part of an ellipse, by angles in degrees from the right and downwards."""
    angle = np.deg2rad(np.linspace(begin, end, 24))
    return np.stack([x + wide * np.cos(angle), y + tall * np.sin(angle)], axis=-1)


def _line(*points: tuple[float, float]) -> Float64[np.ndarray, "n two"]:
    return np.array(points, dtype=np.float64)


STROKES: tuple[tuple[Float64[np.ndarray, "n two"], ...], ...] = (
    (_arc(0, 0, 0.55, 0.9, 0, 360),),
    (_line((-0.35, -0.5), (0.05, -0.9), (0.05, 0.9)),),
    (_arc(0, -0.4, 0.5, 0.5, 180, 380), _line((0.45, -0.2), (-0.55, 0.85), (0.6, 0.85))),
    (_arc(0, -0.45, 0.5, 0.45, 200, 450), _arc(0, 0.42, 0.55, 0.47, 270, 510)),
    (_line((0.2, -0.9), (-0.6, 0.3), (0.6, 0.3)), _line((0.25, -0.1), (0.25, 0.9))),
    (_line((0.5, -0.85), (-0.4, -0.85), (-0.45, -0.1)), _arc(-0.02, 0.35, 0.55, 0.52, 215, 500)),
    (_line((0.4, -0.9), (-0.2, -0.3)), _arc(0, 0.4, 0.52, 0.5, 0, 360), _arc(0.1, 0.3, 0.66, 0.85, 180, 235)),
    (_line((-0.55, -0.85), (0.55, -0.85), (-0.1, 0.9)),),
    (_arc(0, -0.45, 0.42, 0.42, 0, 360), _arc(0, 0.45, 0.52, 0.47, 0, 360)),
    (_arc(0, -0.4, 0.48, 0.48, 0, 360), _line((0.46, -0.3), (0.3, 0.9))),
)
"""The strokes of each digit, on a square from -1 to 1, downwards."""


def draw_digit(digit: int, rng: Generator) -> UInt8[np.ndarray, "28 28"]:
    """One digit, white on black: its strokes shaken, sheared, turned, scaled, shifted, and drawn with some pen."""
    shear, turn = rng.uniform(-0.35, 0.35), np.deg2rad(rng.uniform(-14, 14))
    scale, shift, pen = rng.uniform(7.5, 10.5, 2), rng.uniform(-2, 2, 2), rng.uniform(0.9, 1.7)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, -shear], [0, 1]])
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
    nearest = np.full(len(pixels), np.inf)
    for stroke in STROKES[digit]:
        points = stroke + rng.normal(0, 0.045, stroke.shape) * (len(stroke) < 10) + rng.normal(0, 0.03, 2)
        drawn = points @ matrix.T * scale + (SIDE - 1) / 2 + shift
        nearest = np.minimum(nearest, _distance(pixels, drawn))
    ink = np.clip(pen + 0.5 - nearest, 0, 1).reshape(SIDE, SIDE) * rng.uniform(0.75, 1.0)
    noisy = ink + rng.normal(0, 0.04, ink.shape) * (ink > 0)
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8)


def _distance(pixels: Float64[np.ndarray, "n two"], line: Float64[np.ndarray, "m two"]) -> Float64[np.ndarray, " n"]:
    """From each point to the nearest one of a line of straight pieces."""
    start, along = line[:-1], np.diff(line, axis=0)
    length = np.maximum((along**2).sum(-1), 1e-12)
    aside = pixels[:, None] - start
    place = np.clip((aside * along).sum(-1) / length, 0, 1)
    return np.sqrt(((aside - place[..., None] * along) ** 2).sum(-1)).min(-1)


def write_digits(folder: Path, *, images: int, seed: int = 0) -> int:
    """Write so many training digits, and a sixth as many to test, in MNIST's four files; return how many there are."""
    counts = {"train": images, "test": max(10, images // 6)}
    with whole_folder(folder) as temporary:
        first = 0
        for part, names in FILES.items():
            numbers = range(first, first + counts[part])
            drawn = [_drawn(seed, number) for number in numbers]
            write_idx(temporary / f"{names[0]}.gz", np.stack([image for image, _ in drawn]))
            write_idx(temporary / f"{names[1]}.gz", np.array([digit for _, digit in drawn], np.uint8))
            first += counts[part]
    return first


def _drawn(seed: int, number: int) -> tuple[UInt8[np.ndarray, "28 28"], int]:
    rng = generator(seed, _DIGIT, number)
    digit = int(rng.integers(10))
    return draw_digit(digit, rng), digit
