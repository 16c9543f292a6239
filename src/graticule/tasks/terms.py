"""The terms of each target's loss: what the configuration asks for, as functions of a net's output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graticule.errors import ConfigError, nearest
from graticule.objectives.losses import Loss, make_loss
from graticule.schema import Target

Entries = Sequence[Mapping[str, Any]]

ANY = "any"
"""In place of a target's name: the entries of every target that has none of its own."""

_IN_UNITS = frozenset({"silog"})
"""Losses that need values in the unit itself; all others see transformed and scaled ones."""

_OF_THE_TERM = ("name", "weight", "from_epoch", "until_epoch")


@dataclass(frozen=True)
class Term:
    """One loss of one target.

    Attributes:
        loss: the function.
        weight: its factor in the sum.
        in_units: whether it takes values in the unit.
        start: the first epoch in which it counts.
        end: the first epoch in which it no longer counts; None for never.
    """

    loss: Loss
    weight: float
    in_units: bool
    start: int = 0
    end: int | None = None

    def counts(self, epoch: int) -> bool:
        """Whether the term is part of the sum in that epoch."""
        return self.start <= epoch and (self.end is None or epoch < self.end)


def entries_of(losses: Mapping[str, Entries] | None, targets: Sequence[Target]) -> dict[str, list[dict[str, Any]]]:
    """The entries of each trained target, in the order of the targets: those asked for, or the usual ones if None.

    Raises:
        ConfigError: if an entry is of no target, or there is none at all.
    """
    if losses is None:
        return {t.name: [{"name": "cross_entropy" if t.is_categorical else "l1"}] for t in targets}
    names = [target.name for target in targets]
    for name in losses:
        if name not in (*names, ANY):
            raise ConfigError(f"task.losses has an entry for '{name}', which is no target; {nearest(name, names)}")
    wanted = {name: losses.get(name, losses.get(ANY)) for name in names}
    chosen = {name: [dict(entry) for entry in entries] for name, entries in wanted.items() if entries}
    if not chosen:
        raise ConfigError(f"task.losses names no loss; give at least one of the targets {names} a loss.")
    return chosen


def terms_of(target: Target, entries: Entries) -> list[Term]:
    """The terms of a target's loss.

    Raises:
        ConfigError: if a loss or an option does not fit the target, or no term counts in some epoch.
    """
    if target.kind == "image":
        raise ConfigError(f"target '{target.name}' is an image; dense prediction takes classes, binary, height, depth.")
    terms = []
    for entry in entries:
        options = {key: value for key, value in entry.items() if key not in _OF_THE_TERM}
        name = str(entry.get("name", ""))
        start, end = int(entry.get("from_epoch", 0)), entry.get("until_epoch")
        terms.append(
            Term(make_loss(target, name, **options), float(entry.get("weight", 1.0)), name in _IN_UNITS, start, end)
        )
    changes = {0, *(term.start for term in terms), *(term.end for term in terms if term.end is not None)}
    for epoch in sorted(changes):
        if not any(term.counts(epoch) for term in terms):
            raise ConfigError(
                f"target '{target.name}' has no loss from epoch {epoch} on; "
                "let from_epoch and until_epoch of its losses meet."
            )
    return terms


class Scale:
    """How a target's values are told to a net: transformed, then value = output * unit + zero.

    Args:
        target: whose values.
        zero: what the net gives as 0, a tensor on its device.
        unit: what it gives as 1, less `zero`.
    """

    def __init__(self, target: Target, zero: Tensor, unit: Tensor) -> None:
        self.target, self.zero, self.unit = target, zero, unit

    def learnt(
        self, truth: Float[Tensor, "b *space"], valid: Bool[Tensor, "b *space"]
    ) -> tuple[Float[Tensor, "b *space"], Bool[Tensor, "b *space"]]:
        """The truth as the net gives it, and where there is one."""
        valid = valid & self.target.is_transformable(truth)
        return (self.target.transformed(torch.where(valid, truth, 1), torch.log) - self.zero) / self.unit, valid

    def value(self, output: Tensor) -> Tensor:
        """The net's first channel in the target's unit."""
        found: Tensor = self.target.restored(output * self.unit + self.zero, torch.exp)
        return found

    def deviation(self, output: Float[Tensor, "b two *space"]) -> Float[Tensor, "b *space"]:
        """The standard deviation of the error in the unit: half of the way from one deviation below to one above."""
        step = (output[:, 1].clamp(-10, 10) / 2).exp()
        return (self.value(output[:, 0] + step) - self.value(output[:, 0] - step)).abs() / 2
