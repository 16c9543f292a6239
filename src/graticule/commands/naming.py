"""Which run a word means: a folder, the id at the end of its name, or its id at MLflow."""

import os
import re
from pathlib import Path

from graticule.errors import ConfigError, GraticuleError
from graticule.runs import Run, find_run

_PLACES = ("_runs", "runs/*", "_cross_validations/*", "*/*")


def named_run(word: Path | str) -> Run:
    """The run of a folder, of the id at the end of its name (`ab12cd34`), or of an id at MLflow (32 hex digits).

    Ids are looked for under OUTPUT_ROOT. MLflow is asked where MLFLOW_TRACKING_URI says, else in the file that the
    tracker writes there.

    Raises:
        GraticuleError: if there is none.
    """
    path, name = Path(word), str(word)
    is_id = re.fullmatch(r"[0-9a-z]{8}|[0-9a-f]{32}|.+-[0-9a-z]{8}", name) and len(path.parts) == 1
    if path.exists() or not is_id:
        return find_run(path)
    root = Path(os.environ.get("OUTPUT_ROOT", "runs"))
    own = _asked_mlflow(name, root) if re.fullmatch(r"[0-9a-f]{32}", name) else name
    found = [
        folder
        for place in _PLACES
        for folder in root.glob(f"{place}/*{own}")
        if folder.name.rsplit("-", 1)[-1] == own or folder.name == own
    ]
    if not found:
        raise GraticuleError(
            f"there is no run {name}, neither a folder nor an id under {root}; give the folder that `graticule train` "
            "printed, or set OUTPUT_ROOT."
        )
    return find_run(found[0])


def _asked_mlflow(name: str, root: Path) -> str:
    """Our id of a run of MLflow."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise ConfigError(
            f"{name} is an id at MLflow, which is not installed; pip install graticule[mlflow]."
        ) from error
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / '_runs' / 'mlflow.db').resolve()}"
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise GraticuleError(f"MLflow keeps no runs at {uri}; set MLFLOW_TRACKING_URI, or give the run's folder.")
    try:
        tags = MlflowClient(tracking_uri=uri).get_run(name).data.tags
    except MlflowException as error:
        raise GraticuleError(f"MLflow at {uri} has no run {name} ({str(error).splitlines()[0]}).") from error
    if "graticule_id" not in tags:
        raise GraticuleError(f"run {name} of MLflow is none of Graticule's; give the run's folder.")
    return tags["graticule_id"]
