"""Discriminators: figures of the paper, shapes, views, determinism."""

import torch

from graticule.models.discriminators import EntropyDiscriminator, MultiScaleDiscriminator


def size(net):
    vectors = sum(b.numel() for name, b in net.named_buffers() if name.endswith(("._u", "._v")))
    return sum(p.numel() for p in net.parameters()) + vectors


def image(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_they_are_as_large_as_those_of_the_paper():
    assert size(MultiScaleDiscriminator()) == 20_956_998
    assert size(EntropyDiscriminator(2, spectral=True)) == 2_780_066
    assert size(EntropyDiscriminator(11, spectral=True)) == 2_789_426


def test_every_scale_gives_its_features_and_the_whole_and_the_part_are_two_views():
    photo, mask = image(2, 3, 64, 48), (image(2, 1, 64, 48) > 0).float()
    for local, views in ((False, 1), (True, 2)):
        torch.manual_seed(0)
        net = MultiScaleDiscriminator(4, local=local).eval()
        found = net(photo, mask)
        assert [len(features) for features in found] == [6] * 3 * views
        assert [features[-1].shape[1] for features in found] == [1] * 3 * views
        assert [tuple(features[0].shape[-2:]) for features in found[:3]] == [(33, 25), (17, 13), (9, 7)]
        again = net(photo, mask)
        same = [torch.equal(a, b) for one, two in zip(found, again, strict=True) for a, b in zip(one, two, strict=True)]
        assert all(same)
    elsewhere = net(torch.where(mask > 0, photo, -photo), mask)
    same = [torch.equal(one[-1], two[-1]) for one, two in zip(found, elsewhere, strict=True)]
    assert same == [False] * 3 + [True] * 3


def test_entropies_of_any_size_are_judged_and_reach_their_maps():
    net = EntropyDiscriminator(2, 4)
    for shape in ((1, 1), (33, 70), (160, 160)):
        maps = image(1, 2, *shape).requires_grad_()
        logits = net(maps)
        assert logits.shape == (1, 1, max(1, shape[0] // 32), max(1, shape[1] // 32))
        logits.sum().backward()
        assert maps.grad.abs().sum() > 0
