"""Classes of street photographs: eleven merged ones, their colours, Virtual KITTI 2's, and where water may stand.

Facts of ClimateGAN (Schmidt et al. 2022), whose lists and labels are read, and of Virtual KITTI 2 (Cabon et al. 2020).
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from graticule.schema import IGNORE, LegendClass

Colour = tuple[int, int, int]

MERGED: tuple[tuple[str, Colour], ...] = (
    ("water", (0, 0, 255)), ("ground", (55, 55, 55)), ("building", (0, 255, 255)), ("traffic items", (255, 212, 0)),
    ("vegetation", (0, 255, 0)), ("terrain", (255, 97, 0)), ("car", (255, 0, 0)), ("trees", (60, 180, 60)),
    ("person", (255, 0, 255)), ("sky", (0, 0, 0)), ("default", (255, 255, 255)),
)  # fmt: skip
"""Name and colour of each class; its position is its number."""

OTHER_COLOURS: dict[Colour, int] = {(220, 20, 60): 8, (8, 19, 49): 9, (0, 80, 100): 10}
"""Colours that labels of real photographs have instead."""

VKITTI2: dict[Colour, int] = {
    (210, 0, 200): 5, (90, 200, 255): 9, (0, 199, 0): 7, (90, 240, 0): 4, (140, 140, 140): 2, (100, 60, 100): 1,
    (250, 100, 255): 3, (255, 255, 0): 3, (200, 200, 0): 3, (255, 130, 0): 3, (80, 80, 80): 10, (160, 60, 60): 6,
    (255, 127, 80): 6, (0, 139, 139): 6, (0, 0, 0): 10,
}  # fmt: skip
"""Terrain, sky, tree, vegetation, building, road, guard rail, traffic sign, traffic light, pole, misc, truck, car, van
and undefined of Virtual KITTI 2 → merged class."""

MUST_MAY: tuple[tuple[str, Colour], ...] = (("cannot", (255, 0, 0)), ("must", (0, 0, 255)), ("may", (0, 0, 0)))
"""Whether water can, must or may stand there."""

PALETTES: dict[str, Mapping[Colour, int]] = {
    "merged": {colour: value for value, (_, colour) in enumerate(MERGED)} | OTHER_COLOURS,
    "vkitti2": VKITTI2,
}  # fmt: skip
"""Colour → merged class, by the name of who coloured the labels."""


def legend(entries: tuple[tuple[str, Colour], ...]) -> tuple[LegendClass, ...]:
    """Names and colours as a target has them."""
    return tuple(LegendClass(value, name, f"#{r:02x}{g:02x}{b:02x}") for value, (name, (r, g, b)) in enumerate(entries))


def coloured(labels: UInt8[np.ndarray, "h w"], entries: tuple[tuple[str, Colour], ...]) -> UInt8[np.ndarray, "h w 3"]:
    """Classes in their colours."""
    return np.array([colour for _, colour in entries], np.uint8)[labels]


def class_of_colour(
    picture: UInt8[np.ndarray, "h w 3"], palette: Mapping[Colour, int]
) -> UInt8[np.ndarray, "h w"]:  # fmt: skip
    """The class of each colour; 255 for a colour that the palette does not have."""
    codes = np.array([(r << 16) | (g << 8) | b for r, g, b in palette], np.int32)
    order = np.argsort(codes)
    codes, classes = codes[order], np.array(list(palette.values()), np.uint8)[order]
    wide = picture.astype(np.int32)
    found = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    place = np.searchsorted(codes, found).clip(max=len(codes) - 1)
    return np.where(codes[place] == found, classes[place], np.uint8(IGNORE))


def nearest_must_may(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """0 cannot, 1 must, 2 may: of the three colours the nearest, since such labels are kept as JPEG too."""
    wide = picture.astype(np.int32)
    off = [((wide - np.array(colour)) ** 2).sum(-1) for _, colour in MUST_MAY]
    return np.argmin(off, axis=0).astype(np.uint8)
