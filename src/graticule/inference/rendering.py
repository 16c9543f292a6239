"""Climate events on photographs: which there are, what each has to know, and the one call that makes their pictures."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from numpy.random import Generator, Philox
from torch import Tensor

from graticule.errors import ConfigError
from graticule.inference.clouds import clouded
from graticule.inference.events import flood, smog, thickness_of_disparity, thickness_of_metres, wildfire
from graticule.inference.masking import Masker, Predicts, TaskMasker
from graticule.inference.photo_layers import Layers, as_layers, as_photos

Paint = Callable[[Tensor, Tensor], Tensor]
"""Makes water: photographs [b, 3, h, w] and masks [b, h, w], both 0 to 1, to pictures like the former."""

SKY = 9
"""Class of the sky in the segmentations of ClimateGAN."""

_FIRE = 103
_GREENS = (100, 150)


@runtime_checkable
class Event(Protocol):
    """Something that is done to photographs, given what is known of them.

    Attributes:
        name: key and end of the file name of its pictures.
        needs: names of layers, of which one must be there.
    """

    @property
    def name(self) -> str:
        """Key and end of the file name of its pictures."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of layers, of which one must be there."""

    def render(self, photos: Float32[Tensor, "b 3 h w"], layers: Layers) -> Float32[Tensor, "b 3 h w"]:
        """The pictures, 0 to 1."""


@dataclass(frozen=True)
class Smog:
    """Smog that thickens with the distance.

    Attributes:
        visibility: metres at which a black object is just seen, where the depth is in metres.
    """

    visibility: float = 120.0
    name: ClassVar[str] = "smog"
    needs: ClassVar[tuple[str, ...]] = ("depth", "disparity")

    def __post_init__(self) -> None:
        if not self.visibility > 0:
            raise ConfigError(f"the visibility is {self.visibility:g}; it must be a distance above 0 m.")

    def render(self, photos: Float32[Tensor, "b 3 h w"], layers: Layers) -> Float32[Tensor, "b 3 h w"]:
        """The photographs through smog."""
        if "depth" in layers:
            thickness = thickness_of_metres(layers["depth"], self.visibility)
        else:
            thickness = thickness_of_disparity(layers["disparity"])
        return _one_by_one(smog, photos, thickness)


@dataclass(frozen=True)
class Wildfire:
    """The light of a wildfire, whose colour is a function of the seed alone, so the same in every batch.

    Attributes:
        seed: of the fire's colour, between red and yellow.
        sky: class of the sky in the segmentation.
    """

    seed: int = 0
    sky: int = SKY
    name: ClassVar[str] = "wildfire"
    needs: ClassVar[tuple[str, ...]] = ("segmentation",)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"the seed is {self.seed}; it must be a whole number from 0 to 2^63 - 1.")

    @property
    def green(self) -> float:
        """Of the fire's colour (1, green, 0)."""
        return float(Generator(Philox(key=[self.seed, _FIRE])).integers(*_GREENS, endpoint=True)) / 255

    def render(self, photos: Float32[Tensor, "b 3 h w"], layers: Layers) -> Float32[Tensor, "b 3 h w"]:
        """The photographs in the light of the fire."""
        return _one_by_one(partial(wildfire, green=self.green), photos, layers["segmentation"] == self.sky)


@dataclass(frozen=True)
class Flood:
    """Water where the mask is; all else stays as it was, bit for bit.

    Attributes:
        paint: makes the water.
        threshold: above which a pixel of the mask is water altogether; None mixes water and photograph by the mask.
        clouds: seed of clouds that the painter sees in place of the sky (see `clouded`), which needs `segmentation`;
            None shows it the photograph as it is. The sky of the picture stays as it was.
        sky: class of the sky in the segmentation.
    """

    paint: Paint
    threshold: float | None = 0.5
    clouds: int | None = None
    sky: int = SKY
    name: ClassVar[str] = "flood"
    needs: ClassVar[tuple[str, ...]] = ("mask",)

    def render(self, photos: Float32[Tensor, "b 3 h w"], layers: Layers) -> Float32[Tensor, "b 3 h w"]:
        """The flooded photographs."""
        mask = layers["mask"]
        if self.threshold is not None:
            mask = (mask > self.threshold).to(photos.dtype)
        shown = photos
        if self.clouds is not None:
            if "segmentation" not in layers:
                raise ConfigError("a flood under clouds needs segmentation of every photograph; give segmentation.")
            shown = clouded(photos, layers["segmentation"] == self.sky, self.clouds)
        return flood(photos, self.paint(shown, mask), mask)


def _one_by_one(do: Callable[[Tensor, Tensor], Tensor], photos: Tensor, layer: Tensor) -> Tensor:
    """A batch of which each photograph comes out as it does alone, to the last bit.

    Torch computes powers of the same number otherwise within a register of numbers than at the end of an array.
    """
    return torch.stack([do(photo, known) for photo, known in zip(photos, layer, strict=True)])


def infer_all(
    photos: Any, events: Sequence[Event] | None = None, *, depth: Any = None, disparity: Any = None,
    segmentation: Any = None, mask: Any = None, masker: Masker | Predicts | None = None,
    painter: Paint | None = None, span: tuple[float, float] = (0.0, 1.0), seconds: dict[str, float] | None = None,
    layers: dict[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Pictures of photographs under climate events.

    Args:
        photos: NumPy array or tensor, one photograph ([h, w], [h, w, c] or [c, h, w]) or a batch ([b, h, w, c] or
            [b, c, h, w]), c being 1 (grey), 3 or 4 (with alpha, which is put on white); whole numbers of 8 or 16 bits,
            or floating numbers in `span`. Tensors are worked on where they are.
        events: what to do; if None wildfire, smog and, with a painter, flood, each where its layer is known.
        depth: metres, [h, w] or [b, h, w], of the photographs' proportions; unknown (NaN or 0) takes the value of the
            nearest pixel that is known, infinite is sky.
        disparity: one over the distance, instead of `depth` where that has no unit; each map is scaled from its least
            to its largest value, since its own scale means nothing.
        segmentation: class numbers, or scores [k, h, w] or [b, k, h, w] of which the highest counts.
        mask: share of water.
        masker: sees the layers that are not given: a task of this project, or a function of your own (see `Masker`).
        painter: makes the water of the flood, where no events are named.
        span: values of black and white in floating photographs; (-1, 1) as ClimateGAN has them.
        seconds: a dictionary to which the times of the masker and of each event are added.
        layers: a dictionary into which all layers that were used are put, at the photographs' size.

    Returns:
        By the name of the event uint8 [h, w, 3], or [b, h, w, 3] of a batch.

    Raises:
        ConfigError: if an event has no layer, or an array has another shape, range or size than it must.
    """
    given = {"depth": depth, "disparity": disparity, "segmentation": segmentation, "mask": mask}
    known = {name: layer for name, layer in given.items() if layer is not None}
    sees = TaskMasker(masker) if isinstance(masker, Predicts) else masker
    there = {*known, *(sees.layers if sees else ())}
    sky = SKY if sees is None or sees.sky is None or "segmentation" in known else sees.sky
    chosen: Sequence[Event] = possible(there, painter, sky) if events is None else events
    for event in chosen:
        check_needs(event, there)
    x, single = as_photos(photos, span)
    used = as_layers(known, x)
    if sees is not None and not set(sees.layers) <= set(known):
        started = time.perf_counter()
        # How far away things are is told once: what is given comes before what is seen.
        given_far = not set(Smog.needs).isdisjoint(known)
        seen = {name: layer for name, layer in sees(x).items() if not (given_far and name in Smog.needs)}
        used = as_layers(seen, x) | used
        _add(seconds, "masker", started)
    if layers is not None:
        layers.update({name: (layer[0] if single else layer).cpu().numpy() for name, layer in used.items()})
    pictures = {}
    for event in chosen:
        started = time.perf_counter()
        with torch.no_grad():
            picture = event.render(x, used)
        made = (picture.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy()
        pictures[event.name] = made[0] if single else made
        _add(seconds, event.name, started)
    return pictures


def _add(seconds: dict[str, float] | None, stage: str, started: float) -> None:
    if seconds is not None:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started


def possible(known: Collection[str], painter: Paint | None = None, sky: int = SKY) -> list[Event]:
    """The events without options for which a layer is there, in the order in which they are shown."""
    every: list[Event] = [Wildfire(sky=sky), Smog()]
    every += [Flood(painter, sky=sky)] if painter else []
    return [event for event in every if not set(event.needs).isdisjoint(known)]


def check_needs(event: Event, known: Collection[str]) -> None:
    """Raise a ConfigError if none of the layers is known that an event needs one of."""
    if set(event.needs).isdisjoint(known):
        raise ConfigError(f"{event.name} needs {' or '.join(event.needs)} of every photograph; give {event.needs[0]}.")
