"""Cross-validations over run folders whose metrics are known on paper."""

import json

import pandas as pd
import pytest
from paper_runs import finish_run, write_run

from graticule.errors import ConfigError, OutputError
from graticule.runs import create_run, crossval_folder
from graticule.studies.crossval import CrossValidation, Planned, alone_in, plan, seeds
from graticule.studies.scoring import Scoring

IOU = {("cv-run-f0s42"): 0.4, "cv-run-f1s42": 0.6, "cv-run-f0s21": 0.2, "cv-run-f1s21": 0.8}


def crossval(tmp_path, scoring="val/iou", **options):
    folder = crossval_folder(tmp_path, "cv")
    return CrossValidation(folder, plan("cv", 2, seeds(2)), Scoring.parse(scoring), bootstrap=50, **options)


def trains(tmp_path, calls, fails=()):
    """Trains by writing what is on paper; `fails` maps a run's name to what happens instead."""

    def train(planned, begun):
        calls.append((planned.name, begun is not None))
        context = {"seed": planned.seed, "cv_name": "cv"}
        if planned.name in fails:
            create_run(tmp_path, planned.name, **context)
            raise fails[planned.name]
        if begun is not None:
            finish_run(begun, {"val/iou": IOU[planned.name]})
            return begun
        return write_run(tmp_path, planned, {"val/iou": IOU[planned.name]}, cv_name="cv")

    return train


def test_seeds_and_names_are_those_of_the_guide():
    assert seeds(3) == [42, 21, 69]
    assert seeds(5)[:3] == [42, 21, 69]
    assert len(set(seeds(20))) == 20
    assert seeds(20)[:5] == seeds(5)
    assert seeds(2, first=7) == [7, 42]
    assert plan("alps", 2, [42, 21]) == [
        Planned(0, 42, "alps-run-f0s42"), Planned(1, 42, "alps-run-f1s42"),
        Planned(0, 21, "alps-run-f0s21"), Planned(1, 21, "alps-run-f1s21"),
    ]  # fmt: skip


def test_the_table_has_a_row_per_run_with_the_best_and_the_end(tmp_path):
    work = crossval(tmp_path)
    score = work.go(trains(tmp_path, []))
    assert score.value == pytest.approx(0.5)
    assert work.folder.folder == tmp_path / "_cross_validations" / "cv"
    table = pd.read_parquet(work.folder.run_infos)
    assert list(zip(table["fold"], table["seed"], strict=True)) == [(0, 42), (1, 42), (0, 21), (1, 21)]
    assert list(table["val/iou"]) == pytest.approx([0.4, 0.6, 0.2, 0.8])
    assert list(table["val/iou@end"]) == pytest.approx([0.3, 0.5, 0.1, 0.7])
    assert (set(table["step"]), set(table["step@end"])) == ({10}, {20})
    assert not table["is_unstable"].any()
    assert not table["score_is_unstable"].any()
    assert list(table["score"]) == pytest.approx([0.5] * 4)
    assert (table["duration"] >= 0).all()
    assert (work.folder.folder / table["checkpoint"][0]).read_bytes() == b"best"
    run = work.folder.run_of("cv-run-f0s42")
    assert run.folder.name == f"cv-run-f0s42-{table['run_id'][0]}"


def test_a_failed_run_stays_in_the_table_and_lowers_score_and_trust(tmp_path):
    work = crossval(tmp_path)
    score = work.go(trains(tmp_path, [], {"cv-run-f1s42": RuntimeError("out of memory")}))
    assert (score.value, score.trust) == (pytest.approx((0.4 + 0.2 + 0.8) / 4), 0.75)
    table = pd.read_parquet(work.folder.run_infos)
    assert list(table["state"]) == ["finished", "failed", "finished", "finished"]
    assert table["reason"][1] == "RuntimeError: out of memory"
    assert list(table["is_unstable"]) == [False, True, False, False]
    assert table["score_is_unstable"].all()
    summary = json.loads(work.folder.summary.read_text())
    assert (summary["trust"], summary["failed"], summary["planned"]) == (0.75, ["cv-run-f1s42"], 4)
    assert summary["over_runs"]["val/iou"]["runs"] == 3


def test_a_killed_cross_validation_keeps_what_is_finished_and_goes_on_with_the_rest(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        crossval(tmp_path).go(trains(tmp_path, [], {"cv-run-f0s21": KeyboardInterrupt()}))
    calls = []
    again = crossval(tmp_path)
    assert len(again.rows) == 2
    score = again.go(trains(tmp_path, calls))
    assert calls == [("cv-run-f0s21", True), ("cv-run-f1s21", False)]
    undisturbed = crossval(tmp_path / "other").go(trains(tmp_path / "other", []))
    assert score == undisturbed


def test_failures_are_tried_again_when_asked(tmp_path):
    crossval(tmp_path).go(trains(tmp_path, [], {"cv-run-f1s42": RuntimeError("the cluster")}))
    again, calls = crossval(tmp_path), []
    again.forget_failures()
    assert again.go(trains(tmp_path, calls)).trust == 1
    assert calls == [("cv-run-f1s42", True)]


def test_what_the_user_can_mend_ends_it_and_leaves_no_row(tmp_path):
    work = crossval(tmp_path)
    with pytest.raises(ConfigError, match="no such net"):
        work.go(trains(tmp_path, [], {"cv-run-f1s42": ConfigError("no such net.")}))
    assert len(pd.read_parquet(work.folder.run_infos)) == 1


def test_another_scoring_of_finished_runs_trains_nothing(tmp_path):
    crossval(tmp_path).go(trains(tmp_path, []))
    calls = []
    again = crossval(tmp_path, "val/iou:lower")
    assert again.go(trains(tmp_path, calls)).direction == "minimize"
    assert calls == []


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(OutputError, match="another process is at work in"), alone_in(tmp_path):
        pass


def test_pooled_metrics_are_those_of_all_sums_together(tmp_path):
    # Errors of 10, 2 and 30 m on 1, 4 and 5 pixels: (10 + 8 + 150) / 10; a mean over folds would say (4.4 + 30) / 2...
    worlds = {"cv-run-f0s42": {"a": (1, 10), "b": (4, 8)}, "cv-run-f1s42": {"c": (5, 150)},
              "cv-run-f0s21": {"a": (1, 10), "b": (4, 8)}, "cv-run-f1s21": {"c": (5, 150)}}  # fmt: skip

    def train(planned, begun):
        return write_run(tmp_path, planned, {"val/mae": 1.0}, parents=worlds[planned.name], cv_name="cv")

    work = crossval(tmp_path, "val/mae:lower")
    work.go(train)
    pooled = work.summary()["pooled"]["height"]
    assert pooled["metrics"]["mae"] == pytest.approx(16.8)
    assert (pooled["parents"], pooled["pixels"]) == (3, 20)
    low, high = pooled["intervals"]["mae"]
    assert 2 <= low <= 16.8 <= high <= 30
