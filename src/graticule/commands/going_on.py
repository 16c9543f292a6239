"""`run.resume=latest`: the same command, given again, goes on with the run that it began."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graticule.commands.resume import CHANGEABLE
from graticule.conf.compose import Request, compose_from, write_config
from graticule.conf.tree import Config
from graticule.errors import ConfigError
from graticule.runs import Run, layout_folder


def run_to_go_on_with(config: Config) -> Run | None:
    """The newest run of the configuration's name, told the sections of the configuration that may change; or None.

    Raises:
        ConfigError: if the configuration has no name, or would make that run another one.
    """
    if config.run.resume == "never":
        return None
    name, root = config.run.name, Path(config.run.output_root)
    if name is None:
        raise ConfigError("run.resume=latest goes on with a run of a name; give it one as run.name.")
    if config.run.layout == "ssl4rs":
        folders = [layout_folder(root, config.run.experiment, name)]
    else:
        folders = [path for path in (root / "_runs").glob(f"{name}-*") if path.name[len(name) + 1 :].isalnum()]
    begun = [path for path in folders if (path / "config.yaml").is_file()]
    if not begun:
        return None
    run = Run(max(begun, key=lambda path: path.stat().st_mtime))
    stored = compose_from(run.config, Request(), ()).to_dict()
    wanted = config.to_dict()
    for key, was, now in _differences(stored, wanted):
        if key.split(".")[0] not in (*CHANGEABLE, "run") or key == "run.seed":
            raise ConfigError(
                f"run.resume=latest found {run.folder}, whose {key} is {was} and not {now}; give another run.name, or "
                "leave the value as it was."
            )
    write_config(run.config, config)
    return run


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Keys whose values differ, with both values."""
    for key in sorted({*one, *other}):
        was, now = one.get(key), other.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from _differences(was, now, f"{prefix}{key}.")
        elif was != now:
            yield f"{prefix}{key}", was, now
