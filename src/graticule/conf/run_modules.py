"""Runs as Python modules: functions that return typed parts of the configuration, as HEAL-SWIN's run configs have them.

A module has one of `get_train_run_config`, `get_resume_run_config` and `get_eval_run_config`, which says what to do;
`get_pl_config`, if it is there, returns the options of the trainer.
"""

import ast
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from graticule.conf.overrides import Wishes
from graticule.conf.sections import Section
from graticule.conf.tree import (
    CallbacksConfig,
    DataConfig,
    NetConfig,
    OptimConfig,
    RunConfig,
    SourceConfig,
    SplitConfig,
    TaskConfig,
    TrackerConfig,
    TrainerConfig,
)
from graticule.conf.verbs import EvaluateConfig
from graticule.errors import ConfigError

VERBS = {"get_train_run_config": "train", "get_resume_run_config": "resume", "get_eval_run_config": "evaluate"}
"""The function that a module has -> what it asks for."""


@dataclass(frozen=True)
class TrainRun:
    """A training. What a part does not set, and parts that are None, are as the chosen groups have it.

    Attributes:
        choices: of groups, such as {"experiment": "earth", "task": "semantics"}.
    """

    source: SourceConfig | None = None
    data: DataConfig | None = None
    split: SplitConfig | None = None
    model: NetConfig | None = None
    task: TaskConfig | None = None
    optim: OptimConfig | None = None
    tracker: TrackerConfig | None = None
    callbacks: CallbacksConfig | None = None
    evaluate: EvaluateConfig | None = None
    run: RunConfig | None = None
    choices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResumeRun:
    """A run to go on with.

    Attributes:
        run: its folder, the id at the end of its name, or its id at MLflow.
        epoch: `last` goes on with the run itself; `best` or the number of an epoch begins a new run there.
    """

    run: str
    epoch: str | int = "last"
    data: DataConfig | None = None
    tracker: TrackerConfig | None = None
    callbacks: CallbacksConfig | None = None
    evaluate: EvaluateConfig | None = None


@dataclass(frozen=True)
class EvaluateRun:
    """A run to evaluate.

    Attributes:
        run: its folder, the id at the end of its name, or its id at MLflow.
        epoch: `best`, `last`, or the number of an epoch.
    """

    run: str
    epoch: str | int = "best"
    evaluate: EvaluateConfig | None = None
    data: DataConfig | None = None
    source: SourceConfig | None = None
    tracker: TrackerConfig | None = None


RunConfigs = TrainRun | ResumeRun | EvaluateRun
_KINDS: dict[str, type] = dict(zip(VERBS, (TrainRun, ResumeRun, EvaluateRun), strict=True))


def run_config_of(names: dict[str, Any], path: Path) -> tuple[RunConfigs, TrainerConfig | None] | None:
    """What a module that has been executed asks for; None if it has none of the functions.

    Raises:
        ConfigError: if a function returns something else than its part.
    """
    for function, kind in _KINDS.items():
        if callable(names.get(function)):
            asked = names[function]()
            trainer = names["get_pl_config"]() if callable(names.get("get_pl_config")) else None
            for got, wanted, name in ((asked, kind, function), (trainer, TrainerConfig, "get_pl_config")):
                if got is not None and not isinstance(got, wanted):
                    raise ConfigError(
                        f"{path}: {name}() returns {type(got).__name__}; it must return {wanted.__name__}."
                    )
            return asked, trainer
    return None


def wishes_of(asked: RunConfigs, trainer: TrainerConfig | None) -> Wishes:
    """The groups and values that a run asks for: only what has been set."""
    parts = {entry.name: getattr(asked, entry.name) for entry in fields(asked)} | {"trainer": trainer}
    values = {
        name: part.model_dump(mode="json", exclude_unset=True)
        for name, part in parts.items()
        if isinstance(part, Section)
    }
    choices = dict(asked.choices) if isinstance(asked, TrainRun) else {}
    for group in ("model", "source"):
        if group in values and isinstance(asked, TrainRun) and ":" not in values[group]["name"]:
            choices.setdefault(group, values[group]["name"])
    return Wishes(dict(choices), values)


def verb_of(path: Path) -> str:
    """What a module asks for, without executing it; `train` if it has none of the functions.

    Raises:
        ConfigError: if it is not Python.
    """
    try:
        found = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no Python module ({error}); mend it.") from error
    return next((verb for function, verb in VERBS.items() if function in found), "train")
