"""HEAL-SWIN and Swin-Unet word by word as published: slow, plain, and what the fast nets are compared with.

Written from the papers (arXiv:2307.07313, arXiv:2103.14030, arXiv:2111.09883, arXiv:2105.05537): attention is an
explicit softmax, a shift is an index, a mask is a matrix of integers for each window, kept for each block. Parameters
have the names of the published nets, so that `graticule.models.reference.load` can take them.

    net = LiteralNet({"kind": "hp", "dim_in": 8 * 64**2, "f_in": 3, "f_out": 10, "base_pix": 8, ...})
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from healpix_geo import nested, ring
from torch import Tensor, nn

PAPER = {
    "patch_size": 4, "window_size": 64, "shift_size": 4, "shift_strategy": "ring_shift", "rel_pos_bias": "flat",
    "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "use_cos_attn": True,
    "use_v2_norm_placement": True, "drop_path_rate": 0.1,
}  # fmt: skip
"""The published HEAL-SWIN of 41 million parameters, without its dropout."""


class Grid:
    """Where tokens lie at one level, and how they are merged: nested cells, or rows and columns."""

    def __init__(self, flat: bool, length: int | tuple[int, int], faces: int) -> None:
        self.flat, self.length, self.faces = flat, length, faces

    def level(self, level: int) -> "Grid":
        """The tokens after so many steps of merging."""
        if self.flat:
            return Grid(True, (self.length[0] >> level, self.length[1] >> level), 0)
        return Grid(False, self.length >> 2 * level, self.faces)

    def fewest(self) -> int:
        """What a window is compared with."""
        return min(self.length) if self.flat else self.length

    def windows(self, x: Tensor, side: int) -> Tensor:
        """[b, n, c] -> [b * windows, tokens, c]."""
        if not self.flat:
            return x.reshape(-1, side, x.shape[-1])
        h, w = self.length
        x = x.view(-1, h // side, side, w // side, side, x.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, x.shape[-1])

    def together(self, x: Tensor, side: int) -> Tensor:
        """The inverse of `windows`."""
        if not self.flat:
            return x.reshape(-1, self.length, x.shape[-1])
        h, w = self.length
        x = x.view(-1, h // side, w // side, side, side, x.shape[-1])
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, h * w, x.shape[-1])

    def fours(self, x: Tensor) -> Tensor:
        """[b, n, c] -> [b, n / 4, 4 c]."""
        if not self.flat:
            return torch.cat([x[:, first::4] for first in range(4)], -1)
        h, w = self.length
        x = x.view(len(x), h, w, -1)
        four = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return torch.cat(four, -1).flatten(1, 2)

    def spread(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """[b, n, parts * c] -> [b, n * parts, c]."""
        if not self.flat:
            return x.reshape(len(x), x.shape[1] * rows * columns, -1)
        h, w = self.length
        x = x.view(len(x), h, w, rows, columns, -1)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(len(x), h * rows * w * columns, -1)


def flat_shift(h: int, w: int, side: int, shift: int) -> tuple[Tensor, Tensor]:
    index = torch.arange(h * w).view(h, w).roll((-shift, -shift), (0, 1)).flatten()
    bands = [torch.zeros(length, dtype=torch.int64) for length in (h, w)]
    for band in bands:
        band[-side:], band[-shift:] = 1, 2
    return index, (3 * bands[0][:, None] + bands[1]).flatten()


def roll_shift(n: int, window: int, shift: int) -> tuple[Tensor, Tensor]:
    mask = torch.zeros(n, dtype=torch.int64)
    mask[-window:], mask[-shift:] = 1, 2
    return torch.arange(n).roll(-shift), mask


def grid_shift(nside: int, window: int) -> tuple[Tensor, Tensor]:
    """Half a window of single steps to the south-west, then to the south-east, on the first eight base pixels."""
    cells, area = np.arange(8 * nside**2), nside**2
    around = nested.neighbours(np.arange(12 * area, dtype=np.uint64), nside.bit_length() - 1)
    side = math.isqrt(window)
    index = cells
    for direction in (1, 7):
        step = around[cells, direction]
        for cell in np.flatnonzero((step < 0) | (step >= 8 * area)):
            # The border without a neighbour: what lies beyond the opposite base pixel's far border comes in.
            face, bits = cell // area - 4, cell % area
            far = sum(1 << b for b in range(0 if direction == 1 else 1, 2 * (nside.bit_length() - 1), 2))
            step[cell] = face * area + (bits | far)
        for _ in range(side // 2):
            index = step[index]
    face, column, row = (np.asarray(a, np.int64) for a in _coordinates(cells, nside))
    mask = np.zeros(len(cells), np.int64)
    low, left = row < side // 2, column < side // 2
    mask[(face >= 4) & low] = face[(face >= 4) & low] + 1
    mask[(face >= 4) & left] = face[(face >= 4) & left] + 5
    corner = (face < 4) & low & left
    mask[corner] = face[corner] + 5
    return torch.from_numpy(index), torch.from_numpy(mask)


def _coordinates(cells: np.ndarray, nside: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    face, bits = np.divmod(cells, nside**2)
    column, row = np.zeros_like(bits), np.zeros_like(bits)
    for place in range(nside.bit_length() - 1):
        column |= (bits >> 2 * place & 1) << place
        row |= (bits >> 2 * place + 1 & 1) << place
    return face, column, row


def ring_shift(nside: int, faces: int, shift: int) -> tuple[Tensor, Tensor]:
    """Rings as one list, rolled; holes are filled with what was lost, and told apart by their base pixel."""
    area, depth = nside**2, nside.bit_length() - 1
    nested_of_ring = ring.to_nested(np.arange(12 * area, dtype=np.uint64), depth).astype(np.int64)
    ring_of_nested = np.argsort(nested_of_ring)
    index = np.roll(nested_of_ring, shift)[ring_of_nested[: faces * area]]
    outside = index >= faces * area
    mask = np.where(outside, np.arange(faces * area) // area + 1, 0)
    lost = [np.setdiff1d(np.arange(face * area, (face + 1) * area), index) for face in range(faces)]
    unused = []
    for face, giver in zip(range(4, 8), (7, 4, 5, 6), strict=True) if faces == 8 else ():
        holes = np.arange(face * area, (face + 1) * area)[outside[face * area : (face + 1) * area]]
        index[holes] = lost[giver][: len(holes)]
        outside[holes] = False
        unused.append(lost[giver][len(holes) :])
    index[outside] = np.concatenate(unused or lost)
    return torch.from_numpy(index), torch.from_numpy(mask)


class Attention(nn.Module):
    """Softmax of logits, bias and mask, all as matrices."""

    def __init__(self, dim: int, heads: int, side: int, columns_back: bool, config: dict) -> None:
        super().__init__()
        self.heads, self.scale = heads, config["qk_scale"] or (dim // heads) ** -0.5
        self.cosine, self.has_bias = config["use_cos_attn"], config["bias"]
        if self.cosine:
            self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        if self.has_bias:
            self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * side - 1) ** 2, heads))
            slots = np.arange(side * side)
            row, column = np.divmod(slots, side)
            if columns_back:
                _, column, row = _coordinates(slots, side)
                column = side - 1 - column
            index = (row[:, None] - row + side - 1) * (2 * side - 1) + column[:, None] - column + side - 1
            self.register_buffer("relative_position_index", torch.from_numpy(index))
        self.qkv = nn.Linear(dim, 3 * dim, bias=config["qkv_bias"])
        self.proj = nn.Linear(dim, dim)
        self.attn_drop, self.proj_drop = nn.Dropout(config["attn_drop_rate"]), nn.Dropout(config["drop_rate"])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tensors in, tensor out."""
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.cosine:
            logits = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
            logits = logits * self.logit_scale.clamp(max=math.log(100.0)).exp()
        else:
            logits = (q * self.scale) @ k.transpose(-2, -1)
        if self.has_bias:
            bias = self.relative_position_bias_table[self.relative_position_index]
            logits = logits + bias.permute(2, 0, 1).contiguous()[None]
        if mask is not None:
            logits = logits.view(-1, len(mask), self.heads, n, n) + mask[None, :, None]
            logits = logits.view(-1, self.heads, n, n)
        x = (self.attn_drop(logits.softmax(-1)) @ v).transpose(1, 2).reshape(b, n, c)
        return self.proj_drop(self.proj(x))


class Mlp(nn.Module):
    """Two layers with GELU."""

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.fc1, self.fc2, self.drop = nn.Linear(dim, hidden), nn.Linear(hidden, dim), nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class Block(nn.Module):
    """Attention in windows, then an MLP, each added to what came in."""

    def __init__(self, dim: int, heads: int, grid: Grid, config: dict, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.grid, self.side, self.drop_path = grid, config["window_size"], drop_path
        self.norm_last = config["use_v2_norm_placement"]
        side = self.side if grid.flat else math.isqrt(self.side)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, side, not grid.flat, config)
        self.mlp = Mlp(dim, int(dim * config["mlp_ratio"]), config["drop_rate"])
        self.register_buffer("attn_mask", None)
        self.index = self.back = None
        if grid.fewest() <= self.side:
            self.side = grid.fewest()
        elif shifted:
            self.index, mask = _shift(grid, self.side, config)
            self.back = self.index.argsort()
            mask = self.grid.windows(mask[None, :, None], self.side)[..., 0]
            self.attn_mask = torch.where(mask[:, :, None] == mask[:, None, :], 0, -100)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        y = x if self.norm_last else self.norm1(x)
        if self.index is not None:
            y = y[:, self.index]
        y = self.grid.together(self.attn(self.grid.windows(y, self.side), self.attn_mask), self.side)
        if self.back is not None:
            y = y[:, self.back]
        x = x + self._dropped(self.norm1(y) if self.norm_last else y)
        y = self.norm2(self.mlp(x)) if self.norm_last else self.mlp(self.norm2(x))
        return x + self._dropped(y)

    def _dropped(self, y: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return y
        return y * (torch.rand(len(y), 1, 1) >= self.drop_path) / (1 - self.drop_path)


def _shift(grid: Grid, side: int, config: dict) -> tuple[Tensor, Tensor]:
    if grid.flat:
        return flat_shift(*grid.length, side, side // 2 if config["shift_size"] == -1 else config["shift_size"])
    nside = math.isqrt(grid.length // grid.faces)
    match config["shift_strategy"]:
        case "nest_roll":
            return roll_shift(grid.length, side, config["shift_size"])
        case "nest_grid_shift":
            return grid_shift(nside, side)
    return ring_shift(nside, grid.faces, config["shift_size"])


class Downsample(nn.Module):
    """Four tokens into one."""

    def __init__(self, dim: int, grid: Grid) -> None:
        super().__init__()
        self.grid, self.norm = grid, nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        return self.reduction(self.norm(self.grid.fours(x)))


class Upsample(nn.Module):
    """One token into several."""

    def __init__(self, dim: int, out: int, grid: Grid, rows: int, columns: int) -> None:
        super().__init__()
        self.grid, self.parts = grid, (rows, columns)
        self.expand, self.norm = nn.Linear(dim, rows * columns * out, bias=False), nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        return self.norm(self.grid.spread(self.expand(x), *self.parts))


class Layer(nn.Module):
    """Blocks, then the step to the next level."""

    def __init__(self, blocks: list[Block], downsample: nn.Module | None, upsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks, self.downsample, self.upsample = nn.ModuleList(blocks), downsample, upsample

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        for block in self.blocks:
            x = block(x)
        step = self.downsample or self.upsample
        return x if step is None else step(x)


class PatchEmbed(nn.Module):
    """A patch into a token."""

    def __init__(self, config: dict, flat: bool) -> None:
        super().__init__()
        kind, size = (nn.Conv2d if flat else nn.Conv1d), config["patch_size"]
        self.proj = kind(config["f_in"], config["embed_dim"], kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Decoder(nn.Module):
    """Up again, joined with what the encoder kept."""

    def __init__(self, config: dict, grid: Grid, rates: list[list[float]]) -> None:
        super().__init__()
        depths, dim, flat = config["depths"], config["embed_dim"], grid.flat
        last = len(depths) - 1
        width = [dim * 2**level for level in range(last + 1)]
        first = Upsample(width[last], width[last] // 2, grid.level(last), 2, 2)
        self.layers_up, self.concat_back_dim = nn.ModuleList([first]), nn.ModuleList([nn.Identity()])
        for level in reversed(range(last)):
            up = Upsample(width[level], width[level] // 2, grid.level(level), 2, 2) if level else None
            self.layers_up.append(Layer(_blocks(config, grid, level, rates), None, up))
            self.concat_back_dim.append(nn.Linear(2 * width[level], width[level]))
        side = config["patch_size"]
        self.norm_up = nn.LayerNorm(dim)
        self.up = Upsample(dim, dim, grid, side, side if flat else 1)
        self.output = (nn.Conv2d if flat else nn.Conv1d)(dim, config["f_out"], 1, bias=False)

    def forward(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Tensors in, tensor out."""
        x = self.layers_up[0](x)
        for step in range(1, len(self.layers_up)):
            x = self.layers_up[step](self.concat_back_dim[step](torch.cat([x, kept[-1 - step]], -1)))
        return self.up(self.norm_up(x)).transpose(1, 2)


def _blocks(config: dict, grid: Grid, level: int, rates: list[list[float]]) -> list[Block]:
    dim, heads = config["embed_dim"] * 2**level, config["num_heads"][level]
    return [
        Block(dim, heads, grid.level(level), config, bool(number % 2), rate) for number, rate in enumerate(rates[level])
    ]


class LiteralNet(nn.Module):
    """The published net of a configuration: HEAL-SWIN (kind "hp") or Swin-Unet (kind "flat")."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        flat = config["kind"] == "flat"
        config = {
            "mlp_ratio": 4.0, "qkv_bias": True, "qk_scale": None, "use_cos_attn": False, "drop_rate": 0.0,
            "attn_drop_rate": 0.0, "drop_path_rate": 0.1, "use_v2_norm_placement": False, "rel_pos_bias": None,
            "bias": flat or config.get("rel_pos_bias") == "flat",
        } | config  # fmt: skip
        self.config, size = config, config["patch_size"]
        length = tuple(side // size for side in config["dim_in"]) if flat else config["dim_in"] // size
        grid = Grid(flat, length, config["base_pix"])
        depths = config["depths"]
        flat_rates = torch.linspace(0, config["drop_path_rate"], sum(depths)).tolist()
        rates = [flat_rates[sum(depths[:level]) : sum(depths[: level + 1])] for level in range(len(depths))]
        self.patch_embed, self.pos_drop = PatchEmbed(config, flat), nn.Dropout(config["drop_rate"])
        self.layers = nn.ModuleList(
            Layer(
                _blocks(config, grid, level, rates),
                Downsample(config["embed_dim"] * 2**level, grid.level(level)) if level < len(depths) - 1 else None,
                None,
            )
            for level in range(len(depths))
        )
        self.norm = nn.LayerNorm(config["embed_dim"] * 2 ** (len(depths) - 1))
        self.decoder = Decoder(config, grid, rates)

    def forward(self, x: Tensor) -> Tensor:
        """Tensors in, tensor out."""
        space = x.shape[2:]
        x = self.pos_drop(self.patch_embed(x))
        kept = []
        for layer in self.layers:
            kept.append(x)
            x = layer(x)
        y = self.decoder(self.norm(x), kept)
        return self.decoder.output(y.unflatten(2, space))
