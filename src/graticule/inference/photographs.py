"""Photographs on any grid: the camera's own, resized, or the sphere round it; masked to a share of the sphere or not.

Classes are those of the nearest pixel, values between four pixels. On other grids than the store's the truth is that of
the whole photograph: a truth that went through a store would favour the grid of that store.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool

from graticule.data.sources.fisheye_grids import LEAST_SEEN
from graticule.data.store import Store
from graticule.errors import GridError
from graticule.grids import CameraGrid, Grid, HealpixGrid, resampler
from graticule.grids.coverage import base_pixels_seen
from graticule.grids.resample import Method
from graticule.inference.exchange import Canvas, Piece, cut
from graticule.schema import IGNORE, Target

TruthOf = Callable[[str], Mapping[str, np.ndarray]]
"""Name of a photograph in; its targets' arrays on its camera's pixels out (255 or NaN where unknown)."""

_FORM = re.compile(r"(?:(store|scene)|camera(?::(\d+)x(\d+))?|healpix:(\d+))(:masked)?")


@dataclass(frozen=True)
class Place:
    """A grid for photographs, by its name.

    Attributes:
        name: `store` (the samples' own pixels), `camera` (the photograph's), `camera:640x768` (resized to height x
            width) or `healpix:256`; with `:masked` at the end only what lies in the base pixels counts.
        size: (height, width) if resized.
        nside: of the sphere.
        masked: whether the base pixels mask it.
    """

    name: str
    size: tuple[int, int] | None
    nside: int | None
    masked: bool

    @classmethod
    def parse(cls, name: str) -> "Place":
        """The place of that name.

        Raises:
            GridError: if there is none.
        """
        match = _FORM.fullmatch(name.strip())
        size = (int(match[2]), int(match[3])) if match and match[2] else None
        if match is None or (size and min(size) < 1):
            raise GridError(
                f"{name!r} is no grid for photographs; write store, camera, camera:HEIGHTxWIDTH or healpix:NSIDE, each "
                "with :masked at its end where only the base pixels count."
            )
        return cls(name.strip(), size, int(match[4]) if match[4] else None, bool(match[5]))

    @property
    def is_own(self) -> bool:
        """Whether it is the samples' own pixels."""
        return self.name.split(":")[0] in ("store", "scene")

    def grid(self, own: Grid, camera: CameraGrid, base_pixels: tuple[int, ...]) -> Grid:
        """The grid, given that of the samples' scene."""
        if self.is_own:
            return own
        if self.nside is not None:
            return HealpixGrid(self.nside, base_pixels)
        return camera if self.size is None else camera.resized(*self.size)


@dataclass(frozen=True)
class Photograph:
    """A photograph with its prediction and truth on one grid.

    Attributes:
        name: of the photograph (`00000_FV`).
        grid: where all arrays lie.
        camera: that took it.
        x: its bands, where they were asked for.
        fields: predictions [k, *space] or [*space] by target.
        truth: [*space] by target, 255 or NaN where unknown.
        valid: where both are known and the mask, if any, is open.
        mask: where it is open.
    """

    name: str
    grid: Grid
    camera: CameraGrid
    x: np.ndarray | None
    fields: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    valid: dict[str, Bool[np.ndarray, "*space"]]
    mask: Bool[np.ndarray, "*space"]

    def pieces(self, pair: int, targets: tuple[Target, ...]) -> Iterator[Piece]:
        """The pixels in runs of moderate size; `pair` is whose they are."""
        share = {target.name: np.broadcast_to(np.float32(1), self.grid.shape) for target in targets}
        pairs = np.broadcast_to(np.int64(pair), self.grid.size)
        yield from cut(self.grid, targets, self.fields, self.truth, self.valid, share, pairs)


class Photographs:
    """The photographs of a store, on one grid.

    Args:
        store: of photographs (see `are_photographs`).
        place: where.
        targets: what is predicted.
        truth_of: the truth of a whole photograph; needed unless the place is the samples' own pixels.
        base_pixels: that the mask leaves open; those of the store, or those that the cameras see, if None.

    Raises:
        GridError: if base pixels are named that there are not.
    """

    def __init__(
        self, store: Store, place: Place, targets: Sequence[Target], truth_of: TruthOf | None,
        base_pixels: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        self.place, self.targets, self.truth_of = place, tuple(targets), truth_of
        self.cameras = cameras_of(store)
        self.base_pixels = base_pixels_of(store) if base_pixels is None else tuple(base_pixels)

    def exchange(self, name: str, scene: str, canvas: Canvas) -> Photograph:
        """A predicted photograph on the grid.

        Args:
            name: of the photograph.
            scene: the store's name of its camera.
            canvas: with its prediction and truth, on the samples' own pixels.
        """
        camera = self.cameras[scene]
        own = bare(canvas.grid)
        grid = bare(self.place.grid(canvas.grid, camera, self.base_pixels))
        predicted = canvas.blended() > 0
        mask = opened(grid, self.base_pixels) if self.place.masked else np.ones(grid.shape, np.bool_)
        truth = canvas.truth if self.place.is_own else self._truth(name, camera.without_pose(), grid)
        fields, valid = {}, {}
        for target in self.targets:
            there = predicted
            for predicted_name in target.predicted_names:
                fields[predicted_name] = canvas.fields[predicted_name]
                if grid != own:
                    way: Method = "nearest" if target.is_categorical else "bilinear"
                    fields[predicted_name], there = resampler(own, grid, way).values(fields[predicted_name], predicted)
            valid[target.name] = there & mask & known(truth[target.name])
        x = canvas.x
        if x is not None and grid != own:
            x = resampler(own, grid, "nearest").values(x)[0]
        return Photograph(name, grid, camera, x, fields, dict(truth), valid, mask)

    def _truth(self, name: str, camera: CameraGrid, grid: Grid) -> dict[str, np.ndarray]:
        """The truth of a whole photograph, of the nearest pixel, by target."""
        if self.truth_of is None:
            raise GridError(
                f"the truth of whole photographs is needed on {self.place.name}, and none was given; use store."
            )
        found, there = self.truth_of(name), {}
        for target in self.targets:
            values = found[target.array]
            if grid == camera:
                there[target.name] = values
            elif target.is_categorical:
                there[target.name] = resampler(camera, grid, "nearest").labels(values)
            else:
                there[target.name] = resampler(camera, grid, "nearest").values(values, np.isfinite(values))[0]
        return there


def are_photographs(store: Store) -> bool:
    """Whether the samples of a store are photographs whose cameras are known."""
    return bool(store.config["window"].get("cameras")) and "photo" in store.metadata


def cameras_of(store: Store) -> dict[str, CameraGrid]:
    """The cameras of a store of photographs, by the name of the scene."""
    found: Mapping[str, Any] = store.config["window"]["cameras"]
    return {name: CameraGrid.from_dict(camera) for name, camera in found.items()}


def base_pixels_of(store: Store) -> tuple[int, ...]:
    """The base pixels of a store on the sphere; of one on the plane those that its cameras see, by the same rule."""
    named = store.config["window"].get("base_pixels")
    return tuple(named) if named else base_pixels_of_cameras(tuple(cameras_of(store).values()))


@lru_cache(maxsize=8)
def base_pixels_of_cameras(cameras: tuple[CameraGrid, ...]) -> tuple[int, ...]:
    """The base pixels of which any of the cameras sees a tenth or more."""
    shares = np.max([base_pixels_seen(camera) for camera in cameras], axis=0)
    return tuple(int(number) for number in np.flatnonzero(shares >= LEAST_SEEN))


def bare(grid: Grid) -> Grid:
    """The grid as the maps between grids are kept by: however its camera is mounted."""
    return grid.without_pose() if isinstance(grid, CameraGrid) else grid


@lru_cache(maxsize=32)
def opened(grid: Grid, base_pixels: tuple[int, ...]) -> Bool[np.ndarray, "*space"]:
    """The pixels whose centre lies in the base pixels (read-only)."""
    inside = np.asarray(HealpixGrid(1, base_pixels).locate(*grid.lonlat()) >= 0)
    inside.flags.writeable = False
    return inside


def known(values: np.ndarray) -> Bool[np.ndarray, "*space"]:
    """Where labels or values are known."""
    return np.asarray(values != IGNORE if values.dtype == np.uint8 else np.isfinite(values))
