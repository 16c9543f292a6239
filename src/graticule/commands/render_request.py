"""What `graticule render` was asked for, checked before any photograph is opened."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import torch

from graticule.errors import ConfigError
from graticule.inference.event_files import layer_files
from graticule.inference.masking import TaskMasker
from graticule.inference.rendering import SKY, Event, Flood, Paint, Smog, Wildfire

HINTS = {
    "smog": "smog needs how far away everything is: add --depth FILES (metres), --disparity FILES, or --run MASKER.",
    "wildfire": "wildfire needs to know the sky: add --segmentation FILES, or --run MASKER.",
    "flood": "flood needs to know where the water stands: add --mask FILES, or --run MASKER.",
}
_SAVED = ("mask", "depth", "disparity", "segmentation")


@dataclass(frozen=True)
class Request:
    """What to render, of which photographs, with which files of each layer and which nets.

    Attributes:
        events: to render.
        files: of each layer, by photograph.
        photos: how many there are.
        sky: class of the sky wherever it is known.
        sky_of_files: class or colour of the sky in files of segmentation.
        depth_unit: metres to which one in files of depth comes.
        out: folder of the pictures.
        sheet: whether to put all pictures of a photograph side by side.
        masker: sees what no file tells.
        device: of the nets.
        save: layers to write.
        size: of the shorter side; None for the photograph's own.
        keep_ratio: keep the proportions, and not cut a square.
        batch_size: photographs at once.
    """

    events: tuple[Event, ...]
    files: Mapping[str, Mapping[Path, Path]]
    photos: int
    sky: int
    sky_of_files: int | str
    depth_unit: float | None
    out: Path
    sheet: bool
    masker: TaskMasker | None
    device: str
    save: tuple[str, ...]
    size: int | None
    keep_ratio: bool
    batch_size: int

    @property
    def seen(self) -> tuple[str, ...]:
        """Layers that every photograph has."""
        return self.masker.layers if self.masker else ()

    def on_device(self, photos: np.ndarray) -> torch.Tensor:
        """Photographs where the nets are."""
        return torch.from_numpy(photos).to(self.device)


def request_of(arguments: argparse.Namespace, photos: Sequence[Path]) -> Request:
    """What was asked for, if it can be done for any photograph.

    Raises:
        ConfigError: if a word is wrong, or nothing can be done with what was given.
        CheckpointError: if a net cannot be used.
        SourceError: if a file does not exist.
    """
    _check_numbers(arguments)
    sky_of_files = _sky(arguments.sky)
    files = {
        name: layer_files(name, given, photos)
        for name in ("depth", "disparity", "segmentation", "mask")
        if (given := getattr(arguments, name))
    }
    device = _device(arguments.device)
    masker, paint = _nets(arguments, device)
    sky = sky_of_files if isinstance(sky_of_files, int) else SKY
    if masker is not None and masker.sky is not None:
        sky = masker.sky
    seen = masker.layers if masker else ()
    events = _every(arguments, sky, paint)
    able = tuple(e for e in events if any(files.get(layer) or layer in seen for layer in e.needs))
    wanted = able if arguments.event == "all" else tuple(e for e in events if e.name == arguments.event)
    if arguments.event == "flood" and paint is None:
        raise ConfigError("flood needs a painter: add --painter RUN, trained by task.name=painting.")
    for event in wanted or events:
        if event not in able:
            _refuse(event, arguments, photos[0])
    if not wanted:
        raise ConfigError(
            "nothing is known of the pixels: add --depth FILES (metres) for smog, --segmentation FILES for wildfire, "
            "--mask FILES and --painter RUN for a flood, or --run MASKER for all."
        )
    _check_saved(arguments.save, files, seen)
    needed = {name for event in wanted for name in event.needs} | {*arguments.save}
    needed |= {"segmentation"} if arguments.cloudy else set()
    return Request(
        events=wanted, files={name: files[name] for name in files if name in needed}, photos=len(photos), sky=sky,
        sky_of_files=sky_of_files, depth_unit=arguments.depth_unit, out=arguments.out, sheet=arguments.event == "all",
        masker=masker, device=device, save=tuple(arguments.save), size=arguments.size,
        keep_ratio=arguments.keep_ratio, batch_size=arguments.batch_size,
    )  # fmt: skip


def _device(name: str) -> str:
    """The device as torch names it; `auto` is the GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device is cuda and torch finds no GPU; give --device cpu.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def _nets(arguments: argparse.Namespace, device: str) -> tuple[TaskMasker | None, Paint | None]:
    """The masker and the painter that were named."""
    if arguments.masker is None and arguments.painter is None and not arguments.load:
        return None, None
    # Here, since all that trains nets takes seconds to import, which events by files alone need not wait for.
    from graticule.commands.render_nets import files_by_rule, load_masker, load_painter

    seen, painted, trusted = arguments.masker, arguments.painter, arguments.trust
    if arguments.load:
        if seen is not None or painted is not None:
            raise ConfigError("--load names masker and painter, and so do --run and --painter; give one or the other.")
        files = files_by_rule(arguments.load, arguments.event, masked=bool(arguments.mask))
        seen, painted = files.m, files.p
    masker = None if seen is None else load_masker(seen, device, trusted, arguments.masker_size)
    paint = None if painted is None else load_painter(painted, device, arguments.seed, trusted)
    return masker, paint


def _check_numbers(arguments: argparse.Namespace) -> None:
    if arguments.depth and arguments.disparity:
        raise ConfigError("both --depth and --disparity were given; give one.")
    if arguments.depth_unit is not None and not 0 < arguments.depth_unit < inf:
        raise ConfigError(f"--depth-unit is {arguments.depth_unit:g}; it must be metres above 0, such as 0.001.")
    if arguments.threshold != -1 and not 0 <= arguments.threshold <= 1:
        raise ConfigError(f"--threshold is {arguments.threshold:g}; it must be from 0 to 1, or -1 for a soft border.")
    for name in ("size", "batch_size"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is {value}; it must be 1 or more.")
    if arguments.masker_size is not None and arguments.masker_size < 0:
        raise ConfigError(
            f"--masker-size is {arguments.masker_size}; it must be pixels, or 0 for the photograph's own."
        )
    if arguments.keep_ratio and arguments.size is None:
        raise ConfigError(
            "--keep-ratio says how --size is meant, which was not given; without both nothing is resized."
        )


def _every(arguments: argparse.Namespace, sky: int, paint: Paint | None) -> tuple[Event, ...]:
    """All events with their options; flood where something paints it."""
    events: list[Event] = [Wildfire(seed=arguments.seed, sky=sky), Smog(visibility=arguments.visibility)]
    if paint is not None:
        threshold = None if arguments.threshold == -1 else arguments.threshold
        events.append(Flood(paint, threshold, arguments.seed if arguments.cloudy else None, sky))
    return tuple(events)


def _check_saved(save: Sequence[str], files: Mapping[str, object], seen: Sequence[str]) -> None:
    for name in save:
        if name not in _SAVED:
            raise ConfigError(f"--save has '{name}'; it can be {', '.join(_SAVED)}.")
        if name not in files and name not in seen:
            raise ConfigError(f"--save has '{name}', which neither files nor the masker tell; leave it out.")


def _refuse(event: Event, arguments: argparse.Namespace, photo: Path) -> None:
    """Say why an event cannot be rendered, unless it was not asked for and nothing was given for it."""
    for name in event.needs:
        for given in getattr(arguments, name)[:1]:
            raise ConfigError(
                f"no file of {name} in {given} belongs to {photo}; name it {photo.stem}.npy, .npz or .png."
            )
    if arguments.event == event.name:
        raise ConfigError(HINTS[event.name])


def _sky(given: str) -> int | str:
    """The sky's class, or its colour."""
    if given.isdigit():
        return int(given)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", given):
        return given
    raise ConfigError(f"--sky is '{given}'; it must be a class number such as {SKY}, or a colour such as '#081331'.")
