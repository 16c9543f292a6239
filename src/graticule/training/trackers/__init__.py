"""Trackers by name: each gets config, metrics, pictures and the best checkpoint of a run; all work offline."""

import importlib
from collections.abc import Sequence

from graticule.errors import ConfigError, nearest
from graticule.training.trackers.tracker import Card, Tracker

__all__ = ["TRACKERS", "Card", "Tracker", "make_trackers"]

TRACKERS = {
    "csv": "CsvTracker",
    "tensorboard": "TensorBoardTracker",
    "wandb": "WandbTracker",
    "mlflow": "MlflowTracker",
    "comet": "CometTracker",
}
"""Name, which is also that of the module here and of the extra -> class."""


def make_trackers(names: Sequence[str]) -> list[Tracker]:
    """The trackers of these names; `csv` always is among them, since reports are made from its file.

    Raises:
        ConfigError: for an unknown name, or one whose library is not installed.
    """
    return [_make(name) for name in dict.fromkeys(["csv", *names])]


def _make(name: str) -> Tracker:
    if name not in TRACKERS:
        raise ConfigError(f"no tracker is named '{name}'; {nearest(name, TRACKERS)}")
    try:
        module = importlib.import_module(f"graticule.training.trackers.{name}")
    except ImportError as error:
        raise ConfigError(
            f"tracker '{name}' needs a library that is not installed ({error.name}); "
            f"run `pip install graticule[{name}]` or leave '{name}' out of tracker.names."
        ) from error
    tracker: Tracker = getattr(module, TRACKERS[name])()
    return tracker
