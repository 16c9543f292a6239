import numpy as np

from graticule.inference.layers import layers_of
from graticule.schema import LegendClass, Target


def test_a_value_with_an_uncertainty_has_a_map_of_each():
    value, deviation = layers_of(Target("depth", "depth", unit="m", uncertainty=True))
    assert (value.name, deviation.name) == ("depth", "depth-uncertainty")
    assert (value.is_main, deviation.is_main) == (True, False)
    assert deviation.target.name == "depth-uncertainty"  # the field that it is written from
    assert deviation.tags == {"UNIT": "m", "CONTENT": "standard deviation of the error"}
    pixels = deviation.encode(np.float32([[0.5, 2.0]]), np.array([[True, False]]))
    np.testing.assert_array_equal(pixels, np.float32([[[0.5, np.nan]]]))


def test_probabilities_are_told_beside_the_map_of_classes():
    legend = (LegendClass(0, "no", "#000000"), LegendClass(1, "yes", "#ffffff"))
    assert [layer.is_main for layer in layers_of(Target("mask", "binary", legend), "uint8")] == [True, False]
