"""Metrics over all folds at once: the sums of the runs' evaluations add, and parents are what varies as a whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graticule.objectives.metrics import bootstrap, metrics
from graticule.runs import finite, read_json

_LABELS = ("parent", "region", "latitude")


def pooled(evaluations: Sequence[Path], *, draws: int, seed: int) -> dict[str, Any]:
    """The metrics of all evaluations together, with intervals over parents.

    A parent that several runs have evaluated (other seeds, overlapping folds) is one group with all of its sums.

    Args:
        evaluations: folders with `metrics.json` and `sums.npz`, of the same targets.
        draws: of the bootstrap; 0 gives no intervals.
        seed: of the bootstrap.

    Returns:
        {target: {kind, unit, metrics, intervals, parents (how many), pixels}}, numbers that are no number as null.
    """
    sums: dict[str, list[dict[str, np.ndarray]]] = {}
    about: dict[str, Mapping[str, Any]] = {}
    for folder in evaluations:
        told = read_json(folder / "metrics.json", what="an evaluation", remedy="evaluate the run again")
        with np.load(folder / "sums.npz", allow_pickle=False) as arrays:
            for target, entry in told["targets"].items():
                about.setdefault(target, entry)
                own = {key.partition("/")[2]: arrays[key] for key in arrays.files if key.partition("/")[0] == target}
                if own:
                    sums.setdefault(target, []).append(own)
    return {target: _of_target(about[target], found, draws, seed) for target, found in sums.items()}


def _of_target(
    about: Mapping[str, Any], found: Sequence[Mapping[str, np.ndarray]], draws: int, seed: int
) -> dict[str, Any]:
    parents = np.concatenate([own["parent"] for own in found])
    names, place = np.unique(parents, return_inverse=True)
    by_parent: dict[str, np.ndarray] = {}
    for key in found[0].keys() - set(_LABELS):
        values = np.concatenate([own[key] for own in found])
        by_parent[key] = np.zeros((len(names), *values.shape[1:]))
        np.add.at(by_parent[key], place, values)
    kind, classes = str(about["kind"]), [entry["name"] for entry in about.get("legend") or ()]
    intervals = bootstrap(kind, by_parent, draws, seed, classes) if draws else {}
    return {
        "kind": kind,
        "unit": about.get("unit"),
        "metrics": {name: finite(value) for name, value in metrics(kind, by_parent, classes).items()},
        "intervals": {name: [finite(low), finite(high)] for name, (low, high) in intervals.items()},
        "parents": len(names),
        "pixels": int(by_parent["pixels"].sum()),
    }
