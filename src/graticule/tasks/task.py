"""What every task has, whatever it learns: what a training, its checkpoints and its trackers need to know of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from graticule.errors import CheckpointError
from graticule.schema import Band, Target

VERSION = 1
"""Of the plain data that a checkpoint carries under `graticule`."""


class Task(LightningModule):
    """Something to be learnt. Its `training_step` returns {"loss", "losses": {name: detached}}.

    Args:
        bands: of the input, in order, with mean and std as measured on training samples.
        targets: what is predicted; none where nothing is.
        config: plain data that travels in the checkpoint and from which the task can be built again.
        compile_net: run the nets through `torch.compile`.

    Attributes:
        shadow: the running mean of the weights, where one is kept.
        planned: optimiser steps of the whole training and of an epoch, told before it begins.
        gradient_clip: largest norm of the gradient, where the task steps by itself; None clips nothing.
        val_metrics: what the last validation found.
    """

    def __init__(
        self, bands: Sequence[Band], targets: Sequence[Target], *, config: Mapping[str, Any] | None = None,
        compile_net: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.bands, self.targets = tuple(bands), tuple(targets)
        self.config, self.compile_net = dict(config or {}), compile_net
        self.shadow: nn.Module | None = None
        self.planned: tuple[int, int] | None = None
        self.gradient_clip: float | None = None
        self.val_metrics: dict[str, float] = {}

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The metric by which epochs are ranked where the user names none, and whether low or high is good."""
        return "val/loss", "min"

    def predict(self, x: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """What is shown of a batch in pictures, by name; nothing unless the task predicts something."""
        return {}

    def describe(self) -> dict[str, Any]:
        """All that is needed to build the task again, as plain data; `task` says of which kind it is."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the description beside the weights, and what the last validation found."""
        found = {name: value for name, value in self.val_metrics.items() if math.isfinite(value)}
        checkpoint["graticule"] = self.describe() | {"validation": found}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model.

        Raises:
            CheckpointError: naming the first weight that does not fit.
        """
        check_weights(self, checkpoint.get("state_dict", {}))
        self.val_metrics = dict(checkpoint.get("graticule", {}).get("validation", {}))


def check_weights(task: nn.Module, found: Mapping[str, Any]) -> None:
    """Raise a CheckpointError that names the first of the weights `found` that does not fit the task."""
    wanted = task.state_dict()
    remedy = "it is of another model; resume or evaluate with the configuration it was trained with."
    for name in [*wanted, *found]:
        if name not in found:
            raise CheckpointError(f"the checkpoint lacks '{name}': {remedy}")
        if name not in wanted:
            raise CheckpointError(f"the checkpoint has '{name}', which the model lacks: {remedy}")
        if tuple(found[name].shape) != tuple(wanted[name].shape):
            shapes = f"{list(found[name].shape)} in the checkpoint and {list(wanted[name].shape)} in the model"
            raise CheckpointError(f"'{name}' is {shapes}: {remedy}")
