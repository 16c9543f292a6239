"""`graticule predict`: maps of whole scenes, or of the whole Earth."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graticule.commands.assemble import checkpoint_path, device_of, load_run_task
from graticule.commands.console import copied_to
from graticule.commands.naming import named_run
from graticule.commands.photographs import SUFFIXES, predict_photographs
from graticule.conf.compose import Request, compose_from
from graticule.conf.parts import make_source
from graticule.conf.tree import Config
from graticule.data.sources.rasters import RasterFile
from graticule.errors import SourceError, nearest
from graticule.inference.predict import PredictOptions, predict_scene
from graticule.runs import Run

CHANGEABLE = ("predict", "source", "trainer")
"""Sections of the configuration that words may change."""

Scene = tuple[str, Any, Mapping[str, np.ndarray] | None]
"""Name, reader, and the truth where it is known."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    run = named_run(arguments.run)
    scenes = [word for word in arguments.words if "=" not in word]
    request = Request([word for word in arguments.words if "=" in word], trusted=arguments.trust)
    config = compose_from(run.config, request, CHANGEABLE)
    with copied_to(run.console_log):
        for path in predict(run, config, scenes, arguments.checkpoint, request, arguments.calibration):
            print(path)


def predict(
    run: Run, config: Config, scenes: Sequence[str], which: str, request: Request, calibration: Path | None = None
) -> list[Path]:
    """Write the maps of scenes into the run folder and return their paths.

    Args:
        run: whose checkpoint predicts.
        config: of the run, with the sections `predict` and `source`.
        scenes: names of the source's scenes, or paths of GeoTIFFs; all of the source's if none.
        which: the checkpoint: best, last, or a path.
        request: names the packages that may be imported.
        calibration: of the camera, for photographs in files.

    Raises:
        SourceError: if a scene is not there or lacks a band.
        OutputError: if a map cannot be written.
    """
    task = load_run_task(checkpoint_path(run, which), config, request.trusted)
    wanted = config.predict.model_dump()
    nside = wanted.pop("nside")
    formats = tuple(wanted.pop("formats") or ()) or None
    progress = config.callbacks.progress
    options = PredictOptions(**wanted, formats=formats, device=device_of(config), progress=progress)
    if any(Path(name).suffix.lower() in SUFFIXES for name in scenes) or "frame" in config.source.options():
        return predict_photographs(
            task, scenes, calibration, config.source.model_dump(), run.predictions, options, nside, request.trusted
        )
    written: list[Path] = []
    for name, reader, truth in _scenes(config, scenes, request):
        paths = predict_scene(task, reader, run.predictions, options, name=name, truth=truth)
        written += [path for path in paths if path not in written]
    return written


def _scenes(config: Config, names: Sequence[str], request: Request) -> Iterator[Scene]:
    """The scenes one by one; files need no source."""
    files = [name for name in names if Path(name).suffix.lower() in (".tif", ".tiff")]
    for name in files:
        yield Path(name).stem, RasterFile(Path(name)), None
    if files and len(files) == len(names):
        return
    source = make_source(config.source.model_dump(), request.trusted)
    known = list(source.scenes())
    for name in (name for name in names if name not in files) if names else known:
        if name not in known:
            raise SourceError(f"the source '{source.name}' has no scene '{name}'; {nearest(name, known)}")
        yield name, source.read_scene(name), source.truth(name)
