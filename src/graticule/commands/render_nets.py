"""The nets of `graticule render`: which runs see and paint."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from graticule.commands.assemble import checkpoint_path
from graticule.commands.kinds import kind_of
from graticule.commands.naming import named_run
from graticule.conf.compose import Request, compose_from
from graticule.conf.tree import Config
from graticule.errors import ConfigError
from graticule.inference.masking import TaskMasker
from graticule.inference.rendering import Paint
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import Task
from graticule.training.load_rules import LoadPaths, Part, load_paths, parse_load


@runtime_checkable
class _Paints(Protocol):
    """What a task of the kind `painting` can do."""

    def fill(self, photo: Tensor, mask: Tensor, seed: int = 0) -> Tensor:
        """Water for photographs [b, 3, h, w] where masks [b, 1, h, w] are, not yet put there; all 0 to 1."""


def files_by_rule(words: Collection[str], event: str, *, masked: bool) -> LoadPaths:
    """The checkpoints that `--load` names, as far as the event needs them (see `training.load_rules`).

    Args:
        words: m=PATH, p=PATH, pm=PATH.
        event: to render.
        masked: whether files tell where the water stands, so that a painter alone will do.

    Raises:
        ConfigError: if the words do not go together, or too few or many are given for the event.
        CheckpointError: if a path leads to no checkpoint.
    """
    told = parse_load(words)
    given: set[Part] = {part for part in ("m", "p") if part in told or "pm" in told}
    if event == "all" or (event == "flood" and masked):
        return load_paths(told, given)
    needed: set[Part] = {"m", "p"} if event == "flood" else {"m"}
    return load_paths(told, needed)


def load_masker(word: Path | str, device: str, trusted: Collection[str] = (), side: int | None = None) -> TaskMasker:
    """The masker of a run, or of one of its checkpoints, on a device.

    Args:
        word: the run or checkpoint.
        device: of the net.
        trusted: packages that the net may come from.
        side: of the photographs as it sees them, the shorter one; 0 for their own, None for that of its training.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
        ConfigError: if the run paints, or predicts nothing that events need.
    """
    task, config = _load(word, trusted)
    kind = config.task.name
    if not isinstance(task, DensePrediction):
        raise ConfigError(
            f"{word} is of a run with task.name={kind}, which sees nothing in photographs; give a masker as --run"
            + (" and this as --painter." if isinstance(task, _Paints) else ".")
        )
    learnt, whole = (side, side) if side else None, False
    if side is None and config.source.name == "photos":
        told = config.source.options()
        learnt, whole = (int(told["size"][0]), int(told["size"][1])), told["fit"] == "whole"
    return TaskMasker(task.to(device), learnt, whole=whole)


def load_painter(word: Path | str, device: str, seed: int, trusted: Collection[str] = ()) -> Paint:
    """What paints in a run, or in one of its checkpoints, on a device; `seed` is of the noise that it may begin with.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
        ConfigError: if the run does not paint.
    """
    task, config = _load(word, trusted)
    if not isinstance(task, _Paints):
        raise ConfigError(
            f"{word} is of a run with task.name={config.task.name}, which paints no water; give a painter as --painter"
            + (" and this as --run." if isinstance(task, DensePrediction) else ".")
        )
    task.to(device)
    fill = task.fill

    def paint(photos: Tensor, masks: Tensor) -> Tensor:
        return fill(photos, masks[:, None], seed)

    return paint


def _load(word: Path | str, trusted: Collection[str]) -> tuple[Task, Config]:
    """The task of a run, of its best checkpoint unless one is named, and the run's configuration."""
    path = Path(word)
    of_file = path.is_file()
    of_export = (path.parent / "manifest.json").is_file()
    run = named_run((path.parent if of_export else path.parent.parent) if of_file else word)
    config = compose_from(run.config, Request([], trusted=list(trusted)), ())
    checkpoint = path if of_file else checkpoint_path(run, "best")
    return kind_of(config).load_task(checkpoint, config, trusted).eval(), config
