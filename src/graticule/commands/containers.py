"""`--env singularity` and `--env docker`: the same command line in a container (recipes in `containers/`)."""

import argparse
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from graticule.errors import ConfigError

IMAGES = {"singularity": "containers/graticule.sif", "docker": "graticule:latest"}
"""The image of each kind, unless the variable GRATICULE_IMAGE names another."""

_FOLDERS = ("DATA_ROOT", "OUTPUT_ROOT")
_HANDED_ON = (
    *_FOLDERS, "GRATICULE_STORAGE", "MLFLOW_TRACKING_URI", "WANDB_API_KEY", "COMET_API_KEY", "RUN_ID",
    "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
)  # fmt: skip


def execute(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Run the words in the container that `--env` names, or print the command with `--dry-run`; its exit status.

    Raises:
        ConfigError: if the program that runs containers is not installed, or there is no image.
    """
    command = container_command(arguments.env, words, os.environ, folders=_folders(arguments))
    if arguments.dry_run:
        print(shlex.join(command))
        return 0
    image = Path(os.environ.get("GRATICULE_IMAGE", IMAGES["singularity"]))
    if arguments.env == "singularity" and not image.is_file():
        raise ConfigError(f"there is no image {image}; build it: apptainer build {image} containers/graticule.def")
    if shutil.which(command[0]) is None:
        raise ConfigError(f"--env {arguments.env} needs {command[0]}, which is not installed; use --env local.")
    return subprocess.call(command)


def container_command(
    kind: str, words: Sequence[str], environment: Mapping[str, str], *, folders: Iterable[Path] = (),
    gpu: bool | None = None, here: Path | None = None,
) -> list[str]:  # fmt: skip
    """The command that runs `graticule WORDS` in a container, with this folder as its working folder.

    Folders are found inside where they are outside: the working folder, DATA_ROOT, OUTPUT_ROOT, those given, and those
    of GRATICULE_BIND (a path list). Variables that matter are handed on, by name only, so that no key is shown.

    Args:
        kind: local, singularity or docker.
        words: of the command line; `--env` and `--dry-run` are taken out.
        environment: its variables.
        folders: further ones.
        gpu: whether to hand on the GPUs; None looks whether there are any.
        here: the working folder.
    """
    inner = ["graticule", *_without_wrapper(words)]
    if kind == "local":
        return inner
    here = (here or Path.cwd()).resolve()
    gpu = Path("/dev/nvidiactl").exists() if gpu is None else gpu
    image = environment.get("GRATICULE_IMAGE", IMAGES[kind])
    named = [Path(environment[name]) for name in _FOLDERS if environment.get(name)]
    more = [Path(part) for part in environment.get("GRATICULE_BIND", "").split(os.pathsep) if part]
    bound = list(dict.fromkeys(str(path.absolute()) for path in (here, *named, *more, *folders)))
    handed = [name for name in _HANDED_ON if name in environment]
    if kind == "singularity":
        program = shutil.which("apptainer") or shutil.which("singularity") or "apptainer"
        binds = [word for folder in bound for word in ("--bind", folder)]
        # Variables pass into these containers of themselves; --cleanenv would be needed to keep them out.
        return [Path(program).name, "exec", *(["--nv"] if gpu else []), "--pwd", str(here), *binds, image, *inner]
    binds = [word for folder in bound for word in ("--volume", f"{folder}:{folder}")]
    variables = [word for name in handed for word in ("--env", name)]
    user = f"{os.getuid()}:{os.getgid()}" if hasattr(os, "getuid") else "0:0"
    return [
        "docker", "run", "--rm", "--ipc", "host", "--user", user, *(["--gpus", "all"] if gpu else []), "--workdir",
        str(here), *binds, *variables, image, *inner,
    ]  # fmt: skip


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """Folders of the files that the command line names."""
    config, run = getattr(arguments, "config", None), getattr(arguments, "run", None)
    return [Path(path).resolve().parent for path in (config, run) if path is not None and Path(path).exists()]


def _without_wrapper(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--env":
            skip = True
        elif not word.startswith("--env=") and word != "--dry-run":
            kept.append(word)
    return kept
