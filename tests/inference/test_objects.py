import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from graticule.grids import RasterGrid
from graticule.inference.objects import Objects
from graticule.schema import LegendClass, Target

SLUMP = Target("slump", "binary", (LegendClass(0, "none", "#ffffff"), LegendClass(1, "slump", "#ff0000")))
COVER = Target("cover", "classes", tuple(LegendClass(k, f"class {k}", "#102030") for k in range(3)))


def utm(height, width):
    return RasterGrid(height, width, (10.0, 0.0, 5e5, 0.0, -10.0, 7e6), "EPSG:32633")


def objects_of(labels, strips, probability=None, target=SLUMP, grid=None):
    grid = grid or utm(*labels.shape)
    probability = np.full((1 if target is SLUMP else 3, *labels.shape), 0.75) if probability is None else probability
    finder = Objects(grid, target)
    for first, last in zip([0, *strips], [*strips, len(labels)], strict=True):
        finder.add(first, labels[first:last].astype(np.uint8), probability[:, first:last])
    return finder.table()


def drawn(table, grid, column="object_id"):
    """The objects' numbers, painted back by their outlines."""
    if table.empty:
        return np.zeros(grid.shape, np.int32)
    pairs = zip(table.geometry, table[column], strict=True)
    return rasterize(pairs, grid.shape, transform=grid.affine, dtype="int32")


def test_a_diagonal_pair_is_one_object_of_one_row():
    labels = np.zeros((6, 6), int)
    labels[1, 1] = labels[2, 2] = labels[3, 3] = 1
    for strips in ([], [2], [1, 2, 3, 4]):
        table = objects_of(labels, strips)
        assert len(table) == 1
        (outline,) = table.geometry
        assert outline.geom_type == "MultiPolygon"
        assert len(outline.geoms) == 3
        assert outline.area == 300.0
        assert table.pixels.tolist() == [3]
        assert table.area_m2[0] == pytest.approx(300 / 0.9996**2, rel=1e-4)
        assert table["class"].tolist() == ["slump"]


def test_an_object_across_strips_is_not_cut_and_keeps_its_hole():
    labels = np.zeros((12, 9), int)
    labels[1:11, 2:8] = 1
    labels[4:8, 4:6] = 0
    whole = objects_of(labels, []).geometry[0]
    cut = objects_of(labels, [3, 5, 6, 9]).geometry[0]
    assert cut.equals(whole)
    assert len(cut.geoms) == 1
    (ring,) = cut.geoms[0].interiors
    assert shapely.Polygon(ring).area == 800.0
    assert shapely.get_num_coordinates(cut) <= 12  # no point is left where strips met


def test_statistics_of_a_known_object():
    labels = np.zeros((4, 5), int)
    labels[1:3, 1:4] = 1
    probability = np.zeros((1, 4, 5), np.float32)
    values = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], np.float32)
    probability[0, 1:3, 1:4] = values.reshape(2, 3)
    (row,) = objects_of(labels, [2], probability).to_dict("records")
    assert (row["pixels"], row["min"], row["max"]) == (6, 0.5, 1.0)
    assert row["mean"] == pytest.approx(0.75, abs=1e-7)
    assert row["median"] == pytest.approx(0.75, abs=1e-9)
    assert row["std"] == pytest.approx(values.std(), abs=1e-6)
    assert not row["touches_edge"]


@pytest.mark.parametrize("place", [(0, 2), (3, 2), (2, 0), (2, 4)])
def test_objects_on_the_edge_of_the_scene_stay_and_say_so(place):
    labels = np.zeros((4, 5), int)
    labels[place] = 1
    table = objects_of(labels, [2])
    assert table.touches_edge.tolist() == [True]
    assert table.geometry[0].area == 100.0


def test_no_object_is_an_empty_table_with_the_same_columns():
    none, some = objects_of(np.zeros((4, 5), int), [2]), objects_of(np.ones((4, 5), int), [2])
    assert none.empty
    assert none.columns.tolist() == some.columns.tolist()
    assert none.crs == some.crs


def test_round_the_earth_an_object_crosses_the_date_line():
    labels = np.zeros((18, 36), int)
    labels[5, 0] = labels[5, 35] = labels[4, 34] = 1
    labels[9, 0] = labels[10, 35] = 1
    table = objects_of(labels, [5, 10], grid=RasterGrid.global_(10.0))
    assert table.pixels.tolist() == [3, 2]
    assert not table.touches_edge.any()
    assert objects_of(labels, [5, 10]).pixels.tolist() == [2, 1, 1, 1]  # with two ends there are four


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 999),
    cuts=st.lists(st.integers(1, 19), max_size=4, unique=True), share=st.sampled_from([0.2, 0.4, 0.55, 0.8]),
)  # fmt: skip
def test_objects_are_those_of_scipy_on_the_whole_array(height, width, seed, cuts, share):
    rng = np.random.default_rng(seed)
    labels = (rng.random((height, width)) < share).astype(int)
    probability = rng.random((1, height, width)).astype(np.float32)
    grid = utm(height, width)
    table = objects_of(labels, sorted(c for c in cuts if c < height), probability)
    wanted, count = ndimage.label(labels, np.ones((3, 3)))
    assert len(table) == count
    assert table.geometry.is_valid.all()
    painted = drawn(table, grid)
    for number in range(1, count + 1):
        (own,) = np.unique(painted[wanted == number])
        assert (painted == own).sum() == (wanted == number).sum()
        values, row = probability[0][wanted == number], table.loc[table.object_id == own].iloc[0]
        assert row.pixels == len(values)
        assert row.geometry.area == pytest.approx(100.0 * len(values))
        assert (row["min"], row["max"]) == (values.min(), values.max())
        assert row["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert row["median"] == pytest.approx(np.median(values), abs=6e-5)
        assert row["std"] == pytest.approx(values.std(), abs=1e-5)


def test_every_class_has_its_objects_with_the_probability_of_that_class():
    labels = np.array([[0, 0, 1], [2, 0, 1], [0, 2, 255]])
    probability = np.stack([np.full((3, 3), p, np.float32) for p in (0.5, 0.3, 0.2)])
    table = objects_of(labels, [1], probability, COVER)
    assert table.class_value.tolist() == [0, 1, 2]
    assert table.pixels.tolist() == [4, 2, 2]
    assert table["mean"].tolist() == pytest.approx([0.5, 0.3, 0.2])
    assert np.array_equal(np.where(labels == 255, 0, labels + 1), drawn(table, utm(3, 3)))
