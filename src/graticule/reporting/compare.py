"""Several runs side by side: one table of metrics with intervals, classes, curves, and each other's maps."""

from collections.abc import Mapping, Sequence
from typing import Any

from graticule.reporting.charts import whiskers
from graticule.reporting.earth import Layer, earth, is_whole_earth
from graticule.reporting.evidence import Evidence
from graticule.reporting.markup import Html, tag
from graticule.reporting.sections import curve_chart, curve_groups, legends, main_and_more, missing, section
from graticule.reporting.tables import (
    Bounds,
    Scores,
    baselines_of,
    bounds_of,
    legend_of,
    metric_table,
    scores_of,
    swatch,
)
from graticule.reporting.words import HEADLINES, kind_of, metric_name, number, quality

Columns = dict[str, tuple[Scores, Bounds]]


def labels(runs: Sequence[Evidence]) -> list[str]:
    """A distinct name per run: its name, with its id or a number where two are the same."""
    names = [run.name for run in runs]
    made: list[str] = []
    for k, run in enumerate(runs):
        label = run.name if names.count(run.name) == 1 else f"{run.name} {run.manifest.get('id', k + 1)}"
        made.append(label if label not in made else f"{label} ({k + 1})")
    return made


def side_by_side(runs: Sequence[Evidence]) -> Html:
    """The metrics of all runs' main evaluations, with the baselines they share."""
    named = dict(zip(labels(runs), runs, strict=True))
    targets = list(dict.fromkeys(name for run in runs if (e := run.main_evaluation) for name in e.targets))
    if not targets:
        folders = " ".join(str(run.run.folder) for run in runs)
        return section(
            "compare", "Side by side", None, missing("No run has been evaluated.", f"graticule evaluate {folders}")
        )
    lead = "Each run on its own main evaluation; small numbers are 95 % intervals, the best of a row is marked."
    pieces: list[Html] = []
    for target in targets:
        columns, rivals, result = _columns(named, target)
        shown = [m for m in HEADLINES[kind_of(result)] if any(m in s for s, _ in columns.values())][:4]
        cards = [_card(metric, columns, rivals) for metric in shown]
        metrics = list(dict.fromkeys(m for s, _ in columns.values() for m in s if "/" not in m))
        table = metric_table(columns | rivals, metrics, result.get("unit"), best=True)
        pieces += [tag("h3", target), tag("div", cards, class_="cards"), table]
        if legend_of(result):
            pieces += [tag("h4", f"IoU per class of {target}"), _class_rows(columns, result)]
    return section("compare", "Side by side", lead, pieces)


def _columns(named: Mapping[str, Evidence], target: str) -> tuple[Columns, Columns, Mapping[str, Any]]:
    columns: Columns = {}
    rivals: Columns = {}
    result: Mapping[str, Any] = {}
    for label, run in named.items():
        main = run.main_evaluation
        if main is None or target not in main.targets:
            continue
        content = main.targets[target]
        result = result or content
        columns[label] = (scores_of(content.get("metrics") or {}), bounds_of(content.get("intervals")))
        for name, entry in baselines_of(run, main, target).items():
            rivals[_free(name, entry, rivals, label)] = entry
    return columns, rivals, result


def _free(name: str, entry: tuple[Scores, Bounds], taken: Columns, label: str) -> str:
    return name if taken.get(name, entry) == entry else f"{name} ({label})"


def _card(metric: str, columns: Columns, rivals: Columns) -> Html:
    rows = [(name, s[metric], b.get(metric), False) for name, (s, b) in columns.items() if metric in s]
    others = [(name, s[metric], b.get(metric), True) for name, (s, b) in rivals.items() if metric in s]
    rows += sorted(others, key=lambda row: quality(metric, row[1]), reverse=True)
    spread = [v for _, v, _, _ in rows] + [end for _, _, b, _ in rows if b for end in b]
    axis = (min(0.0, *spread), 1.0) if max(spread) <= 1 else (0.0, max(spread) * 1.08)
    return tag("article", tag("h4", metric_name(metric)), whiskers(rows, axis), class_="card")


def _class_rows(columns: Columns, result: Mapping[str, Any]) -> Html:
    rows = []
    for entry in legend_of(result):
        values = [scores.get(f"iou/{entry.name}") for scores, _ in columns.values()]
        known = [v for v in values if v is not None]
        cells = []
        for k, value in enumerate(values):
            size = f"width:{100 * min(max(value or 0, 0), 1):.2f}%"
            fill = tag("div", tag("i", class_=f"fill b{k % 8 + 1}", style=size), class_="track")
            best = len(set(known)) > 1 and value == max(known)
            cells.append(
                tag(
                    "td",
                    tag("div", tag("span", number(value)), fill, class_="bar-row"),
                    class_="best" if best else None,
                )
            )
        rows.append(tag("tr", tag("th", swatch(entry.colour), entry.name, scope="row"), cells))
    heads = [tag("th", "Class", scope="col"), *(tag("th", name, scope="col") for name in columns)]
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="data")
    return tag("div", table, class_="scroll")


def shared_map(runs: Sequence[Evidence], all_layers: Sequence[Sequence[Layer]]) -> Html:
    """The predictions of the first two runs on one map; every layer of every run can be chosen."""
    renamed = []
    for label, made in zip(labels(runs), all_layers, strict=True):
        renamed += [Layer(a.id, f"{label}:", a.title, "", {}) for a in made]
    predictions = [next((a.id for a in made if a.name == "prediction"), None) for made in all_layers]
    shown = [ident for ident in predictions if ident]
    if len(shown) < 2:
        return Html("")
    whole = all(is_whole_earth(run) for run, made in zip(runs, all_layers, strict=True) if made)
    lead = "One run’s prediction on each side of the border."
    return section(
        "compare-map", "On one map", lead, earth(renamed, "compare", (shown[0], shown[1]), whole, legends(runs[0]))
    )


def shared_curves(runs: Sequence[Evidence]) -> Html:
    """The validation curves of all runs on shared axes."""
    named = {label: run.curves for label, run in zip(labels(runs), runs, strict=True) if run.curves}
    if len(named) < 2:
        return Html("")
    together = {name: table for curves in named.values() for name, table in curves.items()}
    charts = []
    groups = curve_groups(together)
    for title, names in groups:
        chosen = [name for name in names if name.startswith("val/")] or names[:1]
        charts.append(curve_chart(named, chosen, title))
    lead = "Steps of different runs may hold different numbers of samples."
    return section("compare-curves", "Learning curves together", lead, main_and_more(groups, charts))
