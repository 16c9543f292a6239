"""The sections of one run's report. Each says what it shows, or which command makes what it lacks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from graticule.reporting.charts import Line, line_chart, reliability
from graticule.reporting.earth import earth, is_whole_earth, layer_images, layers, legend_strip
from graticule.reporting.evidence import Evaluation, Evidence
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.tables import (
    Bounds,
    Scores,
    all_metrics,
    bounds_of,
    class_table,
    confusion_matrix,
    frequent_mistakes,
    group_table,
    headline,
    legend_of,
    metric_table,
    scores_of,
)
from graticule.reporting.words import HEADLINES, metric_name, number, quantity


def section(ident: str, title: str, lead: str | None, *content: object) -> Html:
    """One titled section with an anchor."""
    opening = tag("header", tag("h2", title), tag("p", lead, class_="lead") if lead else None)
    return tag("section", opening, content, id=ident)


def missing(what: str, command: str) -> Html:
    """The note in place of something that the folder does not hold yet."""
    return tag("p", what, " Make it with ", tag("code", command), ".", class_="missing")


def measures(values: Mapping[str, float | None], words: Mapping[str, str]) -> Html:
    """A table of the values that there are, each with what it means, in the order of the words."""
    rows = [
        tag("tr", tag("th", metric_name(name.removeprefix("val/"))), tag("td", number(float(value))), tag("td", text))
        for name, text in words.items()
        if (value := values.get(name)) is not None
    ]
    return tag("table", tag("tbody", rows), class_="data")


def results(found: Evidence, prefix: str) -> Html:
    """The headline of the main evaluation, one group of cards per target."""
    main = found.main_evaluation
    if main is None:
        note = missing("This run has not been evaluated.", f"graticule evaluate {found.run.folder}")
        return section(f"{prefix}-results", "Result", None, note)
    part = main.metrics.get("part", "evaluated")
    lead = f"Measured on the {part} part; intervals are 95 % bootstrap intervals over parents."
    groups = []
    for name in main.targets:
        groups += [tag("h3", name), headline(found, main, name)]
        full = tag("details", tag("summary", f"All metrics of {name}"), all_metrics(found, main, name))
        groups.append(full)
    facts = [_about(main)]
    return section(f"{prefix}-results", "Result", lead, groups, tag("p", facts, class_="quiet"), _others(found, main))


def _about(evaluation: Evaluation) -> str:
    content = evaluation.metrics
    parts = [f"Evaluation {evaluation.name}"]
    if content.get("pixels"):
        what = "samples" if content.get("per") == "sample" else "pixels"
        parts.append(f"{number(int(content['pixels']))} labelled {what}")
        parts.append(f"{what} weighted by their area" if content.get("area_weighted") else "each counts the same")
    if content.get("checkpoint"):
        parts.append(f"checkpoint {str(content['checkpoint']).rsplit('/', 1)[-1]}")
    return " · ".join(parts)


def _others(found: Evidence, main: Evaluation) -> Html | None:
    others = [evaluation for evaluation in found.evaluations if evaluation is not main]
    if not others:
        return None
    tables = []
    for target, result in main.targets.items():
        columns: dict[str, tuple[Scores, Bounds]] = {}
        for evaluation in (main, *others):
            content = evaluation.targets.get(target, {})
            columns[evaluation.name] = (scores_of(content.get("metrics") or {}), bounds_of(content.get("intervals")))
        metrics = [m for m in columns[main.name][0] if "/" not in m]
        tables += [tag("h4", target), metric_table(columns, metrics, result.get("unit"))]
    return tag("details", tag("summary", "On other parts and grids"), tables)


def scene(found: Evidence, prefix: str) -> Html:
    """The whole scene, truth beside prediction, as a map and (for the Earth) as two globes."""
    made = layers(found, prefix)
    if not any(layer.name == "prediction" for layer in made):
        note = missing("There is no map of this run yet.", f"graticule predict {found.run.folder}")
        return section(f"{prefix}-map", "The map", None, note)
    target = next(layer.group for layer in made if layer.name == "prediction")
    ids = [layer.id for layer in made]
    left = next((i for i in (f"{prefix}-{target}-truth", f"{prefix}-input") if i in ids), ids[0])
    whole = is_whole_earth(found)
    lead = (
        "Two layers divided by a border to move. Most of this ground was seen in training; "
        "the scores above count held-out ground only."
    )
    return section(
        f"{prefix}-map",
        "The whole Earth" if whole else "The whole scene",
        lead if found.assignment is not None else None,
        earth(made, prefix, (left, f"{prefix}-{target}-prediction"), whole, legends(found)),
        layer_images(made),
    )


def legends(found: Evidence) -> list[Html]:
    """The legends of all targets that have one."""
    main = found.main_evaluation
    if main is None:
        return []
    return [legend_strip(legend) for result in main.targets.values() if (legend := legend_of(result))]


def classes(found: Evidence, prefix: str) -> Html:
    """Per-class scores and the confusion matrix, for every target with a legend."""
    main = found.main_evaluation
    if main is None:
        note = missing("There are no scores per class yet.", f"graticule evaluate {found.run.folder}")
        return section(f"{prefix}-classes", "Classes", None, note)
    pieces = []
    for name, result in main.targets.items():
        if not legend_of(result):
            continue
        what = "samples" if result.get("per") == "sample" else "pixels"
        lead = f"Each row of the matrix is one true class; the cells say where its {what} went, in per cent."
        switch = tag("label", tag("input", type="checkbox", class_="counts"), " Show counts", class_="quiet")
        matrix = tag("div", confusion_matrix(result, name), switch)
        mistakes = tag("div", tag("h4", "Most frequent mistakes"), frequent_mistakes(result))
        # A binary target has no scores per class: those of the positive one are its headline.
        table = [] if result.get("kind") == "binary" else [tag("h3", name), class_table(result)]
        pieces += [*table, tag("h3", f"What is taken for what: {name}")]
        pieces += [tag("p", lead, class_="quiet"), tag("div", matrix, mistakes, class_="pair matrix")]
    if not pieces:
        return Html("")
    lead = "IoU is the overlap of the true and the predicted area of a class: 1 is perfect."
    if main.metrics.get("per") == "sample":
        lead = "Recall is the share of a class that was found, precision that of what was called so and is."
    return section(f"{prefix}-classes", "Classes", lead, pieces)


def places(found: Evidence, prefix: str) -> Html:
    """Where it works: per region, per latitude band, per parent."""
    main = found.main_evaluation
    if main is None:
        note = missing("There are no scores per region yet.", f"graticule evaluate {found.run.folder}")
        return section(f"{prefix}-places", "Regions", None, note)
    pieces = []
    for name, result in main.targets.items():
        tables = []
        for key, title, by in (("by_region", "Region", "region"), ("by_latitude", "Latitude", "latitude")):
            if result.get(key):
                tables.append(tag("div", group_table(title, result[key], result, by)))
        if tables:
            pieces += [tag("h3", name), tag("div", tables, class_="pair")]
        if result.get("by_parent"):
            inner = group_table("Parent", result["by_parent"], result, "parent")
            pieces.append(tag("details", tag("summary", f"{len(result['by_parent'])} parents"), inner))
    lead = "The same sums, kept apart."
    return section(f"{prefix}-places", "Where it works", lead, pieces) if pieces else Html("")


def calibration(found: Evidence, prefix: str) -> Html:
    """Whether the probabilities mean what they say."""
    main = found.main_evaluation
    pieces = []
    for name, result in main.targets.items() if main else ():
        curve = result.get("calibration")
        if not isinstance(curve, Mapping) or not curve.get("confidence"):
            continue
        confidence, accuracy, weight = (_floats(curve.get(key)) for key in ("confidence", "accuracy", "weight"))
        if not len(confidence) == len(accuracy) == len(weight) or not sum(weight) > 0:
            continue
        error = _calibration_error(result, confidence, accuracy, weight)
        words = [
            tag("p", number(error), class_="figure"),
            tag("p", "expected calibration error", class_="quiet"),
            tag("p", _verdict(confidence, accuracy, weight)),
        ]
        pieces += [
            tag("h3", name),
            tag("div", reliability(confidence, accuracy, weight), tag("div", words), class_="pair tilt"),
        ]
    if not pieces:
        return Html("")
    lead = "On the diagonal, a prediction made with 80 % confidence is right 80 % of the time."
    return section(f"{prefix}-calibration", "Calibration", lead, pieces)


def _floats(values: object) -> list[float]:
    listed = values if isinstance(values, list) else []
    return [float("nan") if value is None else float(value) for value in listed]


def _calibration_error(
    result: Mapping[str, Any], confidence: Sequence[float], accuracy: Sequence[float], weight: Sequence[float]
) -> float:
    measured = scores_of(result.get("metrics") or {}).get("calibration_error")
    if measured is not None:
        return measured
    rows = [(c, a, w) for c, a, w in zip(confidence, accuracy, weight, strict=True) if w > 0]
    return sum(abs(c - a) * w for c, a, w in rows) / sum(w for _, _, w in rows)


def _verdict(confidence: Sequence[float], accuracy: Sequence[float], weight: Sequence[float]) -> str:
    rows = [(c, a, w) for c, a, w in zip(confidence, accuracy, weight, strict=True) if w > 0]
    total = sum(w for _, _, w in rows)
    lean = sum((c - a) * w for c, a, w in rows) / total
    if abs(lean) < 0.01:
        return "On the whole the confidence is right to within one per cent."
    kind = "surer than it should be" if lean > 0 else "less sure than it could be"
    side = "above" if lean > 0 else "below"
    return f"On the whole the net is {kind}: its mean confidence is {abs(lean):.1%} {side} its accuracy."


def learning(found: Evidence, prefix: str) -> Html:
    """Learning curves: the losses together, then every validation metric, then the learning rate."""
    if not found.curves:
        note = missing("Nothing has been logged.", f"graticule train (or graticule resume {found.run.folder})")
        return section(f"{prefix}-learning", "Learning curves", None, note)
    groups = curve_groups(found.curves)
    charts = [curve_chart({"": found.curves}, names, title) for title, names in groups]
    lead = "Point at a curve to read its values; the number beside each name is its last."
    return section(f"{prefix}-learning", "Learning curves", lead, main_and_more(groups, charts))


def main_and_more(groups: Sequence[tuple[str, list[str]]], charts: Sequence[Html]) -> Html:
    """The charts of losses, learning rate and headline metrics; the others folded away below."""
    known = {"Loss", "Learning rate"} | {metric_name(m) for family in HEADLINES.values() for m in family}
    is_main = [title.rpartition(": ")[2] in known for title, _ in groups]
    shown = [chart for chart, main in zip(charts, is_main, strict=True) if main]
    rest = [chart for chart, main in zip(charts, is_main, strict=True) if not main]
    more = tag("details", tag("summary", f"{len(rest)} more"), tag("div", rest, class_="charts")) if rest else None
    return join(tag("div", shown, class_="charts"), more)


def curve_groups(curves: Mapping[str, pd.DataFrame]) -> list[tuple[str, list[str]]]:
    """Which logged names share a chart: (title, names). Metrics per class stay out: the class table has them."""
    names = [name for name in curves if name.count("/") < 3]
    losses = [name for name in names if "loss" in name.split("/")[:2]]
    groups = [("Loss", losses)] if losses else []
    others: dict[str, list[str]] = {}
    for name in names:
        stage, _, rest = name.partition("/")
        if name in losses or _is_per_class(rest, names, stage):
            continue
        others.setdefault(rest if stage in ("train", "val", "test") and rest else name, []).append(name)
    groups += [(_curve_title(rest), members) for rest, members in others.items()]
    return groups


def _is_per_class(rest: str, names: Sequence[str], stage: str) -> bool:
    family, slash, _ = rest.rpartition("/")
    return bool(slash) and f"{stage}/{family}" in names


def _curve_title(rest: str) -> str:
    if rest.startswith(("lr", "learning_rate")):
        return "Learning rate"
    target, slash, metric = rest.partition("/")
    return f"{target}: {metric_name(metric)}" if slash else metric_name(rest)


def curve_chart(
    runs: Mapping[str, Mapping[str, pd.DataFrame]], names: Sequence[str], title: str, *, from_zero: bool = False
) -> Html:
    """One chart with the named series of one or several runs (a colour per run, else a colour per name)."""
    lines = []
    several = len(runs) > 1
    for r, (run, curves) in enumerate(runs.items()):
        for k, name in enumerate(name for name in names if name in curves):
            table = curves[name]
            x, y = table["step"].to_numpy(float), table["value"].to_numpy(float)
            stage = name.partition("/")[0]
            faint = stage == "train" and len(names) > 1
            label = f"{run}, {name}" if several else name
            lines.append(Line(label, x, y, (r if several else k) % 8 + 1, faint))
    steep = title == "Loss" and any(len(a.y) and a.y.min() > 0 and a.y.max() > 30 * a.y.min() for a in lines)
    return line_chart(title, lines, x_name="step", log=steep, from_zero=from_zero)


def timings(found: Evidence, prefix: str) -> Html:
    """Throughput over the run, and how long evaluation took."""
    if not found.throughput and not any(e.metrics.get("seconds") for e in found.evaluations):
        note = missing("Nothing has been timed.", "graticule train")
        return section(f"{prefix}-timings", "Timings", None, note)
    charts = [
        curve_chart({"": found.throughput}, [name], name.replace("_", " "), from_zero=True) for name in found.throughput
    ]
    rows: list[tuple[str, str]] = []
    for name, table in found.throughput.items():
        rows.append((f"{name.replace('_', ' ')}, median", number(float(np.median(table["value"])))))
    for evaluation in found.evaluations:
        seconds, pixels = evaluation.metrics.get("seconds"), evaluation.metrics.get("pixels")
        if seconds:
            speed = f", {number(pixels / seconds / 1e6)} Mpx/s" if pixels else ""
            rows.append((f"evaluation {evaluation.name}", f"{quantity('', float(seconds), None)} s{speed}"))
    return section(f"{prefix}-timings", "Timings", None, facts(rows), tag("div", charts, class_="charts"))


def facts(rows: Sequence[tuple[str, object]]) -> Html:
    """Names and values as a list in columns."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")
