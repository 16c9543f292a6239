"""The built-in Earth is what its description says, and its windows and scenes lie where they claim to."""

from collections import Counter

import numpy as np
import pytest

from graticule.data.prepare import HealpixScene, RasterScene, Source
from graticule.data.sources.earth import BANDS, HEIGHT, LANDCOVER, EarthSource, earth_on, published, region
from graticule.errors import SourceError
from graticule.grids import HealpixGrid, RasterGrid
from graticule.schema import IGNORE

EARTH = RasterGrid.global_(0.1)
SHARES = {
    "water": 71.8, "grass": 5.8, "savanna": 5.4, "forest": 4.7, "barren": 3.8, "shrub": 2.9, "snow/ice": 2.9,
    "crop": 2.5, "wetland": 0.1, "urban": 0.1,
}  # fmt: skip
PLACES = {  # longitude, latitude, class
    "the Amazon": (-64.0, -5.0, "forest"),
    "the Sahara": (5.0, 24.0, "barren"),
    "the Pacific": (-150.0, 0.0, "water"),
    "the Greenland ice": (-40.0, 72.0, "snow/ice"),
    "Antarctica": (90.0, -80.0, "snow/ice"),
    "Illinois": (-89.0, 40.5, "crop"),
    "the Outback": (125.0, -27.0, "shrub"),
    "Mongolia": (105.0, 46.5, "grass"),
}


def shares(y, areas):
    weight = np.bincount(y[y != IGNORE], weights=areas[y != IGNORE], minlength=len(LANDCOVER.legend))
    return {entry.name: 100 * weight[entry.value] / weight.sum() for entry in LANDCOVER.legend}


def test_shares_of_area_are_those_published():
    found = shares(published().y, EARTH.areas())
    assert found.keys() == SHARES.keys()
    for name, share in SHARES.items():
        assert abs(found[name] - share) < 0.3, name


@pytest.mark.parametrize("place", PLACES)
def test_places_have_the_class_that_everyone_knows(place):
    lon, lat, name = PLACES[place]
    pixel = int(EARTH.locate(lon, lat))
    assert LANDCOVER.legend[published().y.flat[pixel]].name == name


def test_heights_are_metres_and_unknown_where_they_are_wrong():
    height = published().height
    assert height.dtype == np.float32

    def at(lon, lat):
        return float(height.flat[int(EARTH.locate(lon, lat))])

    assert abs(at(88.0, 33.0) - 5000) < 500, "the Tibetan plateau"
    assert abs(at(4.9, 52.2)) < 60, "Holland"
    assert np.isnan(at(-150.0, 0.0)), "the sea"
    assert np.isnan(at(-40.0, 72.0)), "Greenland"
    assert np.isnan(height[1500:]).all(), "south of 60°S"
    assert -100 <= np.nanmin(height) < np.nanmax(height) <= 254 * 28 - 450


def test_the_three_files_align_at_zero_shift():
    y, height = published().y, published().height
    land = (y != 0)[:1500]
    known = np.isfinite(height)[:1500]
    sea_blue = (published().x[2].astype(int) - published().x[0] > 15)[:1500]

    def agreement(mask, shift):
        other = np.roll(mask, shift, axis=(0, 1))
        return (land & other).sum() / (land | other).sum()

    for mask in (known, ~sea_blue):
        still = agreement(mask, (0, 0))
        moved = [agreement(mask, shift) for shift in ((3, 0), (-3, 0), (0, 3), (0, -3))]
        assert still > max(moved), (still, moved)


def test_ten_classes_have_names_and_colours_of_their_own():
    assert [entry.value for entry in LANDCOVER.legend] == list(range(10))
    assert len({entry.colour for entry in LANDCOVER.legend}) == 10
    assert HEIGHT.unit == "m"
    assert [band.name for band in BANDS] == ["red", "green", "blue"]
    assert BANDS[0].scale * 255 == 1


def test_on_healpix_nothing_is_lost_or_moved():
    grid = HealpixGrid(32)
    fields = earth_on(grid)
    assert (fields.x.shape, fields.x.dtype, fields.y.dtype) == ((3, grid.size), np.uint8, np.uint8)
    found = shares(fields.y, grid.areas())
    assert abs(found["water"] - SHARES["water"]) < 1.5, "majorities over 1.8° favour the common class a little"
    weight = EARTH.areas() / EARTH.areas().sum()
    for band in range(3):
        assert abs(float((published().x[band] * weight).sum()) - fields.x[band].mean()) < 0.2, "means keep the mean"
    inside = int(grid.locate(88.0, 33.0))
    assert abs(fields.height[inside] - 5000) < 500
    assert np.isnan(fields.height[int(grid.locate(-150.0, 0.0))])


@pytest.mark.parametrize(
    ("grid", "options", "count", "space"),
    [
        ("raster:0.1deg", {}, 288, (150, 150)),
        ("raster:1deg", {"window": 5}, 288 * 9, (5, 5)),
        ("healpix:32", {}, 192, (64,)),
        ("healpix:16", {"parent_nside": 8}, 768, (4,)),
    ],
)
def test_windows_tile_the_earth(grid, options, count, space):
    source = EarthSource(grid, **options)
    assert isinstance(source, Source)
    assert (source.n_samples, source.space) == (count, space)
    assert EarthSource(**source.options()).options() == source.options()
    covered = np.zeros(source.grid.shape, int)
    ids, parents = set(), {}
    for x, arrays, row in source.samples():
        where = tuple(slice(start, start + size) for start, size in zip(row["place"], space, strict=True))
        covered[where] += 1
        ids.add(row["sample_id"])
        parents.setdefault(row["parent"], []).append(row["place"])
        assert x.shape == (3, *space)
        np.testing.assert_array_equal(arrays["y"], source.truth("earth")["y"][where])
        lon, lat = source.grid.window(*row["place"], *space).lonlat()
        some = slice(None, None, max(1, lon.size // 64))
        assert row["region"] in {region(a, b) for a, b in zip(lon.flat[some], lat.flat[some], strict=True)}
    assert (covered == 1).all()
    assert len(ids) == count
    assert {len(places) for places in parents.values()} == {count // len(parents)}


def test_a_block_is_named_by_its_row_and_column():
    rows = [row for _, _, row in EarthSource("raster:1deg", window=5).samples()]
    of_block = [row["place"] for row in rows if row["parent"] == "r03c11"]
    assert min(of_block) == (45, 165)
    assert max(of_block) == (55, 175)


def test_nine_regions():
    assert region(-100, 50) == "north americas"
    assert region(20, 0) == "tropics europe-africa"
    assert region(150, -35) == "south asia-pacific"
    assert len({region(lon, lat) for lon in (-90, 0, 90) for lat in (-60, 0, 60)}) == 9


def test_the_raster_scene_goes_round_the_earth_and_ends_at_the_poles():
    source = EarthSource("raster:1deg")
    scene = source.read_scene("earth")
    assert isinstance(scene, RasterScene)
    assert (scene.grid, scene.bands) == (source.grid, BANDS)
    whole, seen = scene.read(0, 0, 180, 360)
    np.testing.assert_array_equal(whole, source.fields.x)
    assert seen.all()
    x, seen = scene.read(-2, 350, 10, 20)
    assert not seen[:2].any()
    assert seen[2:].all()
    assert (x[:, :2] == 0).all()
    np.testing.assert_array_equal(x[:, 2:, :10], whole[:, :8, 350:])
    np.testing.assert_array_equal(x[:, 2:, 10:], whole[:, :8, :10])
    np.testing.assert_array_equal(scene.read(100, -5, 4, 10)[0][:, :, :5], whole[:, 100:104, 355:])


def test_the_sphere_is_read_by_cells():
    source = EarthSource("healpix:16")
    scene = source.read_scene("earth")
    assert isinstance(scene, HealpixScene)
    ids = np.array([[5, -1], [3071, 0]])
    x = scene.cells(ids)
    assert x.shape == (3, 2, 2)
    np.testing.assert_array_equal(x[:, 1, 0], source.fields.x[:, 3071])
    assert (x[:, 0, 1] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 64}, r"windows of 64 pixels do not divide the 15° blocks of raster:0\.1deg, which are 150 pixels"),
        ({"window": 0}, r"windows of 0 pixels do not divide"),
        ({"grid": "raster:10deg"}, r"windows of 1 pixels do not divide the 15° blocks of raster:10deg, which are 1\.5"),
        ({"grid": "healpix:32", "parent_nside": 64}, r"parent_nside 64 does not divide nside 32 of healpix:32"),
    ],
)
def test_windows_that_do_not_fit_are_refused(options, message):
    with pytest.raises(SourceError, match=message):
        EarthSource(**options)


def test_there_is_one_scene():
    with pytest.raises(SourceError, match="source earth has no scene 'mars'; its one scene is 'earth'"):
        EarthSource("raster:1deg").read_scene("mars")


@pytest.mark.parametrize("grid", ["raster:3deg", "healpix:16"])
def test_a_window_s_cover_is_the_class_that_most_of_it_has(grid):
    source = EarthSource(grid, cover=True)
    assert [(target.name, target.is_of_sample) for target in source.targets][-1] == ("cover", True)
    assert len(EarthSource(grid).targets) == 2
    for _, labels, _ in source.samples():
        counts = Counter(labels["y"][labels["y"] != IGNORE].tolist())
        assert counts[int(labels["label"])] == max(counts.values())
