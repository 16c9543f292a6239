"""`graticule predict` of photographs: files with their calibration, or those of the run's source by name."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from graticule.commands.photo_pictures import draw_prediction
from graticule.conf.parts import make_source
from graticule.data.sources.fisheye import BANDS
from graticule.data.sources.photo_files import read_photo
from graticule.errors import ConfigError, GridError, SourceError, nearest
from graticule.grids import CameraGrid
from graticule.inference.flat_photos import predict_flat
from graticule.inference.photo_files import Shot, predict_photo
from graticule.inference.predict import PredictOptions, Task

SUFFIXES = (".png", ".jpg", ".jpeg")


def predict_photographs(
    task: Task, names: Sequence[str], calibration: Path | None, source: Mapping[str, Any], folder: Path,
    options: PredictOptions, nside: int, trusted: Collection[str] = (),
) -> list[Path]:  # fmt: skip
    """Predict photographs and return the files written.

    Args:
        task: of a run of photographs.
        names: files, which need the calibration (everyday photographs do not), or names of the source's photographs;
            all of these if none.
        calibration: JSON file in the form of WoodScape's.
        source: the options of the run's source.
        folder: where the files go.
        options: device and the like.
        nside: of the sphere, where the task does not predict on one.
        trusted: packages that a source may come from.

    Raises:
        ConfigError: if a file comes without a calibration.
        SourceError: if a photograph cannot be read or does not fit its calibration.
    """
    files = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if source["name"] == "photos":
        return _flat(task, names, files, source, folder, options)
    if files and calibration is None:
        raise ConfigError(f"{files[0]} needs the calibration of its camera; add --calibration FILE.json.")
    made: Any = None if files and len(files) == len(names) else make_source(source, trusted)
    written = []
    for name in names or made.files.names:
        shot = _read(Path(name), calibration, source) if name in files else _named(name, made)
        written += predict_photo(task, shot, source, folder, options, nside=nside, draw=draw_prediction)
    return written


def _flat(
    task: Task, names: Sequence[str], files: Collection[str], source: Mapping[str, Any], folder: Path,
    options: PredictOptions,
) -> list[Path]:  # fmt: skip
    """Everyday photographs: files, or names of the source's; all of these if none."""
    paths = {}
    if len(files) < len(names) or not names:
        made = make_source(source)
        paths = made.paths
    written = []
    for name in names or paths:
        if name not in files and name not in paths:
            raise SourceError(f"the source photos has no photograph '{name}'; {nearest(name, paths)}")
        path = Path(name) if name in files else paths[name]
        stem = path.stem if name in files else name.replace("/", "-")
        written += predict_flat(task, stem, read_photo(path), source, folder, options, draw_prediction)
    return written


def _read(path: Path, calibration: Path | None, source: Mapping[str, Any]) -> Shot:
    """The photograph in a file."""
    if calibration is None or not calibration.is_file():
        raise ConfigError(f"there is no calibration {calibration}; give the path of its JSON file.")
    try:
        camera = CameraGrid.from_woodscape(json.loads(calibration.read_text())).in_frame(source.get("frame", "camera"))
        with Image.open(path) as image:
            x = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    except GridError as error:
        raise SourceError(f"{calibration}: {error}") from error
    except (ValueError, UnidentifiedImageError) as error:
        raise SourceError(
            f"{path} or {calibration} cannot be read ({error}); give a picture and a JSON file."
        ) from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror or error}); check the path.") from error
    if x.shape[1:] != camera.shape:
        raise SourceError(
            f"{path} has {x.shape[1]} x {x.shape[2]} pixels and its calibration {camera.height} x {camera.width}; give "
            "the picture as it was taken, or the calibration that belongs to it."
        )
    return Shot(path.stem, np.ascontiguousarray(x), BANDS, camera.without_pose())


def _named(name: str, source: Any) -> Shot:
    """A photograph of the source."""
    if name not in source.files.names:
        raise SourceError(f"the source '{source.name}' has no photograph '{name}'; {nearest(name, source.files.names)}")
    return Shot(name, source.photo(name).x, source.bands, source.camera_of(name).without_pose())
