"""Metric updates against torchmetrics computing the same numbers from the same batches (goal: 20 times faster).

Run: python benchmarks/metrics.py
Both sides give accuracy, IoU, F1, precision, recall, specificity, kappa, AUROC, average precision and calibration
error, per class and macro; the curves have 256 steps on both sides. An update is what every batch costs; torchmetrics
shares one confusion matrix among the metrics that can (compute groups), as a careful user would have it. CPU time.
"""

from collections.abc import Callable

import torch
import torchmetrics.classification as tm
from torchmetrics import MetricCollection

from figures import report, seconds
from graticule.objectives.metrics import metrics
from graticule.objectives.sums import BINS, binary_sums, class_sums

GOAL = 20


def main() -> None:
    torch.manual_seed(0)
    scores = torch.randn(4, 10, 256, 256).softmax(1)
    labels = torch.randint(0, 10, (4, 256, 256))
    _compare("classes", scores, labels, _torchmetrics_classes(10))
    probability = torch.rand(4, 1, 896, 896)
    _compare("binary", probability, torch.randint(0, 2, (4, 896, 896)), _torchmetrics_binary())


def _compare(kind: str, scores: torch.Tensor, labels: torch.Tensor, theirs: MetricCollection) -> None:
    valid = torch.ones_like(labels, dtype=torch.bool)
    update = class_sums if kind == "classes" else binary_sums
    given = scores if kind == "classes" else scores[:, 0]
    theirs.update(given, labels)  # the first update forms the compute groups
    slow = _seconds(lambda: theirs.update(given, labels), repeats=3)
    fast = _seconds(lambda: update(scores, labels, valid), repeats=10)
    ours, oracle = metrics(kind, update(scores, labels, valid)), theirs.compute()
    for name, value in oracle.items():
        assert abs(ours[name] - float(value)) < 2e-3, f"{name}: {ours[name]} is not {float(value)}"
    shape = list(scores.shape)
    report(f"metrics of {kind} {shape}: torchmetrics {slow * 1e3:.0f} ms / ours {fast * 1e3:.0f} ms", slow / fast, GOAL)
    # The curves cost torchmetrics most; so this says what remains without them (ours still counts them in).
    plain = MetricCollection(
        {name: metric.clone() for name, metric in theirs.items() if name not in ("auroc", "average_precision")}
    )
    plain.update(given, labels)
    slow = _seconds(lambda: plain.update(given, labels), repeats=3)
    print(f"    beside it, torchmetrics without AUROC and average precision: {slow * 1e3:.0f} ms, {slow / fast:.1f} ×")


def _seconds(call: Callable[[], object], repeats: int) -> float:
    call()
    return seconds(call, repeats)


def _torchmetrics_classes(k: int) -> MetricCollection:
    plain = {"num_classes": k, "validate_args": False}
    curve = plain | {"thresholds": BINS + 1}
    return MetricCollection(
        {
            "accuracy": tm.MulticlassAccuracy(average="micro", **plain),
            "iou": tm.MulticlassJaccardIndex(**plain),
            "f1": tm.MulticlassF1Score(**plain),
            "precision": tm.MulticlassPrecision(**plain),
            "recall": tm.MulticlassRecall(**plain),
            "specificity": tm.MulticlassSpecificity(**plain),
            "kappa": tm.MulticlassCohenKappa(**plain),
            "auroc": tm.MulticlassAUROC(**curve),
            "average_precision": tm.MulticlassAveragePrecision(**curve),
            "calibration_error": tm.MulticlassCalibrationError(n_bins=16, **plain),
        }
    )


def _torchmetrics_binary() -> MetricCollection:
    plain = {"validate_args": False}
    curve = {"thresholds": BINS + 1, "validate_args": False}
    return MetricCollection(
        {
            "accuracy": tm.BinaryAccuracy(**plain),
            "iou": tm.BinaryJaccardIndex(**plain),
            "f1": tm.BinaryF1Score(**plain),
            "precision": tm.BinaryPrecision(**plain),
            "recall": tm.BinaryRecall(**plain),
            "specificity": tm.BinarySpecificity(**plain),
            "kappa": tm.BinaryCohenKappa(**plain),
            "auroc": tm.BinaryAUROC(**curve),
            "average_precision": tm.BinaryAveragePrecision(**curve),
            "calibration_error": tm.BinaryCalibrationError(n_bins=16, **plain),
        }
    )


if __name__ == "__main__":
    main()
