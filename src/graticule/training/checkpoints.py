"""Checkpoints that appear whole or not at all, and are read without running anything in them."""

import os
import pickle
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from graticule.errors import CheckpointError
from graticule.files import whole_file
from graticule.schema import band_from_dict, target_from_dict
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import VERSION, check_weights
from graticule.training.exported import read_exported

BuildNet = Callable[[dict[str, Any], int, int], nn.Module]
"""(config as it travels in the checkpoint, in_channels, out_channels) -> net without weights."""


def read_tensors(path: Path | str, plain: Collection[type] = ()) -> Any:
    """The content of a file of torch's, on the CPU: tensors and plain data only.

    Args:
        path: of the file.
        plain: further types that are only data, such as dates.

    Raises:
        CheckpointError: if the file is missing, truncated or holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; give a file from the `checkpoints` folder of a run.")
    try:
        with torch.serialization.safe_globals(list(plain)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain data, or is damaged; nothing in it was run. "
            "Give a checkpoint that was written by `graticule train`."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged ({os.path.getsize(path)} bytes); give another checkpoint of the run."
        ) from error


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The content of a checkpoint of a run, or of an exported model's weights.

    Raises:
        CheckpointError: if it is missing, truncated, holds code, or is no checkpoint of this package.
    """
    if Path(path).suffix == ".safetensors":
        return read_exported(Path(path))
    content = read_tensors(path)
    if not isinstance(content, dict) or "graticule" not in content or "state_dict" not in content:
        raise CheckpointError(f"{path} was not written by `graticule train`; give a checkpoint of a run.")
    version = content["graticule"].get("version")
    if version != VERSION:
        raise CheckpointError(
            f"{path} has format version {version}; this version reads {VERSION}. Use the version that wrote it."
        )
    return content


def load_task(path: Path | str, build_net: BuildNet) -> DensePrediction:
    """The task of a checkpoint with its weights, in eval mode on the CPU.

    Args:
        path: of the checkpoint.
        build_net: makes the net from the config in the checkpoint; the checkpoint itself names no code.

    Raises:
        CheckpointError: if the checkpoint cannot be used, or the net that was built is another one.
    """
    content = read_checkpoint(path)
    told = content["graticule"]
    bands = [band_from_dict(band) for band in told["bands"]]
    targets = [target_from_dict(target) for target in told["targets"]]
    net = build_net(told["config"], len(bands), sum(target.channels for target in targets))
    task = DensePrediction(
        net, bands, targets, losses=told["losses"], optimizer=told["optimizer"], schedule=told["schedule"],
        area_weighted=told["area_weighted"], ema_decay=told["ema_decay"], grid_kind=told["grid_kind"],
        config=told["config"], cell_pool=told.get("cell_pool", "mean"),
        normalisation=told.get("normalisation", "statistics"), layer_decay=told.get("layer_decay"),
        freeze=told.get("freeze", ()), freeze_epochs=told.get("freeze_epochs"),
    )  # fmt: skip
    # Discriminators taught the net and predict nothing.
    weights = {name: value for name, value in content["state_dict"].items() if not name.startswith("discriminators.")}
    check_weights(task, weights)
    task.load_state_dict(weights)
    task.val_metrics = dict(told.get("validation", {}))
    return task.eval()


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it there; a kill or a full disk leaves the old one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            OutputError: if the disk is full, the folder is read-only, and the like.
        """
        with whole_file(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch covers a failed write by a complaint about its own archive.
                reason = error.__context__
                raise (reason if isinstance(reason, OSError) else error) from None

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint; nothing in it is run, whatever `weights_only` says."""
        return read_tensors(path)


def same_file(path: Path, name: Path) -> None:
    """Let `name` be a further name of the file at `path`; a copy where the file system has no hard links."""
    with whole_file(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
