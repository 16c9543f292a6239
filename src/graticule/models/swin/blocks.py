"""Blocks of attention and MLP, and the steps between levels: four tokens into one, one into four."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from graticule.models.swin.attention import Position, WindowAttention
from graticule.models.swin.dropout import Dropout
from graticule.models.swin.windows import Windows


@dataclass(frozen=True)
class BlockOptions:
    """What all blocks of a net share; see `HealSwin` for the meaning."""

    extent: tuple[int, int]
    position: Position
    mlp_ratio: float
    qkv_bias: bool
    qk_scale: float | None
    use_cos_attn: bool
    use_v2_norm_placement: bool
    drop_rate: float
    attn_drop_rate: float
    use_checkpoint: bool


class Block(nn.Module):
    """x + attention, x + MLP; the norm before each branch (v1) or after it (v2)."""

    def __init__(self, dim: int, heads: int, options: BlockOptions, drop_path: float) -> None:
        super().__init__()
        self.norm_last = options.use_v2_norm_placement
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim, heads, options.extent, position=options.position, cosine=options.use_cos_attn,
            qkv_bias=options.qkv_bias, scale=options.qk_scale, drop=options.drop_rate,
            attn_drop=options.attn_drop_rate,
        )  # fmt: skip
        hidden = int(dim * options.mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), Dropout(options.drop_rate), nn.Linear(hidden, dim),
            Dropout(options.drop_rate),
        )  # fmt: skip
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Float[Tensor, "b n c"], windows: Windows) -> Float[Tensor, "b n c"]:
        """Tokens in, tokens out."""
        if self.norm_last:
            x = x + self.drop_path(self.norm1(self.attn(x, windows)))
            return x + self.drop_path(self.norm2(self.mlp(x)))
        x = x + self.drop_path(self.attn(self.norm1(x), windows))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stage(nn.Module):
    """The blocks of one level; every second one on shifted windows."""

    def __init__(self, dim: int, heads: int, options: BlockOptions, drop_paths: list[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, options, drop_path) for drop_path in drop_paths)
        self.use_checkpoint = options.use_checkpoint

    def forward(self, x: Float[Tensor, "b n c"], windows: tuple[Windows, Windows]) -> Float[Tensor, "b n c"]:
        """Tokens in, tokens out."""
        for number, block in enumerate(self.blocks):
            if self.use_checkpoint and self.training:
                x = torch.utils.checkpoint.checkpoint(block, x, windows[number % 2], use_reentrant=False)
            else:
                x = block(x, windows[number % 2])
        return x


class Merge(nn.Module):
    """Four tokens that follow one another into one of twice the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m k"]:
        """[b, n, c] -> [b, n / 4, 2 c]."""
        b, n, c = x.shape
        merged: Tensor = self.reduction(self.norm(x.reshape(b, n // 4, 4 * c)))
        return merged


class Expand(nn.Module):
    """One token into `parts` that follow one another."""

    def __init__(self, dim: int, parts: int, out: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, parts * out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m k"]:
        """[b, n, dim] -> [b, n * parts, out]."""
        b, _, _ = x.shape
        expanded: Tensor = self.norm(self.expand(x).view(b, -1, *self.norm.normalized_shape))
        return expanded


class Join(nn.Module):
    """What comes up and what the encoder kept at this level, [b, n, c] each, into one [b, n, c]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim, dim)

    def forward(self, x: Float[Tensor, "b n c"], kept: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Two products instead of one of the concatenation, which need not be made."""
        c = x.shape[-1]
        weight, bias = self.linear.weight, self.linear.bias
        return nn.functional.linear(x, weight[:, :c]) + nn.functional.linear(kept, weight[:, c:], bias)
