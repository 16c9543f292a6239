"""The picture of a profile: what the tables tell, to be seen at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAIN, PALE, LIMIT, INK = "#2f6f73", "#9cc3b8", "#b5473c", "#33393d"
_SIZE, _DPI = (13.0, 4.2), 120


def draw_data_profile(profile: Mapping[str, Any], path: Path) -> None:
    """Draw rates by number of threads, the steps of a batch, and the times of batches, as a PNG."""
    figure, (rates, steps, times) = _panels(f"{profile['store']['path']}: batches of {profile['batch']['samples']}")
    rows = profile["workers"]
    names = [str(row["num_workers"]) for row in rows]
    rates.bar(names, [row["best_samples_per_second"] for row in rows], color=PALE, label="best round")
    bars = rates.bar(names, [row["samples_per_second"] for row in rows], color=MAIN, label="median round", width=0.6)
    rates.bar_label(bars, fmt="{:,.0f}", label_type="center", color="white", fontsize=9)
    rates.axhline(profile["limits"]["bare_reads"]["samples_per_second"], color=LIMIT, label="bare reads of the store")
    rates.set(title="samples per second", xlabel="data.num_workers")
    # Above the bars, which are of equal height more often than not.
    rates.set_ylim(0, 1.45 * max(rates.get_ylim()[1] / 1.05, 1e-9))
    rates.legend(frameon=False, fontsize=8, loc="upper left")
    _beams(steps, [row["step"] for row in profile["steps"]], [1e3 * row["seconds"] for row in profile["steps"]], "ms")
    steps.set(title="time of a batch by step, one thread", xlabel="milliseconds")
    for place, row in enumerate(rows):
        half, most = 1e3 * row["batch_p50"], 1e3 * row["batch_p95"]
        times.plot([half, most], [place, place], color=PALE, linewidth=6, solid_capstyle="round", zorder=1)
        times.plot(half, place, "o", color=MAIN, markersize=9, label=None if place else "half of the batches")
        times.plot(most, place, "|", color=LIMIT, markersize=16, markeredgewidth=2, label=None if place else "95 %")
    times.set(title="milliseconds until a batch is there", xlabel="milliseconds", ylabel="data.num_workers")
    times.set_yticks(range(len(rows)), names)
    times.set_ylim(len(rows) - 0.4, -0.6 - 0.12 * len(rows))
    times.set_xlim(left=0)
    times.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    figure.savefig(path, format="png")


def draw_model_profile(profile: Mapping[str, Any], path: Path) -> None:
    """Draw parameters and operations by module, the parts of a step, and memory, as a PNG."""
    batch = profile["batch"]
    figure, (modules, step, memory) = _panels(f"{profile['model']}: [{batch['samples']}, {_shape(batch['shape'])}]")
    rows = profile["modules"]
    weights, work = sum(row["parameters"] for row in rows) or 1, sum(row["flops"] for row in rows) or 1
    places = range(len(rows))
    modules.barh([p - 0.2 for p in places], [100 * row["parameters"] / weights for row in rows], 0.38, color=MAIN,
                 label=f"of {_short(weights)} parameters")  # fmt: skip
    modules.barh([p + 0.2 for p in places], [100 * row["flops"] / work for row in rows], 0.38, color=PALE,
                 label=f"of {_short(work)} operations forward")  # fmt: skip
    modules.set_yticks(places, [row["module"] for row in rows])
    modules.set_ylim(len(rows) - 0.4, -0.6 - 0.2 * len(rows))
    modules.legend(frameon=False, fontsize=8, loc="upper right")
    modules.set(title="share by module", xlabel="per cent")
    seconds = profile["step"]["seconds"]
    names, values = list(seconds), [1e3 * value for value in seconds.values()]
    if profile.get("loader"):
        names, values = ["data", *names], [1e3 * batch["samples"] / profile["loader"]["samples_per_second"], *values]
    _beams(step, names, values, "ms")
    step.set(title="time of a step by part", xlabel="milliseconds")
    kinds = ("weights", "gradients", "optimiser", "kept_for_backward", "step_peak")
    told = [kind.replace("_", " ") for kind in kinds]
    _beams(memory, told, [profile["memory"][kind] / 2**20 for kind in kinds], "MiB")
    memory.set(title="memory of a step", xlabel="MiB")
    figure.savefig(path, format="png")


def _panels(title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    figure.suptitle(title, color=INK, fontsize=11)
    axes = list(figure.subplots(1, 3))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK)
    return figure, axes


def _beams(axis: Axes, names: Sequence[str], values: Sequence[float], unit: str) -> None:
    bars = axis.barh(range(len(names)), values, color=MAIN)
    axis.bar_label(bars, labels=[f" {_amount(value)} {unit}" for value in values], color=INK, fontsize=9)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.25 * max([*values, 1e-9]))


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _shape(shape: Sequence[int]) -> str:
    return ", ".join(str(length) for length in shape)


def _short(value: float) -> str:
    """A large number in three figures: 1.23 M."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"
