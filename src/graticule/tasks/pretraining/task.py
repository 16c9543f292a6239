"""Learning a backbone from views of unlabelled samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from graticule.errors import ConfigError
from graticule.models.healpix import OnHealpix
from graticule.schema import KEPT, SEEN, VIEWS, Band, Target, X, band_to_dict, target_to_dict
from graticule.tasks.normalisation import Normalisation, normalised, scale_and_shift
from graticule.tasks.optimizers import check_optimizer, make_optimizer, make_schedule
from graticule.tasks.pretraining.method import Clock, View
from graticule.tasks.pretraining.methods import make_method
from graticule.tasks.pretraining.monitors import Monitors, label_of
from graticule.tasks.task import VERSION, Task


class Pretraining(Task):
    """Learns features without labels; owns normalisation, so that a checkpoint carries it.

    Args:
        net: a backbone: images [b, c, h, w] -> features [b, width], with `width` and `least`.
        bands: of the input, in order, with mean and std as measured.
        method: simclr, moco, byol, simsiam, barlow_twins, vicreg, dino or mae.
        options: of the method.
        sizes: side in pixels of each view; those smaller than the first are local ones.
        targets: none, or the one target of classes by which features are probed in validation.
        probe_every: validations from one probe to the next; 0 never probes.
        optimizer: {"name", options}; its weight decay leaves biases and norms alone.
        schedule: {"name", options}.
        final_weight_decay: weight decay at the last step, by a cosine; None keeps it.
        normalisation: of the input, by statistics of the training samples or by the bands' valid ranges.
        config: plain data that travels in the checkpoint and from which the net can be built again.
        compile_net: run the net through `torch.compile`.

    Raises:
        ConfigError: if the method, its options, the optimiser or the schedule do not fit; or a view is too small.
    """

    in_scale: Tensor
    in_shift: Tensor
    in_empty: Tensor

    def __init__(
        self, net: nn.Module, bands: Sequence[Band], method: str, *, options: Mapping[str, Any] | None = None,
        sizes: Sequence[int] = (32, 32), targets: Sequence[Target] = (), probe_every: int = 1,
        optimizer: Mapping[str, Any] | None = None, schedule: Mapping[str, Any] | None = None,
        final_weight_decay: float | None = None, normalisation: Normalisation = "statistics",
        config: Mapping[str, Any] | None = None, compile_net: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(bands, targets, config=config, compile_net=compile_net)
        check_sizes(net, sizes, exact=method == "mae")
        self.net, self.sizes = net, tuple(sizes)
        self.method_name, self.method_options = method, dict(options or {})
        local = sum(size != sizes[0] for size in sizes)
        self.method = make_method(method, net, self.method_options, (len(sizes) - local, local))
        self.optimizer_options = dict(optimizer or {"name": "adamw", "lr": 1e-3})
        self.schedule_options = dict(schedule or {"name": "constant"})
        check_optimizer(self.optimizer_options)
        make_schedule(self.schedule_options, 1, 1)
        self.final_weight_decay, self.probe_every = final_weight_decay, probe_every
        self.normalisation: Normalisation = normalisation
        scale, shift, empty = scale_and_shift(self.bands, normalisation)
        self.register_buffer("in_scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("in_shift", torch.tensor(shift, dtype=torch.float32))
        self.register_buffer("in_empty", torch.tensor(empty, dtype=torch.float32), persistent=False)
        self.monitors = Monitors()

    @property
    def clock(self) -> Clock:
        """How far the training is, in optimiser steps: the same with any number of threads."""
        return Clock(self.global_step, self.planned[0] if self.planned else 1)

    def normalise(self, x: Tensor, seen: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
        """Stored values [b, c, *space] as the net sees them; each band's mean where it is not seen or not `kept`."""
        normal = normalised(x, seen, self.normalisation, self.in_scale, self.in_shift, self.in_empty)
        if kept is None:
            return normal
        axes = [1] * (x.ndim - 2)
        return torch.where(kept.view(*kept.shape, *axes), normal, self.in_empty.view(-1, *axes))

    def features(self, x: Tensor, seen: Tensor | None = None) -> Float[Tensor, "b d"]:
        """Pooled features of stored values on any grid; cells of HEALPix are laid out as their square."""
        net = OnHealpix(self.net) if x.ndim == 3 else self.net
        features: Tensor = net(self.normalise(x, seen))
        return features

    def views_of(self, batch: Mapping[str, Any]) -> list[View]:
        """The views of a batch as the net sees them."""
        return [self.normalise(view[X], view[SEEN], view[KEPT]) for view in batch[VIEWS]]

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """The loss of the method."""
        losses, _ = self.method(self.net, self.views_of(batch), self.clock)
        loss = torch.stack(list(losses.values())).sum()
        return {"loss": loss, "losses": {name: value.detach() for name, value in losses.items()}}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """What the method does to gradients; the weight decay of this step."""
        self.method.before_step(self.clock)
        if self.final_weight_decay is not None:
            begun = float(self.optimizer_options.get("weight_decay", optimizer.defaults.get("weight_decay", 0.0)))
            optimizer.param_groups[0]["weight_decay"] = self.clock.cosine(begun, self.final_weight_decay)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, then what follows it."""
        clock = self.clock
        super().optimizer_step(*args, **kwargs)
        self.method.after_step(self.net, clock)

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self.monitors.clear()

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """The loss of fixed views, and the features of the samples and of their first two views."""
        views, (losses, notes) = self.views_of(batch), ({}, {})
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(batch_idx)  # what a method hides is a function of the batch
            if len(views[0]) > 1:  # most compare samples, so that one alone has no loss
                losses, notes = self.method(self.net, views, self.clock)
        pair = [self.net(view) for view in views[:2]] if len(views) > 1 else []
        label = label_of(batch, self.targets[0]) if self.targets else None
        self.monitors.add(batch, self.features(batch[X], batch[SEEN]), label, losses, notes, pair)

    def on_validation_epoch_end(self) -> None:
        """What was found, over all batches and processes, under `val/`; features are probed when it is their turn."""
        every = self.trainer.check_val_every_n_epoch or 1
        turn = self.probe_every and self.targets and (self.current_epoch // every) % self.probe_every == 0
        bank = self._bank() if turn else None
        self.val_metrics = self.monitors.found(bank, self.targets[0] if self.targets else None)
        self.log_dict(self.val_metrics, logger=False)

    @torch.no_grad()
    def _bank(self) -> tuple[Tensor, Tensor]:
        """Features and labels of labelled training samples of this process."""
        features, labels = [], []
        for batch in self.trainer.datamodule.bank_loader():  # type: ignore[attr-defined]
            here = self.trainer.strategy.batch_to_device(batch, self.device)
            features.append(self.features(here[X], here[SEEN]))
            labels.append(label_of(here, self.targets[0]))
        return torch.cat(features), torch.cat(labels)

    def configure_optimizers(self) -> Any:
        """The optimiser, without weight decay of biases and norms, and the schedule over the planned steps."""
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups: list[Any] = [
            {"params": [parameter for parameter in learnt if parameter.ndim > 1]},
            {"params": [parameter for parameter in learnt if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = make_optimizer(groups, self.optimizer_options)
        if self.planned is None:
            steps = int(self.trainer.estimated_stepping_batches)
            self.planned = (steps, max(1, steps // max(1, self.trainer.max_epochs or 1)))
        factor = make_schedule(self.schedule_options, *self.planned)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_model(self) -> None:
        """Compile the net in place, so that the names of its weights stay."""
        if self.compile_net:
            self.net.compile()

    def normalisation_told(self) -> dict[str, Any]:
        """How stored values become what the backbone sees, as plain data."""
        numbers = {"scale": self.in_scale, "shift": self.in_shift, "empty": self.in_empty}
        return {"method": self.normalisation} | {name: values.tolist() for name, values in numbers.items()}

    def describe(self) -> dict[str, Any]:
        """All that is needed to build the task again, as plain data."""
        return {
            "version": VERSION,
            "task": "pretraining",
            "bands": [band_to_dict(band) for band in self.bands],
            "targets": [target_to_dict(target) for target in self.targets],
            "config": self.config,
            "method": self.method_name,
            "options": self.method_options,
            "sizes": list(self.sizes),
            "probe_every": self.probe_every,
            "optimizer": self.optimizer_options,
            "schedule": self.schedule_options,
            "final_weight_decay": self.final_weight_decay,
            "normalisation": self.normalisation,
        }


def check_sizes(net: nn.Module, sizes: Sequence[int], *, exact: bool = False) -> None:
    """Refuse views that the backbone cannot take.

    Raises:
        ConfigError: naming the smallest side that it can.
    """
    least = int(net.least)  # type: ignore[arg-type]
    for size in sizes:
        if size < least:
            what = "size" if size == sizes[0] else "local_size"
            raise ConfigError(
                f"pretraining.views.{what} is {size}; {least} pixels become one in the last features of the backbone, "
                f"so give {least} or more, or a backbone that shrinks less (model.options.output_stride)."
            )
        fixed = getattr(getattr(net.encoder, "patch_embed", None), "img_size", None)
        flexible = bool(getattr(net.encoder, "dynamic_img_size", False)) and size % least == 0 and not exact
        if fixed and tuple(fixed) != (size, size) and not flexible:
            raise ConfigError(
                f"pretraining.views.size is {size}, and the backbone takes images of {fixed[0]} pixels; set "
                "model.options.img_size to the size of the views."
            )
