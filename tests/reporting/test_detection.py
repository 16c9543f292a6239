"""Thresholds and objects on the page: from the evaluation on scenes where there is one, and said otherwise."""

import json

import numpy as np
import pytest

from graticule.reporting.report import report
from graticule.runs import Run, write_json

SPOT = {
    "precision@0.3": 0.9, "recall@0.3": 0.8, "f1@0.3": 0.85, "accuracy@0.3": 0.7, "average_precision@0.3": 0.66,
    "precision@0.5": 0.7, "recall@0.5": 0.6, "f1@0.5": 0.65, "accuracy@0.5": 0.5, "average_precision@0.5": 0.444,
    "truths": 57.0, "predictions": 46.0, "boundary_iou": 0.312,
}  # fmt: skip


def evaluation(run, grid, on):
    steps = np.linspace(0, 1, 5).tolist()
    spot = {
        "metrics": SPOT, "intervals": {"f1@0.5": [0.6, 0.7]}, "by_region": {},
        "curve": {"0.5": {"recall": [0.1, 0.3, 0.6], "precision": [1.0, 0.9, 0.7]}},
    }  # fmt: skip
    target = {
        "kind": "binary", "threshold": 0.5, "confusion": [[90, 2], [3, 5]],
        "legend": [{"value": k, "name": n, "colour": "#dd5500"} for k, n in enumerate(("ground", "spot"))],
        "metrics": {"iou": 0.5, "f1": 0.66, "auroc": 0.971, "average_precision": 0.8, "best_threshold": 0.375,
                    "best_f1": 0.7, "best_iou": 0.54},
        "curves": {"threshold": steps[::-1], "false_positive_rate": steps, "recall": steps, "precision": steps[::-1]},
        "objects": {"on": on, "connectivity": 8, "boundary_pixels": 4, "classes": {"spot": spot}},
    }  # fmt: skip
    folder = run.evaluation("test", grid)
    folder.mkdir(parents=True)
    write_json(folder / "metrics.json", {"part": "test", "grid": grid, "targets": {"spot": target}, "pixels": 100})


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.update_manifest(name="spots", id="abcd1234", state="finished", seed=1)
    evaluation(run, "store", "windows")
    return run


def test_curves_and_objects_are_drawn(run):
    page = report([run.folder]).read_text()
    for text in ("ROC", "AUROC 0.971", "Precision over recall", "0.375 is the threshold that scores best here",
                 "spot, IoU ≥ 0.3", "0.444", "0.600 – 0.700", "true 57, found 46; boundary IoU 0.312",
                 "bands of 4 pixels along outlines", "Objects: precision over recall of spot"):  # fmt: skip
        assert text in page, text
    assert "Objects are cut where a window ends and count in pieces" in page
    assert "Share of truth" not in page  # a binary target has no table of classes


def test_whole_objects_are_preferred(run):
    evaluation(run, "scene", "scenes")
    page = report([run.folder]).read_text()
    assert "Evaluation test-scene. Predictions were blended on whole scenes first" in page
    assert "count in pieces" not in page


def test_nothing_is_said_of_what_is_not_there(run):
    path = run.evaluation("test", "store") / "metrics.json"
    content = json.loads(path.read_text())
    del content["targets"]["spot"]["objects"], content["targets"]["spot"]["curves"]
    write_json(path, content)
    assert "Thresholds and objects" not in report([run.folder]).read_text()
