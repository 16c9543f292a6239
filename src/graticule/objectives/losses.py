"""Losses over the valid pixels of a batch.

All share one signature and one law: `loss(output [b, k, *space], target [b, *space], valid [b, *space], weight
[b, *space] or None) -> scalar`. What stands at a pixel that is not valid (NaN, 1e30, class 255) changes neither the
loss nor a gradient, and a batch without a valid pixel gives 0 with zero gradients. `weight` is relative: only its
ratios matter, so areas in steradians are as good as ones. Class losses take logits: k = 1 means a binary target
(sigmoid), k > 1 classes (softmax). Value losses take the value in
the first channel, in the scale of `target`; a second one is the logarithm of its variance.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graticule.errors import ConfigError, nearest
from graticule.objectives.depth import berhu, sigm
from graticule.schema import Target

Output = Float[Tensor, "b k *space"]
Labels = Int[Tensor, "b *space"]
Values = Float[Tensor, "b *space"]
Valid = Bool[Tensor, "b *space"]
Weight = Float[Tensor, "b *space"] | None
Scalar = Float[Tensor, ""]
Loss = Callable[..., Tensor]


def cross_entropy(
    logits: Output,
    target: Labels,
    valid: Valid,
    weight: Weight = None,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Scalar:
    """Mean cross-entropy; with class weights the mean is weighted by the weight of each pixel's true class."""
    logits, target, weight = _clean(logits, target, valid, weight)
    classes = _class_weights(class_weights, logits)
    if logits.shape[1] == 1:
        smooth = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
        per_pixel = F.binary_cross_entropy_with_logits(logits[:, 0], smooth, reduction="none")
        return _mean(per_pixel, weight if classes is None else weight * classes[target])
    per_pixel = F.cross_entropy(logits, target, classes, reduction="none", label_smoothing=label_smoothing)
    if classes is None:
        return _mean(per_pixel, weight)
    # `per_pixel` holds the class weight already; the divisor must hold it too.
    return _ratio((weight * per_pixel).sum(), (weight * classes[target]).sum())


def focal(
    logits: Output,
    target: Labels,
    valid: Valid,
    weight: Weight = None,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    class_weights: Sequence[float] | None = None,
) -> Scalar:
    """Mean of -(1 - p)^gamma log p with p the probability of the true class (Lin et al. 2017, arXiv:1708.02002).

    The sigmoid or softmax is applied here, once, so the net must end in logits. `alpha` weighs the positive class of a
    binary target and 1 - alpha the other, as in the paper; `class_weights` gives one factor per class. The mean is over
    valid pixels, whatever their loss.
    """
    if alpha is not None:
        class_weights = [1 - alpha, alpha]
    logits, target, weight = _clean(logits, target, valid, weight)
    if logits.shape[1] == 1:
        sign = 2 * target.to(logits.dtype) - 1
        log_p, log_rest = F.logsigmoid(sign * logits[:, 0]), F.logsigmoid(-sign * logits[:, 0])
    else:
        log_p = -F.cross_entropy(logits, target, reduction="none")
        # The floor keeps the gradient of rest^gamma finite where p rounds to 1.
        log_rest = torch.log((-torch.expm1(log_p)).clamp_min(1e-7))
    per_pixel = -torch.exp(gamma * log_rest) * log_p
    classes = _class_weights(class_weights, logits)
    return _mean(per_pixel if classes is None else per_pixel * classes[target], weight)


def dice(
    logits: Output,
    target: Labels,
    valid: Valid,
    weight: Weight = None,
    *,
    smooth: float = 1.0,
) -> Scalar:
    """One minus the soft Dice coefficient, pooled over the batch, mean over the classes present in the target.

    2 sum(p t) / (sum(p) + sum(t)) per class (Milletari et al. 2016, arXiv:1606.04797), over all valid pixels of the
    batch together: a mean of per-sample scores would count a sample without the class as a failure. `smooth` (in
    pixels) is added above and below. Binary: the positive class alone.
    """
    logits, target, weight = _clean(logits, target, valid, weight)
    weight = _unit_mean(weight, valid)
    probability, truth = _probability(logits), _truth(logits, target)
    axes = [0, *range(2, logits.ndim)]
    both = (weight[:, None] * probability * truth).sum(axes)
    either = (weight[:, None] * (probability + truth)).sum(axes)
    per_class = 1 - _ratio(2 * both + smooth, either + smooth)
    return _over_classes(per_class, (weight[:, None] * (truth if logits.shape[1] > 1 else 1)).sum(axes))


def lovasz(logits: Output, target: Labels, valid: Valid, weight: Weight = None) -> Scalar:
    """The Lovász extension of one minus IoU, mean over the classes present (Berman et al. 2018, arXiv:1705.08790).

    Binary: the hinge form, on the logit (their algorithm 1). Classes: Lovász-Softmax. Weights enter as the measure of
    the sets whose intersection and union are taken.
    """
    logits, target, weight = _clean(logits, target, valid, weight)
    truth = _truth(logits, target)
    binary = logits.shape[1] == 1
    errors = F.relu(1 - logits * (2 * truth - 1)) if binary else (truth - _probability(logits)).abs()
    measure = _unit_mean(weight, valid)[:, None].expand_as(truth)
    per_class = _lovasz_extension(_by_class(errors), _by_class(truth), _by_class(measure))
    return _over_classes(per_class, _by_class(measure if binary else measure * truth).sum(1))


def _lovasz_extension(
    errors: Float[Tensor, "k n"], truth: Float[Tensor, "k n"], measure: Float[Tensor, "k n"]
) -> Float[Tensor, " k"]:
    """Sum of sorted errors times the growth of the Jaccard loss as pixels are added in that order."""
    errors, order = errors.sort(dim=1, descending=True)
    inside = (truth * measure).gather(1, order).cumsum(1)
    outside = ((1 - truth) * measure).gather(1, order).cumsum(1)
    union = inside[:, -1:] + outside
    jaccard = torch.where(union > 0, 1 - (inside[:, -1:] - inside) / union.clamp_min(1e-12), 0.0)
    growth = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(jaccard[:, :1]))
    return (errors * growth).sum(1)


def l1(values: Output, target: Values, valid: Valid, weight: Weight = None) -> Scalar:
    """Mean absolute error."""
    values, target, weight = _clean(values, target, valid, weight)
    return _mean((values[:, 0] - target).abs(), weight)


def l2(values: Output, target: Values, valid: Valid, weight: Weight = None) -> Scalar:
    """Mean squared error."""
    values, target, weight = _clean(values, target, valid, weight)
    return _mean((values[:, 0] - target).square(), weight)


def huber(values: Output, target: Values, valid: Valid, weight: Weight = None, *, delta: float = 1.0) -> Scalar:
    """Mean Huber loss: squared (halved) up to an error of `delta`, linear beyond."""
    values, target, weight = _clean(values, target, valid, weight)
    return _mean(F.huber_loss(values[:, 0], target, reduction="none", delta=delta), weight)


def silog(
    values: Output,
    target: Values,
    valid: Valid,
    weight: Weight = None,
    *,
    invariance: float = 0.5,
    floor: float = 0.01,
) -> Scalar:
    """Scale-invariant log error: mean(d²) - invariance mean(d)², d = log value - log target (Eigen et al. 2014, eq. 4).

    Values and targets must be in the unit itself (metres), not standardised. Pixels with a target <= 0 have no
    logarithm and do not count. Below `floor` (in the unit) the logarithm of the predicted value goes on as its
    tangent, so that a negative prediction still has a gradient that lifts it.
    """
    valid = valid & (target > 0)
    values, target, weight = _clean(values, target, valid, weight)
    value = values[:, 0]
    log_value = torch.where(value > floor, value.clamp_min(floor).log(), value / floor - 1 + _log(floor, value))
    difference = log_value - torch.where(valid, target, 1).log()
    return _mean(difference.square(), weight) - invariance * _mean(difference, weight).square()


def gaussian(values: Output, target: Values, valid: Valid, weight: Weight = None) -> Scalar:
    """Mean negative log-likelihood (s + d² exp(-s)) / 2 of an error d with the predicted log-variance s.

    Needs a target with `uncertainty`, whose second channel is s (Kendall and Gal 2017, arXiv:1703.04977, eq. 8). Beyond
    e^±10 the variance no longer changes, so that it cannot make a gradient overflow.
    """
    values, target, weight = _clean(values, target, valid, weight)
    log_variance = values[:, 1].clamp(-10, 10)
    per_pixel = (log_variance + (values[:, 0] - target).square() * torch.exp(-log_variance)) / 2
    return _mean(per_pixel, weight)


CLASS_LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "focal": focal, "dice": dice, "lovasz": lovasz}
VALUE_LOSSES: dict[str, Loss] = {
    "l1": l1,
    "l2": l2,
    "huber": huber,
    "silog": silog,
    "gaussian": gaussian,
    "sigm": sigm,
    "berhu": berhu,
}


def make_loss(target: Target, name: str, **options: object) -> Loss:
    """The loss of that name for that target, its options bound: call it with (output, target, valid, weight).

    Raises:
        ConfigError: if the name, an option or the number of class weights does not fit the target.
    """
    losses = CLASS_LOSSES if target.is_categorical else VALUE_LOSSES
    if name not in losses:
        end = nearest(name, losses)
        raise ConfigError(f"no loss is named '{name}' for the {target.kind} target '{target.name}'; {end}")
    loss = losses[name]
    known = {key for key, entry in inspect.signature(loss).parameters.items() if entry.kind is entry.KEYWORD_ONLY}
    for option in options:
        if option not in known:
            end = nearest(option, known) if known else "it takes none."
            raise ConfigError(f"loss '{name}' has no option '{option}'; {end}")
    if name == "gaussian" and not target.uncertainty:
        raise ConfigError(
            f"loss 'gaussian' trains an uncertainty, which target '{target.name}' does not predict; "
            f"set task.values.{target.name}.uncertainty=true."
        )
    alpha = options.get("alpha")
    if alpha is not None and (len(target.legend) != 2 or options.get("class_weights") is not None):
        raise ConfigError(
            f"loss 'focal' of target '{target.name}' got alpha, which weighs the positive class of a binary target; "
            "give class_weights, one per class, or one of the two."
        )
    if isinstance(alpha, int | float) and not 0 <= alpha <= 1:
        raise ConfigError(f"alpha of loss 'focal' is {alpha:g}; it must be between 0 and 1.")
    weights = options.get("class_weights")
    if isinstance(weights, Sequence) and len(weights) != len(target.legend):
        raise ConfigError(
            f"loss '{name}' of target '{target.name}' got {len(weights)} class weights; "
            f"give {len(target.legend)}, one per class of its legend."
        )
    return partial(loss, **options)


def _clean(output: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Float32 copies in which a pixel that is not valid holds 0, also its weight, so that nothing there can spread."""
    output = torch.where(valid[:, None], output.float(), 0)
    weight = valid.float() if weight is None else torch.where(valid, weight.float(), 0)
    target = torch.where(valid, target, 0)
    return output, target.float() if target.is_floating_point() else target.long(), weight


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return above / torch.where(below > 0, below, 1)


def _mean(per_pixel: Tensor, weight: Tensor) -> Tensor:
    return _ratio((weight * per_pixel).sum(), weight.sum())


def _unit_mean(weight: Tensor, valid: Tensor) -> Tensor:
    """Weights with mean 1 over the valid pixels, so that constants in pixels (`smooth`) keep their meaning."""
    return _ratio(weight * valid.sum(), weight.sum())


def _probability(logits: Tensor) -> Tensor:
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


def _truth(logits: Tensor, target: Tensor) -> Tensor:
    """1 where the pixel is of the channel's class (of class 1 for a single channel), else 0; shaped like logits."""
    first = 1 if logits.shape[1] == 1 else 0
    classes = torch.arange(first, first + logits.shape[1], device=logits.device)
    return (target[:, None] == classes.view(1, -1, *[1] * (logits.ndim - 2))).to(logits.dtype)


def _by_class(values: Tensor) -> Tensor:
    return values.transpose(0, 1).flatten(1)


def _over_classes(per_class: Tensor, mass: Tensor) -> Tensor:
    """Mean over the classes that have mass in the target (the one of a binary loss: any valid pixel); else zero."""
    return _mean(per_class, (mass > 0).to(per_class.dtype))


def _class_weights(weights: Sequence[float] | None, like: Tensor) -> Tensor | None:
    return None if weights is None else torch.tensor(list(weights), dtype=like.dtype, device=like.device)


def _log(value: float, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=like.dtype, device=like.device).log()
