"""Photographs of fisheye cameras with labels and depth, on the camera's own pixels or on the sphere round it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from jaxtyping import UInt8

from graticule.data.sources.fisheye_classes import ClassTable, class_table
from graticule.data.sources.fisheye_files import CAMERAS, FisheyeFiles
from graticule.data.sources.fisheye_grids import FisheyeGrid
from graticule.errors import SourceError, nearest
from graticule.grids import CameraGrid, Grid, resampler
from graticule.grids.camera import Frame
from graticule.schema import IGNORE, Band, LegendClass, Target

BANDS = tuple(Band(name, unit="1", kind="optical", scale=1 / 255) for name in ("red", "green", "blue"))
SEMANTICS, DEPTH = "semantics", "depth"
TargetName = Literal["semantics", "depth"]
Void = Literal["ignore", "inside", "everywhere"]


@dataclass(frozen=True)
class Photo:
    """A photograph and what is known of it, on its camera's pixels: x [3, h, w], and arrays [h, w] by name."""

    x: np.ndarray
    arrays: dict[str, np.ndarray]


class FisheyeSource:
    """What WoodScape and SynWoodScape share; the two sources name their classes.

    Each photograph is a sample. Its parent is its number, so that what the four cameras took at one instant stays
    together; its region is the camera. The column `published` says which part of the published split it is in.
    """

    name = "fisheye"
    bands = BANDS
    dtype = np.dtype(np.uint8)

    def __init__(
        self, root: str, classes: str, *, targets: Sequence[TargetName], grid: str, base_pixels: Sequence[int] | None,
        window: int | None, crop: Sequence[int] | None, frame: Frame, void: Void, mask_background: bool,
        cameras: Sequence[str], train_share: float, split_seed: int,
    ) -> None:  # fmt: skip
        self._options = {
            "root": root, "targets": list(targets), "grid": grid, "window": window, "frame": frame, "void": void,
            "base_pixels": None if base_pixels is None else list(base_pixels),
            "crop": None if crop is None else list(crop), "mask_background": mask_background,
            "cameras": list(cameras), "train_share": train_share, "split_seed": split_seed,
        }  # fmt: skip
        for camera in cameras:
            if camera not in CAMERAS:
                raise SourceError(f"source.cameras has '{camera}'; {nearest(camera, CAMERAS)}")
        if not targets or len(set(targets)) != len(targets):
            raise SourceError(f"source.targets is {list(targets)}; name semantics, depth, or both.")
        self.void, self.mask_background = void, mask_background
        self.files = FisheyeFiles(Path(root), tuple(cameras))
        self.table = self._table(classes) if SEMANTICS in targets else None
        self.targets = tuple(self._target(name) for name in targets)
        self.parts = published_split(self.files.names, train_share, split_seed)
        self.cameras, self._camera_of = self._read_cameras(frame)
        self.place = FisheyeGrid(self.cameras, grid, base_pixels=base_pixels, window=window, crop=crop, frame=frame)
        self.space = self.place.space

    def _table(self, classes: str) -> ClassTable:
        info, path = self.files.info
        return class_table(info, classes, self.void != "ignore", path)

    def _target(self, name: TargetName) -> Target:
        if name == DEPTH:
            return Target(DEPTH, "depth", unit="m")
        legend: tuple[LegendClass, ...] = self.table.legend if self.table else ()
        return Target(SEMANTICS, "classes", legend)

    def _read_cameras(self, frame: Frame) -> tuple[dict[str, CameraGrid], dict[str, str]]:
        """The different cameras by name (`FV-0`), and the one of each photograph."""
        names: dict[CameraGrid, str] = {}
        counts: dict[str, int] = {}
        camera_of = {}
        for photo in self.files.names:
            camera = self.files.camera(photo).in_frame(frame)
            if camera not in names:
                position = photo.split("_")[1]
                names[camera] = f"{position}-{counts.get(position, 0)}"
                counts[position] = counts.get(position, 0) + 1
            camera_of[photo] = names[camera]
        return {name: camera for camera, name in names.items()}, camera_of

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut; with the cameras, by scene, so that results can be shown on the photographs."""
        return self.place.window | {"cameras": {name: camera.to_dict() for name, camera in self.cameras.items()}}

    @property
    def n_samples(self) -> int | None:
        """How many samples there are; not known before the windows without a label are left out."""
        return len(self.files.names) if self.place.pieces == 1 else None

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """For each camera the grid of its photographs; on the sphere these are equal."""
        return {name: self.place.scene(camera) for name, camera in self.cameras.items()}

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All photographs, camera by camera, so that the map of one camera at a time is at work."""
        for name in self.cameras:
            for photo in (photo for photo in self.files.names if self._camera_of[photo] == name):
                found = self.on_grid(photo)
                for piece in range(self.place.pieces):
                    x, arrays = self.place.cut(found.x, piece), {}
                    for target in self.targets:
                        unknown = IGNORE if target.is_categorical else np.nan
                        arrays[target.array] = self.place.cut(found.arrays[target.array], piece, unknown)
                    if self.place.pieces == 1 or any(_known(values) for values in arrays.values()):
                        yield x, arrays, self._row(photo, name, piece)

    def _row(self, photo: str, scene: str, piece: int) -> dict[str, Any]:
        number, position = photo.split("_")
        return {
            "sample_id": photo if self.place.pieces == 1 else f"{photo}-{piece:04d}",
            "scene": scene, "parent": number, "region": position, "place": self.place.start(piece),
            "photo": photo, "published": self.parts[photo], "geometry": shapely.Polygon(),
        }  # fmt: skip

    def camera_of(self, name: str) -> CameraGrid:
        """The camera of a photograph, in the frame of its sphere."""
        return self.cameras[self._camera_of[name]]

    def photo(self, name: str) -> Photo:
        """A photograph on its camera's own pixels; beyond the lens nothing is known."""
        camera = self.cameras[self._camera_of[name]]
        arrays: dict[str, np.ndarray] = {}
        for target in self.targets:
            if target.name == DEPTH:
                arrays[target.array] = self.files.depth(name, camera, self.mask_background)
            elif self.table is not None:
                arrays[target.array] = self.files.labels(name, camera, self.table)
        for values in arrays.values():
            values[~camera.shown] = np.nan if values.dtype.kind == "f" else IGNORE
        return Photo(self.files.image(name, camera), arrays)

    def on_grid(self, name: str) -> Photo:
        """A photograph on this source's grid: colours are bilinear, labels and depth nearest."""
        camera, found = self.cameras[self._camera_of[name]], self.photo(name)
        bare, target_grid = camera.without_pose(), self.place.scene(camera)
        if target_grid == camera:
            return found
        if isinstance(target_grid, CameraGrid):
            target_grid = target_grid.without_pose()
        values, seen = resampler(bare, target_grid, "bilinear").values(found.x)
        x = np.where(seen, np.rint(np.nan_to_num(values)), 0).astype(np.uint8)
        onto = resampler(bare, target_grid, "nearest")
        arrays: dict[str, np.ndarray] = {}
        for target in self.targets:
            if target.is_categorical:
                outside = 0 if self.void == "everywhere" else IGNORE
                labels: UInt8[np.ndarray, "*space"] = onto.labels(found.arrays["y"])
                arrays["y"] = np.where(seen, labels, np.uint8(outside))
            else:
                depth = found.arrays[target.array]
                arrays[target.array] = onto.values(depth, np.isfinite(depth))[0]
        return Photo(x, arrays)

    def read_scene(self, scene: str) -> "PhotoScene":
        """A reader of one photograph, by its name (`00000_FV`)."""
        if scene not in self._camera_of:
            raise SourceError(f"source {self.name} has no photograph '{scene}'; {nearest(scene, self._camera_of)}")
        grid = self.place.scene(self.cameras[self._camera_of[scene]])
        return PhotoScene(grid, self.on_grid(scene).x)

    def truth(self, scene: str) -> dict[str, np.ndarray]:
        """What is known of one photograph."""
        self.read_scene(scene)
        return self.on_grid(scene).arrays


class PhotoScene:
    """Reads one photograph by windows (on its camera's pixels) or by cells (on the sphere)."""

    bands = BANDS

    def __init__(self, grid: Grid, x: np.ndarray) -> None:
        self.grid, self._x = grid, x

    def read(self, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The window at (row, col): x uint8 [3, height, width], and where it is in the photograph."""
        rows, cols = np.arange(row, row + height), np.arange(col, col + width)
        inside = ((rows >= 0) & (rows < self._x.shape[1]))[:, None] & (cols >= 0) & (cols < self._x.shape[2])
        x = self._x[:, rows.clip(0, self._x.shape[1] - 1)][:, :, cols.clip(0, self._x.shape[2] - 1)]
        return np.where(inside, x, np.uint8(0)), inside

    @cached_property
    def _offsets(self) -> Any:
        return self.grid.offsets  # type: ignore[attr-defined]

    def cells(self, ids: np.ndarray) -> np.ndarray:
        """The colours x uint8 [3, *ids.shape] of nested cells; 0 where an id is -1 or not covered."""
        place = self._offsets(ids)
        return np.where(place >= 0, self._x[:, np.maximum(place, 0)], np.uint8(0))


def published_split(names: Sequence[str], train_share: float, seed: int) -> dict[str, str]:
    """The part, train or val, of each photograph in the published split (HEAL-SWIN's data modules).

    The names, sorted, are permuted with the old generator of numpy; the first share of them trains. Where the share is
    a whole number the published code puts one photograph into both parts; here it validates only.

    Raises:
        SourceError: if the share is not between 0 and 1.
    """
    if not 0 < train_share < 1:
        raise SourceError(f"source.train_share is {train_share:g}; it must be between 0 and 1.")
    ordered = np.random.RandomState(seed).permutation(sorted(names))
    first = int(np.ceil(round(train_share * len(ordered), 9)))
    return {str(name): "train" if place < first else "val" for place, name in enumerate(ordered)}


def _known(values: np.ndarray) -> bool:
    return bool(np.isfinite(values).any() if values.dtype.kind == "f" else (values != IGNORE).any())
