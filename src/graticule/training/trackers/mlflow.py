"""MLflow: a server named by MLFLOW_TRACKING_URI, else a SQLite file beside the run folders."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from PIL import Image

from graticule.files import whole_file
from graticule.training.trackers.tracker import Card, flat

_AT_ONCE = {"metrics": 1000, "params": 100}
"""How many of each one call may hold."""


class MlflowTracker:
    """Values wait here and are sent many at a time: one call per value costs thirty times as much."""

    def start(self, card: Card, step: int) -> None:
        """Begin the run, or go on with the one that has our id as a tag."""
        beside = card.run.folder.parent.resolve()
        # The runs of a cross-validation or study share one file.
        root = beside.parent if card.job else beside
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        local = card.offline or not uri
        # Where MLflow keeps plain files, a name cannot be a metric and a folder of others, as `val/iou` would.
        self.joint = "." if not local and str(uri).startswith(("file:", "/", ".")) else "/"
        self.client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}" if local else uri)
        found = self.client.get_experiment_by_name(card.project)
        if found is None:
            place = (root / "mlflow-artifacts").as_uri() if local else None
            experiment = self.client.create_experiment(card.project, artifact_location=place)
        else:
            experiment = found.experiment_id
        self.figures, self.waiting = card.run.figures, list[Metric]()
        above = self._run_of(experiment, f"study {card.group}", card.group)[0] if card.group else None
        if card.job:
            above = self._run_of(experiment, f"cross-validation {card.job}", card.job, above)[0]
        tags = {"group": card.group or "", "job": card.job or ""}
        self.id, is_new = self._run_of(experiment, card.id, card.name, above, tags)
        if is_new:
            self._params(card)
        else:
            self.client.update_run(self.id, status="RUNNING")

    def _run_of(
        self, experiment: str, key: str, name: str, above: str | None = None, tags: Mapping[str, str] | None = None
    ) -> tuple[str, bool]:
        """The run with that key among our tags, and whether it was made just now, under the run `above`."""
        found = self.client.search_runs([experiment], f"tags.graticule_id = '{key}'")
        if found:
            return found[0].info.run_id, False
        told = {"graticule_id": key, **(tags or {}), **({"mlflow.parentRunId": above} if above else {})}
        return self.client.create_run(experiment, run_name=name, tags=told).info.run_id, True

    def _params(self, card: Card) -> None:
        params = [Param(_key(key), str(value)[:6000]) for key, value in flat(card.config).items()]
        for first in range(0, len(params), _AT_ONCE["params"]):
            self.client.log_batch(self.id, params=params[first : first + _AT_ONCE["params"]])

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Let values wait; send when there are many."""
        now = int(time.time() * 1000)
        self.waiting += [
            Metric(_key(name).replace("/", self.joint), float(value), now, step) for name, value in values.items()
        ]
        if len(self.waiting) >= _AT_ONCE["metrics"]:
            self.flush()

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Send a picture as a file."""
        path = self.figures / f"{name.replace('/', '-')}-{step:06d}.png"
        with whole_file(path) as temporary:
            Image.fromarray(image).save(temporary)
        self.client.log_artifact(self.id, str(path), "pictures")

    def flush(self) -> None:
        """Send what waits."""
        for first in range(0, len(self.waiting), _AT_ONCE["metrics"]):
            self.client.log_batch(self.id, metrics=self.waiting[first : first + _AT_ONCE["metrics"]])
        self.waiting = []

    def checkpoint(self, path: Path) -> None:
        """Send the checkpoint as a file."""
        self.client.log_artifact(self.id, str(path), "checkpoints")

    def finish(self, state: str) -> None:
        """Send the rest and end."""
        self.flush()
        status = {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED")
        self.client.set_terminated(self.id, status=status)


def _key(name: str) -> str:
    """MLflow takes letters, digits and a few signs."""
    return re.sub(r"[^\w\-./ ]", "_", name)
