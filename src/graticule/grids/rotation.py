"""Rotations as quaternions (x, y, z, w)."""

import numpy as np
from jaxtyping import Float64

Quaternion = tuple[float, float, float, float]
IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)


def matrix(quaternion: Quaternion) -> Float64[np.ndarray, "3 3"]:
    """The rotation of a unit quaternion as a matrix that turns columns."""
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def product(after: Quaternion, before: Quaternion) -> Quaternion:
    """The rotation `before`, then `after`."""
    (x2, y2, z2, w2), (x1, y1, z1, w1) = after, before
    return (
        w2 * x1 + x2 * w1 + y2 * z1 - z2 * y1,
        w2 * y1 - x2 * z1 + y2 * w1 + z2 * x1,
        w2 * z1 + x2 * y1 - y2 * x1 + z2 * w1,
        w2 * w1 - x2 * x1 - y2 * y1 - z2 * z1,
    )


def inverse(quaternion: Quaternion) -> Quaternion:
    """The rotation back."""
    x, y, z, w = quaternion
    return -x, -y, -z, w


def turn(axis: tuple[float, float, float], angle: float) -> Quaternion:
    """The rotation by `angle` radians round a unit axis."""
    x, y, z = (part * float(np.sin(angle / 2)) for part in axis)
    return x, y, z, float(np.cos(angle / 2))
