"""Exported models: a folder of weights and plain text, to be given away and predicted with anywhere.

```
<folder>/
  model.json           bands with codecs, targets with legends, grid, normalisation, net, versions, where it is from
  weights.safetensors  the weights by name; nothing in it can run
  model.onnx           where asked for: stored values in, probabilities out
  model.pt2            the same as a program of torch.export
  config.yaml, manifest.json    so that it is taken for a run by `graticule predict`
```
"""

import copy
import hashlib
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from graticule.errors import CheckpointError
from graticule.files import whole_file
from graticule.runs import read_json, write_json
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import VERSION

MODEL, WEIGHTS = "model.json", "weights.safetensors"
_REMEDY = "give the whole folder that `graticule export` or `graticule convert` wrote"


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / MODEL).is_file() and (folder / WEIGHTS).is_file()


def predicting(task: DensePrediction) -> DensePrediction:
    """A copy of the task in eval mode whose net is the one that predicts: the running mean where there is one."""
    task = copy.deepcopy(task).eval().cpu()
    if task.shadow is not None:
        task.net, task.shadow, task.ema_decay = task.shadow, None, None
    return task.requires_grad_(False)


def write_exported(folder: Path, task: DensePrediction, origin: Mapping[str, Any]) -> None:
    """Write `weights.safetensors` and `model.json`.

    Args:
        folder: that is there.
        task: as `predicting` returns it.
        origin: where the weights are from, as plain data.

    Raises:
        OutputError: if a file cannot be written.
    """
    # Own memory for each, since safetensors takes no tensors that share it.
    state = {name: tensor.detach().clone().contiguous() for name, tensor in task.state_dict().items()}
    with whole_file(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(state, temporary, metadata={"format": "pt"})
    clipped = "" if task.normalisation == "statistics" else ", clipped to 0..1"
    packages = {name: version(name) for name in ("graticule", "torch", "segmentation-models-pytorch", "timm")}
    content = {
        "format": "graticule model",
        **task.describe(),
        "input": {
            "x": "[batch, bands, height, width] or [batch, bands, cells]: stored values; NaN where there is none",
            "normalised": f"stored * scale + shift{clipped}",
            "scale": task.in_scale.tolist(),
            "shift": task.in_shift.tolist(),
        },
        "weights_sha256": hash_of(folder / WEIGHTS),
        "validation": task.val_metrics,
        "origin": dict(origin),
        "versions": packages | {"python": platform.python_version()},
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "programs": {},
    }
    write_json(folder / MODEL, content)


def add_program(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """Note a further file of the model, with its hash."""
    content = _content(folder)
    content["programs"][name] = {**told, "sha256": hash_of(folder / name)}
    write_json(folder / MODEL, content)


def read_exported(weights: Path) -> dict[str, Any]:
    """What a checkpoint holds (`graticule` and `state_dict`), from an exported folder's weights and `model.json`.

    Raises:
        CheckpointError: if a file is missing, damaged, of another format, or not of the other.
    """
    content = _content(weights.parent)
    if not weights.is_file():
        raise CheckpointError(f"{weights.parent} has no {weights.name}; {_REMEDY}.")
    if content.get("version") != VERSION or not {"bands", "targets", "config"} <= content.keys():
        raise CheckpointError(
            f"{weights.parent / MODEL} has format version {content.get('version')}; this version reads {VERSION}."
        )
    if hash_of(weights) != content.get("weights_sha256"):
        raise CheckpointError(f"{weights} is damaged, or not the file that {MODEL} describes; {_REMEDY}.")
    try:
        state = safetensors.torch.load_file(weights)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{weights} is truncated or damaged; {_REMEDY}.") from error
    return {"graticule": content, "state_dict": state}


def _content(folder: Path) -> dict[str, Any]:
    content = read_json(folder / MODEL, what="an exported model", remedy=_REMEDY)
    if not isinstance(content, dict) or content.get("format") != "graticule model":
        raise CheckpointError(f"{folder / MODEL} describes no model; {_REMEDY}.")
    return content


def hash_of(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
