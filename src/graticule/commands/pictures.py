"""Pictures of what was seen, what is true and what was predicted: windows for trackers, whole scenes for the run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from graticule.grids.windows import morton
from graticule.inference.layers import labels_of
from graticule.inference.pictures import display_bands, to_rgb
from graticule.inference.restitch import Restitched
from graticule.reporting.figures import captioned, paint_classes, paint_values, value_limits
from graticule.schema import IGNORE, SEEN, TARGETS, VALID, Band, Target, X

_ROWS = 4
_TILES = 16


def draw(
    bands: Sequence[Band], targets: Sequence[Target]
) -> Callable[[Mapping[str, Any], Mapping[str, Tensor]], np.ndarray]:
    """A function (batch, predictions) -> picture: a row per window, with input, truth and prediction of each target.

    Of a target known per sample: the samples side by side, each with what it is and what it was taken for.
    """

    def picture(batch: Mapping[str, Any], predictions: Mapping[str, Tensor]) -> np.ndarray:
        nested = batch[SEEN].ndim == 2

        def shown(values: Tensor) -> np.ndarray:
            first = values[:_ROWS].float().numpy() if values.is_floating_point() else values[:_ROWS].numpy()
            return _square(first) if nested else first

        if targets[0].is_of_sample:
            x, seen = (batch[key][:_TILES].numpy() for key in (X, SEEN))
            x, seen = (_square(x), _square(seen)) if nested else (x, seen)
            return _answers(to_rgb(x[:, display_bands(bands)], seen), batch, predictions, targets[0])
        x, seen = shown(batch[X]), shown(batch[SEEN])
        columns = [to_rgb(x[:, display_bands(bands)], seen)]
        for target in targets:
            truth, valid = (shown(batch[key][target.name]) for key in (TARGETS, VALID))
            columns += _painted(target, truth, valid, shown(predictions[target.name]))
        return np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)

    return picture


def _answers(
    images: np.ndarray, batch: Mapping[str, Any], predictions: Mapping[str, Tensor], target: Target
) -> np.ndarray:
    """Images [n, h, w, 3] in rows of eight, with "truth: prediction" below each; red where it is wrong."""
    names = [entry.name for entry in target.legend]
    said = []
    for place in range(len(images)):
        known = bool(batch[VALID][target.name][place])
        truth = int(batch[TARGETS][target.name][place])
        guess = int(labels_of(predictions[target.name][place].float().numpy()[:, None])[0])
        said.append((f"{names[truth] if known else '?'}: {names[guess]}", known and guess != truth))
    return captioned(images, said)


def draw_restitched(scene: Restitched) -> np.ndarray:
    """A scene that was put together from its samples: input, truth, prediction and error, with a legend."""
    from graticule.reporting.scenes import draw_scene  # matplotlib takes a second to import

    return draw_scene(scene.name, scene.rgb, scene.truth, scene.prediction, scene.target)


def _painted(target: Target, truth: np.ndarray, valid: np.ndarray, guess: np.ndarray) -> list[np.ndarray]:
    """Truth and prediction of one target as [n, h, w, 3] uint8."""
    if target.is_categorical:
        known = np.where(valid, truth, IGNORE).astype(np.uint8)
        labels = np.stack([labels_of(scores) for scores in guess])
        return [paint_classes(values, target.legend)[..., :3] for values in (known, labels)]
    known = np.where(valid, truth, np.nan)
    limits = value_limits(known, guess)
    return [paint_values(values, limits)[..., :3] for values in (known, guess)]


def _square(values: np.ndarray) -> np.ndarray:
    """Nested cells [..., cells] as their square [..., h, w]; those of base pixels one below the other."""
    side = 1
    while values.shape[-1] % (4 * side * side) == 0:
        side *= 2
    squares = values.reshape(*values.shape[:-1], -1, side * side)[..., morton(side)]
    return squares.reshape(*values.shape[:-1], -1, side)
