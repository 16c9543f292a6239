"""Preparation scene by scene: side by side on Dask, going on after everything was killed, added to what is there.

Every scene is first written as a small store of its own, a part, in the hidden folder `.NAME.parts` beside the store;
it appears there whole or not at all. At the end the parts are put together, and the folder goes. What a killed
preparation leaves in it is used by the next one, as far as the source's options and the scene's files are the same.
"""

import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import geopandas

from graticule import __version__
from graticule.data.prepare import Sample, Source, counted
from graticule.data.shards import Codec
from graticule.data.spread import DIED, spread
from graticule.data.store import Store, StoreWriter
from graticule.errors import GraticuleError, OutputError, SourceError, StoreError
from graticule.files import output_error, sweep, whole_file

_ROOTS = "scenes"
"""The option of a source that says where its scenes are: stores may be put together from several such places."""


@runtime_checkable
class SceneSource(Source, Protocol):
    """A source whose scenes can be prepared one by one."""

    def scene_names(self) -> list[str]:
        """All scenes, also those that turn out to be damaged."""

    def scene_state(self, scene: str) -> str:
        """A text that changes when a file does that the scene is made of."""

    def scene_samples(self, scene: str) -> Iterator[Sample]:
        """The samples of one scene."""

    def scene_labels(self, scene: str) -> geopandas.GeoDataFrame | None:
        """The vector labels of one scene, where there are such."""

    def remarks(self) -> list[tuple[str, str, bool]]:
        """What belongs to no scene and cannot be used or was mended: (which, why, whether it is lost)."""


@dataclass(frozen=True)
class SceneResult:
    """What became of one scene.

    Attributes:
        scene: its name.
        status: `done`; `kept` from the store that it was in; `empty`: no window was kept; `failed`.
        samples: how many it has given.
        why: the reason, where it failed.
    """

    scene: str
    status: Literal["done", "kept", "empty", "failed"]
    samples: int = 0
    why: str = ""


@dataclass(frozen=True)
class Job:
    """One scene to prepare: all that a worker needs, in plain data.

    Attributes:
        kind: class of the source, and
        options: its options as JSON.
        scene: name of the scene.
        part: folder of the part.
        codec: of the store.
        call: different for each preparation: what is on disk may have changed since the last one.
    """

    kind: type
    options: str
    scene: str
    part: str
    codec: Codec
    call: str


def prepare_scenes(
    source: SceneSource, path: Path | str, *, overwrite: bool = False, append: bool = False, workers: int = 1,
    dask: str | None = None, codec: Codec = "none", progress: bool = True,
) -> tuple[Store, list[SceneResult]]:  # fmt: skip
    """Write a store of all scenes that can be prepared.

    Args:
        source: of the scenes.
        path: folder of the store. It changes in one step, at the end: until then an old store stays as it was.
        overwrite: replace a store that exists.
        append: keep the scenes that the store has, and add the others.
        workers: processes on a local Dask cluster; 1 works in this process.
        dask: address of a scheduler to use instead. Its workers need this package and the same paths.
        codec: of the store.
        progress: tell how many scenes are done.

    Returns:
        The store, and what became of each scene.

    Raises:
        OutputError: if the disk is full, the store exists, or another process is preparing it.
        SourceError: if no scene can be prepared.
        StoreError: if what is there cannot be added to.
    """
    path = Path(path)
    if path.exists() and not (overwrite or append):
        raise OutputError(f"{path} exists already; give another path, add to it with --append, or use --overwrite.")
    with _parts_folder(path) as parts:
        sweep(path)
        old = Store.open(path) if append and path.exists() else None
        there = set(old.scenes) if old else set()
        if old:
            _check_alike(old, source)
        options, call = json.dumps(source.options(), sort_keys=True), uuid.uuid4().hex
        names = source.scene_names()
        jobs = [
            Job(type(source), options, name, str(parts / _part_name(source, name, options, codec)), codec, call)
            for name in names if name not in there
        ]  # fmt: skip
        results = [SceneResult(name, "kept") for name in names if name in there]
        running = _on_dask(jobs, workers, dask) if dask or workers > 1 else (_make_part(job, source) for job in jobs)
        results += counted(running, len(jobs), f"Preparing {path.name}", progress, "scenes")
        results.sort(key=lambda result: names.index(result.scene))
        _put_together(source, path, old, {job.scene: Path(job.part) for job in jobs}, results, codec, overwrite)
        shutil.rmtree(parts, ignore_errors=True)
    return Store.open(path), results


def _put_together(
    source: SceneSource, path: Path, old: Store | None, parts: Mapping[str, Path], results: list[SceneResult],
    codec: Codec, overwrite: bool,
) -> None:  # fmt: skip
    """The old store and the new parts, written as one."""
    done = [result.scene for result in results if result.status == "done"]
    found = [result.scene for result in results if result.status in ("done", "empty")]
    failed = [result for result in results if result.status == "failed"]
    if old and not found:
        return
    if not done and not old:
        if failed:
            more = f" (and {len(failed) - 1} more scenes failed)" if len(failed) > 1 else ""
            raise SourceError(f"{failed[0].why}{more}")
        raise StoreError(f"{path} would hold no sample: no window of {len(found)} scenes is kept; check the options.")
    grids = source.scenes()
    writer = StoreWriter(
        path, bands=source.bands, targets=source.targets, scenes={name: grids[name] for name in found},
        window=source.window, source=source.name, source_options=_options_with(source, old), space=source.space,
        dtype=source.dtype, overwrite=overwrite or old is not None, codec=codec,
    )  # fmt: skip
    with writer:
        if old:
            writer.extend(old)
        for name in done:
            writer.extend(Store.open(parts[name]))


def _make_part(job: Job, source: SceneSource | None = None) -> SceneResult:
    """Prepare one scene, unless it is there; on a worker, which makes its own source, or in this process.

    Raises:
        OutputError: if it cannot be written; then nothing can.
    """
    part = Path(job.part)
    empty = part.with_suffix(".empty")
    if part.is_dir():
        return SceneResult(job.scene, "done", len(Store.open(part)))
    if empty.is_file():
        return SceneResult(job.scene, "empty")
    source = source or _source_of(job.kind, job.options, job.call)
    try:
        samples = source.scene_samples(job.scene)
        first = next(samples, None)
        if first is None:
            with whole_file(empty) as file:
                file.touch()
            return SceneResult(job.scene, "empty")
        writer = StoreWriter(
            part, bands=source.bands, targets=source.targets, scenes={job.scene: source.scenes()[job.scene]},
            window=source.window, source=source.name, source_options=source.options(), space=source.space,
            dtype=source.dtype, overwrite=True, codec=job.codec, labels=source.scene_labels(job.scene),
        )  # fmt: skip
        with writer:
            for sample in itertools.chain([first], samples):
                writer.append(*sample)
    except OutputError:
        raise
    except (GraticuleError, MemoryError) as error:
        return SceneResult(job.scene, "failed", why=str(error) or "there is not enough memory for it")
    return SceneResult(job.scene, "done", len(Store.open(part)))


@lru_cache(maxsize=2)
def _source_of(kind: type, options: str, call: str) -> SceneSource:
    """The source, made once in each process and preparation."""
    made: SceneSource = kind(**json.loads(options))
    return made


def _on_dask(jobs: list[Job], workers: int, address: str | None) -> Iterator[SceneResult]:
    """The results as they come. A scene whose worker dies goes to another one; after the third, it has failed."""
    for job, result in spread(_make_part, jobs, workers, address, "prepare"):
        yield result or SceneResult(job.scene, "failed", why=DIED)


@contextmanager
def _parts_folder(path: Path) -> Iterator[Path]:
    """The folder of the parts, held by this process alone; what killed workers have left half-written in it is gone."""
    parts = path.with_name(f".{path.name}.parts")
    try:
        parts.mkdir(parents=True, exist_ok=True)
        handle = os.open(parts, os.O_RDONLY)
    except OSError as error:
        raise output_error(path, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"another process is preparing {path}; wait until it has ended.") from error
        except OSError:  # a file system without locks
            pass
        for left in parts.glob(".*.partial*"):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        yield parts
    finally:
        os.close(handle)
        if parts.is_dir() and not any(parts.iterdir()):
            parts.rmdir()


def _part_name(source: SceneSource, scene: str, options: str, codec: Codec) -> str:
    """A name that changes with whatever changes the part."""
    told = json.loads(options)
    told.pop(_ROOTS, None)
    state = [__version__, source.name, told, scene, source.scene_state(scene), codec]
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', scene)[:80]}-{digest}"


def _check_alike(store: Store, source: SceneSource) -> None:
    """Refuse to add to a store that was prepared otherwise."""
    told, found = dict(source.options()), dict(store.config["source_options"])
    if store.config["source"] != source.name:
        raise StoreError(f"{store.path} was prepared from source '{store.config['source']}', not '{source.name}'.")
    for key in sorted(set(told) | set(found)):
        if key != _ROOTS and told.get(key) != found.get(key):
            raise StoreError(
                f"{store.path} was prepared with source.{key}={found.get(key)}, and now it is {told.get(key)}; give "
                "the same options to --append, or prepare everything anew with --overwrite."
            )


def _options_with(source: SceneSource, old: Store | None) -> dict[str, Any]:
    """The source's options, with the places of the scenes that were there before."""
    options = dict(source.options())
    if old is not None:
        before, now = (_listed(told.get(_ROOTS)) for told in (old.config["source_options"], options))
        places = list(dict.fromkeys(before + now))
        options[_ROOTS] = places[0] if len(places) == 1 else places
    return options


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
