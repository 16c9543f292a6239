"""WoodScape and SynWoodScape become stores on cameras and on the sphere, with what was published of them."""

import json

import numpy as np
import pytest
from PIL import Image

from graticule.data.audit import audit
from graticule.data.prepare import Source, prepare
from graticule.data.sources.fisheye import published_split
from graticule.data.sources.fisheye_classes import MERGED, PUBLISHED_WEIGHTS, SYNWOODSCAPE, WOODSCAPE, class_table
from graticule.data.sources.synwoodscape import SynWoodScapeSource
from graticule.data.sources.woodscape import WoodScapeSource
from graticule.data.splits import assign
from graticule.data.statistics import class_weights
from graticule.data.street_files import street_calibration, write_street
from graticule.errors import SourceError, SplitError
from graticule.grids import CameraGrid, HealpixGrid, grid_from_dict
from graticule.schema import IGNORE

HEIGHT, WIDTH = 40, 52


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve photographs of three instants."""
    path = tmp_path_factory.mktemp("fisheye") / "syn"
    write_street(path, images=12, seed=4, height=HEIGHT, width=WIDTH)
    return path


def syn(root, **options):
    given = {"grid": "healpix:16", "targets": ("semantics", "depth")} | options
    return SynWoodScapeSource(str(root), **given)


def stored(root, name):
    """A photograph's files, read without this package."""
    image = np.asarray(Image.open(root / f"rgb_images/rgb_images/{name}.png"))
    labels = np.asarray(Image.open(root / f"semantic_annotations/semantic_annotations/gtLabels/{name}.png"))
    return np.moveaxis(image, -1, 0), labels, np.load(root / f"depth_maps/raw_data/{name}.npy")


def merged(labels, classes):
    """Labels of the data set as classes of a merged set, by the names in the two lists."""
    names = MERGED[classes]
    return np.array([names.index(name) if name in names else 0 for name in SYNWOODSCAPE], np.uint8)[labels]


def published_pixel(calibration, theta, phi):
    """Column and row (centres at whole numbers) of a direction, by the published formulas."""
    k = calibration["intrinsic"]
    rho = sum(k[f"k{n}"] * theta**n for n in (1, 2, 3, 4))
    u = rho * np.cos(phi) + k["cx_offset"] + k["width"] / 2 - 0.5
    return u, rho * np.sin(phi) * k["aspect_ratio"] + k["cy_offset"] + k["height"] / 2 - 0.5


@pytest.mark.parametrize("source", [WoodScapeSource, SynWoodScapeSource])
def test_both_are_sources(root, tmp_path, source):
    folder = root
    if source is WoodScapeSource:
        folder = tmp_path / "wood"
        write_street(folder, images=2, kind="woodscape", height=HEIGHT, width=WIDTH)
    made = source(str(folder), grid="healpix:8")
    assert isinstance(made, Source)
    again = source(**made.options())
    assert again.options() == made.options()
    assert again.scenes() == made.scenes()
    first, second = (next(iter(s.samples())) for s in (made, again))
    np.testing.assert_array_equal(first[0], second[0])
    assert json.dumps(made.window)


def test_as_taken_nothing_is_changed_but_the_names_of_classes(root, tmp_path):
    store = prepare(syn(root, grid="camera"), tmp_path / "store", progress=False)
    assert len(store) == 12
    for index in (0, 7):
        name = store.metadata["photo"].iat[index]
        image, labels, depth = stored(root, name)
        read = store.read([index])
        np.testing.assert_array_equal(read["x"][0], image)
        np.testing.assert_array_equal(read["y"][0], merged(labels, "synwoodscape_large_plus_AD"))
        np.testing.assert_array_equal(read["depth"][0], np.where(depth < 1000, depth, np.nan))
        assert store.grid(index) == CameraGrid.from_woodscape(street_calibration(name[6:], HEIGHT, WIDTH))
    assert store.targets[1].unit == "m"
    assert sorted(store.metadata.region.unique()) == ["FV", "MVL", "MVR", "RV"]
    assert store.metadata.parent.nunique() == 3


def test_on_the_sphere_each_cell_has_the_pixel_that_the_published_formulas_give_it(root, tmp_path):
    store = prepare(syn(root, cameras=["MVL"]), tmp_path / "store", progress=False)
    grid = store.grid(0)
    assert grid == HealpixGrid(16, tuple(range(8))), "the base pixels of the published experiments"
    lon, lat = grid.lonlat()
    u, v = published_pixel(street_calibration("MVL", HEIGHT, WIDTH), np.deg2rad(90 - lat), np.deg2rad(lon))
    column, row = np.around(u).astype(int), np.around(v).astype(int)
    inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    image, labels, depth = stored(root, "00000_MVL")
    read = store.read([0])
    wanted = merged(labels, "synwoodscape_large_plus_AD")[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1)]
    np.testing.assert_array_equal(read["y"][0], np.where(inside, wanted, IGNORE))
    metres = depth[row.clip(0, HEIGHT - 1), column.clip(0, WIDTH - 1)]
    np.testing.assert_array_equal(read["depth"][0], np.where(inside & (metres < 1000), metres, np.nan))
    assert not read["x"][0][:, ~inside].any()
    safe = (u >= 0) & (u <= WIDTH - 1) & (v >= 0) & (v <= HEIGHT - 1)
    left, top = np.floor(u[safe]).astype(int).clip(0, WIDTH - 2), np.floor(v[safe]).astype(int).clip(0, HEIGHT - 2)
    a, b = u[safe] - left, v[safe] - top
    blend = (1 - b) * ((1 - a) * image[:, top, left] + a * image[:, top, left + 1])
    blend += b * ((1 - a) * image[:, top + 1, left] + a * image[:, top + 1, left + 1])
    assert np.abs(read["x"][0][:, safe] - blend).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("void", "inside", "outside"), [
    ("ignore", IGNORE, IGNORE), ("inside", 0, IGNORE), ("everywhere", 0, 0),
])  # fmt: skip
def test_void_is_no_class_or_one_in_the_photograph_or_one_everywhere(root, void, inside, outside):
    source = syn(root, void=void, targets=("semantics",))
    _, arrays, _ = next(iter(source.samples()))
    camera = next(iter(source.cameras.values()))
    seen = camera.locate(*source.place.sphere.lonlat()) >= 0
    assert set(np.unique(arrays["y"][~seen])) == {outside}
    assert inside in arrays["y"][seen]
    assert (inside == 0) == (0 in arrays["y"][seen])


def test_the_sky_has_depth_only_if_asked(root):
    open_sky = next(iter(syn(root, mask_background=False).samples()))[1]["depth"]
    masked = next(iter(syn(root).samples()))[1]["depth"]
    assert np.nanmax(open_sky) == 1000
    assert np.nanmax(masked) < 1000
    np.testing.assert_array_equal(masked[np.isfinite(masked)], open_sky[np.isfinite(masked)])


def test_resized_and_cropped_photographs_keep_their_rays(root, tmp_path):
    crop = [-2, 3, 24, 20]
    store = prepare(syn(root, grid="camera:20x26", crop=crop), tmp_path / "store", progress=False)
    camera = CameraGrid.from_woodscape(street_calibration("FV", HEIGHT, WIDTH))
    assert store.grid(0) == camera.resized(20, 26).window(*crop)
    read = store.read([0])
    assert read["x"].shape == (1, 3, 24, 20)
    assert (read["y"][0, :2] == IGNORE).all(), "above the photograph"
    assert np.isnan(read["depth"][0, 22:]).all(), "below it"
    _, labels, depth = stored(root, "00000_FV")
    inner = store.grid(0).window(2, 0, 20, 20)
    place = camera.locate(*inner.lonlat())
    assert (place >= 0).all()
    np.testing.assert_array_equal(read["y"][0, 2:22], merged(labels, "synwoodscape_large_plus_AD").reshape(-1)[place])
    assert (np.nan_to_num(read["depth"][0, 2:22], nan=1000.0) == depth.reshape(-1)[place]).all()


def test_windows_of_one_base_pixel_each_add_up_to_the_whole(root, tmp_path):
    whole = prepare(syn(root, cameras=["FV"]), tmp_path / "whole", progress=False)
    cut = prepare(syn(root, cameras=["FV"], window=8), tmp_path / "cut", progress=False)
    first = cut.metadata[cut.metadata.photo == "00000_FV"]
    y = whole.read([0])["y"][0]
    for index in first.index:
        start = int(first.cell[index])
        np.testing.assert_array_equal(cut.read([index])["y"][0], y[start : start + 64])
    missing = set(range(0, len(y), 64)) - set(first.cell)
    assert all((y[start : start + 64] == IGNORE).all() for start in missing)


def test_the_frame_of_the_vehicle_puts_all_cameras_on_one_sphere(root):
    source = syn(root, frame="vehicle", targets=("semantics",), grid="healpix:32", void="inside")
    assert source.place.sphere.parents == tuple(range(12))
    sky, road = MERGED["synwoodscape_large_plus_AD"].index("sky"), 4
    lat = source.place.sphere.lonlat()[1]
    for _, arrays, _ in source.samples():
        # A pixel of these small photographs is 4° wide.
        assert (lat[arrays["y"] == sky] > -5).all(), "the sky is above the horizon"
        assert (lat[arrays["y"] == road] < 5).all(), "and the road below"


def test_the_store_knows_the_cameras_so_that_results_go_back_to_the_photographs(root, tmp_path):
    store = prepare(syn(root), tmp_path / "store", progress=False)
    cameras = {name: grid_from_dict(data) for name, data in store.config["window"]["cameras"].items()}
    assert set(cameras) == set(store.scenes) == {"FV-0", "RV-0", "MVL-0", "MVR-0"}
    assert cameras["RV-0"] == CameraGrid.from_woodscape(street_calibration("RV", HEIGHT, WIDTH))


def test_a_scene_is_read_by_windows_or_by_cells(root):
    on_camera, on_sphere = syn(root, grid="camera"), syn(root)
    image, labels, _ = stored(root, "00001_RV")
    x, seen = on_camera.read_scene("00001_RV").read(30, -5, 20, 30)
    np.testing.assert_array_equal(x[:, :10, 5:], image[:, 30:, :25])
    assert seen[:10, 5:].all()
    assert not seen[10:].any()
    assert not seen[:, :5].any()
    np.testing.assert_array_equal(on_camera.truth("00001_RV")["y"], merged(labels, "synwoodscape_large_plus_AD"))
    ids = np.array([[5, -1], [16 * 16 * 9, 700]])
    cells = on_sphere.read_scene("00001_RV").cells(ids)
    whole = on_sphere.on_grid("00001_RV").x
    np.testing.assert_array_equal(cells[:, 0, 0], whole[:, 5])
    assert not cells[:, 0, 1].any()
    assert not cells[:, 1, 0].any(), "base pixel 9 is not covered"
    with pytest.raises(SourceError, match="no photograph '00009_FV'; did you mean"):
        on_sphere.read_scene("00009_FV")


def test_the_published_split_is_disjoint_and_of_the_published_sizes():
    for count, train in ((8234, 6588), (2000, 1600)):
        names = [f"{number:05d}_FV" for number in range(count)]
        parts = published_split(names, 0.8, 42)
        assert sum(part == "train" for part in parts.values()) == train
        order = np.random.RandomState(42).permutation(count)
        assert parts[names[order[0]]] == "train"
        assert parts[names[order[-1]]] == "val"
        assert parts[names[order[train - 1]]] == "train"
        assert parts[names[order[train]]] == "val"
    with pytest.raises(SourceError, match="train_share is 1; it must be between 0 and 1"):
        published_split(names, 1.0, 42)


def test_splitting_as_published_or_without_leaks(root, tmp_path):
    store = prepare(syn(root), tmp_path / "store", progress=False)
    held = set(store.metadata.photo[store.metadata.published == "val"])
    both = assign(store, method="published", by="val")
    for part in ("val", "test"):
        assert set(store.metadata.photo.iloc[both.samples(part)]) == held
    assert audit(store, both).pairs["val", "test"].leaks
    own = assign(store, method="published", total_folds=2)
    assert set(store.metadata.photo.iloc[own.samples("test")]) == held
    assert not set(own.samples("train")) & set(own.samples("val"))
    # Photographs that look into the same directions share no ground: the audit must not take the sphere for the Earth.
    kept = assign(store, method="random", by=[0.34, 0.33, 0.33])
    assert not audit(store, kept).leaks
    with pytest.raises(SplitError, match="leave it out, or give val"):
        assign(store, method="published", by=0.5)
    with pytest.raises(SplitError, match="no known place on the Earth, so blocks cannot split them"):
        assign(store, method="block")


def test_published_weights_are_those_of_the_published_prevalences():
    for name, weights in PUBLISHED_WEIGHTS.items():
        percent = np.array(weights) ** -4
        assert percent.sum() == pytest.approx(100, abs=0.02), name
        np.testing.assert_allclose(class_weights((percent * 1e8).astype(np.int64)), weights, rtol=2e-4)
    assert class_weights(np.array([0, 5])) == [0.0, pytest.approx(100**-0.25)]


INFO = {"class_names": list(SYNWOODSCAPE), "class_colors": [[k, 0, 200] for k in range(25)]}


@pytest.mark.parametrize("classes", list(MERGED))
def test_merging_goes_by_names_whatever_their_numbers(classes):
    table = class_table(INFO, classes, True, "info.json")
    assert [entry.name for entry in table.legend] == list(MERGED[classes])
    assert table.legend[1].colour == "#0100c8", "that of the building, not of the second class"
    order = list(reversed(range(25)))
    turned = class_table({"class_names": [SYNWOODSCAPE[k] for k in order]}, classes, True, "info.json")
    np.testing.assert_array_equal(turned.class_of[:25], table.class_of[order])
    assert table.class_of[255] == IGNORE
    assert (table.class_of[25:255] == 254).all()
    again = class_table({"class_names": list(MERGED[classes])}, classes, True, "info.json")
    np.testing.assert_array_equal(again.class_of[: len(MERGED[classes])], np.arange(len(MERGED[classes])))


def test_the_published_merge_of_eight_classes():
    table = class_table(INFO, "synwoodscape_large", True, "info.json")
    kept = {value: int(table.class_of[value]) for value in range(25) if table.class_of[value]}
    assert kept == {1: 1, 6: 2, 7: 3, 8: 4, 10: 5, 13: 6, 24: 7}


def test_colours_in_the_other_order():
    info = {"class_names": WOODSCAPE, "class_colors": [[1, 2, 3]] * 10, "color_scheme": "BGR"}
    assert class_table(info, "woodscape", True, "info.json").legend[3].colour == "#030201"


@pytest.mark.parametrize(
    ("info", "told"),
    [
        ({"class_names": ["void", "road"]}, "names no class 'building', which the class set synwoodscape_large needs"),
        ({}, "has no list class_names"),
        ({"class_names": ["a", "b"], "class_indexes": [0, 0]}, "give one index for each"),
    ],
)
def test_names_that_are_missing_are_said(info, told):
    with pytest.raises(SourceError, match=told):
        class_table(info, "synwoodscape_large", True, "info.json")
