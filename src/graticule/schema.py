"""The words that data and models share: bands, legend, targets, and the names of the fields of a batch.

No torch in here: stores, reports and studies read these without it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from graticule.errors import StoreError

IGNORE = 255
"""The stored value of a class label that is not known. Values (heights, depths) use NaN."""

# The fields of a batch, a plain dict: `x` [b, c, *space] as the sensor gave it (in the store's type, before scaling),
# `seen` [b, *space] bool (False: no input there; the task fills it), `targets` {name: [b, *space]} (classes as signed
# integers, float32 values; 0 where unknown), `valid` {name: [b, *space] bool}, `area` [b, *space] float32 (pixel area
# in steradians), `index` [b] int64 (row in the store; -1 for a padding sample, which is valid nowhere).
X, SEEN, TARGETS, VALID, AREA, INDEX = "x", "seen", "targets", "valid", "area", "index"

BandKind = Literal["optical", "radar", "thermal", "elevation", "index", "angle", "other"]
TargetKind = Literal["classes", "binary", "height", "depth", "image"]


@dataclass(frozen=True)
class Band:
    """One input channel. physical = stored * scale + offset, in `unit`; mean and std are of physical values.

    `kind` says what the band means, so that an augmentation can leave alone what it must not change (no hue on radar).
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
    """What is predicted per pixel.

    `classes` needs a legend whose values are 0..K-1; `binary` has a legend of two entries (0, 1); `height` and `depth`
    have a unit, and a mean and std once measured (on training samples only).
    """

    name: str
    kind: TargetKind
    legend: tuple[LegendClass, ...] = ()
    unit: str | None = None
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        values = [entry.value for entry in self.legend]
        if self.is_categorical and values != list(range(len(values))):
            raise StoreError(f"the legend of target '{self.name}' has values {values}; they must be 0..K-1 in order.")
        if self.kind == "classes" and len(values) < 2:
            raise StoreError(f"target '{self.name}' has {len(values)} classes in its legend; give at least two.")
        if self.kind == "binary" and len(values) != 2:
            raise StoreError(f"binary target '{self.name}' has {len(values)} legend entries; give two, for 0 and 1.")

    @property
    def is_categorical(self) -> bool:
        """True for classes and binary: uint8 labels, 255 = unknown; False for float32 values, NaN = unknown."""
        return self.kind in ("classes", "binary")

    @property
    def array(self) -> str:
        """Name of the target's array in a store: `y` for labels, else the target's kind (`height`, `depth`)."""
        return "y" if self.is_categorical else self.kind

    @property
    def channels(self) -> int:
        """How many output channels a net needs for this target: K for classes, else 1 (3 for an image)."""
        return {"classes": len(self.legend), "image": 3}.get(self.kind, 1)


def band_to_dict(band: Band) -> dict[str, Any]:
    """The band as plain data, without the entries that are None (TOML has no null)."""
    plain = {key: value for key, value in asdict(band).items() if value is not None}
    return plain | ({} if band.valid_range is None else {"valid_range": list(band.valid_range)})


def band_from_dict(data: Mapping[str, Any]) -> Band:
    """The inverse of `band_to_dict`."""
    return Band(**_known(data, Band))


def target_to_dict(target: Target) -> dict[str, Any]:
    """The target as plain data, without the entries that are None."""
    plain = {key: value for key, value in asdict(target).items() if value is not None}
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
