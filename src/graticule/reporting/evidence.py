"""What a run folder says, read file by file; a missing or damaged file is noted and stops nothing."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from graticule.runs import Run, find_run

T = TypeVar("T")
_DAMAGE = (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, YAMLError, OmegaConfBaseException)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder: its name (`test-store`), the numbers, and the example windows if they were kept."""

    name: str
    metrics: dict[str, Any]
    examples: dict[str, np.ndarray]

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """The results per target."""
        return dict(self.metrics.get("targets") or {})


@dataclass
class Evidence:
    """All that the page tells about one run. Empty where there is no file; `problems` names the damaged ones."""

    run: Run
    manifest: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    throughput: dict[str, pd.DataFrame] = field(default_factory=dict)
    assignment: pd.DataFrame | None = None
    blocks: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    evaluations: list[Evaluation] = field(default_factory=list)
    overview: dict[str, np.ndarray] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The run's name, or its folder's."""
        return str(self.manifest.get("name") or self.run.folder.name)

    @property
    def task(self) -> str | None:
        """The name of the task, where the configuration tells it."""
        told = self.config.get("task")
        return told.get("name") if isinstance(told, dict) else None

    @property
    def main_evaluation(self) -> Evaluation | None:
        """The evaluation the headline speaks of: of the test part on the store's own grid, if there is one."""
        order = {"test-store": 0}
        ranked = sorted(self.evaluations, key=lambda e: (order.get(e.name, 1), not e.name.startswith("test")))
        return ranked[0] if ranked else None


def read_evidence(folder: Path) -> Evidence:
    """Read a run folder.

    Raises:
        GraticuleError: if the folder is no run folder.
    """
    run = find_run(folder)
    found = Evidence(run, run.read_manifest())
    found.config_text = _read(found, run.config, Path.read_text, "")
    found.config = _read(found, run.config, _yaml, {})
    found.curves = _read(found, run.metrics, _series, {})
    found.throughput = _read(found, run.throughput, _series, {})
    found.assignment = _read(found, run.assignment, pd.read_parquet, None)
    found.blocks = _read(found, run.assignment, _blocks, {})
    found.audit = _read(found, run.audit, _json, {})
    found.overview = _read(found, run.predictions / "overview.npz", _arrays, {})
    found.baselines = _read(found, run.folder / "baselines.json", _json, {})
    for evaluation in run.evaluations():
        nothing: dict[str, Any] = {}
        metrics = _read(found, evaluation / "metrics.json", _json, nothing)
        examples = _read(found, evaluation / "examples.npz", _arrays, nothing)
        if metrics:
            found.evaluations.append(Evaluation(evaluation.name, metrics, examples))
    for tags in sorted(folder.glob("runtime_tags.*.log"))[-1:]:
        found.environment = _read(found, tags, _json, {})
    for packages in sorted(folder.glob("installed_pkgs.*.log"))[-1:]:
        found.packages = _read(found, packages, lambda path: path.read_text().split(), [])
    return found


def _read(found: Evidence, path: Path, reader: Callable[[Path], T], default: T) -> T:
    if not path.is_file():
        return default
    try:
        return reader(path)
    except _DAMAGE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        note = f"{path.relative_to(found.run.folder)} could not be read: {reason}"
        if note not in found.problems:
            found.problems.append(note)
        return default


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not named entries")
    return content


def _yaml(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _arrays(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _blocks(path: Path) -> dict[str, Any]:
    """The blocks of a block split, from the note in the assignment table's own metadata; empty for other splits."""
    note = json.loads((pq.read_schema(path).metadata or {}).get(b"graticule", b"{}"))
    return dict(note.get("blocks") or {})


def _series(path: Path) -> dict[str, pd.DataFrame]:
    """Logged values by name, each a table of `step`, `epoch` and `value` without gaps.

    A log may be wide (a column per name) or long (columns `name` and `value`).
    """
    table = pd.read_csv(path)
    places = [column for column in ("step", "epoch") if column in table]
    if {"name", "value"} <= set(table.columns):
        groups = {str(name): group for name, group in table.groupby("name", sort=False)}
    else:
        names = [column for column in table.columns if column not in places]
        groups = {str(name): table.assign(value=table[name]) for name in names}
    series = {}
    for name, group in groups.items():
        rows = group[[*places, "value"]].apply(pd.to_numeric, errors="coerce").dropna(subset=["value"])
        if len(rows):
            series[name] = rows.assign(step=rows["step"] if "step" in rows else np.arange(len(rows)))
    return series
