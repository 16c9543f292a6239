"""Nets and sources by name: their classes, and the options that their signatures declare."""

import importlib
import inspect
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, create_model

from graticule.errors import ConfigError, nearest
from graticule.schema import Target

Kind = Literal["model", "source"]

NETS = {
    "backbone": "graticule.models.backbones:Backbone",
    "classifier": "graticule.models.classifier:Classifier",
    "fcn_resnet101": "graticule.models.fcn:FCNResNet101",
    "heal_swin": "graticule.models.heal_swin:HealSwin",
    "masker": "graticule.models.masker.masker:Masker",
    "painter": "graticule.models.painter:Painter",
    "pixel": "graticule.models.pixel:PixelNet",
    "segmentation_cnn": "graticule.models.segmentation_cnn:SegmentationCNN",
    "smp": "graticule.models.smp:SMP",
    "small_cnn": "graticule.models.small_cnn:SmallCNN",
    "swin_unet": "graticule.models.swin_unet:SwinUNet",
    "unet": "graticule.models.unet:UNet",
}
SOURCES = {
    "dfc2021": "graticule.data.sources.dfc2021:DFC2021Source",
    "earth": "graticule.data.sources.earth:EarthSource",
    "fields": "graticule.data.sources.fields:FieldsSource",
    "fmow": "graticule.data.sources.fmow:FmowSource",
    "images": "graticule.data.sources.images:ImagesSource",
    "mnist": "graticule.data.sources.mnist:MnistSource",
    "photos": "graticule.data.sources.photos:PhotosSource",
    "rasters": "graticule.data.sources.rasters:RastersSource",
    "scenes": "graticule.data.sources.scenes:ScenesSource",
    "synwoodscape": "graticule.data.sources.synwoodscape:SynWoodScapeSource",
    "torchgeo": "graticule.data.sources.torchgeo:TorchgeoSource",
    "woodscape": "graticule.data.sources.woodscape:WoodScapeSource",
}
PARTS: dict[Kind, dict[str, str]] = {"model": NETS, "source": SOURCES}

# What a part is given by the data and not by the configuration.
_GIVEN: dict[Kind, set[str]] = {
    "model": {"self", "in_channels", "out_channels", "base_pixels", "targets"},
    "source": {"self"},
}


def find_class(kind: Kind, name: str, trusted: Collection[str] = ()) -> type:
    """The class of the net or source `name`, or of your own as `package.module:Class`.

    Args:
        kind: `model` or `source`.
        name: as in the configuration.
        trusted: packages beside this one that may be imported: those that the user named on the command line.

    Raises:
        ConfigError: if there is no such part, or its package has not been named on the command line.
    """
    if name in PARTS[kind]:
        path = PARTS[kind][name]
    elif ":" in name:
        path = name
        package = path.split(":")[0].split(".")[0]
        if package != "graticule" and package not in trusted:
            raise ConfigError(
                f"{kind} '{name}' is code of the package '{package}', which the command line does not name; "
                f"add --trust {package} if you trust it."
            )
    else:
        raise ConfigError(f"no {kind} is named '{name}'; {nearest(name, PARTS[kind])}")
    module, _, attribute = path.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{kind} '{name}' cannot be imported ({error}); give it as package.module:Class.") from error
    if not inspect.isclass(found):
        raise ConfigError(f"{kind} '{name}' is no class; give it as package.module:Class.")
    return found


def option_names(kind: Kind, name: str, trusted: Collection[str] = ()) -> list[str]:
    """The options that the part's signature declares."""
    return list(_parameters(kind, find_class(kind, name, trusted)))


def fill_options(kind: Kind, name: str, options: Mapping[str, Any], trusted: Collection[str] = ()) -> dict[str, Any]:
    """All options of the part as plain data: those given, checked against its signature, and the defaults.

    Raises:
        pydantic.ValidationError: if an option is unknown, missing, or of the wrong type or value.
        ConfigError: if there is no such part.
    """
    found = find_class(kind, name, trusted)
    hints = get_type_hints(found.__init__)  # type: ignore[misc]
    fields: dict[str, Any] = {
        key: (hints.get(key, Any), ... if entry.default is entry.empty else entry.default)
        for key, entry in _parameters(kind, found).items()
    }
    made = create_model(f"{found.__name__}Options", __config__=ConfigDict(extra="forbid"), **fields)
    return made(**options).model_dump(mode="json")


def make_source(options: Mapping[str, Any], trusted: Collection[str] = ()) -> Any:
    """The source of a checked `source` section, as plain data.

    Raises:
        SourceError: if its input is missing or its options do not go together.
    """
    rest = {key: value for key, value in options.items() if key != "name"}
    return find_class("source", options["name"], trusted)(**rest)


def make_net(
    options: Mapping[str, Any], in_channels: int, out_channels: int, trusted: Collection[str] = (),
    base_pixels: Sequence[int] | None = None, targets: Sequence[Target] | None = None,
) -> Any:  # fmt: skip
    """The net of a checked `model` section, as plain data.

    One for the sphere learns which base pixels it covers; one with a part for each target learns which those are.

    Raises:
        ConfigError: if its options do not go together.
    """
    rest = {key: value for key, value in options.items() if key != "name"}
    if is_spherical(options["name"], trusted):
        rest["base_pixels"] = base_pixels
    if _declares(options["name"], "targets", trusted):
        if targets is None:
            raise ConfigError(f"model '{options['name']}' has a part for each target; it needs a store to learn which.")
        rest["targets"] = targets
    return find_class("model", options["name"], trusted)(in_channels, out_channels, **rest)


def is_spherical(name: str, trusted: Collection[str] = ()) -> bool:
    """Whether a net works on nested HEALPix cells itself: its class takes `base_pixels`."""
    return _declares(name, "base_pixels", trusted)


def _declares(name: str, parameter: str, trusted: Collection[str] = ()) -> bool:
    return parameter in inspect.signature(find_class("model", name, trusted).__init__).parameters  # type: ignore[misc]


def _parameters(kind: Kind, found: type) -> dict[str, inspect.Parameter]:
    entries = inspect.signature(found.__init__).parameters.items()  # type: ignore[misc]
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {key: entry for key, entry in entries if key not in _GIVEN[kind] and entry.kind not in variadic}
