"""Bands and targets as plain data."""

import tomllib

import pytest
import tomli_w

from graticule.errors import StoreError
from graticule.schema import Band, band_from_dict, band_to_dict


@pytest.mark.parametrize(
    "band",
    [
        Band("red"),
        Band("slope", "degree", "angle", scale=0.01, nodata=-1.0, valid_range=(0.0, 90.0), mean=3.0, std=2.0),
        Band("blue", nodata=0.0),
    ],
)
def test_a_band_survives_toml(band: Band) -> None:
    text = tomli_w.dumps(band_to_dict(band))
    assert band_from_dict(tomllib.loads(text)) == band


def test_nan_needs_no_nodata() -> None:
    assert Band("dem", nodata=float("nan")) == Band("dem")


def test_an_empty_valid_range_is_refused() -> None:
    with pytest.raises(StoreError, match=r"band 'red' has valid_range \(1, 1\); give \(lowest, highest\)\."):
        Band("red", valid_range=(1.0, 1.0))
