"""Example windows: input, truth, prediction and error side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from graticule.reporting.earth import legend_strip, value_strip
from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import data_uri, paint_classes, paint_mistakes, paint_values, value_limits
from graticule.reporting.markup import Html, tag
from graticule.reporting.sections import missing, section
from graticule.reporting.tables import legend_of
from graticule.reporting.words import kind_of, number
from graticule.schema import IGNORE

SHOWN, LARGEST = 8, 256


def windows(found: Evidence, prefix: str) -> Html:
    """A few windows of the evaluated part, for every target."""
    main = found.main_evaluation
    if main is None or "rgb" not in main.examples:
        note = missing("There are no example windows.", f"graticule evaluate {found.run.folder}")
        return section(f"{prefix}-windows", "Windows", None, note)
    pieces = []
    for name, result in main.targets.items():
        if f"{name}/truth" in main.examples and f"{name}/prediction" in main.examples:
            pieces += [tag("h3", name), _of_target(main.examples, name, result)]
    grid = str(main.metrics.get("grid", ""))
    lead = "Input, truth, prediction, and where they differ. Grey is unknown."
    if "healpix" in grid or "healpix" in str(found.config.get("source", "")):
        lead += (
            " Windows of the HEALPix sphere are shown as their squares of nested cells, so north is up only roughly."
        )
    return section(f"{prefix}-windows", "Windows", lead, pieces)


def _of_target(arrays: Mapping[str, np.ndarray], name: str, result: Mapping[str, Any]) -> Html:
    legend = legend_of(result) if kind_of(result) != "values" else ()
    step = max(1, -(-arrays["rgb"].shape[1] // LARGEST))
    rgb, truth, prediction = (
        arrays[key][:SHOWN, ::step, ::step] for key in ("rgb", f"{name}/truth", f"{name}/prediction")
    )
    names = arrays.get("sample_id", np.arange(len(rgb)))
    unit = str(result.get("unit") or "")
    limits = value_limits(truth, prediction) if not legend else (0.0, 1.0)
    bound = float(np.max(np.abs(value_limits(prediction - truth)))) if not legend else 1.0
    cards = []
    for k in range(len(rgb)):
        if legend:
            painted = [
                paint_classes(truth[k], legend),
                paint_classes(prediction[k], legend),
                paint_mistakes(truth[k], prediction[k]),
            ]
            known = truth[k] != IGNORE
            right = (truth[k] == prediction[k])[known].mean() if known.any() else float("nan")
            said = f"{right:.0%} right" if known.any() else "no label"
        else:
            difference = prediction[k] - truth[k]
            painted = [paint_values(truth[k], limits), paint_values(prediction[k], limits)]
            painted.append(paint_values(difference, (-bound, bound), signed=True))
            known = np.isfinite(difference)
            said = f"mean error {number(float(np.abs(difference[known]).mean()))} {unit}" if known.any() else "no value"
        cards.append(_card(str(names[k]), said, rgb[k], painted))
    strip = legend_strip(legend) if legend else value_strip(limits, unit)
    signed = None if legend else value_strip((-bound, bound), f"{unit} error".strip(), signed=True)
    return tag("div", strip, signed, tag("div", cards, class_="windows"))


def _card(sample: str, said: str, rgb: np.ndarray, painted: list[np.ndarray]) -> Html:
    uris = [data_uri(rgb, photo=True), *(data_uri(picture) for picture in painted)]
    kinds = ("input", "truth", "prediction", "error")
    cells = [
        tag("figure", tag("img", src=uri, alt=f"{kind} of window {sample}", loading="lazy"), tag("figcaption", kind))
        for kind, uri in zip(kinds, uris, strict=True)
    ]
    caption = tag("p", tag("b", sample), tag("span", said), class_="window-name")
    return tag("article", caption, tag("div", cells, class_="four"), class_="window")
