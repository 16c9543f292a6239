"""The files of WoodScape and SynWoodScape: photographs, labels, depth and calibrations, as they are published."""

import json
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from graticule.data.sources.fisheye_classes import UNKNOWN, ClassTable
from graticule.errors import GridError, SourceError
from graticule.grids import CameraGrid

CAMERAS = ("FV", "RV", "MVL", "MVR")
"""Front, rear, left and right camera."""

BACKGROUND = 1000.0
"""Metres that SynWoodScape's depth maps give to the sky."""

_NAME = re.compile(r"(\d+)_([A-Z]+)")

# Where the releases keep things: zipped folders unpack into a folder of the same name, some were flattened since.
_FOLDERS = {
    "images": ("rgb_images/rgb_images", "rgb_images"),
    "labels": ("semantic_annotations/semantic_annotations/gtLabels", "semantic_annotations/gtLabels"),
    "calibration": ("calibration/calibration", "calibration", "calibration_data/calibration", "calibration_data"),
    "depth": ("depth_maps/raw_data", "depth_maps/depth_maps/raw_data"),
}


class FisheyeFiles:
    """One data set's folder.

    Args:
        root: the folder that holds `rgb_images`, `semantic_annotations`, `calibration` and `depth_maps`.
        cameras: which cameras' photographs.

    Attributes:
        names: of the photographs (`00000_FV`), sorted.

    Raises:
        SourceError: if there is no photograph.
    """

    def __init__(self, root: Path, cameras: tuple[str, ...] = CAMERAS) -> None:
        self.root = root
        found = (_NAME.fullmatch(path.stem) for path in self._folder("images").glob("*.png"))
        self.names = sorted(match[0] for match in found if match and match[2] in cameras)
        if not self.names:
            raise SourceError(
                f"{self._folder('images')} has no photograph of the cameras {', '.join(cameras)}; "
                "they must be named like 00000_FV.png."
            )

    def _folder(self, kind: str) -> Path:
        for name in _FOLDERS[kind]:
            if (self.root / name).is_dir():
                return self.root / name
        raise SourceError(
            f"{self.root} has no folder {_FOLDERS[kind][0]}; give the folder into which the data set was unpacked as "
            "source.root."
        )

    def _file(self, kind: str, name: str, suffix: str) -> Path:
        path = self._folder(kind) / f"{name}{suffix}"
        if not path.is_file():
            raise SourceError(f"{path} is missing; every photograph needs one, or must be taken away.")
        return path

    @cached_property
    def info(self) -> tuple[Mapping[str, Any], str]:
        """The content of `seg_annotation_info.json`, and its path."""
        path = self.root / "semantic_annotations" / "seg_annotation_info.json"
        return _json(path), str(path)

    def camera(self, name: str) -> CameraGrid:
        """The camera of a photograph: of its own calibration, or of its camera's (`FV.json`)."""
        own = self._folder("calibration") / f"{name}.json"
        path = own if own.is_file() else own.with_name(f"{name.split('_')[1]}.json")
        if not path.is_file():
            raise SourceError(f"{own} is missing; every photograph needs its calibration, or must be taken away.")
        try:
            return _camera(path.read_text())
        except ValueError as error:  # no JSON, or no text
            raise SourceError(f"{path} is no whole JSON file ({error}); copy it again.") from error
        except GridError as error:
            raise SourceError(f"{path}: {error}") from error

    def image(self, name: str, camera: CameraGrid) -> UInt8[np.ndarray, "3 h w"]:
        """Colours of a photograph."""
        path = self._file("images", name, ".png")
        return np.ascontiguousarray(np.moveaxis(_picture(path, "RGB", camera), -1, 0))

    def labels(self, name: str, camera: CameraGrid, table: ClassTable) -> UInt8[np.ndarray, "h w"]:
        """Classes of a photograph, 255 where there is none."""
        path = self._file("labels", name, ".png")
        stored = _picture(path, "L", camera)
        classes = table.class_of[stored]
        if (classes == UNKNOWN).any():
            known = np.flatnonzero((table.class_of != UNKNOWN) & (np.arange(256) != 255))
            raise SourceError(
                f"{path} has label {stored[classes == UNKNOWN][0]}; seg_annotation_info.json has {len(known)} classes, "
                f"{known.min()}..{known.max()}: correct the label image or add the class there."
            )
        return classes

    def depth(self, name: str, camera: CameraGrid, mask_background: bool) -> Float32[np.ndarray, "h w"]:
        """Metres along the ray of a photograph; NaN where there is none, and at the background if it is masked."""
        path = self._file("depth", name, ".npy")
        try:
            stored = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SourceError(f"{path} cannot be read as an array of numbers ({error}); copy it again.") from error
        if stored.ndim == 3 and 1 in stored.shape:
            stored = stored.squeeze()
        _check_size(path, stored.shape, camera)
        known = np.isfinite(stored) & (stored > 0)
        if not known.any():
            raise SourceError(
                f"{path} has no depth above 0; it must hold metres along the ray, {BACKGROUND:g} for the background."
            )
        if mask_background:
            known &= stored < BACKGROUND
        return np.where(known, stored, np.nan).astype(np.float32)


# Most photographs of a camera share one calibration, each in a file of its own.
@lru_cache(maxsize=4096)
def _camera(text: str) -> CameraGrid:
    calibration = json.loads(text)
    if not isinstance(calibration, Mapping):
        raise GridError("this is no calibration (a JSON object); copy it again.")
    return CameraGrid.from_woodscape(calibration)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise SourceError(f"{path} is missing; the names of the classes are published in it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is no whole JSON file ({error}); copy it again.") from error
    if not isinstance(content, Mapping):
        raise SourceError(f"{path} is no JSON object; give the file as WoodScape publishes it.")
    return content


def _picture(path: Path, mode: str, camera: CameraGrid) -> np.ndarray:
    try:
        with Image.open(path) as opened:
            # A palette image keeps class numbers as its values: converting it would turn them into grey levels.
            picture = np.asarray(opened if mode == "L" and opened.mode in ("L", "P") else opened.convert(mode))
    except (OSError, SyntaxError) as error:
        raise SourceError(f"{path} cannot be read as a picture ({error}); copy it again.") from error
    _check_size(path, picture.shape[:2], camera)
    return picture


def _check_size(path: Path, shape: tuple[int, ...], camera: CameraGrid) -> None:
    if tuple(shape) != camera.shape:
        found = " x ".join(map(str, shape))
        raise SourceError(
            f"{path} has {found} pixels and its calibration {camera.height} x {camera.width}; give the picture as it "
            "was taken, or the calibration that belongs to it."
        )
