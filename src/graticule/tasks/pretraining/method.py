"""What every method of pretraining has, and what several share: a teacher that follows the net."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

View = Float[Tensor, "b c h w"]
Found = tuple[dict[str, Tensor], dict[str, Tensor]]
"""The terms of the loss, which add to it; and what else is worth knowing of a batch."""


@dataclass(frozen=True)
class Clock:
    """How far a training is: `step` of `steps` optimiser steps. Schedules are functions of it and of nothing else."""

    step: int
    steps: int

    def cosine(self, start: float, end: float) -> float:
        """Half a cosine from `start` at the first step to `end` at the last."""
        return float(cosine_schedule(min(self.step, self.steps), self.steps, start, end))

    def linear(self, start: float, end: float, share: float) -> float:
        """From `start` to `end` over the first `share` of the steps, then `end`."""
        done = 1.0 if share <= 0 else min(1.0, self.step / max(1.0, share * self.steps))
        return start + (end - start) * done


class Method(nn.Module):
    """Heads, teachers and loss of one method; the net that is learnt belongs to the task and is handed in.

    Attributes:
        views: how many views it needs, at least and at most (None: any number).
        local: whether it can use further, smaller views.
    """

    views: ClassVar[tuple[int, int | None]] = (2, 2)
    local: ClassVar[bool] = False

    def forward(self, net: nn.Module, views: Sequence[View], clock: Clock) -> Found:
        """The loss of a batch's views. In eval mode nothing changes by it."""
        raise NotImplementedError

    def before_step(self, clock: Clock) -> None:
        """What happens to the gradients."""

    def after_step(self, net: nn.Module, clock: Clock) -> None:
        """What follows a step of the optimiser."""

    def followers(self) -> list[str]:
        """Names of the parts that follow the net and are not learnt."""
        return []


class Teacher(nn.Module):
    """A copy of the net and its head that follows them: t = m t + (1 - m) s, m by a cosine from `momentum` to 1.

    Args:
        net: what is learnt.
        head: of the student.
        momentum: at the first step.
    """

    def __init__(self, net: nn.Module, head: nn.Module, momentum: float) -> None:
        super().__init__()
        self.net, self.head, self.momentum = copy.deepcopy(net), head, momentum
        deactivate_requires_grad(self.net)
        deactivate_requires_grad(self.head)

    @torch.no_grad()
    def forward(self, view: View) -> Float[Tensor, "b d"]:
        """Projected features, without a gradient."""
        projected: Tensor = self.head(self.net(view))
        return projected.detach()

    def follow(self, net: nn.Module, head: nn.Module, clock: Clock) -> None:
        """One step towards the student."""
        momentum = clock.cosine(self.momentum, 1.0)
        update_momentum(net, self.net, momentum)
        update_momentum(head, self.head, momentum)
