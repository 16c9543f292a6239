"""What a net costs: parameters, floating-point operations, and the time of a training step by its parts."""

import os
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from graticule.schema import SEEN, X
from graticule.tasks.dense import DensePrediction, follow
from graticule.tasks.optimizers import make_optimizer

Batch = Mapping[str, Any]

PARTS = ("transfer", "forward", "backward", "optimiser")
"""The parts of a training step, in their order."""

_OPERATORS = 30


class Steps:
    """Training steps of a task as `fit` makes them, without trainer, schedule, clipping and scaling of the loss.

    Args:
        task: it is moved to the device and converted to the precision; its weights change.
        device: as torch names it.
        precision: as `trainer.precision`.
        finish: what is done with a batch when it has reached the device.
    """

    def __init__(
        self, task: DensePrediction, device: str, precision: str = "32-true",
        finish: Callable[[Any], Batch] = lambda batch: batch,
    ) -> None:  # fmt: skip
        self.device, self.finish = torch.device(device), finish
        self.precision = _precision(precision, device)
        self.task: DensePrediction = self.precision.convert_module(task.to(self.device)).train()  # type: ignore[assignment]
        weights = [weight for weight in self.task.parameters() if weight.requires_grad]
        self.optimizer = make_optimizer(weights, self.task.optimizer_options)

    def moved(self, batch: Batch) -> Batch:
        """The batch on the device."""
        return self.finish(tree_map(lambda leaf: leaf.to(self.device) if isinstance(leaf, Tensor) else leaf, batch))

    def forward(self, batch: Batch) -> None:
        """The outputs of the task, as in validation."""
        with self.precision.forward_context():
            self.task(batch[X], batch[SEEN])

    def loss(self, batch: Batch) -> Tensor:
        """The loss, as in training."""
        with self.precision.forward_context():
            loss: Tensor = self.task.training_step(batch, 0)["loss"]
        return loss

    def step(self, batch: Batch) -> list[float]:
        """One step; returns the seconds of each of `PARTS`."""
        marks = [self._now()]
        there = self.moved(batch)
        marks.append(self._now())
        loss = self.loss(there)
        marks.append(self._now())
        loss.backward()
        marks.append(self._now())
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.task.shadow is not None and self.task.ema_decay is not None:
            follow(self.task.shadow, self.task.net, self.task.ema_decay)
        marks.append(self._now())
        return [after - before for before, after in pairwise(marks)]

    @torch.no_grad()
    def evaluation(self, batch: Batch) -> float:
        """Seconds of the outputs of a batch, as in validation."""
        self.task.eval()
        began = self._now()
        self.forward(self.moved(batch))
        seconds = self._now() - began
        self.task.train()
        return seconds

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _precision(name: str, device: str) -> Precision:
    if name.endswith("-mixed"):
        return MixedPrecision(name, device)  # type: ignore[arg-type]
    if name == "64-true":
        return DoublePrecision()
    return Precision() if name == "32-true" else HalfPrecision(name)  # type: ignore[arg-type]


def top_modules(net: nn.Module) -> dict[str, nn.Module]:
    """The parts of a net by name; where a module holds nothing but one other, those of that one."""
    prefix, module = "", net
    while len(children := dict(module.named_children())) == 1 and not list(module.parameters(recurse=False)):
        ((name, only),) = children.items()
        if not list(only.children()):
            break
        prefix, module = f"{prefix}{name}.", only
    return {prefix + name: child for name, child in module.named_children()} or {"net": net}


def parameters(net: nn.Module) -> list[dict[str, Any]]:
    """The number of parameters, and of those that are trained, of each top module; what is outside of them last."""
    rows, counted = [], set()
    for name, module in top_modules(net).items():
        # Weights that two modules share count where they come first.
        own = {id(weight): weight for weight in module.parameters() if id(weight) not in counted}
        counted |= set(own)
        rows.append(_row(name, list(own.values())))
    rest = [weight for weight in net.parameters() if id(weight) not in counted]
    return rows + ([_row("(outside)", rest)] if rest else [])


def _row(name: str, weights: list[nn.Parameter]) -> dict[str, Any]:
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return {"module": name, "parameters": sum(weight.numel() for weight in weights), "trained": trained}


def flops(steps: Steps, batch: Batch) -> dict[str, Any]:
    """Floating-point operations of a batch: matrix products, convolutions and attention; a product and sum are two.

    Returns:
        `forward`, `training` (forward and backward), and `modules`: forward by the net's top module.
    """
    there = steps.moved(batch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        steps.forward(there)
    forward, counts = counter.get_total_flops(), counter.get_flop_counts()
    with FlopCounterMode(display=False) as counter:
        steps.loss(there).backward()
    steps.optimizer.zero_grad()
    root = f"{type(steps.task).__name__}.net"
    modules = {name: _flops_below(f"{root}.{name}", counts) for name in top_modules(steps.task.net)}
    return {"forward": forward, "training": counter.get_total_flops(), "modules": modules}


def _flops_below(path: str, counts: Mapping[str, Mapping[Any, int]]) -> int:
    """Operations of the module at `path`, or, where it is a mere list, of the modules in it."""
    called = [key for key in counts if key == path or key.startswith(path + ".")]
    outermost = [key for key in called if not any(key.startswith(other + ".") for other in called)]
    return sum(sum(counts[key].values()) for key in outermost)


def trace(steps: Steps, batch: Batch, count: int = 3) -> torch.profiler.profile:
    """What torch's own profiler sees of a few steps."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell on standard error that there is no GPU
    activities = [torch.profiler.ProfilerActivity.CPU]
    if steps.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as found:
        for _ in range(count):
            steps.step(batch)
    return found


def write_trace(found: torch.profiler.profile, folder: Path) -> None:
    """Write `trace.json`, for chrome://tracing or Perfetto, and `trace.txt`, the operators that cost most."""
    found.export_chrome_trace(str(folder / "trace.json"))
    table = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=_OPERATORS)
    (folder / "trace.txt").write_text(table + "\n")
