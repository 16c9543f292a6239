"""What a trained net sees in photographs, as the layers that events need."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

from graticule.errors import ConfigError
from graticule.inference.framing import Size, at_size, size_shown
from graticule.schema import Band, Target

_NEAREST = 0.1
"""Metres below which no depth is believed."""

_SCALE_FREE = frozenset({"sigm"})
"""Losses to which neither factor nor offset of a depth matters."""


@runtime_checkable
class Masker(Protocol):
    """Something that sees depth, classes or a flood mask in photographs.

    Attributes:
        layers: names of what it sees: `mask`, `segmentation`, and `depth` or `disparity`.
        sky: class of the sky in its segmentation; None where it has none.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of what it sees."""

    @property
    def sky(self) -> int | None:
        """Class of the sky."""

    def __call__(self, photos: Float32[Tensor, "b 3 h w"]) -> Mapping[str, Tensor]:
        """The layers [b, h, w] of photographs, 0 to 1."""


@runtime_checkable
class Predicts(Protocol):
    """A trained task of this project that predicts maps, so far as a masker needs to know it.

    Named here by what it does, so that events without a net do not wait for all that trains one.
    """

    bands: tuple[Band, ...]
    targets: tuple[Target, ...]
    grid_kind: str
    losses: Any

    def predict(self, x: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """Per target: probabilities [b, k, h, w], or values [b, h, w]."""

    def eval(self) -> Any:
        """Put it into eval mode."""


class TaskMasker:
    """A trained task as a masker: its binary target is the mask, its classes the segmentation, its depth the depth.

    Args:
        task: dense prediction on colour photographs; is put into eval mode.
        learnt: height and width of the photographs that it learnt from: it is shown others as large as those, and what
            it sees is brought back to their own size. None shows them as they are.
        whole: whether it learnt from whole photographs, squeezed to that size.

    Raises:
        ConfigError: if it does not see colour photographs, or predicts nothing that events need.
    """

    def __init__(self, task: Predicts, learnt: Size | None = None, *, whole: bool = False) -> None:
        if len(task.bands) != 3 or task.grid_kind == "healpix":
            raise ConfigError(
                f"the masker takes {len(task.bands)} bands on a grid of kind '{task.grid_kind}'; it must take the "
                "three colours of photographs."
            )
        task.eval()
        self.task, self.learnt, self.whole = task, learnt, whole
        self._names: dict[str, Target] = {}
        for target in task.targets:
            name = _layer(target, task.losses.get(target.name, ()))
            if name is not None:
                self._names.setdefault(name, target)
        if not self._names:
            known = ", ".join(f"{target.name} ({target.kind})" for target in task.targets)
            raise ConfigError(f"the masker predicts {known}; it must predict depth, classes or a binary mask.")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of what it sees."""
        return tuple(self._names)

    @property
    def legend(self) -> Target | None:
        """The target of its segmentation."""
        return self._names.get("segmentation")

    @property
    def sky(self) -> int | None:
        """Class whose name is sky."""
        legend = self.legend
        found = [entry.value for entry in legend.legend if entry.name.lower() == "sky"] if legend else []
        return found[0] if found else None

    @torch.no_grad()
    def __call__(self, photos: Float32[Tensor, "b 3 h w"]) -> dict[str, Tensor]:
        """The layers [b, h, w] of photographs, 0 to 1: shares, class numbers, metres."""
        size = photos.shape[-2], photos.shape[-1]
        shown = size if self.learnt is None else size_shown(size, self.learnt, whole=self.whole)
        if shown != size:
            photos = F.interpolate(photos, shown, mode="bilinear", antialias=True, align_corners=False)
        ends = photos.new_tensor([_black_and_white(band) for band in self.task.bands])[..., None, None]
        found = self.task.predict(photos * (ends[:, 1] - ends[:, 0]) + ends[:, 0])
        return {name: _as_layer(name, at_size(found[target.name], size)) for name, target in self._names.items()}


def _black_and_white(band: Band) -> tuple[float, float]:
    """What a band stores of them: the ends of its valid range; else those of 0..1, or of 8 bits without a scale."""
    low, high = band.valid_range or (0.0, 255.0 if band.scale == 1 else 1.0)
    return (low - band.offset) / band.scale, (high - band.offset) / band.scale


def _layer(target: Target, losses: Sequence[Mapping[str, Any]]) -> str | None:
    """The layer that a target is; a depth that no loss holds to its unit tells what is nearer, as a disparity does."""
    if target.kind == "depth":
        relative = bool(losses) and all(entry["name"] in _SCALE_FREE for entry in losses)
        return "depth" if target.unit == "m" and not relative else "disparity"
    return {"binary": "mask", "classes": "segmentation"}.get(target.kind)


def _as_layer(name: str, predicted: Any) -> Tensor:
    if name == "segmentation":
        classes: Tensor = predicted.argmax(1)
        return classes
    if name == "mask":
        share: Tensor = predicted[:, 0]
        return share
    metres: Tensor = predicted.clamp(min=_NEAREST)
    return metres if name == "depth" else 1 / metres
