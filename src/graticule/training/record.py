"""What is logged, when, and to which trackers."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from graticule.schema import DOMAIN
from graticule.tasks.ranks import sum_over_ranks, world_size
from graticule.training.trackers import Card, Tracker

Draw = Callable[[Mapping[str, Any], Mapping[str, Tensor]], np.ndarray]
"""(batch, what `predict` returned), both on the CPU -> picture [h, w, 3] uint8."""


class Means:
    """A running mean of the targets' losses, kept on the device so that adding to it does not wait for it."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.count = 0

    def add(self, values: Tensor) -> None:
        """Count one batch with the losses `values` [targets]."""
        values = values.double()
        self.sums = values if self.sums is None else self.sums.to(values.device) + values
        self.count += 1

    def share(self) -> None:
        """Put the mean over all processes in place of this one's, so that a checkpoint of one speaks for all."""
        if self.sums is not None and world_size() > 1:
            self.sums = sum_over_ranks(self.sums) / world_size()

    def take(self, names: Sequence[str]) -> dict[str, float]:
        """The mean of the sum of the losses, and of each where there are several; then begin anew.

        What discriminators lose is no part of the sum: they learn the opposite.
        """
        self.share()
        values = [] if self.sums is None else (self.sums / self.count).tolist()
        self.sums, self.count = None, 0
        each = {f"train/loss/{name}": value for name, value in zip(names, values, strict=True)}
        total = sum(value for name, value in zip(names, values, strict=True) if not name.startswith("discriminator/"))
        return {"train/loss": total} | (each if len(each) > 1 else {})

    def state(self) -> dict[str, Any]:
        """The sums so far as plain data, the same on all processes."""
        self.share()
        return {"sums": None if self.sums is None else self.sums.tolist(), "count": self.count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.sums = None if state["sums"] is None else torch.tensor(state["sums"], dtype=torch.float64)
        self.count = state["count"]


class Record(Callback):
    """Sends to the trackers: config, losses and learning rate every n steps, validation metrics, checkpoints.

    All of it is a function of configuration and data alone; no clock. It is sent before the checkpoint of the same
    step is saved, and the trackers forget on resume what is later than the checkpoint.

    Args:
        trackers: where to.
        card: what they are told of the run.
        every_n_steps: optimiser steps between two logged training losses, each the mean since the one before.
    """

    def __init__(self, trackers: Sequence[Tracker], card: Card, every_n_steps: int = 50) -> None:
        self.trackers, self.card, self.every_n_steps = list(trackers), card, every_n_steps
        self.interval, self.epoch = Means(), Means()
        self.names: list[str] = []
        self._step_before, self._rate, self._started = 0, 0.0, False

    def state_dict(self) -> dict[str, Any]:
        """The sums within the interval and the epoch; what was logged is made safe first."""
        if self._started:
            for tracker in self.trackers:
                tracker.flush()
        return {"interval": self.interval.state(), "epoch": self.epoch.state(), "names": list(self.names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the sums up again."""
        self.interval.restore(state_dict["interval"])
        self.epoch.restore(state_dict["epoch"])
        self.names = list(state_dict["names"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the trackers at the step where training begins."""
        if not trainer.is_global_zero:
            return
        self.card.run.update_manifest(state="running")
        for tracker in self.trackers:
            tracker.start(self.card, trainer.global_step)
        self._started = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the step and its learning rate, before the schedule goes on."""
        self._step_before = trainer.global_step
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log if it is time."""
        losses = outputs["losses"]
        self.names = list(losses)
        values = torch.stack(list(losses.values()))
        self.interval.add(values)
        self.epoch.add(values)
        if trainer.global_step > self._step_before and trainer.global_step % self.every_n_steps == 0:
            self._log_interval(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rest of the epoch; its mean loss can be monitored as `train/loss`."""
        if self.interval.count:
            self._log_interval(trainer)
        for name, value in self.epoch.take(self.names).items():
            pl_module.log(name, value, logger=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics that the task found."""
        self.send(trainer, pl_module.val_metrics)  # type: ignore[arg-type]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has come to its end."""
        self.finish("finished")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the trackers, whatever happened."""
        stopped = isinstance(exception, KeyboardInterrupt | SystemExit)
        self.finish("preempted" if isinstance(exception, SystemExit) else "interrupted" if stopped else "failed")

    def send(self, trainer: Trainer, values: Mapping[str, float]) -> None:
        """Send values to all trackers, from the first process."""
        if self._started:
            for tracker in self.trackers:
                tracker.log(trainer.global_step, trainer.current_epoch, values)

    def picture(self, trainer: Trainer, name: str, image: np.ndarray) -> None:
        """Send a picture [h, w, 3] uint8 to all trackers, from the first process."""
        if self._started:
            for tracker in self.trackers:
                tracker.picture(trainer.global_step, name, image)

    def finish(self, state: str) -> None:
        """Note the state of the run; when it is finished, hand over the best checkpoint; close the trackers."""
        if not self._started:
            return
        self._started = False
        best, last = self.card.run.checkpoints / "best.ckpt", self.card.run.last_checkpoint
        chosen = best if best.exists() else last
        for tracker in self.trackers:
            if state == "finished" and chosen.exists():
                tracker.checkpoint(chosen)
            tracker.finish(state)
        ended = {"finished": datetime.now(UTC).isoformat(timespec="seconds")} if state == "finished" else {}
        self.card.run.update_manifest(state=state, **ended)

    def _log_interval(self, trainer: Trainer) -> None:
        self.send(trainer, self.interval.take(self.names) | {"learning_rate": self._rate})


class Pictures(Callback):
    """Draws the first batch of every n-th validation, of each of its domains, and sends the picture to the trackers.

    Args:
        draw: makes the picture; handed in from above, since drawing is no part of training.
        record: to whose trackers the picture goes.
        every_n_validations: validations from one picture to the next; the first is drawn.
    """

    def __init__(self, draw: Draw, record: Record, every_n_validations: int = 1) -> None:
        self.draw, self.record, self.every_n_validations = draw, record, every_n_validations
        self.drawn: set[str | None] = set()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is drawn yet."""
        self.drawn.clear()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Draw, on the first process."""
        # A function of the epoch, so that a resumed run draws when one that was never killed does.
        validation = trainer.current_epoch // (trainer.check_val_every_n_epoch or 1)
        domain = batch.get(DOMAIN)
        if domain in self.drawn or not trainer.is_global_zero or validation % self.every_n_validations:
            return
        self.drawn.add(domain)
        with torch.no_grad():
            predicted = pl_module.predict(batch["x"], batch["seen"])  # type: ignore[operator]
        image = self.draw(_on_cpu(batch), _on_cpu(predicted))
        self.record.picture(trainer, f"val/examples/{domain}" if domain and batch_idx else "val/examples", image)


def _on_cpu(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _on_cpu(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_on_cpu(value) for value in values]
    return values.detach().cpu() if isinstance(values, Tensor) else values
