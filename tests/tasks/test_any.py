"""`any`: the losses of every target that has none of its own."""

import pytest

from graticule.errors import ConfigError
from graticule.schema import LegendClass, Target
from graticule.tasks.terms import entries_of

LEGEND = (LegendClass(0, "ground", "#444444"), LegendClass(1, "slump", "#d95f02"))
TARGETS = [Target("slump", "binary", LEGEND), Target("lake", "binary", LEGEND)]
FOCAL, DICE = {"name": "focal", "gamma": 1.0}, {"name": "dice"}


def test_any_is_every_target_without_an_entry():
    assert entries_of({"any": [FOCAL]}, TARGETS) == {"slump": [FOCAL], "lake": [FOCAL]}
    assert entries_of({"any": [FOCAL], "lake": [DICE]}, TARGETS) == {"slump": [FOCAL], "lake": [DICE]}
    assert entries_of({"any": [FOCAL], "lake": []}, TARGETS) == {"slump": [FOCAL]}


def test_another_name_is_still_an_error():
    with pytest.raises(
        ConfigError, match=r"task.losses has an entry for 'lakes', which is no target; did you mean 'lake'"
    ):
        entries_of({"any": [FOCAL], "lakes": [DICE]}, TARGETS)
