"""How a photograph looks: the light, the air and the camera, drawn for each photograph of a domain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, Philox

_LOOK = 113

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """Light, air, camera. Colours are linear red, green, blue.

    Attributes:
        sun: direction to it.
        sunlight: colour and strength of its light.
        skylight: of the light of the sky.
        zenith: colour of the sky overhead.
        horizon: at the horizon, and of the haze.
        clouds: 0 clear to 1 overcast.
        haze: metres after which a third of the contrast is left.
        grain: how strong the fine texture of surfaces is.
        blur: deviation of the lens's blur in pixels.
        noise: deviation of the sensor's noise, of 255.
        vignette: how much darker corners are.
        exposure: factor.
        warmth: red over blue of the white balance.
        saturation: factor of colours' distance from grey.
        pattern: number of the noises, so that no two domains share a texture.
    """

    sun: Colour = (-0.45, 0.35, 0.82)
    sunlight: Colour = (1.0, 0.96, 0.88)
    skylight: Colour = (0.34, 0.40, 0.50)
    zenith: Colour = (0.16, 0.34, 0.75)
    horizon: Colour = (0.62, 0.75, 0.90)
    clouds: float = 0.2
    haze: float = 600.0
    grain: float = 0.35
    blur: float = 0.0
    noise: float = 0.0
    vignette: float = 0.0
    exposure: float = 1.0
    warmth: float = 1.0
    saturation: float = 1.0
    pattern: int = 0


def simulated_look(seed: int, number: int) -> Look:
    """That of a game: noon, clean air, saturated colours, plain surfaces, a perfect camera."""
    rng = Generator(Philox(key=[seed, _LOOK], counter=[0, 0, 0, number]))
    return Look(sun=_sun(rng, 35, 65), clouds=float(rng.uniform(0.0, 0.35)), saturation=1.25)


def photographed_look(seed: int, number: int) -> Look:
    """That of a photograph: any weather from overcast to low sun, hazy air, worn surfaces, a camera with faults."""
    rng = Generator(Philox(key=[seed, _LOOK], counter=[0, 0, 1, number]))
    weather = rng.choice(["overcast", "fair", "evening"], p=[0.4, 0.4, 0.2])
    common: dict[str, Any] = {
        "haze": float(rng.uniform(70, 260)), "grain": float(rng.uniform(0.9, 1.3)),
        "blur": float(rng.uniform(0.35, 0.6)), "noise": float(rng.uniform(1.5, 4.0)),
        "vignette": float(rng.uniform(0.1, 0.35)), "saturation": float(rng.uniform(0.75, 1.0)),
        "warmth": float(rng.uniform(0.95, 1.08)), "pattern": 1,
    }  # fmt: skip
    if weather == "overcast":
        return Look(
            sun=_sun(rng, 45, 70), sunlight=(0.10, 0.10, 0.10), skylight=(0.80, 0.83, 0.88),
            zenith=(0.50, 0.53, 0.58), horizon=(0.74, 0.76, 0.78), clouds=1.0,
            exposure=float(rng.uniform(0.9, 1.1)), **common,
        )  # fmt: skip
    if weather == "fair":
        return Look(
            sun=_sun(rng, 30, 60), sunlight=(1.02, 0.97, 0.88), skylight=(0.36, 0.40, 0.47),
            zenith=(0.17, 0.32, 0.62), horizon=(0.66, 0.74, 0.82), clouds=float(rng.uniform(0.3, 0.7)),
            exposure=float(rng.uniform(0.85, 1.1)), **common,
        )  # fmt: skip
    return Look(
        sun=_sun(rng, 9, 20), sunlight=(1.15, 0.72, 0.40), skylight=(0.34, 0.36, 0.46), zenith=(0.20, 0.28, 0.48),
        horizon=(0.92, 0.66, 0.45), clouds=float(rng.uniform(0.2, 0.6)), exposure=float(rng.uniform(0.9, 1.1)),
        **common,
    )  # fmt: skip


def _sun(rng: np.random.Generator, lowest: float, highest: float) -> Colour:
    """A direction between two heights above the horizon, in degrees."""
    height, around = np.deg2rad(rng.uniform(lowest, highest)), rng.uniform(0, 2 * np.pi)
    flat = np.cos(height)
    return float(flat * np.cos(around)), float(flat * np.sin(around)), float(np.sin(height))
