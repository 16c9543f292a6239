"""A sweep file of Weights & Biases, as a search space with a way to search it.

Source of the keys and of what the distributions mean: the reference "Sweep configuration keys" of W&B.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graticule.errors import ConfigError, nearest
from graticule.studies.distributions import Choice, Distribution, choice, numbers
from graticule.studies.space import Space

METHODS = {"random": "random", "grid": "grid", "bayes": "tpe"}
DISTRIBUTIONS = (
    "constant", "categorical", "int_uniform", "uniform", "q_uniform", "log_uniform", "log_uniform_values",
    "q_log_uniform", "q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values",
)  # fmt: skip
_TOP = {
    "method", "metric", "parameters", "name", "description", "run_cap", "early_terminate", "program", "command",
    "project", "entity", "job", "controller",
}  # fmt: skip
_KEYS = {"distribution", "min", "max", "q", "value", "values", "probabilities", "parameters", "mu", "sigma"}


@dataclass(frozen=True)
class Sweep:
    """What a sweep file asks for.

    `settings` are values for the configuration (`tune.sampler`, `tune.name`, `crossval.scoring_metric` ...); `ignored`
    are keys that have no meaning here, to be told.
    """

    space: Space
    settings: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def is_sweep(content: Mapping[str, Any]) -> bool:
    """Whether a file's content is a sweep of W&B's rather than one with `hyperparameters`."""
    return "parameters" in content and "hyperparameters" not in content


def read_sweep(content: Mapping[str, Any]) -> Sweep:
    """Read a sweep.

    Raises:
        ConfigError: for an unknown key, method or distribution, a range without ends, and the like.
    """
    for key in content:
        if key not in _TOP:
            raise ConfigError(f"the sweep file has the key '{key}', which is unknown; {nearest(str(key), _TOP)}")
    settings: dict[str, Any] = {}
    method = str(content.get("method", "random"))
    if method not in METHODS:
        raise ConfigError(f"the sweep's method is '{method}', which does not exist; {nearest(method, METHODS)}")
    settings["tune.sampler"] = METHODS[method]
    if content.get("name"):
        settings["tune.name"] = str(content["name"])
    if content.get("run_cap"):
        settings["tune.max_trials"] = content["run_cap"]
    settings |= _metric(content.get("metric")) | _early(content.get("early_terminate"))
    parameters = content["parameters"]
    if not isinstance(parameters, Mapping):
        raise ConfigError(f"the sweep's parameters are {parameters!r}; they must hold names with distributions.")
    ignored = tuple(key for key in ("program", "command", "project", "entity", "job", "controller") if key in content)
    return Sweep(Space(_dimensions(parameters, "")), settings, ignored)


def _metric(told: Any) -> dict[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, Mapping) or "name" not in told:
        raise ConfigError(f"the sweep's metric is {told!r}; give its name and goal.")
    goal = str(told.get("goal", "minimize"))
    if goal not in ("minimize", "maximize"):
        raise ConfigError(f"the sweep's metric has the goal '{goal}'; {nearest(goal, ['minimize', 'maximize'])}")
    return {"crossval.scoring_metric": f"{told['name']}:{'higher' if goal == 'maximize' else 'lower'}"}


def _early(told: Any) -> dict[str, Any]:
    if told is None:
        return {}
    if not isinstance(told, Mapping) or told.get("type") != "hyperband":
        raise ConfigError(f"the sweep's early_terminate is {told!r}; the type that exists is hyperband.")
    return {"tune.pruner": "hyperband"}


def _dimensions(parameters: Mapping[Any, Any], prefix: str) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for name, told in parameters.items():
        key = f"{prefix}{name}"
        if not isinstance(told, Mapping):
            raise ConfigError(
                f"parameter '{key}' of the sweep is {told!r}; give `value`, `values`, or `min` and `max`."
            )
        for inner in told:
            if inner not in _KEYS:
                raise ConfigError(f"parameter '{key}' of the sweep has the key '{inner}'; {nearest(str(inner), _KEYS)}")
        if "parameters" in told:
            found |= _dimensions(told["parameters"], f"{key}.")
        else:
            found[key] = _dimension(key, told)
    return found


def _dimension(name: str, told: Mapping[str, Any]) -> Distribution:
    kind = _kind(name, told)
    if kind == "constant":
        return Choice((_needed(name, kind, told, "value"),))
    if kind == "categorical":
        if "probabilities" in told:
            raise ConfigError(f"parameter '{name}' of the sweep has probabilities; all values are drawn alike here.")
        return choice(name, _needed(name, kind, told, "values"))
    low, high = (_needed(name, kind, told, end) for end in ("min", "max"))
    options: dict[str, Any] = {"integer": kind == "int_uniform"}
    if "log" in kind:
        options["log"] = True
        if not kind.endswith("_values"):
            low, high = _exponential(name, low), _exponential(name, high)
            if kind.startswith("inv_"):
                low, high = 1 / high, 1 / low
    if kind.startswith("q_"):
        quantum = told.get("q", 1)
        if kind == "q_uniform":
            options["step"] = quantum
        else:
            options["quantum"] = quantum
        options["integer"] = all(isinstance(number, int) for number in (low, high, quantum))
    return numbers(name, low, high, **options)


def _exponential(name: str, exponent: Any) -> float:
    if not isinstance(exponent, int | float) or abs(exponent) > 700:
        raise ConfigError(
            f"parameter '{name}' of the sweep has the exponent {exponent!r}; log_uniform takes natural logarithms "
            "as min and max, log_uniform_values takes the values themselves."
        )
    return math.exp(exponent)


def _kind(name: str, told: Mapping[str, Any]) -> str:
    if "distribution" in told:
        kind = str(told["distribution"])
        if kind not in DISTRIBUTIONS:
            raise ConfigError(
                f"parameter '{name}' of the sweep has the distribution '{kind}'; {nearest(kind, DISTRIBUTIONS)}"
            )
        return kind
    if "value" in told:
        return "constant"
    if "values" in told:
        return "categorical"
    whole = all(isinstance(told.get(end), int) and not isinstance(told.get(end), bool) for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _needed(name: str, kind: str, told: Mapping[str, Any], key: str) -> Any:
    if key not in told:
        raise ConfigError(f"parameter '{name}' of the sweep is '{kind}' and has no '{key}'; give it.")
    return told[key]
