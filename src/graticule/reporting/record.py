"""The sections on what went in: data and split, configuration, environment."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from graticule.reporting.charts import bars
from graticule.reporting.earth import PART_COLOURS, layer_image, parts_layer
from graticule.reporting.evidence import Evidence
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import facts, missing, section
from graticule.reporting.tables import swatch
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
        rows += [(f"split {key}", _plain(value)) for key, value in split.items() if value not in (None, [], "")]
    if rows:
        pieces.append(facts(rows))
    if found.assignment is not None and "part" in found.assignment:
        pieces.append(_parts(found.assignment))
        parts = parts_layer(found, prefix)
        if parts:
            caption = f"Blocks of {_plain(found.blocks.get('degrees'))}°: each pixel belongs to the part of its block."
            keys = [tag("li", swatch(colour), name) for name, colour in PART_COLOURS]
            pieces.append(tag("ul", keys, class_="legend"))
            pieces.append(tag("figure", layer_image(parts), tag("figcaption", caption), class_="parts"))
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
    pairs = audit.get("pairs")
    pairs = pairs if isinstance(pairs, Mapping) else {}
    shared = {str(pair): content for pair, content in pairs.items() if isinstance(content, Mapping)}
    keys = [key for key in next(iter(shared.values()), {}) if key != "examples"]
    heads = [tag("th", key.replace("_", " "), scope="col", class_="num") for key in keys]
    rows = [
        tag("tr", tag("th", pair.replace("/", " and "), scope="row"),
            [tag("td", number(content.get(key)), class_="num") for key in keys])
        for pair, content in shared.items()
    ]  # fmt: skip
    table = tag(
        "table", tag("thead", tag("tr", tag("th", "Shared by", scope="col"), heads)), tag("tbody", rows), class_="data"
    )
    said = tag("p", verdict, class_="verdict bad" if leaks else "verdict good")
    told = audit.get("summary") and (leaks or audit.get("reach_degrees"))
    why = tag("p", audit["summary"]) if told else None
    return join(tag("h3", "Leak audit"), said, why, tag("div", table, class_="scroll") if rows else None)


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
