"""Attention within windows: scaled or cosine, with relative positions from a table or by rotation."""

from math import log
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from graticule.models.swin.dropout import Dropout, keep_mask
from graticule.models.swin.moving import into_windows, out_of_windows
from graticule.models.swin.windows import NOBODY, Windows

Position = Literal["table", "rotary", "none"]

_LARGEST_SCALE = log(100.0)
_CHUNK = 2**20
"""Logits that are held at once on a CPU: 4 MiB, which stay in its cache."""


class WindowAttention(nn.Module):
    """Multi-head attention of the tokens of each window (Swin, arXiv:2103.14030; cosine: v2, arXiv:2111.09883).

    Args:
        dim: channels.
        heads: that the channels are shared among.
        extent: height and width of the largest window in tokens.
        position: a learnt bias for each relative position ("table"), rotation of queries and keys by row and column
            ("rotary", arXiv:2403.13298), or none.
        cosine: cosine similarity times a learnt factor instead of scaled products.
        qkv_bias: whether queries, keys and values have a bias.
        scale: of the products; dim of a head ^ -0.5 if None.
        drop: dropout of the output.
        attn_drop: dropout of the attention.
    """

    def __init__(
        self, dim: int, heads: int, extent: tuple[int, int], *, position: Position = "table", cosine: bool = False,
        qkv_bias: bool = True, scale: float | None = None, drop: float = 0.0, attn_drop: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.position, self.attn_drop = heads, position, attn_drop
        self.scale = scale or (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.drop = Dropout(drop)
        self.logit_scale = nn.Parameter(torch.full((heads,), log(10.0))) if cosine else None
        rows = (2 * extent[0] - 1) * (2 * extent[1] - 1)
        self.table = nn.Parameter(torch.empty(rows, heads)) if position == "table" else None
        if self.table is not None:
            nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Float[Tensor, "b n c"], windows: Windows) -> Float[Tensor, "b n c"]:
        """Tokens in, tokens out, each from those of its window."""
        x = into_windows(x, windows)
        bias = self._bias(windows)
        if windows.groups is None:
            y = self._attend(x, bias, windows)
        else:
            hidden = _with_groups(bias, windows, len(x), self.heads, x.dtype)
            parts = [self._attend(x[:, windows.plain :], hidden, windows)]
            if windows.plain:
                parts.insert(0, self._attend(x[:, : windows.plain], bias, windows))
            y = torch.cat(parts, 1)
        return out_of_windows(self.drop(self.proj(y)), windows)

    def _attend(self, x: Tensor, bias: Tensor | None, windows: Windows) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).view(-1, windows.size, 3, self.heads, c // self.heads)
        v = qkv[:, :, 2].transpose(1, 2)
        qk = qkv[:, :, :2]
        if self.logit_scale is not None:
            length = torch.linalg.vector_norm(qk, dim=-1, keepdim=True).clamp_min(1e-12)
            exact = self.logit_scale.to(torch.promote_types(x.dtype, torch.float32))
            factor = exact.clamp(max=_LARGEST_SCALE).exp().to(x.dtype)
            qk = qk * (torch.stack([factor, torch.ones_like(factor)])[..., None] / length)
        if self.position == "rotary":
            qk = _rotated(qk, windows.places)
        q, k = qk[:, :, 0].transpose(1, 2), qk[:, :, 1].transpose(1, 2)
        scale = self.scale if self.logit_scale is None else 1.0
        y = _attention(q, k, v, bias, scale, self.attn_drop if self.training else 0.0)
        return y.transpose(1, 2).reshape(b, n, c)

    def _bias(self, windows: Windows) -> Float[Tensor, "1 heads size size"] | None:
        if self.table is None:
            return None
        rows = F.pad(self.table, (0, 0, 0, 1)).index_select(0, windows.pairs)
        return rows.view(windows.size, windows.size, -1).permute(2, 0, 1).contiguous()[None]


def _with_groups(bias: Tensor | None, windows: Windows, samples: int, heads: int, dtype: torch.dtype) -> Tensor:
    """What is added to the logits of windows with groups, [samples * windows, heads or 1, size, size]."""
    groups = windows.groups
    assert groups is not None
    same = groups[:, :, None] == groups[:, None, :]
    hidden = torch.full((), windows.hidden, dtype=dtype, device=groups.device)
    hidden = torch.where(groups[:, None, :] == NOBODY, -torch.inf, hidden)
    mask = torch.where(same, torch.zeros((), dtype=dtype, device=groups.device), hidden)[:, None]
    if bias is not None:
        each = bias.expand(len(groups) - windows.poles, -1, -1, -1)
        if windows.poles:
            each = torch.cat([each, _turned_mean(bias, windows.quarter).expand(windows.poles, -1, -1, -1)])
        mask = mask + each
    return mask if samples == 1 else mask.repeat(samples, 1, 1, 1)


def _turned_mean(bias: Tensor, quarter: Tensor) -> Tensor:
    """The mean over the four quarter turns of a window: round a pole no direction is the first."""
    total, turned = bias, bias
    for _ in range(3):
        turned = turned[:, :, quarter][..., quarter]
        total = total + turned
    return total / 4


def _rotated(qk: Float[Tensor, "w n 2 h d"], places: Float[Tensor, "2 n"]) -> Float[Tensor, "w n 2 h d"]:
    """Pairs of channels rotated by an angle that grows with the row (first half) and the column (second half)."""
    quarter = qk.shape[-1] // 4
    speed = 100.0 ** -(torch.arange(quarter, device=qk.device) / max(1, quarter))
    angle = (places[:, :, None] * speed).transpose(0, 1).flatten(1)[:, None, None]
    cos, sin = angle.cos().to(qk.dtype), angle.sin().to(qk.dtype)
    first, second, rest = qk.split([2 * quarter, 2 * quarter, qk.shape[-1] - 4 * quarter], dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos, rest], -1)


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, drop: float) -> Tensor:
    """softmax(scale q kᵀ + bias) v of windows [w, heads, n, d]."""
    trains = torch.is_grad_enabled() and (q.requires_grad or (bias is not None and bias.requires_grad))
    if q.is_cuda or torch.compiler.is_compiling() or not (trains or drop):
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p=drop, scale=scale)
    out: Tensor = _Attention.apply(q, k, v, bias, scale, drop)
    return out


class _Attention(torch.autograd.Function):
    """Attention that keeps no logits for its gradient: it computes them again, as many as fit a CPU's cache.

    torch's own fused attention for CPUs has no gradient for the bias and no dropout; with either it keeps all logits.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, drop: float) -> Tensor:
        """Out [w, heads, n, d], of which the axes lie in memory as [w, n, heads, d]."""
        keep = keep_mask(torch.Size([*q.shape[:3], q.shape[2]]), drop, q.device) if drop else None
        if keep is None:
            out = F.scaled_dot_product_attention(q, k, v, bias, scale=scale)
        else:
            out = torch.empty_like(v.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
            for part in _chunks(q):
                weights = _weights(q[part], k[part], _part(bias, part), scale)
                out[part] = weights.mul_(keep[part]).mul_(1 / (1 - drop)) @ v[part]
        ctx.save_for_backward(q, k, v, bias, out, keep)
        ctx.scale, ctx.drop = scale, drop
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys, values and bias."""
        q, k, v, bias, out, keep = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        dbias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and ctx.needs_input_grad[3] else None
        inner = (grad * out).sum(-1, keepdim=True)
        for part in _chunks(q):
            weights = _weights(q[part], k[part], _part(bias, part), ctx.scale)
            flow = grad[part] @ v[part].transpose(-2, -1)
            seen = weights
            if keep is not None:
                seen = (weights * keep[part]).mul_(1 / (1 - ctx.drop))
                flow = flow.mul_(keep[part]).mul_(1 / (1 - ctx.drop))
            dv[part] = seen.transpose(-2, -1) @ grad[part]
            flow = flow.sub_(inner[part]).mul_(weights)
            dq[part] = (flow @ k[part]).mul_(ctx.scale)
            dk[part] = (flow.transpose(-2, -1) @ q[part]).mul_(ctx.scale)
            if dbias is not None:
                _part(dbias, part).add_(flow.sum(0, keepdim=True) if len(dbias) == 1 else flow)
        return dq, dk, dv, None if dbias is None else dbias.to(bias.dtype), None, None


def _chunks(q: Tensor) -> list[slice]:
    w, heads, n, _ = q.shape
    step = w if q.is_cuda else max(1, _CHUNK // (heads * n * n))
    return [slice(start, start + step) for start in range(0, w, step)]


def _part(values: Tensor | None, part: slice) -> Any:
    return values if values is None or len(values) == 1 else values[part]


def _weights(q: Tensor, k: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    logits = (q @ k.transpose(-2, -1)).mul_(scale)
    return torch.softmax(logits if bias is None else logits.add_(bias), -1)
