"""Means over several predictions of the same windows: their eight symmetries, or several nets."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from graticule.data.light import direction_pairs, turn_directions
from graticule.inference.stitch import Predict
from graticule.schema import Band


def d4_mean(predict: Predict, bands: Sequence[Band] = ()) -> Predict:
    """The mean of what `predict` says of a window's eight flips and quarter turns (test-time augmentation).

    It costs eight times as much, and the answer turns with its input. Those of the `bands` that are directions turn
    with the picture.

    Raises:
        ConfigError: if a band is one component of a direction whose other one is missing.
    """
    directed = bool(direction_pairs(bands))

    def averaged(x: Tensor, seen: Tensor) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for turns in range(4):
            for flipped in (False, True):
                turned = _turn(x, turns, flipped)
                if directed:
                    turned = turned.clone()
                    turn_directions(turned, bands, np.full(len(x), turns + 4 * flipped))
                answer = predict(turned, _turn(seen, turns, flipped))
                for name, values in answer.items():
                    # What is said of a whole sample [b, k] has no places to turn.
                    back = values if values.ndim == 2 else _turn_back(values, turns, flipped)
                    total[name] = total[name] + back if name in total else back
        return {name: values / 8 for name, values in total.items()}

    return averaged


def ensemble_mean(predictors: Sequence[Predict]) -> Predict:
    """The mean of what several nets say; each weighs the same."""
    if len(predictors) == 1:
        return predictors[0]

    def averaged(x: Tensor, seen: Tensor) -> dict[str, Tensor]:
        answers: list[Mapping[str, Tensor]] = [predict(x, seen) for predict in predictors]
        return {name: torch.stack([answer[name] for answer in answers]).mean(0) for name in answers[0]}

    return averaged


def _turn(values: Tensor, turns: int, flipped: bool) -> Tensor:
    turned = torch.rot90(values, turns, (-2, -1))
    return (turned.flip(-1) if flipped else turned).contiguous()


def _turn_back(values: Tensor, turns: int, flipped: bool) -> Tensor:
    return torch.rot90(values.flip(-1) if flipped else values, -turns, (-2, -1))
