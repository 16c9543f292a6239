"""Pretraining without labels: eight methods, each from the losses and heads of lightly."""

from importlib.util import find_spec

from graticule.errors import ConfigError

if find_spec("lightly") is None:
    raise ConfigError(
        "task.name=pretraining needs the package lightly, which is missing; pip install 'graticule[pretraining]'."
    )

from graticule.tasks.pretraining.methods import METHODS, make_method, method_options
from graticule.tasks.pretraining.task import Pretraining

__all__ = ["METHODS", "Pretraining", "make_method", "method_options"]
