"""The run folder: names, ids, paths, the manifest, and how each file of it is written and read."""

import importlib.metadata
import json
import math
import os
import platform
import random
import secrets
import shutil
import socket
import string
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from graticule.errors import GraticuleError, OutputError, without_password
from graticule.files import whole_file

_ADJECTIVES = (
    "amber arctic azure basalt boreal bright calm clear coastal coral crisp deep distant dusty early fertile frosty "
    "glacial golden granite green hidden high humid inland ivory late level lofty lunar marble misty mossy northern "
    "open pale polar quiet rapid rocky rugged sandy silent silver snowy solar southern steep stony tidal tropical "
    "verdant vivid warm western wild windy"
).split()
_NOUNS = (
    "archipelago atoll badland basin bay bluff canyon cape cliff coast cove crater delta desert dune estuary fjord "
    "forest geyser glacier gorge grove gulf harbour headland heath island isthmus lagoon lake marsh meadow mesa moor "
    "moraine oasis pampa peak peninsula plain plateau prairie reef ridge river savanna shore slope spring steppe "
    "strait summit taiga tundra valley volcano wadi wetland"
).split()


@dataclass(frozen=True)
class Run:
    """One training and its folder. Every path in it has one name, here."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.folder / "config.yaml"

    @property
    def manifest(self) -> Path:
        """Name, id, state, seed and times of the run."""
        return self.folder / "manifest.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints: `last.ckpt` and the best by the monitored metric."""
        return self.folder / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint, from which the run resumes."""
        return self.checkpoints / "last.ckpt"

    @property
    def metrics(self) -> Path:
        """Logged values that are a function of configuration and data alone: equal for a resumed run."""
        return self.folder / "metrics.csv"

    @property
    def throughput(self) -> Path:
        """Samples per second and the share of time spent waiting for data: never the same twice."""
        return self.folder / "throughput.csv"

    @property
    def assignment(self) -> Path:
        """Which samples train, validate, test."""
        return self.folder / "assignment.parquet"

    @property
    def audit(self) -> Path:
        """What any two parts of the split share."""
        return self.folder / "leak_audit.json"

    @property
    def predictions(self) -> Path:
        """Folder of maps."""
        return self.folder / "predictions"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.folder / "figures"

    @property
    def report(self) -> Path:
        """The self-contained HTML page."""
        return self.folder / "report.html"

    @property
    def console_log(self) -> Path:
        """All console output, over all launches."""
        return self.folder / "console.log"

    def evaluation(self, part: str, grid: str) -> Path:
        """Folder of one evaluation: the part and the grid it was made on (`store`, `healpix-256`)."""
        return self.folder / "evaluation" / f"{part}-{grid.replace(':', '-')}"

    def evaluations(self) -> list[Path]:
        """The folders of all finished evaluations, in order of name."""
        return sorted(path.parent for path in (self.folder / "evaluation").glob("*/metrics.json"))

    def read_manifest(self) -> dict[str, Any]:
        """The manifest as plain data.

        Raises:
            GraticuleError: if the folder is no run folder, or its manifest is damaged.
        """
        return read_json(self.manifest, what="a run folder", remedy="give the folder that `graticule train` printed")

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest, keeping the others."""
        old = self.read_manifest() if self.manifest.exists() else {}
        write_json(self.manifest, old | entries)


@dataclass(frozen=True)
class Crossval:
    """A cross-validation's folder: the folders of its runs lie in it."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """Name, planned runs and scoring."""
        return self.folder / "crossval.json"

    @property
    def config(self) -> Path:
        """The resolved configuration that all runs share but for fold and seed."""
        return self.folder / "config.yaml"

    @property
    def run_infos(self) -> Path:
        """A table with one row per run that has ended."""
        return self.folder / "run_infos.parquet"

    @property
    def summary(self) -> Path:
        """The score, the metrics over the runs, and those pooled over the folds."""
        return self.folder / "summary.json"

    @property
    def report(self) -> Path:
        """The self-contained HTML page."""
        return self.folder / "report.html"

    @property
    def console_log(self) -> Path:
        """All console output, over all launches."""
        return self.folder / "console.log"

    def run_of(self, name: str) -> Run | None:
        """The run of that name, begun or finished, the newest if there are several."""
        found = [path for path in self.folder.glob(f"{name}-*") if (path / "manifest.json").is_file()]
        own = [path for path in found if path.name.removeprefix(f"{name}-").isalnum()]
        return Run(max(own, key=lambda path: path.stat().st_mtime)) if own else None


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder: the folders of its cross-validations lie in it."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """Name, where the database is, search space, scoring."""
        return self.folder / "study.json"

    @property
    def database(self) -> Path:
        """The embedded database, where no other is named."""
        return self.folder / "study.db"

    @property
    def trials(self) -> Path:
        """A table with one row per trial."""
        return self.folder / "trials.parquet"

    @property
    def summary(self) -> Path:
        """The best trials, the importance of each hyperparameter, counts."""
        return self.folder / "summary.json"

    @property
    def best(self) -> Path:
        """The best configuration, to be run with `--config`."""
        return self.folder / "best.yaml"

    @property
    def report(self) -> Path:
        """The self-contained HTML page."""
        return self.folder / "report.html"

    @property
    def console_log(self) -> Path:
        """All console output of all runners."""
        return self.folder / "console.log"


def crossval_folder(root: Path, name: str, tune_name: str | None = None) -> Crossval:
    """Where a cross-validation lives."""
    return Crossval(run_folder(root, "run", "id", cv_name=name, tune_name=tune_name).parent)


def read_json(path: Path, *, what: str, remedy: str) -> Any:
    """The content of a JSON file; `what` its folder would be with it, and the `remedy`, go into the error."""
    if not path.is_file():
        raise GraticuleError(f"{path.parent} is not {what} (it has no {path.name}); {remedy}.")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise GraticuleError(f"{path} is damaged ({error}); {remedy}.") from error


def write_json(path: Path, content: Any) -> None:
    """Write plain data as indented JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def finite(value: float) -> float | None:
    """A number as JSON has it: null where it is not finite."""
    return float(value) if math.isfinite(value) else None


def random_name() -> str:
    """A human-readable name, such as `mossy-fjord-27`; drawn from the system, not from any seed."""
    chooser = random.SystemRandom()
    return f"{chooser.choice(_ADJECTIVES)}-{chooser.choice(_NOUNS)}-{chooser.randrange(10, 100)}"


def random_id() -> str:
    """An id of 8 characters a-z, 0-9, as trackers use it."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def run_folder(root: Path, name: str, run_id: str, *, cv_name: str | None = None, tune_name: str | None = None) -> Path:
    """Where a run lives: `_runs/`, `_cross_validations/<cv>/` or `<tune>/<cv>/`, then `<name>-<id>`."""
    if cv_name is None:
        return root / "_runs" / f"{name}-{run_id}"
    parent = root / tune_name if tune_name else root / "_cross_validations"
    return parent / cv_name / f"{name}-{run_id}"


def layout_folder(root: Path, experiment: str | None, name: str) -> Path:
    """Where a run lives in the layout of ssl4rs: `runs/<experiment>/<name>`."""
    return root / "runs" / (experiment or "default") / name


def create_run(root: Path, name: str | None = None, *, seed: int, **context: Any) -> Run:
    """Make a new run folder with its manifest, list of installed packages and runtime tags.

    Args:
        root: the output root.
        name: the run's name; runs of one name differ by random state only. A random name if None.
        seed: the run's seed, noted in the manifest.
        context: further entries of the manifest; `cv_name` and `tune_name` decide the place in the hierarchy; with
            `layout` "ssl4rs" it is `runs/<experiment>/<name>`, and a run without a name is named after the time.

    Raises:
        OutputError: if a run of that name is there already in the layout of ssl4rs.
    """
    if context.get("layout") == "ssl4rs":
        folder = _ssl4rs_folder(root, context.get("experiment"), name)
        name, run_id = folder.name, random_id()
    else:
        name, run_id = name or random_name(), random_id()
        folder = run_folder(root, name, run_id, cv_name=context.get("cv_name"), tune_name=context.get("tune_name"))
    run = Run(folder)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        run.update_manifest(name=name, id=run_id, seed=seed, state="created", created=created, **context)
        record_environment(run)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return run


def _ssl4rs_folder(root: Path, experiment: str | None, name: str | None) -> Path:
    if name is not None:
        folder = layout_folder(root, experiment, name)
        if folder.exists():
            raise OutputError(
                f"{folder} is there already; go on with it by run.resume=latest, or give another run.name."
            )
        return folder
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    names = (stamp, *(f"{stamp}_{number}" for number in range(2, 1000)))
    return next(folder for folder in (layout_folder(root, experiment, one) for one in names) if not folder.exists())


@cache
def _installed() -> list[str]:
    """Names and versions of the packages; hundreds of small files, which a study of many runs need not read again."""
    told = (distribution.metadata for distribution in importlib.metadata.distributions())
    return sorted({f"{one['Name']}=={one['Version']}" for one in told}, key=str.lower)


def record_environment(run: Run) -> None:
    """Write the installed packages and the runtime tags of this launch beside those of earlier ones."""
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    with whole_file(run.folder / f"installed_pkgs.{stamp}.log") as path:
        path.write_text("\n".join(_installed()) + "\n")
    tags = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "graticule": importlib.metadata.version("graticule"),
        "cpus": os.cpu_count(),
        "process": os.getpid(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "command": [without_password(word) for word in sys.argv],
    }
    write_json(run.folder / f"runtime_tags.{stamp}.log", tags)


def find_run(path: Path) -> Run:
    """The run in folder `path`, checked.

    Raises:
        GraticuleError: if `path` is no run folder.
    """
    run = Run(path)
    run.read_manifest()
    return run
