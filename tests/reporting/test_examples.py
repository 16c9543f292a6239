"""Pictures that were drawn while a run trained, in its report; and the report of a painter."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from graticule.reporting.report import report
from graticule.runs import create_run


@pytest.fixture
def run(tmp_path):
    made = create_run(tmp_path, "drawn", seed=1)
    made.figures.mkdir(exist_ok=True)
    return made


def configure(run, task):
    run.config.write_text(yaml.safe_dump({"task": {"name": task}, "model": {"name": "painter"}}))


def draw(run, *names):
    for name in names:
        Image.fromarray(np.full((4, 8, 3), 90, np.uint8)).save(run.figures / f"{name}.png")


def test_each_domain_has_its_first_and_last_picture_and_some_between(run):
    configure(run, "adaptation")
    draw(run, *(f"val-examples-{step:06d}" for step in range(10, 110, 10)), "val-examples-far-away-000100")
    page = report([run.folder]).read_text()
    own, other = page.split("Domain far-away")
    shown = [step for step in range(10, 110, 10) if f"<figcaption>step {step}</figcaption>" in own]
    assert shown == [10, 40, 70, 100]
    assert other.count("<figcaption>step ") == 1


def test_a_painter_is_measured_and_never_sent_to_evaluation(run):
    configure(run, "painting")
    (run.folder / "painting.json").write_text(json.dumps({"val/l1": 0.0331, "val/kid": 0.25}))
    draw(run, "val-examples-000010")
    page = report([run.folder]).read_text()
    assert "0.033" in page
    assert "kernel distance" in page
    assert "graticule evaluate" not in page
    assert "step 10" in page


@pytest.mark.parametrize(
    ("content", "says"), [(None, "has not been measured"), ("[1", "is damaged"), ("[]", "is damaged")]
)
def test_a_painter_without_measures(run, content, says):
    configure(run, "painting")
    if content is not None:
        (run.folder / "painting.json").write_text(content)
    assert says in report([run.folder]).read_text()


def test_no_picture_no_section(run):
    configure(run, "dense")
    assert "During training" not in report([run.folder]).read_text()
