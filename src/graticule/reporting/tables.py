"""The numbers of an evaluation as cards and tables: headline, baselines, classes, regions, confusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graticule.reporting.charts import whiskers
from graticule.reporting.evidence import Evaluation, Evidence
from graticule.reporting.figures import hex_of, rgb_of
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.words import (
    HEADLINES,
    band_name,
    finite,
    interval,
    kind_of,
    metric_name,
    north_first,
    number,
    quality,
    quantity,
)
from graticule.schema import LegendClass

Scores = dict[str, float]
Bounds = dict[str, tuple[float, float]]


def legend_of(result: Mapping[str, Any]) -> tuple[LegendClass, ...]:
    """The legend of one target's results; empty for heights and depths."""
    entries = result.get("legend") or []
    return tuple(
        LegendClass(int(e.get("value", k)), str(e.get("name", k)), hex_of(rgb_of(str(e.get("colour", "")))))
        for k, e in enumerate(entries)
    )


def scores_of(content: Mapping[str, Any]) -> Scores:
    """The finite numbers among named entries."""
    return {str(key): value for key, raw in content.items() if (value := finite(raw)) is not None}


def bounds_of(content: object) -> Bounds:
    """The valid intervals among named entries."""
    if not isinstance(content, Mapping):
        return {}
    return {str(key): ends for key, raw in content.items() if (ends := interval(raw)) is not None}


def baselines_of(found: Evidence, evaluation: Evaluation, target: str) -> dict[str, tuple[Scores, Bounds]]:
    """Baselines of one target by name: those of the evaluation itself and those of the folder's `baselines.json`.

    An entry holds the metrics directly (they then speak of the first target) or per target.
    """
    is_first = target == next(iter(evaluation.targets), None)
    sources = [evaluation.metrics.get("baseline") or {}, found.baselines]
    own = evaluation.targets[target].get("baseline") or {}
    named: dict[str, tuple[Scores, Bounds]] = {}
    for source in (own, *sources):
        for name, content in source.items():
            if not isinstance(content, Mapping):
                continue
            nested = content.get(target)
            speaks: Mapping[str, Any] = nested if isinstance(nested, Mapping) else content
            if speaks is content and source is not own and not is_first:
                continue
            scores = scores_of(speaks.get("metrics", speaks))
            if scores:
                named[str(name)] = (scores, bounds_of(speaks.get("interval") or speaks.get("intervals")))
    return named


def headline(found: Evidence, evaluation: Evaluation, target: str) -> Html:
    """Cards of the few metrics that matter, each with its interval and the baselines on one axis."""
    result = evaluation.targets[target]
    scores, bounds = scores_of(result.get("metrics") or {}), bounds_of(result.get("intervals"))
    baselines = baselines_of(found, evaluation, target)
    wanted = [metric for metric in HEADLINES[kind_of(result)] if metric in scores][:4]
    cards = [_card(metric, result.get("unit"), scores, bounds, baselines) for metric in wanted]
    return tag("div", cards, class_="cards")


def _card(
    metric: str, unit: str | None, scores: Scores, bounds: Bounds, baselines: dict[str, tuple[Scores, Bounds]]
) -> Html:
    value, ends = scores[metric], bounds.get(metric)
    rows = [("this run", value, ends, False)]
    rivals = [(name, s[metric], b.get(metric), True) for name, (s, b) in baselines.items() if metric in s]
    rows += sorted(rivals, key=lambda row: quality(metric, row[1]), reverse=True)
    spread = [v for _, v, _, _ in rows] + [end for _, _, b, _ in rows if b for end in b]
    axis = (min(0.0, *spread), 1.0) if max(spread) <= 1 else (0.0, max(spread) * 1.08)
    said = f"95 % interval {number(ends[0])} – {number(ends[1])}" if ends else "no interval"
    return tag(
        "article",
        tag("h4", metric_name(metric)),
        tag("p", quantity(metric, value, unit), class_="figure"),
        tag("p", said, class_="quiet"),
        whiskers(rows, axis),
        _gain(metric, value, rivals),
        class_="card",
    )


def _gain(metric: str, value: float, rivals: Sequence[tuple[str, float, Any, bool]]) -> Html | None:
    if not rivals:
        return None
    name, best, _, _ = max(rivals, key=lambda row: quality(metric, row[1]))
    gain = quality(metric, value) - quality(metric, best)
    word = "better" if gain >= 0 else "worse"
    return tag("p", tag("b", number(abs(gain)), " ", word), f" than {name}", class_=f"gain {word}")


def class_table(result: Mapping[str, Any]) -> Html:
    """One row per class: its share of the truth, IoU as a bar with its interval, precision, recall, F1.

    Of labels of samples: recall, which is the accuracy of the class, in place of IoU.
    """
    legend, scores, bounds = (
        legend_of(result),
        scores_of(result.get("metrics") or {}),
        bounds_of(result.get("intervals")),
    )
    counts = np.asarray(result.get("confusion") or [], float)
    total = counts.sum() if counts.ndim == 2 else 0.0
    main, *others = ("iou", "precision", "recall", "f1")
    if result.get("per") == "sample":
        main, *others = ("recall", "precision", "f1")
    rows = []
    for k, entry in enumerate(legend):
        share = counts[k].sum() / total if total and k < len(counts) else None
        cells = [
            tag("th", swatch(entry.colour), entry.name, scope="row"),
            tag("td", f"{share:.1%}" if share is not None else "–", class_="num"),
            tag("td", bar(scores.get(f"{main}/{entry.name}"), bounds.get(f"{main}/{entry.name}"))),
        ]
        cells += [tag("td", number(scores.get(f"{m}/{entry.name}")), class_="num wide") for m in others]
        rows.append(tag("tr", cells))
    heads = [tag("th", "Class", scope="col"), tag("th", "Share of truth", scope="col", class_="num"),
             tag("th", f"{metric_name(main).removeprefix('Mean ').capitalize() if main != 'iou' else 'IoU'}, "
                 "95 % interval", scope="col")]  # fmt: skip
    heads += [tag("th", word.capitalize(), scope="col", class_="num wide") for word in others]
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="data")


def group_table(title: str, groups: Mapping[str, Mapping[str, Any]], result: Mapping[str, Any], by: str) -> Html:
    """One row per region, latitude band or parent, with the two or three headline metrics as bars."""
    scores = {name: scores_of(content) for name, content in groups.items() if isinstance(content, Mapping)}
    kind = kind_of(result)
    found = [m for m in HEADLINES[kind] if any(m in s for s in scores.values())]
    metrics = [m for m in found if m != "kappa"][: 2 if kind == "values" else 3]
    names = north_first(scores) if by == "latitude" else sorted(scores)
    tops = {m: _top(m, scores) for m in metrics}
    rows = [
        tag(
            "tr",
            tag("th", band_name(name) if by == "latitude" else name, scope="row"),
            [tag("td", bar(scores[name].get(m), None, tops[m]), class_="" if k < 2 else "wide")
             for k, m in enumerate(metrics)],
        )
        for name in names
    ]  # fmt: skip
    heads = [tag("th", title, scope="col")]
    unit = result.get("unit")
    for k, m in enumerate(metrics):
        label = metric_name(m) + (f", {unit}" if unit and kind == "values" and m in ("mae", "rmse") else "")
        heads.append(tag("th", label, scope="col", class_="" if k < 2 else "wide"))
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="data groups")


def _top(metric: str, scores: Mapping[str, Scores]) -> float:
    values = [s[metric] for s in scores.values() if metric in s]
    return 1.0 if max(values) <= 1 else max(values)


def bar(value: float | None, ends: tuple[float, float] | None = None, top: float = 1.0) -> Html:
    """A number with a bar up to `top`, and a whisker where there is an interval."""
    if value is None:
        return tag("span", "–", class_="quiet")
    size = 100 * min(max(value / top, 0), 1)
    whisker = None
    if ends:
        left, right = (100 * min(max(end / top, 0), 1) for end in ends)
        whisker = tag("i", class_="whisker", style=f"left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%")
    tip = f"95 % interval {number(ends[0])} to {number(ends[1])}" if ends else None
    fill = tag("i", class_="fill", style=f"width:{size:.2f}%")
    return tag(
        "div", tag("span", number(value)), tag("div", fill, whisker, class_="track"), class_="bar-row", data_tip=tip
    )


def swatch(colour: str) -> Html:
    """A small square of a class's colour."""
    return tag("i", class_="swatch", style=f"background:{hex_of(rgb_of(colour))}")


def confusion_matrix(result: Mapping[str, Any], name: str) -> Html:
    """The confusion matrix as a table: each row is a true class, cells say which share of it went where."""
    legend, counts = legend_of(result), np.asarray(result.get("confusion") or [], float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        return Html("")
    names = [legend[k].name if k < len(legend) else str(k) for k in range(len(counts))]
    sums = counts.sum(1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    heads = [tag("th", tag("span", n), scope="col") for n in names]
    rows = []
    for i, truth in enumerate(names):
        colour = legend[i].colour if i < len(legend) else ""
        cells = [_cell(truth, n, shares[i, j], counts[i, j], i == j) for j, n in enumerate(names)]
        rows.append(tag("tr", tag("th", swatch(colour), truth, scope="row"), cells))
    corner = tag("td", "truth ↓  prediction →", class_="corner")
    table = tag(
        "table", tag("caption", f"Confusion matrix of {name}: each row adds to 100 %.", class_="hidden"),
        tag("thead", tag("tr", corner, heads)), tag("tbody", rows), class_="confusion",
    )  # fmt: skip
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Confusion matrix of {name}")


def _cell(truth: str, prediction: str, share: float, count: float, diagonal: bool) -> Html:
    percent = 100 * share
    shown = "" if count <= 0 else "<1" if percent < 0.5 else f"{percent:.0f}"
    inside = [tag("span", shown, class_="share"), tag("span", compact(count), class_="count")]
    tip = f"{truth} → {prediction}: {percent:.1f} % of {truth}, {amount(count)}"
    kind = " ".join(word for word, true in (("hit", diagonal), ("deep", share > 0.55)) if true)
    return tag("td", inside, class_=kind or None, style=f"--s:{share:.3f}", data_tip=tip)


def compact(count: float) -> str:
    """A count in few characters: '1.2M', '34k', '567'; nothing for none."""
    if count <= 0:
        return ""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2g}{letter}" if count < 10 * size else f"{count / size:.0f}{letter}"
    return f"{count:.0f}" if float(count).is_integer() else f"{count:.2g}"


def amount(count: float) -> str:
    """A count of pixels, or a sum of their weights, in words."""
    return f"{number(round(count))} pixels" if float(count).is_integer() else f"weight {number(float(count), 4)}"


def frequent_mistakes(result: Mapping[str, Any], shown: int = 6) -> Html:
    """The pairs of classes that make up most of all mistakes, as bars."""
    legend, counts = legend_of(result), np.asarray(result.get("confusion") or [], float)
    if counts.ndim != 2 or counts.shape != (len(legend), len(legend)):
        return Html("")
    wrong = np.where(np.eye(len(counts), dtype=bool), 0.0, counts)
    if wrong.sum() <= 0:
        return tag("p", "None.", class_="quiet")
    rows = []
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:shown]:
        truth, prediction = divmod(int(flat), len(counts))
        share = wrong[truth, prediction] / wrong.sum()
        if share > 0:
            said = [swatch(legend[truth].colour), legend[truth].name, " taken for "]
            said += [swatch(legend[prediction].colour), legend[prediction].name]
            fill = tag("i", class_="fill", style=f"width:{100 * share / (wrong.max() / wrong.sum()):.1f}%")
            rows.append(tag("li", tag("span", said), tag("b", f"{share:.1%}"), tag("div", fill, class_="track")))
    note = tag("p", "Shares of all that is wrong.", class_="quiet")
    return join(tag("ol", rows, class_="mistakes"), note)


def all_metrics(found: Evidence, evaluation: Evaluation, target: str) -> Html:
    """Every overall metric with its interval, beside the baselines."""
    result = evaluation.targets[target]
    scores, bounds = scores_of(result.get("metrics") or {}), bounds_of(result.get("intervals"))
    baselines = baselines_of(found, evaluation, target)
    columns = {"this run": (scores, bounds), **baselines}
    return metric_table(columns, [m for m in scores if "/" not in m], result.get("unit"))


def metric_table(
    columns: Mapping[str, tuple[Scores, Bounds]], metrics: Sequence[str], unit: str | None, best: bool = False
) -> Html:
    """Metrics down, contenders across, intervals below the values; on request the best of each row is marked."""
    rows = []
    for metric in metrics:
        values = [s.get(metric) for s, _ in columns.values()]
        known = [v for v in values if v is not None]
        winner = max(known, key=lambda v: quality(metric, v)) if best and len(set(known)) > 1 else None
        cells = []
        for value, (_, bounds) in zip(values, columns.values(), strict=True):
            ends = bounds.get(metric)
            small = tag("small", f"{number(ends[0])} – {number(ends[1])}") if ends else None
            kind = "num best" if value is not None and value == winner else "num"
            cells.append(tag("td", quantity(metric, value, unit), small, class_=kind))
        rows.append(tag("tr", tag("th", metric_name(metric), scope="row"), cells))
    heads = [tag("th", name, scope="col", class_="num") for name in columns]
    table = tag(
        "table", tag("thead", tag("tr", tag("th", "Metric", scope="col"), heads)), tag("tbody", rows), class_="data"
    )
    return tag("div", join(table), class_="scroll")
