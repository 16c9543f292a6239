"""One scene of `graticule predict`: the piece of work that this process, or a worker of a cluster, does."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from graticule.commands.assemble import checkpoint_path, device_of, load_run_task
from graticule.conf.compose import Request, compose_from
from graticule.conf.parts import make_source
from graticule.conf.tree import Config
from graticule.data.by_scene import SceneSource
from graticule.data.sources.rasters import RasterFile
from graticule.data.spread import worker_number
from graticule.errors import GraticuleError
from graticule.inference.predict import PredictOptions, predict_scene
from graticule.inference.stac import Model, fingerprint, sha256_of, whole_products
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction

CHANGEABLE = ("predict", "source", "trainer")
"""Sections of the configuration that words may change."""
_OF_THE_VERB = ("nside", "workers", "dask", "devices", "output")


@dataclass(frozen=True)
class Models:
    """What predicts: folders of runs, which of their checkpoints, and the words that change the first run's options."""

    runs: tuple[str, ...]
    which: tuple[str, ...]
    words: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

    @property
    def request(self) -> Request:
        """The words, as a configuration takes them."""
        return Request(list(self.words), trusted=list(self.trusted))


@dataclass(frozen=True)
class SceneJob:
    """All that a worker needs to predict one scene, in plain data.

    Attributes:
        models: that predict.
        scene: a name of the source's, or
        is_file: the path of a GeoTIFF.
        folder: of the products.
        overwrite: predict even if all products are there.
        overview: write that of the report, too.
        devices: shared out among the workers; the configuration's if empty.
    """

    models: Models
    scene: str
    is_file: bool
    folder: str
    overwrite: bool = False
    overview: bool = False
    devices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """First part of the files' names."""
        return Path(self.scene).stem if self.is_file else self.scene


@dataclass(frozen=True)
class SceneResult:
    """What became of one scene: `done`, `kept` since all was there, or `failed` and `why`, in one line."""

    scene: str
    status: Literal["done", "kept", "failed"]
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    why: str = ""


def predict_one(job: SceneJob) -> SceneResult:
    """Predict a scene, unless its products are whole; what goes wrong is told, so that others can go on."""
    began = time.perf_counter()
    try:
        result = predicted(job)
    except GraticuleError as error:
        result = SceneResult(job.scene, "failed", why=str(error).splitlines()[0])
    except Exception as error:
        traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        result = SceneResult(job.scene, "failed", why=f"{type(error).__name__}: {first}")
    return replace(result, seconds=time.perf_counter() - began)


def predicted(job: SceneJob) -> SceneResult:
    """Predict a scene, unless its products are whole.

    Raises:
        GraticuleError: if it cannot be predicted.
    """
    config, tasks, known = loaded(job.models)
    device = job.devices[worker_number() % len(job.devices)] if job.devices else device_of(config)
    options = replace(options_of(config), device=device, overview=job.overview)
    folder = Path(job.folder)
    if not job.overwrite:
        mark = fingerprint(known, options.told(), job.name)
        whole = whole_products(folder / f"{job.name.replace('/', '-')}.json", mark)
        if whole is not None:
            return SceneResult(job.scene, "kept", tuple(map(str, whole)))
    reader: Any
    truth = None
    if job.is_file:
        reader = RasterFile(Path(job.scene))
    else:
        source = source_of(job.models)
        reader = source.read_scene(job.scene)
        truth = source.truth(job.scene) if job.overview else None
    files = predict_scene(tasks, reader, folder, options, name=job.name, truth=truth, models=known)
    return SceneResult(job.scene, "done", tuple(map(str, files)))


@lru_cache(maxsize=1)
def loaded(models: Models) -> tuple[Config, list[DensePrediction], list[Model]]:
    """The first run's configuration with the words, and the tasks; read once in each process.

    Raises:
        CheckpointError: if a checkpoint is not there or cannot be used.
        ConfigError: for a wrong word.
    """
    tasks, known = [], []
    first = compose_from(Run(Path(models.runs[0])).config, models.request, CHANGEABLE)
    for number, folder in enumerate(models.runs):
        run = Run(Path(folder))
        plain = Request([], trusted=list(models.trusted))
        config = first if number == 0 else compose_from(run.config, plain, CHANGEABLE)
        for which in models.which:
            path = checkpoint_path(run, which)
            tasks.append(load_run_task(path, config, models.trusted))
            known.append(Model(run.folder.name, path.name, sha256_of(path), config.to_dict()))
    return first, tasks, known


@lru_cache(maxsize=1)
def source_of(models: Models) -> Any:
    """The source of the first run, with the words."""
    return make_source(loaded(models)[0].source.model_dump(), models.trusted)


def scene_names(source: Any) -> Sequence[str]:
    """All scenes of a source, also those that turn out to be damaged."""
    return source.scene_names() if isinstance(source, SceneSource) else list(source.scenes())


def options_of(config: Config) -> PredictOptions:
    """The section `predict` as the options of one scene."""
    wanted = config.predict.model_dump(exclude=set(_OF_THE_VERB))
    chosen: dict[str, Any] = {
        key: None if wanted[key] is None else tuple(wanted[key]) for key in ("formats", "products")
    }
    chosen["quality_level"] = config.predict.lowest_quality
    return PredictOptions(**(wanted | chosen), device=device_of(config), progress=config.callbacks.progress)
