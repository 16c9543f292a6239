"""The page of a study: its best trials, what each hyperparameter matters, how the search went, what failed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from graticule.errors import GraticuleError
from graticule.reporting.dots import Axis, Dot, parallel, scatter, shares
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import facts, missing, section
from graticule.reporting.words import duration, interval, number
from graticule.runs import Crossval, StudyFolder

_COLOURS = {"complete": 1, "pruned": 5, "fail": 2, "running": 8}


@dataclass(frozen=True)
class Search:
    """What the folder of a study says; empty where there is no file yet."""

    folder: StudyFolder
    manifest: Mapping[str, Any]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the study."""
        return str(self.manifest.get("name", self.folder.folder.name))

    @property
    def keys(self) -> list[str]:
        """The hyperparameters that vary."""
        space = self.manifest.get("space") or {}
        return [
            key for key, told in space.items() if len(told.get("choices") or (0, 0)) > 1 and f"hp/{key}" in self.table
        ]

    @property
    def objectives(self) -> list[tuple[str, bool]]:
        """Name of each objective, and whether high is good."""
        told = self.summary
        return [
            (n, d == "maximize") for n, d in zip(told.get("objectives", ()), told.get("directions", ()), strict=True)
        ]

    def is_log(self, key: str) -> bool:
        """Whether a hyperparameter was drawn on a logarithmic scale of its own values."""
        told = self.manifest["space"][key]
        return bool(told.get("log")) and told.get("mirror") is None

    def value(self, row: Mapping[str, Any], key: str) -> object:
        """A hyperparameter of a trial; a choice as text, since choices have no order."""
        value = row[f"hp/{key}"]
        return str(value) if "choices" in self.manifest["space"][key] else value

    def ended(self) -> list[dict[str, Any]]:
        """The trials that have a value."""
        known = self.table[self.table["state"].isin(["complete", "pruned"])] if len(self.table) else self.table
        return known.to_dict("records")


def read_search(path: Path) -> Search:
    """Read a folder.

    Raises:
        GraticuleError: if a file in it is damaged.
    """
    folder = StudyFolder(path)
    try:
        manifest = json.loads(folder.manifest.read_text())
        table = pd.read_parquet(folder.trials) if folder.trials.exists() else pd.DataFrame()
        summary = json.loads(folder.summary.read_text()) if folder.summary.exists() else {}
    except (ValueError, OSError) as error:
        raise GraticuleError(
            f"{path} has a damaged file ({str(error).splitlines()[0]}); start a runner again."
        ) from error
    return Search(folder, manifest, table, summary)


def subtitle(found: Search) -> str:
    """One line under the title."""
    counts = ", ".join(f"{count} {state}" for state, count in (found.summary.get("counts") or {}).items())
    parts = [f"{found.manifest.get('sampler')} search", counts or "no trial yet"]
    if len(found.table):
        spent = float(found.table["duration"].fillna(0).sum())
        parts.append(f"{duration(spent)} of training")
    return " · ".join(parts)


def page_of(found: Search) -> tuple[str, str, list[tuple[str, str]], Html]:
    """Title, subtitle, links and body of the page."""
    made = [
        ("best", "Best", best(found)),
        ("history", "History", history(found)),
        ("importance", "Importance", importance(found)),
        ("parallel", "Together", together(found)),
        ("slices", "One by one", slices(found)),
        ("failures", "Failures", failures(found)),
        ("space", "Search space", space(found)),
    ]
    made = [entry for entry in made if entry[2]]
    return found.name, subtitle(found), [(f"#{i}", title) for i, title, _ in made], join(*(html for _, _, html in made))


def best(found: Search) -> Html:
    """The best trials with their hyperparameters, and the interval of their pooled metrics."""
    numbers = found.summary.get("best") or []
    if not numbers:
        note = missing("No trial is complete yet.", f"graticule tune --sweep-id {found.name} --device DEVICE")
        return section("best", "Best trials", None, note)
    names = [name for name, _ in found.objectives]
    metrics = [str(text).partition(":")[0] for text in found.manifest["scoring"]["metrics"]]
    heads = ["trial", *names, *(f"{name}, pooled" for name in metrics), "trust", *found.keys]
    rows = []
    by_number = {row["number"]: row for row in found.table.to_dict("records")}
    for trial in numbers[:10]:
        row = by_number[trial]
        cells = [str(trial), *(number(row[name], 4) for name in names)]
        cells += [_pooled(found, str(row["cv_name"]), name) for name in metrics]
        cells += [f"{row['trust']:.0%}", *(_value(row[f"hp/{key}"]) for key in found.keys)]
        rows.append(tag("tr", [tag("td", cell, class_="num") for cell in cells]))
    table = tag(
        "table", tag("thead", tag("tr", [tag("th", h, scope="col") for h in heads])), tag("tbody", rows), class_="data"
    )
    how = tag("p", "Run the first one with ", tag("code", f"graticule train --config {found.folder.best}"), ".")
    lead = (
        "Pooled: over all folds at once, with the 95 % interval over parents. Trials whose intervals overlap widely "
        "may differ by chance."
    )
    return section("best", "Best trials", lead, tag("div", table, class_="scroll"), how)


def _pooled(found: Search, cv_name: str, metric: str) -> str:
    """The pooled value of a metric in a trial's cross-validation, with its interval."""
    path = Crossval(found.folder.folder / cv_name).summary
    try:
        told = json.loads(path.read_text())["pooled"]
    except (OSError, ValueError, KeyError):
        return ""
    name = metric.removeprefix("val/")
    target, _, rest = name.partition("/")
    entry, name = (told[target], rest) if target in told else (next(iter(told.values()), {}), name)
    value = (entry.get("metrics") or {}).get(name)
    if value is None:
        return ""
    ends = interval((entry.get("intervals") or {}).get(name))
    return number(value) + (f" ({number(ends[0])} to {number(ends[1])})" if ends else "")


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tip(found: Search, row: Mapping[str, Any], name: str) -> str:
    values = ", ".join(f"{key} {_value(row[f'hp/{key}'])}" for key in found.keys)
    return f"trial {row['number']}: {name} {number(row[name], 4)}; {values}"


def history(found: Search) -> Html:
    """Each objective by trial, and the best so far."""
    charts, rows = [], found.ended()
    for name, high in found.objectives:
        known = [row for row in rows if math.isfinite(row[name])]
        dots = [
            Dot(row["number"], row[name], _tip(found, row, name), _COLOURS[row["state"]], row["trust"] < 1)
            for row in known
        ]
        line: list[tuple[float, float]] = []
        for row in (row for row in known if row["state"] == "complete"):
            before = line[-1][1] if line else row[name]
            line.append((row["number"], max(before, row[name]) if high else min(before, row[name])))
        axis = Axis.of("trial", [row["number"] for row in known], pad=0.03)
        charts.append(scatter(f"{name}, {'higher' if high else 'lower'} is better", dots, axis, name, line=line))
    if not any(charts):
        return Html("")
    lead = "Dots are trials (yellow: given up early; faint: not all runs were usable), the line is the best so far."
    return section("history", "History", lead, tag("div", charts, class_="charts"))


def importance(found: Search) -> Html:
    """How much of the variation each hyperparameter explains."""
    told = found.summary.get("importances") or {}
    if not told:
        note = "Four complete trials that differ are needed to tell what matters; it is worked out when a runner ends."
        return section("importance", "What matters", None, tag("p", note, class_="missing"))
    pieces = []
    for name, rows in told.items():
        pieces += [tag("h3", name), shares(sorted(rows.items(), key=lambda row: -row[1]))]
    lead = "The share of the variation between trials that each hyperparameter explains (functional ANOVA)."
    return section("importance", "What matters", lead, pieces)


def together(found: Search) -> Html:
    """Parallel coordinates: every trial as a line, the better the stronger."""
    rows = [row for row in found.ended() if row["state"] == "complete"]
    charts = []
    for name, high in found.objectives:
        known = [row for row in rows if math.isfinite(row[name])]
        if len(known) < 2 or not found.keys:
            continue
        ranked = sorted(known, key=lambda row: row[name], reverse=not high)
        good = {row["number"]: k / (len(ranked) - 1) for k, row in enumerate(ranked)}
        axes = [Axis.of(key, [found.value(row, key) for row in known], log=found.is_log(key)) for key in found.keys]
        axes.append(Axis.of(name, [row[name] for row in known]))
        lines = [
            ([*(found.value(row, key) for key in found.keys), row[name]], good[row["number"]], _tip(found, row, name))
            for row in known
        ]
        charts.append(parallel(f"All hyperparameters and {name}", axes, lines))
    lead = "Each line is a trial; the better, the stronger. Where strong lines bundle, good values are."
    return section("parallel", "All together", lead, charts) if charts else Html("")


def slices(found: Search) -> Html:
    """Each hyperparameter alone against each objective."""
    charts = []
    for name, _ in found.objectives:
        rows = [row for row in found.ended() if math.isfinite(row[name])]
        for key in found.keys:
            axis = Axis.of(key, [found.value(row, key) for row in rows], log=found.is_log(key), pad=0.03)
            dots = [
                Dot(found.value(row, key), row[name], _tip(found, row, name), _COLOURS[row["state"]]) for row in rows
            ]
            charts.append(scatter(f"{name} by {key}", dots, axis, name))
    return section("slices", "One by one", None, tag("div", charts, class_="charts")) if any(charts) else Html("")


def failures(found: Search) -> Html:
    """Trials that failed, and those whose score cannot be trusted fully."""
    if found.table.empty:
        return Html("")
    rows = []
    for row in found.table.to_dict("records"):
        if row["state"] == "fail":
            rows.append((row["number"], str(row["reason"])))
        elif row["state"] == "complete" and row["trust"] < 1:
            rows.append((row["number"], f"only {row['trust']:.0%} of its runs ended with usable metrics"))
    if not rows:
        return section("failures", "Failures", None, tag("p", "No trial failed.", class_="verdict good"))
    cells = [tag("tr", tag("th", f"trial {trial}", scope="row"), tag("td", why)) for trial, why in rows]
    return section("failures", "Failures", None, tag("table", tag("tbody", cells), class_="data"))


def space(found: Search) -> Html:
    """The search space and how it was searched."""
    rows: list[tuple[str, object]] = []
    for key, told in (found.manifest.get("space") or {}).items():
        if "choices" in told:
            text = ", ".join(map(str, told["choices"]))
        else:
            text = f"{told['low']:g} to {told['high']:g}" + (", logarithmic" if told["log"] else "")
            text += f", steps of {told['step']:g}" if told.get("step") else ""
        rows.append((key, text))
    asked = [(key, found.manifest.get(key)) for key in ("sampler", "pruner", "seed", "max_trials", "storage")]
    rows += [(key.replace("_", " "), value) for key, value in asked if value is not None]
    return section("space", "Search space", None, facts(rows))
