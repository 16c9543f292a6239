"""softmax(scale q kᵀ + bias) v of windows, on a CPU in pieces that stay in its cache.

A training step by the book writes every matrix of logits to memory several times and keeps two of them. Here a few
windows go through normalisation, logits, softmax and product before the next ones do; for the gradient their logits
are computed again. torch's own fused attention for CPUs has no gradient for a bias, and no dropout.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from graticule.models.swin.dropout import keep_mask

SMALLEST = 1e-12
"""The length by which a vector is divided at least."""

_LOGITS = 2**20
"""How many are held at once: 4 MiB."""

QKV = Float[Tensor, "b w n 3 h d"]
Mask = Float[Tensor, "_ _ n n"]


def attention(
    qkv: QKV, factor: Float[Tensor, " h"] | None, bias: Mask | None, hidden: Mask | None, scale: float, drop: float
) -> Float[Tensor, "b w n h d"]:
    """Attention within each window.

    Args:
        qkv: queries, keys and values of the tokens of each window.
        factor: for each head what the cosine of query and key is multiplied by; None takes their product as it is.
        bias: added to the logits of all windows, [1, heads, n, n].
        hidden: added instead to those of the last windows of each sample, [windows, heads or 1, n, n].
        scale: of the products.
        drop: dropout of the attention.
    """
    if qkv.is_cuda or torch.compiler.is_compiling():
        return _whole(qkv, factor, bias, hidden, scale, drop)
    out: Tensor = _Attention.apply(qkv, factor, bias, hidden, scale, drop)
    return out


def _whole(
    qkv: Tensor, factor: Tensor | None, bias: Tensor | None, hidden: Tensor | None, scale: float, drop: float
) -> Tensor:
    """All windows at once by torch's attention: for GPUs, and to be compiled."""
    b, w = qkv.shape[:2]
    masked = 0 if hidden is None else len(hidden)
    parts = []
    for part, mask in zip(qkv.split([w - masked, masked], 1), (bias, hidden), strict=True):
        if part.shape[1]:
            q, k, v = part.flatten(0, 1).unbind(2)
            if factor is not None:
                q, k = _unit(q)[0] * factor[:, None], _unit(k)[0]
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
            each = mask if mask is None or len(mask) == 1 or b == 1 else mask.repeat(b, 1, 1, 1)
            y = F.scaled_dot_product_attention(q, k, v, each, dropout_p=drop, scale=scale)
            parts.append(y.transpose(1, 2).unflatten(0, (b, -1)))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length one, and their lengths."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(SMALLEST)
    return x / length, length


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, factor: Tensor | None, bias: Tensor | None, hidden: Tensor | None, scale: float,
        drop: float,
    ) -> Tensor:  # fmt: skip
        """Out [b, w, n, h, d]; kept are the input, the output and, with dropout, a byte for each logit."""
        b, w, n, _, h, d = qkv.shape
        flat, out = qkv.detach().flatten(0, 1), qkv.new_empty(b * w, n, h, d)
        keep = keep_mask(torch.Size([b * w, h, n, n]), drop, qkv.device) if drop else None
        for part, mask, _ in _pieces(b, w, h * n * n, _plain(bias), _plain(hidden)):
            q, k, v = flat[part].unbind(2)
            if factor is not None:
                q, k = _unit(q)[0] * factor.detach()[:, None], _unit(k)[0]
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))
            if keep is None:
                found = F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
            else:
                found = _softmax(q, k, mask, scale).mul_(keep[part]).mul_(1 / (1 - drop)) @ v
            out[part] = found.transpose(1, 2)
        ctx.save_for_backward(qkv, factor, bias, hidden, out, keep)
        ctx.scale, ctx.drop = scale, drop
        return out.view(b, w, n, h, d)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys and values, of the factor and of what was added."""
        qkv, factor, bias, hidden, out, keep = ctx.saved_tensors
        b, w, n, _, h, _ = qkv.shape
        flat, dqkv, grad = qkv.flatten(0, 1), torch.empty_like(qkv).flatten(0, 1), grad.flatten(0, 1)
        dbias, dhidden, dfactor = (_sums(each) for each in (bias, hidden, factor))
        for part, mask, rows in _pieces(b, w, h * n * n, bias, hidden):
            q, k, v = flat[part].unbind(2)
            lengths = []
            if factor is not None:
                (q, q_length), (k, k_length) = _unit(q), _unit(k)
                lengths = [q_length, k_length]
            scaled = q if factor is None else q * factor[:, None]
            dropped = None if keep is None else (keep[part], 1 / (1 - ctx.drop))
            dq, dk, dv, flow = _gradients(scaled, k, v, mask, grad[part], out[part], ctx.scale, dropped)
            if rows is not None and dhidden is not None:
                dhidden[rows] += flow if dhidden.shape[1] > 1 else 0
            elif rows is None and dbias is not None:
                dbias += flow.sum(0, keepdim=True)
            if factor is not None and dfactor is not None:
                dfactor += (q * dq).sum((0, 1, 3))
                dq = _through_unit(dq.mul_(factor[:, None]), q, lengths[0])
                dk = _through_unit(dk, k, lengths[1])
            for place, each in enumerate((dq, dk, dv)):
                dqkv[part][:, :, place] = each
        grads = (_as(dfactor, factor), _as(dbias, bias), _as(dhidden, hidden))
        return dqkv.view_as(qkv), *grads, None, None


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, grad: Tensor, out: Tensor, scale: float,
    dropped: tuple[Tensor, float] | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Of queries, keys and values [w, n, h, d], and of the logits [w, h, n, n]."""
    inner = (grad * out).sum(-1).transpose(1, 2)[..., None]
    q, k, v, grad = (each.transpose(1, 2) for each in (q, k, v, grad))
    weights = _softmax(q, k, mask, scale)
    flow, seen = grad @ v.transpose(-2, -1), weights
    if dropped is not None:
        seen = (weights * dropped[0]).mul_(dropped[1])
        flow = flow.mul_(dropped[0]).mul_(dropped[1])
    dv = seen.transpose(-2, -1) @ grad
    flow = flow.sub_(inner).mul_(weights)
    dq, dk = flow @ k, flow.transpose(-2, -1) @ q
    if scale != 1.0:
        dq, dk = dq.mul_(scale), dk.mul_(scale)
    return dq.transpose(1, 2), dk.transpose(1, 2), dv.transpose(1, 2), flow


def _through_unit(grad: Tensor, unit: Tensor, length: Tensor) -> Tensor:
    """The gradient of a vector from that of the vector divided by its length."""
    return grad.addcmul_(unit, (unit * grad).sum(-1, keepdim=True), value=-1).div_(length)


def _pieces(
    samples: int, windows: int, logits: int, bias: Tensor | None, hidden: Tensor | None
) -> Iterator[tuple[slice, Tensor | None, slice | None]]:
    """Runs of windows, what is added to their logits, and which rows of `hidden` that is."""
    step, masked = max(1, _LOGITS // logits), 0 if hidden is None else len(hidden)
    for first in range(0, samples * windows, windows):
        plain = first + windows - masked
        for start in range(first, plain, step):
            yield slice(start, min(start + step, plain)), bias, None
        for start in range(0, masked, step):
            rows = slice(start, min(start + step, masked))
            yield slice(plain + rows.start, plain + rows.stop), None if hidden is None else hidden[rows], rows


def _softmax(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    logits = q @ k.transpose(-2, -1)
    if scale != 1.0:
        logits = logits.mul_(scale)
    return torch.softmax(logits if mask is None else logits.add_(mask), -1)


def _plain(mask: Tensor | None) -> Tensor | None:
    """Without a history: torch's fused attention is for masks that need no gradient."""
    return None if mask is None else mask.detach()


def _sums(like: Tensor | None) -> Tensor | None:
    """Zeros in which gradients are added up, in single precision at least."""
    if like is None:
        return None
    return torch.zeros_like(like, dtype=torch.promote_types(like.dtype, torch.float32))


def _as(sums: Tensor | None, like: Tensor | None) -> Tensor | None:
    return None if sums is None or like is None else sums.to(like.dtype)
