"""What the figures of a profile mean and what to do, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

NEARLY = 0.95
"""The fewest threads with this share of the highest rate are enough."""

_REMEDIES = {
    "read": "read fewer bands or targets (data.bands, data.targets); if the store is compressed, prepare it with "
    "prepare.codec=none",
    "mask": "it finds areas and the pixels that count; it grows with the pixels of a window, so cut smaller windows",
    "augment": "it copies the crops and turns of each sample; data.augment.d4=false or another crop change it",
    "collate": "it grows with the number of targets (data.targets)",
    "light": "data.augment.brightness and contrast are done on the device",
    "rest": "on CUDA that is page-locking",
}

_IN_PYTHON = ("mask", "augment", "collate")


def enough_workers(rows: Sequence[Mapping[str, Any]]) -> int:
    """The smallest `num_workers` whose `samples_per_second` comes near the highest."""
    most = max(row["samples_per_second"] for row in rows)
    able = [row["num_workers"] for row in rows if row["samples_per_second"] >= NEARLY * most]
    return int(min(able))


def duration(seconds: float) -> str:
    """A time in the unit in which it reads best."""
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def advice_on_data(profile: Mapping[str, Any]) -> list[str]:
    """Sentences on a profile of the kind `data`: how many threads, what the bottleneck is, what limits it."""
    rows = {row["num_workers"]: row for row in profile["workers"]}
    best, own = rows[profile["recommended_workers"]], rows[profile["configured_workers"]]
    gain = best["samples_per_second"] / own["samples_per_second"]
    if best is own:
        told = [f"data.num_workers={own['num_workers']}, which is set, is right: it comes within 5 % of the fastest."]
    else:
        told = [
            f"Set data.num_workers={best['num_workers']}: {best['samples_per_second']:.0f} samples/s, {gain:.2f} times "
            f"those of {own['num_workers']}, which is set."
        ]
    if best["num_workers"] and profile["device"] == "cpu":
        told.append("Where the net runs on the processor too, these threads take cores from it.")
    slowest = max(profile["steps"], key=lambda row: row["seconds"])
    told.append(f"Most of a batch's time, {slowest['share']:.0%}, goes into '{slowest['step']}': {_remedy(slowest)}.")
    if 0 in rows and len(rows) > 1 and slowest["step"] in _IN_PYTHON:
        others = max(row["samples_per_second"] for number, row in rows.items() if number)
        if others < 1.2 * rows[0]["samples_per_second"]:
            told.append("Threads help little there: most of that step holds Python's lock, one thread at a time.")
    limits = profile["limits"]
    share = best["bytes_per_second"] / limits["memcpy_bytes_per_second"]
    told.append(f"Batches come at {share:.0%} of the speed at which this machine copies memory.")
    slower = own["samples_per_second"] / profile["first_pass"]["samples_per_second"]
    if slower > 1.5:
        told.append(
            f"The first pass was {slower:.1f} times slower than later ones: files were not in memory, areas not yet "
            "known. A store larger than memory stays at that speed."
        )
    return told


def _remedy(row: Mapping[str, Any]) -> str:
    return _REMEDIES[row["step"]]


def advice_on_model(profile: Mapping[str, Any]) -> list[str]:
    """Sentences on a profile of the kind `model`: what a step spends its time on, whether data keep up, what fits."""
    seconds, loader = profile["step"]["seconds"], profile.get("loader")
    total = sum(seconds.values())
    shares = ", ".join(f"{part} {value / total:.0%}" for part, value in seconds.items() if value / total > 0.005)
    told = [f"A step of {profile['batch']['samples']} samples takes {duration(total)}: {shares}."]
    if seconds["optimiser"] > 0.25 * total:
        told.append("The optimiser takes much of it: with a larger data.batch_size it is stepped less often.")
    if loader:
        told.append(_who_waits(profile["step"]["samples_per_second"], loader))
    largest = profile["memory"].get("largest_batch")
    if largest:
        how = {"tried": "was tried", "estimated": "is estimated from free memory"}[largest["how"]]
        told.append(f"About {largest['samples']} samples fit into one batch; that {how}.")
    return told


def _who_waits(net: float, loader: Mapping[str, Any]) -> str:
    data, workers = loader["samples_per_second"], loader["num_workers"]
    if workers == 0:
        share = (1 / data) / (1 / data + 1 / net)
        return (
            f"With data.num_workers=0 the net waits {share:.0%} of the time for data; `graticule profile data` tells "
            "whether threads help."
        )
    if data < net:
        return (
            f"Data are the bottleneck: {data:.0f} samples/s with data.num_workers={workers}, and the net could take "
            f"{net:.0f}; see `graticule profile data`."
        )
    return f"The net is the bottleneck: {net:.0f} samples/s, and data come at {data:.0f}."
