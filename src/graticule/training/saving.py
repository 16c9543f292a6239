"""When checkpoints are saved, which are kept, and how a training that is asked to go away does so."""

import math
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from graticule.runs import Run
from graticule.training.checkpoints import same_file

EX_TEMPFAIL = os.EX_TEMPFAIL
"""Exit status 75: not done, try again; schedulers are told to requeue on it."""


class Preempted(SystemExit):
    """Raised out of a training that was told to go away (SIGTERM) once it has saved; ends with status 75."""

    def __init__(self) -> None:
        super().__init__(EX_TEMPFAIL)


class Checkpoints(Checkpoint):
    """Saves `last.ckpt` every n steps and after each epoch, and keeps those of the best epochs.

    A checkpoint is one file; that of a good epoch is a further name of it (`epoch=003-step=001200.ckpt`), and
    `best.ckpt` a further name of the best. All are saved between steps, never within accumulated gradients, and after
    all other callbacks of the step, so that what is in them is what a run never killed has at that step. The last step
    of an epoch is saved with the epoch: after validation.

    Args:
        run: in whose folder to save.
        every_n_steps: optimiser steps between two savings within an epoch; None saves after each epoch only.
        monitor: the metric by which epochs are ranked; None ranks none.
        mode: whether the highest or the lowest is best.
        top_k: how many of the best epochs to keep.
    """

    def __init__(
        self, run: Run, *, every_n_steps: int | None = 200, monitor: str | None = None,
        mode: Literal["min", "max"] = "max", top_k: int = 1,
    ) -> None:  # fmt: skip
        self.run, self.every_n_steps, self.monitor, self.mode, self.top_k = run, every_n_steps, monitor, mode, top_k
        self.ranked: dict[str, float] = {}
        self._asked = self._validated = False
        self._step_before = 0

    @property
    def best(self) -> Path:
        """`best.ckpt`: the checkpoint of the best epoch, where a metric is monitored."""
        return self.run.checkpoints / "best.ckpt"

    @property
    def best_score(self) -> float | None:
        """The monitored metric of the best epoch."""
        return next(iter(self.ranked.values()), None)

    def state_dict(self) -> dict[str, Any]:
        """The kept epochs and their scores, best first."""
        return {"ranked": dict(self.ranked)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the ranking up again."""
        self.ranked = dict(state_dict["ranked"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for SIGTERM; put the folder into the state that the checkpoint speaks of."""
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            # Lightning's own handlers end in a collective call from within a signal; it restores what was before.
            signal.signal(number, self._ask)
        if trainer.is_global_zero:
            self._tidy(trainer)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the step, to see whether this batch ends in one."""
        self._step_before = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time or the training is asked to go away."""
        ends = trainer.is_last_batch or trainer.should_stop
        if trainer.global_step == self._step_before or ends:
            return
        asked = self._all_asked(trainer)
        if asked or (self.every_n_steps and trainer.global_step % self.every_n_steps == 0):
            trainer.save_checkpoint(self.run.last_checkpoint)
        if asked:
            self._go(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Go at once if asked: a validation is not resumed in its midst, so there is nothing new to save."""
        if self._all_asked(trainer):
            self._go(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There is a new score."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rank the epoch if it was validated, and save."""
        score = trainer.callback_metrics.get(self.monitor or "")
        by_train = (self.monitor or "").startswith("train/")
        name = f"epoch={trainer.current_epoch:03d}-step={trainer.global_step:06d}.ckpt"
        if score is not None and (self._validated or by_train) and not math.isnan(float(score)):
            ranked = sorted((self.ranked | {name: float(score)}).items(), key=lambda item: self._worth(item[1]))
            self.ranked = dict(ranked[: self.top_k])
        self._validated = False
        trainer.save_checkpoint(self.run.last_checkpoint)
        if trainer.is_global_zero:
            self._tidy(trainer, name)
        if self._all_asked(trainer):
            self._go(trainer)

    def _go(self, trainer: Trainer) -> NoReturn:
        if trainer.is_global_zero:
            self.run.update_manifest(state="preempted")
        # A launcher ends the other processes once one has ended: all must be done with saving.
        trainer.strategy.barrier()
        raise Preempted

    def _worth(self, score: float) -> float:
        return -score if self.mode == "max" else score

    def _all_asked(self, trainer: Trainer) -> bool:
        """Whether any process is asked to go away; all must save together."""
        return bool(trainer.strategy.reduce_boolean_decision(self._asked, all=False))

    def _tidy(self, trainer: Trainer, name: str | None = None) -> None:
        """Make the kept files those of the ranking: also when a kill came between the saving and this."""
        folder, last = self.run.checkpoints, self.run.last_checkpoint
        for kept in self.ranked:
            of_last = kept == name or (name is None and kept.endswith(f"step={trainer.global_step:06d}.ckpt"))
            if of_last and last.exists() and not (folder / kept).exists():
                same_file(last, folder / kept)
        self.ranked = {kept: score for kept, score in self.ranked.items() if (folder / kept).exists()}
        for file in (*folder.glob("epoch=*-step=*.ckpt"), *folder.glob(".*.partial.ckpt")):
            if file.name not in self.ranked:
                file.unlink()
        first = next(iter(self.ranked), None)
        if first is None:
            self.best.unlink(missing_ok=True)
        elif not self.best.exists() or not self.best.samefile(folder / first):
            same_file(folder / first, self.best)
