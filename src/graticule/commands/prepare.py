"""`graticule prepare`: a source's samples, written to a store."""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from graticule.commands.console import tell
from graticule.commands.launching import launch
from graticule.commands.stores import check_source, store_path
from graticule.conf.compose import Request, compose, trusted_by
from graticule.conf.parts import make_source
from graticule.conf.tree import Config
from graticule.data.by_scene import SceneResult, SceneSource, prepare_scenes
from graticule.data.prepare import Source
from graticule.data.prepare import prepare as write_store
from graticule.data.sources.whole_images import WholeImages
from graticule.data.store import Store
from graticule.errors import ConfigError, SourceError

_MOST_ROWS = 40
"""Up to so many scenes the table names all; of more, those that failed."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    launch(partial(prepare, overwrite=arguments.overwrite, append=arguments.append), arguments)


def prepare(request: Request, overwrite: bool = False, append: bool = False) -> Store:
    """Write the store that a configuration names; one that is there already is kept, unless `overwrite`.

    Args:
        request: the words.
        overwrite: replace a store that is there.
        append: add the scenes that it lacks.

    Raises:
        ConfigError: for a wrong word.
        SourceError: if the input is missing or damaged; of scenes: if any of them could not be prepared, after the
            store has been written from the others.
        StoreError: if a store of another source is there.
        OutputError: if it cannot be written.
    """
    if overwrite and append:
        raise ConfigError("--overwrite and --append exclude each other; give one of them.")
    config = compose(request, kinds=["source"])  # nets need torch, which takes seconds to import
    path = store_path(config)
    source = make_source(config.source.model_dump(), trusted_by(request))
    if path.exists() and not (overwrite or append):
        store = Store.open(path)
        check_source(store, config)
        tell(f"{path} is there already, prepared from the same source; --overwrite writes it anew.")
        return _told(store)
    if isinstance(source, SceneSource):
        return _scenes(source, path, config, overwrite, append)
    if append:
        raise ConfigError(f"--append adds scenes, and source '{source.name}' is prepared as a whole; use --overwrite.")
    return _told(_whole(source, path, config, overwrite))


def _whole(source: Source, path: Path, config: Config, overwrite: bool) -> Store:
    store = write_store(source, path, overwrite=overwrite, codec=config.prepare.codec)
    if isinstance(source, WholeImages) and source.skipped:
        _show([], source.remarks()[:_MOST_ROWS])
        tell(f"{len(source.skipped)} images could not be read and were left out (source.skip_corrupt=true).")
    return store


def _scenes(source: SceneSource, path: Path, config: Config, overwrite: bool, append: bool) -> Store:
    options = config.prepare
    store, results = prepare_scenes(
        source, path, overwrite=overwrite, append=append, workers=options.workers, dask=options.dask,
        codec=options.codec, progress=config.callbacks.progress,
    )  # fmt: skip
    remarks = source.remarks()
    _show(results, remarks)
    _told(store)
    failed = sum(result.status == "failed" for result in results)
    lost = sum(is_lost for _, _, is_lost in remarks)
    if failed or lost:
        what = [f"{failed} of {len(results)} scenes"] * bool(failed) + [f"{lost} labels or footprints"] * bool(lost)
        raise SourceError(
            f"{' and '.join(what)} could not be used (the table names them); {path} holds all others: correct these, "
            "and add them with --append."
        )
    return store


def _show(results: Sequence[SceneResult], remarks: Sequence[tuple[str, str, bool]]) -> None:
    """A table of what became of the scenes, and of the labels that were lost or mended."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("scene or label", "result", "samples", "why"):
        table.add_column(title, justify="right" if title == "samples" else "left", overflow="fold")
    for result in results:
        if len(results) <= _MOST_ROWS or result.status == "failed":
            told = "no window is kept" if result.status == "empty" else result.why
            table.add_row(result.scene, result.status, str(result.samples or ""), told)
    for which, why, is_lost in remarks:
        table.add_row(which, "skipped" if is_lost else "mended", "", why)
    console = Console(stderr=True, highlight=False)
    Console(stderr=True, highlight=False, width=max(console.width, 160)).print(table)
    counts = Counter(result.status for result in results)
    if counts:
        tell("scenes: " + ", ".join(f"{count} {status}" for status, count in counts.items()))


def _told(store: Store) -> Store:
    tell(f"{len(store)} samples of {len(store.bands)} bands, {' x '.join(map(str, store.space))} pixels:")
    print(store.path)
    return store
