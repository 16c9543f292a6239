"""TensorBoard: event files in the run folder, under `tensorboard/`."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from graticule.training.trackers.tracker import Card


class TensorBoardTracker:
    """Look at it with `tensorboard --logdir <output root>`."""

    def start(self, card: Card, step: int) -> None:
        """Open an event file; TensorBoard leaves out of earlier ones what is later than `step`."""
        self.writer = SummaryWriter(str(card.run.folder / "tensorboard"), purge_step=step + 1 if step else None)
        # Four spaces make it a block of code.
        text = json.dumps(card.config, indent=2, default=str)
        self.writer.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()), step)
        self.step = step

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """One scalar per value."""
        for name, value in {**values, "epoch": epoch}.items():
            self.writer.add_scalar(name, value, step)
        self.step = step

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Note a picture."""
        self.writer.add_image(name, image, step, dataformats="HWC")

    def flush(self) -> None:
        """Write what waits."""
        self.writer.flush()

    def checkpoint(self, path: Path) -> None:
        """Event files hold no other files: note where the checkpoint is."""
        self.writer.add_text("checkpoint", str(path), self.step)

    def finish(self, state: str) -> None:
        """Close the file."""
        self.writer.add_text("state", state, self.step)
        self.writer.close()
