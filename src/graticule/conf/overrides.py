"""What the user writes as key=value, in Hydra's grammar: groups, values, and sweeps over both."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from graticule.conf.choices import DEFAULTS
from graticule.errors import ConfigError, without_password


@dataclass
class Wishes:
    """Choices of groups, values by dotted key, and keys to take away."""

    groups: dict[str, str | None] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def over(self, other: "Wishes") -> "Wishes":
        """Both, where these win over the others."""
        return Wishes(other.groups | self.groups, other.values | self.values, other.deleted + self.deleted)


def parse(words: Sequence[str]) -> list[Override]:
    """The overrides, parsed.

    Raises:
        ConfigError: if a word is no override.
    """
    parsed = []
    for word in words:
        if "=" not in word and not word.startswith("~"):
            word = without_password(word)
            raise ConfigError(f"'{word}' is no override; write key=value, for example trainer.max_epochs=3.")
        try:
            parsed.extend(OverridesParser.create().parse_overrides([word]))
        except HydraException as error:
            reason = without_password(str(error).splitlines()[0].rstrip(".: "))
            word = without_password(word)
            raise ConfigError(f"'{word}' cannot be understood ({reason}); quote special signs.") from error
    return parsed


def wishes(words: Sequence[str]) -> Wishes:
    """What the words ask for.

    Raises:
        ConfigError: if a word is no override, or asks for several values.
    """
    asked = Wishes()
    for override in parse(words):
        key = override.key_or_group
        if override.is_sweep_override():
            raise ConfigError(
                f"'{override.input_line}' gives several values; add -m to run each of them, or write a list as "
                f"'{key}=[...]'."
            )
        value = override.value()
        if override.is_delete():
            asked.deleted.append(key)
        elif key in DEFAULTS and (value is None or isinstance(value, str)):
            asked.groups[key] = value
        else:
            asked.values[key] = value
    return asked


def combinations(words: Sequence[str]) -> list[list[str]]:
    """Every combination of the values that the words give, in order; the last word varies fastest."""
    ways: list[list[str]] = []
    for override in parse(words):
        line = override.input_line
        if override.is_sweep_override():
            key = override.get_key_element()
            try:
                ways.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            except HydraException as error:
                raise ConfigError(f"'{line}' cannot be swept ({str(error).splitlines()[0]}).") from error
        else:
            ways.append([str(line)])
    return [list(way) for way in itertools.product(*ways)]
