"""The section on thresholds and objects: ROC and precision-recall curves, the best threshold, objects found."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from graticule.reporting.charts import Line, line_chart
from graticule.reporting.evidence import Evaluation, Evidence
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import section
from graticule.reporting.tables import bounds_of, scores_of
from graticule.reporting.words import number

_COLUMNS = ("precision", "recall", "f1", "accuracy", "average_precision")
_FLOOD = {
    "error": "wrong pixels of all", "f05": "F0.5", "accuracy": "accuracy where it cannot or must be",
    "edge_coherence": "edge coherence (0 is best)", "missed": "missed of must", "false": "flooded of cannot",
    "may_flooded": "flooded of may",
}  # fmt: skip
_HEADS = ("Precision", "Recall", "F1", "Accuracy", "Average precision")


def detection(found: Evidence, prefix: str) -> Html:
    """For every target with curves or objects; nothing where there is none."""
    pieces: list[object] = []
    main = found.main_evaluation
    for name, result in main.targets.items() if main else ():
        own = [*_curves(result), *_flood(found, name), *_objects(found, name)]
        if own:
            pieces += [tag("h3", name), *own]
    if not pieces:
        return Html("")
    lead = "From the surest prediction on to all of them; and whole objects, not pixels."
    return section(f"{prefix}-detection", "Thresholds and objects", lead, pieces)


def _curves(result: Mapping[str, Any]) -> list[Html]:
    curves = result.get("curves")
    if not isinstance(curves, Mapping) or not curves.get("recall"):
        return []
    false, recall, precision = (_floats(curves[key]) for key in ("false_positive_rate", "recall", "precision"))
    scores = scores_of(result.get("metrics") or {})
    roc = _chart("ROC", f"AUROC {number(scores.get('auroc'))}", false, recall, "false positive rate", diagonal=True)
    title = f"average precision {number(scores.get('average_precision'))}"
    pr = _chart("Precision over recall", title, recall, precision, "recall")
    said = []
    if "best_threshold" in scores:
        best = f"{number(scores['best_threshold'])} is the threshold that scores best here"
        would = f"F1 {number(scores.get('best_f1'))}, IoU {number(scores.get('best_iou'))}"
        used = f"this page uses {number(result.get('threshold', 0.5))}"
        said = [tag("p", f"{best} ({would}); {used}. Choose one on the validation part, not on this.", class_="quiet")]
    return [tag("div", roc, pr, class_="charts"), *said]


def _chart(
    title: str, label: str, x: np.ndarray, y: np.ndarray, x_name: str, *, diagonal: bool = False
) -> Html:  # fmt: skip
    known = np.isfinite(x) & np.isfinite(y)
    lines = [Line(label, x[known], y[known], 1)]
    if diagonal:
        lines.append(Line("by chance", np.array([0.0, 1.0]), np.array([0.0, 1.0]), 8, faint=True))
    return line_chart(title, lines, x_name=x_name, from_zero=True, ends=False)


def _flood(found: Evidence, target: str) -> list[Html]:
    """Masks of water against labels of where it cannot, must and may be, of every evaluation that has them."""
    told = [(e, e.targets.get(target, {}).get("flood")) for e in found.evaluations]
    pieces: list[Html] = []
    for evaluation, flood in told:
        if not isinstance(flood, Mapping) or not flood.get("pooled"):
            continue
        pooled, mean, bad = flood["pooled"], flood.get("mean") or {}, flood.get("bad") or {}
        rows = [
            tag("tr", tag("th", words, scope="row"), *(
                tag("td", number(part.get(name)), class_="num") for part in (pooled, mean)
            ))
            for name, words in _FLOOD.items()
        ]  # fmt: skip
        heads = [tag("th", head, scope="col", class_="num") for head in ("All pixels", "Mean of images")]
        table = tag("table", tag("thead", tag("tr", tag("th", "Water"), heads)), tag("tbody", rows), class_="data")
        note = f"Evaluation {evaluation.name}, {flood.get('images')} images, of which {bad.get('images')} are bad."
        pieces += [tag("h4", "Where water cannot, must and may be"), tag("p", note, class_="quiet"), table]
    return pieces


def _objects(found: Evidence, target: str) -> list[Html]:
    """The objects of the evaluation on scenes where there is one, else on windows."""
    told = [(e, e.targets.get(target, {}).get("objects")) for e in found.evaluations]
    there = [(e, objects) for e, objects in told if isinstance(objects, Mapping) and objects.get("classes")]
    if not there:
        return []
    ranked = sorted(there, key=lambda pair: (pair[1].get("on") != "scenes", not pair[0].name.startswith("test")))
    evaluation, objects = ranked[0]
    return [tag("h4", "Objects"), _note(evaluation, objects), _table(objects), *_object_curves(objects)]


def _note(evaluation: Evaluation, objects: Mapping[str, Any]) -> Html:
    whole = "Predictions were blended on whole scenes first, so that no object is cut."
    cut = "Objects are cut where a window ends and count in pieces; `graticule test RUN` counts whole ones."
    said = whole if objects.get("on") == "scenes" else cut
    width = objects.get("boundary_pixels")
    band = f"Boundary IoU is that of the bands of {width} pixels along outlines."
    return tag("p", f"Evaluation {evaluation.name}. {said} {band}", class_="quiet")


def _table(objects: Mapping[str, Any]) -> Html:
    rows = []
    for name, content in objects["classes"].items():
        scores, bounds = scores_of(content.get("metrics") or {}), bounds_of(content.get("intervals"))
        for at in ("0.3", "0.5"):
            cells = [tag("th", f"{name}, IoU ≥ {at}", scope="row")]
            for metric in _COLUMNS:
                ends = bounds.get(f"{metric}@{at}")
                small = tag("small", f"{number(ends[0])} – {number(ends[1])}") if ends else None
                cells.append(tag("td", number(scores.get(f"{metric}@{at}")), small, class_="num"))
            rows.append(tag("tr", cells))
        counts = ", ".join(
            f"{word} {number(round(scores.get(key, 0)))}"
            for word, key in (("true", "truths"), ("found", "predictions"))
        )
        outline = f"boundary IoU {number(scores.get('boundary_iou'))}"
        rows.append(tag("tr", tag("td", f"{counts}; {outline}", colspan=len(_COLUMNS) + 1, class_="quiet")))
    heads = [tag("th", "Match", scope="col"), *(tag("th", head, scope="col", class_="num") for head in _HEADS)]
    return tag("div", tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="data"), class_="scroll")


def _object_curves(objects: Mapping[str, Any]) -> list[Html]:
    charts = []
    for name, content in objects["classes"].items():
        lines = [
            Line(f"IoU ≥ {at}", _floats(curve["recall"]), _floats(curve["precision"]), colour)
            for colour, (at, curve) in enumerate((content.get("curve") or {}).items(), 1)
            if len(curve.get("recall", ())) > 1
        ]
        if lines:
            title = f"Objects: precision over recall of {name}"
            charts.append(line_chart(title, lines, x_name="recall", from_zero=True, ends=False))
    return [tag("div", join(charts), class_="charts")] if charts else []


def _floats(values: Any) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)
