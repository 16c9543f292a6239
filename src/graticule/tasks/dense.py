"""One net, any mix of targets per pixel (classes, binary masks, heights, depths), on any grid; or labels of samples."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.objectives.metrics import metrics
from graticule.objectives.sums import Sums, merge, target_sums
from graticule.schema import AREA, SEEN, TARGETS, VALID, Band, Target, X, band_to_dict, target_to_dict
from graticule.tasks.cells import Pool, counted, pool_cells
from graticule.tasks.normalisation import Normalisation, normalised, scale_and_shift
from graticule.tasks.optimizers import check_optimizer, make_optimizer, make_schedule
from graticule.tasks.ranks import sum_over_ranks, world_size
from graticule.tasks.stages import Frozen, decayed_groups
from graticule.tasks.task import VERSION, Task
from graticule.tasks.terms import Scale, entries_of, terms_of


class DensePrediction(Task):
    """Predicts a value of each target at every pixel; owns normalisation, so that a checkpoint carries it.

    Where the targets are known once per sample, all fields of a target lack the axes of space, the net's output too.

    Args:
        net: tensors [b, c, *space] -> [b, k, *space] (or [b, k]); its k channels are those of the targets, in order.
        bands: of the input, in order, with mean and std as measured on training samples.
        targets: classes, binary, height or depth; the last two with mean and std as measured.
        losses: {target: [{"name", "weight", options of the loss ...}]}; a target without an entry is not trained.
            Targets of classes and binary ones get cross-entropy, values L1, if None.
        optimizer: {"name", options}.
        schedule: {"name", options}.
        area_weighted: weigh pixels by their area, in the losses and in the metrics.
        ema_decay: keep a shadow net, the running mean of the weights with this decay, and predict with it.
        grid_kind: what the pixels lie on ("raster", "healpix", "camera"); travels in the checkpoint.
        config: plain data that travels in the checkpoint and from which the net can be built again.
        normalisation: of the input, by statistics of the training samples or by the bands' valid ranges.
        compile_net: run the net through `torch.compile`.
        cell_pool: how the outputs of a cell's pixels become one, for targets known for cells (see `tasks.cells`).
        layer_decay: factor on the learning rate from a block of the encoder to the one before it (see `tasks.stages`).
        freeze: parts of the net that do not learn.
        freeze_epochs: they do from this epoch on; None: never.

    Raises:
        ConfigError: if a loss, optimiser or schedule is unknown or does not fit.
    """

    in_scale: Tensor
    in_shift: Tensor
    in_empty: Tensor
    out_mean: Tensor
    out_std: Tensor

    def __init__(
        self, net: nn.Module, bands: Sequence[Band], targets: Sequence[Target], *,
        losses: Mapping[str, Sequence[Mapping[str, Any]]] | None = None, optimizer: Mapping[str, Any] | None = None,
        schedule: Mapping[str, Any] | None = None, area_weighted: bool = False, ema_decay: float | None = None,
        grid_kind: str = "raster", config: Mapping[str, Any] | None = None, compile_net: bool = False,
        normalisation: Normalisation = "statistics",
        cell_pool: Pool = "mean", layer_decay: float | None = None, freeze: Sequence[str] = (),
        freeze_epochs: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(bands, targets, config=config, compile_net=compile_net)
        check_alike(self.targets)
        self.net = net
        self.layer_decay, self.freeze_parts, self.freeze_epochs = layer_decay, tuple(freeze), freeze_epochs
        self.frozen = Frozen(net, self.freeze_parts, freeze_epochs)
        self.losses = entries_of(losses, self.targets)
        self.objectives = {t.name: terms_of(t, self.losses[t.name]) for t in self.targets if t.name in self.losses}
        self.optimizer_options = dict(optimizer or {"name": "adamw", "lr": 1e-3})
        self.schedule_options = dict(schedule or {"name": "constant"})
        check_optimizer(self.optimizer_options)
        make_schedule(self.schedule_options, 1, 1)
        if ema_decay is not None and not 0 < ema_decay < 1:
            raise ConfigError(f"task.ema_decay is {ema_decay}; it must be between 0 and 1, or null for no mean.")
        self.area_weighted, self.ema_decay = area_weighted, ema_decay
        self.grid_kind, self.cell_pool = grid_kind, cell_pool
        self.shadow = None if ema_decay is None else copy.deepcopy(net).requires_grad_(False)
        self.normalisation: Normalisation = normalisation
        self._normalisation()
        self.val_sums: dict[str, Sums] = {}
        self.val_losses: dict[str, Tensor] = {}

    def _normalisation(self) -> None:
        """Buffers: standardised = stored * in_scale + in_shift; transformed value = output * out_std + out_mean."""
        scale, shift, empty = scale_and_shift(self.bands, self.normalisation)
        self.register_buffer("in_scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("in_shift", torch.tensor(shift, dtype=torch.float32))
        self.register_buffer("in_empty", torch.tensor(empty, dtype=torch.float32), persistent=False)
        zeros, units = zip(*(target.zero_and_unit for target in self.targets), strict=True)
        self.register_buffer("out_mean", torch.tensor(zeros))
        self.register_buffer("out_std", torch.tensor(units))

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """Of the first target: IoU for labels of pixels, accuracy for those of samples, MAE for values."""
        if self.of_samples:
            return "val/accuracy", "max"
        return ("val/iou", "max") if self.targets[0].is_categorical else ("val/mae", "min")

    @property
    def of_samples(self) -> bool:
        """Whether the targets are known once per sample."""
        return self.targets[0].is_of_sample

    @property
    def base_pixels(self) -> tuple[int, ...] | None:
        """The HEALPix base pixels that the net sees at once; None where it sees windows."""
        faces = self.config.get("base_pixels")
        return None if faces is None else tuple(faces)

    def normalise(self, x: Tensor, seen: Bool[Tensor, "b *space"] | None = None) -> Float[Tensor, "b c *space"]:
        """Stored values [b, c, *space] of any type, normalised; each band's mean where nothing was seen."""
        return normalised(x, seen, self.normalisation, self.in_scale, self.in_shift, self.in_empty)

    def forward(self, x: Tensor, seen: Bool[Tensor, "b *space"] | None = None) -> dict[str, Tensor]:
        """The net's raw output [b, k, *space] per target: logits, or standardised values."""
        return self._split(self.net(self.normalise(x, seen)))

    def predict(self, x: Tensor, seen: Bool[Tensor, "b *space"] | None = None) -> dict[str, Tensor]:
        """Per target: probabilities [b, k, *space] (k = 1 for binary), or values [b, *space] in its unit.

        Where a target has an uncertainty, also its deviation [b, *space] in the unit, under `target.uncertainty_name`.
        Uses the mean of the weights where there is one. Put the task into `eval()` first.
        """
        net = self.net if self.shadow is None else self.shadow
        return self._finished(self._split(net(self.normalise(x, seen))))

    def _split(self, output: Tensor) -> dict[str, Tensor]:
        channels = [target.channels for target in self.targets]
        if (output.ndim == 2) != self.of_samples:
            wanted = "once for a sample" if self.of_samples else "for every pixel"
            raise ConfigError(
                f"the net answers with a tensor of shape {list(output.shape)}, and target '{self.targets[0].name}' is "
                f"known {wanted}; choose model={'classifier' if self.of_samples else 'unet'}, or another such net."
            )
        if output.shape[1] != sum(channels):
            raise ConfigError(f"the net has {output.shape[1]} output channels; the targets need {sum(channels)}.")
        parts = zip(self.targets, output.split(channels, dim=1), strict=True)
        return {target.name: pool_cells(part, target, self.cell_pool) for target, part in parts}

    def _finished(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        finished = {}
        for number, target in enumerate(self.targets):
            output = outputs[target.name].float()
            if target.kind == "classes":
                finished[target.name] = output.softmax(1)
            elif target.kind == "binary":
                finished[target.name] = output.sigmoid()
            else:
                finished[target.name] = self._scale(number).value(output[:, 0])
                if target.uncertainty:
                    finished[target.uncertainty_name] = self._scale(number).deviation(output)
        return finished

    def _scale(self, number: int) -> Scale:
        return Scale(self.targets[number], self.out_mean[number], self.out_std[number])

    def _area(self, batch: Mapping[str, Any]) -> Tensor | None:
        """The weight of each pixel; a sample counts 1."""
        return batch[AREA] if self.area_weighted and not self.of_samples else None

    def loss_of(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], only: str | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The loss of each trained target (of `only` one), and the weight [targets] of the pixels it is a mean over."""
        area = self._area(batch)
        losses, masses = {}, []
        for number, target in enumerate(self.targets):
            if target.name not in self.objectives or only not in (None, target.name):
                continue
            truth, valid, output = batch[TARGETS][target.name], batch[VALID][target.name], outputs[target.name]
            scale, learnt = self._scale(number), truth
            if not target.is_categorical:
                learnt, valid = scale.learnt(truth, valid)
            valid = counted(valid, target.cell)
            total = output.new_zeros((), dtype=torch.float32)
            for term in self.objectives[target.name]:
                if term.in_units and term.counts(self.current_epoch):
                    total = total + term.weight * term.loss(scale.value(output[:, :1].float()), truth, valid, area)
                elif term.counts(self.current_epoch):
                    total = total + term.weight * term.loss(output, learnt, valid, area)
            losses[target.name] = total
            masses.append(valid.sum().float() if area is None else torch.where(valid, area, 0).sum())
        return losses, torch.stack(masses)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """The sum of the targets' losses, and each of them under `losses`."""
        losses = self.over_ranks(*self.loss_of(self(batch[X], batch[SEEN]), batch))
        loss = torch.stack(list(losses.values())).sum()
        return {"loss": loss, "losses": {name: value.detach() for name, value in losses.items()}}

    def over_ranks(self, losses: Mapping[str, Tensor], masses: Tensor) -> dict[str, Tensor]:
        """Over several processes each loss is scaled by its share of the valid pixels.

        So the mean over processes, which is what their gradients are averaged to, is the mean over all valid pixels.
        """
        if world_size() == 1:
            return dict(losses)
        total = sum_over_ranks(masses.clone())
        shares = world_size() * masses / torch.where(total > 0, total, 1)
        return {name: loss * share for (name, loss), share in zip(losses.items(), shares, strict=True)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, then the running mean of the weights, where one is kept."""
        super().optimizer_step(*args, **kwargs)
        self.follow_net()

    def follow_net(self) -> None:
        """Bring the running mean of the weights up to date, where one is kept."""
        if self.shadow is not None and self.ema_decay is not None:
            follow(self.shadow, self.net, min(self.ema_decay, (1 + self.global_step) / (10 + self.global_step)))

    def on_validation_epoch_start(self) -> None:
        """Begin the sums anew."""
        self.val_sums, self.val_losses = {}, {}

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Add the batch to the sums."""
        net = self.net if self.shadow is None else self.shadow
        outputs = self._split(net(self.normalise(batch[X], batch[SEEN])))
        losses, masses = self.loss_of(outputs, batch)
        for (name, loss), mass in zip(losses.items(), masses, strict=True):
            pair = torch.stack([loss.double() * mass, mass.double()])
            self.val_losses[name] = self.val_losses[name] + pair if name in self.val_losses else pair
        for name, sums in self.sums_of(self._finished(outputs), batch).items():
            self.val_sums[name] = merge(self.val_sums[name], sums) if name in self.val_sums else sums

    def sums_of(
        self, predictions: Mapping[str, Tensor], batch: Mapping[str, Any], groups: Tensor | None = None,
        n_groups: int = 1,
    ) -> dict[str, Sums]:  # fmt: skip
        """The sums (see `objectives.sums`) of each target that the batch has, from what `predict` returns."""
        area = self._area(batch)
        return {
            target.name: target_sums(
                target,
                predictions,
                batch[TARGETS][target.name],
                counted(batch[VALID][target.name], target.cell),
                area,
                groups,
                n_groups,
            )
            for target in self.targets
            if target.name in batch[TARGETS]
        }

    def on_validation_epoch_end(self) -> None:
        """Metrics of the sums over all batches and processes, under `val/` in `val_metrics` and for callbacks."""
        values: dict[str, float] = {}
        for name, pair in self.val_losses.items():
            value, mass = sum_over_ranks(pair).tolist()
            values[f"val/loss/{name}"] = value / mass if mass else 0.0
        total = sum(values.values())
        values = {"val/loss": total} | (values if len(values) > 1 else {})
        for place, target in enumerate(self.targets):
            sums = {key: sum_over_ranks(value).cpu().numpy() for key, value in self.val_sums[target.name].items()}
            prefix = "val/" if place == 0 else f"val/{target.name}/"
            found = metrics(target.kind, sums, [entry.name for entry in target.legend])
            values |= {f"{prefix}{key}": value for key, value in found.items()}
        self.val_metrics = values
        self.log_dict(values, logger=False)

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule over the planned steps."""
        optimizer = make_optimizer(self._learning(), self.optimizer_options)
        if self.planned is None:
            steps = int(self.trainer.estimated_stepping_batches)
            self.planned = (steps, max(1, steps // max(1, self.trainer.max_epochs or 1)))
        factor = make_schedule(self.schedule_options, *self.planned)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _learning(self) -> Sequence[Tensor] | Sequence[dict[str, Any]]:
        """The parameters that learn, in groups where their rates differ."""
        if self.layer_decay is None:
            return [p for p in self.parameters() if p.requires_grad]
        return decayed_groups(self.net, float(self.optimizer_options.get("lr", 1e-3)), self.layer_decay)

    def train(self, mode: bool = True) -> "DensePrediction":
        """Training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        if mode and self.frozen.holds(self.current_epoch):
            self.frozen.rest()
        return self

    def on_train_epoch_start(self) -> None:
        """What was frozen until this epoch learns now."""
        if self.freeze_parts:
            self.train()

    def on_after_backward(self) -> None:
        """What is frozen for now forgets its gradients."""
        if self.frozen.holds(self.current_epoch):
            self.frozen.forget()

    def configure_model(self) -> None:
        """Compile the net in place, so that the names of its weights stay."""
        if self.compile_net:
            self.net.compile()

    def describe(self) -> dict[str, Any]:
        """All that is needed to build the task again, as plain data."""
        return {
            "version": VERSION,
            "task": "dense",
            "bands": [band_to_dict(band) for band in self.bands],
            "targets": [target_to_dict(target) for target in self.targets],
            "grid_kind": self.grid_kind,
            "config": self.config,
            "losses": self.losses,
            "optimizer": self.optimizer_options,
            "schedule": self.schedule_options,
            "normalisation": self.normalisation,
            "area_weighted": self.area_weighted,
            "ema_decay": self.ema_decay,
            "cell_pool": self.cell_pool,
            "layer_decay": self.layer_decay,
            "freeze": list(self.freeze_parts),
            "freeze_epochs": self.freeze_epochs,
        }


def check_alike(targets: Sequence[Target]) -> None:
    """Raise a ConfigError where some targets are known per pixel and others per sample."""
    of_samples = [target.name for target in targets if target.is_of_sample]
    of_pixels = [target.name for target in targets if not target.is_of_sample]
    if of_samples and of_pixels:
        raise ConfigError(
            f"target '{of_samples[0]}' is known once per sample and '{of_pixels[0]}' per pixel, and a net predicts one "
            "or the other; name those of one kind in data.targets."
        )


@torch.no_grad()
def follow(shadow: nn.Module, net: nn.Module, decay: float) -> None:
    """Move the weights of `shadow` towards those of `net`: s = decay s + (1 - decay) w; other state is copied."""
    slow: list[Tensor] = list(shadow.parameters())
    fast: list[Tensor] = list(net.parameters())
    torch._foreach_lerp_(slow, fast, 1 - decay)
    for kept, current in zip(shadow.buffers(), net.buffers(), strict=True):
        kept.copy_(current)
