"""Lenses: how far from its centre the image shows a ray, by the angle between the ray and the optical axis."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from graticule.errors import GridError

_COUNTS = {"pinhole": 1, "equidistant": 1}
_KNOTS = 513
_LOOKED_AT = 4097
_MOST_STEPS = 60


@dataclasses.dataclass(frozen=True)
class Lens:
    """A lens that is the same all round its axis.

    Attributes:
        kind: "pinhole", r = f·tan θ; "equidistant", r = f·θ; or "polynomial", r = k₁θ + k₂θ² + k₃θ³ + ... (the
            "radial_poly" of WoodScape's calibrations, Yogamani et al. 2019). r is in pixels, θ in radians.
        coefficients: (f,) or (k₁, k₂, ...).
        max_angle: the largest θ that the lens shows, in radians; None for all that it can: below π/2 for a pinhole, up
            to π for the others. For a polynomial it ends where r stops growing, whatever is given.

    Raises:
        GridError: if there are too few or too many coefficients, the first is not positive, or the angle is out of
            range.
    """

    kind: str
    coefficients: tuple[float, ...]
    max_angle: float | None = None

    def __post_init__(self) -> None:
        coefficients = tuple(float(value) for value in self.coefficients)
        wanted = _COUNTS.get(self.kind)
        if self.kind not in ("pinhole", "equidistant", "polynomial"):
            raise GridError(f"{self.kind!r} is not a lens; it must be pinhole, equidistant or polynomial.")
        if not coefficients or (wanted and len(coefficients) != wanted) or not np.isfinite(coefficients).all():
            raise GridError(
                f"a {self.kind} lens has coefficients {list(coefficients)}; it must have "
                f"{'the focal length alone' if wanted else 'k1, k2, ...'}, in pixels."
            )
        if coefficients[0] <= 0:
            raise GridError(f"the first coefficient of a {self.kind} lens is {coefficients[0]:g}; it must be positive.")
        most = np.pi / 2 if self.kind == "pinhole" else np.pi
        if self.max_angle is not None and not 0 < self.max_angle <= most:
            raise GridError(
                f"a {self.kind} lens cannot show rays up to {np.degrees(self.max_angle):g}° from its axis; "
                f"max_angle must be above 0 and at most {np.degrees(most):g}°, in radians."
            )
        object.__setattr__(self, "coefficients", coefficients)

    @cached_property
    def limit(self) -> float:
        """The largest angle with a place in the image: as given, or where the radius stops growing."""
        most = np.pi / 2 * (1 - 1e-9) if self.kind == "pinhole" else np.pi
        if self.kind == "polynomial":
            most = self._turning(most)
        return float(most if self.max_angle is None else min(most, self.max_angle))

    def _turning(self, most: float) -> float:
        """The first angle up to `most` at which the radius stops growing, by bisection from a table."""
        table = np.linspace(0.0, most, _LOOKED_AT)
        falling = np.flatnonzero(self.slope(table) <= 0)
        if not len(falling):
            return most
        low, high = table[falling[0] - 1], table[falling[0]]
        while (middle := (low + high) / 2) not in (low, high):
            low, high = (middle, high) if self.slope(np.array(middle)) > 0 else (low, middle)
        return float(low)

    def radius(self, theta: Float64[np.ndarray, "*points"]) -> Float64[np.ndarray, "*points"]:
        """Pixels from the image's centre at which rays `theta` radians off the axis appear; the limit is not asked."""
        if self.kind == "pinhole":
            return np.asarray(self.coefficients[0] * np.tan(theta))
        # Horner's scheme in place: this is the inner loop of every projection.
        r = np.full_like(theta, self.coefficients[-1])
        for coefficient in (*self.coefficients[-2::-1], 0.0):
            r *= theta
            r += coefficient
        return r

    def slope(self, theta: Float64[np.ndarray, "*points"]) -> Float64[np.ndarray, "*points"]:
        """Pixels per radian, dr/dθ."""
        if self.kind == "pinhole":
            return np.asarray(self.coefficients[0] / np.cos(theta) ** 2)
        s = np.full_like(theta, len(self.coefficients) * self.coefficients[-1])
        for power in range(len(self.coefficients) - 1, 0, -1):
            s *= theta
            s += power * self.coefficients[power - 1]
        return s

    def angle(self, radius: Float64[np.ndarray, "*points"]) -> Float64[np.ndarray, "*points"]:
        """The inverse of `radius`, in radians; NaN beyond the limit.

        Exact for pinhole and equidistant. For a polynomial Newton's method from a table, which stops where a step no
        longer changes the last digits; steps stay within the table's cell, so that it also ends where the slope is 0.
        """
        radius = np.asarray(radius, np.float64)
        if self.kind == "pinhole":
            theta = np.arctan(radius / self.coefficients[0])
        elif self.kind == "equidistant":
            theta = radius / self.coefficients[0]
        else:
            theta = self._newton(radius.reshape(-1)).reshape(radius.shape)
        edge = self.radius(np.array(self.limit)) * (1 + 1e-12)
        return np.where(radius <= edge, np.minimum(theta, self.limit), np.nan)

    def _newton(self, radius: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        table = np.linspace(0.0, self.limit, _KNOTS)
        knots = np.maximum.accumulate(self.radius(table))
        cell = np.clip(np.searchsorted(knots, radius, side="right") - 1, 0, _KNOTS - 2)
        low, high = table[cell], table[cell + 1]
        theta = np.clip(np.interp(radius, knots, table), low, high)
        moving = np.arange(len(radius))
        for _ in range(_MOST_STEPS):
            with np.errstate(divide="ignore", invalid="ignore"):
                step = (self.radius(theta[moving]) - radius[moving]) / self.slope(theta[moving])
            after = np.clip(theta[moving] - np.nan_to_num(step), low[moving], high[moving])
            moved = np.abs(after - theta[moving]) > 4e-16 * (1 + after)
            theta[moving] = after
            moving = moving[moved]
            if not len(moving):
                break
        return theta
