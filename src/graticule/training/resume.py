"""Exact resume: the loader begins where the checkpoint was saved, and each step draws from a seed of its own."""

import math
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from graticule.errors import CheckpointError
from graticule.tasks.ranks import world_size


def step_seed(seed: int, epoch: int, batch: int, rank: int = 0) -> int:
    """The seed of everything drawn by the net (dropout and the like) in one batch; 63 bits."""
    return int(np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)[0] >> 1)


class ExactResume(Callback):
    """Makes what is drawn a function of position, and puts the loader at the position of the checkpoint.

    Lightning restores weights, optimiser, schedule and its own counters; the order of samples and the random state
    are ours. It must be told where the loader begins before it makes the loader's iterator, which is before training
    starts: here, on loading.

    Args:
        seed: of the run.
        max_steps: optimiser steps after which training ends in the midst of an epoch; -1 is no limit. Lightning's own
            limit would change how it resumes.
    """

    def __init__(self, seed: int, max_steps: int = -1) -> None:
        self.seed, self.max_steps = seed, max_steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin at the first batch of the first epoch, and plan the steps of the schedule."""
        loader = trainer.datamodule.train_loader  # type: ignore[attr-defined]
        loader.set_position(0, 0)
        limit = trainer.limit_train_batches
        batches = min(len(loader), limit) if isinstance(limit, int) else int(len(loader) * limit)
        per_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        steps = per_epoch * (trainer.max_epochs or 1)
        planned = (min(steps, self.max_steps) if self.max_steps >= 0 else steps, per_epoch)
        pl_module.planned = planned  # type: ignore[assignment]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many samples a step of all processes takes: a position counts in these."""
        checkpoint["samples_per_batch"] = trainer.datamodule.batch_size * world_size()  # type: ignore[attr-defined]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the loader where the checkpoint was saved.

        Raises:
            CheckpointError: if batches are of another size now, so that there is no such place.
        """
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        saved, now = checkpoint["samples_per_batch"], datamodule.batch_size * trainer.world_size
        if saved != now:
            raise CheckpointError(
                f"the checkpoint was saved with {saved} samples per batch over all processes, now there are {now}; "
                f"resume with data.batch_size times the number of processes equal to {saved}."
            )
        datamodule.train_loader.set_position(*position(checkpoint))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed what the net draws in this batch."""
        torch.manual_seed(step_seed(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the steps are done."""
        self._limit(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the steps were done before."""
        self._limit(trainer)

    def _limit(self, trainer: Trainer) -> None:
        if 0 <= self.max_steps <= trainer.global_step:
            trainer.should_stop = True


def position(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """(epoch, batch) of the first batch that the checkpoint has not seen.

    Lightning counts what was `processed`; its `completed` is one short in a checkpoint saved at the end of a batch.
    """
    fit = checkpoint["loops"]["fit_loop"]
    epochs, batches = fit["epoch_progress"]["current"], fit["epoch_loop.batch_progress"]["current"]
    done = epochs["processed"] == epochs["started"]
    return epochs["processed"], 0 if done else batches["processed"]
