"""The measures of HEAL-SWIN's published experiments, by their definitions and names (Carlsson, Gerken et al. 2024).

Every pixel counts 1, whatever its area. Of classes, the mean IoU is over all of the legend, one that is nowhere scores
0, and `ignored` leaves class 0 (void) out of the mean: predicted for another class it is still a mistake.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from graticule.data.sources.fisheye_files import BACKGROUND
from graticule.inference.chamfer import chamfer_distance, cloud
from graticule.inference.exchange import Canvas
from graticule.inference.layers import labels_of
from graticule.inference.photographs import Photograph, Place, bare, known, opened
from graticule.schema import Target

_FLOOR = 1e-3
Measures = dict[str, float]


class Guide:
    """Counts photographs, one by one, for these measures.

    Args:
        targets: what is evaluated.
        means: of the targets with values: the mean that relative errors are against.
        base_pixels: of the mask.
        chamfer: whether Chamfer distances are measured, which takes seconds per photograph.
    """

    def __init__(
        self, targets: Sequence[Target], means: Mapping[str, float], base_pixels: tuple[int, ...], chamfer: bool
    ) -> None:
        self.targets, self.means, self.base_pixels = tuple(targets), means, base_pixels
        self.sums: dict[str, np.ndarray] = {}
        self.chamfer: dict[str, dict[str, float]] = {t.name: {} for t in targets if chamfer and t.kind == "depth"}

    def add(self, photo: Photograph, canvas: Canvas) -> dict[str, Measures]:
        """Count a photograph, and return its own measures by target; of classes over those that it has."""
        own: dict[str, Measures] = {}
        for target in self.targets:
            name, valid = target.name, photo.valid[target.name]
            field, truth = photo.fields[name], photo.truth[name][valid]
            if target.is_categorical:
                classes = max(2, target.channels)
                predicted = labels_of(field)[valid].astype(np.int64)
                counted = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
                own[name] = class_measures(counted, absent=np.nan)
            else:
                counted = value_counts(field[valid], truth, self.means.get(name, 0.0))
                own[name] = value_measures(counted)
            self.sums[name] = self.sums[name] + counted if name in self.sums else counted
            if name in self.chamfer:
                own[name]["chamfer"] = self.chamfer[name][photo.name] = self._distance(photo, canvas, name)
        return own

    def _distance(self, photo: Photograph, canvas: Canvas, name: str) -> float:
        """Between what the net predicts at its own pixels, where there is a truth, and the truth on the grid."""
        kept = (canvas.weight > 0) & known(canvas.truth[name]) & (canvas.truth[name] < BACKGROUND)
        if not photo.mask.all():
            kept &= opened(bare(canvas.grid), self.base_pixels)
        predicted = cloud(bare(canvas.grid), canvas.fields[name], kept)
        truth = photo.truth[name]
        return chamfer_distance(predicted, cloud(photo.grid, truth, photo.mask & known(truth) & (truth < BACKGROUND)))

    def measures(self) -> dict[str, Measures]:
        """The measures of all photographs, by target; the Chamfer distance is the mean over photographs."""
        found: dict[str, Measures] = {}
        for target in self.targets:
            if target.name not in self.sums:
                continue
            form = class_measures if target.is_categorical else value_measures
            found[target.name] = form(self.sums[target.name])
            distances = [value for value in self.chamfer.get(target.name, {}).values() if np.isfinite(value)]
            if distances:
                found[target.name]["chamfer"] = float(np.mean(distances))
        return found


def class_measures(confusion: np.ndarray, absent: float = 0.0) -> Measures:
    """Accuracy and mean IoU from counts by (true class, predicted class), with class 0 and without.

    Args:
        confusion: [k, k].
        absent: the IoU of a class that is neither true nor predicted; NaN leaves it out of the mean.
    """
    hit, total = np.diagonal(confusion).astype(np.float64), float(confusion.sum())
    union = confusion.sum(0) + confusion.sum(1) - hit
    each = np.divide(hit, union, out=np.full(len(hit), absent), where=union > 0)
    rest = float(confusion[1:].sum())
    return {
        "acc": float(hit.sum()) / total if total else np.nan,
        "acc_ignored": float(hit[1:].sum()) / rest if rest else np.nan,
        "iou": _mean(each),
        "iou_ignored": _mean(each[1:]),
    }


def value_counts(value: np.ndarray, truth: np.ndarray, mean: float) -> np.ndarray:
    """Sums over pixels [9] that `value_measures` reads; relative errors are against a constant `mean`."""
    value, truth = value.astype(np.float64), truth.astype(np.float64)
    error = value - truth
    positive = truth > 0
    kept = np.maximum(value[positive], _FLOOR)
    inverse, ratio = 1 / kept - 1 / truth[positive], np.log(kept / truth[positive])
    return np.array(
        [
            len(truth), (error**2).sum(), np.abs(error).sum(), ((truth - mean) ** 2).sum(), np.abs(truth - mean).sum(),
            positive.sum(), (inverse**2).sum(), ratio.sum(), (ratio**2).sum(),
        ]
    )  # fmt: skip


def value_measures(sums: np.ndarray) -> Measures:
    """Mean squared error (m²) and KITTI's: silog (100 times the spread of the log ratio), irmse (1/km), relae, relse.

    `relae` and `relse` are the absolute and squared errors as shares of those of the mean depth everywhere.
    """
    n, squared, absolute, spread, deviation, positive, inverse, ratio, ratio_squared = sums.tolist()
    mean_ratio = ratio / positive if positive else np.nan
    return {
        "mse": squared / n if n else np.nan,
        "silog": 100 * float(np.sqrt(max(ratio_squared / positive - mean_ratio**2, 0))) if positive else np.nan,
        "irmse": 1000 * float(np.sqrt(inverse / positive)) if positive else np.nan,
        "relae": absolute / deviation if deviation else np.nan,
        "relse": squared / spread if spread else np.nan,
    }


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan


def guide_names(
    measures: Mapping[str, Measures], place: Place, *, part: str, checkpoint: str, on_sphere: bool
) -> dict[str, float]:
    """The published names of the measures: `val_iou_global`, `val_hp_masked_iou`, `val_iou_projected_to_hp` ...

    Args:
        measures: by target.
        place: the grid that they were taken on.
        part: that was evaluated; published names begin with it (`val`).
        checkpoint: `best`, `last` ...; names of Chamfer distances begin with it, as published.
        on_sphere: whether the net predicts on the sphere.
    """
    size = f"_res_{place.size[0]}_{place.size[1]}" if place.size else ""
    named: dict[str, float] = {}
    for own in measures.values():
        for measure, value in own.items():
            if measure == "chamfer":
                masked = "_hp_masked" if place.masked else ""
                resolution = "" if place.is_own else _SIZES.get(place.size, size) if place.nside is None else "_on_hp"
                of_part = "" if part == "val" else f"{part}_"
                named[f"{checkpoint}_{of_part}chamfer_distance{resolution}{masked}"] = value
            else:
                named[f"{part}_{_named(measure, place, size, on_sphere)}"] = value
    return named


_SIZES = {None: "_full_res", (629, 834): "_small_res"}


def _named(measure: str, place: Place, size: str, on_sphere: bool) -> str:
    if place.is_own and not place.masked:
        return {"iou": "iou_global", "iou_ignored": "iou_global_ignored"}.get(measure, measure)
    if place.nside is not None:
        return f"{measure}_projected_to_hp"
    if on_sphere and not place.is_own:
        return f"back_projected_hp_masked_{measure}{size}" if place.masked else f"{measure}_back_projected{size}"
    size = size if place.size or place.is_own else "_full_res"
    return f"hp_masked_{measure}{size}" if place.masked else f"{measure}{size}"
