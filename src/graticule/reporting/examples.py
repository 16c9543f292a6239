"""The pictures that were drawn while a run trained, and the report of one that paints."""

import json
import re

import numpy as np
from PIL import Image

from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import data_uri
from graticule.reporting.markup import Html, tag
from graticule.reporting.sections import measures, missing, section

SHOWN = 4
"""Pictures of a series in the report: the first, the last, and some between."""
_LEAST = 480
"""Pixels of a picture's width, so that small samples can be seen."""

_NAME = re.compile(r"val-examples(?:-(?P<domain>.+))?-(?P<step>\d+)$")
_PAINTER = {
    "val/l1": "mean error under the mask, of the range from black to white",
    "val/fid": "Fréchet distance of features of painted and real water",
    "val/kid": "kernel distance of them",
}


def painter(found: Evidence, prefix: str) -> Html:
    """The measures of the best epoch."""
    path = found.run.folder / "painting.json"
    if not path.is_file():
        note = missing("The painter has not been measured.", f"graticule resume {found.run.folder}")
        return section(f"{prefix}-results", "Result", None, note)
    try:
        told = {str(name): float(value) for name, value in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError):
        return section(f"{prefix}-results", "Result", None, tag("p", f"{path} is damaged.", class_="missing"))
    lead = "Of the best epoch, on the validation part. There is more than one right water: look at the pictures."
    command = f"graticule render flood PHOTOS --run MASKER_RUN --painter {found.run.folder}"
    use = tag("p", "Use it: ", tag("code", command), class_="quiet")
    return section(f"{prefix}-results", "Result", lead, measures(told, _PAINTER), use)


def training_pictures(found: Evidence, prefix: str) -> Html | None:
    """Pictures of the same validation samples at several steps, for each domain; None where none was drawn."""
    series: dict[str, list[tuple[int, str]]] = {}
    for path in sorted(found.run.figures.glob("val-examples-*.png")):
        if match := _NAME.match(path.stem):
            series.setdefault(match["domain"] or "", []).append((int(match["step"]), path.name))
    if not series:
        return None
    rows = []
    for domain, drawn in series.items():
        picked = sorted({round(place) for place in np.linspace(0, len(drawn) - 1, min(SHOWN, len(drawn)))})
        figures = [_figure(found, *drawn[place]) for place in picked]
        rows += [tag("h3", f"Domain {domain}") if domain else None, tag("div", figures, class_="charts")]
    lead = "The same validation samples at several steps, as they were drawn while the run trained."
    return section(f"{prefix}-examples", "During training", lead, rows)


def _figure(found: Evidence, step: int, name: str) -> Html:
    with Image.open(found.run.figures / name) as image:
        factor = max(1, -(-_LEAST // image.width))
        grown = image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    uri = data_uri(np.asarray(grown), photo=True)
    return tag("figure", tag("img", src=uri, alt=f"step {step}"), tag("figcaption", f"step {step}"))
