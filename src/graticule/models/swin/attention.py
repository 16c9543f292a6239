"""Attention within windows: scaled or cosine, with relative positions from a table or by rotation."""

from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from graticule.models.swin.cached import SMALLEST, attention
from graticule.models.swin.dropout import Dropout
from graticule.models.swin.moving import into_windows, out_of_windows
from graticule.models.swin.windows import NOBODY, Windows

Position = Literal["table", "rotary", "none"]

_LARGEST_SCALE = log(100.0)


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
        b, n, c = x.shape
        qkv = self.qkv(x).view(b, n // windows.size, windows.size, 3, self.heads, c // self.heads)
        factor = None
        if self.logit_scale is not None:
            exact = self.logit_scale.to(torch.promote_types(x.dtype, torch.float32))
            factor = exact.clamp(max=_LARGEST_SCALE).exp().to(x.dtype)
        if self.position == "rotary":
            qkv, factor = _rotated(qkv, factor, windows.places), None
        bias = self._bias(windows)
        hidden = None if windows.groups is None else with_groups(bias, windows, x.dtype)
        scale = self.scale if self.logit_scale is None else 1.0
        y = attention(qkv, factor, bias, hidden, scale, self.attn_drop if self.training else 0.0)
        return out_of_windows(self.drop(self.proj(y.reshape(b, n, c))), windows)

    def _bias(self, windows: Windows) -> Float[Tensor, "1 heads size size"] | None:
        if self.table is None:
            return None
        rows = F.pad(self.table, (0, 0, 0, 1)).index_select(0, windows.pairs)
        return rows.view(windows.size, windows.size, -1).permute(2, 0, 1).contiguous()[None]


def with_groups(bias: Tensor | None, windows: Windows, dtype: torch.dtype) -> Float[Tensor, "masked heads n n"]:
    """What is added to the logits of windows with groups."""
    groups = windows.groups
    assert groups is not None
    same = groups[:, :, None] == groups[:, None, :]
    hidden = torch.full((), windows.hidden, dtype=dtype, device=groups.device)
    hidden = torch.where(groups[:, None, :] == NOBODY, -torch.inf, hidden)
    mask = torch.where(same, torch.zeros((), dtype=dtype, device=groups.device), hidden)[:, None]
    if bias is None:
        return mask
    each = bias.expand(len(groups) - windows.poles, -1, -1, -1)
    if windows.poles:
        each = torch.cat([each, _turned_mean(bias, windows.quarter).expand(windows.poles, -1, -1, -1)])
    return mask + each


def _turned_mean(bias: Tensor, quarter: Tensor) -> Tensor:
    """The mean over the four quarter turns of a window: round a pole no direction is the first."""
    total, turned = bias, bias
    for _ in range(3):
        turned = turned[:, :, quarter][..., quarter]
        total = total + turned
    return total / 4


def _rotated(
    qkv: Float[Tensor, "b w n 3 h d"], factor: Float[Tensor, " h"] | None, places: Float[Tensor, "2 n"]
) -> Float[Tensor, "b w n 3 h d"]:
    """Queries and keys, made cosine if asked, with pairs of channels turned by angles that grow with row and column."""
    qk, v = qkv.split([2, 1], 3)
    if factor is not None:
        qk = qk / torch.linalg.vector_norm(qk, dim=-1, keepdim=True).clamp_min(SMALLEST)
        qk = qk * torch.stack([factor, torch.ones_like(factor)])[..., None]
    quarter = qk.shape[-1] // 4
    speed = 100.0 ** -(torch.arange(quarter, device=qk.device) / max(1, quarter))
    angle = (places[:, :, None] * speed).transpose(0, 1).flatten(1)[:, None, None]
    cos, sin = angle.cos().to(qk.dtype), angle.sin().to(qk.dtype)
    first, second, rest = qk.split([2 * quarter, 2 * quarter, qk.shape[-1] - 4 * quarter], dim=-1)
    return torch.cat([torch.cat([first * cos - second * sin, first * sin + second * cos, rest], -1), v], 3)
