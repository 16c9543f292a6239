"""Optimisers and learning-rate schedules by name.

A schedule is a pure function of the step: the factor on the learning rate after `step` of `steps` optimiser steps. So a
resumed run goes on at the very rate where it stopped, and a run of another length has the curve of that length.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from graticule.errors import ConfigError, nearest


class ExtraAdam(torch.optim.Adam):
    """Extragradient with Adam's steps, for two players (Gidel et al. 2019, arXiv:1802.10551, algorithm 4).

    `step(extrapolate=True)` goes ahead and remembers where it was; the next `step` begins there again, with the
    gradients found ahead. What is remembered is part of the state, so that a checkpoint between the two is exact. A
    `step` without one ahead is Adam's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, *, extrapolate: bool = False) -> Any:
        """Go ahead, or step from where it was before."""
        found = None
        if closure is not None:
            with torch.enable_grad():
                found = closure()
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p in parameters] if extrapolate else []
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p].pop("before", None) if p in self.state else None
                if kept is not None:
                    p.copy_(kept)
        super().step()
        for p, kept in zip(parameters, before, strict=False):
            self.state[p]["before"] = kept
        return found


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "extra_adam": ExtraAdam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
}


def constant(step: int, steps: int, steps_per_epoch: int, *, warmup_steps: int = 0) -> float:
    """Always 1, after a linear warm-up."""
    return _warmup(step, warmup_steps)


def cosine(
    step: int, steps: int, steps_per_epoch: int, *, warmup_steps: int = 0, final_factor: float = 0.0
) -> float:  # fmt: skip
    """Linear warm-up, then half a cosine from 1 down to `final_factor` (Loshchilov & Hutter 2017, one cycle)."""
    if step < warmup_steps:
        return _warmup(step, warmup_steps)
    done = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    return final_factor + (1 - final_factor) * (1 + math.cos(math.pi * done)) / 2


def one_cycle(
    step: int, steps: int, steps_per_epoch: int, *, warmup_steps: int = 0, start_factor: float = 0.04,
    final_factor: float = 4e-6,
) -> float:  # fmt: skip
    """Half a cosine up from `start_factor` over the warm-up (0: three tenths), another down to `final_factor`.

    The learning rate that is given is the highest (Smith & Topin 2018; the momentum stays as it is).
    """
    top = max(1.0, warmup_steps or 0.3 * steps)
    low, done = (start_factor, step / top) if step < top else (final_factor, 1 - (step - top) / max(1.0, steps - top))
    return low + (1 - low) * (1 - math.cos(math.pi * min(1.0, max(0.0, done)))) / 2


def exponential(
    step: int, steps: int, steps_per_epoch: int, *, gamma: float = 0.95, warmup_steps: int = 0
) -> float:  # fmt: skip
    """`gamma` to the power of the number of whole epochs done, after a linear warm-up."""
    return gamma ** (step // max(1, steps_per_epoch)) * _warmup(step, warmup_steps)


def stepwise(
    step: int, steps: int, steps_per_epoch: int, *, gamma: float = 0.5, epochs: int = 5,
    milestones: Sequence[int] | None = None, warmup_steps: int = 0,
) -> float:  # fmt: skip
    """`gamma` to the power of how often `epochs` epochs, or of how many `milestones` (epochs), are over."""
    epoch = step // max(1, steps_per_epoch)
    over = epoch // max(1, epochs) if milestones is None else sum(epoch >= milestone for milestone in milestones)
    return gamma**over * _warmup(step, warmup_steps)


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "exponential": exponential,
    "stepwise": stepwise,
}


def make_optimizer(parameters: Iterable[Tensor] | Iterable[dict[str, Any]], options: Mapping[str, Any]) -> Optimizer:
    """The optimiser of that `name` with its other options.

    Raises:
        ConfigError: if there is no such optimiser, or it has no such option or cannot take its value.
    """
    name, rest = _named(options, OPTIMIZERS, "optimizer")
    try:
        return OPTIMIZERS[name](parameters, **rest)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer '{name}' cannot be made: {error}; change it in optim.optimizer.") from error


def check_optimizer(options: Mapping[str, Any]) -> None:
    """Raise what `make_optimizer` would, before there are parameters to train."""
    make_optimizer([torch.nn.Parameter(torch.zeros(1))], options)


def make_schedule(options: Mapping[str, Any], steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The schedule of that `name` as a function step -> factor on the learning rate.

    Args:
        options: `name` and the schedule's own options.
        steps: optimiser steps of the whole training.
        steps_per_epoch: optimiser steps of an epoch.

    Raises:
        ConfigError: if there is no such schedule, or it has no such option.
    """
    name, rest = _named(options, SCHEDULES, "schedule")
    return partial(SCHEDULES[name], steps=steps, steps_per_epoch=steps_per_epoch, **rest)


def _named(
    options: Mapping[str, Any], known: Mapping[str, Callable[..., Any]], what: str
) -> tuple[str, dict[str, Any]]:
    """The name and the rest of the options, all known to the thing of that name."""
    rest = {key: value for key, value in options.items() if key != "name"}
    name = options.get("name", "")
    if name not in known:
        raise ConfigError(f"no {what} is named '{name}'; {nearest(str(name), known)}")
    parameters = inspect.signature(known[name]).parameters
    # The first ones are what every optimiser or schedule is given by us.
    taken = set(parameters) - {"params", "self", "step", "steps", "steps_per_epoch"}
    for option in rest:
        if option not in taken:
            raise ConfigError(f"{what} '{name}' has no option '{option}'; {nearest(option, taken)}")
    return name, rest


def _warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))
