"""A model as one program, stored values in and probabilities out: ONNX, and torch.export; checked once written."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from graticule.errors import ConfigError, OutputError
from graticule.tasks.dense import DensePrediction

Kind = Literal["onnx", "torch"]
FILES: dict[Kind, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
OPSET = 18
TOLERANCE = 1e-5
"""Largest difference of an answer between the task and its program; of values, in units of their deviation."""
STEP = 64
"""Where a program takes windows of any size, their sides are multiples of this."""

Answer = dict[str, Tensor]


class Whole(nn.Module):
    """A task from stored values [b, c, *space] to its answers, in the order of `names`.

    What is NaN in any band, or the band's nodata, counts as not seen.
    """

    def __init__(self, task: DensePrediction) -> None:
        super().__init__()
        self.task = task
        self.nodata = [(number, band.nodata) for number, band in enumerate(task.bands) if band.nodata is not None]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All answers of the task."""
        seen = torch.isfinite(x).all(1)
        for number, value in self.nodata:
            seen = seen & (x[:, number] != value)
        return tuple(self.task.predict(torch.where(torch.isfinite(x), x, 0.0), seen).values())


@dataclass(frozen=True)
class Traced:
    """A program with what it takes: sizes that may vary, and the names of its answers."""

    program: ExportedProgram
    free: tuple[str, ...]
    names: tuple[str, ...]


def example(task: DensePrediction, space: tuple[int, ...], batch: int = 2, seed: int = 0) -> Tensor:
    """Stored values [batch, c, *space] such as the net has seen, with a hole of some pixels."""
    x = torch.randn(batch, len(task.bands), *space, generator=torch.Generator().manual_seed(seed))
    axes = (1, -1, *[1] * len(space))
    scale, shift = task.in_scale.view(axes), task.in_shift.view(axes)
    middle = 0.5 if task.normalisation == "range" else 0.0
    stored = (x * (0.25 if middle else 1.0) + middle - shift) / scale
    stored[0, ..., : max(1, space[-1] // 8)] = torch.nan
    return stored


def trace(task: DensePrediction, space: tuple[int, ...]) -> Traced:
    """The program of a task: with any batch and size where the net allows it, else any batch, else as the example.

    Args:
        task: as `exported.predicting` returns it.
        space: of the example: (height, width) or (cells,).

    Raises:
        ConfigError: if the net cannot be traced at all.
    """
    whole, x = Whole(task).eval(), example(task, space)
    with torch.no_grad():
        names = tuple(task.predict(torch.nan_to_num(x)))
    reason = ""
    for free, shapes in _attempts(space):
        try:
            with _silence():
                program = torch.export.export(whole, (x,), dynamic_shapes=None if not free else {"x": shapes})
        except Exception as error:  # what a tracer raises is anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        return Traced(program, free, names)
    raise ConfigError(
        f"the net cannot be traced into a program ({reason[:160]}); export it with --format safetensors alone."
    )


def _attempts(space: tuple[int, ...]) -> Iterator[tuple[tuple[str, ...], dict[int, Any]]]:
    """Which sizes may vary, the most first."""
    batch = Dim("batch", min=1, max=4096)
    if len(space) == 2 and all(side % STEP == 0 and side > STEP for side in space):
        sides = {axis: STEP * Dim(name, min=1, max=256) for axis, name in ((2, "rows"), (3, "columns"))}
        yield ("batch", "height", "width"), {0: batch, **sides}
    yield ("batch",), {0: batch}
    yield (), {}


def write_program(kind: Kind, folder: Path, task: DensePrediction, traced: Traced, space: tuple[int, ...]) -> dict:
    """Write a program and run what was written against the task.

    Returns:
        What `model.json` says of it: the sizes that may vary, the answers, the largest difference.

    Raises:
        ConfigError: if a package for it is missing, or the format lacks an operation of the net.
        OutputError: if its answers are not those of the task.
    """
    path = folder / FILES[kind]
    run = _write_onnx(path, traced) if kind == "onnx" else _write_torch(path, traced)
    difference = 0.0
    for number, x in enumerate(_trials(task, traced, space)):
        with torch.no_grad():
            wanted = dict(zip(traced.names, Whole(task)(x), strict=True))
        difference = max(difference, _difference(task, wanted, run(x)))
        if not difference <= TOLERANCE:
            raise OutputError(
                f"the {kind} program answers otherwise than the model (by {difference:.2g}, input {number + 1}); "
                "nothing was written: export it with --format safetensors alone."
            )
    told: dict[str, Any] = {"free": list(traced.free), "outputs": list(traced.names), "largest_difference": difference}
    told |= {"example": [2, len(task.bands), *space], "input": "x"}
    if "height" in traced.free:
        told["sides_are_multiples_of"] = STEP
    return told | ({"opset": OPSET} if kind == "onnx" else {})


def _trials(task: DensePrediction, traced: Traced, space: tuple[int, ...]) -> Iterator[Tensor]:
    yield example(task, space, seed=1)
    if "batch" in traced.free:
        yield example(task, space, batch=1, seed=2)
    if "height" in traced.free:
        yield example(task, (space[0] + STEP, space[1]), seed=3)


def _difference(task: DensePrediction, wanted: Answer, given: Answer) -> float:
    """The largest difference; that of values in units of their deviation."""
    units = {t.name: float(task.out_std[n]) for n, t in enumerate(task.targets) if not t.is_categorical}
    found = [float((wanted[name] - given[name]).abs().max()) / units.get(name, 1.0) for name in wanted]
    return float(np.max(found))


def _write_torch(path: Path, traced: Traced) -> Callable[[Tensor], Answer]:
    with _silence():
        torch.export.save(traced.program, path)
        module = torch.export.load(path).module()
    return lambda x: dict(zip(traced.names, module(x), strict=True))


def _write_onnx(path: Path, traced: Traced) -> Callable[[Tensor], Answer]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs packages that are missing ({error.name}); pip install 'graticule[onnx]'."
        ) from error
    try:
        with _silence():
            torch.onnx.export(
                traced.program, (), path, input_names=["x"], output_names=list(traced.names), opset_version=OPSET,
                dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # as with a tracer
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"the net cannot be written as ONNX ({reason[:160]}); use --format torch.") from error

    def run(x: Tensor) -> Answer:
        found = session.run(list(traced.names), {"x": x.numpy()})
        return {name: torch.from_numpy(np.asarray(values)) for name, values in zip(traced.names, found, strict=True)}

    return run


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' talk, which is about their own passes, from the console."""
    logs = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        said = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
