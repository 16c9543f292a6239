"""The pages of a cross-validation and of a study: complete, self-contained, honest about failures."""

import json
import re

import pandas as pd
import pytest

from graticule.errors import GraticuleError
from graticule.reporting.dots import Axis, Dot, parallel, scatter
from graticule.reporting.report import report


def write_cross(folder, *, failed=False):
    folder.mkdir(parents=True)
    planned = [f"cv-run-f{fold}s{seed}" for seed in (42, 21) for fold in (0, 1)]
    (folder / "crossval.json").write_text(json.dumps({"name": "cv", "folds": 2, "planned": planned}))
    rows = [
        {"fold": k % 2, "seed": (42, 21)[k // 2], "run_name": name, "run_id": "x", "state": "finished", "reason": "",
         "duration": 12.0, "checkpoint": "c", "step": 10, "step@end": 20, "val/iou": 0.4 + k / 10, "val/iou@end": 0.3,
         "is_unstable": False, "score": 0.55, "score_is_unstable": failed}
        for k, name in enumerate(planned)
    ]  # fmt: skip
    if failed:
        rows[1] |= {"state": "failed", "reason": "RuntimeError: <script>", "val/iou": float("nan"), "is_unstable": True}
    pd.DataFrame(rows).to_parquet(folder / "run_infos.parquet")
    pooled = {"rts": {"kind": "binary", "unit": None, "metrics": {"iou": 0.56, "f1": 0.7}, "parents": 9, "pixels": 1200,
                      "intervals": {"iou": [0.5, 0.6]}}}  # fmt: skip
    bad = [planned[1]] if failed else []
    summary = {"score": 0.55, "direction": "maximize", "trust": 0.75 if failed else 1.0, "is_unstable": failed,
               "metrics": ["val/iou:higher"], "strategy": "harmonic", "planned": 4, "failed": bad, "unstable": bad,
               "over_runs": {}, "pooled": pooled}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_study(folder, trials=6):
    folder.mkdir(parents=True)
    space = {
        "optim.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True, "integer": False, "mirror": None, "step": None},
        "model": {"choices": ["unet", "fcn"]},
        "data.batch_size": {"choices": [8]},
    }
    manifest = {"name": "alps", "space": space, "scoring": {"metrics": ["val/iou:higher"], "strategy": "harmonic"},
                "sampler": "tpe", "pruner": "none", "seed": 42, "storage": "sqlite:///x"}  # fmt: skip
    (folder / "study.json").write_text(json.dumps(manifest))
    rows = [
        {"number": n, "state": "complete", "cv_name": f"alps-cv{n}", "score": 0.1 * n, "trust": 1.0,
         "hp/optim.optimizer.lr": 10.0 ** -(n % 4 + 1), "hp/model": ("unet", "fcn")[n % 2], "hp/data.batch_size": 8,
         "duration": 60.0, "reason": "", "intermediate": "{}"}
        for n in range(trials)
    ]  # fmt: skip
    rows[1]["trust"] = 0.5
    rows[3] |= {"state": "fail", "reason": "crop is <64>"}
    pd.DataFrame(rows).to_parquet(folder / "trials.parquet")
    shares = {"score": {"optim.optimizer.lr": 0.8, "model": 0.2}}
    summary = {"objectives": ["score"], "directions": ["maximize"], "counts": {"complete": 5, "fail": 1},
               "best": [5, 4], "importances": shares}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    write_cross(folder / "alps-cv5")
    return folder


def page(folder):
    path = report([folder])
    assert path == folder / "report.html"
    text = path.read_text()
    assert "default-src &#x27;none&#x27;" in text
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text), "it loads nothing"
    return text


def test_a_cross_validation_shows_its_spread_and_its_pooled_metrics(tmp_path):
    text = page(write_cross(tmp_path / "cv"))
    assert "All runs ended with usable metrics." in text
    assert text.count("<circle") == 8 + 1, "the mark, and each of four runs by fold and by seed"
    assert "fold 1, seed 21: 0.7" in text
    assert "95 % interval 0.500 to 0.600" in text
    # Means by fold 0.5 and 0.6, by seed 0.45 and 0.65.
    assert "val/iou varies by 0.050 between folds and 0.100 between seeds." in text


def test_a_failed_run_is_named_and_its_reason_is_text(tmp_path):
    text = page(write_cross(tmp_path / "cv", failed=True))
    assert "1 of 4 runs failed or are unstable and count as the worst: cv-run-f1s42." in text
    assert "RuntimeError: &lt;script&gt;" in text
    assert "75%" in text


def test_a_study_shows_best_history_importance_slices_and_failures(tmp_path):
    text = page(write_study(tmp_path / "alps"))
    for ident in ("best", "history", "importance", "parallel", "slices", "failures", "space"):
        assert f'id="{ident}"' in text
    assert "0.560 (0.500 to 0.600)" in text, "the pooled metric of the best trial with its interval"
    assert "crop is &lt;64&gt;" in text
    assert "only 50% of its runs ended with usable metrics" in text
    assert text.count('class="line c1"') == 5, "one line per complete trial"
    assert "data.batch_size by" not in text, "a constant is no axis"


def test_a_study_without_trials_says_how_to_begin(tmp_path):
    folder = write_study(tmp_path / "alps")
    (folder / "trials.parquet").unlink()
    (folder / "summary.json").unlink()
    assert "graticule tune --sweep-id alps --device DEVICE" in page(folder)


def test_a_damaged_file_is_named(tmp_path):
    folder = write_cross(tmp_path / "cv")
    (folder / "summary.json").write_text("{")
    with pytest.raises(GraticuleError, match=r"cv has a damaged file \(.*\); resume it"):
        report([folder])


def test_axes_place_numbers_orders_of_magnitude_and_names():
    assert Axis.of("lr", [1e-4, 1e-2], log=True).share(1e-3) == pytest.approx(0.5)
    assert Axis.of("x", [0.0, 10.0]).share(2.5) == pytest.approx(0.25)
    assert [Axis.of("a", ["u", "f", "u"]).share(name) for name in ("f", "u")] == [0.25, 0.75]
    assert Axis.of("a", [True, False]).names == ("False", "True")
    assert Axis.of("a", [3.0, 3.0]).share(3.0) == pytest.approx(0.5)
    assert [text for _, text in Axis.of("lr", [1e-4, 1e-1], log=True).marks()] == ["0.0001", "0.001", "0.01", "0.1"]


def test_what_cannot_be_drawn_is_left_out():
    assert scatter("t", [Dot(1, float("nan"), "")], Axis("x"), "y") == ""
    assert parallel("t", [Axis("x")], [([1], 0.5, "")]) == ""
