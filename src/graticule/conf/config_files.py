"""Configuration files named on the command line: YAML, TOML, or Python."""

import runpy
import tomllib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from graticule.conf.choices import CHOICES, DEFAULTS
from graticule.conf.darts import flat, translated
from graticule.conf.overrides import Wishes, wishes
from graticule.conf.run_modules import RunConfigs, run_config_of, wishes_of
from graticule.errors import ConfigError, nearest

RUN_NAME = "__graticule_config__"
"""`__name__` while a Python config file is read, so that its `if __name__ == "__main__"` stays asleep."""


def read_config_file(path: Path) -> Wishes:
    """What the file asks for: choices of groups (`model: unet`) and values, nested or by dotted keys.

    A table `darts` holds options by the names of DARTS (see `darts`).

    A Python file defines `config` (a dict, or a list of key=value), `get_config()` that returns one, or the functions
    of `run_modules`. It is executed, because the user named it. A file without a suffix is Python, since a job script
    loses its name where Slurm keeps it.

    Raises:
        ConfigError: if the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        near = nearest(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else ""
        hint = near if near.startswith("did") else "check the path."
        raise ConfigError(f"there is no config file {path}; {hint}")
    readers = {".py": _python, "": _python, ".toml": _toml, ".yaml": _yaml, ".yml": _yaml}
    if path.suffix not in readers:
        raise ConfigError(f"{path} ends in '{path.suffix}'; a config file ends in .py, .toml or .yaml.")
    content = readers[path.suffix](path)
    if isinstance(content, Wishes):
        return content
    if isinstance(content, list) and all(isinstance(word, str) for word in content):
        return wishes(content)
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds {type(content).__name__}; it must hold keys with values.")
    theirs = content.get("darts")
    if not isinstance(theirs, Mapping):
        return _wishes_of(content, path)
    groups, values = translated(flat(theirs))
    ours = _wishes_of({key: value for key, value in content.items() if key != "darts"}, path)
    return ours.over(Wishes({**groups}, values))


def read_table(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML or TOML file, as they stand there.

    Raises:
        ConfigError: if the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; check the path.")
    if path.suffix not in (".toml", ".yaml", ".yml"):
        raise ConfigError(f"{path} ends in '{path.suffix}'; a search space is a .toml or .yaml file.")
    content = _toml(path) if path.suffix == ".toml" else _yaml(path)
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds {type(content).__name__}; it must hold keys with values.")
    return {str(key): value for key, value in content.items()}


def _wishes_of(content: Mapping[Any, Any], path: Path) -> Wishes:
    asked = Wishes()
    for key, value in content.items():
        if not isinstance(key, str):
            raise ConfigError(f"{path} has the key {key!r}; keys are text.")
        if key in DEFAULTS and (value is None or isinstance(value, str)):
            asked.groups[key] = value
        else:
            asked.values[key] = value
    for group in ("model", "source"):  # a resolved config names its parts
        section = asked.values.get(group)
        if isinstance(section, Mapping) and section.get("name") in CHOICES[group]:
            asked.groups.setdefault(group, section["name"])
    return asked


def _yaml(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path} is no valid YAML ({getattr(error, 'problem', error)}{where}); mend it.") from error
    except (OmegaConfBaseException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({str(error).splitlines()[0]}); mend it.") from error


def _toml(path: Path) -> Any:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML ({error}); mend it.") from error


def read_run_module(path: Path) -> RunConfigs:
    """The run that a Python module with one of the functions of `run_modules` asks for.

    Raises:
        ConfigError: if it has none, or cannot be executed.
    """
    asked = _executed(path, lambda names: run_config_of(names, path))
    if asked is None:
        raise ConfigError(f"{path} has no get_train_run_config, get_resume_run_config or get_eval_run_config.")
    return asked[0]


def _python(path: Path) -> Any:
    content = _executed(path, lambda names: _content(names, path))
    if content is None:
        raise ConfigError(f"{path} defines neither `config` nor `get_config()`; define one of them.")
    return content


def _content(names: dict[str, Any], path: Path) -> Any:
    if callable(names.get("get_config")):
        return names["get_config"]()
    asked = run_config_of(names, path)
    return names.get("config") if asked is None else wishes_of(*asked)


def _executed(path: Path, use: Callable[[dict[str, Any]], Any]) -> Any:
    """What `use` makes of the names that a Python file defines."""
    if not path.is_file():
        raise ConfigError(f"there is no config file {path}; check the path.")
    try:
        return use(runpy.run_path(str(path), run_name=RUN_NAME))
    except ConfigError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        where = f" in line {lines[-1]}" if lines else ""
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} raised {type(error).__name__}{where}: {reason}; mend it.") from error
