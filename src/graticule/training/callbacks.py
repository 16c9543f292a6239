"""Throughput, early stopping and progress."""

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.profilers import Profiler
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graticule.runs import Run
from graticule.schema import X
from graticule.tasks.ranks import world_size


class WaitingClock(Profiler):
    """Adds up the time that training waits for the next batch; Lightning tells when it asks and when it has it.

    Args:
        further: a profiler of Lightning's that is told the same.
    """

    def __init__(self, further: Profiler | None = None) -> None:
        super().__init__()
        self.seconds = 0.0
        self.further = further
        self._since = 0.0

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | None = None) -> None:
        """Lightning begins a stage."""
        super().setup(stage, local_rank, log_dir)
        if self.further is not None:
            self.further.setup(stage, local_rank, log_dir)

    def describe(self) -> None:
        """Lightning wants to be told; what the further profiler found goes to its file."""
        if self.further is not None:
            self.further.describe()

    def teardown(self, stage: str | None) -> None:
        """Lightning ends a stage."""
        if self.further is not None:
            self.further.teardown(stage)

    def start(self, action_name: str) -> None:
        """Lightning begins an action."""
        if self.further is not None:
            self.further.start(action_name)
        if action_name.endswith("train_dataloader_next"):
            self._since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Lightning ends an action."""
        if self.further is not None:
            self.further.stop(action_name)
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._since


class Throughput(Callback):
    """Writes samples per second and the share of time spent waiting for data to `throughput.csv`, of each epoch.

    Validation and the saving of checkpoints between epochs are not counted.

    Args:
        run: in whose folder.
        clock: that was given to the trainer as its profiler.
    """

    def __init__(self, run: Run, clock: WaitingClock) -> None:
        self.run, self.clock = run, clock
        self.samples_per_second = self.waiting_share = float("nan")
        self._start = self._waited = 0.0
        self._samples = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count; a resumed epoch has no start of its own."""
        self._begin()
        if trainer.is_global_zero and not self.run.throughput.exists():
            self.run.throughput.write_text("step,epoch,samples_per_second,waiting_share\n")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._begin()

    def _begin(self) -> None:
        self._start, self._waited, self._samples = time.perf_counter(), self.clock.seconds, 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the samples, and note the rate when the epoch's last batch is done, before validation."""
        self._samples += len(batch[X]) * world_size()
        if not trainer.is_last_batch:
            return
        seconds = time.perf_counter() - self._start
        self.samples_per_second = self._samples / seconds
        self.waiting_share = (self.clock.seconds - self._waited) / seconds
        if trainer.is_global_zero:
            with self.run.throughput.open("a") as file:
                numbers = f"{self.samples_per_second:.2f},{self.waiting_share:.4f}"
                file.write(f"{trainer.global_step},{trainer.current_epoch},{numbers}\n")


class Stopping(EarlyStopping):
    """Stops when the monitored metric has not improved for `patience` validations; a resumed run stays stopped."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the run that is resumed had."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class Telling(Callback):
    """Tells how training goes: a bar on a terminal, a plain line per epoch elsewhere (a log, a pipe).

    Args:
        throughput: whose figures to tell.
        console: where to; standard error if None.
    """

    def __init__(self, throughput: Throughput, console: Console | None = None) -> None:
        self.throughput = throughput
        self.console = console or Console(file=sys.stderr)
        self.bar: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, on a terminal."""
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task("training", total=trainer.num_training_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self.bar is not None:
            told = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.bar.update(self.task, completed=batch_idx + 1, description=told)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One line per epoch."""
        if not trainer.is_global_zero:
            return
        values = {"train/loss": trainer.callback_metrics.get("train/loss")} | getattr(pl_module, "val_metrics", {})
        short = [f"{name} {float(value):.4g}" for name, value in values.items() if value is not None][:5]
        speed = f"{self.throughput.samples_per_second:.1f} samples/s"
        waiting = f"{self.throughput.waiting_share:.0%} waiting for data"
        head = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} step {trainer.global_step}"
        self.console.print(" | ".join([head, *short, speed, waiting]), soft_wrap=True, highlight=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
