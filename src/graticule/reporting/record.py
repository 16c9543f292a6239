"""The sections on what went in: data and split, configuration, environment."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from graticule.reporting.charts import bars
from graticule.reporting.evidence import Evidence
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import facts, missing, section
from graticule.reporting.words import number

PARTS = ("train", "val", "test")


def data_and_split(found: Evidence, prefix: str) -> Html:
    """Where the samples come from, which part each is in, and whether the parts share anything."""
    pieces: list[Html] = []
    split, store = found.config.get("split"), found.config.get("data")
    rows: list[tuple[str, object]] = []
    if isinstance(store, Mapping) and store.get("store"):
        rows.append(("store", str(store["store"])))
    if isinstance(split, Mapping):
        rows += [(f"split {key}", _plain(value)) for key, value in split.items() if value is not None]
    if rows:
        pieces.append(facts(rows))
    if found.assignment is not None and "part" in found.assignment:
        pieces.append(_parts(found.assignment))
    else:
        pieces.append(missing("The assignment of samples to parts is not here.", "graticule train"))
    pieces.append(_audit(found.audit))
    return section(f"{prefix}-data", "Data and split", None, pieces)


def _parts(table: pd.DataFrame) -> Html:
    counts = table["part"].astype(str).value_counts()
    names = [part for part in PARTS if part in counts] + [part for part in counts.index if part not in PARTS]
    total = int(counts.sum())
    rows = [(name, f"{number(int(counts[name]))} windows") for name in names]
    return join(bars({name: counts[name] / total for name in names}), facts(rows))


def _audit(audit: Mapping[str, Any]) -> Html:
    if not audit:
        return missing("There is no leak audit.", "graticule train")
    leaks = bool(audit.get("leaks"))
    verdict = "The parts leak: they share ground, content or parents." if leaks else "No leak: the parts share nothing."
    rows = []
    pairs = audit.get("pairs") or {}
    entries = pairs.items() if isinstance(pairs, Mapping) else [(_pair_name(pair), pair) for pair in pairs]
    for name, shared in entries:
        if isinstance(shared, Mapping):
            said = ", ".join(
                f"{key.replace('_', ' ')} {_plain(value)}" for key, value in shared.items() if key != "parts"
            )
            rows.append((str(name), said))
    return join(tag("p", verdict, class_="verdict bad" if leaks else "verdict good"), facts(rows) if rows else None)


def _pair_name(pair: object) -> str:
    parts = pair.get("parts") if isinstance(pair, Mapping) else None
    return " and ".join(map(str, parts)) if isinstance(parts, list | tuple) else "pair"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return str(value)


def configuration(found: Evidence, prefix: str) -> Html:
    """The resolved configuration and the environment, folded away."""
    pieces: list[Html] = []
    if found.config_text:
        pieces.append(
            tag("details", tag("summary", "Resolved configuration"), tag("pre", found.config_text, tabindex="0"))
        )
    else:
        pieces.append(missing("The configuration is not here.", "graticule train"))
    rows = [(key.replace("_", " "), _command(value)) for key, value in found.environment.items() if value is not None]
    if rows:
        pieces.append(facts(rows))
    else:
        pieces.append(missing("The environment was not noted.", "graticule train"))
    if found.packages:
        listed = tag("pre", "\n".join(found.packages), tabindex="0")
        pieces.append(tag("details", tag("summary", f"{len(found.packages)} installed packages"), listed))
    return section(f"{prefix}-record", "Configuration and environment", None, pieces)


def _command(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
