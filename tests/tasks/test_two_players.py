"""What every task of two players keeps: who learns from what, and that both do."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graticule.errors import ConfigError
from graticule.inference.likeness import likeness
from graticule.objectives.diff_augment import diff_augment
from graticule.schema import DOMAINS, TARGETS, VALID, X
from graticule.tasks.players import frozen_statistics

sys.path.append(str(Path(__file__).parents[1] / "training"))
import duel


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return duel.worlds(tmp_path_factory.mktemp("worlds"))


@pytest.fixture(scope="module")
def modules(stores):
    return {"masker": duel.masker_data(stores, batch=3), "painter": duel.painter_data(stores[0], batch=3)}


def made(modules, kind, **options):
    """A task outside of any trainer, and a batch of it."""
    module = modules[kind]
    task = getattr(duel, kind)(module, **options)
    batch = next(iter(module.train_loader))
    return task, module.on_after_batch_transfer(batch, 0)


@pytest.fixture(autouse=True)
def steps_of_the_trainer(monkeypatch):
    """Outside of a trainer there is no step; both kinds draw by it."""
    for kind in (duel.DomainAdaptation, duel.Painting):
        monkeypatch.setattr(kind, "global_step", property(lambda self: 7), raising=False)


def total(losses):
    return torch.stack(list(losses.values())).sum()


def grads(module):
    return [p.grad for p in module.parameters()]


@pytest.mark.parametrize("kind", ["masker", "painter"])
def test_gradients_reach_whose_turn_it_is_and_nobody_else(modules, kind):
    task, batch = made(modules, kind)
    task.discriminators.requires_grad_(False)
    losses, memory = task.generator_losses(batch)
    total(losses).backward()
    task.discriminators.requires_grad_(True)
    assert all(g is not None and g.isfinite().all() for g in grads(task.net))
    assert any(g.abs().max() > 0 for g in grads(task.net))
    assert all(g is None for g in grads(task.discriminators))
    task.zero_grad()
    total(task.discriminator_losses(memory)).backward()
    assert all(g is None or not g.any() for g in grads(task.net))
    assert all(g is not None and g.isfinite().all() for g in grads(task.discriminators))


@pytest.mark.parametrize("kind", ["masker", "painter"])
@pytest.mark.parametrize("player", ["net", "discriminators"])
def test_steps_on_one_batch_lower_the_loss(modules, kind, player):
    options = {"objective": "lsgan", "soft": 0.0, "flip": 0.0} if kind == "painter" else {}
    task, batch = made(modules, kind, **options)
    nets = {"net": task.net, "discriminators": task.discriminators}
    nets["discriminators" if player == "net" else "net"].requires_grad_(False)
    optimizer = torch.optim.Adam(nets[player].parameters(), lr=3e-3)
    found = []
    for _ in range(5):
        torch.manual_seed(0)
        losses, memory = task.generator_losses(batch)
        loss = total(losses if player == "net" else task.discriminator_losses(memory))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < found[0]


def test_a_domain_teaches_without_any_target(modules):
    task, batch = made(modules, "masker")
    assert batch[DOMAINS]["r"][TARGETS] == {}
    losses, _ = task.generator_losses(batch)
    told = [name for name in losses if name.startswith("r/")]
    assert told == [
        "r/mask/min_entropy", "r/mask/adversarial", "r/mask/total_variation", "r/mask/ground_intersection",
        "r/semantics/adversarial",
    ]  # fmt: skip
    for name in told:
        if name != "r/mask/ground_intersection":  # from epoch 1 on
            task.zero_grad()
            losses[name].backward(retain_graph=True)
            assert max(g.abs().max() for g in grads(task.net) if g is not None) > 0, name
    assert losses["r/mask/ground_intersection"] == 0


def test_the_net_learns_to_look_like_the_main_store_and_the_discriminator_to_tell(modules):
    """The two objectives of AdvEnt fit: what lowers the one's raises the other's."""
    terms = {"mask": [{"name": "adversarial", "width": 4}]}
    task, batch = made(modules, "masker", terms=terms)
    _, memory = task.generator_losses(batch)
    judge, ours, theirs = task.discriminators["mask"], memory["s"]["mask"], memory["r"]["mask"]
    assert ours.shape[1] == 2
    assert not ours.requires_grad
    optimizer = torch.optim.Adam(judge.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        total(task.discriminator_losses(memory)).backward()
        optimizer.step()
    assert judge(ours).mean() > judge(theirs).mean()
    fooled = nn.functional.binary_cross_entropy_with_logits(judge(theirs), torch.ones_like(judge(theirs)))
    losses, _ = task.generator_losses(batch)
    assert losses["r/mask/adversarial"].item() == pytest.approx(fooled.item(), rel=0.2)


def test_pretraining_learns_from_its_domain_alone(modules):
    task, batch = made(modules, "masker", pretrain_epochs=1)
    batch = batch | {DOMAINS: batch[DOMAINS] | {"pretrain": dict(batch)}}
    main = batch | {X: torch.full_like(batch[X], 255)}
    losses, memory = task.generator_losses(main)
    assert memory is None
    assert all(value == 0 for name, value in losses.items() if "/" in name)
    assert losses["mask"] > 0
    assert all(value == 0 for value in task.discriminator_losses(memory).values())


def test_pseudo_labels_need_labels(modules):
    terms = {"mask": [{"name": "pseudo_labels", "weight": 0.5}]}
    task, batch = made(modules, "masker", terms=terms)
    with pytest.raises(ConfigError, match="a domain's store has no target 'mask'"):
        task.generator_losses(batch)
    labelled = {key: value for key, value in batch.items() if key != DOMAINS}
    torch.manual_seed(0)
    losses, _ = task.generator_losses(batch | {DOMAINS: {"r": labelled}})
    assert losses["r/mask/pseudo_labels"].item() == pytest.approx(0.5 * losses["mask"].item(), rel=0.3)


def test_a_frozen_painter_teaches_the_mask_alone(modules):
    paint, _ = made(modules, "painter")
    loss = paint.frozen_loss()
    terms = {"mask": [{"name": "painter"}]}
    with pytest.raises(ConfigError, match=r"adaptation\.losses has 'painter', and there is none"):
        duel.masker(modules["masker"], terms=terms)
    task, batch = made(modules, "masker", terms=terms, paint_loss=loss)
    losses, _ = task.generator_losses(batch)
    losses["r/mask/painter"].backward()
    assert max(g.abs().max() for g in grads(task.net) if g is not None) > 0
    assert all(g is None for g in grads(paint))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"terms": {"water": []}}, "an entry for 'water', no target"),
        ({"terms": {"mask": [{"name": "min_entropi"}]}}, "no such term; did you mean 'min_entropy'"),
        ({"terms": {"semantics": [{"name": "total_variation"}]}}, "for targets of kind binary"),
        ({"terms": {"mask": [{"name": "min_entropy", "varianc": 1}]}}, "no option 'varianc'; did you mean 'variance'"),
        ({"terms": {"mask": [{"name": "adversarial", "objective": "wgan"}]}}, "set spectral=true"),
        ({"terms": {"mask": [{"name": "adversarial", "objective": "gam"}]}}, "did you mean 'gan'"),
        ({"terms": {"mask": [{"name": "ground_intersection", "classes": ["road"]}]}}, "some of ['sky', 'ground']"),
        ({"terms": {"mask": [{"name": "min_entropy"}] * 2}}, "'min_entropy' twice"),
        ({"optimizer": {"name": "extra_adam"}, "opponent": {"optimizer": duel.ADAM, "schedule": {"name": "constant"}}},
         "only both together can go ahead"),
        ({"parts": {"hed": {"lr": 1.0}}}, "no part 'hed'; did you mean 'head'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(modules, options, says):
    module = modules["masker"]
    given = {"terms": duel.TERMS, "opponent": {"optimizer": duel.ADAM, "schedule": {"name": "constant"}}} | options
    with pytest.raises(ConfigError) as refused:
        duel.DomainAdaptation(duel.TinyNet(3), module.bands, module.targets, domains=["r"], **given)
    assert says in str(refused.value)


def test_statistics_can_be_left_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    x = torch.randn(3, 1, 4, 4)
    expected, before = net(x), {name: value.clone() for name, value in net.state_dict().items()}
    with frozen_statistics(net):
        again = net(x)
    assert torch.equal(again, expected)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(x)
    assert net[1].num_batches_tracked == 2


def test_paint_leaves_what_is_outside_of_the_mask(modules):
    task, batch = made(modules, "painter")
    task.eval()
    photo, mask = task.examples(batch)
    photo = (photo + 1) / 2
    assert photo.min() >= 0
    assert photo.max() <= 1
    with torch.no_grad():
        found, again, other = (task.paint(photo, mask, seed) for seed in (1, 1, 2))
    dry = (mask == 0).expand_as(photo)
    assert torch.equal(found[dry], photo[dry])
    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    hidden = torch.where(mask > 0, torch.rand_like(photo), photo)
    with torch.no_grad():
        assert torch.equal(task.paint(hidden, mask, 1)[~dry], found[~dry])


def test_diff_augment_changes_real_and_painted_alike_by_seed_and_step():
    x = torch.rand(4, 4, 16, 24)
    changes = ("brightness", "saturation", "contrast", "translation", "cutout")
    first, again = (diff_augment(x, changes, 3, 5) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, diff_augment(x, changes, 3, 6))
    assert diff_augment(x, (), 3, 5) is x
    shifted = diff_augment(torch.ones(64, 4, 16, 16), ("translation",), 0, 0)
    assert {int((one[0] == 0).any(1).all()) for one in shifted} == {0, 1}
    # Moved by up to 2 of 16 pixels: 14 x 14 of ones are left at least.
    assert min(float(one[0].sum()) for one in shifted) >= 14 * 14
    cut = diff_augment(torch.ones(64, 4, 16, 16), ("cutout",), 0, 0)
    assert 0 < float((cut == 0).float().mean()) <= 0.25
    brighter = diff_augment(x, ("brightness",), 1, 1) - x
    assert torch.allclose(brighter[:, :3], brighter[:, :1, :1, :1].expand(-1, 3, 16, 24), atol=1e-6)
    assert not brighter[:, 3].any()
    assert brighter.abs().max() <= 0.5
    leaf = x.clone().requires_grad_()
    diff_augment(leaf, changes, 0, 0).sum().backward()
    assert leaf.grad.abs().max() > 0


def test_the_same_pictures_are_at_no_distance():
    class Means(nn.Module):
        num_features = 3

        def forward(self, x):
            return x.float().mean((2, 3))

    real = torch.from_numpy(np.random.default_rng(0).random((12, 3, 8, 8), np.float32))
    same = likeness([(real, real)], Means())
    apart = likeness([(real, real / 2)], Means())
    assert same["fid"] == pytest.approx(0, abs=1e-3)
    assert apart["fid"] > 0.1
    assert apart["kid"] > same["kid"]
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.pth"):
        likeness([(real, real)], "nowhere.pth")
    with pytest.raises(ConfigError, match="there are 1; validate on at least 2"):
        likeness([(real[:1], real[:1])], Means())


def test_only_what_is_labelled_is_measured(modules):
    task, batch = made(modules, "masker")
    task.eval()
    task.on_validation_epoch_start()
    with torch.no_grad():
        task.validation_step(batch, 0)
        task.validation_step(batch | {"domain": "r"}, 1)
        task.log_dict = lambda *_, **__: None
        task.on_validation_epoch_end()
    assert {"val/iou", "val/loss", "val/r/mask/iou", "val/r/semantics/iou"} <= set(task.val_metrics)
    assert task.val_metrics["val/iou"] == task.val_metrics["val/r/mask/iou"]
    task.on_validation_epoch_start()
    blind = batch | {VALID: {name: torch.zeros_like(value) for name, value in batch[VALID].items()}, "domain": "r"}
    with torch.no_grad():
        task.validation_step(batch, 0)
        task.validation_step(blind, 1)
        task.on_validation_epoch_end()
    assert not any(name.startswith("val/r/") for name in task.val_metrics)
