"""Arrays to pictures: colours of classes and heights, windows side by side, data URIs."""

import base64
import colorsys
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from graticule.schema import IGNORE, LegendClass

UNKNOWN = (0x8A, 0x8F, 0x98)
RIGHT, WRONG = (0xD9, 0xDD, 0xDF), (0xD0, 0x3B, 0x2B)
# Ends and knots of the ramp for heights and depths (dark low, pale high; lightness grows throughout, so that it also
# reads without colour) and of the one for signed errors (too low is blue, too high is red).
RAMP_KNOTS = ((0.0, "#1b3a4b"), (0.25, "#2f6f73"), (0.5, "#7fa66a"), (0.75, "#d9b56c"), (1.0, "#f7efe2"))
SIGNED_KNOTS = ((0.0, "#1f4e8c"), (0.25, "#7ba6d0"), (0.5, "#eeeeea"), (0.75, "#e09a7c"), (1.0, "#9c2a1f"))


def rgb_of(colour: str) -> tuple[int, int, int]:
    """'#rrggbb' as three integers; grey for anything else, since legends come from data."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        return UNKNOWN
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def hex_of(rgb: Sequence[int] | np.ndarray) -> str:
    """Three integers as '#rrggbb'."""
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in rgb))


def ramp(knots: Sequence[tuple[float, str]] = RAMP_KNOTS) -> np.ndarray:
    """A colour ramp of 256 colours, uint8 [256, 3], linear between the knots."""
    places = np.linspace(0, 1, 256)
    columns = np.array([rgb_of(colour) for _, colour in knots], float).T
    channels = [np.interp(places, [place for place, _ in knots], column) for column in columns]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def plain_legend(labels: np.ndarray) -> tuple[LegendClass, ...]:
    """A legend for labels that came without one: numbers for names, hues far apart for colours."""
    known = labels[labels != IGNORE]
    count = int(known.max()) + 1 if known.size else 1
    hues = [colorsys.hsv_to_rgb((k * 0.618) % 1, 0.55, 0.8) for k in range(count)]
    return tuple(LegendClass(k, f"class {k}", hex_of([round(255 * c) for c in hue])) for k, hue in enumerate(hues))


def legend_colours(legend: Sequence[LegendClass]) -> np.ndarray:
    """The colours of a legend as a table by class value, uint8 [K, 3]."""
    return np.array([rgb_of(entry.colour) for entry in legend], np.uint8).reshape(-1, 3)


def paint_classes(labels: np.ndarray, legend: Sequence[LegendClass]) -> np.ndarray:
    """Labels [h, w] in the legend's colours, uint8 [h, w, 4]; transparent where there is no label."""
    table = legend_colours(legend)
    known = (labels >= 0) & (labels < len(table))
    picture = np.zeros((*labels.shape, 4), np.uint8)
    picture[known, :3] = table[labels[known].astype(int)]
    picture[known, 3] = 255
    return picture


def paint_values(values: np.ndarray, limits: tuple[float, float], *, signed: bool = False) -> np.ndarray:
    """Values [h, w] on a ramp between the limits, uint8 [h, w, 4]; transparent where they are not finite."""
    known = np.isfinite(values)
    low, high = limits
    place = (np.where(known, values, low) - low) / max(high - low, 1e-12)
    picture = np.zeros((*values.shape, 4), np.uint8)
    picture[..., :3] = ramp(SIGNED_KNOTS if signed else RAMP_KNOTS)[np.clip(place * 255, 0, 255).round().astype(int)]
    picture[..., 3] = np.where(known, 255, 0)
    picture[~known] = 0
    return picture


def paint_mistakes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Where labels differ, uint8 [h, w, 4]: pale where right, red where wrong, transparent where truth is unknown."""
    known = truth != IGNORE
    picture = np.zeros((*truth.shape, 4), np.uint8)
    picture[known] = (*RIGHT, 255)
    picture[known & (truth != prediction)] = (*WRONG, 255)
    return picture


def value_limits(*arrays: np.ndarray) -> tuple[float, float]:
    """Limits that hold 98 % of all finite values."""
    finite = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays] or [np.zeros(0)])
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, [1, 99]))
    return (low, high) if high > low else (low, low + 1.0)


def captioned(images: np.ndarray, said: Sequence[tuple[str, bool]], columns: int = 8) -> np.ndarray:
    """Images [n, h, w, 3] uint8 in rows, each with its text below (red where the flag is set), as one picture."""
    times = max(1, -(-96 // images.shape[2]))
    large = images.repeat(times, axis=1).repeat(times, axis=2)
    height, width = large.shape[1:3]
    rows = -(-len(large) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + 18)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for place, (image, (text, alarming)) in enumerate(zip(large, said, strict=True)):
        left, top = place % columns * (width + 4), place // columns * (height + 18)
        sheet.paste(Image.fromarray(image), (left, top))
        pen.text((left + 2, top + height + 2), text[: width // 6], fill=WRONG if alarming else (0x22, 0x28, 0x2E))
    return np.asarray(sheet)


def data_uri(picture: np.ndarray, *, photo: bool = False) -> str:
    """A picture uint8 [h, w, 3 or 4] as a data URI: JPEG for a photo, else PNG (with a palette where that is exact)."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if photo:
        image.convert("RGB").save(buffer, "JPEG", quality=86, optimize=True)
    else:
        _with_palette(picture).save(buffer, "PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _with_palette(picture: np.ndarray) -> Image.Image:
    flat = picture.reshape(-1, picture.shape[-1])
    packed = np.zeros((len(flat), 4), np.uint8)
    packed[:, : flat.shape[1]] = flat
    if flat.shape[1] == 3:
        packed[:, 3] = 255
    colours, index = np.unique(packed.view(np.uint32).ravel(), return_inverse=True)
    if len(colours) > 256:
        return Image.fromarray(np.ascontiguousarray(picture))
    table = colours.view(np.uint8).reshape(-1, 4)
    image = Image.fromarray(index.astype(np.uint8).reshape(picture.shape[:2]))
    image.putpalette(table[:, :3].tobytes())
    if (table[:, 3] < 255).any():
        image.info["transparency"] = bytes(table[:, 3])
    return image


def window_figure(
    rgb: np.ndarray, truth: np.ndarray, prediction: np.ndarray, legend: Sequence[LegendClass], *, gap: int = 4
) -> np.ndarray:
    """Input, truth, prediction and error of one window side by side, for trackers and logs.

    Args:
        rgb: uint8 [h, w, 3].
        truth: uint8 labels [h, w], 255 = unknown; or, with an empty legend, values [h, w], NaN = unknown.
        prediction: as `truth`.
        legend: the classes; empty for heights and depths.
        gap: white columns between the pictures.

    Returns:
        uint8 [h, 4 * w + 3 * gap, 3].
    """
    if legend:
        painted = [paint_classes(truth, legend), paint_classes(prediction, legend), paint_mistakes(truth, prediction)]
    else:
        limits, difference = value_limits(truth, prediction), prediction - truth
        bound = float(np.max(np.abs(value_limits(difference))))
        painted = [paint_values(truth, limits), paint_values(prediction, limits)]
        painted.append(paint_values(difference, (-bound, bound), signed=True))
    opaque = [rgb, *(_on_grey(picture) for picture in painted)]
    space = np.full((rgb.shape[0], gap, 3), 255, np.uint8)
    pieces: list[Any] = [opaque[0]]
    for picture in opaque[1:]:
        pieces += [space, picture]
    return np.concatenate(pieces, axis=1)


def _on_grey(picture: np.ndarray) -> np.ndarray:
    return np.where(picture[..., 3:] > 0, picture[..., :3], np.array(UNKNOWN, np.uint8))
