"""Checkpoints that DARTS wrote: what net they hold, on which bands, and the weights; nothing in them is run.

Two forms are known. What Lightning saves: `state_dict` (names begin with `model.`) and `hyper_parameters` with a
`config` of bands and model. What DARTS converts that to: `config` and `statedict`. Older files of either name their
bands `input_combination`, with the factors of stored values as `norm_factors`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graticule.errors import CheckpointError
from graticule.schema import Band
from graticule.tasks.dense import DensePrediction
from graticule.tasks.task import check_weights
from graticule.training.checkpoints import read_checkpoint, read_tensors

_DATES = (date, datetime, timedelta, timezone)


@dataclass(frozen=True)
class Foreign:
    """What such a checkpoint says.

    Attributes:
        architecture: as segmentation_models_pytorch names it, in lower case.
        encoder: the same.
        classes: channels of the output; 1 is a binary mask.
        band_names: of the input, in order.
        factors: of older files: what a stored value of each band was multiplied by.
        state: the weights under the names of the library.
        form: which of the two forms it has.
        told: what else it says of its training, as plain data.
    """

    architecture: str
    encoder: str
    classes: int
    band_names: tuple[str, ...]
    factors: dict[str, float]
    state: dict[str, Tensor]
    form: str
    told: dict[str, Any] = field(default_factory=dict)


def read_foreign(path: Path) -> Foreign:
    """Read a checkpoint of DARTS.

    Raises:
        CheckpointError: if it is missing, damaged, holds code, or is none of the two forms.
    """
    content = read_tensors(path, _DATES)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}; it must be a checkpoint of DARTS.")
    if "graticule" in content:
        raise CheckpointError(f"{path} is one of Graticule's own; hand it on with `graticule export RUN`.")
    if "state_dict" in content:
        told = content.get("hyper_parameters") or {}
        config, weights, form = told.get("config", told), content["state_dict"], "lightning"
        told = {key: value for key, value in told.items() if key != "config"}
    elif "statedict" in content:
        config, weights, form = content.get("config"), content["statedict"], "converted"
        told = {key: (config or {}).get(key) for key in ("time", "name", "model_framework")}
    else:
        keys = ", ".join(sorted(map(str, content))[:6])
        raise CheckpointError(
            f"{path} has neither `state_dict` nor `statedict` (it has: {keys}); it must be a checkpoint of DARTS."
        )
    model = _model_of(path, config)
    names, factors = _bands_of(path, config or {})
    state = {_bare(str(name)): tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}
    return Foreign(
        str(model["arch"]).lower(), str(model["encoder_name"]), int(model.get("classes", 1)), names, factors, state,
        form, {key: _plain(value) for key, value in told.items() if value is not None},
    )  # fmt: skip


def _model_of(path: Path, config: Any) -> Mapping[str, Any]:
    model = config.get("model") if isinstance(config, Mapping) else None
    if not isinstance(model, Mapping) or not {"arch", "encoder_name"} <= model.keys():
        raise CheckpointError(
            f"{path} has no config of its net (model.arch, model.encoder_name), so the weights cannot be placed; "
            "give a checkpoint that DARTS wrote or converted."
        )
    return model


def _bands_of(path: Path, config: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, float]]:
    listed = config.get("bands") or config.get("input_combination")
    if not isinstance(listed, Sequence | Mapping) or isinstance(listed, str) or not listed:
        raise CheckpointError(f"{path} does not name the bands of its input (bands, or input_combination).")
    factors = {str(name): float(factor) for name, factor in (config.get("norm_factors") or {}).items()}
    return tuple(str(name) for name in listed), factors


def _bare(name: str) -> str:
    return name.removeprefix("model.")


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)


def bands_of(foreign: Foreign, known: Mapping[str, Band]) -> list[Band]:
    """The bands of the input with the range that the net was given as 0..1.

    Args:
        foreign: the checkpoint.
        known: bands by name, with their valid ranges.

    Raises:
        CheckpointError: if a band has neither a factor nor is known.
    """
    bands = []
    for name in foreign.band_names:
        factor = foreign.factors.get(name)
        if factor is not None:
            kind = known[name].kind if name in known else "other"
            bands.append(Band(name, "stored", kind, valid_range=(0.0, 1.0 / factor)))
        elif name in known:
            bands.append(replace(known[name], name=name))
        else:
            raise CheckpointError(f"band '{name}' of the checkpoint has no known range; known are: {', '.join(known)}.")
    # Where a value was missing, the net was given the lowest one.
    return [replace(band, mean=(band.valid_range or (0.0, 1.0))[0]) for band in bands]


def place(foreign: Foreign, net: nn.Module) -> None:
    """Load the weights into a net of segmentation_models_pytorch.

    Raises:
        CheckpointError: naming what does not fit.
    """
    wanted, found = net.state_dict(), foreign.state
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    further = [name for name in found if name not in wanted]
    label = f"{foreign.architecture} with encoder {foreign.encoder}"
    if missing or further:
        some = f"lacks {len(missing)} tensors ('{missing[0]}' ...)" if missing else ""
        more = f"has {len(further)} that the net lacks ('{further[0]}' ...)" if further else ""
        raise CheckpointError(
            f"the checkpoint does not fit {label}: it {' and '.join(filter(None, (some, more)))}; it is of another "
            "net, or of another version of segmentation_models_pytorch or timm."
        )
    for name, tensor in wanted.items():
        if name in found and found[name].shape != tensor.shape:
            raise CheckpointError(_shape_line(foreign, name, found[name], tensor))
    net.load_state_dict({name: found.get(name, tensor) for name, tensor in wanted.items()})


def _shape_line(foreign: Foreign, name: str, found: Tensor, wanted: Tensor) -> str:
    bands = len(foreign.band_names)
    if found.ndim == wanted.ndim == 4 and found.shape[0] == wanted.shape[0] and wanted.shape[1] == bands:
        return (
            f"the checkpoint's first convolution '{name}' takes {found.shape[1]} bands and its config names {bands}: "
            f"{', '.join(foreign.band_names)}; the two do not belong together."
        )
    return (
        f"'{name}' is {list(found.shape)} in the checkpoint and {list(wanted.shape)} in the net that its config names."
    )


def begin_with(task: DensePrediction, path: Path) -> None:
    """Give the task's net the weights of another training, all of them.

    Args:
        task: whose net begins with them; also its running mean where it keeps one.
        path: a checkpoint of ours or of DARTS, a run folder (its best), or an exported model.

    Raises:
        CheckpointError: if it cannot be used, or is of another net.
    """
    if path.is_dir():
        inside = [path / "weights.safetensors", *(path / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))]
        path = next((file for file in inside if file.is_file()), path)
    plain = path.suffix == ".safetensors"
    content = read_checkpoint(path) if plain else read_tensors(path, _DATES)
    if isinstance(content, Mapping) and "graticule" in content:
        weights = read_checkpoint(path)["state_dict"]
        kept = "shadow." if any(name.startswith("shadow.") for name in weights) else "net."
        state, net = {n.removeprefix(kept): t for n, t in weights.items() if n.startswith(kept)}, task.net
    else:
        state, net = read_foreign(path).state, getattr(task.net, "net", task.net)
    check_weights(net, state)
    net.load_state_dict(state)
    if task.shadow is not None:
        task.shadow.load_state_dict(task.net.state_dict())


def check_finite(foreign: Foreign) -> None:
    """Refuse weights that are NaN or infinite: a training that went astray.

    Raises:
        CheckpointError: naming the first.
    """
    for name, tensor in foreign.state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"'{name}' of the checkpoint holds NaN or infinity; give one of another epoch.")
