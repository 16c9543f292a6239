"""Every method of pretraining: a step lowers its loss, gradients go where they should, and a restart is exact."""

import copy

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from lightning.pytorch import Callback

from graticule.data.pretraining import PretrainingData
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.data.views import Views
from graticule.errors import ConfigError
from graticule.models.backbones import Backbone
from graticule.runs import Run
from graticule.schema import Band
from graticule.tasks.pretraining import METHODS, Pretraining, method_options
from graticule.tasks.pretraining.method import Clock
from graticule.training.checkpoints import read_checkpoint
from graticule.training.fit import fit
from worlds import healpix_world, raster_world

SIZE = 8
CNN = {"encoder": "resnet10t", "options": {"channels": [8, 8, 8, 8], "stem_width": 8, "output_stride": 8}}
VIT = {
    "encoder": "vit_tiny_patch16_224",
    "options": {"img_size": SIZE, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2},
}
SMALL = {"hidden": 16, "output": 8, "bottleneck": 8, "decoder": 16, "depth": 1, "heads": 2}
TEACHERS = ("moco", "byol", "dino")
ALL = pytest.mark.parametrize("method", list(METHODS))


def small_task(method: str, bands: int = 3, **changes) -> Pretraining:
    torch.manual_seed(0)
    net = Backbone(bands, **(VIT if method == "mae" else CNN))
    options = {key: value for key, value in SMALL.items() if key in method_options(method)}
    if method == "dino":
        options |= {"frozen_share": 0.0}
    told = {
        "options": options, "sizes": [SIZE] if method == "mae" else [SIZE, SIZE], "config": {"model": dict(CNN)},
        "optimizer": {"name": "adamw", "lr": 1e-3}, "schedule": {"name": "cosine", "warmup_steps": 1},
    }  # fmt: skip
    given = changes.pop("given", None) or [Band(f"b{number}", mean=100.0, std=50.0) for number in range(bands)]
    return Pretraining(net, given, method, **told | changes)


def fixed_views(method: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 3, SIZE, SIZE, generator=generator) for _ in range(1 if method == "mae" else 2)]


def loss_of(task: Pretraining, views: list[torch.Tensor]) -> torch.Tensor:
    torch.manual_seed(3)  # what is masked
    losses, _ = task.method(task.net, views, Clock(1, 10))
    return torch.stack(list(losses.values())).sum()


@ALL
def test_one_step_lowers_the_loss_on_a_fixed_batch(method):
    task, views = small_task(method).train(), fixed_views(method)
    before = loss_of(task, views)
    before.backward()
    with torch.no_grad():
        for parameter in task.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad / parameter.grad.norm().clamp(min=1e-6)
    assert float(loss_of(task, views)) < float(before)


@ALL
def test_gradients_reach_the_net_and_the_heads_and_never_the_teacher(method):
    task, views = small_task(method).train(), fixed_views(method)
    loss_of(task, views).backward()
    teachers = tuple(f"method.{name}." for name in task.method.followers())
    assert bool(teachers) == (method in TEACHERS)
    for name, parameter in task.named_parameters():
        if teachers and name.startswith(teachers):
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name
        elif parameter.requires_grad:
            assert parameter.grad is not None, name
    # Something of it is felt by the very first layer.
    first = next(iter(task.net.parameters()))
    assert float(first.grad.abs().max()) > 0


@pytest.mark.parametrize("method", TEACHERS)
def test_a_teacher_begins_as_the_net_and_follows_it_by_the_momentum_of_the_step(method):
    task = small_task(method)
    start = copy.deepcopy(task.method.teacher.net.state_dict())
    for name, value in task.net.state_dict().items():
        assert torch.equal(value, start[name])
    with torch.no_grad():
        for parameter in task.net.parameters():
            parameter += 1.0
    clock = Clock(3, 10)
    task.method.after_step(task.net, clock)
    momentum = clock.cosine(method_options(method)["momentum"], 1.0)
    assert method_options(method)["momentum"] < momentum < 1
    for name, parameter in task.method.teacher.net.named_parameters():
        torch.testing.assert_close(parameter, start[name] + (1 - momentum), msg=name)
    assert Clock(10, 10).cosine(0.9, 1.0) == 1.0


def test_the_target_of_simsiam_gives_no_gradient():
    task, views = small_task("simsiam").train(), fixed_views("simsiam")
    constants = [task.method.head(task.net(view)).detach() for view in views]
    loss_of(task, views).backward()
    found = {name: parameter.grad.clone() for name, parameter in task.named_parameters()}
    task.zero_grad()
    predicted = [task.method.predictor(task.method.head(task.net(view))) for view in views]
    criterion = NegativeCosineSimilarity()
    ((criterion(predicted[0], constants[1]) + criterion(predicted[1], constants[0])) / 2).backward()
    for name, parameter in task.named_parameters():
        torch.testing.assert_close(parameter.grad, found[name], msg=name)


def test_evaluation_changes_nothing_and_tells_the_entropy_of_the_teacher():
    task, views = small_task("dino").eval(), fixed_views("dino")
    before = copy.deepcopy(task.state_dict())
    with torch.inference_mode():
        _, notes = task.method(task.net, views, Clock(1, 10))
    for name, value in task.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert 0 < float(notes["teacher_entropy"]) <= torch.tensor(float(SMALL["output"])).log() + 1e-5
    task.train()
    task.method(task.net, views, Clock(1, 10))
    assert not torch.equal(task.method.criterion.center, before["method.criterion.center"])


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    raster = raster_world(folder / "raster", degrees=15.0, side=4, per_parent=1, bands=3)
    return raster.path, healpix_world(folder / "sphere", nside=16, parent_nside=2, per_parent=1, bands=3).path


def train(store, folder, method, *, resume=False, threads=0, epochs=2, further=(), **changes):
    opened = Store.open(store)
    views = Views(
        number=1 if method == "mae" else 2, size=SIZE, brightness=0.2, contrast=0.1, tint=0.1, drop=0.2, grey=0.2
    )
    found = assign(opened, method="random", seed=1)
    target = "landcover" if changes.pop("probe", False) else None
    module = PretrainingData(
        opened, found, views, probe_target=target, bank=5, batch_size=2, num_workers=threads, seed=7
    )
    task = small_task(method, given=module.bands, targets=module.targets, final_weight_decay=0.1, **changes)
    trainer = {"max_epochs": epochs, "accelerator": "cpu", "log_every_n_steps": 1}
    callbacks = {"checkpoint": {"every_n_steps": 1, "top_k": 0}, "progress": False}
    fit(task, module, Run(folder), seed=5, trainer=trainer, callbacks=callbacks, resume=resume, further=further)
    return task


class Kill(Callback):
    """Ends a training as a signal does, after so many steps."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 3:
            raise KeyboardInterrupt


@ALL
def test_a_run_that_was_killed_goes_on_exactly_with_any_number_of_threads(stores, tmp_path, method):
    whole = train(stores[0], tmp_path / "whole", method)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(stores[0], tmp_path / "killed", method, further=[Kill()])
    again = train(stores[0], tmp_path / "killed", method, resume=True, threads=2)
    assert again.global_step == whole.global_step > 3
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert again.val_metrics == whole.val_metrics


def test_what_a_validation_finds(stores, tmp_path):
    for store in stores:
        task = train(store, tmp_path / store.name, "dino", epochs=1, probe=True)
        assert set(task.val_metrics) == {
            "val/loss", "val/teacher_entropy", "val/spread", "val/rank", "val/uniformity", "val/alignment", "val/knn",
            "val/knn_balanced", "val/linear", "val/linear_balanced",
        }  # fmt: skip
        assert 0 <= task.val_metrics["val/knn"] <= 1
        told = read_checkpoint(Run(tmp_path / store.name).last_checkpoint)["graticule"]
        assert told["task"] == "pretraining"
        assert told["method"] == "dino"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [4, 4]}, "pretraining.views.size is 4; 8 pixels become one in the last features"),
        ({"sizes": [SIZE, SIZE, SIZE]}, "pretraining.views.number is 3; simclr compares 2"),
        ({"sizes": [16, 16, SIZE]}, "pretraining.views.local is 1; simclr has no local views"),
        ({"options": {"temprature": 1}}, "simclr has no option 'temprature'.*temperature"),
        ({"method": "mocco"}, "no method of pretraining is named 'mocco'.*moco"),
        ({"method": "mae", "sizes": [SIZE]}, None),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    method = changes.pop("method", "simclr")
    if message is None:
        net = Backbone(3, **CNN)
        with pytest.raises(ConfigError, match="mae hides patches from a vision transformer, and the backbone is a Res"):
            Pretraining(net, [Band("b")] * 3, method, **changes)
        return
    with pytest.raises(ConfigError, match=message):
        if method in METHODS:
            small_task(method, **changes)
        else:
            Pretraining(Backbone(3, **CNN), [Band("b")] * 3, method, sizes=[SIZE, SIZE])
