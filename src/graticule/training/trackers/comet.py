"""Comet."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import comet_ml
import numpy as np

from graticule.training.trackers.tracker import Card, flat


class CometTracker:
    """An experiment whose key follows from our id; offline it is an archive in the run folder, for `comet upload`."""

    def start(self, card: Card, step: int) -> None:
        """Begin the experiment, or go on with it."""
        # Comet's keys have 32 letters and digits.
        key = hashlib.sha256(card.id.encode()).hexdigest()[:32]
        self.experiment = comet_ml.start(
            workspace=card.entity, project_name=card.project, experiment_key=key, online=not card.offline,
            experiment_config=comet_ml.ExperimentConfig(
                name=card.name, offline_directory=str(card.run.folder / "comet"), log_code=False, log_git_metadata=False
            ),
        )  # fmt: skip
        self.experiment.log_parameters(flat(card.config))
        self.experiment.add_tags([tag for tag in (card.group, card.job) if tag])

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Note values."""
        self.experiment.log_metrics(dict(values), step=step, epoch=epoch)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Note a picture."""
        self.experiment.log_image(image, name=name, step=step)

    def flush(self) -> None:
        """A thread of its own writes at once."""

    def checkpoint(self, path: Path) -> None:
        """Log the checkpoint as a model."""
        self.experiment.log_model("best", str(path))

    def finish(self, state: str) -> None:
        """End; offline this writes the archive."""
        self.experiment.log_other("state", state)
        self.experiment.end()
