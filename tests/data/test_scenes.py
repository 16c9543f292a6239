"""Scenes of every layout are read with their masks, heights and labels."""

import json

import numpy as np
import pytest
import rasterio
import shapely

from graticule.data.features.terrain import relative_elevation
from graticule.data.prepare import RasterScene
from graticule.data.sources.scenes import ScenesSource
from graticule.errors import SourceError
from graticule.grids import RasterGrid
from graticule.grids.ground import pixel_size
from graticule.schema import IGNORE
from scene_world import (
    COLUMNS,
    ROWS,
    SIDE,
    corner_of,
    picture,
    plain_world,
    square_of,
    write_labels,
    write_raster,
    write_scene,
)


def source(folder, **options):
    given = {"scenes": str(folder / "images"), "labels": str(folder / "labels.gpkg"), "window": 16} | options
    return ScenesSource(**given)


def the_square():
    known = np.zeros((SIDE, SIDE), np.uint8)
    known[ROWS, COLUMNS] = 1
    return known


def test_windows_carry_what_the_files_and_polygons_say(tmp_path):
    found = list(source(plain_world(tmp_path, 1)).samples())
    assert [row["place"] for _, _, row in found] == [(0, 0), (0, 8), (8, 0), (8, 8)]
    for x, arrays, row in found:
        top, left = row["place"]
        assert x.dtype == np.uint16
        np.testing.assert_array_equal(x, picture(0)[:, top : top + 16, left : left + 16])
        np.testing.assert_array_equal(arrays["y"], the_square()[top : top + 16, left : left + 16])


@pytest.mark.parametrize("name", ["labels.geojson", "labels.parquet", "labels.shp", "deep/TrainingLabel_x.gpkg"])
def test_labels_of_every_format_are_burnt_alike(tmp_path, name):
    write_scene(tmp_path, 0)
    path = write_labels(tmp_path / "vectors" / name, [square_of(0)], crs="EPSG:4326" if "geo" in name else "EPSG:3413")
    labels = path if path.suffix != ".gpkg" else tmp_path / "vectors"
    np.testing.assert_array_equal(source(tmp_path, labels=str(labels)).truth("a")["y"], the_square())


def test_classes_by_an_attribute_and_nothing_known_elsewhere(tmp_path):
    write_scene(tmp_path, 0)
    shapes = [square_of(0), square_of(0, slice(14, 18), slice(0, 4))]
    write_labels(tmp_path / "labels.gpkg", shapes, kind=["water", "bog"])
    options = {"label_kind": "classes", "classes": ["bog", "water"], "attribute": "kind"}
    known = source(tmp_path, **options).truth("a")["y"]
    expected = np.where(the_square() == 1, 1, IGNORE)
    expected[14:18, 0:4] = 0
    np.testing.assert_array_equal(known, expected)
    assert (source(tmp_path, **options, elsewhere="bog").truth("a")["y"] == the_square()).all()
    with pytest.raises(SourceError, match=r"labels.gpkg, feature 2 is of class 'bog', which source.classes lacks"):
        source(tmp_path, **options | {"classes": ["land", "water"]}).truth("a")


def test_outside_of_a_footprint_nothing_is_known_and_labels_go_to_the_scene_that_they_name(tmp_path):
    for number in (0, 1):
        write_scene(tmp_path, number)
    write_labels(tmp_path / "l" / "TrainingLabel.gpkg", [square_of(0)], image_id=["a"])
    outlines = [square_of(n, slice(0, 20), slice(0, 24)) for n in (0, 1)]
    write_labels(tmp_path / "l" / "ImageFootprints.gpkg", outlines, image_id=["a", "b"])
    read = source(tmp_path, labels=str(tmp_path / "l"))
    expected = the_square()
    expected[20:] = IGNORE
    np.testing.assert_array_equal(read.truth("a")["y"], expected)
    assert (read.truth("b")["y"][:20] == 0).all(), "looked at, and nothing found"
    write_scene(tmp_path, 2)
    with pytest.raises(SourceError, match="is named by no label or footprint; the column image_id must have 'c'"):
        source(tmp_path, labels=str(tmp_path / "l")).truth("c")


def test_a_scene_smaller_than_a_window_is_padded_with_no_label(tmp_path):
    plain_world(tmp_path, 1)
    ((x, arrays, _),) = source(tmp_path, window=32).samples()
    np.testing.assert_array_equal(x[:, :SIDE, :SIDE], picture(0))
    assert (x[:, SIDE:] == 0).all()
    assert (arrays["y"][SIDE:] == IGNORE).all()
    assert (arrays["y"][:, SIDE:] == IGNORE).all()
    np.testing.assert_array_equal(arrays["y"][:SIDE, :SIDE], the_square())


def test_windows_are_left_out_as_asked(tmp_path):
    plain_world(tmp_path, 1)
    assert len(list(source(tmp_path, window=8).samples())) == 9
    assert len(list(source(tmp_path, window=8, exclude_nopositive=True).samples())) == 4
    assert not list(source(tmp_path, window=32, min_valid=0.6).samples()), "24² of 32² pixels are 56 %"
    assert not list(source(tmp_path, window=32, exclude_nan=True).samples())


def sentinel2_world(folder, mask):
    """One scene of band files with a mask at 20 m, and a band at 20 m."""
    corner = corner_of(0)
    for band, values in zip(("B04", "B08"), picture(0), strict=True):
        write_raster(folder / "images" / "s" / f"{band}.tif", values[None], corner=corner, nodata=0)
    rows = np.arange(SIDE // 2, dtype=np.uint16)[:, None] * 100 + 1000
    low = np.broadcast_to(rows, (1, SIDE // 2, SIDE // 2))
    write_raster(folder / "images" / "s" / "T08_B11_20m.tif", low, corner=corner, metres=20, nodata=0)
    write_raster(folder / "images" / "s" / "SCL.tif", mask[None].astype(np.uint8), corner=corner, metres=20)
    write_labels(folder / "labels.gpkg", [square_of(0)])


def test_sentinel2_masks_and_bands_of_another_resolution(tmp_path):
    mask = np.full((SIDE // 2, SIDE // 2), 4)
    mask[:, 0], mask[0], mask[1] = 8, 0, 9
    sentinel2_world(tmp_path, mask)
    read = source(tmp_path, kind="sentinel2", bands=["red", "swir16", "ndvi"])
    scene = read.read_scene("s")
    assert isinstance(scene, RasterScene)
    worth = scene.quality(-2, 0, SIDE + 2, SIDE)
    assert (worth[:2] == 0).all(), "outside"
    assert worth[2:, -1].tolist() == [0, 0, 1, 1] + [2] * 20
    x, seen = scene.read(0, 0, SIDE, SIDE)
    assert np.isnan(x[:, :2]).all()
    assert not seen[:2].any()
    assert seen[2:].all(), "clouds are bad input, and input"
    red, nir = picture(0) * np.float32(1e-4)
    np.testing.assert_allclose(x[0, 2:], red[2:], rtol=1e-6)
    np.testing.assert_allclose(x[2, 2:], ((nir - red) / (nir + red))[2:], atol=1e-6)
    # A pixel's centre lies a quarter of a wide pixel beside the wide one's.
    np.testing.assert_allclose(x[1, 4:20, 5], 0.1 + 0.01 * (np.arange(4, 20) / 2 - 0.25), atol=2e-4)
    known = read.truth("s")["y"]
    assert (known[:4] == IGNORE).all()
    assert (known[4:, :2] == IGNORE).all(), "clouds have no labels"
    assert (known[ROWS, COLUMNS] == 1).all()
    assert (source(tmp_path, kind="sentinel2", quality=1).truth("s")["y"][2:, 0] == 0).all()


def test_planet_files_masks_and_sun(tmp_path):
    folder = tmp_path / "images" / "20230601_01"
    values = np.random.default_rng(1).integers(1, 3000, (4, SIDE, SIDE)).astype(np.uint16)
    write_raster(folder / "20230601_01_3B_AnalyticMS_SR_clip.tif", values, corner=corner_of(0), metres=3)
    udm2 = np.zeros((8, SIDE, SIDE), np.uint8)
    udm2[0] = 1
    udm2[5, 0], udm2[7, 1] = 1, 1
    write_raster(folder / "20230601_01_3B_udm2_clip.tif", udm2, corner=corner_of(0), metres=3)
    told = {"properties": {"sun_azimuth": 180.0, "sun_elevation": 30.0}}
    (folder / "20230601_01_metadata.json").write_text(json.dumps(told))
    dem = np.full((1, 60, 60), 100, np.float32) + 2 * np.arange(60, dtype=np.float32)[:, None]
    corner = corner_of(0)[0] - 50, corner_of(0)[1] + 50
    write_raster(tmp_path / "dem.tif", dem, corner=corner, metres=5)
    read = source(tmp_path, kind="planet", labels=None, heights=str(tmp_path / "dem.tif"), bands=["nir", "hillshade"])
    scene = read.read_scene("20230601_01")
    assert scene.quality(0, 0, 3, 1).ravel().tolist() == [1, 0, 2]
    x, _ = scene.read(0, 0, SIDE, SIDE)
    np.testing.assert_allclose(x[0, 2:], values[3, 2:] * np.float32(1e-4))
    # The ground rises 2 m in 5 to the south: a slope to the north under a sun in the south, 30° high.
    steep = np.arctan(0.4)
    assert x[1, 12, 12] == pytest.approx(np.sin(np.deg2rad(30) - steep), abs=0.02)


def test_old_planet_masks_are_bits(tmp_path):
    folder = tmp_path / "images" / "x"
    values = np.ones((4, 1, 4), np.uint16)
    write_raster(folder / "x_SR.tif", values, corner=corner_of(0), metres=3)
    write_raster(folder / "x_DN_udm.tif", np.array([[[0, 1, 2, 4]]], np.uint8), corner=corner_of(0), metres=3)
    assert source(tmp_path, kind="planet", labels=None).read_scene("x").quality(0, 0, 1, 4).tolist() == [[2, 0, 1, 0]]


def test_windows_of_a_scene_have_no_seams_in_relief(tmp_path):
    plain_world(tmp_path, 1)
    rng = np.random.default_rng(0)
    corner = corner_of(0)[0] - 400, corner_of(0)[1] + 400
    write_raster(tmp_path / "dem.tif", rng.normal(100, 5, (1, 104, 104)).astype(np.float32), corner=corner)
    read = source(tmp_path, heights=str(tmp_path / "dem.tif"), bands=["relative_elevation", "slope", "aspect_sin"])
    scene = read.read_scene("a")
    whole, _ = scene.read(0, 0, SIDE, SIDE)
    part, _ = scene.read(5, 7, 9, 8)
    np.testing.assert_allclose(part, whole[:, 5:14, 7:15], atol=1e-4)
    with rasterio.open(tmp_path / "dem.tif") as file:
        dem, grid = file.read(1), RasterGrid.of_dataset(file)
    expected = relative_elevation(dem, pixel_size(grid), 100.0)[40 : 40 + SIDE, 40 : 40 + SIDE]
    np.testing.assert_allclose(whole[0], expected, atol=2e-3)


def test_regions_are_the_first_polygon_that_is_touched(tmp_path):
    plain_world(tmp_path, 2)
    write_labels(tmp_path / "regions.gpkg", [shapely.box(500_000, 7_699_000, 500_100, 7_700_100)], shapeName=["Peel"])
    read = source(tmp_path, regions=str(tmp_path / "regions.gpkg"), window=24)
    assert [row["region"] for _, _, row in read.samples()] == ["Peel", "No Region"]


def test_rasters_as_labels_lie_on_grids_of_their_own(tmp_path):
    write_scene(tmp_path, 0)
    coarse = np.kron(np.eye(12), np.ones((1, 1))).astype(np.uint8)[None]
    write_raster(tmp_path / "masks" / "a.tif", coarse, corner=corner_of(0), metres=20)
    known = source(tmp_path, labels=str(tmp_path / "masks")).truth("a")["y"]
    np.testing.assert_array_equal(known, np.kron(np.eye(12), np.ones((2, 2))))
    heights = source(tmp_path, labels=str(tmp_path / "masks"), label_kind="height", unit="m").truth("a")["height"]
    assert heights.dtype == np.float32
    write_raster(tmp_path / "masks" / "a.tif", coarse * 7, corner=corner_of(0), metres=20)
    with pytest.raises(SourceError, match=r"a.tif has label 7; the classes are \[0, 1\]"):
        source(tmp_path, labels=str(tmp_path / "masks")).truth("a")


def test_a_picture_without_a_crs_is_refused_and_read_as_a_plain_one_when_told(tmp_path):
    path = tmp_path / "images" / "a.tif"
    path.parent.mkdir()
    options = {"driver": "GTiff", "count": 2, "height": SIDE, "width": SIDE, "dtype": "uint16"}
    with rasterio.open(path, "w", **options) as file:
        file.write(picture(0))
    with pytest.raises(SourceError, match=r"a.tif has no coordinate reference system .* source.crs=none"):
        source(tmp_path, labels=None)
    with rasterio.open(tmp_path / "a.tif", "w", **options | {"count": 1, "dtype": "uint8"}) as file:
        file.write(the_square(), 1)
    read = source(tmp_path, labels=str(tmp_path / "a.tif"), crs="none")
    assert read.read_scene("a").grid == RasterGrid.local(SIDE, SIDE, 1.0)
    np.testing.assert_array_equal(read.truth("a")["y"], the_square())


def test_stac_items_name_their_bands_and_masks(tmp_path):
    pystac = pytest.importorskip("pystac")
    import datetime

    path = write_raster(tmp_path / "data.tif", picture(0), corner=corner_of(0), nodata=0)
    mask = np.full((1, SIDE, SIDE), 9, np.uint8)
    write_raster(tmp_path / "scl.tif", mask, corner=corner_of(0))
    item = pystac.Item("scene-1", None, None, datetime.datetime(2023, 6, 1), {"view:sun_azimuth": 1.0})
    bands = {"bands": [{"name": "B04"}, {"eo:common_name": "nir"}]}
    item.add_asset("data", pystac.Asset(str(path), roles=["data"], extra_fields=bands))
    item.add_asset("scl", pystac.Asset(str(tmp_path / "scl.tif")))
    item.add_asset("thumbnail", pystac.Asset("none.png", roles=["thumbnail"]))
    item.save_object(dest_href=str(tmp_path / "item.json"))
    read = ScenesSource(str(tmp_path / "item.json"), kind="stac", scale=1e-4)
    assert [band.name for band in read.bands] == ["red", "nir"]
    assert (read.read_scene("scene-1").quality(0, 0, 4, 4) == 1).all()
    (tmp_path / "item.json").write_text("{}")
    with pytest.raises(SourceError, match="cannot be read as STAC"):
        ScenesSource(str(tmp_path / "item.json"), kind="stac")


def test_a_folder_without_scenes_says_what_was_looked_for(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(SourceError, match=r"holds no scene of kind 'planet' \(\*_SR.tif or \*_SR_clip.tif\)"):
        source(tmp_path, kind="planet")
    with pytest.raises(SourceError, match=r"does not exist; give the folder of the scenes as source.scenes"):
        source(tmp_path, scenes=str(tmp_path / "none"))


def test_a_band_that_needs_heights_asks_for_them(tmp_path):
    plain_world(tmp_path, 1)
    with pytest.raises(SourceError, match=r"band 'slope' needs a raster; give it as source.heights"):
        source(tmp_path, bands=["red", "slope"])
