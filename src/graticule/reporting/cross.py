"""The page of a cross-validation: its score and how far to trust it, by fold and seed, and the folds together."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from graticule.errors import GraticuleError
from graticule.reporting.charts import whiskers
from graticule.reporting.dots import Axis, Dot, scatter
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import facts, missing, section
from graticule.reporting.words import HEADLINES, duration, interval, kind_of, metric_name, number, quantity
from graticule.runs import Crossval

END = "@end"


@dataclass(frozen=True)
class Cross:
    """What the folder of a cross-validation says; empty where there is no file yet."""

    folder: Crossval
    manifest: Mapping[str, Any]
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the cross-validation."""
        return str(self.manifest.get("name", self.folder.folder.name))

    @property
    def metrics(self) -> list[str]:
        """The scoring metrics that the table has."""
        named = [str(text).partition(":")[0] for text in self.summary.get("metrics") or ["val/iou", "val/mae"]]
        return [name for name in named if name in self.table]


def read_cross(path: Path) -> Cross:
    """Read a folder.

    Raises:
        GraticuleError: if a file in it is damaged.
    """
    folder = Crossval(path)
    try:
        manifest = json.loads(folder.manifest.read_text())
        table = pd.read_parquet(folder.run_infos) if folder.run_infos.exists() else pd.DataFrame()
        summary = json.loads(folder.summary.read_text()) if folder.summary.exists() else {}
    except (ValueError, OSError) as error:
        raise GraticuleError(f"{path} has a damaged file ({str(error).splitlines()[0]}); resume it.") from error
    return Cross(folder, manifest, table, summary)


def subtitle(found: Cross) -> str:
    """One line under the title."""
    planned = len(found.manifest.get("planned", ()))
    parts = [f"{found.manifest.get('folds')} folds", f"{len(found.table)} of {planned} runs"]
    if len(found.table):
        parts.append(f"{duration(float(found.table['duration'].sum()))} of training")
    return " · ".join(parts)


def sections_of(found: Cross) -> list[tuple[str, str, Html]]:
    """(anchor, short title, section) of all that there is to tell."""
    return [
        ("score", "Score", score(found)),
        ("spread", "Folds and seeds", spread(found)),
        ("pooled", "All folds", pooled(found)),
        ("runs", "Runs", runs(found)),
    ]


def score(found: Cross) -> Html:
    """The score, and what keeps it from being trusted."""
    if not found.summary:
        note = missing("Not all runs have ended.", f"graticule resume {found.folder.folder}")
        return section("score", "Score", None, note)
    told = found.summary
    direction = "higher is better" if told["direction"] == "maximize" else "lower is better"
    rows: list[tuple[str, object]] = [
        ("score", f"{number(told['score'], 4)} ({direction})"),
        ("metrics", ", ".join(told["metrics"])),
        ("trust", f"{told['trust']:.0%} of {told['planned']} runs"),
    ]
    if len(told["metrics"]) > 1:
        rows.append(("combined by", f"{told['strategy']} mean" if told["strategy"] != "min" else "minimum"))
    bad = sorted({*told["failed"], *told["unstable"]})
    text = "All runs ended with usable metrics."
    if bad:
        text = f"{len(bad)} of {told['planned']} runs failed or are unstable and count as the worst: {', '.join(bad)}."
    verdict = tag("p", text, class_="verdict bad" if bad else "verdict good")
    return section("score", "Score", "Each run at its best checkpoint; the mean over all runs.", facts(rows), verdict)


def spread(found: Cross) -> Html:
    """Each run as a dot, by fold and by seed."""
    if found.table.empty:
        return Html("")
    seeds = {seed: k % 8 + 1 for k, seed in enumerate(dict.fromkeys(found.table["seed"]))}
    charts = []
    for metric in found.metrics:
        folds, values = found.table["fold"].astype(str).tolist(), found.table[metric].astype(float).tolist()
        for name, xs in (("fold", folds), ("seed", found.table["seed"].astype(str).tolist())):
            dots = [
                Dot(x, y, f"fold {fold}, seed {seed}: {number(y, 4)}", seeds[seed])
                for x, y, fold, seed in zip(xs, values, folds, found.table["seed"], strict=True)
            ]
            charts.append(scatter(f"{metric} by {name}", dots, Axis.of(name, xs), metric))
    words = []
    for metric in found.metrics:
        by_fold = found.table.groupby("fold")[metric].mean().std(ddof=0)
        by_seed = found.table.groupby("seed")[metric].mean().std(ddof=0)
        if math.isfinite(by_fold) and math.isfinite(by_seed):
            words.append(f"{metric} varies by {number(by_fold)} between folds and {number(by_seed)} between seeds.")
    lead = "Colours are seeds. What differs between folds is ground, what differs between seeds is chance."
    return section("spread", "Folds and seeds", lead, tag("div", charts, class_="charts"), tag("p", " ".join(words)))


def pooled(found: Cross) -> Html:
    """The metrics over all folds at once, with their intervals."""
    pieces = []
    for target, told in (found.summary.get("pooled") or {}).items():
        metrics, bounds = told["metrics"], told.get("intervals") or {}
        shown = [name for name in HEADLINES[kind_of(told)] if metrics.get(name) is not None]
        cards = []
        for name in shown:
            ends = interval(bounds.get(name))
            spread_of = [metrics[name], *(ends or ())]
            axis = (min(0.0, *spread_of), 1.0) if max(spread_of) <= 1 else (0.0, max(spread_of) * 1.08)
            row = whiskers([("pooled", metrics[name], ends, False)], axis)
            cards.append(tag("article", tag("h4", metric_name(name)), row, class_="card"))
        rows = []
        for name in (name for name in metrics if metrics[name] is not None):
            low, high = interval(bounds.get(name)) or (math.nan, math.nan)
            cell = f"{number(low)} to {number(high)}" if math.isfinite(low) else ""
            written = tag("td", quantity(name, metrics[name], told.get("unit")), class_="num")
            rows.append(tag("tr", tag("th", metric_name(name), scope="row"), written, tag("td", cell, class_="num")))
        full = tag(
            "details", tag("summary", f"All metrics of {target}"), tag("table", tag("tbody", rows), class_="data")
        )
        about = f"{told['parents']} parents, {number(told['pixels'])} labelled pixels"
        pieces += [tag("h3", target), tag("div", cards, class_="cards"), full, tag("p", about, class_="quiet")]
    if not pieces:
        return section(
            "pooled", "All folds together", None, missing("Nothing has been pooled yet.", "graticule crossval")
        )
    lead = "The sums of all folds added up, as one measurement; 95 % bootstrap intervals over parents."
    return section("pooled", "All folds together", lead, pieces)


def runs(found: Cross) -> Html:
    """The table of runs."""
    if found.table.empty:
        return Html("")
    columns = [
        "fold",
        "seed",
        *found.metrics,
        *(name + END for name in found.metrics),
        "step",
        "duration",
        "state",
        "reason",
    ]
    heads = [tag("th", name.replace(END, " at the end"), scope="col") for name in columns]
    rows = []
    for row in found.table.to_dict("records"):
        cells = [
            tag("td", _cell(name, row.get(name)), class_="num" if name not in ("state", "reason") else None)
            for name in columns
        ]
        rows.append(tag("tr", cells, class_="bad" if row["is_unstable"] else None))
    table = tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows), class_="data")
    note = tag(
        "p", "A report of a single run: ", tag("code", f"graticule report {found.folder.folder}/RUN"), class_="quiet"
    )
    return section("runs", "Runs", None, tag("div", table, class_="scroll"), note)


def _cell(name: str, value: object) -> str:
    if name == "duration":
        return duration(float(value))  # type: ignore[arg-type]
    return number(value, 4) if isinstance(value, float) else str("" if value is None else value)


def page_of(found: Cross) -> tuple[str, str, list[tuple[str, str]], Html]:
    """Title, subtitle, links and body of the page."""
    made = [(ident, title, html) for ident, title, html in sections_of(found) if html]
    links = [(f"#{ident}", title) for ident, title, _ in made]
    return found.name, subtitle(found), links, join(*(html for _, _, html in made))
