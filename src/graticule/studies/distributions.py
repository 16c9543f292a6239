"""From what a distribution is called to what is drawn: bounds, scale, and the value that the configuration gets."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from graticule.errors import ConfigError

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Numbers:
    """Numbers from `low` to `high`, both included.

    With `log` all orders of magnitude are alike. With `mirror` n it is n - value that is drawn so (a momentum close
    to 1). With `step` only low, low + step, ... are drawn; with `quantum` what is drawn is rounded to multiples of it.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = None
    quantum: float | None = None
    mirror: float | None = None

    def drawn_as(self, key: str) -> str:
        """The name under which the search keeps it: of what is really drawn."""
        return f"{self.mirror:g} - {key}" if self.mirror is not None else key

    @property
    def distribution(self) -> BaseDistribution:
        """What the search draws from."""
        if self.integer and self.quantum is None:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        low, high = self.low, self.high
        if self.mirror is not None:
            low, high = self.mirror - self.high, self.mirror - self.low
        return FloatDistribution(low, high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> float | int:
        """What the configuration gets for what was drawn."""
        value = float(drawn) if self.mirror is None else self.mirror - float(drawn)
        if self.quantum is not None:
            value = round(value / self.quantum) * self.quantum
        if self.step is not None or self.quantum is not None or self.mirror is not None:
            value = float(f"{value:.12g}")  # without the noise of the arithmetic
        value = min(max(value, self.low), self.high)
        return round(value) if self.integer else value

    @property
    def values(self) -> list[Any] | None:
        """All values, where they can be counted."""
        if self.log or self.mirror is not None or not (self.integer or self.step):
            return None
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.value(self.low + k * step) for k in range(count)]

    @property
    def ends(self) -> list[Any]:
        """Values by which to see whether the configuration takes them."""
        return [self.value(self.low if self.mirror is None else self.mirror - self.low),
                self.value(self.high if self.mirror is None else self.mirror - self.high)]  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One of several values of any kind; a single one is a constant."""

    choices: tuple[Any, ...]

    def drawn_as(self, key: str) -> str:
        """The name under which the search keeps it."""
        return key

    @property
    def distribution(self) -> BaseDistribution:
        """What the search draws from."""
        return CategoricalDistribution([label(choice) for choice in self.choices])

    def value(self, drawn: Any) -> Any:
        """What the configuration gets for what was drawn."""
        return next(choice for choice in self.choices if _same(label(choice), drawn))

    @property
    def values(self) -> list[Any]:
        """All values."""
        return list(self.choices)

    @property
    def ends(self) -> list[Any]:
        """Values by which to see whether the configuration takes them."""
        return list(self.choices)


Distribution = Numbers | Choice


def label(choice: Any) -> Scalar:
    """A choice as the search keeps it: lists and tables as text."""
    return choice if choice is None or isinstance(choice, str | int | float | bool) else json.dumps(choice)


def _same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def describe(distribution: Distribution) -> dict[str, Any]:
    """A distribution as plain data; `from_description` is the inverse."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(distribution).items()}


def from_description(told: Mapping[str, Any]) -> Distribution:
    """The distribution of a description."""
    return Choice(tuple(told["choices"])) if "choices" in told else Numbers(**told)


def numbers(name: str, low: Any, high: Any, **options: Any) -> Numbers:
    """A checked range.

    Raises:
        ConfigError: if the ends are no numbers, in the wrong order, or not above 0 on a logarithmic scale.
    """
    for end, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(
                f"hyperparameter '{name}' has {end}={value!r}; it must be a number (1e-5 is 1.0e-5 in YAML)."
            )
    made = Numbers(low, high, **options)
    if high < low or (high == low and not made.integer):
        raise ConfigError(f"hyperparameter '{name}' goes from {low} to {high}; the low end must be below the high one.")
    if made.integer and (low != int(low) or high != int(high)):
        raise ConfigError(f"hyperparameter '{name}' goes from {low} to {high}; its ends must be whole numbers.")
    least = low if made.mirror is None else made.mirror - high
    if made.log and least <= 0:
        what = "low" if made.mirror is None else f"{made.mirror:g} - high"
        raise ConfigError(f"hyperparameter '{name}' has {what}={least:g}; on a logarithmic scale it must be above 0.")
    for option in ("step", "quantum"):
        width = getattr(made, option)
        if width is not None and (not isinstance(width, int | float) or width <= 0):
            raise ConfigError(f"hyperparameter '{name}' has a step of {width!r}; it must be a number above 0.")
    return made


def choice(name: str, choices: Any) -> Choice:
    """A checked choice.

    Raises:
        ConfigError: if it is no list, empty, or names a value twice.
    """
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
        raise ConfigError(
            f"hyperparameter '{name}' chooses from {choices!r}; it must be a list with at least one value."
        )
    labels = [label(one) for one in choices]
    for position, one in enumerate(labels):
        if any(_same(one, other) for other in labels[:position]):
            raise ConfigError(f"hyperparameter '{name}' names {choices[position]!r} twice; name each value once.")
    return Choice(tuple(choices))
