"""`graticule render`: photographs under climate events."""

import argparse
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from graticule.commands.console import tell
from graticule.errors import ConfigError, GraticuleError, OutputError, SourceError
from graticule.inference.event_files import (
    contact_sheet,
    layer_files,
    list_photos,
    read_depth,
    read_disparity,
    read_photo,
    read_segmentation,
    write_picture,
)
from graticule.inference.progress import tracked
from graticule.inference.rendering import SKY, Event, Smog, Wildfire, infer_all

_HINTS = {
    "smog": "smog needs how far away everything is: add --depth FILES (metres) or --disparity FILES.",
    "wildfire": "wildfire needs to know the sky: add --segmentation FILES.",
}


@dataclass(frozen=True)
class _Request:
    """What to render, of which photographs, with which files of each layer."""

    events: tuple[Event, ...]
    files: Mapping[str, Mapping[Path, Path]]
    sky: int | str
    depth_unit: float | None
    out: Path
    sheet: bool


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    A photograph that cannot be rendered does not keep the others from it.

    Raises:
        ConfigError: if a word is wrong, or nothing can be done with what was given.
        SourceError: if a file does not exist; after all others: if any photograph failed.
        OutputError: if a picture cannot be written.
    """
    if not arguments.images:
        raise ConfigError(f"no photograph was given; name files or folders: graticule render {arguments.event} IMAGES.")
    photos = list_photos(arguments.images)
    request = _request(arguments, photos)
    seconds: dict[str, float] = {}
    failed: dict[Path, GraticuleError] = {}
    for photo in tracked(photos, len(photos), "render", show=len(photos) > 1):
        try:
            written = _render(photo, request, seconds)
        except OutputError:
            raise
        except GraticuleError as error:
            if len(photos) == 1:
                raise
            failed[photo] = error
            tell(f"{photo}: {error}")
        else:
            for path in written:
                print(path)
    _show(seconds, len(photos) - len(failed))
    if failed:
        first, why = next(iter(failed.items()))
        raise SourceError(
            f"{len(failed)} of {len(photos)} photographs failed, the first of them {first}: {why} The pictures of the "
            f"others are in {request.out}."
        )


def _request(arguments: argparse.Namespace, photos: Sequence[Path]) -> _Request:
    """What was asked for, if it can be done for any photograph."""
    sky = _sky(arguments.sky)
    events: tuple[Event, ...] = (
        Wildfire(seed=arguments.seed, sky=sky if isinstance(sky, int) else SKY), Smog(visibility=arguments.visibility),
    )  # fmt: skip
    if arguments.depth and arguments.disparity:
        raise ConfigError("both --depth and --disparity were given; give one.")
    if arguments.depth_unit is not None and not 0 < arguments.depth_unit < inf:
        raise ConfigError(f"--depth-unit is {arguments.depth_unit:g}; it must be metres above 0, such as 0.001.")
    files = {
        name: layer_files(name, given, photos)
        for name in ("depth", "disparity", "segmentation")
        if (given := getattr(arguments, name))
    }
    able = tuple(event for event in events if any(files.get(layer) for layer in event.needs))
    wanted = able if arguments.event == "all" else tuple(event for event in events if event.name == arguments.event)
    for event in wanted or events:
        if event not in able:
            _refuse(event, arguments, photos[0])
    if not wanted:
        raise ConfigError(
            "nothing is known of the pixels: add --depth FILES (metres) for smog, --segmentation FILES for wildfire."
        )
    used = {name: files[name] for event in wanted for name in event.needs if name in files}
    return _Request(wanted, used, sky, arguments.depth_unit, arguments.out, sheet=arguments.event == "all")


def _refuse(event: Event, arguments: argparse.Namespace, photo: Path) -> None:
    """Say why an event cannot be rendered, unless it was not asked for and nothing was given for it."""
    for name in event.needs:
        for given in getattr(arguments, name)[:1]:
            raise ConfigError(
                f"no file of {name} in {given} belongs to {photo}; name it {photo.stem}.npy, .npz or .png."
            )
    if arguments.event == event.name:
        raise ConfigError(_HINTS[event.name])


def _sky(given: str) -> int | str:
    """The sky's class, or its colour."""
    if given.isdigit():
        return int(given)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", given):
        return given
    raise ConfigError(f"--sky is '{given}'; it must be a class number such as {SKY}, or a colour such as '#081331'.")


def _render(photo: Path, request: _Request, seconds: dict[str, float]) -> list[Path]:
    """Write the pictures of one photograph and return their paths."""
    started = time.perf_counter()
    x = read_photo(photo)
    layers: dict[str, Any] = {
        name: _read(name, files[photo], request) for name, files in request.files.items() if photo in files
    }
    events = [event for event in request.events if not set(event.needs).isdisjoint(layers)]
    for event in request.events:
        if event not in events and (not request.sheet or not events):
            raise SourceError(f"it has no file of {' or '.join(event.needs)}, which {event.name} needs.")
        if event not in events:
            tell(f"{photo} has no {' or '.join(event.needs)}, so no {event.name}")
    _add(seconds, "read", started)
    pictures = infer_all(x, events, seconds=seconds, **layers)
    started = time.perf_counter()
    written = [write_picture(request.out / f"{photo.stem}_{name}.png", made) for name, made in pictures.items()]
    if request.sheet:
        written.append(write_picture(request.out / f"{photo.stem}_events.png", contact_sheet(x, pictures)))
    _add(seconds, "write", started)
    return written


def _read(name: str, path: Path, request: _Request) -> np.ndarray:
    if name == "depth":
        return read_depth(path, request.depth_unit)
    return read_disparity(path) if name == "disparity" else read_segmentation(path, request.sky, SKY)


def _add(seconds: dict[str, float], stage: str, started: float) -> None:
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def _show(seconds: Mapping[str, float], photos: int) -> None:
    """A table of the time that each stage took."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("a photograph", justify="right")
    for stage, time_ in seconds.items():
        table.add_row(stage, f"{time_:.2f}", f"{time_ / max(1, photos):.3f}")
    Console(stderr=True, highlight=False).print(table)
