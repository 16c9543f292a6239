"""The search space: hyperparameters by key, read from the `hyperparameters:` of a file in all of its spellings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graticule.errors import ConfigError, nearest
from graticule.studies.distributions import Choice, Distribution, choice, describe, from_description, numbers

DISTRIBUTIONS = ("uniform", "loguniform", "reversed-loguniform", "intuniform", "choice", "value", "constant")
_SYNONYMS = {
    "log_uniform": "loguniform", "reversed_log_uniform": "reversed_loguniform", "int_uniform": "intuniform",
    "categorical": "choice", "constant": "value",
}  # fmt: skip
_KEYS = {"distribution", "low", "high", "choices", "value", "step", "n"}


@dataclass(frozen=True)
class Space:
    """Distributions by configuration key, in the order of the file."""

    dimensions: Mapping[str, Distribution]

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise ConfigError("the search space is empty; name at least one hyperparameter.")

    @property
    def grid_size(self) -> int:
        """How many combinations a grid search has.

        Raises:
            ConfigError: if a hyperparameter has a continuous range.
        """
        sizes = []
        for key, dimension in self.dimensions.items():
            if dimension.values is None:
                raise ConfigError(
                    f"a grid search cannot count the values of '{key}', which has a continuous range; "
                    "give a list of values, or set tune.sampler to random."
                )
            sizes.append(len(dimension.values))
        return math.prod(sizes)

    def grid_values(self, number: int) -> dict[str, Any]:
        """Combination number `number` of the grid; the last hyperparameter varies fastest."""
        values = {}
        for key, dimension in reversed(list(self.dimensions.items())):
            known = dimension.values or []
            number, place = divmod(number, len(known))
            values[key] = known[place]
        return {key: values[key] for key in self.dimensions}

    def renamed(self, find: Callable[[str], str]) -> "Space":
        """The same space under the full keys of the configuration.

        Raises:
            ConfigError: if two names mean the same key.
        """
        dimensions: dict[str, Distribution] = {}
        for name, dimension in self.dimensions.items():
            key = find(name)
            if key in dimensions:
                raise ConfigError(f"the search space has '{key}' twice, once as '{name}'; name it once.")
            dimensions[key] = dimension
        return Space(dimensions)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Plain data, from which `from_description` makes it again."""
        return {key: describe(dimension) for key, dimension in self.dimensions.items()}

    @classmethod
    def from_description(cls, told: Mapping[str, Mapping[str, Any]]) -> "Space":
        """The space of a description."""
        return cls({key: from_description(own) for key, own in told.items()})


def read_space(content: Any) -> Space:
    """The space of what stands under `hyperparameters`.

    Args:
        content: names with distributions, nested or by dotted keys; or a list of tables that have a `name` each. A
            distribution is a table with the key `distribution`; or, without it, a value, a list of choices, or a table
            with `low` and `high` (whole numbers draw whole numbers).

    Raises:
        ConfigError: for an unknown distribution or key, a range without ends, and the like.
    """
    if isinstance(content, Sequence) and not isinstance(content, str):
        tables = [dict(table) if isinstance(table, Mapping) else {} for table in content]
        if not all("name" in table for table in tables):
            raise ConfigError("`hyperparameters` is a list with an entry that has no `name`; give each entry a name.")
        content = {table.pop("name"): table for table in tables}
    if not isinstance(content, Mapping):
        raise ConfigError(f"`hyperparameters` is {content!r}; it must hold names with distributions.")
    return Space(_dimensions(content, ""))


def _dimensions(content: Mapping[Any, Any], prefix: str) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for name, told in content.items():
        key = f"{prefix}{name}".replace("-", "_")
        if isinstance(told, Mapping) and not _KEYS & told.keys():
            found |= _dimensions(told, f"{key}.")
        else:
            found[key] = _dimension(key, told)
    return found


def _dimension(name: str, told: Any) -> Distribution:
    if not isinstance(told, Mapping):
        return choice(name, told) if isinstance(told, list | tuple) else Choice((told,))
    for key in told:
        if key not in _KEYS:
            raise ConfigError(
                f"hyperparameter '{name}' has the key '{key}', which is unknown; {nearest(str(key), _KEYS)}"
            )
    kind = _kind(name, told)
    need = {"choice": ("choices",), "value": ("value",)}.get(kind, ("low", "high"))
    for key in need:
        if key not in told:
            raise ConfigError(f"hyperparameter '{name}' is '{kind}' and has no '{key}'; give {' and '.join(need)}.")
    if kind == "choice":
        return choice(name, told["choices"])
    if kind == "value":
        return Choice((told["value"],))
    options: dict[str, Any] = {"step": told.get("step")}
    if kind == "intuniform":
        options["integer"] = True
    elif kind != "uniform":
        options = {"log": True}
        if told.get("step") is not None:
            raise ConfigError(f"hyperparameter '{name}' is '{kind}' and has a step; on that scale it can have none.")
    if kind == "reversed_loguniform":
        options["mirror"] = told.get("n", 1)
    return numbers(name, told["low"], told["high"], **options)


def _kind(name: str, told: Mapping[str, Any]) -> str:
    """The distribution's name in one spelling; without one, what the keys imply."""
    if "distribution" in told:
        kind = str(told["distribution"]).lower().replace("-", "_").replace(" ", "_")
        kind = _SYNONYMS.get(kind, kind)
        if kind not in [known.replace("-", "_") for known in DISTRIBUTIONS]:
            hint = nearest(str(told["distribution"]), DISTRIBUTIONS)
            raise ConfigError(f"hyperparameter '{name}' has the distribution '{told['distribution']}'; {hint}")
        return kind
    if "choices" in told:
        return "choice"
    if "value" in told:
        return "value"
    whole = all(isinstance(told.get(end), int) and not isinstance(told.get(end), bool) for end in ("low", "high"))
    return "intuniform" if whole else "uniform"
