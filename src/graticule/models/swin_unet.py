"""Swin-Unet (Cao et al., arXiv:2105.05537): the plane twin of HEAL-SWIN, of the same blocks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graticule.errors import ConfigError
from graticule.models.layers import Image, Logits
from graticule.models.pretrained import load_encoder
from graticule.models.swin.attention import Position
from graticule.models.swin.blocks import BlockOptions, Expand
from graticule.models.swin.moving import into_windows, out_of_windows
from graticule.models.swin.plane import plane_plan
from graticule.models.swin.unet import ENCODER, TokenUNet, initialise
from graticule.models.swin.windows import Plan, Plans

Pair = int | tuple[int, int]


class SwinUNet(nn.Module):
    """Maps [b, in_channels, h, w] to [b, out_channels, h, w], for any h and w.

    Args:
        in_channels: bands.
        out_channels: channels of the output (logits or values).
        size: height and width of the input, where they are known in advance; needed for `ape` only.
        patch_size: pixels along the sides of one token: one number or [rows, columns].
        window_size: tokens along the sides of a window.
        shift_size: tokens by which every second block shifts its windows; half a window if None.
        use_masking: hide tokens from each other that a shift brings together from opposite borders.
        position: "table" (a learnt bias for each relative position in a window), "rotary", or "none".
        ape: add a learnt vector for each token's place in the image.
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
        self, in_channels: int, out_channels: int, size: tuple[int, int] | None = None, *, patch_size: Pair = 2,
        window_size: Pair = 8, shift_size: Pair | None = None, use_masking: bool = True, position: Position = "table",
        ape: bool = False, embed_dim: int = 96, depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24), mlp_ratio: float = 4.0, qkv_bias: bool = True,
        qk_scale: float | None = None, use_cos_attn: bool = True, use_v2_norm_placement: bool = True,
        patch_norm: bool = False, drop_rate: float = 0.0, attn_drop_rate: float = 0.0, drop_path_rate: float = 0.1,
        use_checkpoint: bool = False, encoder_weights: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch, self.window = _pair(patch_size, "patch_size"), _pair(window_size, "window_size")
        half = self.window[0] // 2, self.window[1] // 2
        self.shift = half if shift_size is None else _pair(shift_size, "shift_size", least=0)
        if not all(step < length for step, length in zip(self.shift, self.window, strict=True)):
            raise ConfigError(
                f"shift_size is {list(self.shift)}; it must be less than the window, {list(self.window)}."
            )
        self.levels, self.masks = len(depths), use_masking
        options = BlockOptions(
            extent=self.window, position=position, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias, qk_scale=qk_scale,
            use_cos_attn=use_cos_attn, use_v2_norm_placement=use_v2_norm_placement, drop_rate=drop_rate,
            attn_drop_rate=attn_drop_rate, use_checkpoint=use_checkpoint,
        )  # fmt: skip
        area = self.patch[0] * self.patch[1]
        self.embed = nn.Linear(in_channels * area, embed_dim)
        self.embed_norm = nn.LayerNorm(embed_dim) if patch_norm else nn.Identity()
        self.places = self._places(ape, size, embed_dim)
        self.body = TokenUNet(embed_dim, depths, num_heads, options, drop_path_rate)
        self.num_features = self.body.width
        self.up = Expand(embed_dim, area, embed_dim)
        self.output = nn.Linear(embed_dim, out_channels, bias=False)
        for module in (self.embed, self.up.expand, self.output):
            initialise(module)
        self.plans = Plans(self._plan)
        load_encoder(self, self.ENCODER, "swin_unet", encoder_weights, in_channels)

    def forward(self, x: Image) -> Logits:
        """Map an image to an image."""
        (h, w), (ph, pw), k = x.shape[-2:], self.patch, self.output.out_features
        y, plan, (rows, columns) = self._embedded(x)
        y = into_windows(self.output(self.up(self.body(y, plan))).view(len(x), rows * columns, -1), plan[-1][0])
        image = y.view(-1, rows, columns, ph, pw, k).permute(0, 5, 1, 3, 2, 4)
        return image.reshape(-1, k, rows * ph, columns * pw)[..., :h, :w]

    def features(self, x: Image) -> Float[Tensor, "b d"]:
        """The mean over the image of the tokens of the lowest level."""
        y, plan, _ = self._embedded(x)
        return self.body.down(y, plan)[0].mean(1)

    def _embedded(self, x: Tensor) -> tuple[Tensor, Plan, tuple[int, int]]:
        """A token for each patch of the padded image, in the order of the windows; the cuts; rows and columns."""
        step = 2 ** (self.levels - 1)
        (h, w), (ph, pw) = x.shape[-2:], self.patch
        down, right = -h % (ph * step), -w % (pw * step)
        if down or right:
            mirrors = down < h and right < w
            x = nn.functional.pad(x, (0, right, 0, down), mode="reflect" if mirrors else "replicate")
        b, c, h, w = x.shape
        rows, columns = h // ph, w // pw
        plan = self.plans.find((rows, columns), x.device)
        patches = x.view(b, c, rows, ph, columns, pw).permute(0, 2, 4, 1, 3, 5).reshape(b, rows * columns, -1)
        y = self.embed_norm(self.embed(patches))
        if self.places is not None:
            if self.places.shape[1] != rows * columns:
                raise ConfigError(
                    f"the net knows {self.places.shape[1]} places (ape) and the image has {rows * columns} tokens; "
                    "use the size that it was made for, or ape=false."
                )
            y = y + self.places
        return out_of_windows(y, plan[-1][0]), plan, (rows, columns)

    def _plan(self, rows: int, columns: int) -> Plan:
        return plane_plan(rows, columns, self.levels, self.window, self.shift, self.masks)

    def _places(self, ape: bool, size: tuple[int, int] | None, dim: int) -> nn.Parameter | None:
        if not ape:
            return None
        if size is None:
            raise ConfigError("ape learns a vector for each token, so the net needs its size; give it, or ape=false.")
        places = torch.empty(1, size[0] * size[1] // (self.patch[0] * self.patch[1]), dim)
        return nn.Parameter(nn.init.trunc_normal_(places, std=0.02))


def _pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
    if min(pair) < least:
        raise ConfigError(f"{name} is {list(pair)}; it must be {least} or more along both axes.")
    return pair
