"""`graticule predict`: maps of whole scenes, or of the whole Earth, and what is made of them."""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from graticule.commands.console import copied_to, tell
from graticule.commands.naming import named_run
from graticule.commands.photographs import SUFFIXES, predict_photographs
from graticule.commands.scenes import (
    Models,
    SceneJob,
    SceneResult,
    loaded,
    options_of,
    predict_one,
    predicted,
    scene_names,
    source_of,
)
from graticule.conf.tree import Config
from graticule.data.spread import DIED, spread
from graticule.errors import ConfigError, SourceError, nearest
from graticule.files import whole_file
from graticule.runs import Run

RESULTS = "results.parquet"
_MOST_ROWS = 40
"""Up to so many scenes the table names all; of more, those that failed."""
_EVERY = 5.0
"""Seconds between two writings of the table of results."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    words = [word for word in arguments.words if "=" in word]
    others = [word for word in arguments.words if "=" not in word]
    more = [word for word in others if (Path(word) / "manifest.json").is_file()]
    scenes = [word for word in others if word not in more]
    runs = [named_run(word) for word in (arguments.run, *more)]
    models = Models(
        tuple(str(run.folder) for run in runs), tuple(arguments.checkpoint or ["best"]), tuple(words),
        tuple(arguments.trust),
    )  # fmt: skip
    with copied_to(runs[0].console_log):
        for path in predict(models, scenes, arguments.calibration, overwrite=arguments.overwrite):
            print(path)


def predict(
    models: Models, scenes: Sequence[str], calibration: Path | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Write the maps and products of scenes and return their paths.

    A scene that fails does not keep the others from being predicted.

    Args:
        models: that predict; the mean of several.
        scenes: names of the source's scenes, or paths of GeoTIFFs; all of the source's if none.
        calibration: of the camera, for photographs in files.
        overwrite: predict scenes whose products are all there, too.

    Raises:
        ConfigError: for a wrong word, or scenes that would be written as the same files.
        SourceError: if a scene is not known; after all others: if any failed.
        OutputError: if a map cannot be written.
    """
    config, tasks, _ = loaded(models)
    for target in tasks[0].targets:
        if target.is_of_sample:
            raise ConfigError(
                f"{models.runs[0]} answers once for a whole sample (target '{target.name}'), so there is no map to "
                "predict; measure it with `graticule evaluate`."
            )
    folder = Path(config.predict.output or Run(Path(models.runs[0])).predictions)
    of_photos = "frame" in config.source.options() or config.source.name == "photos"
    if of_photos or any(Path(name).suffix.lower() in SUFFIXES for name in scenes):
        if len(tasks) > 1:
            raise ConfigError("photographs are predicted by one checkpoint; give one run and one --checkpoint.")
        return predict_photographs(
            tasks[0], scenes, calibration, config.source.model_dump(), folder, options_of(config),
            config.predict.nside, models.trusted,
        )  # fmt: skip
    jobs = _jobs(models, scenes, config, folder, overwrite)
    results = _all(jobs, config, folder)
    if len(jobs) > 1:
        _show(results)
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise SourceError(
            f"{len(failed)} of {len(results)} scenes failed, the first of them {failed[0].scene} ({failed[0].why}); "
            f"{folder / RESULTS} has all. Correct these and give the same command again: the others are kept."
        )
    return list(dict.fromkeys(Path(file) for result in results for file in result.files))


def _jobs(models: Models, names: Sequence[str], config: Config, folder: Path, overwrite: bool) -> list[SceneJob]:
    """The scenes, each as a job; files need no source."""
    files = [name for name in names if Path(name).suffix.lower() in (".tif", ".tiff")]
    wanted = list(names)
    if len(files) < len(names) or not names:
        source = source_of(models)
        known = scene_names(source)
        for name in names:
            if name not in files and name not in known:
                raise SourceError(f"the source '{source.name}' has no scene '{name}'; {nearest(name, known)}")
        wanted = wanted or list(known)
    devices = tuple(str(device) for device in config.predict.devices or ())
    jobs = [
        SceneJob(models, name, name in files, str(folder), overwrite, overview=number == 0, devices=devices)
        for number, name in enumerate(dict.fromkeys(wanted))
    ]
    written: dict[str, str] = {}
    for job in jobs:
        other = written.setdefault(job.name.replace("/", "-"), job.scene)
        if other != job.scene:
            raise ConfigError(
                f"{other} and {job.scene} would be written as the same files; predict them one by one, with another "
                "predict.output."
            )
    return jobs


def _all(jobs: Sequence[SceneJob], config: Config, folder: Path) -> list[SceneResult]:
    """Predict all scenes, and keep the table of results."""
    results: dict[str, SceneResult] = {}
    last = time.monotonic()
    for result in _results(jobs, config):
        results[result.scene] = result
        if len(jobs) > 1:
            tell(f"{len(results)} of {len(jobs)} scenes: {result.scene} {result.status} {result.why}".rstrip())
        if time.monotonic() - last > _EVERY:
            _write(list(results.values()), folder / RESULTS)
            last = time.monotonic()
    ordered = [results[job.scene] for job in jobs]
    _write(ordered, folder / RESULTS)
    return ordered


def _results(jobs: Sequence[SceneJob], config: Config) -> Iterator[SceneResult]:
    options = config.predict
    workers = max(options.workers, len(options.devices or ()))
    if not options.dask and (workers == 1 or len(jobs) == 1):
        # Alone, a scene ends the command with its own error.
        yield from map(predicted if len(jobs) == 1 else predict_one, jobs)
        return
    for job, result in spread(predict_one, jobs, workers, options.dask, "predict"):
        yield result or SceneResult(job.scene, "failed", why=DIED)


def _write(results: Sequence[SceneResult], path: Path) -> None:
    rows = {
        "scene": [r.scene for r in results], "status": [r.status for r in results], "why": [r.why for r in results],
        "seconds": [round(r.seconds, 3) for r in results], "files": [list(r.files) for r in results],
        "told": datetime.now(UTC),
    }  # fmt: skip
    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)


def _show(results: Sequence[SceneResult]) -> None:
    """A table of what became of the scenes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("scene", "result", "seconds", "why"):
        table.add_column(title, justify="right" if title == "seconds" else "left", overflow="fold")
    for result in results:
        if len(results) <= _MOST_ROWS or result.status == "failed":
            table.add_row(result.scene, result.status, f"{result.seconds:.1f}", result.why)
    console = Console(stderr=True, highlight=False)
    Console(stderr=True, highlight=False, width=max(console.width, 160)).print(table)
    tell("scenes: " + ", ".join(f"{n} {status}" for status, n in Counter(r.status for r in results).items()))
