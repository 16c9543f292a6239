"""The words that data and models share: bands, legend, targets, and the names of the fields of a batch.

No torch in here: stores, reports and studies read these without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from graticule.errors import StoreError

IGNORE = 255
"""The stored value of a class label that is not known. Values (heights, depths) use NaN."""

# The fields of a batch, a plain dict: `x` [b, c, *space] as the sensor gave it (in the store's type, before scaling),
# `seen` [b, *space] bool (False: no input there; the task fills it), `targets` {name: [b, *space]} (classes as signed
# integers, float32 values; 0 where unknown), `valid` {name: [b, *space] bool}, `area` [b, *space] float32 (pixel area
# in steradians), `index` [b] int64 (row in the store; -1 for a padding sample, which is valid nowhere). Of a target
# known per sample, `targets` and `valid` are [b].
# A batch of a pretraining has `views`, a list of dicts of `x` [b, c, h, w], `seen` [b, h, w] and `kept` [b, c] (False:
# the view does not show this band).
# A training batch may also have `draws`, numpy arrays: what its augmentation still has to do (see `data.light`).
X, SEEN, TARGETS, VALID, AREA, INDEX, DRAWS = "x", "seen", "targets", "valid", "area", "index", "draws"
# Of several stores at once: the name of the batch's domain, and the batches of the other domains by name.
DOMAIN, DOMAINS = "domain", "domains"
VIEWS, KEPT = "views", "kept"

BandKind = Literal["optical", "radar", "thermal", "elevation", "index", "angle", "direction", "other"]
TargetKind = Literal["classes", "binary", "height", "depth", "image"]
Transform = Literal["none", "log", "inverse"]
Scaling = Literal["standardise", "min_max", "none"]
Per = Literal["pixel", "sample"]


@dataclass(frozen=True)
class Band:
    """One input channel. physical = stored * scale + offset, in `unit`; mean and std are of physical values.

    `kind` says what the band means, so that an augmentation can leave alone what it must not change (no hue on radar).
    A `direction` is stored as two bands, its components to the east and to the north: NAME_east and NAME_north, or
    NAME_sin and NAME_cos of an angle from true north.
    `mean` and `std` are None until they have been measured (on training samples only).
    `nodata` is the stored value that means "no value in this band"; NaN always means that, and needs no nodata.
    `valid_range` is the (lowest, highest) physical value that a sensible measurement has.
    """

    name: str
    unit: str = "1"
    kind: BandKind = "optical"
    scale: float = 1.0
    offset: float = 0.0
    mean: float | None = None
    std: float | None = None
    nodata: float | None = None
    valid_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.nodata is not None and self.nodata != self.nodata:  # NaN says it already, and would never be equal
            object.__setattr__(self, "nodata", None)
        if self.valid_range is not None:
            low, high = (float(bound) for bound in self.valid_range)
            if not low < high:
                raise StoreError(f"band '{self.name}' has valid_range ({low:g}, {high:g}); give (lowest, highest).")
            object.__setattr__(self, "valid_range", (low, high))


@dataclass(frozen=True)
class LegendClass:
    """One class: its value in the store and in maps, its name, its colour as '#rrggbb'."""

    value: int
    name: str
    colour: str


@dataclass(frozen=True)
class Target:
    """What is predicted per pixel, or (`per` is "sample": classes and binary only) once for a whole sample.

    `classes` needs a legend whose values are 0..K-1; `binary` has a legend of two entries (0, 1); `height` and `depth`
    have a unit, and are transformed (log, 1 / value) and scaled for the net. `mean`, `std`, `low` and `high` are of the
    transformed values, once measured (on training samples only). With `uncertainty` the net gives a second channel,
    the logarithm of the variance of its error.

    A `cell` above 1 says that a label is known for cells of so many pixels a side only; it is stored at each pixel of
    its cell, and losses and metrics count it once. Windows begin and end at borders of cells.

    `stored_as` names the target's array in a store that has several targets of labels, which would share one else.
    """

    name: str
    kind: TargetKind
    legend: tuple[LegendClass, ...] = ()
    unit: str | None = None
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    transform: Transform = "none"
    scaling: Scaling = "standardise"
    uncertainty: bool = False
    cell: int = 1
    per: Per = "pixel"
    stored_as: str | None = None

    def __post_init__(self) -> None:
        values = [entry.value for entry in self.legend]
        if self.is_categorical and values != list(range(len(values))):
            raise StoreError(f"the legend of target '{self.name}' has values {values}; they must be 0..K-1 in order.")
        if self.kind == "classes" and len(values) < 2:
            raise StoreError(f"target '{self.name}' has {len(values)} classes in its legend; give at least two.")
        if self.kind == "binary" and len(values) != 2:
            raise StoreError(f"binary target '{self.name}' has {len(values)} legend entries; give two, for 0 and 1.")
        if self.cell < 1:
            raise StoreError(f"target '{self.name}' has cells of {self.cell} pixels; give 1 or more.")
        if self.is_of_sample and (self.cell > 1 or not self.is_categorical):
            raise StoreError(
                f"target '{self.name}' is known per sample and is of kind {self.kind} with cells of {self.cell} "
                "pixels; only classes and binary ones without cells can be."
            )

    @property
    def is_categorical(self) -> bool:
        """True for classes and binary: uint8 labels, 255 = unknown; False for float32 values, NaN = unknown."""
        return self.kind in ("classes", "binary")

    @property
    def is_of_sample(self) -> bool:
        """True for one label of a whole sample; False for one per pixel."""
        return self.per == "sample"

    @property
    def array(self) -> str:
        """Name of the target's array in a store: `y` for labels, else the target's kind (`height`, `depth`).

        Labels of whole samples are in `label`; `stored_as` says otherwise.
        """
        if self.stored_as:
            return self.stored_as
        return "label" if self.is_of_sample else "y" if self.is_categorical else self.kind

    def shape(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is known of one sample: that of its pixels, or () for one label."""
        return () if self.is_of_sample else space

    @property
    def channels(self) -> int:
        """How many output channels a net needs for this target: K for classes, else 1 (3 for an image).

        A value with its uncertainty needs 2.
        """
        return {"classes": len(self.legend), "image": 3}.get(self.kind, 2 if self.uncertainty else 1)

    @property
    def uncertainty_name(self) -> str:
        """Name under which the standard deviation of the error is predicted, beside the value under `name`."""
        return f"{self.name}-uncertainty"

    @property
    def predicted_names(self) -> tuple[str, ...]:
        """Names of the fields that are predicted for this target: its own, and that of its uncertainty."""
        return (self.name, self.uncertainty_name) if self.uncertainty else (self.name,)

    @property
    def zero_and_unit(self) -> tuple[float, float]:
        """The transformed values that the net gives as 0 and, less that, as 1."""
        if self.scaling == "min_max" and self.low is not None and self.high is not None:
            return self.low, (self.high - self.low) or 1.0
        return (0.0, 1.0) if self.scaling != "standardise" else (self.mean or 0.0, self.std or 1.0)

    @property
    def typical(self) -> float:
        """The value in the unit whose transformed value is the mean, once measured: what a constant would predict."""
        return float(self.restored(np.float64(self.mean or 0.0), np.exp))

    def transformed(self, values: Any, log: Callable[[Any], Any]) -> Any:
        """Values in the unit (an array or a tensor, with its `log`) as the net learns them, before scaling.

        Where there is no such value (log and inverse of 0 and less) there is none here: see `is_transformable`.
        """
        return {"none": lambda: values, "log": lambda: log(values), "inverse": lambda: 1 / values}[self.transform]()

    def is_transformable(self, values: Any) -> Any:
        """Where `transformed` has a value: a bool array or tensor."""
        return values > 0 if self.transform != "none" else values == values

    def restored(self, values: Any, exp: Callable[[Any], Any]) -> Any:
        """The inverse of `transformed`, finite whatever a net gives: 1 / value is at most 10 000 units."""
        if self.transform == "inverse":
            return 1 / values.clip(1e-4, None)
        return values if self.transform == "none" else exp(values.clip(-20, 20))


def band_to_dict(band: Band) -> dict[str, Any]:
    """The band as plain data, without the entries that are None (TOML has no null)."""
    plain = {key: value for key, value in asdict(band).items() if value is not None}
    return plain | ({} if band.valid_range is None else {"valid_range": list(band.valid_range)})


def band_from_dict(data: Mapping[str, Any]) -> Band:
    """The inverse of `band_to_dict`."""
    known = _known(data, Band)
    if "valid_range" in known:
        known["valid_range"] = tuple(map(float, known["valid_range"]))
    return Band(**known)


def target_to_dict(target: Target) -> dict[str, Any]:
    """The target as plain data, without the entries that are None and the options that are the default."""
    usual = {name: entry.default for name, entry in Target.__dataclass_fields__.items()}
    plain = {key: value for key, value in asdict(target).items() if value is not None and value != usual[key]}
    return plain | {"legend": [asdict(entry) for entry in target.legend]}


def target_from_dict(data: Mapping[str, Any]) -> Target:
    """The inverse of `target_to_dict`."""
    legend = tuple(LegendClass(**_known(entry, LegendClass)) for entry in data.get("legend", ()))
    return Target(**(_known(data, Target) | {"legend": legend}))


def _known(data: Mapping[str, Any], kind: type) -> dict[str, Any]:
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise StoreError(f"{kind.__name__} has unknown entries {unknown}; it takes {sorted(fields)}.")
    return dict(data)
