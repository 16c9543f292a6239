"""The methods by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from graticule.errors import ConfigError, nearest
from graticule.tasks.pretraining.contrastive import MoCo, SimCLR
from graticule.tasks.pretraining.dino import DINO
from graticule.tasks.pretraining.masked import MAE
from graticule.tasks.pretraining.method import Method
from graticule.tasks.pretraining.redundancy import BarlowTwins, VICReg
from graticule.tasks.pretraining.siamese import BYOL, SimSiam

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "simsiam": SimSiam,
    "barlow_twins": BarlowTwins,
    "vicreg": VICReg,
    "dino": DINO,
    "mae": MAE,
}


def method_options(name: str) -> dict[str, Any]:
    """The options of a method and their defaults."""
    parameters = list(inspect.signature(METHODS[name].__init__).parameters.items())[2:]
    return {key: entry.default for key, entry in parameters}


def make_method(name: str, net: nn.Module, options: Mapping[str, Any], views: tuple[int, int]) -> Method:
    """The method of that name for a net, checked against the numbers of views and of local views.

    Raises:
        ConfigError: for an unknown method or option, or views that the method cannot use.
    """
    if name not in METHODS:
        raise ConfigError(f"no method of pretraining is named '{name}'; {nearest(name, METHODS)}")
    known = method_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"pretraining.options: {name} has no option '{option}'; {nearest(option, known)}")
    kind, (number, local) = METHODS[name], views
    least, most = kind.views
    if number < least or (most is not None and number > most):
        wanted = f"{least}" if least == most else f"at least {least}"
        raise ConfigError(f"pretraining.views.number is {number}; {name} compares {wanted}.")
    if local and not kind.local:
        able = ", ".join(key for key, one in METHODS.items() if one.local)
        raise ConfigError(f"pretraining.views.local is {local}; {name} has no local views (only {able}); set it to 0.")
    return kind(net, **options)
