"""Pretraining without labels: eight methods, each from the losses and heads of lightly."""

from graticule.tasks.pretraining.methods import METHODS, make_method, method_options
from graticule.tasks.pretraining.task import Pretraining

__all__ = ["METHODS", "Pretraining", "make_method", "method_options"]
