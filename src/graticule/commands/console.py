"""What the console shows: a copy into the run folder, and the table of results."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from graticule.commands.ranks import is_first

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_SHOWN = {
    "classes": ("accuracy", "foreground_accuracy", "iou", "f1", "kappa", "calibration_error"),
    "answers": ("accuracy", "f1", "precision", "recall", "kappa", "calibration_error"),
    "binary": ("iou", "f1", "precision", "recall", "auroc", "average_precision"),
}
_FLOOD = ("error", "f05", "accuracy", "edge_coherence", "missed", "false", "may_flooded")
_VALUES = ("mae", "rmse", "absrel", "silog", "delta1")


class _Copy:
    """A stream that also writes to a file what it is given, without what only a terminal understands."""

    def __init__(self, stream: Any, file: TextIO) -> None:
        self._stream, self._file = stream, file

    def write(self, text: str) -> int:
        plain = _CONTROL.sub("", text)
        if plain.strip(" "):
            self._file.write(plain)
            self._file.flush()
        return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def copied_to(path: Path) -> Iterator[None]:
    """While it lasts, console output also goes to the end of the file at `path`: that of the first process only."""
    if not is_first():
        yield
        return
    out, err = sys.stdout, sys.stderr
    with path.open("a", encoding="utf-8") as file:
        sys.stdout, sys.stderr = _Copy(out, file), _Copy(err, file)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = out, err


def tell(text: str) -> None:
    """A line about what is going on; results alone go to standard output. Of several processes the first one talks."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def show_results(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """A table of the main metrics with their intervals, and the majority class (or the mean) beside them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("part", "grid", "target", "metric"):
        table.add_column(title, no_wrap=True)
    for title in ("value", "95 % interval", "baseline"):
        table.add_column(title, justify="right", no_wrap=True)
    for result in evaluations:
        for name, target in result["targets"].items():
            for row in _rows(target):
                table.add_row(result["part"], result["grid"], name, *row)
    Console(width=max(Console().width, 100)).print(table)


def show_guide(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Of photographs, the measures under their published names."""
    named = {name: value for result in evaluations for name, value in result.get("guide", {}).items()}
    for name, value in named.items():
        print(f"{name} = {'nan' if value is None else f'{value:.6f}'}")


def _rows(target: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    baseline: Mapping[str, Any] = next(iter(target.get("baseline", {}).values()), {})
    kind = "answers" if target.get("per") == "sample" and target["kind"] == "classes" else target["kind"]
    for metric in _SHOWN.get(kind, _VALUES):
        value = target["metrics"].get(metric)
        if value is not None:
            low, high = target.get("intervals", {}).get(metric) or (None, None)
            interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            yield metric, f"{value:.3f}", interval, "" if baseline.get(metric) is None else f"{baseline[metric]:.3f}"
    for metric in _FLOOD if "flood" in target else ():
        value = target["flood"]["pooled"][metric]
        if value is not None:
            yield f"flood {metric}", f"{value:.3f}", "", ""
    objects = target.get("objects", {})
    for name, own in objects.get("classes", {}).items():
        for metric in ("f1@0.5", "f1@0.3"):
            value, ends = own["metrics"][metric], own["intervals"].get(metric) or (None, None)
            interval = "" if None in ends else f"{ends[0]:.3f} to {ends[1]:.3f}"
            on = "" if objects["on"] == "scenes" else ", cut at windows"
            yield f"objects {metric} ({name}{on})", "none" if value is None else f"{value:.3f}", interval, ""
