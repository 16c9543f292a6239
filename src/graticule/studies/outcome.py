"""What a finished run has to say: its metrics at the best checkpoint and at the end, from the files of its folder."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from graticule.errors import GraticuleError
from graticule.runs import Run

_STEP = re.compile(r"step=(\d+)")


@dataclass(frozen=True)
class Outcome:
    """Metrics by name at the best checkpoint and at the end, and that checkpoint with its step."""

    best: dict[str, float]
    end: dict[str, float]
    checkpoint: Path
    step: int


def read_outcome(run: Run) -> Outcome:
    """The outcome of a run.

    Raises:
        GraticuleError: if the run logged nothing or has no checkpoint.
    """
    if not run.metrics.is_file() or not run.last_checkpoint.is_file():
        raise GraticuleError(f"{run.folder} has no finished training; run it again.")
    table = pd.read_csv(run.metrics)
    logged = table[table["name"].str.startswith("val/")]
    if logged.empty:
        logged = table
    end = int(logged["step"].max())
    checkpoint, step = best_checkpoint(run, end)
    return Outcome(_at(logged, step), _at(logged, end), checkpoint, step)


def best_checkpoint(run: Run, end: int) -> tuple[Path, int]:
    """`best.ckpt` and its step, told by the ranked name of the same file; the last one where none is ranked."""
    best = run.checkpoints / "best.ckpt"
    if best.is_file():
        named = sorted(run.checkpoints.glob("epoch=*-step=*.ckpt"))
        same = [path for path in named if path.samefile(best)] or named[:1]
        for path in same:
            if found := _STEP.search(path.name):
                return best, int(found.group(1))
    return run.last_checkpoint, end


def _at(table: pd.DataFrame, step: int) -> dict[str, float]:
    here = table[table["step"] == step]
    return {str(name): float(value) for name, value in zip(here["name"], here["value"], strict=True)}
