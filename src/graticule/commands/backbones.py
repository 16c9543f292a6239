"""The nets that can be probed: an exported backbone, the encoder of a run, a model of timm; and their random start."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from graticule.commands.assemble import build_net, checkpoint_path
from graticule.commands.kinds import kind_of
from graticule.commands.naming import named_run
from graticule.conf.compose import Request, compose_from
from graticule.data.datamodule import DataModule
from graticule.errors import ConfigError, nearest
from graticule.inference.features import Frozen
from graticule.models.backbones import load_backbone
from graticule.models.classifier import is_backbone, make_backbone
from graticule.models.encoders import OWN, Net, OwnEncoder
from graticule.models.pretrained import DESCRIPTION, from_hub
from graticule.tasks.dense import DensePrediction
from graticule.tasks.normalisation import scale_and_shift

RANDOM = "random:"

Probed = tuple[Frozen, Callable[[int], Frozen] | None]
"""A net, and the same architecture with first weights drawn by a seed."""


def probed(word: str, datamodule: Callable[[list[str] | None], DataModule], trusted: Collection[str] = ()) -> Probed:
    """The net that a word names, and how to make its random start.

    Args:
        word: the folder of an exported backbone, of a run (its `backbone`, or its encoder), the name of a timm model
            with its published weights, or `random:` and the name of one or of an own encoder.
        datamodule: of the probed store, for these bands (None: all), whose statistics normalise what brings none.
        trusted: packages that the net of a run may come from.

    Raises:
        ConfigError: if it is none of these.
        CheckpointError: if its weights cannot be had.
    """
    path = Path(word)
    if (path / DESCRIPTION).is_file():
        return _exported(path, path.name if path.name != "backbone" else path.parent.name)
    if (path / "backbone" / DESCRIPTION).is_file():
        return _exported(path / "backbone", path.name)
    if (path / "manifest.json").is_file():
        return _of_run(path, trusted)
    name = word.removeprefix(RANDOM)
    if not is_backbone(name):
        raise ConfigError(
            f"{word} is no folder of a backbone or of a run, and no model of timm; "
            f"{nearest(name, [*OWN, *timm.list_models()])}"
        )
    return _of_timm(name, datamodule(None), pretrained=not word.startswith(RANDOM))


def _exported(folder: Path, name: str) -> Probed:
    net, told = load_backbone(folder)
    numbers = told["normalisation"]
    bands = tuple(band["name"] for band in told["bands"])
    kept: dict[str, Any] = {key: told[key] for key in ("encoder", "method", "epochs", "steps") if key in told}
    frozen = Frozen(name, net, bands, numbers["method"], numbers, kept)
    return frozen, _random(frozen, lambda: make_backbone(told["encoder"], len(bands), options=told["options"]))


def _of_run(folder: Path, trusted: Collection[str]) -> Probed:
    run = named_run(folder)
    config = compose_from(run.config, Request(trusted=tuple(trusted)), ())
    task = kind_of(config).load_task(checkpoint_path(run, "best"), config, trusted)
    encoder = _encoder(task.shadow or task.net) if isinstance(task, DensePrediction) else None
    if encoder is None or not isinstance(task, DensePrediction):
        raise ConfigError(
            f"the net of {folder} ({config.model.name}) has no encoder whose features could be probed; give a run of "
            "model=classifier, small_cnn, smp, unet, swin_unet or heal_swin, or an exported backbone."
        )
    scale, shift, empty = scale_and_shift(task.bands, task.normalisation)
    numbers = {"scale": list(scale), "shift": list(shift), "empty": list(empty)}
    bands = tuple(band.name for band in task.bands)
    frozen = Frozen(folder.name, encoder, bands, task.normalisation, numbers, {"model": config.model.name})
    channels = sum(target.channels for target in task.targets)
    first = {"encoder_weights": None} if "encoder_weights" in task.config["model"] else {}
    plain = task.config | {"model": task.config["model"] | first}
    return frozen, _random(frozen, lambda: cast(nn.Module, _encoder(build_net(plain, len(bands), channels, trusted))))


def _of_timm(name: str, datamodule: DataModule, *, pretrained: bool) -> Probed:
    bands = datamodule.bands
    scale, shift, empty = scale_and_shift(bands, "statistics")
    numbers = {"scale": list(scale), "shift": list(shift), "empty": list(empty)}

    def make(pretrained: bool = False) -> nn.Module:
        return make_backbone(name, len(bands), pretrained=pretrained)

    net = from_hub(lambda: make(True), f"of timm's {name}") if pretrained else nn.Identity()
    names = tuple(band.name for band in bands)
    frozen = Frozen(name, net, names, "statistics", numbers, {"encoder": name})
    start = _random(frozen, make)
    return (frozen if pretrained else start(0)), start


def _random(frozen: Frozen, make: Callable[[], nn.Module]) -> Callable[[int], Frozen]:
    def of_seed(seed: int) -> Frozen:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return replace(frozen, name="random start", net=make().eval(), told={})

    return of_seed


def _encoder(net: Any) -> nn.Module | None:
    """The part of a net that gives features; of an SMP net its deepest map."""
    inner = getattr(net, "net", net)
    if isinstance(inner, Net):
        return OwnEncoder(inner)
    encoder = getattr(net, "encoder", None) or getattr(inner, "encoder", None)
    if not isinstance(encoder, nn.Module):
        return None
    return _Deepest(encoder) if hasattr(encoder, "output_stride") and hasattr(encoder, "out_channels") else encoder


class _Deepest(nn.Module):
    """The last of several feature maps."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.encoder(x)[-1]
        return found
