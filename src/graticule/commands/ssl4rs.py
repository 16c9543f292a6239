"""The files of a run under the names that they have in ssl4rs, for `run.layout=ssl4rs`."""

from contextlib import suppress
from datetime import UTC, datetime

from graticule.conf.compose import as_yaml
from graticule.conf.tree import Config
from graticule.files import whole_file
from graticule.runs import Run
from graticule.tasks.task import Task


def add_names(run: Run, config: Config, task: Task) -> None:
    """Beside what every run has: `ckpts/`, `csv/metrics.csv`, `config.<time>.rank00.log`, `model_info.<time>.log`.

    The first two are links to the run's own, since these are written as it goes.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    (run.folder / "csv").mkdir(exist_ok=True)
    run.checkpoints.mkdir(exist_ok=True)
    links = {run.folder / "ckpts": run.checkpoints.name, run.folder / "csv" / "metrics.csv": f"../{run.metrics.name}"}
    for link, to in links.items():
        with suppress(OSError):  # where a file system has no links, the run's own names are there
            link.symlink_to(to)
    learning = sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)
    total = sum(parameter.numel() for parameter in task.parameters())
    texts = {
        f"config.{stamp}.rank00.log": as_yaml(config),
        f"model_info.{stamp}.log": f"{task}\n\n{total} parameters, {learning} of them learn\n",
    }
    for name, text in texts.items():
        with whole_file(run.folder / name) as temporary:
            temporary.write_text(text)
