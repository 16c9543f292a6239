"""Scores against tables worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graticule.errors import ConfigError
from graticule.studies.scoring import Metric, Scoring, combine

# Two runs of (IoU, recall, loss).
RUNS = [{"val/iou": 0.5, "val/recall": 0.8, "val/loss": 0.25}, {"val/iou": 0.2, "val/recall": 0.4, "val/loss": 2.0}]

BY_HAND = [
    # metrics, strategy, score by hand, direction
    (["val/iou"], "harmonic", (0.5 + 0.2) / 2, "maximize"),
    (["val/iou:higher"], "min", 0.35, "maximize"),
    (["val/loss:lower"], "harmonic", (0.25 + 2) / 2, "minimize"),
    (["val/iou", "val/recall"], "arithmetic", (0.65 + 0.3) / 2, "maximize"),
    (["val/iou", "val/recall"], "geometric", (0.4**0.5 + 0.08**0.5) / 2, "maximize"),
    (["val/iou", "val/recall"], "harmonic", (0.8 / 1.3 + 0.16 / 0.6) / 2, "maximize"),
    (["val/iou", "val/recall"], "min", (0.5 + 0.2) / 2, "maximize"),
    # A loss of 0.25 becomes 4, one of 2 becomes 0.5.
    (["val/iou", "val/loss:lower"], "arithmetic", (4.5 / 2 + 0.7 / 2) / 2, "maximize"),
    (["val/iou", "val/loss:lower"], "geometric", (2**0.5 + 0.1**0.5) / 2, "maximize"),
    (["val/iou", "val/loss:lower"], "harmonic", (2 / 2.25 + 2 / 7) / 2, "maximize"),
    (["val/iou", "val/loss:lower"], "min", (0.5 + 0.2) / 2, "maximize"),
    (["val/iou", "val/recall", "val/loss:lower"], "harmonic", (3 / 3.5 + 3 / 9.5) / 2, "maximize"),
    (["val/iou", "val/recall", "val/loss:lower"], "geometric", (1.6 ** (1 / 3) + 0.04 ** (1 / 3)) / 2, "maximize"),
]


@pytest.mark.parametrize(("metrics", "strategy", "by_hand", "direction"), BY_HAND)
def test_scores_equal_those_by_hand(metrics, strategy, by_hand, direction):
    score = Scoring.parse(metrics, strategy).of_runs(RUNS, planned=2)
    assert score.value == pytest.approx(by_hand, rel=1e-12)
    assert (score.direction, score.trust, score.is_unstable) == (direction, 1.0, False)


def test_a_lower_metric_picks_the_lowest():
    scoring = Scoring.parse("val/loss:lower")
    scores = {name: scoring.of_runs([{"val/loss": loss}], 1) for name, loss in (("a", 0.9), ("b", 0.1), ("c", 0.5))}
    assert {score.direction for score in scores.values()} == {"minimize"}
    assert min(scores, key=lambda name: scores[name].value) == "b"


@pytest.mark.parametrize("bad", [{}, {"val/iou": math.nan}, {"val/iou": math.inf}, {"val/iou": 0.0}])
def test_a_failed_or_unstable_run_counts_as_the_worst_and_lowers_trust(bad):
    score = Scoring.parse("val/iou").of_runs([{"val/iou": 0.6}, bad, {"val/iou": 0.3}], planned=3)
    assert score.value == pytest.approx(0.3)
    assert score.trust == pytest.approx(2 / 3)
    assert score.is_unstable


def test_where_low_is_good_a_failure_makes_the_score_infinite():
    score = Scoring.parse("val/loss:lower").of_runs([{"val/loss": 0.2}, {}], planned=2)
    assert (score.value, score.trust) == (math.inf, 0.5)


def test_a_loss_of_zero_does_not_make_a_combined_score_infinitely_good():
    score = Scoring.parse(["val/iou", "val/loss:lower"], "arithmetic").of_runs([{"val/iou": 0.9, "val/loss": 0.0}], 1)
    assert (score.value, score.trust) == (0.0, 0.0)


def test_a_missing_run_counts_as_failed():
    assert Scoring.parse("val/iou").of_runs([{"val/iou": 0.6}], planned=2).value == pytest.approx(0.3)


def test_each_metric_alone_has_its_own_direction():
    scores = Scoring.parse(["val/iou", "val/loss:lower"]).of_each_metric(RUNS, 2)
    assert [(score.value, score.direction) for score in scores] == [(0.35, "maximize"), (1.125, "minimize")]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6))
def test_the_means_are_in_their_order(values):
    least, harmonic, geometric, arithmetic = (
        combine(s, values) for s in ("min", "harmonic", "geometric", "arithmetic")
    )
    slack = 1 + 1e-9
    assert least <= harmonic * slack
    assert harmonic <= geometric * slack
    assert geometric <= arithmetic * slack
    assert arithmetic <= max(values) * slack


@given(st.lists(st.floats(-1, 1).filter(bool), min_size=1, max_size=5), st.integers(0, 4))
def test_failures_never_improve_a_score(values, failures):
    for name, better in (("val/a:higher", max), ("val/a:lower", min)):
        scoring = Scoring.parse(name)
        runs = [{"val/a": value} for value in values]
        whole = scoring.of_runs(runs, len(runs)).value
        lacking = scoring.of_runs(runs + [{}] * failures, len(runs) + failures).value
        assert better(whole, lacking) == pytest.approx(whole)


def test_a_negative_metric_has_no_geometric_mean():
    runs = [{"val/kappa": -0.1, "val/iou": 0.5}]
    assert Scoring.parse(["val/kappa", "val/iou"], "geometric").of_runs(runs, 1).is_unstable
    assert Scoring.parse(["val/kappa", "val/iou"], "arithmetic").of_runs(runs, 1).value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("val/JaccardIndex", "val/iou"), ("val0/JaccardIndex", "val/iou"), ("val_loss", "val/loss"),
        ("val_acc", "val/accuracy"), ("val/height/mae", "val/height/mae"), ("val/iou/forest", "val/iou/forest"),
        ("learning_rate", "learning_rate"),
    ],
)  # fmt: skip
def test_names_of_other_systems_are_understood(theirs, ours):
    assert Metric.parse(theirs + ":lower") == Metric(ours, higher=False)


@pytest.mark.parametrize(
    ("metrics", "strategy", "told"),
    [
        ("val/iou:up", "min", "crossval.scoring_metric 'val/iou:up' ends in ':up'; a metric ends in ':higher' or"),
        ([], "min", "crossval.scoring_metric names no metric; give one"),
        (["val/iou", "val/iou:lower"], "min", "names val/iou twice"),
        ("val/iou", "harmonc", "multi_score_strategy 'harmonc' does not exist; did you mean 'harmonic'?"),
    ],
)
def test_what_is_wrong_is_said(metrics, strategy, told):
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        Scoring.parse(metrics, strategy)
    assert told in str(caught.value)


def test_a_metric_that_is_not_logged_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="'val/ioo', which is not logged; did you mean 'val/iou'"):
        Scoring.parse("val/ioo").check(["val/iou", "val/f1"])
