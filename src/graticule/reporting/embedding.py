"""A map of features: every sample a dot at its first two principal components, in the colour of its class."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from PIL import Image

from graticule.reporting.figures import UNKNOWN, hex_of
from graticule.schema import LegendClass

_SIZE, _DPI = (7.2, 5.2), 110


def principal(features: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "n 2"], tuple[float, float]]:
    """The first two principal components of features, and the share of the variance that each holds."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is free: the largest weight is made positive, so that a picture does not flip.
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    points = np.zeros((len(features), 2))
    count = min(2, len(values))
    points[:, :count] = (left * values * signs)[:, :count]
    shares = np.zeros(2)
    shares[:count] = (values**2 / max((values**2).sum(), 1e-12))[:count]
    return points, (float(shares[0]), float(shares[1]))


def draw_embedding(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"] | None, legend: Sequence[LegendClass], title: str
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the map; samples without a label (-1) are grey."""
    points, shares = principal(features)
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    known = np.full(len(points), -1) if labels is None else labels
    axes.scatter(points[known < 0, 0], points[known < 0, 1], s=9, color=hex_of(UNKNOWN), alpha=0.6, linewidths=0)
    for entry in legend:
        here = points[known == entry.value]
        if len(here):
            told = f"{entry.name} ({len(here)})"
            axes.scatter(here[:, 0], here[:, 1], s=12, color=entry.colour, label=told, linewidths=0)
    axes.set_xlabel(f"first component ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second component ({shares[1]:.0%})")
    axes.set_title(title)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))
