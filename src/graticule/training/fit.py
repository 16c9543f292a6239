"""One training: from a task, its data and a run folder to checkpoints and logs; new or resumed."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler

from graticule.errors import ConfigError, nearest
from graticule.runs import Run
from graticule.tasks.task import Task
from graticule.training.callbacks import Stopping, Telling, Throughput, WaitingClock
from graticule.training.checkpoints import WholeCheckpointIO, read_checkpoint
from graticule.training.record import Draw, Pictures, Record
from graticule.training.resume import ExactResume
from graticule.training.saving import Checkpoints
from graticule.training.trackers import Card, make_trackers

TRAINER: dict[str, Any] = {
    "max_epochs": 10,
    "max_steps": -1,
    "accelerator": "auto",
    "devices": "auto",
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "gradient_clip_val": None,
    "accumulate_grad_batches": 1,
    "val_every_n_epochs": 1,
    "log_every_n_steps": 50,
    "limit_train_batches": None,
    "limit_val_batches": None,
    "limit_test_batches": None,
    "sync_batchnorm": False,
    "deterministic": "warn",
    "profiler": None,
    "compile": False,
}
"""The options of the trainer and their defaults; most are Lightning's, under its names."""

CALLBACKS: dict[str, dict[str, Any]] = {
    "checkpoint": {"every_n_steps": 200, "monitor": None, "mode": "max", "top_k": 1},
    "early_stopping": {"patience": None, "monitor": None, "mode": "max", "min_delta": 0.0},
    "pictures": {"every_n_validations": 1},
}
"""The options of the callbacks and their defaults; a null `patience` never stops early. `progress` is a switch.

Where no metric to monitor is named, it is the task's: of the first target IoU for labels, MAE for values.
"""

TRACKER: dict[str, Any] = {"names": ["csv"], "project": "graticule", "entity": None, "offline": True}
"""The options of the trackers and their defaults."""


@dataclass(frozen=True)
class Outcome:
    """What a finished training leaves: its best checkpoint (the last where none is ranked), and the last metrics."""

    checkpoint: Path
    score: float | None
    metrics: dict[str, float]
    epochs: int
    steps: int


def fit(
    task: Task, datamodule: LightningDataModule, run: Run, *, seed: int = 42,
    trainer: Mapping[str, Any] | None = None, callbacks: Mapping[str, Any] | None = None,
    tracker: Mapping[str, Any] | None = None, resume: bool = False, draw: Draw | None = None,
    further: Sequence[Callback] = (),
) -> Outcome:  # fmt: skip
    """Train `task` on the data and leave everything in the run folder.

    Args:
        task: net, objectives, optimiser.
        datamodule: batches; its `train_loader` has `set_position`, its batch depends on the position alone.
        run: the run folder.
        seed: of what the net draws in training.
        trainer: see `TRAINER`.
        callbacks: see `CALLBACKS`; `progress` false tells nothing.
        tracker: see `TRACKER`.
        resume: go on from `last.ckpt`, bit for bit as if never interrupted; from the beginning if there is none yet.
        draw: makes the picture of examples that goes to the trackers; None makes none.
        further: callbacks of one's own.

    Raises:
        ConfigError: for an option that is unknown or does not fit.
        CheckpointError: if the checkpoint to resume from cannot be used.
        Preempted: after SIGTERM, once the training has saved; it ends the process with status 75.
    """
    options, chosen = _options(trainer, TRAINER, "trainer"), _callback_options(callbacks)
    tracking = _options(tracker, TRACKER, "tracker")
    task.compile_net = task.compile_net or bool(options.pop("compile"))
    checkpoint = run.last_checkpoint if resume and run.last_checkpoint.exists() else None
    if checkpoint is not None:
        read_checkpoint(checkpoint)
    if task.shadow is not None and str(options["strategy"]).startswith("fsdp"):
        raise ConfigError("task.ema_decay needs whole weights, which fsdp takes apart; use ddp, or set it to null.")
    if not task.automatic_optimization:
        _two_players(task, options)
    trackers = make_trackers(tracking.pop("names"))
    record = Record(trackers, card(run, task, tracking), options.pop("log_every_n_steps"))
    kept = Checkpoints(run, **_monitored(chosen["checkpoint"], task))
    clock = WaitingClock(_profiler(options.pop("profiler"), run))
    throughput = Throughput(run, clock)
    parts: list[Callback] = [ExactResume(seed, options.pop("max_steps")), record, throughput, *further, kept]
    if chosen.pop("progress"):
        parts.append(Telling(throughput))
    if chosen["early_stopping"]["patience"] is not None:
        stopping = _monitored(chosen["early_stopping"], task)
        parts.append(Stopping(**stopping, check_on_train_epoch_end=stopping["monitor"].startswith("train/")))
    if draw is not None:
        parts.append(Pictures(draw, record, **chosen["pictures"]))
    with _quiet():
        lightning = make_trainer(options, run, parts, clock)
        lightning.fit(task, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
    best = kept.best if kept.best.exists() else run.last_checkpoint
    return Outcome(best, kept.best_score, dict(task.val_metrics), lightning.current_epoch, lightning.global_step)


def _profiler(name: str | None, run: Run) -> Profiler | None:
    """Lightning's profiler of that name, which writes `fit-profile.txt` to the run folder."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
    return kinds[name](dirpath=run.folder, filename="profile") if name else None


def _two_players(task: Task, options: dict[str, Any]) -> None:
    """Leave to the task what Lightning does not do for one that steps by itself.

    Raises:
        ConfigError: if gradients of several batches are to make one step.
    """
    if options["accumulate_grad_batches"] != 1:
        raise ConfigError(
            f"trainer.accumulate_grad_batches is {options['accumulate_grad_batches']}, and two players step at every "
            "batch; set it to 1 and make data.batch_size larger."
        )
    task.gradient_clip, options["gradient_clip_val"] = options["gradient_clip_val"], None
    if options["strategy"] == "ddp" or (options["strategy"] == "auto" and _processes(options) > 1):
        # Each player's loss leaves the other's weights without a gradient.
        options["strategy"] = "ddp_find_unused_parameters_true"


def _processes(options: Mapping[str, Any]) -> int:
    """How many processes will train."""
    devices = options["devices"]
    if devices == "auto" or devices == -1:
        each = torch.cuda.device_count() if options["accelerator"] in ("auto", "gpu", "cuda") else 1
    else:
        each = devices if isinstance(devices, int) else len(devices)
    return max(1, each) * int(options["num_nodes"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Lightning's hints: our loader resumes, sums over processes and has no worker processes to add."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in ("your dataloader is not resumable", "sync_dist=True", "num_workers", "LeafSpec"):
                warnings.filterwarnings("ignore", message=f".*{text}.*")
            yield
    finally:
        log.setLevel(level)


def make_trainer(options: dict[str, Any], run: Run, callbacks: list[Callback], clock: WaitingClock) -> Trainer:
    """Lightning's trainer with what is ours in place of its loggers, bars and checkpoints.

    Raises:
        ConfigError: if the options do not go together, or ask for devices that are not there.
    """
    val_every = options.pop("val_every_n_epochs")
    plugins: list[Any] = [WholeCheckpointIO()]
    if SLURMEnvironment.detect():
        # Lightning's requeueing writes checkpoints of its own; ours is the exit status.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        return Trainer(
            **options, check_val_every_n_epoch=val_every, default_root_dir=run.folder, callbacks=callbacks,
            plugins=plugins, profiler=clock, logger=False, enable_checkpointing=True, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        )  # fmt: skip
    except (MisconfigurationException, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the trainer cannot be set up: {reason} Change it under `trainer`.") from error


def card(run: Run, task: Task, tracking: Mapping[str, Any]) -> Card:
    """What trackers are told: names from the run's manifest, the task's config, project and account."""
    manifest = run.read_manifest() if run.manifest.exists() else {}
    return Card(
        run, name=manifest.get("name", run.folder.name), id=manifest.get("id", run.folder.name), config=task.config,
        group=manifest.get("tune_name"), job=manifest.get("cv_name"), **tracking,
    )  # fmt: skip


def _options(given: Mapping[str, Any] | None, known: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in given or {}:
        if key not in known:
            raise ConfigError(f"{where} has no option '{key}'; {nearest(key, known)}")
    return {**known, **(given or {})}


def _callback_options(given: Mapping[str, Any] | None) -> dict[str, Any]:
    chosen = _options(given, {**CALLBACKS, "progress": True}, "callbacks")
    for name, known in CALLBACKS.items():
        chosen[name] = _options(chosen[name], known, f"callbacks.{name}")
    return chosen


def _monitored(options: Mapping[str, Any], task: Task) -> dict[str, Any]:
    if options["monitor"] is not None:
        return dict(options)
    monitor, mode = task.monitor
    return {**options, "monitor": monitor, "mode": mode}
