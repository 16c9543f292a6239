"""How good a mask of water is where water cannot, must or may stand.

The measures of ClimateGAN (Schmidt et al. 2022, appendix), with what its code left undefined or wrong put right: the
accuracy leaves out where water may stand, an image without any such place has numbers, and distances of edges come from
a distance transform.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import distance_transform_edt, sobel

CANNOT, MUST, MAY = 0, 1, 2

BAD = {"missed": 0.05, "false": 0.05, "edge_coherence": 0.02}
"""An image is bad where one of these measures is this or more."""

MEASURES = (
    "error", "f05", "accuracy", "accuracy_must_may", "edge_coherence", "missed", "false", "may_flooded", "may_dry",
)  # fmt: skip
"""All that `flood_metrics` gives."""

Sums = Mapping[str, Any]


def flood_sums(
    wet: Bool[np.ndarray, "h w"], labels: UInt8[np.ndarray, "h w"]
) -> dict[str, float]:  # fmt: skip
    """The pixels of one image by label and prediction, and its edge coherence. They add up over images.

    Args:
        wet: where water is predicted.
        labels: 0 cannot, 1 must, 2 may, else not known: such pixels count nowhere.
    """
    sums: dict[str, float] = {}
    for name, label in (("cannot", CANNOT), ("must", MUST), ("may", MAY)):
        there = labels == label
        sums[name], sums[f"{name}_wet"] = float(there.sum()), float((there & wet).sum())
    known = labels <= MAY
    return sums | {"edge_coherence": edge_coherence(wet & known, labels == MUST), "images": 1.0}


def edge_coherence(wet: Bool[np.ndarray, "h w"], must: Bool[np.ndarray, "h w"]) -> float:
    """How unlike the edge of a mask is to that of where water must be: 0 where it runs along it at one distance.

    The standard deviation, over the pixels of the mask's edge, of the distance to the nearest pixel of the other edge,
    divided by the image's height. Edges are where a Sobel filter sees a slope. 1 where only one of the two has an edge,
    0 where neither has.
    """
    own, other = _edge(wet), _edge(must)
    if not own.any() or not other.any():
        return float(own.any() != other.any())
    return float(distance_transform_edt(~other)[own].std() / wet.shape[0])


def flood_metrics(sums: Sums) -> dict[str, Any]:
    """The measures of each image, or of several whose sums have been added.

    Args:
        sums: arrays of one shape, by the names that `flood_sums` gives.

    Returns:
        `error`, falsely dry and falsely wet pixels by all that are known; `f05`, F0.5 of must against cannot;
        `accuracy` over must and cannot; `accuracy_must_may`, wet where it must and dry where it may be, over both;
        `edge_coherence`; `missed` of must; `false` of cannot; `may_flooded` and `may_dry` of may (NaN where there is
        none). Where there is nothing to miss or to flood falsely, 0 of it is; without must, F0.5 is 1 if no water is
        predicted where it cannot be and else 0.
    """
    s = {name: np.asarray(values, np.float64) for name, values in sums.items()}
    hit, false = s["must_wet"], s["cannot_wet"]
    missed, dry = s["must"] - hit, s["cannot"] - false
    empty = (s["must"] == 0) & (false == 0)
    # F0.5 = 1.25 P R / (0.25 P + R), with P and R written out.
    f05 = np.where(empty, 1.0, _share(1.25 * hit, 1.25 * hit + 0.25 * missed + false, 0.0))
    dry_may = s["may"] - s["may_wet"]
    return {
        "error": _share(missed + false, s["must"] + s["cannot"] + s["may"], 0.0),
        "f05": f05,
        "accuracy": _share(hit + dry, s["must"] + s["cannot"], 1.0),
        "accuracy_must_may": _share(hit + dry_may, s["must"] + s["may"], 1.0),
        "edge_coherence": s["edge_coherence"] / s["images"],
        "missed": _share(missed, s["must"], 0.0),
        "false": _share(false, s["cannot"], 0.0),
        "may_flooded": _share(s["may_wet"], s["may"], np.nan),
        "may_dry": _share(dry_may, s["may"], np.nan),
    }


def are_bad(measures: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " images"]:
    """Which images miss or flood too much, or have an edge that runs elsewhere."""
    over = [np.asarray(measures[name]) >= limit for name, limit in BAD.items()]
    return np.logical_or.reduce(over)


def _edge(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    values = mask.astype(np.float32)
    return np.asarray((sobel(values, 0) != 0) | (sobel(values, 1) != 0))


def _share(part: Any, whole: Any, empty: float) -> Any:
    return np.divide(part, whole, out=np.full(np.shape(whole), empty), where=whole > 0)
