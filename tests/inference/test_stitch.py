import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.errors import GridError
from graticule.inference.stitch import circle, line, stitch
from graticule.inference.symmetry import d4_mean, ensemble_mean


def identity(x, seen):
    return {"all": x.clone(), "first": x[:, 0].clone()}


def reader(scene, seen=None):
    def read(row, col, height, width):
        assert col == 0
        assert width == scene.shape[2]
        part = scene[:, row : row + height]
        assert part.shape[1] == height, "only rows inside the scene are asked for"
        return part, np.ones(part.shape[1:], bool) if seen is None else seen[row : row + height]

    return read


def whole(strips, shape):
    """The fields of all strips, put together; every row comes exactly once and in order."""
    strips = list(strips)
    assert [s.row for s in strips] == np.cumsum([0, *(s.seen.shape[0] for s in strips)])[:-1].tolist()
    joined = {name: np.concatenate([s.fields[name] for s in strips], axis=-2) for name in strips[0].fields}
    x = np.concatenate([s.x for s in strips], axis=1)
    assert x.shape[1:] == shape
    return joined, x


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    window=st.integers(1, 20),
    overlap=st.integers(0, 19),
    batch_size=st.integers(1, 5),
    wraps=st.booleans(),
)
def test_identity_comes_back_for_every_size_window_and_overlap(height, width, window, overlap, batch_size, wraps):
    overlap = min(overlap, window - 1)
    scene = np.random.default_rng(height * 71 + width).random((2, height, width)).astype(np.float32)
    fields, x = whole(
        stitch(
            reader(scene),
            (height, width),
            identity,
            window=window,
            overlap=overlap,
            batch_size=batch_size,
            wraps=wraps,
        ),
        (height, width),
    )
    assert np.abs(fields["all"] - scene).max() < 1e-6
    assert np.abs(fields["first"] - scene[0]).max() < 1e-6
    assert np.array_equal(x, scene)


@pytest.mark.parametrize(("length", "window", "overlap"), [(36, 8, 2), (37, 8, 0), (9, 8, 7), (8, 8, 3), (5, 8, 3)])
def test_the_weights_of_a_circle_add_to_one(length, window, overlap):
    places = circle(length, window, overlap)
    total = np.zeros(max(length, window) if length < window else length)
    for start, weights in zip(places.starts, places.weights, strict=True):
        assert (weights > 0).all()
        np.add.at(total, np.arange(start, start + window) % len(total), weights)
    assert total == pytest.approx(np.ones(len(total)))


def test_every_pixel_is_far_from_the_seam_of_a_circle_in_some_window():
    # The date line must not be the edge of all windows that see it.
    places = circle(36, 8, 4)
    inner = {(start + k) % 36 for start in places.starts for k in range(1, 7)}
    assert inner == set(range(36))
    assert {0, 35} - {start + k for start in line(36, 8, 4).starts for k in range(1, 7)} == {0, 35}


def test_a_net_sees_across_the_date_line():
    scene = np.zeros((1, 8, 32), np.float32)
    scene[:, :, 31] = 1.0

    def from_the_west(x, seen):
        return {"t": torch.roll(x, 1, dims=-1)[:, 0] * (torch.arange(x.shape[-1]) > 0)}

    kept, _ = whole(stitch(reader(scene), (8, 32), from_the_west, window=8, overlap=4, wraps=True), (8, 32))
    cut, _ = whole(stitch(reader(scene), (8, 32), from_the_west, window=8, overlap=4, wraps=False), (8, 32))
    assert (kept["t"][:, 0] > 0.5).all()
    assert (cut["t"][:, 0] == 0).all()


def test_blending_takes_the_mean_by_distance_from_the_edge():
    # Two windows of 4 over 6 pixels share pixels 2 and 3; the first says 0, the second 1.
    answers = iter([0.0, 1.0])

    def counting(x, seen):
        return {"t": torch.stack([torch.full(x.shape[-2:], next(answers)) for _ in x])}

    fields, _ = whole(stitch(reader(np.zeros((1, 4, 6), np.float32)), (4, 6), counting, window=4, overlap=2), (4, 6))
    assert fields["t"][0] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1], abs=1e-5)


def test_windows_without_input_are_not_predicted_and_keep_their_place():
    seen = np.zeros((24, 16), bool)
    seen[17:, :8] = True
    asked = []

    def counting(x, own):
        asked.append(len(x))
        return {"t": x[:, 0] + 1}

    fields, _ = whole(
        stitch(reader(np.ones((1, 24, 16), np.float32), seen), (24, 16), counting, window=8, overlap=0), (24, 16)
    )
    assert sum(asked) == 2  # one to learn the fields, one that has input
    assert (fields["t"][16:, :8] == 2).all()
    assert (fields["t"][16:, 8:] == 0).all()


def test_the_order_and_size_of_batches_do_not_matter():
    scene = np.random.default_rng(0).random((3, 50, 45)).astype(np.float32)
    fields = [
        whole(stitch(reader(scene), (50, 45), identity, window=16, overlap=5, batch_size=n), (50, 45))[0]["all"]
        for n in (1, 4, 100)
    ]
    assert np.array_equal(fields[0], fields[1])
    assert np.array_equal(fields[0], fields[2])


def test_memory_does_not_grow_with_the_height():
    def read(row, col, height, width):
        return np.zeros((2, height, width), np.uint8), np.ones((height, width), bool)

    peaks = []
    for height in (512, 4096):
        tracemalloc.start()
        for _ in stitch(read, (height, 256), identity, window=64, overlap=16):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_windows_that_do_not_advance_are_refused():
    with pytest.raises(GridError, match="the overlap must be at least 0 and less than the window"):
        list(stitch(reader(np.zeros((1, 4, 4), np.float32)), (4, 4), identity, window=4, overlap=4))
    with pytest.raises(GridError, match="the batch size is 0; it must be at least 1"):
        list(stitch(reader(np.zeros((1, 4, 4), np.float32)), (4, 4), identity, window=4, overlap=1, batch_size=0))


def test_the_mean_over_symmetries_turns_with_its_input():
    torch.manual_seed(0)
    net = torch.nn.Conv2d(1, 2, 3, padding=1)

    @torch.no_grad()
    def predict(x, seen):
        return {"t": net(x * seen[:, None])}

    x, seen = torch.rand(2, 1, 6, 6), torch.rand(2, 6, 6) > 0.2
    mean = d4_mean(predict)
    straight, turned = mean(x, seen)["t"], mean(torch.rot90(x, 1, (-2, -1)), torch.rot90(seen, 1, (-2, -1)))["t"]
    assert torch.allclose(torch.rot90(straight, 1, (-2, -1)), turned, atol=1e-6)
    assert torch.allclose(straight.flip(-2), mean(x.flip(-2), seen.flip(-2))["t"], atol=1e-6)
    assert not torch.allclose(straight, predict(x, seen)["t"], atol=1e-3)


def test_symmetries_leave_an_identity_alone_on_windows_that_are_not_square():
    x = torch.rand(1, 2, 5, 3)
    assert torch.allclose(d4_mean(identity)(x, x[:, 0] > 0)["all"], x, atol=1e-6)


def test_an_ensemble_is_the_mean_of_its_members():
    x = torch.rand(1, 1, 2, 2)
    members = [lambda x, s, k=k: {"t": x * k} for k in (1.0, 2.0, 6.0)]
    assert torch.allclose(ensemble_mean(members)(x, x[:, 0] > 0)["t"], 3 * x)
