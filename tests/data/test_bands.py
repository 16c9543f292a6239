"""The table of bands, and spectral indices against formulas written down by hand."""

import sys

import numpy as np
import pytest

from graticule.data.features import indices
from graticule.data.features.bands import TABLE, band_of
from graticule.data.features.indices import index_bands, spectral_index
from graticule.errors import SourceError


def test_every_band_of_the_table_has_a_range_and_is_found_in_any_case():
    for name, band in TABLE.items():
        assert band.name == name
        assert band.valid_range is not None
        assert band_of(name.upper()).kind == band.kind
    assert band_of("NIR").name == "NIR"
    assert band_of("aspect_sin").kind == "direction"


def test_ndvi_is_known_on_paper():
    bands = {
        "nir": np.array([0.5, 0.3, 0.0, np.nan, -0.05, -0.05], np.float32),
        "red": np.array([0.1, 0.3, 0.4, 0.1, 0.10, -0.01], np.float32),
        "blue": np.ones(6, np.float32),
    }
    found = spectral_index("ndvi", bands)
    np.testing.assert_allclose(found, [2 / 3, 0, -1, np.nan, -1, 0], rtol=1e-6)
    assert index_bands("NDVI") == ("nir", "red")


def test_other_indices_are_those_of_the_literature():
    pytest.importorskip("spyndex")
    rng = np.random.default_rng(0)
    bands = {name: rng.uniform(0.02, 0.6, (4, 5)).astype(np.float32) for name in ("red", "nir", "blue", "swir16")}
    evi = 2.5 * (bands["nir"] - bands["red"]) / (bands["nir"] + 6 * bands["red"] - 7.5 * bands["blue"] + 1)
    np.testing.assert_allclose(spectral_index("evi", bands), evi, rtol=1e-4)
    moisture = (bands["nir"] - bands["swir16"]) / (bands["nir"] + bands["swir16"])
    np.testing.assert_allclose(spectral_index("NDMI", bands), moisture, rtol=1e-4)
    assert band_of("NDMI").valid_range == (-1, 1)
    assert band_of("EVI").valid_range is None
    assert band_of("evi").kind == "index"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: band_of("rad"), "no band or spectral index is named 'rad'; did you mean 'red'?"),
        (lambda: spectral_index("NDWX", {}), "no spectral index is named 'NDWX'; did you mean 'NDW"),
        (lambda: spectral_index("NDMI", {"nir": np.ones(3)}), "index NDMI needs the band 'swir16'; there are nir."),
        (lambda: index_bands("kNDVI"), "index kNDVI needs 'kNN', which is no band; choose another index."),
    ],
)
def test_what_does_not_exist_is_told(call, message):
    pytest.importorskip("spyndex")
    with pytest.raises(SourceError) as error:
        call()
    assert message in str(error.value)


def test_without_spyndex_ndvi_works_and_others_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spyndex", None)
    for cached in (indices._spyndex, indices._formula):
        cached.cache_clear()
    try:
        assert band_of("ndvi").kind == "index"
        assert spectral_index("NDVI", {"nir": np.full(2, 0.4), "red": np.full(2, 0.2)}) == pytest.approx(1 / 3)
        with pytest.raises(SourceError, match=r"'NDMI' is no band .* pip install 'graticule\[scenes\]'\.$"):
            band_of("NDMI")
    finally:
        for cached in (indices._spyndex, indices._formula):
            cached.cache_clear()
