"""One picture of a whole scene: what was seen, the truth, the prediction and where they differ, with a legend."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from graticule.reporting.figures import (
    RIGHT,
    UNKNOWN,
    WRONG,
    hex_of,
    paint_classes,
    paint_mistakes,
    paint_values,
    value_limits,
)
from graticule.schema import IGNORE, Target

TITLES = ("RGB composite", "truth", "prediction", "error")
_SIDE, _DPI = 3.6, 120
_LARGEST = 1024


def draw_scene(
    name: str, rgb: UInt8[np.ndarray, "h w 3"], truth: np.ndarray, prediction: np.ndarray, target: Target
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw four panels side by side.

    Args:
        name: of the scene, the title.
        rgb: what was seen; black where nothing was.
        truth: labels (255 = unknown) or values (NaN = unknown), at any resolution of the same ground.
        prediction: as `truth`.
        target: gives classes their names and colours, values their unit.
    """
    if target.is_categorical:
        painted = [paint_classes(truth, target.legend), paint_classes(prediction, target.legend)]
        painted.append(paint_mistakes(truth, np.where(prediction == IGNORE, truth, prediction)))
        limits = ((0.0, 1.0), (0.0, 1.0))
    else:
        difference = prediction - truth
        bound = float(np.max(np.abs(value_limits(difference))))
        limits = (value_limits(truth, prediction), (-bound, bound))
        painted = [paint_values(values, limits[0]) for values in (truth, prediction)]
        painted.append(paint_values(difference, limits[1], signed=True))
    height = _SIDE * min(2.0, max(0.5, rgb.shape[0] / rgb.shape[1]))
    figure = Figure(figsize=(4 * _SIDE, height + 1.0), dpi=_DPI, layout="constrained")
    axes = figure.subplots(1, 4)
    for axis, title, picture in zip(axes, TITLES, [rgb, *painted], strict=True):
        axis.set_facecolor(hex_of(UNKNOWN))
        axis.imshow(_shown(picture), interpolation="nearest", extent=(0, rgb.shape[1], rgb.shape[0], 0))
        axis.set(title=title, xticks=[], yticks=[])
    figure.suptitle(f"{name}: {target.name}")
    handles = _legend(target, limits, truth, prediction)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def _shown(picture: np.ndarray) -> np.ndarray:
    """Every so many pixels of a large picture."""
    step = max(1, -(-max(picture.shape[:2]) // _LARGEST))
    return picture[::step, ::step]


def _legend(
    target: Target, limits: Sequence[tuple[float, float]], truth: np.ndarray, prediction: np.ndarray
) -> list[Patch]:
    """A colour and a name for each class, for right and wrong, or the ends of the ramps."""
    if target.is_categorical:
        entries = [(entry.colour, entry.name) for entry in target.legend]
        known = (truth != IGNORE) & (prediction != IGNORE)
        share = float((truth == prediction)[known].mean()) if known.any() else float("nan")
        entries += [(hex_of(RIGHT), f"right ({share:.0%})"), (hex_of(WRONG), "wrong")]
    else:
        (low, high), (_, bound) = limits
        unit = f" {target.unit}" if target.unit else ""
        ends = paint_values(np.array([[low, high]]), (low, high))[0]
        signed = paint_values(np.array([[-bound, bound]]), (-bound, bound), signed=True)[0]
        names = [f"{low:.4g}{unit}", f"{high:.4g}{unit}", f"error {-bound:.3g}{unit}", f"error {bound:.3g}{unit}"]
        entries = [(hex_of(colour[:3]), name) for colour, name in zip([*ends, *signed], names, strict=True)]
    entries.append((hex_of(UNKNOWN), "unknown"))
    return [Patch(facecolor=colour, edgecolor="#444444", linewidth=0.5, label=name) for colour, name in entries]
