"""The U-Net of tokens: levels of blocks down, levels of blocks up, joined level by level."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.swin.blocks import Block, BlockOptions, Expand, Join, Merge, Stage
from graticule.models.swin.dropout import Dropout
from graticule.models.swin.windows import Plan

ENCODER = ("embed.", "embed_norm.", "places", "body.encoder.", "body.merges.", "body.norm.")
"""How the names begin of what makes the features, in a net that has a `TokenUNet` as its `body`."""


class TokenUNet(nn.Module):
    """Tokens [b, n, dim] through `len(depths)` levels and back, on windows that are handed in.

    Args:
        dim: channels at the first level; each further one has twice as many and a quarter of the tokens.
        depths: blocks of each level, on the way down and, but for the lowest level, on the way up.
        heads: of each level.
        options: of the blocks.
        drop_path: rate of the last block; those before have less, in proportion.

    Attributes:
        width: channels of the lowest level.

    Raises:
        ConfigError: if the levels do not go together.
    """

    def __init__(
        self, dim: int, depths: Sequence[int], heads: Sequence[int], options: BlockOptions, drop_path: float
    ) -> None:
        super().__init__()
        check_levels(dim, depths, heads, options.position)
        dims = [dim * 2**level for level in range(len(depths))]
        rates = torch.linspace(0, drop_path, sum(depths)).tolist()
        starts = [sum(depths[:level]) for level in range(len(depths) + 1)]
        stages = [
            (dims[level], heads[level], options, rates[starts[level] : starts[level + 1]])
            for level in range(len(depths))
        ]
        self.width = dims[-1]
        self.drop = Dropout(options.drop_rate)
        self.encoder = nn.ModuleList(Stage(*stage) for stage in stages)
        self.merges = nn.ModuleList(Merge(width) for width in dims[:-1])
        self.norm = nn.LayerNorm(dims[-1])
        self.expands = nn.ModuleList(Expand(width, 4, width // 2) for width in dims[1:])
        self.joins = nn.ModuleList(Join(width) for width in dims[:-1])
        self.decoder = nn.ModuleList(Stage(*stage) for stage in stages[:-1])
        self.norm_up = nn.LayerNorm(dim)
        for module in self.modules():
            initialise(module)

    def forward(self, x: Float[Tensor, "b n c"], plan: Plan) -> Float[Tensor, "b n c"]:
        """Tokens in, tokens out."""
        x, kept = self.down(x, plan)
        for level in reversed(range(len(self.decoder))):
            x = self.joins[level](self.expands[level](x), kept[level])
            x = self.decoder[level](x, plan[level])
        normal: Tensor = self.norm_up(x)
        return normal

    def down(self, x: Float[Tensor, "b n c"], plan: Plan) -> tuple[Float[Tensor, "b m d"], list[Tensor]]:
        """The tokens of the lowest level, and those that came to each level."""
        x = self.drop(x)
        kept = []
        for level, stage in enumerate(self.encoder):
            kept.append(x)
            x = stage(x, plan[level])
            if level < len(self.merges):
                x = self.merges[level](x)
        return self.norm(x), kept


def initialise(module: nn.Module) -> None:
    """The first weights of Swin: small normal ones; norms of v2 blocks too begin at 1."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_levels(dim: int, depths: Sequence[int], heads: Sequence[int], position: str) -> None:
    """Raise a ConfigError if depths, heads and channels do not go together."""
    if not depths or min(depths) < 1 or len(depths) != len(heads):
        raise ConfigError(
            f"depths is {list(depths)} and num_heads is {list(heads)}; give one number of 1 or more for each level."
        )
    for level, count in enumerate(heads):
        width = dim * 2**level
        if count < 1 or width % count:
            raise ConfigError(
                f"level {level} has {width} channels, which {count} heads do not divide; change embed_dim or num_heads."
            )
        if position == "rotary" and width // count < 4:
            raise ConfigError(
                f"level {level} has {width // count} channels a head; position 'rotary' needs at least 4."
            )


__all__ = ["ENCODER", "Block", "TokenUNet", "check_levels", "initialise"]
