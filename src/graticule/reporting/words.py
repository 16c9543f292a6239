"""How metrics are called and written on the page."""

import math
import re
from collections.abc import Mapping
from typing import Any

NAMES = {
    "accuracy": "Accuracy",
    "foreground_accuracy": "Accuracy without class 0",
    "iou": "Mean IoU",
    "f1": "Mean F1",
    "precision": "Mean precision",
    "recall": "Mean recall",
    "specificity": "Mean specificity",
    "kappa": "Cohen’s kappa",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "calibration_error": "Calibration error",
    "best_threshold": "Best threshold",
    "best_f1": "F1 at the best threshold",
    "best_iou": "IoU at the best threshold",
    "mae": "MAE",
    "rmse": "RMSE",
    "bias": "Bias",
    "r2": "R²",
    "absrel": "Relative error",
    "silog": "SILog",
    "mean_std": "mean predicted deviation",
    "median_std": "median predicted deviation",
    "within_std": "share of errors within the predicted deviation",
    "delta1": "δ < 1.25",
    "delta2": "δ < 1.25²",
    "delta3": "δ < 1.25³",
    "knn": "20 nearest neighbours",
    "knn_balanced": "20 nearest neighbours, mean of classes",
    "linear": "Linear probe",
    "linear_balanced": "Linear probe, mean of classes",
    "rank": "Effective rank",
    "teacher_entropy": "Entropy of the teacher",
}
_LOWER_IS_BETTER = {"mae", "rmse", "absrel", "silog", "calibration_error", "loss"}
IN_UNIT = {"mae", "rmse", "mean", "bias", "mean_std", "median_std"}
HEADLINES = {
    "classes": ("accuracy", "foreground_accuracy", "iou", "f1", "kappa"),
    "answers": ("accuracy", "f1", "kappa", "auroc"),
    "binary": ("iou", "f1", "average_precision", "auroc"),
    "values": ("mae", "rmse", "absrel", "delta1"),
}


def kind_of(result: Mapping[str, Any]) -> str:
    """'classes', 'binary' or 'values' (heights, depths) for one target's results; 'answers' for classes of samples."""
    kind = str(result.get("kind", "classes"))
    if kind == "classes" and result.get("per") == "sample":
        return "answers"
    return kind if kind in ("classes", "binary") else "values"


def metric_name(metric: str) -> str:
    """What a metric is called: 'Mean IoU' for 'iou', 'IoU of forest' for 'iou/forest'."""
    if "/" in metric:
        family, part = metric.split("/", 1)
        return f"{metric_name(family).removeprefix('Mean ')} of {part}"
    return NAMES.get(metric, metric.replace("_", " ").capitalize())


def quality(metric: str, value: float) -> float:
    """A number that is the larger the better the metric's value is."""
    family = metric.split("/")[0]
    if family == "bias":
        return -abs(value)
    return -value if family in _LOWER_IS_BETTER else value


def number(value: object, digits: int = 3) -> str:
    """A number for a table: thin spaces between thousands, '–' for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    if 1e-12 < abs(value) < 10**-digits:  # what is smaller is the rounding of a sum, and 0
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def quantity(metric: str, value: object, unit: str | None) -> str:
    """A metric's value, with the target's unit where it has one."""
    written = number(value)
    in_unit = unit and metric.split("/")[0] in IN_UNIT and written != "–"
    return f"{written} {unit}" if in_unit else written


def interval(bounds: object) -> tuple[float, float] | None:
    """The two ends of an interval, or None if there is none."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        return None
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def finite(value: object) -> float | None:
    """The value as a float, or None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def duration(seconds: float) -> str:
    """A span of time as people say it: '48 s', '3 min 20 s', '2 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def slug(name: str) -> str:
    """A name as an id for an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "x"


def north_first(bands: Mapping[str, Any]) -> list[str]:
    """Names of latitude bands such as '-15..0', from north to south."""

    def south_edge(name: str) -> float:
        found = re.match(r"\s*(-?\d+(?:\.\d+)?)", name)
        return float(found.group(1)) if found else -math.inf

    return sorted(bands, key=south_edge, reverse=True)


def band_name(band: str) -> str:
    """'60..75' as '60°–75° N', '-15..0' as '15° S – 0°'."""
    ends = re.fullmatch(r"\s*(-?[\d.]+?)\.\.(-?[\d.]+)\s*", band)
    if not ends:
        return band
    low, high = float(ends.group(1)), float(ends.group(2))
    if low >= 0:
        return f"{low:g}°–{high:g}° N"
    return f"{abs(high):g}°–{-low:g}° S" if high <= 0 else f"{-low:g}° S – {high:g}° N"
