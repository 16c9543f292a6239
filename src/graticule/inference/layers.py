"""What a map file holds: how predictions become pixels, and how the file says what they mean."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from graticule.schema import IGNORE, Target

Probabilities = Literal["none", "uint8", "float32"]
STEPS = 250
"""A probability kept as uint8 is a whole number of 1/250; 255 is nodata."""
_DEVIATION = "standard deviation of the error"


@dataclass(frozen=True)
class Layer:
    """One map of one target.

    Attributes:
        name: of the file, after the scene's: the target's, with `-probabilities` for these.
        target: what it shows.
        dtype: "uint8" or "float32".
        nodata: the value of pixels without input.
        bands: name of each band.
        encode: (field float32 [k, *space] or [*space], seen [*space]) -> pixels [bands, *space].
        scale: a stored number times this is the value.
        tags: what else the file says, as texts.
    """

    name: str
    target: Target
    dtype: str
    nodata: float
    bands: tuple[str, ...]
    encode: Callable[[np.ndarray, np.ndarray], np.ndarray]
    scale: float = 1.0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_classes(self) -> bool:
        """Whether pixels are class labels, with names and colours."""
        return self.target.is_categorical and self.dtype == "uint8" and self.scale == 1.0

    @property
    def is_main(self) -> bool:
        """Whether this is the target itself, and not what is told beside it."""
        return "CONTENT" not in self.tags

    @property
    def colours(self) -> dict[int, tuple[int, int, int, int]]:
        """Colour of each class as (red, green, blue, alpha); nodata is transparent."""
        known = {entry.value: (*bytes.fromhex(entry.colour.lstrip("#")), 255) for entry in self.target.legend}
        return known | {IGNORE: (0, 0, 0, 0)}


def layers_of(target: Target, probabilities: Probabilities = "none") -> list[Layer]:
    """The maps of a target: its classes or values, the probabilities of its classes if asked for, its uncertainty."""
    if not target.is_categorical:
        unit = {"UNIT": target.unit} if target.unit else {}
        made = [Layer(target.name, target, "float32", float("nan"), (target.name,), _values, tags=unit)]
        if target.uncertainty:
            own, said = replace(target, name=target.uncertainty_name, uncertainty=False), unit | {"CONTENT": _DEVIATION}
            made.append(Layer(own.name, own, "float32", float("nan"), (own.name,), _values, tags=said))
        return made
    names = {f"CLASS_{entry.value}": entry.name for entry in target.legend}
    made = [Layer(target.name, target, "uint8", IGNORE, (target.name,), _labels, tags=names)]
    # A binary target has one probability: that of class 1.
    bands = tuple(entry.name for entry in target.legend[-target.channels :])
    name, said = f"{target.name}-probabilities", {"CONTENT": "probability of each class"}
    if probabilities == "uint8":
        made.append(Layer(name, target, "uint8", IGNORE, bands, _packed, 1 / STEPS, said))
    elif probabilities == "float32":
        made.append(Layer(name, target, "float32", float("nan"), bands, _values, tags=said))
    return made


def labels_of(probabilities: Float[np.ndarray, "k *space"], threshold: float = 0.5) -> UInt8[np.ndarray, "*space"]:
    """The class of the highest probability, the first of equals; for k = 1, class 1 from `threshold`."""
    if len(probabilities) == 1:
        return (probabilities[0] >= threshold).astype(np.uint8)
    best, label = probabilities[0], np.zeros(probabilities.shape[1:], np.uint8)
    # Class by class: numpy's argmax along the first axis is several times slower.
    for number in range(1, len(probabilities)):
        higher = probabilities[number] > best
        label[higher] = number
        best = np.maximum(best, probabilities[number])
    return label


def _labels(field: np.ndarray, seen: Bool[np.ndarray, "*space"]) -> UInt8[np.ndarray, "1 *space"]:
    return np.where(seen, labels_of(field), np.uint8(IGNORE))[None]


def _packed(field: np.ndarray, seen: Bool[np.ndarray, "*space"]) -> UInt8[np.ndarray, "k *space"]:
    return np.where(seen, np.rint(np.clip(field, 0, 1) * STEPS).astype(np.uint8), np.uint8(IGNORE))


def _values(field: np.ndarray, seen: Bool[np.ndarray, "*space"]) -> np.ndarray:
    bands = field.reshape(-1, *seen.shape)
    return np.where(seen, bands, np.float32(np.nan)).astype(np.float32, copy=False)
