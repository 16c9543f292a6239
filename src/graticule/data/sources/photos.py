"""Photographs by lists, with masks, classes and depth as far as they are known: one domain, one store."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from jaxtyping import UInt8
from PIL import Image

from graticule.data.sources.fisheye import BANDS, PhotoScene
from graticule.data.sources.photo_classes import MERGED, MUST_MAY, PALETTES, class_of_colour, legend, nearest_must_may
from graticule.data.sources.photo_depth import DepthCode, decoded
from graticule.data.sources.photo_files import read_labels, read_photo
from graticule.data.sources.photo_lists import TASKS, Entry, read_lists
from graticule.errors import SourceError, nearest
from graticule.grids import CameraGrid, Grid
from graticule.schema import IGNORE, LegendClass, Target

Fit = Literal["crop", "whole"]
Palette = Literal["merged", "vkitti2"]

TARGETS = {
    "mask": Target(
        "mask", "binary", (LegendClass(0, "dry", "#c8b89a"), LegendClass(1, "water", "#2a6fd6")), stored_as="mask"
    ),
    "semantics": Target("semantics", "classes", legend(MERGED), stored_as="semantics"),
    "depth": Target("depth", "depth", unit="m"),
    "must_may": Target("must_may", "classes", legend(MUST_MAY), stored_as="must_may"),
}
"""What may be known of a photograph, by name."""

_MOST_UNKNOWN = 0.1
"""A label picture with a larger share of unknown colours is of another palette."""


class PhotosSource:
    """Photographs of one domain: everyday pictures, simulated ones, flooded ones.

    A list has one entry {x, m, s, d, must_may} of paths per photograph; all but x may be missing. A photograph is a
    sample; those of one `parent` stay together in a split, and the column `published` says whose list it is in.

    Args:
        train: list of the photographs to train with, JSON or YAML; or a folder in the layout of Virtual KITTI 2, whose
            Scene06 validates.
        val: likewise, to validate with.
        test: likewise, to test with.
        base: folder of the paths in the lists; each list's own folder if None. `$NAME` is a variable.
        domain: name of the domain, for the store's name.
        size: [height, width] of the samples.
        fit: `crop` scales the photograph until it fills the size, and keeps the middle; `whole` squeezes all of it.
        targets: names of what to keep of mask, semantics, depth and must_may; all that the lists have if None.
        depth_code: how depth is written: metres, millimetres, unity (three bytes of colour), vkitti (centimetres) or
            disparity (its inverse).
        palette: whose colours label pictures have: `merged` or `vkitti2`. Pictures of numbers hold merged classes.
    """

    name = "photos"
    bands = BANDS
    dtype = np.dtype(np.uint8)

    def __init__(
        self, train: str | None = None, val: str | None = None, test: str | None = None, base: str | None = None,
        domain: str | None = None, size: Sequence[int] = (256, 256), fit: Fit = "crop",
        targets: Sequence[str] | None = None, depth_code: DepthCode | None = None, palette: Palette = "merged",
    ) -> None:  # fmt: skip
        self._options = {
            "train": train, "val": val, "test": test, "base": base, "domain": domain, "size": list(size), "fit": fit,
            "targets": None if targets is None else list(targets), "depth_code": depth_code, "palette": palette,
        }  # fmt: skip
        lists = {part: path for part, path in (("train", train), ("val", val), ("test", test)) if path}
        if not lists:
            raise SourceError("source photos has no list; give source.train=LIST.json, and source.val and source.test.")
        if len(size) != 2 or min(size) < 1:
            raise SourceError(f"source.size is {list(size)}; give [height, width].")
        self.space = (int(size[0]), int(size[1]))
        self.fit, self.depth_code, self.palette = fit, depth_code, palette
        self._entries = {entry.name: entry for entry in read_lists(lists, base)}
        self.targets = self._chosen(targets)
        if depth_code is None and any(target.name == "depth" for target in self.targets):
            raise SourceError(
                "the lists name depth, and its coding is not known; give source.depth_code as metres, millimetres, "
                "unity, vkitti or disparity, or leave depth out of source.targets."
            )
        self._warned = False

    def _chosen(self, names: Sequence[str] | None) -> tuple[Target, ...]:
        have = {name for entry in self._entries.values() for name in entry.files}
        for name in names or ():
            if name not in TARGETS:
                raise SourceError(f"source.targets has '{name}'; {nearest(name, TARGETS)}")
            if name not in have:
                key = next(key for key, target in TASKS.items() if target == name)
                raise SourceError(f"source.targets has '{name}', and no entry of the lists has the key '{key}'.")
        return tuple(target for name, target in TARGETS.items() if name in (have if names is None else names))

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each photograph, by name."""
        return {name: entry.files["x"] for name, entry in self._entries.items()}

    @property
    def window(self) -> Mapping[str, Any]:
        """How samples are cut."""
        return {"height": self.space[0], "width": self.space[1], "overlap": 0, "fit": self.fit}

    @property
    def n_samples(self) -> int | None:
        """How many samples there are."""
        return len(self._entries)

    def options(self) -> dict[str, Any]:
        """The options to make this source again."""
        return {key: value for key, value in self._options.items() if value is not None}

    def scenes(self) -> dict[str, Grid]:
        """The pixels of all photographs: those of a plain lens, since whose they are is not known."""
        height, width = self.space
        return {"photographs": CameraGrid.pinhole(height, width, max(height, width))}

    def samples(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]]:
        """All photographs, in the order of the lists."""
        for entry in self._entries.values():
            x, arrays = self._read(entry)
            yield x, arrays, {
                "sample_id": entry.name, "scene": "photographs", "parent": entry.parent, "region": entry.region,
                "place": (0, 0), "photo": entry.name, "published": entry.part, "geometry": shapely.Polygon(),
            }  # fmt: skip

    def read_scene(self, scene: str) -> PhotoScene:
        """A reader of one photograph, by its name."""
        if scene not in self._entries:
            raise SourceError(f"source photos has no photograph '{scene}'; {nearest(scene, self._entries)}")
        return PhotoScene(self.scenes()["photographs"], self._read(self._entries[scene])[0])

    def truth(self, scene: str) -> dict[str, np.ndarray]:
        """What is known of one photograph."""
        self.read_scene(scene)
        return self._read(self._entries[scene])[1]

    def _read(self, entry: Entry) -> tuple[UInt8[np.ndarray, "3 h w"], dict[str, np.ndarray]]:
        photo = read_photo(entry.files["x"])
        rows, columns = self._places(*photo.shape[:2])
        left, top, right, bottom = self._box(*photo.shape[:2])
        shown = Image.fromarray(photo).resize(
            self.space[::-1], Image.Resampling.BILINEAR, box=(left, top, right, bottom)
        )
        arrays = {}
        for target in self.targets:
            if target.name not in entry.files:
                unknown = np.full(self.space, IGNORE, np.uint8) if target.is_categorical else np.nan
                arrays[target.array] = np.full(self.space, unknown, np.uint8 if target.is_categorical else np.float32)
                continue
            values = self._known(target.name, entry)
            if values.shape != photo.shape[:2]:
                found, wanted = (" x ".join(map(str, shape)) for shape in (values.shape, photo.shape[:2]))
                raise SourceError(
                    f"{entry.files[target.name]} has {found} pixels and its photograph {entry.files['x']} {wanted}; "
                    "give one of the photograph's size."
                )
            arrays[target.array] = values[rows[:, None], columns]
        return np.ascontiguousarray(np.moveaxis(np.asarray(shown), -1, 0)), arrays

    def _box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of a photograph that is kept: left, top, right, bottom."""
        if self.fit == "whole":
            return 0.0, 0.0, float(width), float(height)
        scale = min(height / self.space[0], width / self.space[1])
        high, wide = self.space[0] * scale, self.space[1] * scale
        top, left = (height - high) / 2, (width - wide) / 2
        return left, top, min(left + wide, float(width)), min(top + high, float(height))

    def _places(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the photograph nearest to those of the sample."""
        left, top, right, bottom = self._box(height, width)
        rows = top + (np.arange(self.space[0]) + 0.5) * (bottom - top) / self.space[0]
        columns = left + (np.arange(self.space[1]) + 0.5) * (right - left) / self.space[1]
        return rows.astype(np.int64).clip(0, height - 1), columns.astype(np.int64).clip(0, width - 1)

    def _known(self, name: str, entry: Entry) -> np.ndarray:
        stored, path = read_labels(entry.files[name]), entry.files[name]
        if name == "depth" and self.depth_code is not None:
            try:
                return decoded(stored, self.depth_code)
            except ValueError as error:
                raise SourceError(
                    f"{path} is no depth in {self.depth_code}: {error}; set source.depth_code."
                ) from error
        if name == "mask":
            first = stored[..., 0] if stored.ndim == 3 else stored
            # Masks are 0 and 255, or 0 and 1.
            return np.asarray(first > (127 if first.dtype == np.uint8 and first.max() > 1 else 0.5), np.uint8)
        if name == "must_may" and stored.ndim == 3:
            return nearest_must_may(stored[..., :3].astype(np.uint8))
        if stored.ndim == 2:
            return self._numbers(stored, name, entry)
        return self._colours(stored[..., :3].astype(np.uint8), entry)

    def _numbers(self, stored: np.ndarray, name: str, entry: Entry) -> np.ndarray:
        count, values = len(TARGETS[name].legend), stored.astype(np.int64)
        wrong = (values != IGNORE) & ((values < 0) | (values >= count))
        if wrong.any():
            raise SourceError(
                f"{entry.files[name]} has class {values[wrong][0]}; {name} has 0..{count - 1}, and {IGNORE} where it "
                "is not known: correct the labels, or store them in colours (source.palette)."
            )
        return values.astype(np.uint8)

    def _colours(self, stored: UInt8[np.ndarray, "h w 3"], entry: Entry) -> np.ndarray:
        classes = class_of_colour(stored, PALETTES[self.palette])
        unknown = classes == IGNORE
        if unknown.any():
            path, colour = entry.files["semantics"], tuple(int(part) for part in stored[unknown][0])
            share = f"{path} has the colour {colour}, which the palette {self.palette} does not have"
            if unknown.mean() > _MOST_UNKNOWN:
                raise SourceError(
                    f"{share}, and {unknown.mean():.0%} of its pixels are of such colours; set source.palette to the "
                    "one it was coloured with, and keep labels as PNG."
                )
            if not self._warned:
                warnings.warn(f"{share}; pixels of such colours have no label.", stacklevel=2)
                self._warned = True
        return classes
