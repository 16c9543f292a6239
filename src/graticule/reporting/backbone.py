"""The report of a pretraining: the backbone, what its features were found to be, and pictures of them."""

import json
from typing import Any

import numpy as np
from PIL import Image

from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import data_uri
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.sections import measures, missing, section

_MEASURES = {
    "val/knn_balanced": "mean over classes; 20 nearest labelled training samples by cosine",
    "val/linear_balanced": "mean over classes; a linear layer on the features",
    "val/knn": "share of validation samples that the 20 nearest classify rightly",
    "val/linear": "share of validation samples that a linear layer classifies rightly",
    "val/spread": "1 where features point everywhere alike, 0 where all have collapsed to one",
    "val/rank": "effective number of directions (RankMe)",
    "val/alignment": "mean squared distance of two views of a sample; 0 is the same",
    "val/uniformity": "0 where all features are the same, about -4 where they are spread evenly",
    "val/teacher_entropy": "of the teacher's answers; 0 has collapsed to one, log(prototypes) to none",
    "val/loss": "on fixed views",
}
_PICTURES = {
    "embedding": "Held-out samples at the first two principal components of their features.",
    "neighbours": "Held-out samples (left), and those whose features are nearest by the cosine; another class in red.",
}


def backbone(found: Evidence, prefix: str) -> Html:
    """What was exported, the measures of the last validation, and the pictures."""
    path = found.run.folder / "backbone" / "backbone.json"
    if not path.is_file():
        note = missing("The backbone has not been exported.", f"graticule resume {found.run.folder}")
        return section(f"{prefix}-results", "Backbone", None, note)
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        lead = (
            f"{told['encoder']} of {told['width']} features on {len(told['bands'])} bands, by {told['method']}; "
            f"{told['epochs']} epochs, {told['steps']} steps. No label taught it; those named below only measure it."
        )
    except (ValueError, KeyError, TypeError):
        return section(f"{prefix}-results", "Backbone", None, tag("p", f"{path} is damaged.", class_="missing"))
    use = tag("p", "Use it: ", tag("code", f"model.encoder_weights={path.parent}"), class_="quiet")
    return section(
        f"{prefix}-results", "Backbone", lead, measures(told.get("validation") or {}, _MEASURES), use, _pictures(found)
    )


def _pictures(found: Evidence) -> Html:
    shown = []
    for name, caption in _PICTURES.items():
        path = found.run.figures / f"{name}.png"
        if path.is_file():
            with Image.open(path) as image:
                uri = data_uri(np.asarray(image.convert("RGB")), photo=name == "neighbours")
            shown.append(tag("figure", tag("img", src=uri, alt=caption), tag("figcaption", caption)))
    return join(*shown)
