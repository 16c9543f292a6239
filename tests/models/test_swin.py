"""The nets of windows: the published outputs, and the laws that shapes cannot show."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from graticule.errors import CheckpointError, ConfigError, GridError
from graticule.grids import HealpixGrid
from graticule.models import reference
from graticule.models.heal_swin import HealSwin
from graticule.models.swin.attention import WindowAttention
from graticule.models.swin.dropout import keep_mask
from graticule.models.swin.seams import exact_shift
from graticule.models.swin.sphere import sphere_plan
from graticule.models.swin_unet import SwinUNet

ROOT = Path(__file__).parents[2]
GOLDEN = Path(os.environ.get("GRATICULE_GOLDEN", ROOT.parent / "shared" / "golden"))
"""Outputs of the published nets, where they are at hand."""
WHOLE = tuple(range(12))
LITTLE = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 16}

SPHERE = {"kind": "hp", "dim_in": 8 * 16**2, "f_in": 3, "f_out": 5, "base_pix": 8, "patch_size": 4, "embed_dim": 12,
          "depths": [2, 2], "num_heads": [2, 4], "window_size": 16}  # fmt: skip
V2 = {"use_cos_attn": True, "use_v2_norm_placement": True}
PLANE = {"kind": "flat", "dim_in": [64, 32], "f_in": 3, "f_out": 5, "base_pix": 0, "embed_dim": 12, "depths": [2, 2],
         "num_heads": [2, 4], "patch_size": 2, "window_size": 4, "shift_size": 2}  # fmt: skip
CONFIGS = {
    "roll": SPHERE | {"shift_strategy": "nest_roll", "shift_size": 8},
    "roll of small windows": SPHERE | {"window_size": 4, "shift_size": 1, "shift_strategy": "nest_roll"} | V2,
    "grid": SPHERE | {"shift_strategy": "nest_grid_shift", "shift_size": 2, "rel_pos_bias": "flat"},
    "grid v2": SPHERE | {"shift_strategy": "nest_grid_shift", "shift_size": 2, "rel_pos_bias": "flat"} | V2,
    "ring": SPHERE | {"shift_strategy": "ring_shift", "shift_size": 2, "rel_pos_bias": "flat", "qk_scale": 0.2},
    "ring v2": SPHERE | {"shift_strategy": "ring_shift", "shift_size": 3, "rel_pos_bias": "flat"} | V2,
    "plane": PLANE,
    "plane v2": PLANE | {"dim_in": [64, 64], "window_size": 8, "shift_size": -1} | V2,
}


def _literal(config: dict) -> nn.Module:
    """The published architecture word by word (`benchmarks/literal_swin.py`), with weights that all matter."""
    spec = importlib.util.spec_from_file_location("literal_swin", ROOT / "benchmarks" / "literal_swin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return _shaken(module.LiteralNet(config))


def _shaken(net: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net.eval()


def _image(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _assert_equal(first: Tensor, second: Tensor) -> None:
    """To rounding, on the scale of the output; in float64 nothing that is wrong hides behind that."""
    tolerance = 1e-10 if second.dtype == torch.float64 else 1e-5
    assert float((first - second).abs().max()) <= tolerance * max(1.0, float(second.abs().max()))


@pytest.mark.parametrize(
    "name", ["heal_swin_nest_roll", "heal_swin_nest_grid_shift", "heal_swin_ring_shift_v2", "swin_unet", "swin_unet_v2"]
)
def test_the_published_outputs_are_reproduced(name: str):
    path = GOLDEN / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    data = np.load(path)
    state = {key[2:]: torch.from_numpy(data[key]) for key in data.files if key.startswith("w/")}
    net = reference.load(json.loads(str(data["config"])), state)
    with torch.no_grad():
        _assert_equal(net(torch.from_numpy(data["x"])), torch.from_numpy(data["y"]))


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_and_gradients_are_those_of_the_literal_architecture(name: str):
    config = CONFIGS[name]
    literal = _literal(config).double()
    net = reference.load(config, literal.state_dict()).double()
    x = _image(2, 3, *(config["dim_in"] if config["kind"] == "flat" else [config["dim_in"]])).double()
    with torch.no_grad():
        _assert_equal(net(x), literal(x))
    for each in (literal, net):
        each(x).square().mean().backward()
    names = {parameter: key for key, parameter in literal.named_parameters()}
    grads = {names[parameter]: parameter.grad for parameter in literal.parameters()}
    mapped = reference.load(config, grads).double().state_dict()  # in float32, so to its rounding
    for key, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, mapped[key], rtol=1e-5, atol=1e-7)


def test_a_checkpoint_with_a_prefix_and_constants_loads():
    config = CONFIGS["ring v2"]
    state = {f"model.{name}": tensor for name, tensor in _literal(config).state_dict().items()}
    assert any(name.endswith("attn_mask") for name in state)
    net = reference.load(config, state | {"loss.weight": torch.zeros(5)})
    assert isinstance(net, HealSwin)
    assert not net.training


def test_every_parameter_that_does_not_fit_is_named():
    config = CONFIGS["ring v2"]
    state = _literal(config).state_dict()
    state["norm.extra"] = state["norm.bias"]
    state["decoder.output.weight"] = torch.zeros(4, 12, 1)
    del state["layers.0.blocks.1.attn.logit_scale"]
    with pytest.raises(CheckpointError) as caught:
        reference.load(config, state)
    told = str(caught.value)
    assert "body.encoder.0.blocks.1.attn.logit_scale (missing)" in told
    assert "norm.extra (unknown)" in told
    assert "decoder.output.weight ([4, 12, 1], must be [5, 12])" in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"window": 4}, "the reference's hp net has no option 'window'; did you mean 'window_size'?"),
        ({"kind": "hpx"}, "kind is 'hpx'; did you mean 'hp'?"),
        ({"rel_pos_bias": "round"}, "rel_pos_bias is 'round'; the reference knows None and 'flat'"),
        ({"shift_strategy": "nest_rol"}, "shift_strategy is 'nest_rol'; did you mean 'nest_roll'?"),
    ],
)
def test_an_option_that_the_reference_does_not_have_is_named(changed: dict, message: str):
    config = SPHERE | changed
    with pytest.raises(ConfigError) as caught:
        reference.load(config, {})
    assert message in str(caught.value)


def _quarter_turn(x: Tensor, faces: tuple[int, ...]) -> Tensor:
    """The sphere turned east by a quarter: each base pixel takes the cells of the one to its west."""
    parts = dict(zip(faces, x.chunk(len(faces), -1), strict=True))
    return torch.cat([parts[face // 4 * 4 + (face - 1) % 4] for face in faces], -1)


@pytest.mark.parametrize("faces", [WHOLE, tuple(range(8)), (4, 5, 6, 7), (8, 11, 9, 10)])
@pytest.mark.parametrize("options", [{}, {"position": "none"}, {"use_cos_attn": False, "window_size": 64}])
def test_the_net_commutes_with_a_quarter_turn_about_the_pole(faces: tuple[int, ...], options: dict):
    net = _shaken(HealSwin(2, 3, faces, **LITTLE | options)).double()
    x = _image(1, 2, len(faces) * 16**2).double()
    with torch.no_grad():
        _assert_equal(net(_quarter_turn(x, faces)), _quarter_turn(net(x), faces))


def test_the_published_grid_shift_is_defined_on_eight_and_exact_elsewhere():
    own, exact = (sphere_plan(8, WHOLE, 1, 16, name, 2) for name in ("nest_grid_shift", "exact"))
    assert torch.equal(own[0][1].into, exact[0][1].into)
    eight = sphere_plan(8, tuple(range(8)), 1, 16, "nest_grid_shift", 2)[0][1]
    assert eight.pads is None


SOME = st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True).map(tuple)


@settings(max_examples=30, deadline=None)
@given(faces=SOME, nside=st.sampled_from([2, 4, 8, 16]), side=st.sampled_from([2, 4, 8]))
def test_an_exact_window_sees_true_neighbours_only(faces: tuple[int, ...], nside: int, side: int):
    """Every token is in one window once, and all that it sees lies around one corner."""
    side = min(side, nside)
    cut = exact_shift(nside, faces, side)
    assert np.array_equal(np.sort(cut.tokens[cut.tokens >= 0]), np.arange(len(faces) * nside**2))
    directions = HealpixGrid(nside, faces).directions()
    centre = np.zeros(3)
    for tokens, groups in zip(cut.tokens, cut.groups, strict=True):
        for group in np.unique(groups[tokens >= 0]):
            seen = directions[tokens[(groups == group) & (tokens >= 0)]]
            centre = seen.mean(0) / np.linalg.norm(seen.mean(0))
            # A cell is 1.023 / nside wide; near a pole it is longer than wide, by no more than 1.7.
            assert np.arccos(np.clip(seen @ centre, -1, 1)).max() < 1.75 * 1.023 * side / nside * 2**-0.5


def test_the_whole_sphere_has_a_window_round_every_corner():
    cut = exact_shift(16, WHOLE, 4)
    assert len(cut.tokens) == 12 * 16 + 2  # Euler: corners = windows + 2
    assert ((cut.tokens < 0).sum(1) == 4).sum() == 8  # where three base pixels meet, a quarter is missing
    assert cut.poles is not None
    pole = HealpixGrid(16).lonlat()[1][cut.tokens[cut.poles]]
    assert sorted(np.sign(pole.mean(1))) == [-1, 1]
    assert np.abs(pole).min() > 80


def test_the_halo_agrees_with_exact_windows():
    """Away from the poles a shifted window is the halo of an unshifted one, cell by cell."""
    from graticule.grids import healpix_halo, morton_inverse

    cut = exact_shift(8, WHOLE, 4)
    found = {tuple(tokens) for tokens in cut.tokens}
    for face in (4, 5, 6, 7):
        for start in range(0, 64, 16):
            square = healpix_halo(8, face * 64 + start, 4, 2)[:4, :4]
            assert tuple(square.reshape(-1)[morton_inverse(4)]) in found


@settings(max_examples=15, deadline=None)
@given(faces=SOME, seed=st.integers(0, 99), strategy=st.sampled_from(["exact", "nest_roll", "ring_shift"]))
def test_a_token_is_seen_by_its_own_group_only(faces: tuple[int, ...], seed: int, strategy: str):
    nside = 8
    shift = 8 if strategy == "nest_roll" else 2
    windows = sphere_plan(nside, faces, 1, 16, strategy, shift)[0][1]  # type: ignore[arg-type]
    attention = _shaken(WindowAttention(8, 2, (4, 4)))
    n = len(faces) * nside**2
    x = _image(1, n, 8)
    changed = x.clone()
    token = seed * 7919 % n
    changed[:, token] += 3
    with torch.no_grad():
        moved = (attention(x, windows) != attention(changed, windows)).any(-1)[0].nonzero().flatten()
    slots = torch.arange(n) if windows.back is None else windows.back.long()
    window, own = slots // 16, torch.zeros(n)
    if windows.groups is not None:
        late = slots >= windows.plain
        own[late] = windows.groups.flatten()[slots[late] - windows.plain].float()
    assert torch.equal(moved, ((window == window[token]) & (own == own[token])).nonzero().flatten())


@pytest.mark.parametrize("strategy", ["exact", "nest_roll", "nest_grid_shift", "ring_shift"])
@pytest.mark.parametrize("faces", [(0,), (3, 7), (0, 1, 2, 3, 4), tuple(range(8)), WHOLE])
def test_any_nside_and_base_pixels_go_through(strategy: str, faces: tuple[int, ...]):
    net = HealSwin(1, 2, faces, shift_strategy=strategy, **LITTLE | {"depths": (2, 2, 2), "num_heads": (1, 2, 2)})  # type: ignore[arg-type]
    for nside in (1, 2, 4, 8, 16):
        y = net.eval()(_image(1, 1, len(faces) * nside**2))
        assert y.shape == (1, 2, len(faces) * nside**2)
        assert torch.isfinite(y).all()


@pytest.mark.parametrize("position", ["table", "rotary", "none"])
@pytest.mark.parametrize("options", [{}, {"use_cos_attn": False, "use_v2_norm_placement": False, "qk_scale": 0.3}])
def test_training_computes_what_evaluation_does(position: str, options: dict):
    """The gradient's own attention, and that of torch; with activation checkpointing too."""
    nets = [
        _shaken(
            HealSwin(2, 3, WHOLE, position=position, drop_path_rate=0.0, use_checkpoint=again, **LITTLE | options)  # type: ignore[arg-type]
        ).double()
        for again in (False, True)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    x = _image(2, 2, 12 * 64).double()
    with torch.no_grad():
        expected = nets[0](x)
    grads = []
    for net in nets:
        y = net.train()(x)
        _assert_equal(y, expected)
        y.square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert len(grads[0]) == sum(p.numel() for p in nets[0].parameters())
    torch.testing.assert_close(grads[0], grads[1])


def test_the_gradient_of_attention_is_that_of_finite_differences():
    windows = sphere_plan(4, (0, 5), 1, 4, "exact", 1)[0][1]
    attention = WindowAttention(4, 2, (2, 2), cosine=True).double()
    x = _image(1, 32, 4).double().requires_grad_()
    parameters = tuple(attention.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: attention(x, windows), (x, *parameters))


def test_dropout_of_attention_has_the_gradient_of_its_own_mask():
    windows = sphere_plan(4, (0, 5), 1, 4, "exact", 1)[0][1]
    attention = WindowAttention(4, 1, (2, 2), attn_drop=0.4).double().train()

    def once(x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return attention(x, windows)

    assert torch.autograd.gradcheck(once, (_image(1, 32, 4).double().requires_grad_(),))


def test_dropout_keeps_its_share():
    torch.manual_seed(0)
    for p in (0.1, 0.5, 0.9):
        assert keep_mask(torch.Size([1001, 999]), p, torch.device("cpu")).float().mean() == pytest.approx(
            1 - p, abs=2e-3
        )


def test_bfloat16_is_close():
    net = _shaken(HealSwin(2, 3, WHOLE, **LITTLE))
    x = _image(1, 2, 12 * 64)
    with torch.no_grad():
        exact, half = net(x), net.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).norm() < 0.1 * exact.norm()


def test_weights_move_between_grids():
    """What was trained on base pixels can be used on the sphere, on another nside and on single windows."""
    first = _shaken(HealSwin(2, 3, range(8), **LITTLE))
    for base_pixels, cells in [(WHOLE, 12 * 256), ((4,), 64), (None, 1024)]:
        other = HealSwin(2, 3, base_pixels, **LITTLE)
        other.load_state_dict(first.state_dict())
        assert other.eval()(_image(1, 2, cells)).shape == (1, 3, cells)


def test_a_window_of_one_parent_is_the_square_of_the_plane():
    """Without neighbours the shift on the sphere is that of the plane, laid out in Morton order."""
    from graticule.models.healpix import OnHealpix

    sphere = _shaken(HealSwin(2, 3, **LITTLE))
    plane = SwinUNet(2, 3, **LITTLE | {"window_size": 4, "patch_size": 2})
    plane.load_state_dict(sphere.state_dict())
    sphere, plane, x = sphere.double(), plane.double(), _image(2, 2, 32**2).double()
    with torch.no_grad():
        _assert_equal(OnHealpix(plane.eval())(x), sphere(x))


@pytest.mark.parametrize("size", [(32, 48), (40, 56), (7, 90)])
def test_planes_that_windows_do_not_divide_see_nothing_of_the_filling(size: tuple[int, int]):
    net = _shaken(SwinUNet(1, 2, **LITTLE | {"window_size": (3, 5), "shift_size": (1, 2)}))
    x = _image(1, 1, *size)
    with torch.no_grad():
        y = net(x)
    assert y.shape == (1, 2, *size)
    assert torch.isfinite(y).all()


def test_masks_and_indices_are_small_and_made_quickly():
    plan = sphere_plan(128, WHOLE, 4, 64, "exact", 4)
    masks = sum(w.groups.nbytes for level in plan for w in level if w.groups is not None)
    assert masks < 2**20
    assert not any("mask" in name or "index" in name for name in HealSwin(1, 1, nside=16).state_dict())


COMPILED = """
import torch
from graticule.models.heal_swin import HealSwin
net = HealSwin(1, 2, range(12), 8, embed_dim=8, depths=(2,), num_heads=(1,), window_size=16)
torch.compile(net, backend="eager", fullgraph=True)(torch.randn(1, 1, 768)).mean().backward()
print("whole")
"""


def test_the_compiled_net_is_one_graph():
    """In a process of its own: here the checks of types would be compiled too."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.stdout == "whole\n", done.stderr[-2000:]


def test_places_are_learnt_for_one_grid():
    net = HealSwin(1, 1, WHOLE, nside=8, ape=True, **LITTLE)
    assert net(_image(1, 1, 12 * 64)).shape == (1, 1, 768)
    with pytest.raises(GridError, match="the net knows 192 places \\(ape\\) and the sample has 768 tokens"):
        net(_image(1, 1, 12 * 256))
    assert SwinUNet(1, 1, (32, 48), ape=True, **LITTLE)(_image(1, 1, 32, 48)).shape == (1, 1, 32, 48)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HealSwin(1, 1, [0, 0]), "base_pixels is [0, 0]; give different numbers from 0 to 11"),
        (lambda: HealSwin(1, 1, [12]), "base_pixels is [12]; give different numbers"),
        (lambda: HealSwin(1, 1, patch_size=3), "patch_size is 3; cells that make one token must be a power of four"),
        (lambda: HealSwin(1, 1, window_size=8), "window_size is 8; tokens that see each other must be a power of four"),
        (lambda: HealSwin(1, 1, ape=True), "the net needs to know nside; give it, or ape=false"),
        (lambda: HealSwin(1, 1, shift_size=64), "shift_size is 64; it must be from 1 to window_size - 1 = 63"),
        (lambda: HealSwin(1, 1, depths=(2, 2)), "depths is [2, 2] and num_heads is [3, 6, 12, 24]"),
        (lambda: HealSwin(1, 1, embed_dim=10), "level 0 has 10 channels, which 3 heads do not divide"),
        (lambda: SwinUNet(1, 1, embed_dim=9, position="rotary"), "position 'rotary' needs at least 4"),
        (lambda: SwinUNet(1, 1, window_size=4, shift_size=4), "shift_size is [4, 4]; it must be less than the window"),
        (lambda: SwinUNet(1, 1, window_size=0), "window_size is [0, 0]; it must be 1 or more along both axes"),
        (lambda: SwinUNet(1, 1, ape=True), "the net needs its size; give it, or ape=false"),
    ],
)
def test_impossible_nets_are_refused(make, message: str):
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("base_pixels", "cells"), [(range(12), 100), (range(8), 12 * 64), (None, 12 * 64)])
def test_cells_that_are_not_those_of_the_base_pixels_are_refused(base_pixels, cells: int):
    with pytest.raises(GridError, match=f"a sample has {cells} cells; the net needs"):
        HealSwin(1, 1, base_pixels, **LITTLE)(torch.zeros(1, 1, cells))
