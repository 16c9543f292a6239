"""A generator and its discriminators that learn from each other under one trainer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from graticule.errors import ConfigError, nearest
from graticule.tasks.optimizers import check_optimizer, make_optimizer, make_schedule
from graticule.tasks.task import Task

GENERATOR, DISCRIMINATORS = 0, 1

Rate = tuple[dict[str, Any], float, Callable[[int], float]]
"""A group of an optimiser, its highest rate, and the factor on it at a step."""


class TwoPlayers(Task):
    """What the tasks with discriminators share: whose turn it is, and what counts as a step.

    Each batch is one step: the generator's losses, its step, then the discriminators' losses and theirs. These see what
    the generator made for its own losses, without its graph, so that it runs once: no second graph, and no second
    update of batch norm statistics. The discriminators' weights take no gradient from the generator's losses.

    With `extra_adam` both go ahead first, and then step from where they were by the gradients found ahead, on the same
    batch. Of the two runs of the generator only the first changes batch norm statistics.

    A subclass sets `discriminators` and calls `set_players`.
    """

    discriminators: nn.ModuleDict

    def set_players(
        self, optimizer: Mapping[str, Any], schedule: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]],
        opponent: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Take the options of the optimisers.

        Args:
            optimizer: the generator's, {"name", options}.
            schedule: the generator's, {"name", options}.
            parts: {part of the generator: {"lr": its own highest rate, "schedule": its own schedule}}, each optional.
            opponent: {"optimizer", "schedule"} of the discriminators.

        Raises:
            ConfigError: if an optimiser or schedule is unknown or does not fit, or there is no such part.
        """
        self.automatic_optimization = False
        self.optimizer_options, self.schedule_options = dict(optimizer), dict(schedule)
        self.parts, self.opponent = {name: dict(told) for name, told in parts.items()}, dict(opponent)
        self._rates: list[Rate] = []
        for options in (self.optimizer_options, self.opponent["optimizer"]):
            check_optimizer(options)
        schedules = [told["schedule"] for told in self.parts.values() if told.get("schedule")]
        for chosen in (self.schedule_options, self.opponent["schedule"], *schedules):
            make_schedule(chosen, 1, 1)
        names = {self.optimizer_options["name"], self.opponent["optimizer"]["name"]}
        self.extragradient = names == {"extra_adam"}
        if "extra_adam" in names and not self.extragradient:
            raise ConfigError(
                "one player has the optimiser extra_adam and the other has not, and only both together can go ahead; "
                "give it to optim.optimizer and to the discriminators' optimizer."
            )
        known = [name for name, _ in self.generator.named_children()]
        for part in self.parts:
            if part not in known:
                raise ConfigError(f"the net has no part '{part}'; {nearest(part, known)}")

    @property
    def generator(self) -> nn.Module:
        """The net that learns against the discriminators; its children are the parts with rates of their own."""
        raise NotImplementedError

    def generator_losses(self, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
        """The weighted terms of the generator's loss, the same names at every step; and what the others learn from.

        None in place of the latter where the discriminators have no turn.
        """
        raise NotImplementedError

    def discriminator_losses(self, made: Any) -> dict[str, Tensor]:
        """The terms of the discriminators' loss, of what `generator_losses` left; all 0 for None."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called when the generator has stepped."""

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """One step of both players; the losses of the discriminators have names that begin with `discriminator/`."""
        if self.extragradient:
            self._turn(batch, extrapolate=True)
            with frozen_statistics(self):
                losses = self._turn(batch)
        else:
            losses = self._turn(batch)
        self.after_step()
        self._set_rates()
        # One rounding: a sum of many terms in low precision would depend on their order.
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        return {"loss": loss, "losses": losses}

    def _turn(self, batch: Mapping[str, Any], *, extrapolate: bool = False) -> dict[str, Tensor]:
        self.discriminators.requires_grad_(False)
        losses, made = self.generator_losses(batch)
        self.discriminators.requires_grad_(True)
        self._advance(GENERATOR, losses, extrapolate)
        against = self.discriminator_losses(made)
        if made is not None:
            self._advance(DISCRIMINATORS, against, extrapolate)
        return {name: value.detach().float() for name, value in (losses | against).items()}

    def _advance(self, player: int, losses: Mapping[str, Tensor], extrapolate: bool) -> None:
        """Step by the gradients of the losses, or go ahead."""
        wrapped: Any = _listed(self.optimizers())[player]
        optimizer: Optimizer = wrapped.optimizer
        optimizer.zero_grad()
        self.manual_backward(torch.stack([value.float() for value in losses.values()]).sum())
        if player == GENERATOR and not extrapolate:
            wrapped.step()
            return
        # Not through Lightning's wrapper, which counts: one batch is one step of the trainer, whoever has a turn.
        options: dict[str, Any] = {"extrapolate": True} if extrapolate else {}
        self.trainer.strategy.optimizer_step(optimizer, _nothing, **options)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Bound the norm of the player's gradient, once it is unscaled; Lightning does not where there are two."""
        if self.gradient_clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)

    def configure_optimizers(self) -> Any:
        """The generator's optimiser, with a group for each part that has options of its own; the discriminators'."""
        assert self.planned is not None or self.trainer is not None
        if self.planned is None:
            steps = int(self.trainer.estimated_stepping_batches)
            self.planned = (steps, max(1, steps // max(1, self.trainer.max_epochs or 1)))
        groups, factors = self._groups()
        optimizers = [make_optimizer(groups, self.optimizer_options)]
        self._rates = [(group, group["lr"], f) for group, f in zip(optimizers[0].param_groups, factors, strict=True)]
        if len(self.discriminators):
            optimizers.append(make_optimizer(self.discriminators.parameters(), self.opponent["optimizer"]))
            group = optimizers[1].param_groups[0]
            self._rates.append((group, group["lr"], make_schedule(self.opponent["schedule"], *self.planned)))
        return optimizers

    def _groups(self) -> tuple[list[dict[str, Any]], list[Callable[[int], float]]]:
        """Groups of the generator's parameters, the parts' first, and the schedule of each."""
        assert self.planned is not None
        groups: list[dict[str, Any]] = []
        factors = []
        left = {name: p for name, p in self.generator.named_parameters() if p.requires_grad}
        for part, told in self.parts.items():
            own = [left.pop(name) for name in [name for name in left if name.split(".")[0] == part]]
            groups.append({"params": own} | ({"lr": told["lr"]} if told.get("lr") else {}))
            factors.append(make_schedule(told.get("schedule") or self.schedule_options, *self.planned))
        if left:
            # First, for its rate is the one that is logged.
            groups.insert(0, {"params": list(left.values())})
            factors.insert(0, make_schedule(self.schedule_options, *self.planned))
        return groups, factors

    def on_train_start(self) -> None:
        """Set the learning rates of the first step; a function of the step alone, so that there is nothing to save."""
        self._set_rates()

    def _set_rates(self) -> None:
        step = self.trainer.global_step
        # Of the optimiser as it is now: loading a state puts other groups in place of those that were made.
        groups = [group for wrapped in _listed(self.optimizers()) for group in wrapped.param_groups]
        for group, (_, rate, factor) in zip(groups, self._rates, strict=True):
            group["lr"] = rate * factor(step)


@contextmanager
def frozen_statistics(task: nn.Module) -> Iterator[None]:
    """Let no batch norm change its running statistics; what it computes is the same."""
    norms = [module for module in task.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _listed(optimizers: Any) -> Sequence[Any]:
    return optimizers if isinstance(optimizers, list | tuple) else [optimizers]


def _nothing() -> None:
    return None
