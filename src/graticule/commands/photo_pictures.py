"""Pictures of photographs with their truth and prediction, on the photo and as Mollweide maps."""

import numpy as np

from graticule.grids import CameraGrid
from graticule.inference.gallery import Shown
from graticule.reporting.figures import paint_classes, paint_mistakes, paint_values, value_limits
from graticule.reporting.spheres import axes_of, mollweide, on_photo

_WIDTH = 428


def draw_shown(shown: Shown) -> np.ndarray:
    """Input, truth, prediction and mistakes of a photograph side by side, uint8 [h, w, 3].

    What lies on the sphere is drawn on the photo, and below it as Mollweide maps.
    """
    x, truth, prediction, target = np.moveaxis(shown.x, 0, -1), shown.truth, shown.prediction, shown.target
    painted = [x.astype(np.uint8)]
    if target.is_categorical:
        painted += [paint_classes(truth, target.legend), paint_classes(prediction, target.legend)]
        painted.append(paint_mistakes(truth, prediction))
    else:
        limits, wrong = value_limits(truth, prediction), prediction - truth
        bound = float(np.max(np.abs(value_limits(wrong))))
        painted += [paint_values(values, limits) for values in (truth, prediction)]
        painted.append(paint_values(wrong, (-bound, bound), signed=True))
    rows = [_side_by_side([on_photo(shown.grid, colours, shown.camera, _WIDTH) for colours in painted])]
    if not isinstance(shown.grid, CameraGrid):
        axes = axes_of(shown.camera)
        rows.append(_side_by_side([mollweide(shown.grid, colours, axes, _WIDTH // 2) for colours in painted]))
    return np.concatenate(rows)


def draw_prediction(shown: Shown) -> np.ndarray:
    """A photograph and its prediction in colours beside it, uint8 [h, w, 3], as large as the photograph."""
    values, target = shown.prediction, shown.target
    painted = (
        paint_classes(values, target.legend) if target.is_categorical else paint_values(values, value_limits(values))
    )
    photo = np.moveaxis(shown.x, 0, -1).astype(np.uint8)
    return _side_by_side([np.concatenate([photo, np.full_like(photo[..., :1], 255)], axis=-1), painted])


def _side_by_side(pictures: list[np.ndarray], gap: int = 4) -> np.ndarray:
    space = np.full((len(pictures[0]), gap, 3), 255, np.uint8)
    opaque = [np.where(picture[..., 3:] > 0, picture[..., :3], np.uint8(224)) for picture in pictures]
    return np.concatenate([piece for picture in opaque for piece in (picture, space)][:-1], axis=1)
