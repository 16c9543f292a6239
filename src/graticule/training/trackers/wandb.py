"""Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import wandb

from graticule.training.trackers.tracker import Card


class WandbTracker:
    """A run of the same id and name; offline it is written to the run folder, for `wandb sync`."""

    def start(self, card: Card, step: int) -> None:
        """Begin the run, or go on with it."""
        self.id = card.id
        self.run = wandb.init(
            project=card.project, entity=card.entity, name=card.name, id=card.id, dir=str(card.run.folder),
            group=card.group, job_type=card.job, config=dict(card.config), resume="allow",
            mode="offline" if card.offline else "online",
        )  # fmt: skip
        # Its own counter refuses to go back, which a resumed run does; ours is a metric like others.
        self.run.define_metric("*", step_metric="step")

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Note values, under our own step."""
        self.run.log({**values, "step": step, "epoch": epoch})

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Note a picture."""
        self.run.log({name: wandb.Image(image), "step": step})

    def flush(self) -> None:
        """Another process writes at once."""

    def checkpoint(self, path: Path) -> None:
        """Log the checkpoint as an artifact of type model."""
        artifact = wandb.Artifact(f"model-{self.id}", type="model")
        artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def finish(self, state: str) -> None:
        """End; a run that did not finish is marked as failed."""
        self.run.summary["state"] = state
        self.run.finish(exit_code=0 if state == "finished" else 1)
