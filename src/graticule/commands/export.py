"""`graticule export`: a run's model as a folder to be given away."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graticule.commands.assemble import checkpoint_path, load_run_task
from graticule.commands.console import tell
from graticule.commands.naming import named_run
from graticule.conf.compose import Request, compose_from, write_config
from graticule.conf.tree import Config
from graticule.errors import ConfigError
from graticule.files import whole_folder
from graticule.runs import Run, write_json
from graticule.tasks.dense import DensePrediction
from graticule.training.exported import WEIGHTS, add_program, hash_of, predicting, write_exported
from graticule.training.programs import FILES, trace, write_program


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    run = named_run(arguments.run)
    request = Request(arguments.words, trusted=arguments.trust)
    config = compose_from(run.config, request, ("predict", "source"))
    checkpoint = checkpoint_path(run, arguments.checkpoint or "best")
    task = load_run_task(checkpoint, config, request.trusted)
    manifest = run.read_manifest()
    origin = {
        "run": f"{manifest.get('name')}-{manifest.get('id')}", "checkpoint": checkpoint.name,
        "checkpoint_sha256": hash_of(checkpoint), "store": config.data.store,
    }  # fmt: skip
    folder = arguments.to or run.folder / "export"
    export(folder, task, config, origin, arguments.format, arguments.size, overwrite=arguments.overwrite)
    print(folder)


def export(
    folder: Path, task: DensePrediction, config: Config, origin: dict[str, Any], formats: Sequence[str] = (),
    size: int | None = None, *, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write the exported model, whole or not at all, and tell how far each program is from the task.

    Args:
        folder: to make.
        task: with its weights.
        config: of the run.
        origin: where the weights are from, as plain data.
        formats: beside safetensors: "onnx", "torch".
        size: side of the windows that programs are traced with; see `space_of`.
        overwrite: replace a folder that exists.

    Raises:
        ConfigError: if a program cannot be made.
        OutputError: if the folder exists or cannot be written, or a program answers otherwise.
    """
    task = predicting(task)
    kinds = [kind for kind in FILES if kind in formats]
    space = space_of(task, config, size)
    with whole_folder(folder, overwrite=overwrite) as temporary:
        write_exported(temporary, task, origin)
        write_config(temporary / "config.yaml", config)
        _check_weights(temporary, task, config)
        traced = trace(task, space) if kinds else None
        for kind in kinds:
            told = write_program(kind, temporary, task, traced, space)  # type: ignore[arg-type]
            add_program(temporary, FILES[kind], told)
            free = ", ".join(told["free"]) or "nothing"
            tell(f"{FILES[kind]}: free to vary: {free}; answers differ by {told['largest_difference']:.1e} at most.")
        name = str(origin.get("run") or origin.get("checkpoint"))
        write_json(Run(temporary).manifest, {"name": folder.name, "id": "exported", "state": "exported", "of": name})


def _check_weights(folder: Path, task: DensePrediction, config: Config) -> None:
    """Read back what was written; a difference would be a fault of ours."""
    trusted = {str(config.model.name).split(":")[0].split(".")[0]}
    again = load_run_task(folder / WEIGHTS, config, trusted)
    for (name, before), after in zip(task.state_dict().items(), again.state_dict().values(), strict=True):
        if not before.equal(after):
            raise RuntimeError(f"the weights '{name}' were not written as they are")


def space_of(task: DensePrediction, config: Config, size: int | None) -> tuple[int, ...]:
    """The shape of the windows that a program is traced with.

    Args:
        task: what predicts.
        config: of the run.
        size: side of a window in pixels (on HEALPix in cells; of a whole base pixel its nside); if None, 128 on
            rasters, 64 on HEALPix, and the source's nside where the net sees whole base pixels.

    Raises:
        ConfigError: if it is not at least 8.
    """
    if size is not None and size < 8:
        raise ConfigError(f"--size is {size}; it must be at least 8 pixels.")
    if task.grid_kind != "healpix":
        return (size or 128, size or 128)
    grid = str(config.source.options().get("grid") or "")
    nside = int(grid.partition(":")[2]) if grid.startswith("healpix:") else 64
    side = size or (nside if task.base_pixels else 64)
    return (len(task.base_pixels or [0]) * side * side,)
