"""HEAL-SWIN (Carlsson, Gerken et al., CVPR 2024, arXiv:2307.07313): a Swin U-Net on nested HEALPix cells."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError, GridError
from graticule.models.pretrained import load_encoder
from graticule.models.swin.attention import Position
from graticule.models.swin.blocks import BlockOptions, Expand
from graticule.models.swin.sphere import ShiftStrategy, sphere_plan
from graticule.models.swin.unet import ENCODER, TokenUNet, initialise
from graticule.models.swin.windows import Plan, Plans

_ONE_PARENT = (4,)
"""Windows of one parent are treated as an equatorial base pixel without neighbours: a square with straight axes."""


class HealSwin(nn.Module):
    """Maps nested cells [b, in_channels, cells] to [b, out_channels, cells], for any nside.

    The weights depend neither on nside nor on the base pixels, but for `ape`: what was trained on one grid can be used
    on another. Grids that are too small for the levels are refined and the answer averaged.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        base_pixels: those that a sample covers, in the order of its cells; None where it covers the 4^k cells of one
            parent, whichever that is. With a store this is known from the data.
        nside: of the cells, where it is known in advance; needed for `ape` only.
        patch_size: cells that make one token; a power of four.
        window_size: tokens that see each other; a power of four (of two for `nest_roll` and `ring_shift` without
            positions).
        shift_strategy: how every second block shifts its windows. "exact": by half a window along both axes over
            true neighbours on the sphere. As published: "nest_roll", "nest_grid_shift", "ring_shift".
        shift_size: tokens by which `nest_roll` and `ring_shift` shift; half a window (half its side on rings) if None.
        position: "table" (a learnt bias for each relative position in a window), "rotary", or "none".
        ape: add a learnt vector for each token's place on the sphere.
        embed_dim: channels of the first level.
        depths: blocks of each level.
        num_heads: heads of each level.
        mlp_ratio: hidden channels of an MLP per channel.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: of the products of queries and keys; dim of a head ^ -0.5 if None.
        use_cos_attn: cosine attention of Swin v2.
        use_v2_norm_placement: norms after the branches, as in Swin v2.
        patch_norm: norm of the tokens before the first block.
        drop_rate: dropout of tokens, outputs and MLPs.
        attn_drop_rate: dropout of the attention.
        drop_path_rate: stochastic depth of the last block.
        use_checkpoint: compute blocks again for the gradient instead of keeping their inside in memory.
        encoder_weights: None; the folder of a backbone that a pretraining of this encoder exported; or the path of a
            .safetensors or .pth file.

    Attributes:
        num_features: of `features`.

    Raises:
        ConfigError: if the options do not go together.
        CheckpointError: if the weights do not fit.
    """

    ENCODER = ENCODER

    def __init__(
        self, in_channels: int, out_channels: int, base_pixels: Sequence[int] | None = None, nside: int | None = None,
        *, patch_size: int = 4, window_size: int = 64, shift_strategy: ShiftStrategy = "exact",
        shift_size: int | None = None, position: Position = "table", ape: bool = False, embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2), num_heads: Sequence[int] = (3, 6, 12, 24), mlp_ratio: float = 4.0,
        qkv_bias: bool = True, qk_scale: float | None = None, use_cos_attn: bool = True,
        use_v2_norm_placement: bool = True, patch_norm: bool = False, drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0, drop_path_rate: float = 0.1, use_checkpoint: bool = False,
        encoder_weights: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.faces = _ONE_PARENT if base_pixels is None else _checked_faces(base_pixels)
        _check_power(patch_size, 4, "patch_size", "cells that make one token")
        square = position != "none" or shift_strategy in ("exact", "nest_grid_shift")
        _check_power(window_size, 4 if square else 2, "window_size", "tokens that see each other")
        self.patch_size, self.levels = patch_size, len(depths)
        side = 1 << (window_size.bit_length() - 1) // 2
        if shift_size is None:
            shift_size = window_size // 2 if shift_strategy == "nest_roll" else max(1, side // 2)
        if not 0 < shift_size < max(2, window_size):
            raise ConfigError(f"shift_size is {shift_size}; it must be from 1 to window_size - 1 = {window_size - 1}.")
        self.cutting = (window_size, shift_strategy, shift_size)
        options = BlockOptions(
            extent=(side, side), position=position, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias, qk_scale=qk_scale,
            use_cos_attn=use_cos_attn, use_v2_norm_placement=use_v2_norm_placement, drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate, use_checkpoint=use_checkpoint,
        )  # fmt: skip
        self.embed = nn.Linear(in_channels * patch_size, embed_dim)
        self.embed_norm = nn.LayerNorm(embed_dim) if patch_norm else nn.Identity()
        self.places = _places(ape, nside, len(self.faces), patch_size, embed_dim)
        self.body = TokenUNet(embed_dim, depths, num_heads, options, drop_path_rate)
        self.num_features = self.body.width
        self.up = Expand(embed_dim, patch_size, embed_dim)
        self.output = nn.Linear(embed_dim, out_channels, bias=False)
        for module in (self.embed, self.up.expand, self.output):
            initialise(module)
        self.plans = Plans(self._plan)
        if nside is not None:
            self.plans.find((self._tokens(len(self.faces) * nside**2),), torch.device("cpu"))
        load_encoder(self, self.ENCODER, "heal_swin", encoder_weights, in_channels)

    def forward(self, x: Float[Tensor, "b c cells"]) -> Float[Tensor, "b k cells"]:
        """Map cells to cells.

        Raises:
            GridError: if the cells are not those of the base pixels at some nside.
        """
        cells, (y, plan) = x.shape[-1], self._embedded(x)
        answer = self.output(self.up(self.body(y, plan))).transpose(1, 2)
        parts = answer.shape[-1] // cells
        return answer.unflatten(-1, (cells, parts)).mean(-1) if parts > 1 else answer

    def features(self, x: Float[Tensor, "b c cells"]) -> Float[Tensor, "b d"]:
        """The mean over the sample of the tokens of the lowest level.

        Raises:
            GridError: as `forward`.
        """
        return self.body.down(*self._embedded(x))[0].mean(1)

    def _embedded(self, x: Tensor) -> tuple[Tensor, Plan]:
        """A token for each patch, and how the levels cut them; cells of grids that are too small are repeated first."""
        tokens = self._tokens(x.shape[-1])
        parts = tokens * self.patch_size // x.shape[-1]
        if parts > 1:
            x = x.repeat_interleave(parts, -1)
        b = len(x)
        patches = x.view(b, -1, tokens, self.patch_size).transpose(1, 2).reshape(b, tokens, -1)
        y = self.embed_norm(self.embed(patches))
        if self.places is not None:
            if self.places.shape[1] != tokens:
                raise GridError(
                    f"the net knows {self.places.shape[1]} places (ape) and the sample has {tokens} tokens; "
                    "use the nside that it was made for, or ape=false."
                )
            y = y + self.places
        return y, self.plans.find((tokens,), x.device)

    def _tokens(self, cells: int) -> int:
        """How many tokens so many cells make: at least one for each base pixel at the coarsest level."""
        area, rest = divmod(cells, len(self.faces))
        if rest or area & (area - 1) or area.bit_length() % 2 == 0:
            raise GridError(
                f"a sample has {cells} cells; the net needs {len(self.faces)} x 4^k, the cells of "
                f"{'one parent' if self.faces == _ONE_PARENT else 'its base pixels'}."
            )
        return len(self.faces) * max(area // self.patch_size, 4 ** (self.levels - 1))

    def _plan(self, tokens: int) -> Plan:
        nside = 1 << ((tokens // len(self.faces)).bit_length() - 1) // 2
        window, strategy, shift_size = self.cutting
        return sphere_plan(nside, self.faces, self.levels, window, strategy, shift_size)


def _checked_faces(base_pixels: Sequence[int]) -> tuple[int, ...]:
    faces = tuple(int(face) for face in base_pixels)
    if not faces or len(set(faces)) != len(faces) or not all(0 <= face < 12 for face in faces):
        raise ConfigError(f"base_pixels is {list(faces)}; give different numbers from 0 to 11, at least one.")
    return faces


def _check_power(value: int, base: int, name: str, what: str) -> None:
    power = base
    while power < value:
        power *= base
    if value not in (1, power):
        raise ConfigError(f"{name} is {value}; {what} must be a power of {'four' if base == 4 else 'two'}, such as 16.")


def _places(ape: bool, nside: int | None, faces: int, patch_size: int, dim: int) -> nn.Parameter | None:
    if not ape:
        return None
    if nside is None:
        raise ConfigError("ape learns a vector for each token, so the net needs to know nside; give it, or ape=false.")
    places = torch.empty(1, faces * nside**2 // patch_size, dim)
    return nn.Parameter(nn.init.trunc_normal_(places, std=0.02))
