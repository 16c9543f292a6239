"""Fine-tuning: rates that decay by depth, and parts that do not learn."""

import copy
import re

import pytest
import torch
from torch import nn

from graticule.errors import ConfigError
from graticule.models.classifier import Classifier
from graticule.models.small_cnn import SmallCNN
from graticule.models.smp import SMP
from graticule.models.unet import UNet
from graticule.schema import AREA, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.dense import DensePrediction
from graticule.tasks.stages import Frozen, block_of_each, decayed_groups

LEGEND = tuple(LegendClass(value, str(value), "#808080") for value in range(3))
NETS = {
    "resnet": lambda: Classifier(2, 3, "test_resnet"),
    "vit": lambda: Classifier(2, 3, "test_vit"),
    "small_cnn": lambda: SmallCNN(2, 3, channels=4),
    "smp": lambda: SMP(2, 3, "fpn", "tu-test_resnet"),
    "unet": lambda: UNet(2, 3, channels=4),
}


@pytest.mark.parametrize("name", NETS)
def test_rates_decay_by_depth_and_every_weight_learns_once(name):
    net = NETS[name]()
    groups = decayed_groups(net, 0.1, 0.5)
    rates = [group["lr"] for group in groups]
    assert rates == [0.1 * 0.5**place for place in range(len(groups))]
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in net.parameters())
    deepest = {id(p) for p in groups[-1]["params"]}
    assert id(next(iter(net.parameters()))) in deepest
    assert id(list(net.parameters())[-1]) in {id(p) for p in groups[0]["params"]}


def test_blocks_are_counted_as_on_paper():
    net = nn.Sequential()
    net.encoder = nn.Module()
    net.encoder.stem = nn.Linear(1, 1)
    net.encoder.blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    net.encoder.norm = nn.LayerNorm(1)
    net.head = nn.Linear(1, 1)
    blocks, count = block_of_each(net)
    assert count == 3
    assert {name.rpartition(".")[0]: block for name, block in blocks.items()} == {
        "encoder.stem": 0, "encoder.blocks.0": 1, "encoder.blocks.1": 2, "encoder.norm": 2,
    }  # fmt: skip


def made(freeze=(), freeze_epochs=None, layer_decay=None):
    torch.manual_seed(0)
    target = Target("class", "classes", LEGEND, per="sample")
    net = SmallCNN(2, 3, channels=4, dropout=0.0)
    return DensePrediction(
        net, [Band("a", mean=0.0, std=1.0), Band("b", mean=0.0, std=1.0)], [target], freeze=freeze,
        freeze_epochs=freeze_epochs, layer_decay=layer_decay,
        optimizer={"name": "adamw", "lr": 0.01, "weight_decay": 0.1},
    )  # fmt: skip


def step(task):
    """One step on a fixed batch, with the hooks in a trainer's order."""
    optimizer = torch.optim.AdamW(task._learning(), lr=0.01, weight_decay=0.1)
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(6, 2, 8, 8, generator=rng)
    batch = {
        X: x, SEEN: torch.ones(6, 8, 8, dtype=torch.bool), AREA: torch.ones(6, 8, 8),
        TARGETS: {"class": torch.arange(6) % 3}, VALID: {"class": torch.ones(6, dtype=torch.bool)},
    }  # fmt: skip
    task.train()
    task.training_step(batch, 0)["loss"].backward()
    task.on_after_backward()
    optimizer.step()


@pytest.mark.parametrize("epochs", [None, 2])
def test_frozen_weights_and_statistics_do_not_move(epochs):
    task = made(freeze=["encoder"], freeze_epochs=epochs)
    before = copy.deepcopy(task.net.state_dict())
    step(task)
    moved = {name for name, value in task.net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"}


def test_what_is_frozen_until_an_epoch_learns_then():
    task = made(freeze=["encoder:1"], freeze_epochs=1)
    assert task.frozen.holds(0)
    assert not task.frozen.holds(1)
    before = copy.deepcopy(task.net.state_dict())
    step(task)
    moved = {name for name, value in task.net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("encoder.0.") for name in moved)
    assert any(name.startswith("encoder.2.") for name in moved)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["encodr"], "did you mean 'encoder'?"),
        (["encoder:x"], "encoder:K with a number K"),
        (["head.1"], "holds no weights"),
        (["encoder", "head"], "leave something that learns"),
    ],
)
def test_parts_that_cannot_be_frozen_are_named(parts, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        Frozen(SmallCNN(1, 2), parts)


def test_a_net_without_encoder_has_no_depth():
    with pytest.raises(ConfigError, match="has no encoder"):
        decayed_groups(nn.Linear(1, 1), 0.1, 0.5)
