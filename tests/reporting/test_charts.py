"""Axes, curves and words of the page."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graticule.reporting.charts import Line, line_chart, reliability, thin, ticks
from graticule.reporting.evidence import read_evidence
from graticule.reporting.markup import Html, tag
from graticule.reporting.sections import curve_groups
from graticule.reporting.tables import compact
from graticule.reporting.words import band_name, duration, metric_name, north_first, number, quality
from graticule.runs import Run

ends = st.floats(-1e6, 1e6)


@given(ends, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_even_inside_and_few(low, span, count):
    places = ticks(low, low + span, count)
    assert len(places) <= count + 2
    assert all(low - 1e-6 * span <= place <= low + span * (1 + 1e-6) for place in places)
    if len(places) > 2 and span > 1e-9 * abs(low) * 1e3:
        steps = np.diff(places)
        assert np.allclose(steps, steps[0], rtol=1e-3)


def test_ticks_are_round():
    assert ticks(0, 1) == [0, 0.5, 1] or ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(3, 3) == [3]


def test_a_thinned_curve_keeps_its_mean_and_order():
    x = np.arange(6400.0)
    line = thin(Line("loss", x, np.sin(x / 500)), points=320)
    assert len(line.x) == 320
    assert (np.diff(line.x) > 0).all()
    assert line.y.mean() == pytest.approx(np.sin(x / 500).mean())


def test_curve_carries_its_values_for_hover():
    svg = line_chart("Loss", [Line("val", np.array([0.0, 10.0]), np.array([2.0, 1.0]))], x_name="step")
    data = json.loads(re.search(r'data-curves="([^"]*)"', svg).group(1).replace("&quot;", '"'))
    line = data["lines"][0]
    assert (line["x"], line["y"]) == ([0.0, 10.0], [2.0, 1.0])
    assert line["px"] == [44, 350]
    assert line["py"][0] < line["py"][1]


def test_reliability_leaves_out_empty_bins():
    svg = reliability([0.5, float("nan"), 0.9], [0.5, float("nan"), 0.7], [1.0, 0.0, 3.0])
    assert svg.count("<circle") == 2
    assert "nan" not in svg
    assert "75.0% of the area" in svg


def test_logs_may_be_wide_or_long(tmp_path):
    wide = pd.DataFrame({"step": [1, 2], "train/loss": [0.5, 0.4], "val/iou": [np.nan, 0.3]})
    long = pd.DataFrame({"step": [1, 2, 2], "name": ["train/loss", "train/loss", "val/iou"], "value": [0.5, 0.4, 0.3]})
    read = []
    for name, table in (("wide", wide), ("long", long)):
        run = Run(tmp_path / name)
        run.update_manifest(name=name)
        table.to_csv(run.metrics, index=False)
        read.append(read_evidence(run.folder).curves)
    for curves in read:
        assert curves["train/loss"]["value"].tolist() == [0.5, 0.4]
        assert curves["val/iou"]["step"].tolist() == [2]


def test_curves_share_a_chart_when_they_measure_the_same():
    names = ("train/loss", "val/loss", "val/loss/height", "val/iou", "val/iou/forest", "val/height/mae", "lr-AdamW")
    groups = dict(curve_groups({name: pd.DataFrame() for name in names}))
    assert groups == {
        "Loss": ["train/loss", "val/loss", "val/loss/height"],
        "Mean IoU": ["val/iou"],
        "height: MAE": ["val/height/mae"],
        "Learning rate": ["lr-AdamW"],
    }


def test_words():
    assert [number(v) for v in (0.71849, 12.34, 498.0, 1240000, float("nan"), None, 0, 2.5e-6)] == [
        "0.718", "12.3", "498", "1\u202f240\u202f000", "–", "–", "0", "2.5e-06",
    ]  # fmt: skip
    assert [duration(s) for s in (4.2, 48, 200, 7500)] == ["4.2 s", "48 s", "3 min 20 s", "2 h 05 min"]
    assert [band_name(b) for b in ("60..75", "-15..0", "-30..-15", "-10..10", "sea")] == [
        "60°–75° N", "0°–15° S", "15°–30° S", "10° S – 10° N", "sea",
    ]  # fmt: skip
    assert north_first({"-15..0": 1, "60..75": 1, "0..15": 1}) == ["60..75", "0..15", "-15..0"]
    assert metric_name("iou/forest") == "IoU of forest"


@given(st.text())
def test_text_never_opens_an_element(words):
    made = tag("p", words, title=words)
    assert made.count("<") == 2
    assert isinstance(made, Html)


def test_counts_fit_a_cell():
    assert [compact(c) for c in (0, 7, 567, 1240, 34_000, 1_240_000, 0.0123)] == [
        "", "7", "567", "1.2k", "34k", "1.2M", "0.012",
    ]  # fmt: skip


def test_quality_orders_every_metric_from_worse_to_better():
    assert quality("iou", 0.2) < quality("iou", 0.3)
    assert quality("mae", 300.0) < quality("mae", 200.0)
    assert quality("bias", -50.0) < quality("bias", 10.0)
