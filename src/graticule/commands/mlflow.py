"""`graticule mlflow`: the server that shows what the tracker `mlflow` writes, for this machine only."""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from graticule.commands.console import tell
from graticule.errors import ConfigError, GraticuleError


def main(arguments: argparse.Namespace) -> None:
    """Run the verb.

    Raises:
        ConfigError: if MLflow is not installed.
        GraticuleError: if there is nothing to show, or the server ends with an error.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError("graticule mlflow needs MLflow; install it with: pip install 'graticule[mlflow]'.")
    root = arguments.root or Path(os.environ.get("OUTPUT_ROOT", "runs")) / "_runs"
    command = server_command(root, arguments.backend, arguments.host, arguments.port, arguments.workers)
    tell(f"http://{arguments.host}:{arguments.port} shows {root}; stop with Ctrl-C.")
    # MLflow takes plain files only when told so, since it has put that backend out to grass.
    environment = os.environ | ({"MLFLOW_ALLOW_FILE_STORE": "true"} if arguments.backend == "files" else {})
    status = subprocess.call(command, env=environment)
    if status:
        raise GraticuleError(f"the server ended with status {status}; its reason stands above.")


def server_command(root: Path, backend: str, host: str, port: int, workers: int) -> list[str]:
    """The command line of the server over a folder of runs.

    Raises:
        GraticuleError: if the tracker has not written there.
    """
    database = root / "mlflow.db"
    there = database.is_file() if backend == "sqlite" else root.is_dir()
    if not there:
        wanted = database if backend == "sqlite" else root
        raise GraticuleError(f"there is no {wanted}; train with tracker=mlflow first, or give its folder as --root.")
    store = f"sqlite:///{database.resolve()}" if backend == "sqlite" else root.resolve().as_uri()
    return [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--default-artifact-root",
        (root / "mlflow-artifacts").resolve().as_uri(), "--host", host, "--port", str(port), "--workers", str(workers),
    ]  # fmt: skip
