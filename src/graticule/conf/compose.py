"""From the user's words to one checked tree: groups by Hydra, then a file's values, then the command line's."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from graticule.conf.choices import choices_of, register
from graticule.conf.config_files import read_config_file
from graticule.conf.messages import keys_of, unknown_key, wrong_value
from graticule.conf.overrides import Wishes, wishes
from graticule.conf.parts import Kind, fill_options, option_names
from graticule.conf.sections import OpenSection
from graticule.conf.tree import Config
from graticule.errors import ConfigError, nearest
from graticule.files import whole_file


@dataclass(frozen=True)
class Request:
    """What the user asks for: words key=value, a config file, and packages beside this one that may be imported."""

    words: Sequence[str] = ()
    config_file: Path | None = None
    trusted: Collection[str] = field(default_factory=tuple)


def compose(request: Request, kinds: Collection[Kind] = ("source", "model")) -> Config:
    """The tree that the request asks for, complete and checked.

    Args:
        request: what the user asks for.
        kinds: the parts whose options are filled and checked; each is imported for that.

    Raises:
        ConfigError: for an unknown key, choice or file, and for a value that does not fit.
    """
    told = wishes(request.words)
    asked = told.over(read_config_file(request.config_file)) if request.config_file else told
    tree = _groups(asked.groups)
    _apply(tree, asked)
    return checked(tree, trusted_by(request), kinds)


def trusted_by(request: Request) -> set[str]:
    """The packages that the user named: with --trust, as `model.name=package...`, or in a Python config file."""
    naming = wishes(request.words).values
    if request.config_file and request.config_file.suffix in (".py", ""):
        naming = read_config_file(request.config_file).values | naming
    names = [naming.get(f"{kind}.name") or _inner(naming.get(kind)) for kind in ("model", "source")]
    return {*request.trusted, *(str(name).split(":")[0].split(".")[0] for name in names if name)}


def _inner(section: Any) -> Any:
    return section.get("name") if isinstance(section, Mapping) else None


def compose_from(
    path: Path, request: Request, sections: Collection[str], kinds: Collection[Kind] = ("source", "model")
) -> Config:
    """The tree that a run's resolved `config.yaml` holds, with the request's words applied.

    Args:
        path: of the file.
        request: words for the `sections` only; the rest belongs to the run.
        sections: what may be changed.
        kinds: the parts whose options are filled and checked; each is imported for that.

    Raises:
        ConfigError: as `compose`, and for a word that would make it another run.
    """
    tree = _read(path)
    asked = wishes(request.words)
    if request.config_file:
        asked = asked.over(read_config_file(request.config_file))
    for key in (*asked.groups, *asked.values, *asked.deleted):
        if key.split(".")[0] not in sections or key in asked.groups:
            raise ConfigError(f"'{key}' belongs to the run and cannot change; what can: {', '.join(sorted(sections))}.")
    _apply(tree, asked)
    return checked(tree, request.trusted, kinds)


def checked(
    tree: Mapping[str, Any], trusted: Collection[str] = (), kinds: Collection[Kind] = ("source", "model")
) -> Config:
    """The tree as a `Config`; the options of source and net are filled and checked against their signatures.

    Raises:
        ConfigError: for the first key or value that does not fit.
    """
    known = keys_of(Config)
    try:
        config = Config.model_validate(dict(tree))
    except ValidationError as error:
        raise wrong_value(error, known) from error
    filled: dict[str, OpenSection] = {}
    for kind in kinds:
        section: OpenSection = getattr(config, kind)
        filled[kind] = type(section).model_validate(_filled(kind, section, trusted, known))
    return config.model_copy(update=filled)


def write_config(path: Path, config: Config) -> None:
    """Write the resolved tree as YAML, which `--config` reads again."""
    with whole_file(path) as temporary:
        temporary.write_text(as_yaml(config))


def as_yaml(config: Config) -> str:
    """The resolved tree as YAML text."""
    return OmegaConf.to_yaml(OmegaConf.create(config.to_dict()))


def _filled(kind: Kind, section: OpenSection, trusted: Collection[str], known: Sequence[str]) -> dict[str, Any]:
    """The section with all options of the part that it names."""
    name = section.model_dump()["name"]
    try:
        return {"name": name, **fill_options(kind, name, section.options(), trusted)}
    except ValidationError as error:
        inner = [f"{kind}.{option}" for option in option_names(kind, name, trusted)]
        raise wrong_value(error, [*known, *inner], [kind]) from error


def _groups(groups: Mapping[str, str | None]) -> dict[str, Any]:
    """The tree of the chosen groups, before any value of the user's.

    An experiment's options of a net or source are for its own: they fall away where the user chooses another one.
    """
    for group, choice in groups.items():
        if choice is None:
            if group not in ("experiment", "debug"):
                raise ConfigError(f"{group} is null; choose one of: {', '.join(choices_of(group))}.")
        elif choice not in choices_of(group):
            raise ConfigError(f"no {group} is named '{choice}'; {nearest(choice, choices_of(group))}")
    tree = _composed(groups)
    for kind in ("model", "source"):
        if groups.get("experiment") and kind in groups:
            chosen = _composed({kind: groups[kind]})[kind]
            if chosen["name"] != _composed({"experiment": groups["experiment"]})[kind]["name"]:
                tree[kind] = chosen
    return tree


def _composed(groups: Mapping[str, str | None]) -> dict[str, Any]:
    register()
    words = [f"{group}={'null' if choice is None else choice}" for group, choice in groups.items()]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("graticule.conf", version_base="1.3", job_name="graticule"):
            composed = hydra_compose("graticule", overrides=words)
        tree = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"the configuration cannot be composed: {' '.join(str(error).split())}") from error
    finally:
        GlobalHydra.instance().clear()
    if not isinstance(tree, dict):
        raise TypeError("Hydra composed no mapping")
    return {str(key): value for key, value in tree.items() if key not in ("experiment", "debug")}


def _apply(tree: dict[str, Any], asked: Wishes) -> None:
    """Set the values in the tree. Sections are merged key by key, anything else is replaced."""
    sections = _sections(Config)
    for key, value in asked.values.items():
        _set(tree, key, value, sections)
    for key in asked.deleted:
        *outer, leaf = key.split(".")
        place: Any = tree
        for name in outer:
            place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict) or leaf not in place:
            raise unknown_key(key, keys_of(Config))
        del place[leaf]


def _set(tree: dict[str, Any], key: str, value: Any, sections: Collection[str]) -> None:
    *outer, leaf = key.split(".")
    place = tree
    for depth, name in enumerate(outer):
        within = place.setdefault(name, {})
        if within is None and ".".join(outer[: depth + 1]) in sections:
            within = place[name] = {}
        if not isinstance(within, dict):
            raise unknown_key(key, keys_of(Config))
        place = within
    if key in sections and isinstance(value, Mapping):
        if key in _open_sections(Config) and "name" in value and value["name"] != (place.get(leaf) or {}).get("name"):
            place[leaf] = {}  # the options of another part are none of this one's
        for inner, further in value.items():
            _set(tree, f"{key}.{inner}", further, sections)
    else:
        place[leaf] = value


def _open_sections(section: type[BaseModel], prefix: str = "") -> set[str]:
    """The sections that name a part and hold its options."""
    found = set()
    for name, entry in section.model_fields.items():
        inner = entry.annotation
        if isinstance(inner, type) and issubclass(inner, OpenSection):
            found.add(prefix + name)
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= _open_sections(inner, f"{prefix}{name}.")
    return found


def _sections(section: type[BaseModel], prefix: str = "") -> set[str]:
    keys = set(keys_of(section, prefix))
    return {key for key in keys if any(other.startswith(key + ".") for other in keys)}


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError as error:
        raise ConfigError(f"{path.parent} has no {path.name}; give a folder that `graticule train` printed.") from error
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path} cannot be read ({reason}); restore it or train again.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no configuration; restore it or train again.")
    return {str(key): value for key, value in tree.items()}
