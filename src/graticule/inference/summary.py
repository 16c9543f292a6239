"""From the sums of an evaluation to its numbers: overall, per group, with intervals and baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graticule.inference.tally import BAND_DEGREES, BANDS, Arrays, Tally, constant_sums, pooled_by, stacked
from graticule.objectives.metrics import bootstrap, calibration, curves, metrics, metrics_by_group
from graticule.runs import finite
from graticule.schema import Target

Pairs = Sequence[tuple[str, str]]
"""(parent, region) by number."""


def summarise(
    tally: Tally, target: Target, pairs: Pairs, *, draws: int, seed: int, majority: int | None, threshold: float = 0.5
) -> tuple[dict[str, Any], Arrays]:
    """The entry of one target in `metrics.json`, and its sums with the names of their groups for `sums.npz`.

    Args:
        tally: the sums.
        target: of them.
        pairs: (parent, region) by number.
        draws: of the bootstrap over parents; 0 gives no intervals.
        seed: of the bootstrap.
        majority: the class of most train pixels, for a categorical target.
        threshold: of a binary target: positive is p >= threshold, rounded to an edge of the histogram.
    """
    codes, sums = stacked(tally.groups[target.name])
    entry: dict[str, Any] = {
        "kind": target.kind,
        "unit": target.unit,
        "per": target.per,
        "legend": [{"value": e.value, "name": e.name, "colour": e.colour} for e in target.legend],
    }
    if not len(codes):
        return entry | {"metrics": {}, "intervals": {}, "pixels": 0}, {}
    names = [e.name for e in target.legend]
    labels = group_labels(codes, pairs)
    parents, by_parent = pooled_by(labels["parent"], sums)
    entry["metrics"] = plain(metrics(target.kind, sums, names, threshold))
    entry["intervals"] = plain(bootstrap(target.kind, by_parent, draws, seed, names, threshold)) if draws else {}
    entry["pixels"] = int(sums["pixels"].sum())
    entry["by_region"] = _by(target.kind, *pooled_by(labels["region"], sums), names, threshold)
    bands, by_band = pooled_by(labels["latitude"], sums)
    table = _by(target.kind, bands, by_band, names, threshold)
    order = {f"{low}..{low + BAND_DEGREES}": low for low in range(-90, 90, BAND_DEGREES)}
    known = [] if set(table) == {"unknown"} else sorted(table, key=lambda band: -order.get(band, -999))
    entry["by_latitude"] = {band: table[band] for band in known}
    # Of many parents only what a table can show.
    overall = _by(target.kind, parents, by_parent, names, threshold)
    entry["by_parent"] = {p: {m: v for m, v in row.items() if "/" not in m} for p, row in overall.items()}
    if target.is_categorical:
        entry["confusion"] = confusion(target.kind, sums, threshold).tolist()
        entry["calibration"] = plain(calibration(target.kind, sums))
    if target.kind == "binary":
        entry["threshold"] = threshold
        entry["curves"] = plain({name: np.round(points, 6) for name, points in curves(sums).items()})
    entry["baseline"] = _baseline(tally, target, sums, names, majority)
    return entry, {**{key: np.asarray(value) for key, value in labels.items()}, **sums}


def group_labels(codes: np.ndarray, pairs: Pairs) -> dict[str, np.ndarray]:
    """Parent, region and latitude band (`60..75`; `unknown` without one) of each group."""
    numbers, bands = codes // (BANDS + 1), codes % (BANDS + 1)
    lows = [-90 + BAND_DEGREES * int(band) for band in bands]
    return {
        "parent": np.array([pairs[int(n)][0] for n in numbers]),
        "region": np.array([pairs[int(n)][1] for n in numbers]),
        "latitude": np.array([f"{low}..{low + BAND_DEGREES}" if low < 90 else "unknown" for low in lows]),
    }


def confusion(kind: str, sums: Mapping[str, np.ndarray], threshold: float = 0.5) -> np.ndarray:
    """Weight by (true class, predicted class), pooled over groups; of a binary target at the threshold."""
    if kind == "classes":
        return sums["confusion"].sum(0)
    scores = sums["scores"].sum(0)
    edge = round(threshold * scores.shape[-1])
    return np.stack([scores[:, :edge].sum(-1), scores[:, edge:].sum(-1)], axis=-1)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON has them: NaN, which it has not, as null."""
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    return finite(value)


def _by(
    kind: str, groups: Sequence[str], sums: Mapping[str, np.ndarray], names: Sequence[str], threshold: float
) -> dict[str, Any]:
    table = metrics_by_group(kind, sums, names, threshold)
    return {group: plain({m: values[row] for m, values in table.items()}) for row, group in enumerate(groups)}


def _baseline(
    tally: Tally, target: Target, sums: Arrays, names: Sequence[str], majority: int | None
) -> dict[str, dict[str, Any]]:
    """What one answer everywhere scores: the commonest class, or the mean value, of the train part."""
    if target.is_categorical and majority is not None:
        return {"majority": plain(metrics(target.kind, constant_sums(target.kind, sums, majority), names))}
    if target.name in tally.baselines:
        return {"mean": plain(metrics(target.kind, stacked(tally.baselines[target.name])[1]))}
    return {}
