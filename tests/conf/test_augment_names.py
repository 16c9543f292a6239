"""`data.augment` as a section, a list of names, true or false."""

import pytest

from graticule.conf.compose import Request, compose
from graticule.conf.tree import AUGMENTATIONS
from graticule.conf.tuned import with_values
from graticule.data.augment import Augment
from graticule.errors import ConfigError


def augment(word):
    return Augment(**compose(Request([f"data.augment={word}"]), kinds=()).data.augment.model_dump())


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("false", {}),
        ("null", {}),
        ("none", {}),
        ("[]", {}),
        ("D4", {"d4": True}),
        (
            "[HorizontalFlip,VerticalFlip,RandomRotate90]",
            {"horizontal_flip": True, "vertical_flip": True, "rotate": True},
        ),
        ("[Blur,MultiplicativeNoise,Posterize]", {"blur": 7, "noise": 0.1, "posterize": 6}),
        ("[RandomBrightnessContrast]", {"brightness": 0.2, "contrast": 0.2}),
        ("{d4: true, crop: 64}", {"d4": True, "crop": 64}),
    ],
)
def test_names_stand_for_a_section(word, same):
    assert augment(word) == Augment(**{"d4": False} | same)


def test_true_is_all_of_them():
    assert augment("true") == augment(f"[{','.join(AUGMENTATIONS)}]")
    assert augment("true").elements == tuple(range(8))


def test_a_study_may_try_all_and_none():
    config = compose(Request([]), kinds=())
    assert with_values(config, {"data.augment": True}).data.augment.blur == 7
    assert with_values(config, {"data.augment": ["Blur"]}).data.augment.d4 is False


def test_a_name_that_does_not_exist_is_told():
    with pytest.raises(ConfigError, match=r"^data\.augment has 'Blurr', which does not exist; did you mean 'Blur'\?$"):
        augment("[Blurr]")
