"""The classes of WoodScape and SynWoodScape, and how the published experiments merge them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from graticule.errors import SourceError
from graticule.schema import IGNORE, LegendClass

WOODSCAPE = "void road lanemarks curb person rider vehicles bicycle motorcycle traffic_sign".split()
SYNWOODSCAPE = (
    "unlabeled", "building", "fence", "other", "pedestrian", "pole", "road line", "road", "sidewalk", "vegetation",
    "four-wheeler vehicle", "wall", "traffic sign", "sky", "ground", "bridge", "rail track", "guard rail",
    "traffic light", "water", "terrain", "two-wheeler vehicle", "static", "dynamic", "ego-vehicle",
)  # fmt: skip

# The classes that are kept, by name; all others become class 0, void.
MERGED: dict[str, tuple[str, ...]] = {
    "synwoodscape_large": (
        "void", "building", "road line", "road", "sidewalk", "four-wheeler vehicle", "sky", "ego-vehicle",
    ),
    "synwoodscape_large_plus_AD": (
        "void", "building", "pedestrian", "road line", "road", "sidewalk", "four-wheeler vehicle", "traffic sign",
        "sky", "traffic light", "two-wheeler vehicle", "ego-vehicle",
    ),
}  # fmt: skip

PUBLISHED_WEIGHTS: dict[str, tuple[float, ...]] = {
    "woodscape": (0.34876, 0.44370, 0.89929, 1.15444, 1.31938, 1.70620, 0.73121, 1.24442, 1.68859, 2.36435),
    "synwoodscape_large": (0.62990, 0.51119, 0.88803, 0.39921, 0.75033, 0.88421, 0.67316, 0.43332),
    "synwoodscape_large_plus_AD": (
        0.64989, 0.51119, 1.18160, 0.88803, 0.39921, 0.75033, 0.88421, 1.91089, 0.67316, 2.34624, 1.67845, 0.43332,
    ),
}  # fmt: skip
"""Class weights of HEAL-SWIN's cross-entropy (Carlsson et al. 2024). They are (100 p)^(-1/4) of the prevalences p."""


@dataclass(frozen=True)
class ClassTable:
    """The legend of a class set, and the class of each stored value (`UNKNOWN` where the data set has none)."""

    legend: tuple[LegendClass, ...]
    class_of: UInt8[np.ndarray, " 256"]


UNKNOWN = 254
"""In `class_of`: a value that the data set's own legend does not have."""


def class_table(info: Mapping[str, Any], classes: str, void: bool, path: str) -> ClassTable:
    """The classes of a data set as a class set sees them.

    Classes go by their names, so that it does not matter how the data set numbers them. A data set that has been
    merged before is taken as it is.

    Args:
        info: content of `seg_annotation_info.json`: `class_names`, and optionally `class_indexes`, `class_colors` and
            `color_scheme` ("RGB" or "BGR").
        classes: name of a class set: of `MERGED`; any other takes the data set's own classes.
        void: whether class 0 is a class; if not, its pixels have no label.
        path: of the file, for errors.

    Raises:
        SourceError: if names are missing.
    """
    names, colours = _names_colours(info, path)
    kept = MERGED.get(classes)
    if kept is None or [_plain(name) for name in names.values()] == [_plain(name) for name in kept]:
        kept = tuple(names.values())
    position = {_plain(name): number for number, name in enumerate(kept)}
    missing = [name for name in kept[1:] if _plain(name) not in map(_plain, names.values())]
    if missing:
        raise SourceError(
            f"{path} names no class '{missing[0]}', which the class set {classes} needs; "
            f"it names {', '.join(names.values())}."
        )
    class_of = np.full(256, UNKNOWN, np.uint8)
    class_of[IGNORE] = IGNORE
    shown = ["#000000"] * len(kept)
    for value, name in reversed(list(names.items())):
        class_of[value] = position.get(_plain(name), 0)
        if _plain(name) in position:
            shown[position[_plain(name)]] = colours.get(value, "#808080")
    if not void:
        class_of[class_of == 0] = IGNORE
    legend = tuple(LegendClass(k, name, colour) for k, (name, colour) in enumerate(zip(kept, shown, strict=True)))
    return ClassTable(legend, class_of)


def _names_colours(info: Mapping[str, Any], path: str) -> tuple[dict[int, str], dict[int, str]]:
    names = info.get("class_names")
    if not isinstance(names, Sequence) or isinstance(names, str) or len(names) < 2:
        raise SourceError(f"{path} has no list class_names; give the file as WoodScape publishes it.")
    values = [int(value) for value in info.get("class_indexes") or range(len(names))]
    if len(values) != len(names) or len(set(values)) != len(values) or not all(0 <= v < UNKNOWN for v in values):
        raise SourceError(f"{path} has {len(names)} class_names but class_indexes {values}; give one index for each.")
    order = sorted(range(len(names)), key=lambda place: values[place])
    step = -1 if str(info.get("color_scheme", "RGB")).upper() == "BGR" else 1
    listed = list(info.get("class_colors") or [])
    colours = {
        values[k]: "#{:02x}{:02x}{:02x}".format(*[int(part) & 255 for part in listed[k][::step]])
        for k in range(min(len(listed), len(names)))
        if len(listed[k]) == 3
    }
    return {values[k]: str(names[k]) for k in order}, colours


def _plain(name: str) -> str:
    """A class name without the differences in writing between releases."""
    return name.lower().replace("_", " ").replace("-", " ").strip()
