"""Pretraining: a backbone is learnt without labels and handed on as a folder."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from graticule.commands.console import tell
from graticule.commands.kinds.embedding import draw_views, save_pictures
from graticule.conf.parts import make_net
from graticule.conf.tree import Config
from graticule.data.pretraining import PretrainingData
from graticule.data.splits import Assignment
from graticule.data.store import Store
from graticule.data.views import Views
from graticule.errors import CheckpointError, ConfigError, nearest
from graticule.models.backbones import Backbone, save_backbone
from graticule.runs import Run
from graticule.schema import band_from_dict, target_from_dict
from graticule.tasks.pretraining import Pretraining
from graticule.tasks.task import Task, check_weights
from graticule.training.checkpoints import read_checkpoint
from graticule.training.record import Draw

__all__ = ["draw", "finish", "load_task", "make_datamodule", "make_task"]

FOLDER = "backbone"
"""Of the exported backbone, in the run folder."""


def make_datamodule(config: Config, store: Store, assignment: Assignment) -> PretrainingData:
    """Views of the store's parts."""
    data, section = config.data, config.pretraining
    return PretrainingData(
        store, assignment, _views(config), probe_target=_probe_target(config, store), bank=section.bank,
        batch_size=data.batch_size, eval_batch_size=data.eval_batch_size, num_workers=data.num_workers,
        bands=data.bands, repeats=data.repeats, seed=config.run.seed,
    )  # fmt: skip


def _views(config: Config) -> Views:
    told = config.pretraining.views.model_dump()
    told["number"] = told["number"] or (1 if config.pretraining.method == "mae" else 2)
    told["groups"] = tuple(tuple(group) for group in told["groups"] or ())
    return Views(**told)


def _probe_target(config: Config, store: Store) -> str | None:
    """The target by which features are probed; none where none is wanted or there is none."""
    section, able = config.pretraining, [target.name for target in store.targets if target.is_categorical]
    if section.probe_target == "none" or not section.probe_every:
        return None
    if section.probe_target is None:
        return able[0] if able else None
    if section.probe_target not in able:
        raise ConfigError(
            f"pretraining.probe_target is '{section.probe_target}'; {nearest(section.probe_target, [*able, 'none'])}"
        )
    return section.probe_target


def make_task(config: Config, datamodule: Any, trusted: Collection[str] = ()) -> Pretraining:
    """The task with a new backbone."""
    plain = config.to_dict()
    if datamodule.batch_size < 2 and config.pretraining.method != "mae":
        raise ConfigError(
            f"data.batch_size is {datamodule.batch_size}; {config.pretraining.method} compares samples of a batch, so "
            "give 2 or more (64 is good)."
        )
    net = _backbone(plain, len(datamodule.bands), trusted)
    section, optim = plain["pretraining"], plain["optim"]
    return Pretraining(
        net, datamodule.bands, section["method"], options=section["options"], sizes=datamodule.views.sizes,
        targets=datamodule.targets, probe_every=section["probe_every"], optimizer=optim["optimizer"],
        schedule=optim["schedule"], final_weight_decay=section["final_weight_decay"],
        normalisation=plain["task"]["normalisation"], config=plain, compile_net=config.trainer.compile,
    )  # fmt: skip


def _backbone(config: dict[str, Any], in_channels: int, trusted: Collection[str]) -> Any:
    if config["model"]["name"] != "backbone":
        raise ConfigError(
            f"a pretraining learns a backbone, and the model is '{config['model']['name']}'; set model=backbone and an "
            "encoder (resnet18, unet ...), which other nets take over by model.encoder_weights."
        )
    return make_net(config["model"], in_channels, 0, trusted)


def load_task(path: Path, config: Config, trusted: Collection[str] = ()) -> Pretraining:
    """The task of a checkpoint with its weights, in eval mode on the CPU.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or is of another task or model than the run's.
    """
    content = read_checkpoint(path)
    told = content["graticule"]
    plain = config.to_dict()
    if told.get("task") != "pretraining" or told["config"].get("model") != plain["model"]:
        raise CheckpointError(f"{path} is of another task or model than the run; give a checkpoint of this run.")
    # The weights of the checkpoint replace the first ones, so none need be fetched.
    net = _backbone({"model": plain["model"] | {"encoder_weights": None}}, len(told["bands"]), trusted)
    task = Pretraining(
        net, [band_from_dict(band) for band in told["bands"]], told["method"], options=told["options"],
        sizes=told["sizes"], targets=[target_from_dict(target) for target in told["targets"]],
        probe_every=told["probe_every"], optimizer=told["optimizer"], schedule=told["schedule"],
        final_weight_decay=told["final_weight_decay"], normalisation=told["normalisation"], config=told["config"],
    )  # fmt: skip
    check_weights(task, content["state_dict"])
    task.load_state_dict(content["state_dict"])
    task.val_metrics = dict(told.get("validation", {}))
    return task.eval()


def draw(task: Task) -> Draw:
    """Pictures of the views of some samples."""
    return draw_views(task.bands)


def finish(run: Run, config: Config, datamodule: Any) -> Path:
    """Export the backbone of the last step, and draw what its features hold; returns the folder of the backbone."""
    task = load_task(run.last_checkpoint, config)
    folder = export(run, task, datamodule)
    save_pictures(run, task, datamodule)
    tell(f"Backbone ({task.method_name}, {task.net.width} features): {folder}")
    return folder


def export(run: Run, task: Pretraining, datamodule: PretrainingData) -> Path:
    """Write the backbone of a task as `backbone` in its run folder.

    That is what the optimiser learnt; where a teacher follows it, the teacher is in the checkpoint only.
    """
    net = task.net
    assert isinstance(net, Backbone)
    content = read_checkpoint(run.last_checkpoint)
    model = task.config["model"]
    folder = run.folder / FOLDER
    save_backbone(
        folder, net.encoder, task.bands, encoder=model["encoder"], options=model["options"],
        normalisation=task.normalisation_told(), method=task.method_name, method_options=task.method_options,
        epochs=int(content["epoch"]) + 1, steps=int(content["global_step"]), view_sizes=list(task.sizes),
        begun_with=model["encoder_weights"], store=datamodule.store.path.name,
        grid="healpix" if len(datamodule.store.space) == 1 else "raster", seed=task.config["run"]["seed"],
        validation=task.val_metrics,
    )  # fmt: skip
    return folder
