"""How alike two pictures look to a net that knows what things look like."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_LAYERS = (1, 6, 11, 20, 29)
"""Of relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 among torchvision's features of VGG19."""

_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Perceptual(nn.Module):
    """Weighted mean absolute difference of VGG19's features at five depths (Wang et al. 2018, arXiv:1711.11585).

    The features follow it to a device; they are not trained and are no part of its state, so that no checkpoint carries
    them.

    Args:
        features: torchvision's convolutions of VGG19 (see `graticule.models.vgg`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        frozen = features[: _LAYERS[-1] + 1].eval().requires_grad_(False)
        for layer in frozen:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # what is compared must not be overwritten
        self._hidden = [frozen]  # in a list, which keeps it out of parameters and state
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self._hidden[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, made: Float[Tensor, "b 3 h w"], real: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """The difference; the gradient goes to what was made alone.

        Args:
            made: red, green, blue, -1 to 1.
            real: likewise.
        """
        with torch.no_grad():
            expected = self._walk(real)
        found = self._walk(made)
        parts = [w * F.l1_loss(f, e) for w, f, e in zip(_WEIGHTS, found, expected, strict=False)]
        return torch.stack(parts).sum()

    def _walk(self, picture: Tensor) -> list[Tensor]:
        """Features of a picture; of one too small for all depths, those that it has."""
        x, found = ((picture + 1) / 2 - self.mean) / self.std, []
        for place, layer in enumerate(self._hidden[0]):
            if isinstance(layer, nn.MaxPool2d) and min(x.shape[-2:]) < 2:
                break
            x = layer(x)
            if place in _LAYERS:
                found.append(x)
        return found
