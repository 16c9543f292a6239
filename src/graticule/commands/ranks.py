"""Several processes that train together use one run folder; a requeued Slurm job finds that of its first start."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from graticule.conf.compose import Request
from graticule.errors import OutputError
from graticule.files import whole_file
from graticule.runs import Run, find_run

FOLDER = "GRATICULE_RUN"
"""The variable in which the first process hands the run folder to those that it starts."""

_RANKS = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
_PATIENCE = 300.0


def is_first() -> bool:
    """Whether this is the process that writes: the only one, or number 0 of those that train together."""
    return next((os.environ[name] == "0" for name in _RANKS if name in os.environ), True)


def shared_run(request: Request, create: Callable[[], Run]) -> tuple[Run, bool]:
    """The run folder that all processes of this launch use, and whether it is one to go on with.

    The first process creates it. Those that it starts itself are told by the environment, those that Slurm or torchrun
    starts by a note in the working folder, named after the job. A requeued job finds the note of its first start.

    Raises:
        OutputError: if the folder cannot be made, or the first process does not tell in five minutes.
    """
    if not is_first() and FOLDER in os.environ:
        return Run(Path(os.environ[FOLDER])), False
    note = _note(request)
    if note is not None and note.exists() and _restarts() > 0:
        return find_run(Path(note.read_text())), True
    if is_first():
        run = create()
        os.environ[FOLDER] = str(run.folder.resolve())
        if note is not None:
            with whole_file(note) as temporary:
                temporary.write_text(str(run.folder.resolve()))
        return run, False
    return Run(_told(note)), False


def forget_run(request: Request) -> None:
    """Take the note away once the training is done: the next launch is another run."""
    note = _note(request)
    if note is not None and is_first():
        note.unlink(missing_ok=True)


def _restarts() -> int:
    return max(int(os.environ.get(name, "0")) for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


def _note(request: Request) -> Path | None:
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID")
    if job is None:
        return None
    words = hashlib.sha256(repr((list(request.words), str(request.config_file))).encode()).hexdigest()[:8]
    return Path(f".graticule-{job}-{words}")


def _told(note: Path | None) -> Path:
    until = time.monotonic() + _PATIENCE
    while note is not None and time.monotonic() < until:
        if note.exists():
            return Path(note.read_text())
        time.sleep(0.2)
    raise OutputError("the first process of this training told no run folder; start all of them in one shared folder.")
