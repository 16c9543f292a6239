"""The picture of a probe: accuracy by share of labels, the net beside its random start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from graticule.reporting.profile_charts import INK, LIMIT, MAIN

_TITLES = {"knn5": "5 nearest neighbours", "knn20": "20 nearest neighbours", "linear": "linear layer"}


def draw_probes(probe: Mapping[str, Any], path: Path) -> None:
    """Draw the accuracy of each probe by share of labels, with its intervals, as a PNG.

    Args:
        probe: the content of `probe.json`.
        path: of the picture.
    """
    results = probe["results"]
    kinds = [kind for kind in _TITLES if any(kind in found for found in results.values())]
    figure = Figure(figsize=(4.3 * len(kinds), 4.2), dpi=120, layout="constrained")
    figure.suptitle(f"{probe['net']['name']} on {Path(probe['store']).name}: {probe['target']}", color=INK, fontsize=11)
    colours = dict(zip(results, (MAIN, LIMIT), strict=False))
    first = None
    for place, kind in enumerate(kinds, 1):
        axes = figure.add_subplot(1, len(kinds), place, sharey=first)
        first = first or axes
        shares: set[float] = set()
        for name, found in results.items():
            rows = found.get(kind, [])
            x, y = [100 * row["share"] for row in rows], [row["accuracy"] for row in rows]
            low, high = zip(*(row["interval"] for row in rows), strict=True) if rows else ((), ())
            axes.plot(x, y, "o-", color=colours[name], label=name, markersize=5)
            axes.fill_between(x, low, high, color=colours[name], alpha=0.18, linewidth=0)
            shares |= set(x)
        axes.set_xscale("log")
        axes.set_xticks(sorted(shares), [f"{share:g} %" for share in sorted(shares)])
        axes.minorticks_off()
        axes.set(title=_TITLES[kind], xlabel="share of the training labels")
        axes.spines[["top", "right"]].set_visible(False)
    if first is not None:
        first.set_ylabel("accuracy on the test part")
        first.legend(frameon=False, fontsize=8)
    figure.savefig(path, format="png")
