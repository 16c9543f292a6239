import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from rasterio.transform import from_origin

from graticule.errors import GridError
from graticule.grids import RasterGrid, grid_from_dict, parse_grid

UTM = RasterGrid(40, 60, (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_500_000.0), "EPSG:32719")
TURNED = RasterGrid(30, 20, (80.0, 30.0, 400_000.0, 30.0, -80.0, 4_000_000.0), "EPSG:32633")
POLAR = RasterGrid(50, 50, (100_000.0, 0.0, -2_500_000.0, 0.0, -100_000.0, 2_500_000.0), "EPSG:3413")
SOUTH_UP = RasterGrid(18, 36, (10.0, 0.0, 0.0, 0.0, 10.0, -90.0), "EPSG:4326")
TURNED_LONLAT = RasterGrid(12, 12, (0.5, 0.2, 20.0, 0.2, -0.5, 40.0), "EPSG:4326")
GRIDS = [UTM, TURNED, POLAR, SOUTH_UP, TURNED_LONLAT, RasterGrid.global_(3.0), UTM.window(-5, -7, 20, 20)]


@st.composite
def rasters(draw):
    """Plate carrée windows and UTM rasters of many sizes, steps and places."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    if draw(st.booleans()):
        step = draw(st.floats(1e-4, 5.0))
        west, north = draw(st.floats(-360.0, 360.0)), draw(st.floats(-20.0, 80.0))
        return RasterGrid(height, width, (step, 0.0, west, 0.0, -step, north), "EPSG:4326")
    step = draw(st.floats(0.1, 5000.0))
    zone = draw(st.sampled_from([32601, 32631, 32660, 32733]))
    return RasterGrid(height, width, (step, 0.0, 500_000.0, 0.0, -step, 4_000_000.0), f"EPSG:{zone}")


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_each_centre_lies_in_its_own_pixel(grid):
    np.testing.assert_array_equal(grid.locate(*grid.lonlat()), np.arange(grid.size).reshape(grid.shape))


@given(rasters())
@settings(max_examples=60, deadline=None)
def test_each_centre_lies_in_its_own_pixel_of_any_raster(grid):
    np.testing.assert_array_equal(grid.locate(*grid.lonlat()), np.arange(grid.size).reshape(grid.shape))


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_plain_data_gives_an_equal_grid(grid):
    again = grid_from_dict(grid.to_dict())
    assert again == grid
    assert hash(again) == hash(grid)
    assert repr(again) == repr(grid)


def test_centres_agree_with_rasterio_and_pyproj():
    rows, columns = np.mgrid[: TURNED.height, : TURNED.width]
    x, y = rasterio.transform.xy(TURNED.affine, rows.ravel(), columns.ravel())
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(TURNED.lonlat()[0].ravel(), lon, rtol=0, atol=1e-12)
    np.testing.assert_allclose(TURNED.lonlat()[1].ravel(), lat, rtol=0, atol=1e-12)


def test_the_geobox_has_the_same_place():
    box = UTM.geobox
    assert box.shape == UTM.shape
    assert tuple(box.affine)[:6] == UTM.transform
    assert box.crs.epsg == 32719


def test_an_hour_of_the_globe_is_known_on_paper():
    grid = RasterGrid.global_(90.0)
    np.testing.assert_array_equal(grid.lonlat()[0], [[-135, -45, 45, 135]] * 2)
    np.testing.assert_array_equal(grid.lonlat()[1], [[45] * 4, [-45] * 4])
    np.testing.assert_allclose(grid.areas(), np.full((2, 4), np.pi / 2))
    np.testing.assert_allclose(grid.directions()[0, 2], [0.5, 0.5, np.sqrt(0.5)])


@pytest.mark.parametrize("degrees", [10.0, 2.5, 0.75, 0.1])
def test_the_globe_has_the_area_of_the_sphere(degrees):
    grid = RasterGrid.global_(degrees)
    assert grid.wraps
    assert grid.areas().sum() == pytest.approx(4 * np.pi, rel=1e-12)


def test_equal_area_projection_gives_equal_areas():
    # The ellipsoid's equal areas are not quite equal on the sphere of geodetic latitudes: 1.5 % between 0° and 60°.
    sphere = CRS.from_proj4("+proj=cea +R=6371000 +no_defs").to_wkt()
    grid = RasterGrid(90, 180, (200_000.0, 0.0, -18_000_000.0, 0.0, -60_000.0, 2_700_000.0), sphere)
    np.testing.assert_allclose(grid.areas(), 200_000.0 * 60_000.0 / 6_371_000.0**2, rtol=5e-3)


@pytest.mark.parametrize("metres", [0.3, 10.0, 1000.0])
def test_areas_of_small_pixels_keep_their_digits(metres):
    at = (metres, 0.0, 500_000.0, 0.0, -metres, 5_000_000.0)
    grid = RasterGrid(4, 4, at, "EPSG:32633")
    areas, lat = grid.areas(), np.deg2rad(grid.lonlat()[1])
    # dA on the sphere of geodetic latitude over dA on the ellipsoid is 1 / (M N), the curvature.
    geod = Geod(ellps="WGS84")
    curvature = (1 - geod.es * np.sin(lat) ** 2) ** 2 / (geod.a**2 * (1 - geod.es))
    np.testing.assert_allclose(areas, (metres / 0.9996) ** 2 * curvature, rtol=1e-6)


@pytest.mark.parametrize("turn", [-720.0, -360.0, 0.0, 360.0])
def test_any_turn_of_longitude_is_the_same_place(turn):
    grid = RasterGrid.global_(1.0).window(10, 350, 20, 30)  # over the antimeridian
    lon, lat = grid.lonlat()
    assert lon.min() >= -180
    assert lon.max() < 180
    np.testing.assert_array_equal(grid.locate(lon + turn, lat), np.arange(600).reshape(20, 30))


def test_the_edges_of_the_world():
    grid = RasterGrid.global_(1.0)
    assert grid.locate(180.0, 0.5) == grid.locate(-180.0, 0.5) == 89 * 360
    assert grid.locate(np.nextafter(-180.0, -200), 0.5) in (89 * 360, 90 * 360 - 1)
    assert grid.locate(0.5, 90.0) == 180
    assert grid.locate(0.5, -90.0) == 179 * 360 + 180
    assert grid.locate(0.0, 90.001) == grid.locate(np.nan, 0.0) == grid.locate(0.0, np.nan) == -1


def test_points_outside_are_nowhere():
    np.testing.assert_array_equal(UTM.locate([0.0, -69.0, -69.0], [0.0, 90.0, -41.0]), -1)
    assert UTM.window(0, 0, 1, 1).locate(*(axis[5, 5] for axis in UTM.lonlat())) == -1


def test_windows_are_parts_of_the_grid():
    for grid in (UTM, TURNED, RasterGrid.global_(3.0)):
        part = grid.window(5, 7, 10, 11)
        for mine, whole in zip(part.lonlat(), grid.lonlat(), strict=True):
            np.testing.assert_allclose(mine, whole[5:15, 7:18], rtol=0, atol=1e-9)
        np.testing.assert_allclose(part.areas(), grid.areas()[5:15, 7:18], rtol=1e-7)


def test_a_window_beyond_the_pole_has_no_area_there():
    part = RasterGrid.global_(10.0).window(-2, 0, 4, 36)
    assert np.isnan(part.lonlat()[1][:2]).all()
    assert (part.areas()[:2] == 0).all()
    np.testing.assert_array_equal(part.areas()[2:], RasterGrid.global_(10.0).areas()[:2])
    np.testing.assert_array_equal(part.locate(*part.lonlat())[:2], -1)


def test_pixels_outside_the_projection_are_nowhere():
    grid = RasterGrid(3, 3, (9e6, 0.0, -13.5e6, 0.0, -9e6, 13.5e6), "ESRI:102015".replace("102015", "54009"))
    lon, _ = grid.lonlat()
    assert np.isnan(lon[0, 0])
    assert np.isfinite(lon[1, 1])
    assert grid.areas()[0, 0] == 0


@pytest.mark.parametrize("grid", [UTM, TURNED, TURNED_LONLAT, SOUTH_UP, RasterGrid.global_(5.0)], ids=repr)
def test_bilinear_stencils_reproduce_a_plane(grid):
    """At the middle between four centres the four weights are 1/4, at a centre one is 1."""
    lon, lat = grid.lonlat()
    index, weights = grid.neighbours_weights(lon, lat)
    np.testing.assert_allclose(weights.max(-1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(np.take_along_axis(index, weights.argmax(-1)[..., None], -1)[..., 0].ravel(),
                                  np.arange(grid.size))  # fmt: skip
    # One pixel of each 2 x 2 block split in four: its lower right part is 1/4 of a pixel off the centre.
    sub_lon, sub_lat, _ = grid.samples(2, np.array([2 * grid.width + 2]))
    _, weights = grid.neighbours_weights(sub_lon[0, 3], sub_lat[0, 3])
    np.testing.assert_allclose(np.sort(weights), [1 / 16, 3 / 16, 3 / 16, 9 / 16], atol=1e-6)


def test_bilinear_goes_on_over_the_antimeridian_and_the_poles():
    grid = RasterGrid.global_(10.0)
    index, weights = grid.neighbours_weights(-180.0, 5.0)
    assert dict(zip(index[weights > 0].tolist(), weights[weights > 0].tolist(), strict=True)) == pytest.approx(
        {8 * 36: 0.5, 8 * 36 + 35: 0.5}
    )
    index, weights = grid.neighbours_weights(5.0, 90.0)
    across = {18: 0.5, 0: 0.5}  # the first pixel east of 0°, and the one behind the pole
    assert dict(zip(index[weights > 1e-9].tolist(), weights[weights > 1e-9].tolist(), strict=True)) == pytest.approx(
        across
    )


def test_at_other_edges_the_weights_of_what_exists_add_to_one():
    lon, lat, _ = UTM.samples(2, np.array([0]))
    index, weights = UTM.neighbours_weights(lon[0, 0], lat[0, 0])
    np.testing.assert_allclose(weights[index == 0], 1.0)
    assert (index < 0).sum() == 3
    index, weights = UTM.neighbours_weights(0.0, 0.0)
    assert (index == -1).all()
    assert (weights == 0).all()


@pytest.mark.parametrize("grid", [UTM, TURNED, RasterGrid.global_(10.0)], ids=repr)
@pytest.mark.parametrize("per_side", [1, 2, 4])
def test_samples_lie_in_their_pixel_and_share_its_area(grid, per_side):
    some = np.arange(3, grid.size, 7)
    lon, lat, share = grid.samples(per_side, some)
    assert share.shape == (len(some), per_side**2)
    np.testing.assert_array_equal(grid.locate(lon, lat), np.broadcast_to(some[:, None], share.shape))
    np.testing.assert_allclose(share.sum(-1), 1.0)


def test_parts_nearer_to_the_pole_have_less_area():
    _, lat, share = RasterGrid(1, 1, (30.0, 0.0, 0.0, 0.0, -90.0, 90.0), "EPSG:4326").samples(2, np.array([0]))
    np.testing.assert_allclose(lat, [[67.5, 67.5, 22.5, 22.5]])
    np.testing.assert_allclose(2 * share[0, ::2], [1 - np.sqrt(0.5), np.sqrt(0.5)])


def test_footprints():
    globe = RasterGrid.global_(10.0)
    assert globe.footprint().bounds == (-180, -90, 180, 90)
    assert globe.window(0, 0, 3, 4).footprint().bounds == (-180, 60, -140, 90)
    over = globe.window(3, 34, 2, 4).footprint()
    assert over.geom_type == "MultiPolygon"
    assert sorted(part.bounds for part in over.geoms) == [(-180, 40, -160, 60), (160, 40, 180, 60)]
    assert globe.window(-1, 3, 2, 2).footprint().bounds == (-150, 80, -130, 90)
    around_pole = POLAR.footprint()
    assert around_pole.is_valid
    assert around_pole.bounds[0] == -180
    assert around_pole.bounds[2:] == (180, 90)
    lon, lat = UTM.lonlat()
    west, south, east, north = UTM.footprint().bounds
    assert west < lon.min() < lon.max() < east
    assert south < lat.min() < lat.max() < north


@pytest.mark.parametrize("crs", ["EPSG:4326", "epsg:4326", CRS.from_epsg(4326).to_wkt(), "OGC:CRS84"])
def test_a_crs_has_one_name_and_lonlat_order(crs):
    grid = RasterGrid(180, 360, (1.0, 0.0, -180.0, 0.0, -1.0, 90.0), crs)
    assert grid.wraps
    if "CRS84" not in crs:
        assert grid.crs == "EPSG:4326"
        assert grid == RasterGrid.global_(1.0)


def test_another_datum_is_moved_to_wgs84():
    grid = RasterGrid(2, 2, (1.0, 0.0, 10.0, 0.0, -1.0, 50.0), "EPSG:4230")  # ED50
    lon, lat = Transformer.from_crs(4230, 4326, always_xy=True).transform(10.5, 49.5)
    assert not grid.is_plate
    assert (grid.lonlat()[0][0, 0], grid.lonlat()[1][0, 0]) == pytest.approx((lon, lat), abs=1e-12)
    assert abs(lon - 10.5) > 1e-4


def test_a_grid_of_a_file(tmp_path):
    path = tmp_path / "tile.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": 1, "dtype": "uint8"}
    at = from_origin(500_000, 4_000_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32633", transform=at, **profile) as file:
        file.write(np.zeros((1, 4, 5), np.uint8))
    with rasterio.open(path) as file:
        assert RasterGrid.of_dataset(file) == RasterGrid(4, 5, (10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32633")


def test_a_file_without_crs_is_refused_by_name(tmp_path):
    path = tmp_path / "tile.tif"
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", transform=from_origin(5, 5, 2, 2), **profile) as file:
        file.write(np.zeros((1, 4, 5), np.uint8))
    with rasterio.open(path) as file, pytest.raises(GridError) as error:
        RasterGrid.of_dataset(file)
    assert str(error.value) == (
        f"{path} has no coordinate reference system (CRS), so its pixels lie nowhere; "
        f"assign one first, for example with `rio edit-info --crs EPSG:32719 {path}`."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": ""}, "the raster has no coordinate reference system"),
        ({"crs": "EPSG:0"}, "'EPSG:0' is not a coordinate reference system; give one such as EPSG:4326."),
        ({"height": 0}, "a raster of 0 x 20 pixels is empty; it needs at least one pixel."),
        ({"transform": (1.0, 1.0, 0.0, 1.0, 1.0, 0.0)}, "is not an invertible affine transform"),
        ({"transform": (1.0, 0.0, 0.0, 0.0, np.nan, 0.0)}, "is not an invertible affine transform"),
        ({"transform": (1.0, 0.0, 0.0)}, "it must be six numbers"),
    ],
)
def test_what_is_not_a_raster_is_refused(changes, message):
    given = {"height": 10, "width": 20, "transform": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), "crs": "EPSG:4326"}
    with pytest.raises(GridError) as error:
        RasterGrid(**(given | changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("degrees", [7.0, 0.0, 200.0])
def test_a_step_that_does_not_divide_the_sphere_is_refused(degrees):
    with pytest.raises(GridError, match="do not divide the sphere; 180 must be a multiple"):
        RasterGrid.global_(degrees)


def test_grids_from_text():
    assert parse_grid("raster:0.1deg").shape == (1800, 3600)
    assert parse_grid(" raster:15deg ") == RasterGrid.global_(15.0)
    for wrong in ("raster:0.1", "healpix:x", "earth", "raster:-1deg", ""):
        with pytest.raises(GridError, match="is not a grid; write healpix:NSIDE or raster:STEPdeg"):
            parse_grid(wrong)


def test_grids_from_wrong_data():
    with pytest.raises(GridError, match="lacks 'crs'; it has kind, height, width, transform"):
        grid_from_dict({key: value for key, value in UTM.to_dict().items() if key != "crs"})
    with pytest.raises(GridError, match="'cube' is not a kind of grid; it must be raster, or healpix"):
        grid_from_dict({"kind": "cube"})
    with pytest.raises(GridError, match="'healpix' in ring order is not a kind of grid"):
        grid_from_dict({"kind": "healpix", "nside": 4, "order": "ring"})


def test_a_raster_without_a_place_has_sizes_and_no_positions():
    grid = RasterGrid.local(16, 16, 500.0)
    assert grid.is_local
    assert not UTM.is_local
    assert np.isnan(grid.lonlat()).all()
    assert grid.footprint().is_empty
    assert grid.locate(10.0, 5.0) == -1
    np.testing.assert_allclose(grid.areas().sum() * 6_371_008.8**2, 8000.0**2)
    assert grid_from_dict(grid.to_dict()) == grid
    assert grid.window(4, 8, 2, 2).transform[2] == 4000.0


def test_a_raster_without_a_place_goes_through_a_geotiff(tmp_path):
    grid = RasterGrid.local(4, 6, 10.0)
    profile = {"driver": "GTiff", "height": 4, "width": 6, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.tif", "w", crs=grid.crs, transform=grid.affine, **profile) as written:
        written.write(np.ones((1, 4, 6), np.uint8))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        again = RasterGrid.of_dataset(dataset)
    assert again.is_local
    assert again.transform == grid.transform
