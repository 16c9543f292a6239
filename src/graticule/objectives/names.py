"""What DARTS, torchmetrics and the course call our metrics."""

from collections.abc import Mapping

PIXEL_METRICS = {
    "JaccardIndex": "iou",
    "Recall": "recall",
    "Precision": "precision",
    "Specificity": "specificity",
    "F1Score": "f1",
    "Accuracy": "accuracy",
    "CohenKappa": "kappa",
    "AUROC": "auroc",
    "AveragePrecision": "average_precision",
}
OBJECT_METRICS = {
    "InstanceAccuracy": "accuracy@0.3",
    "InstancePrecision": "precision@0.3",
    "InstanceRecall": "recall@0.3",
    "InstanceF1Score": "f1@0.3",
    "InstanceAveragePrecision": "average_precision@0.3",
    "InstanceBoundaryIoU": "boundary_iou",
}


def darts_names(
    part: str, pixels: Mapping[str, float | None], objects: Mapping[str, float | None] | None = None
) -> dict[str, float | None]:
    """The metrics of a binary target under the names that DARTS logs: `test/JaccardIndex`, `test/InstanceF1Score` ...

    Args:
        part: that was evaluated.
        pixels: metrics of the pixels by our names.
        objects: metrics of the objects by our names, where they were counted.
    """
    named = {name: pixels.get(own) for name, own in PIXEL_METRICS.items()}
    accuracy = pixels.get("accuracy")
    named["HammingDistance"] = None if accuracy is None else 1 - accuracy
    named |= {name: objects[own] for name, own in OBJECT_METRICS.items()} if objects else {}
    return {f"{part}/{name}": value for name, value in named.items()}
