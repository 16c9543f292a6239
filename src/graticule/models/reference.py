"""Checkpoints of the published HEAL-SWIN and its flat Swin-Unet (github.com/JanEGerken/HEAL-SWIN, MIT)."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from graticule.errors import CheckpointError, ConfigError, nearest
from graticule.models.heal_swin import HealSwin
from graticule.models.swin_unet import SwinUNet

State = dict[str, Tensor]

_SHARED = {
    "embed_dim": 96, "depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24), "mlp_ratio": 4.0, "qkv_bias": True,
    "qk_scale": None, "use_cos_attn": False, "drop_rate": 0.0, "attn_drop_rate": 0.0, "drop_path_rate": 0.1,
    "use_v2_norm_placement": False, "ape": False, "use_checkpoint": False,
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "hp": _SHARED | {"patch_size": 4, "window_size": 4, "shift_size": 2, "shift_strategy": "nest_roll",
                     "rel_pos_bias": None, "base_pix": 8},
    "flat": _SHARED | {"patch_size": (4, 4), "window_size": (4, 4), "shift_size": -1, "use_masking": True,
                       "use_rel_pos_bias": True, "final_upsample": "expand_first", "base_pix": 0},
}  # fmt: skip
"""The options of `SwinHPTransformerConfig` and `SwinTransformerConfig`, with the reference's defaults."""

_STRATEGIES = ("nest_roll", "nest_grid_shift", "ring_shift")
_DATA = ("dim_in", "f_in", "f_out")
_WITHOUT_EFFECT = ("kind", "norm_layer", "patch_embed_norm_layer", "patch_norm", "dev_mode", "decoder_class")
_CONSTANTS = re.compile(r"(attn_mask|relative_position_index|shift_idcs|back_shift_idcs)$")
"""Buffers of the reference that follow from its options."""


def load(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> HealSwin | SwinUNet:
    """The net of a checkpoint of the reference, with its weights; its outputs are equal to rounding.

    Args:
        config: the reference's own options by its own names, and `dim_in`, `f_in`, `f_out`, `base_pix` of its data;
            `kind` is "hp" or "flat" (if absent: flat where `dim_in` is a pair). Options left out have the reference's
            defaults.
        state: its parameters by its own names. A prefix such as `model.` is taken off; constants are ignored.

    Returns:
        A `HealSwin` or `SwinUNet` in evaluation mode.

    Raises:
        ConfigError: for an option that the reference does not have or this package cannot follow.
        CheckpointError: naming every parameter that is missing, unknown or of another shape.
    """
    kind = config.get("kind") or ("flat" if isinstance(config.get("dim_in"), list | tuple) else "hp")
    options = _options(kind, config)
    norm = any(name.endswith("patch_embed.norm.weight") for name in state)
    net: HealSwin | SwinUNet = _heal_swin(options, norm) if kind == "hp" else _swin_unet(options, norm)
    renamed = {_renamed(name): (name, tensor) for name, tensor in _without_prefix(state).items()}
    _fill(net, renamed, kind)
    return net.eval()


def _options(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if kind not in _DEFAULTS:
        raise ConfigError(f"kind is '{kind}'; {nearest(str(kind), _DEFAULTS)}")
    known = [*_DEFAULTS[kind], *_DATA]
    for name in config:
        if name not in known and name not in _WITHOUT_EFFECT:
            raise ConfigError(f"the reference's {kind} net has no option '{name}'; {nearest(name, known)}")
    for name in _DATA:
        if name not in config:
            raise ConfigError(f"the configuration lacks '{name}'; give dim_in, f_in and f_out of the reference's data.")
    return _DEFAULTS[kind] | {name: value for name, value in config.items() if name not in _WITHOUT_EFFECT}


def _heal_swin(options: dict[str, Any], norm: bool) -> HealSwin:
    rest = dict(options)
    cells, base_pix = rest.pop("dim_in"), rest.pop("base_pix")
    bias = rest.pop("rel_pos_bias")
    if rest["shift_strategy"] not in _STRATEGIES:
        strategy = rest["shift_strategy"]
        raise ConfigError(f"shift_strategy is '{strategy}'; {nearest(str(strategy), _STRATEGIES)}")
    if bias not in (None, "flat"):
        raise ConfigError(f"rel_pos_bias is {bias!r}; the reference knows None and 'flat'.")
    return HealSwin(
        rest.pop("f_in"), rest.pop("f_out"), range(base_pix), round((cells / base_pix) ** 0.5),
        position="table" if bias else "none", patch_norm=norm, **rest,
    )  # fmt: skip


def _swin_unet(options: dict[str, Any], norm: bool) -> SwinUNet:
    rest = {name: value for name, value in options.items() if name not in ("base_pix", "final_upsample")}
    shift, size = rest.pop("shift_size"), rest.pop("dim_in")
    if not isinstance(shift, int) and shift[0] != shift[1]:
        raise ConfigError(
            f"shift_size is {list(shift)}; the reference shifts both axes by the first and back by both, so only equal "
            "ones can be followed."
        )
    net = SwinUNet(
        rest.pop("f_in"), rest.pop("f_out"), tuple(size), shift_size=None if shift == -1 else shift,
        position="table" if rest.pop("use_rel_pos_bias") else "none", patch_norm=norm, **rest,
    )  # fmt: skip
    for level in range(net.levels):
        lengths = [side // patch >> level for side, patch in zip(size, net.patch, strict=True)]
        small = [length <= own for length, own in zip(lengths, net.window, strict=True)]
        if any(small) and lengths != list(net.window):
            raise ConfigError(
                f"level {level} has {lengths[0]} x {lengths[1]} tokens and windows of {net.window[0]} x "
                f"{net.window[1]}; there the reference does not work as documented, so it cannot be followed."
            )
    return net


def _without_prefix(state: Mapping[str, Tensor]) -> State:
    """The state with what stands before `patch_embed` taken off; parameters of other parts (a loss) are left out."""
    anchor = next((name for name in state if name.endswith("patch_embed.proj.weight")), None)
    if anchor is None:
        raise CheckpointError("the state has no 'patch_embed.proj.weight'; give the parameters of a reference net.")
    prefix = anchor.removesuffix("patch_embed.proj.weight")
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and not _CONSTANTS.search(name)
    }


_RENAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^decoder\.", ""),
    (r"^patch_embed\.proj\.", "embed."),
    (r"^patch_embed\.norm\.", "embed_norm."),
    (r"^absolute_pos_embed$", "places"),
    (r"^norm\.", "body.norm."),
    (r"^norm_up\.", "body.norm_up."),
    (r"^layers\.(\d+)\.downsample\.", r"body.merges.\1."),
    (r"^layers\.", "body.encoder."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.3."),
    (r"relative_position_bias_table$", "table"),
)


def _renamed(name: str) -> str:
    """The name here of a parameter of the reference; what counts levels from below stays so until `_level`."""
    for pattern, to in _RENAMES:
        name = re.sub(pattern, to, name)
    return name


def _level(name: str, levels: int) -> str:
    """Names that count levels on the way up, counted from above."""
    match = re.match(r"(layers_up|concat_back_dim)\.(\d+)\.(.*)", name)
    if match is None:
        return name
    part, step, rest = match[1], int(match[2]), match[3]
    level = levels - 1 - step
    if part == "concat_back_dim":
        return f"body.joins.{level}.linear.{rest}"
    if step == 0 or rest.startswith("upsample."):
        return f"body.expands.{level - 1}.{rest.removeprefix('upsample.')}"
    return f"body.decoder.{level}.{rest}"


def _fill(net: HealSwin | SwinUNet, found: Mapping[str, tuple[str, Tensor]], kind: str) -> None:
    """Give the net its weights; every one must be there, fit, and be of use."""
    wanted = net.state_dict()
    given = {_level(name, len(net.body.encoder)): entry for name, entry in found.items()}
    wrong = [f"{name} (missing)" for name in wanted if name not in given]
    filled: State = {}
    for name, (own, tensor) in given.items():
        if name not in wanted:
            wrong.append(f"{own} (unknown)")
            continue
        filled[name] = _laid_out(name, tensor, wanted[name].shape, kind)
        if filled[name].shape != wanted[name].shape:
            wrong.append(f"{own} ({list(tensor.shape)}, must be {list(wanted[name].shape)})")
    if wrong:
        raise CheckpointError(f"the state does not fit its options: {', '.join(wrong)}.")
    net.load_state_dict(filled)


def _laid_out(name: str, tensor: Tensor, shape: torch.Size, kind: str) -> Tensor:
    """A parameter as it lies here: convolutions as products, and the reference's order of positions and children."""
    if name in ("embed.weight", "output.weight"):
        return tensor.flatten(1)
    if name.endswith("logit_scale"):
        return tensor.flatten()
    if kind == "hp" and name.endswith("attn.table"):
        side = round(len(tensor) ** 0.5)  # columns of a nested window are counted from the other side
        return tensor.view(side, side, -1).flip(1).flatten(0, 1) if side * side == len(tensor) else tensor
    if kind == "flat" and ".merges." in name and tensor.shape == shape:
        # Four tokens are merged column by column there, and in Morton order (row by row) here.
        parts = tensor.unflatten(-1, (4, -1))
        return parts[..., [0, 2, 1, 3], :].flatten(-2)
    return tensor
