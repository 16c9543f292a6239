"""One clear line for each way in which a configuration can be wrong, with the nearest right name."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from graticule.errors import ConfigError, nearest

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list, such as [a,b]",
    "tuple": "a list, such as [a,b]",
    "dict": "keys with values, such as {a: 1}",
    "model": "keys with values, such as {a: 1}",
    "missing": "given",
}


def keys_of(section: type[BaseModel], prefix: str = "") -> list[str]:
    """All dotted keys of the tree, sections before what is in them."""
    keys = []
    for name, entry in section.model_fields.items():
        keys.append(prefix + name)
        inner = entry.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += keys_of(inner, f"{prefix}{name}.")
    return keys


def unknown_key(key: str, known: Sequence[str]) -> ConfigError:
    """The error for a key that does not exist: names the nearest one, by spelling, by last part, by section."""
    section, _, leaf = key.rpartition(".")
    same_leaf = [other for other in known if other.rpartition(".")[2] == leaf]
    siblings = [other for other in known if other.rpartition(".")[0] == section]
    close = get_close_matches(key, siblings, n=1, cutoff=0.75) or same_leaf or get_close_matches(key, known, n=1)
    if close:
        return ConfigError(f"the configuration has no key '{key}'; did you mean '{close[0]}'?")
    return ConfigError(f"the configuration has no key '{key}'; {nearest(key, siblings or known)}")


def wrong_value(error: ValidationError, known: Sequence[str], prefix: Sequence[str] = ()) -> ConfigError:
    """The error for a value that does not fit, from pydantic's: the key, the value, what it must be."""
    errors = error.errors(include_url=False)
    first = errors[0]
    key = ".".join([*prefix, *_dotted(first["loc"], prefix, known)])
    if first["type"] == "extra_forbidden":
        return unknown_key(key, known)
    context = first.get("ctx", {})
    if first["type"] == "value_error":
        text = str(context["error"])
        return ConfigError(text if text.endswith((".", "?")) else f"{text}.")
    if first["type"] == "missing":
        return ConfigError(f"{key} is missing; give it as {key}=...")
    value = first["input"]
    if first["type"] == "literal_error":
        return ConfigError(f"{key} is '{value}', which does not exist; {nearest(str(value), _literals(context))}")
    # A key that takes several kinds of values has one error for each.
    same = [e for e in errors if ".".join([*prefix, *_dotted(e["loc"], prefix, known)]) == key]
    musts = dict.fromkeys(_must(entry["type"], entry["msg"], entry.get("ctx", {})) for entry in same)
    return ConfigError(f"{key} is {_told(value)}; it must be {' or '.join(musts)}.")


def _literals(context: Mapping[str, Any]) -> Iterable[str]:
    listed = context["expected"].replace(" or ", ", ")
    return [name.strip().strip("'") for name in listed.split(", ")]


def _must(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "literal_error":
        return context["expected"]
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for name, words in bounds.items():
        if name in context:
            return f"{words} {context[name]}"
    return _KINDS.get(kind.split("_")[0], message.removeprefix("Input should be ").removeprefix("a valid "))


def _dotted(location: Sequence[Any], prefix: Sequence[str], known: Sequence[str]) -> list[str]:
    """The parts of pydantic's location that are keys or positions, without its names for members of a union."""
    parts: list[str] = []
    for part in location:
        key = ".".join([*prefix, *parts, str(part)])
        if parts and not isinstance(part, int) and not any(o == key or o.startswith(key + ".") for o in known):
            inside = ".".join([*prefix, *parts])
            if any(o.startswith(inside + ".") for o in known) or ("[" not in str(part) and not _is_type(str(part))):
                parts.append(str(part))
            continue
        parts.append(str(part))
    return parts


def _is_type(part: str) -> bool:
    return part in ("int", "float", "str", "bool") or part.startswith(("constrained-", "literal[", "list["))


def _told(value: Any) -> str:
    text = "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
