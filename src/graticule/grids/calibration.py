"""Calibrations as the WoodScape data set publishes them (JSON files, github.com/valeoai/WoodScape)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from graticule.errors import GridError
from graticule.grids.lens import Lens
from graticule.grids.rotation import Quaternion


def _number(calibration: Mapping[str, Any], section: str, key: str) -> float:
    where = f"the calibration of camera {calibration.get('name', '(without name)')}"
    inner = calibration.get(section)
    if not isinstance(inner, Mapping) or key not in inner:
        raise GridError(f"{where} has no {section}.{key}; give the whole file as WoodScape publishes it.")
    value = inner[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise GridError(f"{where} has {section}.{key} = {value!r}; it must be a finite number.")
    return float(value)


def _numbers(calibration: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
    extrinsic = calibration.get("extrinsic")
    values: Any = extrinsic.get(key) if isinstance(extrinsic, Mapping) else None
    good = isinstance(values, list | tuple) and len(values) == count
    if not good or not all(isinstance(value, int | float) and np.isfinite(value) for value in values):
        raise GridError(
            f"the calibration of camera {calibration.get('name', '(without name)')} has extrinsic.{key} = {values!r}; "
            f"it must be {count} numbers."
        )
    return tuple(float(value) for value in values)


def lens_of_woodscape(
    calibration: Mapping[str, Any],
) -> tuple[int, int, Lens, tuple[float, float], tuple[float, float]]:
    """Height, width, lens, centre and scale of a calibration of the model "radial_poly".

    The published formulas count from the centre of the first pixel; here positions count from its corner, hence no
    half pixel.

    Raises:
        GridError: naming the number that is missing or wrong.
    """
    given = calibration.get("intrinsic")
    intrinsic: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    model = intrinsic.get("model")
    if model not in (None, "radial_poly"):
        raise GridError(f"the calibration has the lens model '{model}'; WoodScape's is 'radial_poly'.")
    order = _number(calibration, "intrinsic", "poly_order") if "poly_order" in intrinsic else 4.0
    lens = Lens("polynomial", tuple(_number(calibration, "intrinsic", f"k{n}") for n in range(1, int(order) + 1)))
    names = ("height", "width", "cx_offset", "cy_offset", "aspect_ratio")
    height, width, x, y, aspect = (_number(calibration, "intrinsic", name) for name in names)
    return int(height), int(width), lens, (x + width / 2, y + height / 2), (1.0, aspect)


def pose_of_woodscape(calibration: Mapping[str, Any]) -> tuple[Quaternion, tuple[float, float, float]]:
    """Quaternion (x, y, z, w) from camera to vehicle, and the camera's place in the vehicle in metres.

    Raises:
        GridError: if there are none, or the quaternion is not of length 1.
    """
    x, y, z, w = _numbers(calibration, "quaternion", 4)
    length = float(np.sqrt(x * x + y * y + z * z + w * w))
    if abs(length - 1) > 1e-3:
        raise GridError(f"the calibration's quaternion has the length {length:g}; it must be 1.")
    right, ahead, up = _numbers(calibration, "translation", 3)
    return (x / length, y / length, z / length, w / length), (right, ahead, up)
