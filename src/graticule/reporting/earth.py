"""The predicted scene beside the truth: the layers that the page's map and globes draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import (
    RIGHT,
    SIGNED_KNOTS,
    WRONG,
    data_uri,
    hex_of,
    paint_classes,
    paint_mistakes,
    paint_values,
    plain_legend,
    ramp,
    rgb_of,
    value_limits,
)
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.tables import legend_of, swatch
from graticule.reporting.words import number
from graticule.schema import LegendClass

SPLIT = "split"
PART_COLOURS = (("train", "#5b97c2"), ("val", "#d9b04c"), ("test", "#d8703a"))
_SHADES = 8


@dataclass(frozen=True)
class Layer:
    """One picture of the whole scene: id, what to call it, its data URI, and what its colours mean (for hover)."""

    id: str
    group: str
    name: str
    uri: str
    meaning: dict[str, str]

    @property
    def title(self) -> str:
        """What the layer is called where others stand beside it."""
        return f"{self.group} {self.name}" if self.name != self.group else self.name


def layers(found: Evidence, prefix: str) -> list[Layer]:
    """The layers of a run's overview: the input, then truth, prediction and error of each target."""
    overview, made = found.overview, []
    if "rgb" in overview:
        made.append(Layer(f"{prefix}-input", "input", "input", data_uri(overview["rgb"], photo=True), {}))
    results = _results(found)
    for name in [key.removesuffix("/prediction") for key in overview if key.endswith("/prediction")]:
        made += _target_layers(f"{prefix}-{name}", name, overview, results.get(name, {}))
    parts = parts_layer(found, prefix)
    return [*made, parts] if parts else made


def parts_layer(found: Evidence, prefix: str) -> Layer | None:
    """The blocks of a block split as a layer: a colour per part, shaded by the input so that the ground shows."""
    if not found.blocks:
        return None
    codes = np.asarray(found.blocks["parts"], np.uint8)
    shade = np.full((360, 720), _SHADES - 1)
    if "rgb" in found.overview and is_whole_earth(found):
        grey = found.overview["rgb"].astype(float).mean(-1)
        shade = np.clip(grey / 256 * 1.6 * _SHADES, 0, _SHADES - 1).astype(int)
    rows = np.arange(shade.shape[0]) * codes.shape[0] // shade.shape[0]
    columns = np.arange(shade.shape[1]) * codes.shape[1] // shade.shape[1]
    light = np.linspace(0.5, 1, _SHADES)[None, :, None]
    table = (np.array([rgb_of(colour) for _, colour in PART_COLOURS], float)[:, None] * light).astype(np.uint8)
    meaning = {hex_of(c): name for row, (name, _) in zip(table, PART_COLOURS, strict=True) for c in row}
    picture = table[codes[rows[:, None], columns[None]], shade]
    return Layer(f"{prefix}-parts", SPLIT, "parts", data_uri(picture), meaning)


def _results(found: Evidence) -> dict[str, Mapping[str, Any]]:
    merged: dict[str, Mapping[str, Any]] = {}
    for evaluation in reversed(found.evaluations):
        merged |= evaluation.targets
    main = found.main_evaluation
    return merged | (main.targets if main else {})


def _target_layers(prefix: str, name: str, arrays: Mapping[str, np.ndarray], result: Mapping[str, Any]) -> list[Layer]:
    truth, prediction = arrays.get(f"{name}/truth"), arrays[f"{name}/prediction"]
    legend = legend_of(result)
    if not legend and prediction.dtype == np.uint8:
        legend = plain_legend(prediction)
    if legend:
        meaning = {entry.colour: entry.name for entry in legend}
        painted = {"truth": truth, "prediction": prediction}
        pictures = {k: (paint_classes(v, legend), meaning) for k, v in painted.items() if v is not None}
        if truth is not None:
            pictures["error"] = (paint_mistakes(truth, prediction), {hex_of(RIGHT): "right", hex_of(WRONG): "wrong"})
    else:
        pictures = _value_pictures(truth, prediction, str(result.get("unit") or ""))
    return [
        Layer(f"{prefix}-{kind}", name, kind, data_uri(picture), meaning)
        for kind, (picture, meaning) in pictures.items()
    ]


def _value_pictures(
    truth: np.ndarray | None, prediction: np.ndarray, unit: str
) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    limits = value_limits(*[a for a in (truth, prediction) if a is not None])
    meaning = _steps(ramp(), limits, unit)
    pictures = {"prediction": (paint_values(prediction, limits), meaning)}
    if truth is not None:
        difference = prediction - truth
        bound = float(np.max(np.abs(value_limits(difference))))
        ends = (-bound, bound)
        error = (paint_values(difference, ends, signed=True), _steps(ramp(SIGNED_KNOTS), ends, unit))
        pictures = {"truth": (paint_values(truth, limits), meaning), **pictures, "error": error}
    return pictures


def _steps(colours: np.ndarray, limits: tuple[float, float], unit: str) -> dict[str, str]:
    values = np.linspace(*limits, len(colours))
    return {hex_of(c): f"{number(round(float(v)) if abs(v) >= 10 else float(v))} {unit}".strip()
            for c, v in zip(colours, values, strict=True)}  # fmt: skip


def is_whole_earth(found: Evidence) -> bool:
    """Whether the overview spans the whole globe as a plate carrée (so that a globe can wear it)."""
    written = found.overview.get("grid")
    if written is None:
        return True
    try:
        grid = json.loads(str(written.item() if hasattr(written, "item") else written))
        height, width = (int(v) for v in (grid.get("height", 0), grid.get("width", 0)))
        step = grid["transform"][0]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return True
    return abs(width * step - 360) < step and abs(height * step - 180) < step


def earth(
    all_layers: Sequence[Layer], prefix: str, start: tuple[str, str], globe: bool, legends: Sequence[Html]
) -> Html:
    """The map with its swipe and, for a whole Earth, two globes; `start` names the layers first shown."""
    controls = tag(
        "div",
        _chooser(f"{prefix}-left", "Left", all_layers, start[0]),
        tag("button", "⇄", type="button", class_="swap", aria_label="Exchange left and right"),
        _chooser(f"{prefix}-right", "Right", all_layers, start[1]),
        class_="choosers",
    )
    swipe = tag(
        "input", type="range", min=0, max=100, step=0.5, value=50, class_="swipe",
        aria_label="Move the border between the left and the right layer",
    )  # fmt: skip
    label = "Map of the two chosen layers, divided by a border that the slider moves"
    stage = tag("div", tag("canvas", role="img", aria_label=label, class_="map"), class_="stage")
    globes = None
    if globe:
        pair = [_globe(side) for side in ("left", "right")]
        hint = "Drag a globe to turn both; arrow keys turn, + and − zoom."
        spin = tag("button", "Spin", type="button", class_="spin", aria_pressed="false")
        globes = join(tag("div", pair, class_="globes"), tag("p", spin, hint, class_="quiet hint"))
    readout = tag("p", "Point at the map to read it.", class_="readout", aria_live="polite")
    kind = "earth live" + (" whole" if globe else "")
    return tag("div", controls, stage, swipe, readout, legends, globes, class_=kind)


def _globe(side: str) -> Html:
    label = f"Globe with the {side} layer. Arrow keys turn it, plus and minus zoom."
    canvas = tag("canvas", tabindex="0", role="img", aria_label=label, data_side=side)
    return tag("figure", canvas, tag("figcaption", side), class_="globe")


def _chooser(ident: str, label: str, all_layers: Sequence[Layer], chosen: str) -> Html:
    options = [tag("option", layer.title, value=layer.id, selected=layer.id == chosen) for layer in all_layers]
    return tag("label", tag("span", label), tag("select", options, id=ident, class_="layer"), class_="choose")


def layer_images(all_layers: Sequence[Layer]) -> Html:
    """The pictures themselves, once each: shown as they are without scripts, else the source of map and globes."""
    figures = []
    for layer in all_layers:
        if layer.group != SPLIT:
            figures.append(tag("figure", layer_image(layer), tag("figcaption", layer.title)))
    return tag("div", figures, class_="layers")


def layer_image(layer: Layer) -> Html:
    """The picture of one layer, which the page's script finds by its id."""
    meaning = json.dumps(layer.meaning, separators=(",", ":"))
    return tag("img", src=layer.uri, alt=f"{layer.title}, whole scene", id=layer.id, data_meaning=meaning)


def legend_strip(legend: Sequence[LegendClass]) -> Html:
    """The classes and their colours in a row."""
    return tag("ul", [tag("li", swatch(entry.colour), entry.name) for entry in legend], class_="legend")


def value_strip(limits: tuple[float, float], unit: str, *, signed: bool = False) -> Html:
    """The colour ramp of values with its ends."""
    ends = [tag("span", f"{number(limit)} {unit}".strip()) for limit in limits]
    return tag("div", ends[0], tag("i", class_="ramp signed" if signed else "ramp"), ends[1], class_="ramp-row")
