"""Convex solids and ellipsoids, and what the rays of a pinhole camera meet first of them.

Rays are scaled so that they advance one metre along the optical axis per unit: the parameter of a hit is its depth as
depth cameras and Virtual KITTI store it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16

from graticule.grids import CameraGrid
from graticule.grids.rotation import matrix

SKY_METRES = 1000.0
"""Depth of the sky."""

_NEAR = 0.3
"""Metres; what reaches nearer to the camera is looked for in the whole picture."""

_SHADOWS = 60.0
"""Metres ahead; shadows of what stands farther are a pixel high."""

GROUND, SKY = -1, -2
"""In `Hits.solid`: the ground, or nothing."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """All points p with `normals @ p <= offsets`, or an ellipsoid; axes are x ahead, y left, z up, in metres.

    Attributes:
        kind: what it is made of, a key of `paint.MATERIALS`.
        low: the low corner of the box round it.
        high: the high one.
        normals: of its faces, [faces, 3]; without any it is the ellipsoid that fills the box.
        offsets: of its faces, [faces].
        colour: of its paint, linear red, green, blue.
        ragged: 0 to 1, how much of an ellipsoid's rim is gaps between leaves.
    """

    kind: str
    low: np.ndarray
    high: np.ndarray
    normals: Float64[np.ndarray, "faces 3"] = field(default_factory=lambda: np.empty((0, 3)))
    offsets: Float64[np.ndarray, " faces"] = field(default_factory=lambda: np.empty(0))
    colour: Point = (0.5, 0.5, 0.5)
    ragged: float = 0.0

    @property
    def corners(self) -> Float64[np.ndarray, "8 3"]:
        """Of the box round it."""
        return np.array(list(product(*zip(self.low, self.high, strict=True))))


def hull(kind: str, points: Sequence[Point], faces: Sequence[Sequence[int]], colour: Point) -> Solid:
    """The convex solid with these corners; each face is three of them, in either sense."""
    corners = np.array(points, np.float64)
    one, two, three = (corners[[face[k] for face in faces]] for k in range(3))
    normals = np.cross(two - one, three - one)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = (normals * one).sum(axis=1)
    inward = normals @ corners.mean(axis=0) > offsets
    normals[inward], offsets[inward] = -normals[inward], -offsets[inward]
    return Solid(kind, corners.min(axis=0), corners.max(axis=0), normals, offsets, colour)


def box(kind: str, low: Point, high: Point, colour: Point) -> Solid:
    """A box along the axes."""
    normals = np.concatenate([np.eye(3), -np.eye(3)])
    offsets = np.concatenate([np.array(high, np.float64), -np.array(low, np.float64)])
    return Solid(kind, np.array(low, np.float64), np.array(high, np.float64), normals, offsets, colour)


def ball(kind: str, middle: Point, radii: Point, colour: Point, ragged: float = 0.0) -> Solid:
    """An ellipsoid along the axes."""
    centre, reach = np.array(middle, np.float64), np.array(radii, np.float64)
    return Solid(kind, centre - reach, centre + reach, colour=colour, ragged=ragged)


def turned(solid: Solid, angle: float, about: tuple[float, float]) -> Solid:
    """A convex solid turned round a vertical axis at (x, y)."""
    sine, cosine = np.sin(angle), np.cos(angle)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    pivot = np.array([*about, 0.0])
    normals = solid.normals @ matrix.T
    offsets = solid.offsets + normals @ pivot - solid.normals @ pivot
    corners = (solid.corners - pivot) @ matrix.T + pivot
    return Solid(solid.kind, corners.min(axis=0), corners.max(axis=0), normals, offsets, solid.colour)


@dataclass(frozen=True)
class Profile:
    """The ground: height as a function of y, straight between the points; level beyond them.

    Attributes:
        y: ascending.
        z: height there.
    """

    y: tuple[float, ...]
    z: tuple[float, ...]

    def at(self, y: float) -> float:
        """The height at one y."""
        return float(np.interp(y, self.y, self.z))


@dataclass
class Hits:
    """What each ray meets first.

    Attributes:
        depth: metres along the optical axis, `SKY_METRES` where nothing is met.
        solid: position of the solid, or `GROUND` or `SKY`.
        normal: outward, of unit length.
    """

    depth: Float32[np.ndarray, "h w"]
    solid: Int16[np.ndarray, "h w"]
    normal: Float32[np.ndarray, "h w 3"]


def trace(
    solids: Sequence[Solid], ground: Profile, camera: CameraGrid, origin: Point, rays: Float32[np.ndarray, "h w 3"],
    mirror: float | None = None,
) -> Hits:  # fmt: skip
    """What the rays of a pinhole camera meet first.

    Args:
        solids: in the world.
        ground: beneath them.
        camera: whose frame is the world's.
        origin: where the camera is.
        rays: of its pixels, see `rays_of`.
        mirror: height of a level mirror: what is seen in it, of all that is above it; the ground is not.
    """
    hits = Hits(
        np.full(rays.shape[:2], SKY_METRES, np.float32), np.full(rays.shape[:2], SKY, np.int16),
        np.zeros(rays.shape, np.float32),
    )  # fmt: skip
    start, corners = np.array(origin), np.array([solid.corners for solid in solids]).reshape(-1, 8, 3)
    if mirror is None:
        _meet_ground(ground, start, rays, hits)
    else:
        turn, lift = np.array((1, 1, -1)), np.array((0, 0, 2 * mirror))
        start, rays, corners = start * turn + lift, rays * turn.astype(np.float32), corners * turn + lift
    windows, nearest = _windows(camera, corners - np.array(origin))
    for number in np.argsort(nearest):
        part, solid = windows[number], solids[number]
        # What comes first hides what is behind it.
        if part is not None and nearest[number] < hits.depth[part].max() and solid.high[2] > (mirror or -np.inf):
            _meet(solid, int(number), start, rays, hits, part, -np.inf if mirror is None else mirror)
    return hits


def rays_of(camera: CameraGrid) -> Float32[np.ndarray, "h w 3"]:
    """Directions of the pixel centres of a pinhole camera, one metre along its axis each."""
    rays = camera.directions()
    axis = camera.unproject(np.array(camera.centre[0]), np.array(camera.centre[1]))
    return np.asarray(rays / (rays @ axis)[..., None], np.float32)


def shade(
    solids: Sequence[Solid], camera: CameraGrid, origin: Point, points: Float32[np.ndarray, "h w 3"],
    where: Bool[np.ndarray, "h w"], sun: Point,
) -> Bool[np.ndarray, "h w"]:  # fmt: skip
    """Which points of the ground lie in the shadow of a solid.

    Args:
        solids: that cast shadows.
        camera: that sees the points.
        origin: where it is.
        points: that its pixels see.
        where: those on the ground, which is taken to be about level.
        sun: the direction to it.
    """
    shaded = np.zeros(where.shape, np.bool_)
    solids = [solid for solid in solids if solid.low[0] < _SHADOWS]
    toward = np.asarray(sun, np.float32)
    corners = np.array([solid.corners for solid in solids]).reshape(-1, 8, 3)
    cast = corners - corners[..., 2:] / sun[2] * toward
    windows, _ = _windows(camera, np.concatenate([corners, cast], axis=1) - np.array(origin))
    for solid, part in zip(solids, windows, strict=True):
        if part is None:
            continue
        rows, columns = np.nonzero(where[part] & ~shaded[part])
        if len(rows):
            rows, columns = rows + part[0].start, columns + part[1].start
            behind, leave = _meeting(solid, points[rows, columns].astype(np.float64), toward)[:2]
            dark = (behind <= leave) & (leave > 0.02)
            shaded[rows[dark], columns[dark]] = True
    return shaded


def _windows(
    camera: CameraGrid, corners: Float64[np.ndarray, "solids corners 3"]
) -> tuple[list[tuple[slice, slice] | None], Float64[np.ndarray, " solids"]]:  # fmt: skip
    """The rows and columns that solids may appear in, by corners round them, and the least depth.

    None for those out of sight or too small. Those that reach behind the camera may appear anywhere.
    """
    right, down, axis = matrix(camera.rotation).T
    ahead = corners @ axis
    safe = np.maximum(ahead, _NEAR)
    focal = camera.lens.coefficients[0]
    column = camera.centre[0] + focal * (corners @ right) / safe
    row = camera.centre[1] + focal * (corners @ down) / safe
    behind = (ahead < _NEAR).any(axis=1)
    low = np.stack([row.min(1) - 1, column.min(1) - 1], axis=1)
    high = np.stack([row.max(1) + 2, column.max(1) + 2], axis=1)
    low[behind], high[behind] = 0, np.inf
    first = np.clip(low, 0, camera.shape).astype(np.int64)
    last = np.clip(high, 0, camera.shape).astype(np.int64)
    # What is smaller than half a pixel is left out.
    shown = (high - low).max(axis=1) > 3.5
    there = (ahead >= _NEAR).any(axis=1) & (first < last).all(axis=1) & shown
    windows = [
        (slice(int(top), int(bottom)), slice(int(left), int(right))) if seen else None
        for (top, left), (bottom, right), seen in zip(first, last, there, strict=True)
    ]
    return windows, ahead.min(axis=1)


def _meet_ground(ground: Profile, start: np.ndarray, rays: np.ndarray, hits: Hits) -> None:
    """The ground's straight pieces; beyond the outer points it is level."""
    y = (-1e4, *ground.y, 1e4)
    z = (ground.z[0], *ground.z, ground.z[-1])
    across, down = rays[..., 1], rays[..., 2]
    for near, far, low, high in zip(y[:-1], y[1:], z[:-1], z[1:], strict=True):
        slope = (high - low) / (far - near)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.float32(low + slope * (start[1] - near) - start[2]) / (down - np.float32(slope) * across)
            place = start[1] + depth * across
        met = (depth > 0) & (depth < hits.depth) & (place >= near - 1e-4) & (place <= far + 1e-4)
        hits.depth[met], hits.solid[met] = depth[met], GROUND
        hits.normal[met] = np.array([0, -slope, 1]) / np.hypot(slope, 1)


def _meet(
    solid: Solid, number: int, start: np.ndarray, rays: np.ndarray, hits: Hits, part: tuple[slice, slice],
    least: float,
) -> None:  # fmt: skip
    """Replace what rays met in a part of the picture where they meet a solid before it, above the height `least`."""
    some = rays[part]
    depth, leave, normal = _meeting(solid, start, some)
    met = (depth <= leave) & (depth > 0.05) & (depth < hits.depth[part])
    if solid.ragged or least > -np.inf:
        rows, columns = np.nonzero(met)
        found = start + depth[rows, columns, None] * some[rows, columns]
        keep = found[:, 2] > least
        if solid.ragged:
            keep &= _is_leaf(solid, found, some[rows, columns])
        met[rows[~keep], columns[~keep]] = False
    hits.depth[part][met], hits.solid[part][met] = depth[met], number
    if normal is not None:
        hits.normal[part][met] = solid.normals[normal[met]]
    else:
        outward = (start + depth[met, None] * some[met] - (solid.low + solid.high) / 2) / (solid.high - solid.low) ** 2
        hits.normal[part][met] = outward / np.linalg.norm(outward, axis=-1, keepdims=True)


def _meeting(solid: Solid, start: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Where rays enter and leave a solid, and through which face they enter (None for ellipsoids)."""
    if not len(solid.normals):
        reach = (solid.high - solid.low) / 2
        along = rays / reach.astype(np.float32)
        place = (start - (solid.low + solid.high) / 2) / reach
        a, b, c = (along * along).sum(-1), (along * place).sum(-1), (place * place).sum(-1) - 1
        root = np.sqrt(np.maximum(b * b - a * c, 0))
        miss = b * b < a * c
        return np.where(miss, np.inf, (-b - root) / a), np.where(miss, -np.inf, (-b + root) / a), None
    # Faces first: numpy reduces a first axis many times faster than a short last one.
    normals = solid.normals.astype(np.float32)
    # Of one point and many rays, or of many points and one ray.
    dims = max(start.ndim, rays.ndim)
    toward = _along(normals, rays, dims)
    gap = solid.offsets.astype(np.float32).reshape(-1, *[1] * (dims - 1)) - _along(normals, start, dims)
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = gap / toward
    # A ray along a face is between it and the opposite one, or never.
    goes_in = np.where(toward < 0, cross, np.float32(-np.inf))
    if (toward == 0).any():
        goes_in = np.where((toward == 0) & (gap < 0), np.float32(np.inf), goes_in)
    goes_out = np.where(toward > 0, cross, np.float32(np.inf))
    return goes_in.max(axis=0), goes_out.min(axis=0), goes_in.argmax(axis=0)


def _along(normals: np.ndarray, vectors: np.ndarray, dims: int) -> np.ndarray:
    """How far vectors [*n, 3] go along each normal, [faces, *n]; those of one vector with as many axes."""
    found = np.tensordot(normals, vectors.astype(np.float32), (1, -1))
    return found.reshape(*found.shape, *[1] * (dims - found.ndim))


def _is_leaf(solid: Solid, points: np.ndarray, rays: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Whether there is a leaf where rays meet the crown of a tree; near its rim there are gaps."""
    outward = (points - (solid.low + solid.high) / 2) / (solid.high - solid.low)
    facing = -(outward * rays).sum(-1) / np.maximum(np.linalg.norm(outward, axis=-1), 1e-9)
    facing /= np.linalg.norm(rays, axis=-1)
    x, y, z = points.T
    pattern = np.sin(7.1 * x + 2.3 * z) * np.sin(6.3 * y - 1.7 * z) + np.sin(9.7 * z + 3.1 * x + 4.7 * y)
    return np.asarray(facing > solid.ragged * (0.5 + 0.35 * pattern))
