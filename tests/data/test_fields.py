"""Stacks of dates with outlines of fields: what is inside, along and outside of them."""

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from graticule.data.prepare import prepare
from graticule.data.sources.fields import FieldsSource
from graticule.errors import ConfigError, SourceError

SIDE, LEFT, TOP = 24, 500_000, 5_000_000


def site(root, name, dates=2, shift=0):
    """Pixels of 10 m; a date's values are its number times 100, plus the band's."""
    (root / name).mkdir(parents=True)
    transform = rasterio.transform.from_origin(LEFT + shift, TOP, 10, 10)
    profile = {"driver": "GTiff", "height": SIDE, "width": SIDE, "count": 2, "dtype": "uint16", "crs": "EPSG:32633",
               "transform": transform}  # fmt: skip
    for date in range(1, dates + 1):
        with rasterio.open(root / name / f"2020060{date}.tif", "w", **profile) as file:
            file.write(np.stack([np.full((SIDE, SIDE), 100 * date + band, np.uint16) for band in (1, 2)]))
            file.descriptions = ("red", "nir")
        (root / name / f"2020060{date}_udm2.tif").write_bytes(b"a mask that is not read")


def outlines(path, shift=0):
    """One field over columns 4..19 and rows 4..19 of a site."""
    box = shapely.box(LEFT + shift + 40, TOP - 200, LEFT + shift + 200, TOP - 40)
    geopandas.GeoDataFrame({"id": [1]}, geometry=[box], crs="EPSG:32633").to_file(path)
    return str(path)


def test_dates_are_bands_and_outlines_are_boundaries(tmp_path):
    site(tmp_path / "sites", "a")
    source = FieldsSource(str(tmp_path / "sites"), outlines(tmp_path / "fields.gpkg"), window=SIDE)
    assert [band.name for band in source.bands] == ["d1_red", "d1_nir", "d2_red", "d2_nir"]
    store = prepare(source, tmp_path / "store", progress=False)
    read = store.read([0])
    assert read["x"][0, :, 0, 0].tolist() == [101, 102, 201, 202]
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[3:21, 3:21] = 2  # two pixels wide: one on each side of the line
    expected[5:19, 5:19] = 1
    np.testing.assert_array_equal(read["y"][0], expected)
    np.testing.assert_array_equal(source.truth("a")["y"], expected)


def test_windows_join_without_seams(tmp_path):
    site(tmp_path / "sites", "a")
    fields = outlines(tmp_path / "fields.gpkg")
    whole = FieldsSource(str(tmp_path / "sites"), fields, window=SIDE, boundary=50).truth("a")["y"]
    for _, arrays, row in FieldsSource(str(tmp_path / "sites"), fields, window=8, boundary=50).samples():
        top, left = row["place"]
        np.testing.assert_array_equal(arrays["y"], whole[top : top + 8, left : left + 8])


def test_a_site_with_fewer_dates_is_named(tmp_path):
    site(tmp_path / "sites", "a", dates=2)
    site(tmp_path / "sites", "b", dates=1, shift=1000)
    source = FieldsSource(str(tmp_path / "sites"), outlines(tmp_path / "fields.gpkg"), window=SIDE)
    assert list(source.scene_samples("a"))
    with pytest.raises(SourceError, match="has 1 dates and must have 2"):
        list(source.scene_samples("b"))
    both = FieldsSource(str(tmp_path / "sites"), str(tmp_path / "fields.gpkg"), dates=1, window=SIDE)
    assert len(both.bands) == 2
    assert set(both.scenes()) == {"a", "b"}


def test_what_is_missing_is_said(tmp_path):
    (tmp_path / "sites").mkdir()
    with pytest.raises(SourceError, match="has no folder with GeoTIFFs"):
        FieldsSource(str(tmp_path / "sites"), str(tmp_path))
    with pytest.raises(ConfigError, match="above 0"):
        FieldsSource(str(tmp_path / "sites"), str(tmp_path), dates=0)
