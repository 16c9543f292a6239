"""Painting what is under a mask: a painter learns from photographs of it, against discriminators at several scales."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from numpy.random import Generator, Philox
from torch import Tensor, nn

from graticule.errors import ConfigError, nearest
from graticule.models.discriminators import MultiScaleDiscriminator
from graticule.models.painter import Painter
from graticule.objectives.adversarial import HARD, discriminator_loss, feature_matching, generator_loss, soft_labels
from graticule.objectives.diff_augment import Change, diff_augment
from graticule.objectives.perceptual import Perceptual
from graticule.objectives.unsupervised import total_variation
from graticule.schema import TARGETS, VALID, Band, Target, X, band_to_dict, target_to_dict
from graticule.tasks.adaptation import PaintLoss
from graticule.tasks.photographs import shown
from graticule.tasks.players import TwoPlayers
from graticule.tasks.ranks import sum_over_ranks
from graticule.tasks.task import VERSION

Objective = Literal["gan", "lsgan", "hinge"]

WEIGHTS: dict[str, float] = {
    "adversarial": 1.0, "feature_matching": 10.0, "perceptual": 0.0, "total_variation": 0.0, "context": 0.0,
    "reconstruction": 0.0,
}  # fmt: skip
"""The terms of the painter's loss and their usual weights."""

PHOTO, PAINTED = "photo", "painted"

_LATENT = 229


class Painting(TwoPlayers):
    """Learns to fill the hole that a mask leaves in a photograph with what is there in its examples, such as water.

    The painter is given the photograph without what is under the mask, the discriminators tell what it makes from the
    photograph itself. Photographs have three bands with a valid range (0 to 255); to nets they are -1 to 1.

    Args:
        painter: the net.
        discriminator: what judges it.
        bands: red, green, blue.
        targets: with the binary one that is the mask.
        mask: its name.
        objective: of the game, "gan", "lsgan" or "hinge".
        losses: weight of each term, see `WEIGHTS`; 0 leaves it out.
        perceptual: compares pictures as one sees them; needed where that term has a weight.
        augment: how what the discriminators see is changed (`objectives.diff_augment`): the painted and the real
            picture of a sample alike.
        soft: how far labels may be from 0 and 1 (`objectives.adversarial.soft_labels`).
        flip: the share of steps with swapped labels.
        paste: judge what is painted within the photograph.
        optimizer: of the painter.
        schedule: of the painter.
        parts: learning rates and schedules of its parts.
        opponent: optimiser and schedule of the discriminators.
        seed: of what the losses draw.
        config: plain data that travels in the checkpoint.
        compile_net: run the painter through `torch.compile`.

    Raises:
        ConfigError: if bands, target, losses or options do not fit.
    """

    def __init__(
        self, painter: Painter, discriminator: MultiScaleDiscriminator, bands: Sequence[Band],
        targets: Sequence[Target], *, mask: str = "mask", objective: Objective = "hinge",
        losses: Mapping[str, float] | None = None, perceptual: Perceptual | None = None,
        augment: Sequence[Change] = (), soft: float = 0.0, flip: float = 0.0, paste: bool = True,
        optimizer: Mapping[str, Any] | None = None, schedule: Mapping[str, Any] | None = None,
        parts: Mapping[str, Mapping[str, Any]] | None = None, opponent: Mapping[str, Any] | None = None, seed: int = 0,
        config: Mapping[str, Any] | None = None, compile_net: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(bands, targets, config=config, compile_net=compile_net)
        self.net, self.discriminators = painter, nn.ModuleDict({"photo": discriminator})
        self.mask, self.objective, self.augment, self.paste, self.seed = mask, objective, tuple(augment), paste, seed
        self.losses = WEIGHTS | {name: float(weight) for name, weight in (losses or {}).items()}
        self.soft, self.flip, self._perceptual = soft, flip, perceptual
        self._check()
        if not self._weighed:
            raise ConfigError("painting.losses are all 0; give at least one term a weight.")
        adam = {"name": "adam", "lr": 2e-4, "betas": (0.5, 0.999)}
        usual: dict[str, Any] = {"optimizer": adam, "schedule": {"name": "constant"}}
        self.set_players(optimizer or adam, schedule or {"name": "constant"}, parts or {}, opponent or usual)
        self._errors: Tensor | None = None

    def _check(self) -> None:
        if len(self.bands) != 3:
            raise ConfigError(f"a painter paints photographs of three bands, and there are {len(self.bands)}.")
        binary = [target.name for target in self.targets if target.kind == "binary"]
        if self.mask not in binary:
            raise ConfigError(f"painting.target is '{self.mask}', no binary target; {nearest(self.mask, binary)}")
        for name in self.losses:
            if name not in WEIGHTS:
                raise ConfigError(f"painting.losses has no term '{name}'; {nearest(name, WEIGHTS)}")
        if self.losses["perceptual"] and self._perceptual is None:
            raise ConfigError(
                "painting.losses.perceptual needs the weights of a VGG19; give painting.perceptual_weights=FILE, or "
                "set it to 0."
            )
        soft_labels(0, 0, self.soft, self.flip)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:
        """The mean error of the painted pixels."""
        return "val/l1", "min"

    @property
    def generator(self) -> nn.Module:
        """The painter."""
        return self.net

    @property
    def _weighed(self) -> list[str]:
        return [name for name, weight in self.losses.items() if weight]

    def examples(self, batch: Mapping[str, Any]) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 1 h w"]]:
        """Photographs of -1 to 1 and their masks of 0 and 1; 0 where the mask is not known."""
        known = batch[TARGETS][self.mask].float() * batch[VALID][self.mask]
        return shown(batch[X], self.bands) * 2 - 1, known[:, None]

    def paint(
        self, photo: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], seed: int = 0
    ) -> Float[Tensor, "b 3 h w"]:
        """The photographs painted under the mask; outside of it they are what they were, to the last bit.

        Args:
            photo: 0 to 1, of any size.
            mask: 0 to 1.
            seed: of the latent picture, where the painter begins with noise.
        """
        return torch.where(mask > 0, self.fill(photo, mask, seed) * mask + photo * (1 - mask), photo)

    def fill(
        self, photo: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], seed: int = 0
    ) -> Float[Tensor, "b 3 h w"]:
        """What the painter makes of photographs and masks before it is put under these; as `paint` else.

        Every photograph begins with the same latent picture, so that it looks as it does alone in any batch.
        """
        painted: Tensor = self.net(photo * 2 - 1, mask, self._latent(photo, seed, [0] * len(photo)))
        return (painted + 1) / 2

    def _latent(self, photo: Tensor, seed: int, numbers: Sequence[int]) -> Tensor | None:
        """A latent picture for each photograph, a function of the seed and its number."""
        if not self.net.noise:
            return None
        shape = self.net.latent_shape(*photo.shape[-2:])
        drawn = [
            Generator(Philox(key=[seed, _LATENT], counter=[number + 1, 0, 0, 0])).standard_normal(shape)
            for number in numbers
        ]
        return torch.stack([torch.as_tensor(one, dtype=photo.dtype, device=photo.device) for one in drawn])

    def predict(self, x: Tensor, seen: Tensor | None = None) -> dict[str, Tensor]:
        """The photographs as the pictures of a validation show them; what is painted needs the mask (see `paint`)."""
        return {PHOTO: shown(x, self.bands)}

    def generator_losses(self, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
        """The weighted terms; and photograph, painted picture and mask for the discriminators."""
        photo, mask = self.examples(batch)
        numbers = [self.global_step * len(photo) + place for place in range(len(photo))]
        painted = self.net(photo, mask, self._latent(photo, self.seed, numbers)).float()
        pasted = painted * mask + photo * (1 - mask)
        judged = pasted if self.paste else painted
        terms = {name: self.losses[name] * self._term(name, painted, photo, mask) for name in self._plain}
        if self._judging:
            real, made = self._judge(photo, judged, mask)
            terms["adversarial"] = self.losses["adversarial"] * generator_loss(self.objective, _scores(made))
            terms["feature_matching"] = self.losses["feature_matching"] * feature_matching(real, made)
        return terms, (photo, judged.detach(), mask) if self._judging else None

    @property
    def _judging(self) -> bool:
        return bool(self.losses["adversarial"] or self.losses["feature_matching"])

    @property
    def _plain(self) -> list[str]:
        return [name for name in self._weighed if name not in ("adversarial", "feature_matching")]

    def _term(self, name: str, painted: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
        """A term that needs no discriminator, without its weight."""
        if name == "perceptual":
            assert self._perceptual is not None
            loss: Tensor = self._perceptual(painted * mask, photo * mask)
            return loss
        if name == "total_variation":
            return total_variation(painted * mask)
        if name == "context":
            return ((painted - photo).abs() * (1 - mask)).mean()
        return ((painted - photo).abs() * mask).mean()

    def _judge(self, photo: Tensor, made: Tensor, mask: Tensor) -> tuple[Any, Any]:
        """What the discriminators see in the real and in the made pictures, which they are given in one batch."""
        step = self.global_step
        both = [diff_augment(torch.cat([picture, mask], 1), self.augment, self.seed, step) for picture in (photo, made)]
        shown_to = torch.cat(both)
        found = self.discriminators["photo"](shown_to[:, :3], shown_to[:, 3:])
        n = len(photo)
        return [[f[:n] for f in scale] for scale in found], [[f[n:] for f in scale] for scale in found]

    def discriminator_losses(self, made: Any) -> dict[str, Tensor]:
        """How badly real and painted pictures are told apart."""
        if made is None:
            return {}
        real, false = self._judge(*made)
        soft = self.objective != "hinge" and (self.soft or self.flip)
        labels = soft_labels(self.seed, self.global_step, self.soft, self.flip) if soft else HARD
        return {"discriminator/photo": discriminator_loss(self.objective, _scores(real), _scores(false), labels)}

    def frozen_loss(self) -> PaintLoss:
        """What this painter and its discriminators, both as they are, say of soft masks of photographs.

        The painter paints under the mask, and its discriminators judge the picture: a mask is good where water painted
        under it looks real. The gradient goes to the mask alone.
        """
        frozen = self.eval().requires_grad_(False)

        def loss(photo: Tensor, mask: Tensor) -> Tensor:
            frozen.to(photo.device)
            numbers = range(len(photo))
            painted = frozen.net(photo, mask, frozen._latent(photo, frozen.seed, numbers))
            pasted = painted * mask + photo * (1 - mask)
            return generator_loss(frozen.objective, _scores(frozen.discriminators["photo"](pasted, mask)))

        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin the sums anew."""
        self._errors = None

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Add the errors of the painted pixels, in shares of the range from black to white."""
        photo, mask = self.examples(batch)
        painted = self.paint((photo + 1) / 2, mask, self.seed)
        apart = (painted - (photo + 1) / 2).abs().mean(1, keepdim=True).double()
        sums = torch.stack([(apart * mask).sum(), mask.double().sum()])
        self._errors = sums if self._errors is None else self._errors + sums

    def on_validation_epoch_end(self) -> None:
        """Mean absolute error of the painted pixels, under `val/l1`."""
        error, count = sum_over_ranks(self._errors).tolist() if self._errors is not None else (0.0, 0.0)
        self.val_metrics = {"val/l1": error / count if count else 0.0}
        self.log_dict(self.val_metrics, logger=False)

    def describe(self) -> dict[str, Any]:
        """All that is needed to build the task again, as plain data."""
        return {
            "version": VERSION,
            "task": "painting",
            "bands": [band_to_dict(band) for band in self.bands],
            "targets": [target_to_dict(target) for target in self.targets],
            "mask": self.mask,
            "objective": self.objective,
            "losses": self.losses,
            "config": self.config,
        }


def _scores(features: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Of each scale the last layer: scores of patches."""
    return [scale[-1] for scale in features]
