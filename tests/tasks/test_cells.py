import numpy as np
import pytest
import torch
from torch import nn

from graticule.errors import ConfigError
from graticule.schema import AREA, INDEX, SEEN, TARGETS, VALID, Band, LegendClass, Target, X
from graticule.tasks.cells import middles, pool_cells
from graticule.tasks.dense import DensePrediction

LEGEND = tuple(LegendClass(value, f"class {value}", "#808080") for value in range(3))
COVER = Target("cover", "classes", LEGEND, cell=4)
MASK = Target("mask", "binary", LEGEND[:2], cell=4)
HEIGHT = Target("height", "height", unit="m", cell=4)
RNG = torch.Generator().manual_seed(7)


def blocks(values, cell=4):
    """[..., h, w] -> the means of its cells."""
    return torch.nn.functional.avg_pool2d(values, cell)


@pytest.mark.parametrize(("target", "channels", "link"), [
    (COVER, 3, lambda x: x.softmax(1)), (MASK, 1, torch.sigmoid), (HEIGHT, 1, lambda x: x),
])  # fmt: skip
def test_the_mean_of_a_cell_is_that_of_its_probabilities(target, channels, link):
    logits = 30 * torch.randn(2, channels, 8, 12, generator=RNG, dtype=torch.float64)
    pooled = pool_cells(logits, target, "mean")
    assert pooled.shape == logits.shape
    expected = blocks(link(logits)).repeat_interleave(4, -1).repeat_interleave(4, -2)
    np.testing.assert_allclose(link(pooled), expected, atol=1e-5)


def test_the_maximum_is_that_of_the_logits_as_in_the_course():
    logits = torch.randn(2, 3, 8, 12, generator=RNG)
    pooled = pool_cells(logits, COVER, "max")[..., ::4, ::4]
    torch.testing.assert_close(pooled, nn.MaxPool2d(4)(logits))


def test_extreme_logits_stay_finite_and_can_be_learnt_from():
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 4, 4).requires_grad_()
    pooled = pool_cells(logits, COVER, "mean")
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    assert torch.isfinite(logits.grad).all()


def test_windows_of_parts_of_cells_are_refused():
    with pytest.raises(ConfigError, match=r"6 x 8 pixels is not one of whole cells.*give a multiple of 4"):
        pool_cells(torch.zeros(1, 3, 6, 8), COVER, "mean")


class Fixed(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x):
        return self.output


def cell_batch(truth):
    shape = truth.shape
    return {
        X: torch.zeros(shape[0], 1, *shape[1:]), SEEN: torch.ones(shape, dtype=torch.bool),
        TARGETS: {"cover": truth}, VALID: {"cover": torch.ones(shape, dtype=torch.bool)},
        AREA: torch.ones(shape), INDEX: torch.arange(shape[0]),
    }  # fmt: skip


@pytest.mark.parametrize("how", ["mean", "max"])
def test_loss_and_metrics_are_those_of_the_cells_alone(how):
    """The same numbers as a net that gives one output for each cell, and labels of cells."""
    logits, labels = torch.randn(2, 3, 8, 8, generator=RNG), torch.randint(0, 3, (2, 2, 2), generator=RNG)
    fine = DensePrediction(Fixed(logits), [Band("a")], [COVER], cell_pool=how)
    coarse_logits = blocks(logits.softmax(1)).log() if how == "mean" else nn.MaxPool2d(4)(logits)
    coarse = DensePrediction(Fixed(coarse_logits), [Band("a")], [Target("cover", "classes", LEGEND)])
    spread = labels.repeat_interleave(4, -1).repeat_interleave(4, -2)
    results = []
    for task, batch in ((fine, cell_batch(spread)), (coarse, cell_batch(labels))):
        losses, masses = task.loss_of(task(batch[X], batch[SEEN]), batch)
        results.append((losses["cover"], masses, task.sums_of(task.predict(batch[X]), batch)["cover"]))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert results[0][1].item() == results[1][1].item() == 8
    for name, values in results[1][2].items():
        torch.testing.assert_close(results[0][2][name], values, msg=name)


def test_predictions_are_alike_within_a_cell():
    task = DensePrediction(Fixed(torch.randn(1, 3, 8, 8, generator=RNG)), [Band("a")], [COVER]).eval()
    found = task.predict(torch.zeros(1, 1, 8, 8))["cover"]
    torch.testing.assert_close(found, blocks(found).repeat_interleave(4, -1).repeat_interleave(4, -2))


def test_each_cell_has_one_middle():
    found = middles((15, 10), 5)
    assert found.sum() == 6
    assert found[2, 2]
    assert found[12, 7]
