"""The tracker of the run folder: `metrics.csv` and pictures as PNG files."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from graticule.files import output_error, whole_file
from graticule.training.trackers.tracker import Card

HEADER = "step,epoch,name,value\n"


class CsvTracker:
    """One line per value, appended at once, so that a kill loses nothing that was logged.

    On resume the lines of later steps than the checkpoint's are cut off: they will be written again, the same.
    """

    def start(self, card: Card, step: int) -> None:
        """Open the file; a new one at step 0."""
        self.path, self.figures = card.run.metrics, card.run.figures
        kept = kept_lines(self.path.read_text(), step) if step and self.path.exists() else ""
        with whole_file(self.path) as temporary:
            temporary.write_text(kept or HEADER)

    def log(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Append the values, in full precision."""
        try:
            with self.path.open("a") as file:
                file.write("".join(f"{step},{epoch},{_quoted(name)},{value!r}\n" for name, value in values.items()))
        except OSError as error:
            raise output_error(self.path, error) from error

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Write `figures/<name>-<step>.png`."""
        with whole_file(self.figures / f"{name.replace('/', '-')}-{step:06d}.png") as temporary:
            Image.fromarray(image).save(temporary)

    def flush(self) -> None:
        """Bring the lines to the disk, before the checkpoint that counts on them."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())

    def checkpoint(self, path: Path) -> None:
        """The checkpoint is in the run folder already."""

    def finish(self, state: str) -> None:
        """Nothing is open."""


def kept_lines(text: str, step: int) -> str:
    """The head and the lines up to `step`, of a log whose last line may have been cut short by a kill."""
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    return "".join(line for number, line in enumerate(lines) if number == 0 or int(line.split(",", 1)[0]) <= step)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if {",", '"'} & set(name) else name
