"""Photographs: where each pixel of a camera looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import shapely
from jaxtyping import Bool, Float64, Int64
from numpy.typing import ArrayLike
from shapely.geometry.base import BaseGeometry

from graticule.errors import GridError
from graticule.grids.calibration import lens_of_woodscape, pose_of_woodscape
from graticule.grids.lens import Lens
from graticule.grids.rotation import IDENTITY, Quaternion, inverse, matrix, product, turn
from graticule.grids.sphere import quad_areas, unit_vectors, wrap_longitude
from graticule.grids.stencil import bilinear_stencil

Frame = Literal["camera", "level", "vehicle"]


@dataclasses.dataclass(frozen=True)
class Pose:
    """How a camera is mounted.

    Attributes:
        quaternion: (x, y, z, w), turns directions of the camera (x right, y down, z ahead) into those of the vehicle
            (x ahead, y left, z up; ISO 8855).
        translation: of the camera in the vehicle, in metres.
    """

    quaternion: Quaternion = IDENTITY
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True, repr=False)
class CameraGrid:
    """The pixels of a photograph.

    Positions in the image are in pixels from the outer corner of pixel (0, 0), whose centre is (0.5, 0.5), as for
    rasters. A ray θ off the optical axis, φ round it (0 to the right, 90° down), appears at

        column = scale₀ · r(θ) · cos φ + centre₀,   row = scale₁ · r(θ) · sin φ + centre₁.

    Longitude, latitude and directions are those of a sphere round the camera, not of the Earth. Without a rotation its
    pole is the optical axis: latitude 90° − θ, longitude φ; a `HealpixGrid` that the photograph is resampled to has the
    same pole. Pixels that the lens does not show have the direction NaN and the area 0.

    Attributes:
        height: rows.
        width: columns.
        lens: the radius of a ray in the image.
        centre: (column, row) of the optical axis.
        scale: stretch of columns and rows: (fx, fy) for a pinhole of focal length 1, the aspect ratio, a resize.
        rotation: quaternion (x, y, z, w) that turns directions of the camera into those of the sphere.
        pose: how the camera is mounted, if that is known.

    Raises:
        GridError: without pixels, or if a number is not finite or a scale not positive.
    """

    height: int
    width: int
    lens: Lens
    centre: tuple[float, float]
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: Quaternion = IDENTITY
    pose: Pose | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise GridError(f"a camera of {self.height} x {self.width} pixels is empty; it needs at least one pixel.")
        numbers = (*self.centre, *self.scale, *self.rotation)
        if not np.isfinite(numbers).all() or min(self.scale) <= 0 or not any(self.rotation):
            raise GridError(
                f"a camera has centre {self.centre}, scale {self.scale} and rotation {self.rotation}; they must be "
                "finite, scales positive and the rotation a quaternion."
            )
        length = float(np.linalg.norm(self.rotation))
        turned = self.rotation if abs(length - 1) < 1e-15 else tuple(float(q) / length for q in self.rotation)
        object.__setattr__(self, "height", int(self.height))
        object.__setattr__(self, "width", int(self.width))
        object.__setattr__(self, "centre", (float(self.centre[0]), float(self.centre[1])))
        object.__setattr__(self, "scale", (float(self.scale[0]), float(self.scale[1])))
        object.__setattr__(self, "rotation", turned)

    @classmethod
    def from_woodscape(cls, calibration: Mapping[str, Any]) -> CameraGrid:
        """The camera of a WoodScape calibration (the content of its JSON file), with the pole on its optical axis.

        Raises:
            GridError: naming what the calibration lacks.
        """
        height, width, lens, centre, scale = lens_of_woodscape(calibration)
        return cls(height, width, lens, centre, scale, pose=Pose(*pose_of_woodscape(calibration)))

    @classmethod
    def pinhole(cls, height: int, width: int, focal: float) -> CameraGrid:
        """A camera without distortion, its axis in the image's centre; `focal` in pixels."""
        return cls(height, width, Lens("pinhole", (focal,)), (width / 2, height / 2))

    @classmethod
    def fisheye(cls, height: int, width: int, focal: float, max_angle: float | None = None) -> CameraGrid:
        """An equidistant fisheye, its axis in the image's centre; `focal` in pixels per radian."""
        return cls(height, width, Lens("equidistant", (focal,), max_angle), (width / 2, height / 2))

    def __repr__(self) -> str:
        k = ", ".join(f"{value:g}" for value in self.lens.coefficients)
        turned = "" if self.rotation == IDENTITY else ", turned"
        return f"CameraGrid({self.height} x {self.width}, {self.lens.kind} {k}{turned})"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """The number of pixels."""
        return self.height * self.width

    def window(self, row: int, column: int, height: int, width: int) -> CameraGrid:
        """The grid of `height` x `width` pixels from (row, column), which may start or reach outside this one."""
        centre = (self.centre[0] - column, self.centre[1] - row)
        return dataclasses.replace(self, height=height, width=width, centre=centre)

    def resized(self, height: int, width: int) -> CameraGrid:
        """The grid of the same photograph with another number of pixels."""
        across, down = width / self.width, height / self.height
        centre = (self.centre[0] * across, self.centre[1] * down)
        scale = (self.scale[0] * across, self.scale[1] * down)
        return dataclasses.replace(self, height=height, width=width, centre=centre, scale=scale)

    def without_pose(self) -> CameraGrid:
        """The same pixels, however the camera is mounted: what maps between grids are kept by."""
        return self if self.pose is None else dataclasses.replace(self, pose=None)

    def in_frame(self, frame: Frame) -> CameraGrid:
        """The same pixels on a sphere with another pole.

        Args:
            frame: "camera": the pole is the optical axis; "vehicle": the pole is up and longitude 0 is ahead, so that
                all cameras of a vehicle share one sphere; "level": the pole is the axis of the vehicle (ahead, behind,
                left or right) nearest to the optical axis, as WoodScape's projections have it with a turned pole.

        Raises:
            GridError: if the camera has no pose but needs one.
        """
        if frame == "camera":
            return dataclasses.replace(self, rotation=IDENTITY)
        if self.pose is None:
            raise GridError(f"the camera has no pose, so there is no frame '{frame}'; use the frame 'camera'.")
        if frame == "vehicle":
            return dataclasses.replace(self, rotation=self.pose.quaternion)
        turned = matrix(self.pose.quaternion)
        ahead = turned[:2, 2]
        axis = np.zeros(3)
        axis[np.argmax(np.abs(ahead))] = np.sign(ahead[np.argmax(np.abs(ahead))])
        x, y, z = turned.T @ axis
        around, off = float(np.arctan2(y, x)), float(np.arctan2(np.hypot(x, y), z))
        back = product(turn((0, 0, 1), around), turn((0, 1, 0), off))
        return dataclasses.replace(self, rotation=inverse(back))

    def angles(
        self, column: Float64[np.ndarray, "*points"], row: Float64[np.ndarray, "*points"]
    ) -> tuple[Float64[np.ndarray, "*points"], Float64[np.ndarray, "*points"]]:
        """θ off the optical axis and φ round it, in radians, of positions in the image; θ is NaN where no ray is."""
        x, y = (column - self.centre[0]) / self.scale[0], (row - self.centre[1]) / self.scale[1]
        return self.lens.angle(np.asarray(np.hypot(x, y))), np.asarray(np.arctan2(y, x))

    def unproject(
        self, column: Float64[np.ndarray, "*points"], row: Float64[np.ndarray, "*points"]
    ) -> Float64[np.ndarray, "*points 3"]:
        """Unit vectors, in the sphere's frame, of the rays at positions in the image; NaN where the lens shows none."""
        theta, phi = self.angles(column, row)
        off = np.sin(theta)
        rays = np.stack([off * np.cos(phi), off * np.sin(phi), np.cos(theta)], axis=-1)
        return rays if self.rotation == IDENTITY else rays @ matrix(self.rotation).T

    def project(
        self, directions: Float64[np.ndarray, "*points 3"]
    ) -> tuple[Float64[np.ndarray, "*points"], Float64[np.ndarray, "*points"]]:
        """Column and row, in pixels, at which directions of the sphere appear (also outside the image).

        NaN where the lens shows nothing.
        """
        rays = directions if self.rotation == IDENTITY else directions @ matrix(self.rotation)
        across = np.hypot(rays[..., 0], rays[..., 1])
        theta = np.asarray(np.arctan2(across, rays[..., 2]))
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(across > 0, self._radius(theta) / across, np.where(theta < 1, 0.0, np.nan))
        return self._place(np.asarray(factor * rays[..., 0]), np.asarray(factor * rays[..., 1]))

    def _radius(self, theta: np.ndarray) -> np.ndarray:
        return np.where(theta <= self.lens.limit * (1 + 1e-15), self.lens.radius(theta), np.nan)

    def _place(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(x * self.scale[0] + self.centre[0]), np.asarray(y * self.scale[1] + self.centre[1])

    def _pixel_coordinates(self, lon: ArrayLike, lat: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Fractional column and row of points of the sphere; NaN for those that have none."""
        lon, lat = np.broadcast_arrays(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        lat = np.where(np.abs(lat) <= 90.0, lat, np.nan)
        if self.rotation != IDENTITY:
            return self.project(unit_vectors(lon, lat))
        phi, radius = np.deg2rad(lon), self._radius(np.asarray(np.deg2rad(90.0 - lat)))
        return self._place(np.asarray(radius * np.cos(phi)), np.asarray(radius * np.sin(phi)))

    def lonlat(self) -> tuple[Float64[np.ndarray, "height width"], Float64[np.ndarray, "height width"]]:
        """Longitude in [-180, 180) and latitude, on the camera's sphere, of the pixel centres (read-only)."""
        return _lonlat(self.without_pose())

    def directions(self) -> Float64[np.ndarray, "height width 3"]:
        """Unit vectors, in the sphere's frame, to the pixel centres."""
        return self.unproject(*self._mesh(0.5, 0))

    def areas(self) -> Float64[np.ndarray, "height width"]:
        """Steradians that each pixel covers (read-only).

        That of the great-circle quadrilateral of its corners, so that pixels tile the sphere; at the rim of the lens,
        where corners are missing, that of the lens's magnification at the centre.
        """
        return _areas(dataclasses.replace(self.without_pose(), rotation=IDENTITY))

    @cached_property
    def shown(self) -> Bool[np.ndarray, "height width"]:
        """The pixels whose centre the lens shows."""
        column, row = self._mesh(0.5, 0)
        x, y = (column - self.centre[0]) / self.scale[0], (row - self.centre[1]) / self.scale[1]
        edge = self.lens.radius(np.array(self.lens.limit)) * (1 + 1e-12)
        return np.asarray(np.hypot(x, y) <= edge)

    def _mesh(self, offset: float, extra: int) -> tuple[np.ndarray, np.ndarray]:
        column, row = np.meshgrid(np.arange(self.width + extra) + offset, np.arange(self.height + extra) + offset)
        return column, row

    def locate(self, lon: ArrayLike, lat: ArrayLike) -> Int64[np.ndarray, "*points"]:
        """Flat index (row-major) of the pixel that shows each point of the sphere, -1 where none does."""
        return self._at(*self._pixel_coordinates(lon, lat))

    def _at(self, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            column, row = np.floor(column), np.floor(row)
            inside = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        flat = np.where(inside, row, 0).astype(np.int64) * self.width + np.where(inside, column, 0).astype(np.int64)
        return np.where(inside & self.shown.reshape(-1)[flat], flat, -1)

    def neighbours_weights(
        self, lon: ArrayLike, lat: ArrayLike
    ) -> tuple[Int64[np.ndarray, "*points 4"], Float64[np.ndarray, "*points 4"]]:
        """The four pixel centres round where each point appears, and their bilinear weights.

        At the edges of image and lens the weights of the pixels that exist are raised to add to 1.
        """
        column, row = self._pixel_coordinates(lon, lat)
        return bilinear_stencil(column, row, self._at(column, row) < 0, self._flat_index)

    def _flat_index(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        inside = (rows >= 0) & (rows < self.height) & (columns >= 0) & (columns < self.width)
        flat = np.where(inside, rows * self.width + columns, 0)
        return np.where(inside & self.shown.reshape(-1)[flat], flat, -1)

    def samples(
        self, per_side: int, pixels: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"], Float64[np.ndarray, "n parts"]]:
        """Longitude, latitude and share of the pixel's area of the `per_side²` equal parts of some pixels."""
        row, column = np.divmod(pixels, self.width)
        offsets = (np.arange(per_side) + 0.5) / per_side
        rows, columns = np.broadcast_arrays(
            (row[:, None] + offsets)[:, :, None], (column[:, None] + offsets)[:, None, :]
        )
        lon, lat = _to_lonlat(self, columns.reshape(len(pixels), -1), rows.reshape(len(pixels), -1))
        return lon, lat, np.full(lon.shape, 1.0 / per_side**2)

    def footprint(self) -> BaseGeometry:
        """Nothing: where on the Earth a photograph looks is not known."""
        return shapely.Polygon()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `grid_from_dict` is the inverse."""
        angle = {} if self.lens.max_angle is None else {"max_angle": self.lens.max_angle}
        lens = {"kind": self.lens.kind, "coefficients": list(self.lens.coefficients)} | angle
        data = {
            "kind": "camera", "height": self.height, "width": self.width, "lens": lens, "centre": list(self.centre),
            "scale": list(self.scale), "rotation": list(self.rotation),
        }  # fmt: skip
        if self.pose is None:
            return data
        return data | {"pose": {"quaternion": list(self.pose.quaternion), "translation": list(self.pose.translation)}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CameraGrid:
        """The inverse of `to_dict`."""
        lens = Lens(data["lens"]["kind"], tuple(data["lens"]["coefficients"]), data["lens"].get("max_angle"))
        pose = data.get("pose")
        return cls(
            data["height"], data["width"], lens, tuple(data["centre"]), tuple(data["scale"]), tuple(data["rotation"]),
            None if pose is None else Pose(tuple(pose["quaternion"]), tuple(pose["translation"])),
        )  # fmt: skip


def _to_lonlat(grid: CameraGrid, column: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if grid.rotation == IDENTITY:
        theta, phi = grid.angles(column, row)
        return np.where(np.isnan(theta), np.nan, wrap_longitude(np.rad2deg(phi))), 90.0 - np.rad2deg(theta)
    x, y, z = np.moveaxis(grid.unproject(column, row), -1, 0)
    return wrap_longitude(np.rad2deg(np.arctan2(y, x))), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


# Every sample of a store asks for the areas of its grid, and most share a few cameras.
@lru_cache(maxsize=8)
def _lonlat(grid: CameraGrid) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = _to_lonlat(grid, *grid._mesh(0.5, 0))
    lon.flags.writeable = lat.flags.writeable = False
    return lon, lat


@lru_cache(maxsize=32)
def _areas(grid: CameraGrid) -> np.ndarray:
    corners = grid.unproject(*grid._mesh(0.0, 1))
    areas = quad_areas(corners)
    bare = grid.shown & (areas == 0)
    if bare.any():
        rows, columns = np.nonzero(bare)
        theta, _ = grid.angles(columns + 0.5, rows + 0.5)
        magnified = grid.lens.radius(theta) * grid.lens.slope(theta) * grid.scale[0] * grid.scale[1]
        areas[bare] = np.divide(np.sin(theta), magnified, out=np.zeros_like(theta), where=magnified > 0)
    areas[~grid.shown] = 0.0
    areas.flags.writeable = False
    return areas
