"""`graticule render`: photographs under climate events."""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from graticule.commands.console import tell
from graticule.commands.render_request import Request, request_of
from graticule.errors import ConfigError, GraticuleError, OutputError, SourceError
from graticule.inference.event_files import (
    contact_sheet,
    list_photos,
    read_depth,
    read_disparity,
    read_mask,
    read_photo,
    read_segmentation,
    write_layer,
    write_picture,
)
from graticule.inference.framing import framed
from graticule.inference.progress import tracked
from graticule.inference.rendering import Event, infer_all

Item = tuple[Path, np.ndarray, dict[str, np.ndarray]]
"""A photograph's file, its pixels, and the layers that files tell of it."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    A photograph that cannot be rendered does not keep the others from it.

    Raises:
        ConfigError: if a word is wrong, or nothing can be done with what was given.
        CheckpointError: if a masker or painter cannot be used.
        SourceError: if a file does not exist; after all others: if any photograph failed.
        OutputError: if a picture cannot be written.
    """
    if not arguments.images:
        raise ConfigError(f"no photograph was given; name files or folders: graticule render {arguments.event} IMAGES.")
    photos = list_photos(arguments.images)
    request = request_of(arguments, photos)
    seconds: dict[str, float] = {}
    failed: dict[Path, GraticuleError] = {}
    for batch in _batches(photos, request, seconds, failed):
        for path in _batch(batch, request, seconds, failed):
            print(path)
    _show(seconds, len(photos) - len(failed))
    if failed and len(photos) == 1:
        raise next(iter(failed.values()))
    if failed:
        first, why = next(iter(failed.items()))
        raise SourceError(
            f"{len(failed)} of {len(photos)} photographs failed, the first of them {first}: {why} The pictures of the "
            f"others are in {request.out}."
        )


def _batches(
    photos: Sequence[Path], request: Request, seconds: dict[str, float], failed: dict[Path, GraticuleError]
) -> Iterator[list[Item]]:
    """Photographs that can be worked on at once: of one size, with files of the same layers, up to so many."""
    batch: list[Item] = []
    for photo in tracked(photos, len(photos), "render", show=len(photos) > 1):
        started = time.perf_counter()
        try:
            item = _read(photo, request)
        except GraticuleError as error:
            _fail(photo, error, len(photos), failed)
            continue
        finally:
            _add(seconds, "read", started)
        alike = batch and (batch[0][1].shape, set(batch[0][2])) == (item[1].shape, set(item[2]))
        if batch and (not alike or len(batch) == request.batch_size):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == request.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _fail(photo: Path, error: GraticuleError, photos: int, failed: dict[Path, GraticuleError]) -> None:
    failed[photo] = error
    if photos > 1:
        tell(f"{photo}: {error}")


def _batch(
    items: list[Item], request: Request, seconds: dict[str, float], failed: dict[Path, GraticuleError]
) -> list[Path]:
    """Write the pictures of a batch, one by one where it fails as a whole; what still fails is put into `failed`."""
    try:
        return _render(items, request, seconds)
    except OutputError:
        raise
    except GraticuleError as error:
        if len(items) > 1:
            return [path for item in items for path in _batch([item], request, seconds, failed)]
        _fail(items[0][0], error, request.photos, failed)
        return []


def _read(photo: Path, request: Request) -> Item:
    """A photograph and the layers in its files."""
    x = read_photo(photo)
    layers = {name: _layer(name, files[photo], request) for name, files in request.files.items() if photo in files}
    _events(photo, [*layers, *request.seen], request)
    x, layers = framed(x, layers, request.size, whole=request.keep_ratio)
    return photo, x, layers


def _layer(name: str, path: Path, request: Request) -> np.ndarray:
    if name == "depth":
        return read_depth(path, request.depth_unit)
    if name == "segmentation":
        values = read_segmentation(path, request.sky_of_files, request.sky)
        own = request.sky_of_files
        return values if isinstance(own, str) or own == request.sky else np.where(values == own, request.sky, -1)
    return read_disparity(path) if name == "disparity" else read_mask(path)


def _events(photo: Path, layers: Sequence[str], request: Request) -> list[Event]:
    """The events that can be done with the layers of a photograph.

    Raises:
        SourceError: if one lacks that was asked for, or all.
    """
    events = [event for event in request.events if not set(event.needs).isdisjoint(layers)]
    for event in request.events:
        if event not in events and (not request.sheet or not events):
            raise SourceError(f"it has no file of {' or '.join(event.needs)}, which {event.name} needs.")
        if event not in events:
            tell(f"{photo} has no {' or '.join(event.needs)}, so no {event.name}")
    return events


def _render(items: Sequence[Item], request: Request, seconds: dict[str, float]) -> list[Path]:
    """Write the pictures of a batch and return their paths."""
    names = items[0][2]
    given: dict[str, Any] = {name: np.stack([layers[name] for _, _, layers in items]) for name in names}
    events = [event for event in request.events if not set(event.needs).isdisjoint([*names, *request.seen])]
    used: dict[str, np.ndarray] = {}
    x = request.on_device(np.stack([photo for _, photo, _ in items]))
    pictures = infer_all(x, events, seconds=seconds, masker=request.masker, layers=used, **given)
    started = time.perf_counter()
    written = []
    for number, (path, photo, _) in enumerate(items):
        made = {name: pictures_[number] for name, pictures_ in pictures.items()}
        written += [write_picture(request.out / f"{path.stem}_{name}.png", one) for name, one in made.items()]
        if request.sheet:
            written.append(write_picture(request.out / f"{path.stem}_events.png", contact_sheet(photo, made)))
        kept = {name: used[name][number] for name in request.save if name in used}
        written += [write_layer(request.out, path.stem, name, layer) for name, layer in kept.items()]
    _add(seconds, "write", started)
    return written


def _add(seconds: dict[str, float], stage: str, started: float) -> None:
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def _show(seconds: Mapping[str, float], photos: int) -> None:
    """A table of the time that each stage took."""
    if not photos:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("a photograph", justify="right")
    for stage, time_ in seconds.items():
        table.add_row(stage, f"{time_:.2f}", f"{time_ / photos:.3f}")
    Console(stderr=True, highlight=False).print(table)
