"""Dense prediction that also learns from stores of other domains, whose photographs have no labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.discriminators import EntropyDiscriminator
from graticule.objectives.adversarial import Kind, discriminator_loss, generator_loss, gradient_penalty
from graticule.objectives.metrics import metrics
from graticule.objectives.sums import Sums, merge
from graticule.objectives.unsupervised import (
    entropy_map,
    ground_intersection,
    min_entropy,
    shares_of,
    total_variation,
)  # fmt: skip
from graticule.schema import DOMAIN, DOMAINS, SEEN, TARGETS, VALID, Band, Target, X
from graticule.tasks.dense import DensePrediction
from graticule.tasks.photographs import shown
from graticule.tasks.players import TwoPlayers
from graticule.tasks.ranks import sum_over_ranks
from graticule.tasks.unlabelled import (
    ADVERSARIAL,
    GROUND,
    PAINTER,
    PSEUDO,
    UnlabelledTerm,
    ground_channels,
    unlabelled_terms,
)  # fmt: skip

PaintLoss = Callable[[Tensor, Tensor], Tensor]
"""(photographs [b, 3, h, w] of -1 to 1, soft masks [b, 1, h, w]) -> how little they look like painted ones should."""

PRETRAIN = "pretrain"
"""Name of the domain that is learnt from before all others."""


class DomainAdaptation(TwoPlayers, DensePrediction):
    """Dense prediction with labels on the main store, and without on the stores of other domains.

    A batch of the main store carries one of each domain under `domains`. What a domain teaches without labels is said
    by `terms`: certainty (MinEnt), entropy maps that a discriminator cannot tell from the main store's (AdvEnt, Vu et
    al. 2019, arXiv:1811.12833), smooth masks, masks that cover the ground, masks that a painter makes good use of. None
    of these needs a target in the domain's store; only `pseudo_labels` learns from those that it has.

    The net's parts for all of it are those that predict; discriminators belong to the task, are saved with it, and are
    left out where a run is loaded to predict.

    Args:
        net: as in `DensePrediction`; `extragradient`, batch norms and turns are as in `TwoPlayers`.
        bands: of the input.
        targets: per pixel.
        domains: names of the domains without labels.
        main: name of the main store's domain.
        terms: {target: [{"name", "weight", "from_epoch", "until_epoch", "labelled", options}]}, see
            `tasks.unlabelled`; the usual ones if None. `labelled` terms count on the main store too.
        parts: learning rates and schedules of parts of the net (see `TwoPlayers.set_players`).
        opponent: optimiser and schedule of the discriminators.
        pretrain_epochs: so many epochs learn from the labels of the domain `pretrain` alone.
        paint_loss: of the term `painter`.
        seed: of what the losses draw.
        **dense: the arguments of `DensePrediction`.

    Raises:
        ConfigError: if a term, an optimiser or an option does not fit.
    """

    def __init__(
        self, net: nn.Module, bands: Sequence[Band], targets: Sequence[Target], *, domains: Sequence[str],
        main: str = "s", terms: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        parts: Mapping[str, Mapping[str, Any]] | None = None, opponent: Mapping[str, Any] | None = None,
        pretrain_epochs: int = 0, paint_loss: PaintLoss | None = None, seed: int = 0, **dense: Any,
    ) -> None:  # fmt: skip
        super().__init__(net, bands, targets, **dense)
        self.domains, self.main, self.pretrain_epochs, self.seed = tuple(domains), main, pretrain_epochs, seed
        self.domain_sums: dict[tuple[str, str], Sums] = {}
        if self.of_samples:
            raise ConfigError("task.name=adaptation is for targets per pixel; use task.name=dense for whole images.")
        if self.layer_decay is not None:
            raise ConfigError(
                "optim.layer_decay is for task.name=dense; with adaptation give parts of the net rates of their own "
                "(adaptation.parts)."
            )
        self.terms = unlabelled_terms(terms, self.targets) if self.domains else []
        self._paint_loss = paint_loss
        if paint_loss is None and any(term.name == PAINTER for term in self.terms):
            raise ConfigError("adaptation.losses has 'painter', and there is none; give adaptation.painter=RUN.")
        by_name = {target.name: target for target in self.targets}
        self.discriminators = nn.ModuleDict(
            {
                term.target: EntropyDiscriminator(
                    max(2, by_name[term.target].channels), term.options["width"], spectral=term.options["spectral"]
                )
                for term in self.terms
                if term.name == ADVERSARIAL
            }
        )
        optimizer = {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)}
        usual: dict[str, Any] = {"optimizer": optimizer, "schedule": {"name": "constant"}}
        self.set_players(self.optimizer_options, self.schedule_options, parts or {}, opponent or usual)

    @property
    def generator(self) -> nn.Module:
        """The net."""
        return self.net

    def describe(self) -> dict[str, Any]:
        """All that is needed to build the task again, as plain data; what predicts of it is built as a dense one."""
        return super().describe() | {"task": "adaptation"}

    def generator_losses(self, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
        """The labelled losses of the main store (of `pretrain` in its epochs), and the terms of each other domain."""
        pretraining = self.current_epoch < self.pretrain_epochs
        idle = pretraining or not any(term.counts(self.current_epoch) for term in self.terms)
        labelled = batch[DOMAINS][PRETRAIN] if pretraining else batch
        outputs = self(labelled[X], labelled[SEEN])
        losses = self.over_ranks(*self.loss_of(outputs, labelled))
        zero = next(iter(losses.values())).new_zeros(())
        entropies = {self.main: self._entropies(outputs)}
        for term in (term for term in self.terms if term.labelled):
            counts = not pretraining and term.counts(self.current_epoch)
            losses[_told(self.main, term)] = term.weight * self._term(term, outputs, labelled) if counts else zero
        for name in self.domains:
            found, made = self._domain(batch[DOMAINS][name], name, zero, idle=idle)
            losses |= found
            entropies[name] = made
        return losses, None if pretraining or not self._opposing else entropies

    def _domain(
        self, batch: Mapping[str, Any], name: str, zero: Tensor, *, idle: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of one domain, 0 where they do not count, and its entropy maps without their graph."""
        if idle:
            return {_told(name, term): zero for term in self.terms}, {}
        outputs = self(batch[X], batch[SEEN])
        return {
            _told(name, term): term.weight * self._term(term, outputs, batch)
            if term.counts(self.current_epoch)
            else zero
            for term in self.terms
        }, self._entropies(outputs)

    def _term(self, term: UnlabelledTerm, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> Tensor:
        """A term of the target's outputs, without its weight."""
        shares = shares_of(outputs[term.target].float())
        if term.name == "min_entropy":
            return min_entropy(shares, term.options["variance"])
        if term.name == ADVERSARIAL:
            return generator_loss(_objective(term), [self.discriminators[term.target](entropy_map(shares))])
        wet = shares[:, :1]
        if term.name == "total_variation":
            return total_variation(wet)
        if term.name == GROUND:
            return ground_intersection(self._ground(term, outputs), wet, term.options["margin"])
        if term.name == PAINTER:
            assert self._paint_loss is not None
            return self._paint_loss(self._photographs(batch), wet)
        return self._pseudo(term, outputs, batch)

    def _ground(self, term: UnlabelledTerm, outputs: Mapping[str, Tensor]) -> Tensor:
        """How likely each pixel is ground, as the net itself says; that does not learn from the mask."""
        name, channels = ground_channels(term.options["classes"], self.targets)
        return outputs[name].detach().float().softmax(1)[:, channels].sum(1, keepdim=True)

    def _photographs(self, batch: Mapping[str, Any]) -> Tensor:
        """The input as the painter takes it: -1 to 1 over the bands' valid ranges."""
        return shown(batch[X], self.bands) * 2 - 1

    def _pseudo(self, term: UnlabelledTerm, outputs: Mapping[str, Tensor], batch: Mapping[str, Any]) -> Tensor:
        """The target's own losses on what the domain's store has as its labels.

        Raises:
            ConfigError: if it has none.
        """
        if term.target not in batch[TARGETS]:
            raise ConfigError(
                f"adaptation.losses.{term.target} has '{PSEUDO}', and a domain's store has no target "
                f"'{term.target}'; prepare it with labels, or leave the term out."
            )
        labels = {key: {term.target: batch[key][term.target]} for key in (TARGETS, VALID)}
        return self.loss_of(outputs, {**batch, **labels}, only=term.target)[0][term.target]

    def _entropies(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: entropy_map(shares_of(outputs[name].detach().float())) for name in self.discriminators}

    @property
    def _opposing(self) -> list[UnlabelledTerm]:
        """The adversarial terms that count in this epoch."""
        return [term for term in self.terms if term.name == ADVERSARIAL and term.counts(self.current_epoch)]

    def discriminator_losses(self, made: Any) -> dict[str, Tensor]:
        """Of each discriminator, how badly it tells the main store's entropy maps from all others."""
        losses = {}
        for term in (term for term in self.terms if term.name == ADVERSARIAL):
            told = f"discriminator/{term.target}"
            if made is None or term not in self._opposing:
                losses[told] = self.out_mean.new_zeros(())
                continue
            net, ours = self.discriminators[term.target], made[self.main][term.target]
            theirs = torch.cat([made[name][term.target] for name in self.domains])
            loss = discriminator_loss(_objective(term), [net(ours)], [net(theirs)])
            if term.options["objective"] == "wgan_gp":
                n = min(len(ours), len(theirs))
                penalty = gradient_penalty(net, ours[:n], theirs[:n], self.seed, self.global_step)
                loss = loss + term.options["penalty"] * penalty
            losses[told] = loss
        return losses

    def after_step(self) -> None:
        """The running mean of the weights, where one is kept."""
        self.follow_net()

    def on_validation_epoch_start(self) -> None:
        """Begin the sums anew."""
        super().on_validation_epoch_start()
        self.domain_sums = {}

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Add the batch to the sums of its domain."""
        name = batch.get(DOMAIN, self.main)
        if name == self.main:
            super().validation_step(batch, batch_idx)
            return
        for target, sums in self.sums_of(self.predict(batch[X], batch[SEEN]), batch).items():
            kept = self.domain_sums.get((name, target))
            self.domain_sums[name, target] = sums if kept is None else merge(kept, sums)

    def on_validation_epoch_end(self) -> None:
        """Metrics of the main store under `val/`, of other domains that know a target under `val/DOMAIN/TARGET/`."""
        super().on_validation_epoch_end()
        by_name = {target.name: target for target in self.targets}
        values: dict[str, float] = {}
        for (name, target), sums in self.domain_sums.items():
            added = {key: sum_over_ranks(value).cpu().numpy() for key, value in sums.items()}
            found = metrics(by_name[target].kind, added, [entry.name for entry in by_name[target].legend])
            # A domain may have labels nowhere in this part.
            values |= {f"val/{name}/{target}/{key}": value for key, value in found.items() if math.isfinite(value)}
        self.val_metrics |= values
        self.log_dict(values, logger=False)


def _objective(term: UnlabelledTerm) -> Kind:
    name: Any = term.options["objective"]
    return "wgan" if name == "wgan_gp" else name


def _told(domain: str, term: UnlabelledTerm) -> str:
    return f"{domain}/{term.target}/{term.name}"
