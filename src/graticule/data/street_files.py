"""The simulated street written with the folders and formats of WoodScape and SynWoodScape."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from graticule.data.sources.fisheye_classes import SYNWOODSCAPE, WOODSCAPE
from graticule.data.sources.fisheye_files import CAMERAS
from graticule.data.street import SURFACES, View, look, make_street
from graticule.errors import ConfigError
from graticule.files import whole_folder
from graticule.grids import CameraGrid

Kind = Literal["woodscape", "synwoodscape"]
HEIGHT, WIDTH = 966, 1280

_README = """Simulated: a street of boxes, ray-cast through four made lenses by `graticule generate fisheye`.
The folders and formats are those of {kind}; no picture, label, depth or calibration is of that data set.
Seed {seed}.
"""
# Where each camera sits in the vehicle (metres), the direction of its axis, and its lens and offsets at 1280 x 966.
_MOUNTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]] = {
    "FV": ((3.75, 0.0, 0.66), (0.92, 0.0, -0.40), (339.7, -32.0, 48.3, -7.2, 3.9, -3.1)),
    "RV": ((-1.05, 0.02, 0.85), (-0.88, 0.02, -0.47), (338.2, -30.1, 46.5, -6.8, -1.2, 2.4)),
    "MVL": ((2.05, 0.98, 1.02), (0.05, 0.75, -0.66), (341.5, -34.4, 50.0, -7.6, 2.7, 5.8)),
    "MVR": ((2.05, -0.98, 1.02), (0.03, -0.77, -0.64), (337.0, -28.8, 45.2, -6.5, -4.6, -0.9)),
}
_IN_WOODSCAPE = {
    "road": "road", "road line": "lanemarks", "pedestrian": "person", "four-wheeler vehicle": "vehicles",
    "two-wheeler vehicle": "motorcycle", "traffic sign": "traffic_sign", "sidewalk": "curb",
}  # fmt: skip


def write_street(
    root: Path,
    *,
    images: int = 40,
    kind: Kind = "synwoodscape",
    seed: int = 0,
    height: int = HEIGHT,
    width: int = WIDTH,
) -> list[str]:
    """Write a simulated data set and return the names of its photographs.

    Every instant is a street of its own, seen by all four cameras. The same seed gives the same files.

    Args:
        root: the folder to make; whole or not at all.
        images: number of photographs.
        kind: whose layout and classes: ten classes, or 25 with depth.
        seed: of all that is drawn.
        height: of the photographs; lenses are scaled with the width.
        width: of the photographs.

    Raises:
        ConfigError: if there is nothing to write.
        OutputError: if the folder exists or cannot be written.
    """
    if images < 1 or height < 8 or width < 8:
        raise ConfigError(
            f"{images} images of {height} x {width} pixels cannot be made; give 1 image of 8 x 8 or more."
        )
    names = [f"{k // len(CAMERAS):05d}_{CAMERAS[k % len(CAMERAS)]}" for k in range(images)]
    with whole_folder(root) as folder:
        for sub in (
            "rgb_images/rgb_images",
            "semantic_annotations/semantic_annotations/gtLabels",
            "calibration/calibration",
        ):
            (folder / sub).mkdir(parents=True)
        if kind == "synwoodscape":
            (folder / "depth_maps/raw_data").mkdir(parents=True)
        (folder / "README.txt").write_text(_README.format(kind=kind, seed=seed))
        (folder / "semantic_annotations/seg_annotation_info.json").write_text(json.dumps(_info(kind), indent=1))
        for name, calibration, view in _views(names, seed, height, width):
            _write_photo(folder, name, calibration, view, kind)
    return names


def street_calibration(camera: str, height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    """The made calibration of one of the four cameras, in the form of WoodScape's JSON files."""
    place, ahead, (k1, k2, k3, k4, across, down) = _MOUNTS[camera]
    scale = width / WIDTH
    z = np.array(ahead) / np.linalg.norm(ahead)
    x = np.cross(z, (0.0, 0.0, 1.0))
    x /= np.linalg.norm(x)
    quaternion = Rotation.from_matrix(np.stack([x, np.cross(z, x), z], axis=1)).as_quat()
    lens = {f"k{n}": round(k * scale, 6) for n, k in enumerate((k1, k2, k3, k4), 1)}
    return {
        "extrinsic": {"quaternion": [float(q) for q in quaternion], "translation": list(place)},
        "intrinsic": {
            "aspect_ratio": 1.0, "cx_offset": across * scale, "cy_offset": down * scale, **lens,
            "height": float(height), "width": float(width), "model": "radial_poly", "poly_order": 4,
        },
        "name": camera,
    }  # fmt: skip


def _views(names: list[str], seed: int, height: int, width: int) -> Iterator[tuple[str, dict[str, Any], View]]:
    calibrations = {camera: street_calibration(camera, height, width) for camera in CAMERAS}
    rays = {
        camera: CameraGrid.from_woodscape(calibrations[camera]).in_frame("vehicle").directions()
        for camera in {name.split("_")[1] for name in names}
    }
    for photo, name in enumerate(names):
        instant, camera = name.split("_")
        street = make_street(seed, int(instant))
        yield name, calibrations[camera], look(street, _MOUNTS[camera][0], rays[camera], seed=seed, number=photo)


def _write_photo(folder: Path, name: str, calibration: dict[str, Any], view: View, kind: Kind) -> None:
    Image.fromarray(view.colour).save(folder / "rgb_images/rgb_images" / f"{name}.png")
    labels = label_table(kind)[view.surface]
    Image.fromarray(labels).save(folder / "semantic_annotations/semantic_annotations/gtLabels" / f"{name}.png")
    (folder / "calibration/calibration" / f"{name}.json").write_text(json.dumps(calibration))
    if kind == "synwoodscape":
        np.save(folder / "depth_maps/raw_data" / f"{name}.npy", view.depth, allow_pickle=False)


def label_table(kind: Kind) -> np.ndarray:
    """The stored label of each surface of the street, uint8."""
    if kind == "synwoodscape":
        return np.array([SYNWOODSCAPE.index(name) for name in SURFACES], np.uint8)
    return np.array([WOODSCAPE.index(_IN_WOODSCAPE.get(name, "void")) for name in SURFACES], np.uint8)


def _info(kind: Kind) -> dict[str, Any]:
    names = list(SYNWOODSCAPE if kind == "synwoodscape" else WOODSCAPE)
    golden = [(k * 97 % 256, k * 57 % 256, k * 151 % 256) for k in range(len(names))]
    return {
        "class_names": names,
        "class_indexes": list(range(len(names))),
        "class_colors": golden,
        "color_scheme": "RGB",
    }
