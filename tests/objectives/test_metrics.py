"""Metrics against scikit-learn, torchmetrics and paper; their absent values; their intervals."""

import math

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
import torchmetrics.functional as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graticule.objectives.metrics import bootstrap, calibration, metrics, metrics_by_group
from graticule.objectives.sums import BINS, binary_sums, class_sums, value_sums


def _classes(seed: int, k: int = 4, n: int = 400, on_edges: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [1, k, n], labels and weights of n pixels, the scores better than chance."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, k, (1, n), generator=generator)
    logits = torch.randn(1, k, n, generator=generator) + torch.nn.functional.one_hot(target, k).movedim(-1, 1)
    scores = logits.softmax(1)
    if on_edges:
        scores = (scores * BINS).floor() / BINS
    return scores, target, torch.rand(1, n, generator=generator) + 0.1


def _valid(target: Tensor) -> Tensor:
    return torch.ones_like(target, dtype=torch.bool)


@pytest.mark.parametrize("weighted", [False, True])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_class_metrics_are_those_of_scikit_learn(weighted: bool, seed: int):
    scores, target, weight = _classes(seed)
    ours = metrics("classes", class_sums(scores, target, _valid(target), weight if weighted else None))
    truth, predicted = target[0].numpy(), scores.max(1).indices[0].numpy()
    w = {"sample_weight": weight[0].numpy() if weighted else None}
    assert ours["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted, **w), abs=1e-6)
    assert ours["kappa"] == pytest.approx(oracle.cohen_kappa_score(truth, predicted, **w), abs=1e-6)
    by_name = {
        "iou": oracle.jaccard_score,
        "f1": oracle.f1_score,
        "precision": oracle.precision_score,
        "recall": oracle.recall_score,
    }
    for name, score in by_name.items():
        assert ours[name] == pytest.approx(score(truth, predicted, average="macro", **w), abs=1e-6)
        for c, value in enumerate(score(truth, predicted, average=None, **w)):
            assert ours[f"{name}/{c}"] == pytest.approx(value, abs=1e-6)
    assert ours["specificity"] == pytest.approx(
        np.mean([oracle.recall_score(truth != c, predicted != c, **w) for c in range(4)]), abs=1e-6
    )


@pytest.mark.parametrize(("on_edges", "tolerance"), [(True, 1e-6), (False, 5e-3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_areas_under_curves_are_those_of_scikit_learn(on_edges: bool, tolerance: float, weighted: bool):
    scores, target, weight = _classes(7, on_edges=on_edges)
    ours = metrics("classes", class_sums(scores, target, _valid(target), weight if weighted else None))
    for c in range(4):
        given = (target[0] == c).numpy(), scores[0, c].numpy()
        w = {"sample_weight": weight[0].numpy() if weighted else None}
        assert ours[f"auroc/{c}"] == pytest.approx(oracle.roc_auc_score(*given, **w), abs=tolerance)
        precision = oracle.average_precision_score(*given, **w)
        assert ours[f"average_precision/{c}"] == pytest.approx(precision, abs=tolerance)
    assert ours["auroc"] == pytest.approx(np.mean([ours[f"auroc/{c}"] for c in range(4)]))


def test_class_metrics_are_those_of_torchmetrics():
    scores, target, _ = _classes(11, on_edges=True)
    ours = metrics("classes", class_sums(scores, target, _valid(target)))
    given = {"preds": scores, "target": target, "num_classes": 4}
    theirs = {
        "accuracy": tm.classification.multiclass_accuracy(**given, average="micro"),
        "iou": tm.classification.multiclass_jaccard_index(**given),
        "f1": tm.classification.multiclass_f1_score(**given),
        "specificity": tm.classification.multiclass_specificity(**given),
        "kappa": tm.classification.multiclass_cohen_kappa(**given),
        "auroc": tm.classification.multiclass_auroc(**given),
        "average_precision": tm.classification.multiclass_average_precision(**given),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), abs=1e-6), name


@pytest.mark.parametrize("kind", ["classes", "binary"])
def test_calibration_error_is_that_of_torchmetrics(kind: str):
    scores, target, _ = _classes(5, k=3)
    if kind == "classes":
        ours = metrics("classes", class_sums(scores, target, _valid(target)))
        theirs = tm.classification.multiclass_calibration_error(scores, target, num_classes=3, n_bins=16)
    else:
        truth = (target == 1).long()
        ours = metrics("binary", binary_sums(scores[:, 1:2], truth, _valid(target)))
        theirs = tm.classification.binary_calibration_error(scores[:, 1], truth, n_bins=16)
    assert ours["calibration_error"] == pytest.approx(float(theirs), abs=1e-6)


@given(seed=st.integers(0, 1000), threshold=st.sampled_from([0.25, 0.5, 0.8125]))
@settings(max_examples=15, deadline=None)
def test_binary_metrics_are_those_of_scikit_learn(seed: int, threshold: float):
    scores, target, weight = _classes(seed, k=2, on_edges=True)
    ours = metrics("binary", binary_sums(scores[:, 1:], target, _valid(target), weight), threshold=threshold)
    truth, score, w = target[0].numpy(), scores[0, 1].numpy(), {"sample_weight": weight[0].numpy()}
    predicted = score >= threshold
    theirs = {
        "accuracy": oracle.accuracy_score(truth, predicted, **w),
        "iou": oracle.jaccard_score(truth, predicted, **w),
        "f1": oracle.f1_score(truth, predicted, **w),
        "precision": oracle.precision_score(truth, predicted, zero_division=0, **w),
        "recall": oracle.recall_score(truth, predicted, **w),
        "specificity": oracle.recall_score(1 - truth, ~predicted, **w),
        "kappa": oracle.cohen_kappa_score(truth, predicted, **w),
        "auroc": oracle.roc_auc_score(truth, score, **w),
        "average_precision": oracle.average_precision_score(truth, score, **w),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-6), name


def test_value_metrics_are_those_of_scikit_learn_and_paper():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 9, 300)
    value = truth * rng.uniform(0.5, 1.8, 300)
    weight = rng.uniform(0.1, 2, 300)
    tensors = [torch.tensor(given)[None] for given in (value, truth)]
    ours = metrics("height", value_sums(*tensors, torch.ones(1, 300).bool(), torch.tensor(weight)[None]))
    w = {"sample_weight": weight}
    assert ours["mae"] == pytest.approx(oracle.mean_absolute_error(truth, value, **w))
    assert ours["rmse"] == pytest.approx(oracle.root_mean_squared_error(truth, value, **w))
    assert ours["r2"] == pytest.approx(oracle.r2_score(truth, value, **w))
    assert ours["absrel"] == pytest.approx(oracle.mean_absolute_percentage_error(truth, value, **w))
    log = np.log(value / truth)
    assert ours["silog"] == pytest.approx(100 * np.sqrt(np.cov(log, aweights=weight, ddof=0)))
    assert ours["bias"] == pytest.approx(np.average(value - truth, weights=weight))
    ratio = np.maximum(value / truth, truth / value)
    for power in (1, 2, 3):
        assert ours[f"delta{power}"] == pytest.approx(np.average(ratio < 1.25**power, weights=weight))


def test_an_absent_class_is_nan_and_no_part_of_the_mean():
    # Class 0 in both, class 1 in truth alone, class 2 in the prediction alone, class 3 nowhere.
    scores = torch.nn.functional.one_hot(torch.tensor([[0, 2, 0]]), 4).movedim(-1, 1).float()
    target = torch.tensor([[0, 0, 1]])
    values = metrics("classes", class_sums(scores, target, _valid(target)), names=["a", "b", "c", "d"])
    assert values["iou/a"] == pytest.approx(1 / 3)
    assert (values["iou/b"], values["iou/c"]) == (0, 0)
    assert values["iou"] == pytest.approx(1 / 9)
    assert (values["precision/b"], values["recall/c"]) == (0, 0)
    assert all(math.isnan(values[f"{name}/d"]) for name in ("iou", "f1", "precision", "recall", "specificity", "auroc"))
    assert math.isnan(values["auroc/c"])


@pytest.mark.parametrize("kind", ["classes", "binary", "height"])
def test_without_pixels_every_metric_is_nan(kind: str):
    scores, target, _ = _classes(0, k=2)
    invalid = ~_valid(target)
    sums = {
        "classes": lambda: class_sums(scores, target, invalid),
        "binary": lambda: binary_sums(scores[:, :1], target, invalid),
        "height": lambda: value_sums(scores[:, 0], scores[:, 1], invalid),
    }[kind]()
    assert all(math.isnan(value) for value in metrics(kind, sums).values())


def test_metrics_are_pooled_over_groups_not_averaged():
    """One sample without the class does not halve the score of the other."""
    target = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])
    predicted = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1]])
    sums = binary_sums(predicted[:, None].float(), target, _valid(target), groups=torch.arange(2), n_groups=2)
    assert metrics("binary", sums)["iou"] == pytest.approx(3 / 4)
    assert metrics_by_group("binary", sums)["iou"].tolist() == [1, 0]
    flat = {name: value.sum(0).numpy() for name, value in sums.items()}
    assert metrics("binary", flat)["iou"] == pytest.approx(3 / 4)


def test_the_reliability_curve_of_a_calibrated_forecast_is_the_diagonal():
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(1, 1, 200_000, generator=generator)
    target = (torch.rand(1, 200_000, generator=generator) < score[:, 0]).long()
    curve = calibration("binary", binary_sums(score, target, _valid(target)), bins=8)
    np.testing.assert_allclose(curve["confidence"], (np.arange(8) + 0.5) / 8, atol=2e-3)
    np.testing.assert_allclose(curve["accuracy"], curve["confidence"], atol=0.015)
    assert curve["weight"].sum() == 200_000
    assert curve["bins"].tolist() == [i / 8 for i in range(9)]
    with pytest.raises(ValueError, match="256 bins cannot be joined to 7"):
        calibration("binary", binary_sums(score, target, _valid(target)), bins=7)


def _group_sums(groups: int, seed: int = 0, spread: float = 0.5) -> dict[str, Tensor]:
    """Each group of 50 pixels has an accuracy of its own."""
    rng = np.random.default_rng(seed)
    accuracy = rng.uniform(0.5 - spread / 2, 0.5 + spread / 2, groups)
    right = rng.random((groups, 50)) < accuracy[:, None]
    target = torch.ones(groups, 50, dtype=torch.int64)
    return binary_sums(torch.tensor(right).float()[:, None], target, _valid(target), None, torch.arange(groups), groups)


def test_bootstrap_is_seeded_and_surrounds_the_estimate():
    sums = _group_sums(40)
    first = bootstrap("binary", sums, n=500, seed=3)
    assert first["recall"] == bootstrap("binary", sums, n=500, seed=3)["recall"]
    assert first["recall"] != bootstrap("binary", sums, n=500, seed=4)["recall"]
    low, high = first["recall"]
    assert low < metrics("binary", sums)["recall"] < high
    narrow = bootstrap("binary", sums, n=500, seed=3, confidence=0.5)["recall"]
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_intervals_cover_the_truth_where_pixels_of_a_group_are_alike():
    """The standard error of a mean over groups; over pixels it would be told three times too small."""
    groups = 60
    covered = 0
    for seed in range(60):
        low, high = bootstrap("binary", _group_sums(groups, seed), n=200, seed=seed)["recall"]
        covered += low <= 0.5 <= high
    assert covered >= 51


def test_bootstrap_leaves_out_empty_groups_and_needs_two():
    sums = _group_sums(10)
    padded = {name: torch.cat([value, torch.zeros_like(value)]) for name, value in sums.items()}
    assert bootstrap("binary", sums, n=100)["recall"] == bootstrap("binary", padded, n=100)["recall"]
    alone = bootstrap("binary", {name: value[:1] for name, value in sums.items()})
    assert all(math.isnan(low) and math.isnan(high) for low, high in alone.values())
    assert alone.keys() == metrics("binary", sums).keys()


def test_bootstrap_of_class_metrics_has_the_spread_of_resampled_groups():
    scores, target, _ = _classes(2, k=3, n=30 * 20)
    parts = scores.view(3, 30, 20).movedim(1, 0), target.view(30, 20)
    sums = class_sums(*parts, _valid(parts[1]), None, torch.arange(30), 30)
    low, high = bootstrap("classes", sums, n=800, seed=1)["accuracy"]
    per_group = metrics_by_group("classes", sums)["accuracy"]
    error = per_group.std() / math.sqrt(30)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.12)


def test_foreground_accuracy_leaves_out_pixels_whose_true_class_is_0():
    truth, predicted = torch.tensor([[0, 0, 0, 1, 1, 1, 2]]), torch.tensor([0, 1, 2, 1, 1, 0, 2])
    sums = class_sums(torch.eye(3)[predicted].T[None], truth, torch.ones(1, 7, dtype=torch.bool))
    assert metrics("classes", sums)["foreground_accuracy"] == pytest.approx(3 / 4)
