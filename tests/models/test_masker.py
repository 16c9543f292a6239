"""The masker: figures of its paper, any subset of targets, what decoders tell each other."""

from itertools import combinations

import pytest
import torch
from torch import nn

from graticule.conf.parts import make_net
from graticule.errors import CheckpointError, ConfigError
from graticule.models.masker.encoder import Encoder
from graticule.models.masker.masker import Masker
from graticule.models.painter import Painter
from graticule.schema import LegendClass, Target

LEGEND = tuple(LegendClass(value, f"class {value}", "#000000") for value in range(11))
DEPTH, CLASSES, MASK = Target("d", "depth", unit="m"), Target("s", "classes", LEGEND), Target("m", "binary", LEGEND[:2])
ALL = (DEPTH, CLASSES, MASK)


def masker(targets=ALL, **options):
    torch.manual_seed(0)
    return Masker(3, sum(target.channels for target in targets), targets=targets, **{"encoder": "mobilenet"} | options)


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def size(net):
    """Trained numbers, and the two vectors of each spectral norm, which the paper's code counts among them."""
    vectors = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("._u", "._v")))
    return sum(p.numel() for p in net.parameters()) + vectors


PUBLISHED = {
    "resnet101": ({"encoder": "resnet101"}, (42_500_160, 3_776_865, 16_253_072, 542_377)),
    "spade": ({"encoder": "resnet101", "mask": "spade"}, (42_500_160, 3_776_865, 16_253_072, 3_105_506)),
    "deeplabv2": (
        {"encoder": "resnet101", "segmentation": "deeplabv2", "low_level": False, "depth": "plain"},
        (42_500_160, 88_945, 16_718_603, 384_041),
    ),
    "mobilenet": ({"encoder": "mobilenet"}, (1_811_712, 2_669_217, 157_643, 294_337)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parts_are_as_large_as_those_of_the_paper(name):
    """But for biases before a batch norm (0.02 %), and 1 % of the plain depth decoder."""
    options, published = PUBLISHED[name]
    with torch.device("meta"):
        net = masker(**options)
    found = [size(part) for part in (net.encoder, net.depth, net.segmentation, net.mask)]
    assert found == pytest.approx(published, rel=0.02)
    exact = [0, 1, 3] if name != "deeplabv2" else [0, 2, 3]
    assert [found[place] for place in exact] == [published[place] for place in exact]


def test_a_resnet_is_dilated_to_an_eighth_with_the_rates_of_deeplab():
    with torch.device("meta"):
        net = Encoder(3, "resnet101").net
    rates = [[block.conv2.dilation[0] for block in stage] for stage in (net.layer2, net.layer3, net.layer4)]
    assert set(rates[0]) == {1}
    assert set(rates[1]) == {2}
    assert rates[2] == [4, 8, 16]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_subset_of_targets_in_any_order_and_size(count):
    for targets in combinations((MASK, CLASSES, DEPTH), count):
        net = masker(targets).eval()
        with torch.no_grad():
            out = net(image(1, 3, 37, 70))
            assert out.shape == (1, sum(target.channels for target in targets), 37, 70)
            assert torch.equal(out, net(image(1, 3, 37, 70)))


def test_decoding_known_features_is_the_net_itself():
    net, x = masker(mask="spade").eval(), image(2, 3, 64, 96)
    with torch.no_grad():
        features = net.encode(x)
        assert [tuple(f.shape) for f in features] == [(2, 320, 8, 12), (2, 24, 16, 24)]
        assert torch.equal(net.decode(x, features), net(x))


def grown(net, part):
    """Whether a loss of that part of the output changes the decoder of depth."""
    net.zero_grad()
    places = {"d": slice(0, 1), "s": slice(1, 12), "m": slice(12, 13)}
    net.train()(image(2, 3, 64, 64))[:, places[part]].square().sum().backward()
    return any(p.grad is not None and bool(p.grad.any()) for p in net.depth.parameters())


@pytest.mark.parametrize(
    ("options", "part", "expected"),
    [
        ({}, "s", True),
        ({}, "m", False),
        ({"dada_mask": True}, "m", True),
        ({"dada_segmentation": False}, "s", False),
        ({"mask": "spade"}, "m", True),
        ({"mask": "spade", "spade_detach": True}, "m", False),
        ({"depth": "plain"}, "s", False),
    ],
)
def test_what_depth_lends_to_the_others(options, part, expected):
    assert grown(masker(**options), part) is expected


def test_the_decoder_of_classes_is_no_affine_map():
    """An affine f has f(a) + f(b) = f(a + b) + f(0); the predecessor's was affine, for want of a ReLU."""
    for name in ("deeplabv3plus", "deeplabv2", "light"):
        net = masker((CLASSES,), segmentation=name).eval().segmentation
        (a, low), b = (image(1, 320, 8, 8), image(1, 24, 16, 16)), image(1, 320, 8, 8, seed=2)
        with torch.no_grad():
            at = [net(high, low) for high in (a, b, a + b, 0 * a)]
        assert (at[0] + at[1] - at[2] - at[3]).abs().max() > 1e-3


def test_other_encoders_of_both_libraries():
    for name in ("test_resnet", "resnet18"):
        assert masker(encoder=name, segmentation="light").eval()(image(1, 3, 33, 40)).shape == (1, 13, 33, 40)
    with pytest.raises(ConfigError, match=r"encoder 'tu-test_vit' cannot be had at output_stride=32 .* another stride"):
        masker(encoder="test_vit")


def test_what_does_not_go_together_is_said():
    with pytest.raises(ConfigError, match="target 'p' is of kind 'image'; the masker predicts at most one depth"):
        masker((Target("p", "image"),))
    with pytest.raises(ConfigError, match=r"target 'n' is the second of mask; .* choose with data.targets"):
        masker((MASK, Target("n", "binary", LEGEND[:2])))
    with pytest.raises(ConfigError, match="no encoder is named 'mobilenett'; did you mean 'mobilenet'"):
        masker(encoder="mobilenett")
    with pytest.raises(ConfigError, match="mask=spade has nothing to tell the mask; add a target of depth or classes"):
        masker((MASK,), mask="spade", spade_photo=False)
    with pytest.raises(CheckpointError, match=r"no weights file at nowhere\.pth"):
        masker(encoder_weights="nowhere.pth")


def test_weights_by_file(tmp_path):
    source = masker((MASK,)).encoder.net
    torch.save({f"encoder.{name}": tensor for name, tensor in source.state_dict().items()}, tmp_path / "w.pth")
    torch.manual_seed(5)
    loaded = Masker(3, 1, targets=(MASK,), encoder="mobilenet", encoder_weights=str(tmp_path / "w.pth"))
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.encoder.parameters(), strict=True))


def test_the_configuration_names_it():
    net = make_net({"name": "masker", "encoder": "mobilenet"}, 3, 13, targets=ALL)
    assert isinstance(net, Masker)


def painter(**options):
    torch.manual_seed(0)
    return Painter(**{"latent": 16, "ups": 4} | options).eval()


def hole(h, w):
    mask = torch.zeros(1, 1, h, w)
    mask[..., h // 2 :, :] = 1
    return mask


@pytest.mark.parametrize(("latent", "published"), [(640, 42_341_735), (128, 4_360_000)])
def test_the_painter_is_as_large_as_that_of_the_paper(latent, published):
    assert size(Painter(latent)) == pytest.approx(published, rel=0.003)


@pytest.mark.parametrize("shape", [(1, 1), (33, 17), (64, 45)])
@torch.no_grad()
def test_a_painting_has_the_size_of_the_photograph_and_is_the_same_each_time(shape):
    net = painter()
    photo, mask = image(1, 3, *shape).clamp(-1, 1), hole(*shape)
    painted = net(photo, mask)
    assert painted.shape == photo.shape
    assert painted.abs().max() <= 1
    assert torch.equal(painted, net(photo, mask))


@torch.no_grad()
def test_what_lies_under_the_mask_is_not_seen():
    net, photo, mask = painter(), image(1, 3, 40, 40).clamp(-1, 1), hole(40, 40)
    other = torch.where(mask > 0, torch.nan, photo)
    assert torch.equal(net(photo, mask), net(other, mask))
    assert not torch.equal(net(photo, mask), net(-photo, mask))


@torch.no_grad()
def test_a_painter_that_begins_with_noise_takes_it_from_its_caller():
    net, photo, mask = painter(noise=True), image(1, 3, 40, 50).clamp(-1, 1), hole(40, 50)
    assert net.latent_shape(40, 50) == (16, 3, 4)
    one, two = (net(photo, mask, image(1, 16, 3, 4, seed=seed)) for seed in (1, 2))
    assert not torch.equal(one, two)
    with pytest.raises(ConfigError, match=r"a latent picture of shape None; it must be \(1, 16, 3, 4\)"):
        net(photo, mask)
    with pytest.raises(ConfigError, match=r"of shape \(1, 16, 3, 4\); it must be None"):
        painter()(photo, mask, image(1, 16, 3, 4))


def test_options_of_the_painter_and_gradients_everywhere():
    for options in ({}, {"final_shortcut": True}, {"norm": "batch"}):
        net = painter(**options).train()
        net(image(2, 3, 32, 48), hole(32, 48).expand(2, -1, -1, -1)).square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    with pytest.raises(ConfigError, match="ups=7 halves its channels 5 times; give ups of 3 or more and a latent that"):
        Painter(latent=16)


def test_evaluation_does_not_move_the_spectral_norms():
    nets: list[nn.Module] = [painter(), masker((MASK,), mask="spade").eval()]
    for net in nets:
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        net(image(1, 3, 32, 32), *([hole(32, 32)] if isinstance(net, Painter) else []))
        assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
