"""Where photographs are prepared: on their cameras' pixels, resized and cropped, or on base pixels of a sphere."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graticule.errors import SourceError
from graticule.grids import CameraGrid, Grid, HealpixGrid, parse_grid
from graticule.grids.camera import Frame
from graticule.grids.coverage import BASE_PIXELS, base_pixels_seen

LEAST_SEEN = 0.1
"""Base pixels of which no camera sees this share are left out, unless they are named."""


class FisheyeGrid:
    """Where samples lie, and how an array of a photograph is cut into them.

    Args:
        cameras: the different cameras by name.
        grid: "camera" (as taken), "camera:640x768" (resized to height x width) or "healpix:256" (nside).
        base_pixels: of the sphere; those that the cameras see if None.
        window: side of a nested window in cells; None makes one sample of all base pixels.
        crop: [row, column, height, width] within the resized photograph, also beyond its edges.
        frame: where the sphere has its pole; for the error.

    Raises:
        SourceError: if these do not go together.
    """

    def __init__(
        self, cameras: Mapping[str, CameraGrid], grid: str, *, base_pixels: Sequence[int] | None, window: int | None,
        crop: Sequence[int] | None, frame: Frame,
    ) -> None:  # fmt: skip
        self.size: tuple[int, int] | None = None
        self.sphere: HealpixGrid | None = None
        self._box: tuple[int, int, int, int] | None = None
        match = re.fullmatch(r"camera(?::(\d+)x(\d+))?", grid.strip())
        if match:
            self._on_camera(cameras, grid, match, crop)
            if window is not None or base_pixels is not None:
                raise SourceError(f"source.window and source.base_pixels are of a sphere; leave them out on {grid}.")
        elif crop is not None:
            raise SourceError(f"source.crop is of photographs; leave it out on {grid}.")
        else:
            self._on_sphere(cameras, grid, base_pixels, window, frame)

    def _on_camera(
        self, cameras: Mapping[str, CameraGrid], grid: str, match: re.Match[str], crop: Sequence[int] | None
    ) -> None:
        sizes = {camera.shape for camera in cameras.values()}
        if match[1]:
            self.size = (int(match[1]), int(match[2]))
            if min(self.size) < 1:
                raise SourceError(f"source.grid is {grid}; height and width must be at least 1.")
        elif len(sizes) > 1:
            listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
            raise SourceError(f"the cameras take pictures of {listed} pixels; give one size as source.grid=camera:HxW.")
        height, width = self.size or next(iter(sizes))
        if crop is not None:
            if len(crop) != 4 or crop[2] < 1 or crop[3] < 1:
                raise SourceError(f"source.crop is {list(crop)}; give [row, column, height, width].")
            row, column, high, wide = map(int, crop)
            if row >= height or column >= width or row + high <= 0 or column + wide <= 0:
                raise SourceError(f"source.crop {list(crop)} lies outside the picture of {height} x {width} pixels.")
            self._box = (row, column, high, wide)
        self.space: tuple[int, ...] = (self._box[2], self._box[3]) if self._box else (height, width)
        self.pieces = 1

    def _on_sphere(
        self, cameras: Mapping[str, CameraGrid], grid: str, base_pixels: Sequence[int] | None, window: int | None,
        frame: Frame,
    ) -> None:  # fmt: skip
        whole = parse_grid(grid) if grid.startswith("healpix:") else None
        if not isinstance(whole, HealpixGrid):
            raise SourceError(f"photographs cannot be prepared on {grid}; use camera, camera:HxW or healpix:<nside>.")
        shares = np.max([base_pixels_seen(camera) for camera in cameras.values()], axis=0)
        if base_pixels is None:
            base_pixels = [number for number in range(BASE_PIXELS) if shares[number] >= LEAST_SEEN]
        for number in base_pixels:
            if 0 <= number < BASE_PIXELS and shares[number] == 0:
                seen = ", ".join(str(other) for other in range(BASE_PIXELS) if shares[other] > 0)
                raise SourceError(
                    f"no camera sees base pixel {number} with source.frame={frame}; they see {seen}: leave it out of "
                    "source.base_pixels."
                )
        self.sphere = HealpixGrid(whole.nside, tuple(base_pixels))
        side = window or whole.nside
        if side < 1 or side & (side - 1) or side > whole.nside:
            raise SourceError(
                f"windows of {side} cells do not divide the base pixels of {grid}; source.window must be a power of "
                f"two up to {whole.nside}."
            )
        cells = self.sphere.size if window is None else side * side
        self.space, self.pieces = (cells,), self.sphere.size // cells

    @property
    def window(self) -> dict[str, Any]:
        """How samples are cut, as plain data."""
        if self.sphere is None:
            return {"height": self.space[0], "width": self.space[1], "overlap": 0}
        return {"cells": self.space[0], "base_pixels": list(self.sphere.parents or ())}

    def scene(self, camera: CameraGrid) -> Grid:
        """The grid of a camera's photographs, from which samples are cut."""
        if self.sphere is not None:
            return self.sphere
        return camera if self.size is None or self.size == camera.shape else camera.resized(*self.size)

    def start(self, piece: int) -> tuple[int, ...]:
        """Where a sample begins in its scene."""
        if self.sphere is not None:
            return (piece * self.space[0],)
        return self._box[:2] if self._box else (0, 0)

    def cut(self, values: np.ndarray, piece: int, unknown: float = 0) -> np.ndarray:
        """The sample's part of [..., *scene]; `unknown` beyond its edges."""
        if self.sphere is not None:
            return np.ascontiguousarray(values[..., piece * self.space[0] : (piece + 1) * self.space[0]])
        if self._box is None:
            return values
        row, column, height, width = self._box
        low, high = (
            (max(row, 0), max(column, 0)),
            (min(row + height, values.shape[-2]), min(column + width, values.shape[-1])),
        )
        out = np.full((*values.shape[:-2], height, width), unknown, values.dtype)
        own = values[..., low[0] : high[0], low[1] : high[1]]
        out[..., low[0] - row : high[0] - row, low[1] - column : high[1] - column] = own
        return out
