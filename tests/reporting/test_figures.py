"""Colours mean what the legend says, exactly, after a round trip through the page's pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from graticule.reporting.earth import layers
from graticule.reporting.evidence import Evidence
from graticule.reporting.figures import (
    RIGHT,
    UNKNOWN,
    WRONG,
    data_uri,
    hex_of,
    paint_classes,
    paint_mistakes,
    paint_values,
    plain_legend,
    ramp,
    rgb_of,
    value_limits,
    window_figure,
)
from graticule.runs import Run
from graticule.schema import LegendClass

LEGEND = (LegendClass(0, "sea", "#102030"), LegendClass(1, "land", "#c0a080"))


def decoded(uri: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))


def test_classes_keep_their_colours_and_unknown_is_transparent():
    picture = decoded(data_uri(paint_classes(np.array([[0, 1], [255, 7]], np.uint8), LEGEND)))
    assert picture[0].tolist() == [[0x10, 0x20, 0x30, 255], [0xC0, 0xA0, 0x80, 255]]
    assert picture[1, :, 3].tolist() == [0, 0]


def test_a_picture_of_more_than_256_colours_is_kept_exactly():
    rng = np.random.Generator(np.random.Philox(key=1))
    picture = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert (decoded(data_uri(picture))[..., :3] == picture).all()


def test_a_colour_that_is_none_becomes_grey():
    assert rgb_of("#0a0B0c") == (10, 11, 12)
    for evil in ("red", "#12345", "#12345g", "url(x)", "#123456;x"):
        assert rgb_of(evil) == UNKNOWN


def test_mistakes_show_only_where_the_truth_is_known():
    picture = paint_mistakes(np.array([[0, 1, 255]], np.uint8), np.array([[0, 0, 0]], np.uint8))
    assert picture[0].tolist() == [[*RIGHT, 255], [*WRONG, 255], [0, 0, 0, 0]]


def test_values_run_along_the_ramp():
    picture = paint_values(np.array([[0.0, 5.0, 10.0, 99.0, np.nan]]), (0.0, 10.0))
    assert picture[0, 0, :3].tolist() == ramp()[0].tolist()
    assert picture[0, 2, :3].tolist() == picture[0, 3, :3].tolist() == ramp()[255].tolist()
    assert picture[0, 4].tolist() == [0, 0, 0, 0]
    lightness = ramp().astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) >= -0.5).all()


@pytest.mark.parametrize("values", [np.array([np.nan, np.nan]), np.array([3.0, 3.0]), np.zeros(0)])
def test_limits_are_never_empty(values):
    low, high = value_limits(values)
    assert low < high


def test_window_figure_holds_four_pictures():
    rgb = np.full((6, 5, 3), 9, np.uint8)
    truth, prediction = np.zeros((6, 5), np.uint8), np.ones((6, 5), np.uint8)
    picture = window_figure(rgb, truth, prediction, LEGEND, gap=2)
    assert picture.shape == (6, 4 * 5 + 3 * 2, 3)
    assert picture[0, 0].tolist() == [9, 9, 9]
    assert hex_of(picture[0, 7]) == "#102030"
    assert hex_of(picture[0, 14]) == "#c0a080"
    assert picture[0, 21].tolist() == list(WRONG)


def test_window_figure_of_heights_shows_too_high_in_red():
    truth = np.array([[0.0, 100.0], [np.nan, 50.0]], np.float32)
    picture = window_figure(np.zeros((2, 2, 3), np.uint8), truth, truth + 30, (), gap=0)
    red, _, blue = picture[0, 6].astype(int)
    assert red > blue
    assert picture[1, 6].tolist() == list(UNKNOWN)


def test_every_colour_of_a_layer_can_be_read_back(tmp_path):
    rng = np.random.Generator(np.random.Philox(key=2))
    labels = rng.integers(0, 5, (8, 16)).astype(np.uint8)
    heights = rng.normal(0, 500, (8, 16)).astype(np.float32)
    overview = {"a/truth": labels, "a/prediction": labels[::-1], "b/prediction": heights}
    found = Evidence(Run(tmp_path), {}, overview=overview, blocks={"degrees": 90.0, "parts": [[0, 1, 2, 0]] * 2})
    made = {layer.id: layer for layer in layers(found, "r0")}
    assert set(made) == {"r0-a-truth", "r0-a-prediction", "r0-a-error", "r0-b-prediction", "r0-parts"}
    for layer in made.values():
        pixels = np.unique(decoded(layer.uri).reshape(-1, 4), axis=0)
        colours = {hex_of(pixel[:3]) for pixel in pixels if pixel[3]}
        assert colours <= set(layer.meaning)
    truth = decoded(made["r0-a-truth"].uri)
    assert made["r0-a-truth"].meaning[hex_of(truth[3, 4, :3])] == f"class {labels[3, 4]}"
    parts = decoded(made["r0-parts"].uri)
    assert [made["r0-parts"].meaning[hex_of(parts[100, c, :3])] for c in (10, 200, 400)] == ["train", "val", "test"]


def test_a_legend_made_up_has_a_colour_per_class():
    legend = plain_legend(np.array([[0, 11, 255]], np.uint8))
    assert len({entry.colour for entry in legend}) == 12
