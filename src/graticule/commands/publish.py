"""The results of an evaluation, sent to the trackers of its run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graticule.conf.tree import Config
from graticule.runs import Run
from graticule.tasks.dense import DensePrediction
from graticule.training.fit import card
from graticule.training.trackers import make_trackers


def publish(run: Run, config: Config, task: DensePrediction, folders: Sequence[Path]) -> None:
    """Send the results in these folders to all trackers but the run folder itself, at the last step of the training.

    Published names (`val_hp_masked_iou`) as they are; the others as `<part>/<grid>/<target>/<metric>`.
    """
    names = [name for name in config.tracker.names if name != "csv"]
    values = {name: value for folder in folders for name, value in _values(folder).items()}
    if not names or not values:
        return
    tracking = {key: value for key, value in config.to_dict()["tracker"].items() if key != "names"}
    step, epoch = _last_step(run.metrics)
    told = card(run, task, tracking)
    for tracker in make_trackers(names)[1:]:  # the first is csv
        tracker.start(told, step)
        tracker.log(step, epoch, values)
        tracker.finish("finished")


def _values(folder: Path) -> dict[str, float]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    own = {
        f"{found['part']}/{found['grid'].replace(':', '-')}/{target}/{metric}": value
        for target, entry in found["targets"].items()
        for metric, value in entry["metrics"].items()
    }
    return {name: float(value) for name, value in (own | found.get("guide", {})).items() if value is not None}


def _last_step(path: Path) -> tuple[int, int]:
    """Step and epoch of the last line of the run's log."""
    lines = path.read_text().splitlines()[1:] if path.is_file() else []
    step, epoch = lines[-1].split(",")[:2] if lines else ("0", "0")
    return int(step), int(epoch)
